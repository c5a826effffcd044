//! How a link to a message centre is set up: in full in a file, in short as `smpp://system_id:password@host:port?window=100&rate=500`, with TLS
//! as `smpps://…`.

use super::tls;
use serde::Deserialize;
use std::path::PathBuf;

/// A link to a message centre.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkTerms {
    /// `host:port`.
    pub address: String,
    pub system_id: String,
    #[serde(default)]
    pub password: String,
    #[serde(default)]
    pub system_type: String,
    /// Who texts are from, and replies go to.
    #[serde(default = "source")]
    pub source: String,
    /// One connection for texts and another one for what comes back, for centres that want it.
    #[serde(default)]
    pub separate: bool,
    /// The connection is TLS.
    #[serde(default)]
    pub tls: bool,
    /// A file of certificates (PEM) by which the centre is known; empty: those that browsers know it by.
    #[serde(default)]
    pub authorities: PathBuf,
    /// A text goes as one message of whatever length, which the centre cuts (`message_payload`), and not in parts that say so themselves.
    #[serde(default)]
    pub payload: bool,
    /// Parts of texts that may be unanswered at a time.
    #[serde(default = "window")]
    pub window: usize,
    /// Parts a second at most.
    #[serde(default = "rate")]
    pub rate: u32,
    /// A link on which nothing happens is asked whether it is alive.
    #[serde(default = "enquire_seconds")]
    pub enquire_seconds: u64,
    /// What is not answered by then is not known to have been taken.
    #[serde(default = "response_seconds")]
    pub response_seconds: u64,
    /// How long the centre tries to deliver.
    #[serde(default = "validity_hours")]
    pub validity_hours: u32,
}

fn source() -> String {
    "1414".to_owned()
}

fn window() -> usize {
    10
}

fn rate() -> u32 {
    100
}

fn enquire_seconds() -> u64 {
    30
}

fn response_seconds() -> u64 {
    30
}

fn validity_hours() -> u32 {
    48
}

impl LinkTerms {
    /// Reads a link in short.
    pub fn parse(url: &str) -> Result<LinkTerms, String> {
        let plain = url.strip_prefix("smpp://").map(|rest| (rest, false));
        let (rest, tls) =
            plain.or(url.strip_prefix("smpps://").map(|rest| (rest, true))).ok_or("a link begins with smpp:// or smpps://")?;
        let (place, words) = rest.split_once('?').unwrap_or((rest, ""));
        let (who, address) = place.rsplit_once('@').ok_or("a link is smpp://system_id:password@host:port")?;
        let (system_id, password) = who.split_once(':').unwrap_or((who, ""));
        let mut terms = LinkTerms {
            address: address.trim_end_matches('/').to_owned(),
            system_id: system_id.to_owned(),
            password: password.to_owned(),
            system_type: String::new(),
            source: source(),
            separate: false,
            tls,
            authorities: PathBuf::new(),
            payload: false,
            window: window(),
            rate: rate(),
            enquire_seconds: enquire_seconds(),
            response_seconds: response_seconds(),
            validity_hours: validity_hours(),
        };
        for word in words.split('&').filter(|word| !word.is_empty()) {
            let (key, value) = word.split_once('=').ok_or_else(|| format!("`{word}` is not like window=100"))?;
            let wrong = |_| format!("{key}: `{value}` is not a number");
            match key {
                "system_type" => terms.system_type = value.to_owned(),
                "source" => terms.source = value.to_owned(),
                "separate" => terms.separate = value == "true",
                "authorities" => terms.authorities = value.into(),
                "payload" => terms.payload = value == "true",
                "window" => terms.window = value.parse().map_err(wrong)?,
                "rate" => terms.rate = value.parse().map_err(wrong)?,
                "enquire_seconds" => terms.enquire_seconds = value.parse().map_err(wrong)?,
                "response_seconds" => terms.response_seconds = value.parse().map_err(wrong)?,
                "validity_hours" => terms.validity_hours = value.parse().map_err(wrong)?,
                other => return Err(format!("a link has no `{other}`")),
            }
        }
        terms.check()?;
        Ok(terms)
    }

    /// What the terms alone can prove wrong.
    pub fn check(&self) -> Result<(), String> {
        let longest = |what: &str, text: &str, length: usize| match text.len() <= length && text.is_ascii() {
            true => Ok(()),
            false => Err(format!("{what}: at most {length} ASCII characters")),
        };
        longest("system_id", &self.system_id, 15)?;
        longest("password", &self.password, 8)?;
        longest("system_type", &self.system_type, 12)?;
        longest("source", &self.source, 20)?;
        let has_port = self.address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        match () {
            _ if !has_port => Err(format!("address: `{}` is not host:port", self.address)),
            _ if self.window == 0 || self.rate == 0 => Err("window and rate are at least 1".to_owned()),
            // Two digits of days.
            _ if !(1..=99 * 24).contains(&self.validity_hours) => Err("validity_hours: from 1 to 2376".to_owned()),
            _ if self.tls => tls::connector(&self.authorities).map(drop),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_short() {
        let terms = LinkTerms::parse("smpp://card:se:cret@127.0.0.1:2775?window=100&rate=500").unwrap();
        let said = (terms.address.as_str(), terms.system_id.as_str(), terms.password.as_str(), terms.window, terms.rate);
        assert_eq!(said, ("127.0.0.1:2775", "card", "se:cret", 100, 500));
        let wrong = |url: &str| LinkTerms::parse(url).unwrap_err();
        assert!(!terms.tls && LinkTerms::parse("smpps://card@host:3550").unwrap().tls);
        assert_eq!(wrong("smpp://card@host"), "address: `host` is not host:port");
        assert_eq!(wrong("smpp://card@host:1?windw=5"), "a link has no `windw`");
        assert_eq!(wrong("smpp://card:longer-than-eight@host:1"), "password: at most 8 ASCII characters");
        assert_eq!(wrong("smpp://card@host:1?rate=0"), "window and rate are at least 1");
    }
}
