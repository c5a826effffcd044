//! Gateways over HTTP that others made, Kannel among them: a text is an address that is asked for, made of a template; receipts and replies come back
//! through our doors.
//!
//! Such a gateway knows no names: a text that it refused may be given again, one of which nobody knows whether it was taken is uncertain; so is one
//! at which something broke behind the gateway, as its answer says.

use super::Hearing;
use super::governor::Governor;
use super::queue::{Queue, Work};
use crate::journal::Own;
use dataflows::policy::parts::takes_seven_bits;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

/// How long a gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Beside links it takes texts once none was bound for so long.
const WITHOUT_LINKS: Duration = Duration::from_secs(5);
/// Between looks whether that is so, or whether more texts come at all.
const LOOK: Duration = Duration::from_millis(250);
/// A text that is refused for the moment is given again so often, before each time after twice as long.
const REFUSALS_MAX: u32 = 8;
const REFUSAL_PAUSE: Duration = Duration::from_millis(250);

/// What a template may name.
const NAMES: [&str; 6] = ["phone", "text", "source", "coding", "message", "receipt"];

/// How texts are given to a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayTerms {
    /// The address, with `{phone}`, `{text}` and what else of [`NAMES`] the gateway is to be told. Empty: there is none.
    pub url: String,
    /// Where the gateway finds our doors, and the token of an operator that it shows there, if one is needed.
    pub callback: String,
    pub token: String,
    /// What it puts in place of what became of a text.
    pub status: String,
    pub source: String,
    /// Texts that may be unanswered at a time, and texts a second.
    pub window: usize,
    pub rate: u32,
}

impl Default for GatewayTerms {
    fn default() -> Self {
        GatewayTerms {
            url: String::new(),
            callback: String::new(),
            token: String::new(),
            status: "%d".to_owned(),
            source: "1414".to_owned(),
            window: 8,
            rate: 100,
        }
    }
}

impl GatewayTerms {
    /// Whether an address is a template.
    pub fn is_template(url: &str) -> bool {
        url.contains("{phone}")
    }

    /// What the terms alone can prove wrong.
    pub fn check(&self) -> Result<(), String> {
        let is_http = ["http://", "https://"].iter().any(|scheme| self.url.starts_with(scheme));
        let unknown = self.url.split('{').skip(1).map(|rest| rest.split('}').next().unwrap_or(rest)).find(|name| !NAMES.contains(name));
        match unknown {
            _ if !is_http => Err(format!("`{}` is not like http://host/path?to={{phone}}&text={{text}}", self.url)),
            Some(name) => Err(format!("a template has no {{{name}}}; it has {NAMES:?}")),
            None if !self.url.contains("{phone}") || !self.url.contains("{text}") => Err("a template has {phone} and {text}".to_owned()),
            None if self.window == 0 || self.rate == 0 => Err("window and rate are at least 1".to_owned()),
            None => Ok(()),
        }
    }

