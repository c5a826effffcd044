//! How a pipeline is set up: a file, and flags that count before it.

use super::Failure;
use crate::intake::did_you_mean;
use crate::journal::SEGMENT_BYTES;
use crate::network::smpp::LinkTerms;
use crate::network::{GatewayTerms, Network, Routes};
use crate::pipeline::{BrakeTerms, Leave, PaceTerms, Sending};
use crate::serve::Tokens;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A configuration; `src/shanyraq.toml` is one, complete.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Configuration {
    pub data: PathBuf,
    /// Empty: the one in force in the data folder.
    pub policy: String,
    pub listen: SocketAddr,
    pub smsc: String,
    /// When texts do not leave.
    pub quiet_hours: String,
    pub holidays: Vec<String>,
    /// With numbers it is a trial.
    pub trial: Vec<u64>,
    pub brake: BrakeTerms,
    /// How fast texts leave.
    pub pace: PaceTerms,
    /// Benefits of which it is better to be told twice than not at all.
    pub at_least_once: BTreeSet<String>,
    /// Links to message centres, in full.
    pub links: Vec<LinkTerms>,
    /// A gateway of others: the only route, or the second one.
    pub gateway: GatewayTerms,
    pub workers: u16,
    pub allow_assumed: bool,
    pub segment_bytes: u64,
    /// Empty: none is watched.
    pub watch: PathBuf,
    /// Mapping files for tables in it.
    pub maps: Vec<PathBuf>,
    pub tokens: Tokens,
    pub snapshot_seconds: u64,
    pub snapshots_kept: usize,
    /// Older ones go, but for the newest; 0: none goes for its age.
    pub snapshots_kept_days: u64,
    pub audited_families: usize,
    pub compact_after_segments: usize,
    /// In the data folder, unless it is absolute. Empty: what is compacted is gone.
    pub archive: PathBuf,
    /// What was packed into it longer ago goes; 0: nothing does.
    pub archive_kept_days: u64,
    /// So long nothing of a body may come, and nothing of an answer be taken.
    pub silence_seconds: u64,
    /// So long what is being answered is waited for at the end.
    pub drain_seconds: u64,
}

/// What a configuration may say.
const KEYS: [&str; 27] = [
    "data",
    "policy",
    "listen",
    "smsc",
    "quiet_hours",
    "holidays",
    "trial",
    "brake",
    "pace",
    "at_least_once",
    "gateway",
    "workers",
    "allow_assumed",
    "segment_bytes",
    "watch",
    "maps",
    "tokens",
    "snapshot_seconds",
    "snapshots_kept",
    "snapshots_kept_days",
    "audited_families",
    "compact_after_segments",
    "archive",
    "archive_kept_days",
    "silence_seconds",
    "drain_seconds",
    "links",
];
const WORKERS_MAX: u16 = 64;
/// The holidays of Kazakhstan that have a day of each year (law 267-II of 13 December 2001, articles 2 and 3, and 7 January).
const HOLIDAYS: [&str; 14] =
    ["01-01", "01-02", "01-07", "03-08", "03-21", "03-22", "03-23", "05-01", "05-07", "05-09", "07-06", "08-30", "10-25", "12-16"];

impl Default for Configuration {
    fn default() -> Self {
        Configuration {
            data: PathBuf::from("data"),
            policy: String::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 7117)),
            smsc: "none".to_owned(),
            quiet_hours: "21:00-09:00".to_owned(),
            holidays: HOLIDAYS.map(str::to_owned).to_vec(),
            trial: Vec::new(),
            brake: BrakeTerms { percent: 20, at_least: 1000, days: 7 },
            pace: PaceTerms::default(),
            at_least_once: BTreeSet::new(),
            links: Vec::new(),
            gateway: GatewayTerms::default(),
            workers: 1,
            allow_assumed: false,
            segment_bytes: SEGMENT_BYTES,
            watch: PathBuf::new(),
            maps: Vec::new(),
            tokens: Tokens::default(),
            snapshot_seconds: 900,
            snapshots_kept: 2,
            snapshots_kept_days: 0,
            audited_families: 3,
            compact_after_segments: 32,
            archive: PathBuf::from("archive"),
            archive_kept_days: 0,
            silence_seconds: 60,
            drain_seconds: 20,
        }
    }
}

