//! `shanyraq demo`: a synthetic country, its life at a day a second, pretend phones and a pretend agency, all in one process.
//!
//! A day's records arrive spread evenly over its second, whether or not the engine keeps up (an open loop), so that the latency
//! shown is what a record would have met.

mod family;
mod pipeline;
mod tally;
mod view;

use crate::commands::{Failure, load_policy};
use clap::{Args, ValueEnum};
use dataflows::model::Date;
use family::Family;
use fixtures::country::{Birth, Country, morning};
use fixtures::phones::Funnel;
use pipeline::{Pipeline, minute};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use view::{Latency, Screen, Snapshot, Terminal, count};

/// Threads that make the country; the engine has one of its own.
const COUNTRY_THREADS: usize = 2;
/// How often the picture is drawn anew.
const REDRAWN_EVERY: Duration = Duration::from_millis(100);
/// The longest nap while nothing is due, so that phones are heard and Ctrl-C is obeyed.
const NAP: Duration = Duration::from_millis(5);
/// Days that a followed family needs after the birth: offers, answers, a case, a pay run.
const STORY_DAYS: i32 = 14;

#[derive(Args)]
pub struct DemoArguments {
    /// People in the country.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1_000..=2_000_000))]
    persons: u32,
    /// Days of life.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    days: u32,
    /// Days a second.
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// The same seed gives the same country and the same answers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The first day.
    #[arg(long, default_value = "2026-02-10", value_parser = crate::commands::feeds::parse_date)]
    start: Date,
    /// How people answer: as in the pilot of 2022, or as in 2025.
    #[arg(long, value_enum, default_value = "2025")]
    answers: Answers,
}

#[derive(Clone, Copy, ValueEnum)]
enum Answers {
    Pilot,
    #[value(name = "2025")]
    Year2025,
}

fn speed(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|speed| (0.01..=1000.0).contains(speed)).ok_or_else(|| "not a number from 0.01 to 1000".to_owned())
}

/// Runs the demonstration until its days are over or Ctrl-C.
pub fn demo(arguments: DemoArguments) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    ctrlc::set_handler(move || stopped.store(true, Ordering::Relaxed)).map_err(|error| Failure::failed(format!("Ctrl-C: {error}")))?;
    let policy = load_policy("kz")?;
    let country = Country::new(arguments.persons as usize, arguments.seed, arguments.start);
    let funnel = match arguments.answers {
        Answers::Pilot => Funnel::PILOT,
        Answers::Year2025 => Funnel::YEAR_2025,
    };
    println!("Shanyraq: a country of {} people is born …", count(u64::from(arguments.persons)));
    println!("Nobody is real: amounts that the package only assumes are offered too, as a live dispatch does with --allow-assumed alone.");
    let births = country.born_families(arguments.days as usize);
    let family = followed(&births, &arguments).map_or_else(Family::nobody, Family::of);
    let mut show = Show {
        pipeline: Pipeline::new(policy, arguments.seed, funnel, family),
        terminal: Terminal::detect(),
        day: 0,
        days: arguments.days as usize,
        date: arguments.start,
        drawn: Instant::now(),
        rate: Rate::default(),
        stop,
        begun: Instant::now(),
    };
    show.load(country);
    let lived = show.live(country, Duration::from_secs_f64(1.0 / arguments.speed));
    show.sum_up(lived);
    Ok(())
}

/// The family whose story is told: the first whose newborn makes it a large one, early enough for the story to end.
fn followed<'a>(births: &'a [Birth], arguments: &DemoArguments) -> Option<&'a Birth> {
    let last = Date(arguments.start.0 + arguments.days as i32 - STORY_DAYS);
    let large = births.iter().find(|birth| birth.children_after == 4 && birth.registered <= last);
    large.or_else(|| births.iter().find(|birth| birth.registered <= last))
}

/// Records a second, over the last whole stretch of a second.
#[derive(Default)]
struct Rate {
    since: Option<(Instant, u64)>,
    per_second: u64,
}

impl Rate {
    fn update(&mut self, records: u64) -> u64 {
        let (since, before) = *self.since.get_or_insert((Instant::now(), records));
        let passed = since.elapsed().as_secs_f64();
        if passed >= 1.0 {
            self.per_second = ((records - before) as f64 / passed) as u64;
            self.since = Some((Instant::now(), records));
        }
        self.per_second
    }
}

/// The demonstration as it runs.
struct Show {
    pipeline: Pipeline,
    terminal: Terminal,
    day: usize,
    days: usize,
    date: Date,
    drawn: Instant,
    rate: Rate,
    stop: Arc<AtomicBool>,
    begun: Instant,
}