    /// The address by which a text is given.
    fn address(&self, work: &Work) -> String {
        let message = format!("{:032x}", work.message);
        let coding = if takes_seven_bits(&work.text) { "0" } else { "2" };
        let token = if self.token.is_empty() { String::new() } else { format!("&token={}", encoded(&self.token)) };
        let receipt = format!("{}/v1/receipts?message={message}&status={}{token}", self.callback, self.status);
        let said = [work.phone.to_string(), work.text.clone(), self.source.clone(), coding.to_owned(), message, receipt];
        // What is said has no braces once it is encoded.
        NAMES.iter().zip(said).fold(self.url.clone(), |url, (name, said)| url.replace(&format!("{{{name}}}"), &encoded(&said)))
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

struct Gateway {
    terms: GatewayTerms,
    /// Whether links come first.
    waits_for_links: bool,
    queue: Arc<Queue>,
    hearing: Hearing,
    governor: Mutex<Governor>,
    doubts: Mutex<Doubts>,
    agent: ureq::Agent,
}

/// Texts in a row of which nobody knows whether they were taken. A gateway that is broken would make all that wait uncertain at once, and nobody would be
/// written to: none is given for a while after each, longer each time.
struct Doubts {
    in_a_row: u32,
    over: Instant,
}

impl Doubts {
    fn note(&mut self, is_doubt: bool, now: Instant) {
        self.in_a_row = if is_doubt { (self.in_a_row + 1).min(REFUSALS_MAX) } else { 0 };
        if is_doubt {
            self.over = now + REFUSAL_PAUSE * 2_u32.pow(self.in_a_row);
        }
    }

    fn are_over(&self, now: Instant) -> bool {
        now >= self.over
    }
}

/// What a gateway makes of a text.
enum Verdict {
    Taken,
    NotNow(String),
    Never(String),
    Unknown(String),
}

/// Begins to give texts to a gateway, as many at a time as its window has room for, until no more come.
pub(super) fn begin(terms: GatewayTerms, waits_for_links: bool, queue: &Arc<Queue>, hearing: &Hearing, running: &mut JoinSet<()>) {
    let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).build().into();
    let (window, now) = (terms.window, Instant::now());
    let (governor, doubts) = (Mutex::new(Governor::new(terms.rate, now)), Mutex::new(Doubts { in_a_row: 0, over: now }));
    let gateway = Arc::new(Gateway { terms, waits_for_links, queue: queue.clone(), hearing: hearing.clone(), governor, doubts, agent });
    for _ in 0..window {
        running.spawn(gateway.clone().run());
    }
}

impl Gateway {
    async fn run(self: Arc<Self>) {
        loop {
            let is_due = self.is_due();
            // Of a text of which a link has handed over a part the rest goes the same way.
            match self.queue.next_if(|work| is_due && work.is_whole()) {
                Some(work) => self.hand_over(work).await,
                None if self.queue.is_closed() => return,
                None if is_due => drop(timeout(LOOK, self.queue.changed()).await),
                None => sleep(LOOK).await,
            }
        }
    }

    fn is_due(&self) -> bool {
        self.doubts().are_over(Instant::now()) && (!self.waits_for_links || self.queue.had_no_link_for(WITHOUT_LINKS))
    }

    fn doubts(&self) -> MutexGuard<'_, Doubts> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a text until the gateway has said something of it that is not "later".
    async fn hand_over(self: &Arc<Self>, work: Work) {
        let (message, address) = (work.message, self.terms.address(&work));
        for refusals in 0.. {
            self.wait_for_the_rate().await;
            let (agent, address) = (self.agent.clone(), address.clone());
            let given = spawn_blocking(move || verdict(agent.get(&address).call().map(|answer| answer.status().as_u16()))).await;
            let said = given.unwrap_or_else(|error| Verdict::Unknown(error.to_string()));
            self.doubts().note(matches!(said, Verdict::Unknown(_)), Instant::now());
            match said {
                Verdict::Taken => return self.hearing.note(Own::Taken { message, names: Vec::new() }),
                Verdict::NotNow(_) if refusals < REFUSALS_MAX && !self.queue.is_closed() => {
                    sleep(REFUSAL_PAUSE * 2_u32.pow(refusals)).await;
                }
                Verdict::NotNow(why) => {
                    tracing::warn!(message = format!("{message:032x}"), why, "the gateway takes nothing");
                    // Another route may, or a later time.
                    return self.hearing.note(Own::Again { message });
                }
                Verdict::Never(why) => {
                    tracing::warn!(message = format!("{message:032x}"), why, "a text was refused");
                    return self.hearing.note(Own::Receipt { message, delivered: false });
                }
                Verdict::Unknown(why) => {
                    tracing::warn!(message = format!("{message:032x}"), why, "nobody knows whether a text was taken");
                    return self.hearing.note(Own::Uncertain { message });
                }
            }
        }
    }

