//! What a pipeline counts and times, for those who watch it: the help of each measure, as `/metrics` shows it, is its documentation.

use crate::sources::feed_of;
use dataflows::model::Date;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

/// Times are sorted into buckets from 50 µs on, each twice as long as the one before: the last ends at 26 s.
const SHORTEST_SECONDS: f64 = 50e-6;
const BUCKETS: u16 = 20;

/// Of which feed.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
pub struct OfFeed {
    pub feed: String,
}

impl OfFeed {
    fn named(name: &str) -> OfFeed {
        OfFeed { feed: feed_of(name).to_owned() }
    }
}

/// Of which register.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OfRegister {
    pub register: String,
}

/// Of which store.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OfStore {
    pub store: String,
}

/// In which state.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct InState {
    pub state: TextState,
}

/// At which stage of its conversation.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct AtStage {
    pub stage: String,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub enum TextState {
    Waiting,
    Submitted,
}

/// For what reason.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct LeftOutFor {
    pub reason: LeftOut,
}

/// Why a family is not audited.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelValue)]
pub enum LeftOut {
    ManyPeople,
    SeveralNumbers,
}

/// All measures of a pipeline.
pub struct Metrics {
    registry: Registry,
    /// What the newest record is of that a feed last brought.
    newest: Mutex<BTreeMap<OfFeed, Date>>,
    pub ready: Gauge,
    pub accepted: Family<OfFeed, Counter>,
    pub refused: Family<OfFeed, Counter>,
    pub feed_time: Family<OfFeed, Gauge>,
    pub feed_lag_days: Family<OfFeed, Gauge>,
    pub turned_away: Counter,
    pub bodies_bytes: Gauge,
    pub journal_bytes: Counter,
    pub journal_failed: Counter,
    pub sync: Histogram,
    pub acknowledged: Histogram,
    pub decided: Histogram,
    pub written: Histogram,
    pub in_ledger: Histogram,
    pub handed_over: Histogram,
    pub answered: Histogram,
    pub changes: Counter,
    pub texts: Counter,
    pub texts_under_way: Family<InState, Gauge>,
    pub offers: Family<AtStage, Gauge>,
    pub braked: Counter,
    pub frontier: Gauge,
    pub live: Gauge,
    pub unheard_days: Family<OfRegister, Gauge>,
    pub quarantine: Gauge,
    pub snapshot_epoch: Gauge,
    pub snapshot_time: Gauge,
    pub snapshot_stall: Histogram,
    pub audited: Counter,
    pub audits_differing: Counter,
    pub audits_failed: Counter,
    pub audits_left_out: Family<LeftOutFor, Counter>,
    pub store_keys: Family<OfStore, Gauge>,
    pub store_bytes: Family<OfStore, Gauge>,
    pub snapshots_failed: Counter,
    pub compactions_failed: Counter,
    pub compactions_put_off: Counter,
    pub ledger_log_bytes: Gauge,
    pub resident_bytes: Gauge,
    pub available_bytes: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let times = || Histogram::new(exponential_buckets(SHORTEST_SECONDS, 2.0, BUCKETS));
        let mut metrics = Metrics {
            registry: Registry::with_prefix("shanyraq"),
            newest: Mutex::default(),
            ready: Gauge::default(),
            accepted: Family::default(),
            refused: Family::default(),
            feed_time: Family::default(),
            feed_lag_days: Family::default(),
            turned_away: Counter::default(),
            bodies_bytes: Gauge::default(),
            journal_bytes: Counter::default(),
            journal_failed: Counter::default(),
            sync: times(),
            acknowledged: times(),
            decided: times(),
            written: times(),
            in_ledger: times(),
            handed_over: times(),
            answered: times(),
            changes: Counter::default(),
            texts: Counter::default(),
            texts_under_way: Family::default(),
            offers: Family::default(),
            braked: Counter::default(),
            frontier: Gauge::default(),
            live: Gauge::default(),
            unheard_days: Family::default(),
            quarantine: Gauge::default(),
            snapshot_epoch: Gauge::default(),
            snapshot_time: Gauge::default(),
            snapshot_stall: times(),
            audited: Counter::default(),
            audits_differing: Counter::default(),
            audits_failed: Counter::default(),
            audits_left_out: Family::default(),
            store_keys: Family::default(),
            store_bytes: Family::default(),
            snapshots_failed: Counter::default(),
            compactions_failed: Counter::default(),
            compactions_put_off: Counter::default(),
            ledger_log_bytes: Gauge::default(),
            resident_bytes: Gauge::default(),
            available_bytes: Gauge::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let Metrics { registry, .. } = self;
        registry.register(
            "ready",
            "1 if what comes is taken in; 0 while the journal is told again, and while journal or ledger cannot be written",
            self.ready.clone(),
        );
        registry.register(
            "records_accepted",
            "Records taken in, by the feed that sent them; not what is read again out of the quarantine",
            self.accepted.clone(),
        );
        registry.register("records_refused", "Lines refused and kept in the quarantine, by the feed that sent them", self.refused.clone());
        let help = "When a feed last brought anything, in seconds since 1970; of one that the configuration names and that is silent since the start, when that was";
        registry.register("feed_time", help, self.feed_time.clone());
        let help = "Days from what the newest record that a feed last brought is of to the business date";
        registry.register("feed_lag_days", help, self.feed_lag_days.clone());
        registry.register("bodies_turned_away", "Bodies answered with 429 because there was no room", self.turned_away.clone());
        registry.register_with_unit(
            "bodies",
            "Room taken by bodies that come in, or came and are not in the engine yet",
            Unit::Bytes,
            self.bodies_bytes.clone(),
        );
        registry.register_with_unit("journal", "Written to the journal since the start", Unit::Bytes, self.journal_bytes.clone());
        registry.register("journal_failed", "Writes to the journal that failed", self.journal_failed.clone());
        registry.register_with_unit("sync", "Writing and syncing one epoch", Unit::Seconds, self.sync.clone());
        registry.register_with_unit("acknowledged", "From arrival to the journal, by submission", Unit::Seconds, self.acknowledged.clone());
        let help = "From the journal to decisions, by epoch: the wait for the engine, and the engine";
        registry.register_with_unit("decided", help, Unit::Seconds, self.decided.clone());
        registry.register_with_unit("written", "From decisions to the ledger, by epoch", Unit::Seconds, self.written.clone());
        registry.register_with_unit("in_ledger", "From the first arrival of an epoch to the ledger", Unit::Seconds, self.in_ledger.clone());
        let help = "From the first arrival of the epoch that led to a text to handing it to the network, each time it is; quiet hours and pauses are part of it";
        registry.register_with_unit("handed_over", help, Unit::Seconds, self.handed_over.clone());
        let help = "From the first arrival of the epoch that led to a text to the network's answer for it";
        registry.register_with_unit("answered", help, Unit::Seconds, self.answered.clone());
        registry.register("changes", "Changed decisions since the start", self.changes.clone());
        registry.register("texts", "Texts decided on, of all time", self.texts.clone());
        registry.register("texts_under_way", "Texts that wait or were handed over and not answered for", self.texts_under_way.clone());
        registry.register("offers", "Rights that may be written about, by the stage of their conversation", self.offers.clone());
        registry.register("braked", "Benefits of which texts were paused because much of them would change", self.braked.clone());
        registry.register("frontier", "The last epoch in the ledger", self.frontier.clone());
        registry.register("live", "1 if people are written to", self.live.clone());
        registry.register("register_unheard_days", "Days since a register was heard, of those ever heard", self.unheard_days.clone());
        registry.register("quarantine_waiting", "Refused lines that wait for somebody", self.quarantine.clone());
        registry.register("snapshot_epoch", "The epoch of the newest snapshot", self.snapshot_epoch.clone());
        registry.register("snapshot_time", "When the newest snapshot was complete, in seconds since 1970", self.snapshot_time.clone());
        registry.register_with_unit(
            "snapshot_stall",
            "How long the stream stood still for a snapshot",
            Unit::Seconds,
            self.snapshot_stall.clone(),
        );
        registry.register("audited", "Families that were computed once more by the twin", self.audited.clone());
        registry.register("audits_differing", "Families of which the twin says something else", self.audits_differing.clone());
        registry.register("audits_failed", "Audits that came to nothing", self.audits_failed.clone());
        let help = "Families that were picked and not computed once more: more than 400 people have a bearing on them, or one of those has several numbers";
        registry.register("audits_left_out", help, self.audits_left_out.clone());
        registry.register("store_keys", "Keys of a store of the engine, as of the newest snapshot or the start", self.store_keys.clone());
        let help = "What a store of the engine takes, as of the newest snapshot or the start: of a person, over the keys of `people`";
        registry.register_with_unit("store", help, Unit::Bytes, self.store_bytes.clone());
        registry.register("compactions_failed", "Compactions of the journal that failed", self.compactions_failed.clone());
        let help = "Compactions of the journal left to the next snapshot, since somebody read how the ledger stood before";
        registry.register("compactions_put_off", help, self.compactions_put_off.clone());
        let help = "The log of the ledger's file, which grows while somebody reads how the ledger stood before";
        registry.register_with_unit("ledger_log", help, Unit::Bytes, self.ledger_log_bytes.clone());
        registry.register("snapshots_failed", "Snapshots that could not be written or read", self.snapshots_failed.clone());
        registry.register_with_unit("resident", "Memory of the process", Unit::Bytes, self.resident_bytes.clone());
        registry.register_with_unit("available", "Memory that the process may still take", Unit::Bytes, self.available_bytes.clone());
    }