impl Configuration {
    /// Reads a file; the error names it, the line and the key.
    pub fn read(path: &Path) -> Result<Configuration, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        Configuration::parse(&text).map_err(|problem| Failure::usage(format!("{}: {problem}", path.display())))
    }

    fn parse(text: &str) -> Result<Configuration, String> {
        let table: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let line = text.lines().position(|line| line.trim_start().starts_with(key.as_str())).map_or(0, |line| line + 1);
            return Err(format!("line {line}: there is no key `{key}`{}", did_you_mean(key, KEYS)));
        }
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// Who takes texts, and when they leave. The error is what a configuration alone can prove wrong.
    pub fn check(&self) -> Result<Sending, Failure> {
        self.tokens.check().map_err(|what| Failure::usage(format!("tokens: {what}")))?;
        if !self.listen.ip().is_loopback() && (self.tokens.feeds.is_empty() || self.tokens.readers.is_empty()) {
            return Err(Failure::usage(format!("listen: {} is no loopback address, and feeds and readers have no tokens", self.listen)));
        }
        if !(1..=WORKERS_MAX).contains(&self.workers) {
            return Err(Failure::usage(format!("workers: {} is not in 1..={WORKERS_MAX}", self.workers)));
        }
        if self.silence_seconds == 0 {
            return Err(Failure::usage("silence_seconds: with 0 no body could come".to_owned()));
        }
        self.pace.check().map_err(|what| Failure::usage(format!("pace: {what}")))?;
        Ok(Sending {
            network: self.network()?,
            leave: Leave::new(&self.quiet_hours, &self.holidays, &self.trial).map_err(Failure::usage)?,
            pace: self.pace.clone(),
            brake: self.brake,
            at_least_once: self.at_least_once.clone(),
        })
    }

    fn network(&self) -> Result<Network, Failure> {
        let (mut links, mut gateway) = (self.links.clone(), self.gateway.clone());
        let is_http = |url: &str| url.starts_with("http://") || url.starts_with("https://");
        match self.smsc.as_str() {
            "none" => {}
            "pretend" if links.is_empty() && gateway.url.is_empty() => return Ok(Network::Pretend),
            url if GatewayTerms::is_template(url) && gateway.url.is_empty() => gateway.url = url.to_owned(),
            url if is_http(url) && links.is_empty() && gateway.url.is_empty() => return Ok(Network::Named(url.to_owned())),
            url if is_http(url) => return Err(Failure::usage("smsc: a gateway, and others beside it".to_owned())),
            url if url.starts_with("smpp://") || url.starts_with("smpps://") => {
                links.push(LinkTerms::parse(url).map_err(|what| Failure::usage(format!("smsc: {what}")))?);
            }
            other => {
                return Err(Failure::usage(format!(
                    "smsc: `{other}` is neither `none` nor `pretend` nor the address of a gateway, http://… or smpp://…"
                )));
            }
        }
        for terms in &links {
            terms.check().map_err(|what| Failure::usage(format!("links: {}: {what}", terms.address)))?;
        }
        let gateway = (!gateway.url.is_empty())
            .then_some(gateway)
            .map(|gateway| gateway.check().map(|()| gateway).map_err(|what| Failure::usage(format!("gateway: {what}"))));
        let routes = Routes { links, gateway: gateway.transpose()? };
        Ok(if routes == Routes::default() { Network::Nowhere } else { Network::Routes(routes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_says_everything_and_what_it_says_is_the_default() {
        let example = include_str!("../shanyraq.toml");
        assert_eq!(Configuration::parse(example).unwrap(), Configuration::default());
        let said: Vec<&str> =
            example.lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key.trim()).filter(|key| KEYS.contains(key)).collect();
        assert_eq!(said, KEYS);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        assert_eq!(
            Configuration::parse("data = \"d\"\npolcy = \"kz\"").unwrap_err(),
            "line 2: there is no key `polcy` (did you mean policy?)"
        );
        let problem = Configuration::parse("\nworkers = \"two\"").unwrap_err();
        assert!(problem.contains("line 2") && problem.contains("workers"), "{problem}");
        let wrong = |change: fn(&mut Configuration)| {
            let mut configuration = Configuration::default();
            change(&mut configuration);
            configuration.check().unwrap_err().message
        };
        assert_eq!(wrong(|it| it.workers = 0), "workers: 0 is not in 1..=64");
        assert_eq!(wrong(|it| it.silence_seconds = 0), "silence_seconds: with 0 no body could come");
        assert_eq!(
            wrong(|it| it.smsc = "pigeon".to_owned()),
            "smsc: `pigeon` is neither `none` nor `pretend` nor the address of a gateway, http://… or smpp://…"
        );
        let abroad = wrong(|it| it.listen = SocketAddr::from(([0, 0, 0, 0], 80)));
        assert_eq!(abroad, "listen: 0.0.0.0:80 is no loopback address, and feeds and readers have no tokens");
        assert_eq!(wrong(|it| it.gateway.url = "http://host/{phone}".to_owned()), "gateway: a template has {phone} and {text}");
        assert!(wrong(|it| it.pace.templates = [("ofer".to_owned(), 1)].into()).starts_with("pace: there is no template `ofer`"));
        let plain = wrong(|it| drop(it.tokens.feeds.insert("zags".to_owned(), "secret".to_owned())));
        assert_eq!(plain, "tokens: zags: not a SHA-256 in 64 hexadecimal digits (printf %s TOKEN | sha256sum)");
        let parted = wrong(|it| drop(it.tokens.feeds.insert("zags:acts".to_owned(), "0".repeat(64))));
        assert_eq!(parted, "tokens: feeds: zags:acts: the name of a feed has no colon");
        for (name, taken) in [
            ("http", wrong(|it| drop(it.tokens.feeds.insert("http".to_owned(), "0".repeat(64))))),
            ("folder", wrong(|it| drop(it.tokens.feeds.insert("folder".to_owned(), "0".repeat(64))))),
        ] {
            assert_eq!(taken, format!("tokens: feeds: {name}: a feed has this name already that needs no token"));
        }
    }
}