    async fn wait_for_the_rate(&self) {
        loop {
            let now = Instant::now();
            let next = {
                let mut governor = self.governor.lock().unwrap_or_else(PoisonError::into_inner);
                if governor.grants(now) {
                    return;
                }
                governor.next()
            };
            sleep(next.saturating_duration_since(now).max(Duration::from_millis(1))).await;
        }
    }
}

/// What an answer, or none, says of a text.
fn verdict(answer: Result<u16, ureq::Error>) -> Verdict {
    match answer {
        Ok(200..=299) => Verdict::Taken,
        // It does not know us, or cannot now: it took nothing, and another text would fare no better.
        Ok(status @ (401 | 403 | 404 | 429 | 503)) => Verdict::NotNow(format!("status {status}")),
        // It gave up on what it was doing: that may have been done, and answering for it alone was not.
        Ok(status @ (408 | 500..=599)) => Verdict::Unknown(format!("status {status}")),
        Ok(status) => Verdict::Never(format!("status {status}")),
        Err(error @ (ureq::Error::HostNotFound | ureq::Error::ConnectionFailed | ureq::Error::Timeout(ureq::Timeout::Connect))) => {
            Verdict::NotNow(error.to_string())
        }
        Err(ureq::Error::Io(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Verdict::NotNow(error.to_string()),
        Err(error) => Verdict::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(url: &str) -> GatewayTerms {
        GatewayTerms { url: url.to_owned(), callback: "http://127.0.0.1:7117".to_owned(), ..GatewayTerms::default() }
    }

    #[test]
    fn a_template_is_filled() {
        let url = "http://host/send?to={phone}&from={source}&coding={coding}&text={text}&dlr-url={receipt}";
        let work =
            |text: &str| Work { message: 10, phone: 77_010_000_001, text: text.to_owned(), parts: vec![], names: vec![], refusals: 0 };
        let terms = GatewayTerms { token: "a b".to_owned(), ..terms(url) };
        assert_eq!(terms.check(), Ok(()));
        let address = terms.address(&work("1 {phone}&ә"));
        let receipt =
            format!("http%3A%2F%2F127%2E0%2E0%2E1%3A7117%2Fv1%2Freceipts%3Fmessage%3D{:032x}%26status%3D%25d%26token%3Da%2520b", 10);
        let expected = format!("http://host/send?to=77010000001&from=1414&coding=2&text=1%20%7Bphone%7D%26%D3%99&dlr-url={receipt}");
        assert_eq!(address, expected);
        assert!(terms.address(&work("plain")).contains("&coding=0&"));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let wrong = |url: &str| terms(url).check().unwrap_err();
        assert!(wrong("ftp://host/{phone}{text}").contains("is not like http://"));
        assert!(wrong("http://host/{phone}{txt}").contains("a template has no {txt}"));
        assert_eq!(wrong("http://host/{phone}"), "a template has {phone} and {text}");
    }

    #[test]
    fn a_broken_gateway_is_given_less_and_less() {
        let begun = Instant::now();
        let mut doubts = Doubts { in_a_row: 0, over: begun };
        assert!(doubts.are_over(begun));
        let mut pauses = Vec::new();
        for _ in 0..10 {
            doubts.note(true, begun);
            assert!(!doubts.are_over(begun));
            pauses.push(doubts.over - begun);
        }
        assert!(pauses[0] == 2 * REFUSAL_PAUSE && pauses.is_sorted() && pauses[9] > Duration::from_secs(60), "{pauses:?}");
        doubts.note(false, begun);
        doubts.note(true, begun);
        assert_eq!(doubts.over - begun, pauses[0], "one that takes a text is trusted again");
    }

    #[test]
    fn only_what_was_surely_not_taken_is_given_again() {
        let all = |statuses: &[u16], is_meant: fn(&Verdict) -> bool| statuses.iter().all(|status| is_meant(&verdict(Ok(*status))));
        assert!(all(&[200, 202], |said| matches!(said, Verdict::Taken)));
        assert!(all(&[401, 403, 404, 429, 503], |said| matches!(said, Verdict::NotNow(_))));
        assert!(all(&[400, 402, 410, 422], |said| matches!(said, Verdict::Never(_))));
        assert!(all(&[408, 500, 501, 502, 504, 599], |said| matches!(said, Verdict::Unknown(_))));
        assert!(matches!(verdict(Err(ureq::Error::ConnectionFailed)), Verdict::NotNow(_)));
        assert!(matches!(verdict(Err(ureq::Error::Timeout(ureq::Timeout::Global))), Verdict::Unknown(_)));
    }
}