    /// A feed that the configuration names: its silence is measured from here on.
    pub fn expect(&self, feed: &str) {
        self.hear(&OfFeed::named(feed));
    }

    fn hear(&self, feed: &OfFeed) {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.feed_time.get_or_create(feed).set(since_1970.as_secs() as i64);
    }

    /// A feed brought lines that were accepted, and refused, which are durable now; of which date the newest record of them is.
    pub fn fed(&self, feed: &str, (accepted, refused): (u64, u64), newest: Date) {
        let feed = OfFeed::named(feed);
        self.hear(&feed);
        self.accepted.get_or_create(&feed).inc_by(accepted);
        self.refused.get_or_create(&feed).inc_by(refused);
        if newest > Date::BEFORE_ALL {
            self.newest.lock().unwrap_or_else(PoisonError::into_inner).insert(feed, newest);
        }
    }

    /// How far feeds are behind this business date, which moves on while they are silent.
    pub fn measure_lags(&self, today: Date) {
        for (feed, newest) in self.newest.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|_| today > Date::BEFORE_ALL) {
            self.feed_lag_days.get_or_create(feed).set(i64::from(today.0 - newest.0).max(0));
        }
    }

    /// How often something was timed, and how many seconds it took together.
    pub fn timed(&self, name: &str) -> (u64, f64) {
        let text = self.text();
        let value = |what: &str| {
            let name = format!("shanyraq_{name}_seconds_{what} ");
            text.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse::<f64>().ok()).unwrap_or(0.0)
        };
        (value("count") as u64, value("sum"))
    }

    /// All measures in the text format of Prometheus.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a string takes all that is written");
        text
    }

    /// Times something that began at this moment.
    pub fn since(histogram: &Histogram, begun: Instant) {
        histogram.observe(begun.elapsed().as_secs_f64());
    }
}