impl Show {
    /// The country as it is on the first day is the baseline: nobody is written to about it.
    fn load(&mut self, country: Country) {
        let begun = Instant::now();
        for block in country.population_blocks(COUNTRY_THREADS) {
            self.pipeline.load(&block);
            if self.stopped() {
                return;
            }
        }
        let records = self.pipeline.tally.records;
        self.pipeline.go_live();
        let decisions = self.pipeline.ledger().in_force();
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "{} records loaded in {seconds:.1} s; {} decisions in force are the baseline, and nobody is written to about them.\n",
            count(records),
            count(decisions as u64)
        );
    }

    /// Lives day by day; how many days it were.
    fn live(&mut self, country: Country, day_length: Duration) -> usize {
        let days = country.days(self.days);
        let screen = self.terminal.live.then(|| Screen::open(self.terminal));
        self.begun = Instant::now();
        for (date, lines) in days {
            if self.stopped() {
                break;
            }
            self.day += 1;
            self.date = date;
            let before = self.pipeline.tally.records;
            self.live_day(&lines, day_length, screen.as_ref());
            if screen.is_none() {
                let snapshot = self.snapshot();
                println!("{}", view::day_line(&snapshot, self.pipeline.tally.records - before));
                self.pipeline.family.news().iter().for_each(|line| println!("    {line}"));
            }
        }
        let last = self.snapshot();
        screen.into_iter().for_each(|screen| screen.close(last.clone()));
        self.day
    }

    /// The day's morning at once, the rest of its lines evenly over its length.
    fn live_day(&mut self, lines: &[u8], length: Duration, screen: Option<&Screen>) {
        let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        let mornings = morning(self.date).split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        let (first, rest) = lines.split_at(mornings.min(lines.len()));
        let begun = Instant::now();
        self.pipeline.morning(self.date, first);
        let due = |index: usize| length.mul_f64((index as f64 + 0.5) / rest.len().max(1) as f64);
        let mut next = 0;
        while !self.stopped() && (next < rest.len() || begun.elapsed() < length) {
            let now = begun.elapsed();
            let arrived = next + (next..rest.len()).take_while(|index| due(*index) <= now).count();
            let share = (now.as_secs_f64() / length.as_secs_f64()).min(1.0);
            if self.pipeline.epoch(&rest[next..arrived], minute(self.date, share)) {
                let done = begun.elapsed();
                (next..arrived).for_each(|index| self.pipeline.tally.latency(done.saturating_sub(due(index))));
                next = arrived;
            } else {
                let until = if next < rest.len() { due(next) } else { length };
                std::thread::sleep(until.saturating_sub(now).min(NAP));
            }
            self.redraw(screen);
        }
    }

    fn redraw(&mut self, screen: Option<&Screen>) {
        if let Some(screen) = screen
            && self.drawn.elapsed() >= REDRAWN_EVERY
        {
            self.drawn = Instant::now();
            screen.show(self.snapshot());
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        let tally = &self.pipeline.tally;
        Snapshot {
            date: self.date,
            day: self.day,
            days: self.days,
            people: tally.people,
            families: tally.families(),
            records: tally.records,
            records_per_second: self.rate.update(tally.records),
            epochs: tally.epochs,
            changes: tally.changes,
            today: tally.today,
            latency: Latency::of(&tally.latency),
            texts: view::texts(tally),
            stages: view::stages(self.pipeline.ledger().desk().counts()),
            categories: tally.categories.iter().map(|(category, number)| (*category, *number)).collect(),
            family: self.pipeline.family.title(),
            story: self.pipeline.family.story().to_vec(),
        }
    }

    /// What came of it.
    fn sum_up(&self, lived: usize) {
        let tally = &self.pipeline.tally;
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let offers = tally.texts.get(&crate::dispatch::Kind::Offer).copied().unwrap_or(0);
        println!("\n{lived} days in {:.0} s", self.begun.elapsed().as_secs_f64());
        println!(
            "  records      {} ({} refused at the door) in {} epochs",
            count(tally.records),
            count(tally.refused),
            count(tally.epochs)
        );
        println!(
            "  decisions    {} changed: one for {:.0} records",
            count(tally.changes.all()),
            1.0 / share(tally.changes.all(), tally.records)
        );
        println!(
            "  texts        {} ({:.2} for a thousand records)",
            count(tally.texts_sent()),
            1000.0 * share(tally.texts_sent(), tally.records)
        );
        println!(
            "  offers       {offers}; agreed to: {} ({:.0} %), assigned so far: {}",
            tally.cases,
            100.0 * share(tally.cases, offers),
            tally.assigned
        );
        let silences: Vec<String> =
            self.pipeline.ledger().silences().into_iter().map(|(reason, number)| format!("{} {number}", reason.name())).collect();
        println!("  silent       rights in force that nobody is written to about: {}", silences.join(", "));
        let fates: Vec<String> = tally.fates.iter().map(|(fate, number)| format!("{fate} {number}")).collect();
        println!("  families     {}", fates.join(", "));
        println!("  lists        {} lines for social workers", count(tally.notes));
        println!("  latency      {}", Latency::of(&tally.latency));
        println!("  memory       {} MiB at most", crate::commands::peak_rss_bytes() >> 20);
        if self.terminal.live && !self.pipeline.family.story().is_empty() {
            println!("\n{}", self.pipeline.family.title());
            self.pipeline.family.story().iter().for_each(|line| println!("  {line}"));
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
