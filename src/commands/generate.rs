//! `shanyraq generate`: a synthetic country in files.
//!
//! Neighbourhoods are made on all cores, eight to a zstd frame; the frames stand in order, so that the files are the same bytes
//! whatever the number of threads. What arrives on a day is spilled into a file of that day and joined at the end: memory holds only
//! the neighbourhoods in hand.

use clap::Args;
use dataflows::model::Date;
use fixtures::country::{Country, History, in_order, morning, opening, pilot};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Neighbourhoods in a frame: large enough to compress well, small enough for many threads.
const NEIGHBOURHOODS_A_FRAME: usize = 8;
const COMPRESSION_LEVEL: i32 = 3;

/// Write a synthetic country: DIR/population.ndjson.zst, DIR/updates.ndjson.zst and DIR/truth/.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// People alive on the first day. Above some 24 million their numbers (ИИН) also use serials below 9000.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=200_000_000), required_unless_present = "scenario")]
    pub persons: Option<u64>,
    /// Not a country, but what a story needs: DIR/population.ndjson.zst alone.
    #[arg(long, value_enum, conflicts_with_all = ["persons", "days", "history"])]
    pub scenario: Option<Scenario>,
    /// The same seed and size give the same bytes.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Days of life after the first day.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=3_650))]
    pub days: u64,
    /// The first day.
    #[arg(long, default_value = "2026-01-01", value_parser = first_day)]
    pub start: Date,
    /// Months of contributions, benefits and declarations before the first day; if absent, the 3 to 6 that rules ask for at the least.
    #[arg(long, value_name = "MONTHS", value_parser = clap::value_parser!(u8).range(1..=120))]
    pub history: Option<u8>,
    /// Where to write.
    #[arg(long)]
    pub out: PathBuf,
    /// Threads; all cores if absent. The files do not depend on it.
    #[arg(long)]
    pub threads: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// The 28,061 applications of the scoring pilot in Karaganda oblast and Shymkent, of which 954 are of category 6.
    Pilot,
}

fn first_day(text: &str) -> Result<Date, String> {
    Date::parse(text).ok_or_else(|| format!("{text} is no date of the form YYYY-MM-DD"))
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Lines of the population and of all days, dates and heartbeats included.
    pub population_lines: u64,
    pub update_lines: u64,
    pub births: u64,
}

/// Compressed neighbourhoods that belong together.
struct Frame {
    population: Vec<u8>,
    days: Vec<Vec<u8>>,
    households: Vec<u8>,
    income: Vec<u8>,
    summary: Summary,
}

/// Writes the country; the folder is created, files of an earlier run are replaced.
pub fn generate(arguments: &Arguments) -> io::Result<Summary> {
    let Some(persons) = arguments.persons else { return generate_pilot(arguments) };
    let history = arguments.history.map_or_else(History::default, |months| History::of_months(i32::from(months)));
    let country = Country::new(persons as usize, arguments.seed, arguments.start).with_history(history);
    let days = arguments.days as usize;
    let threads = arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let spill = Spill::new(&arguments.out, days)?;
    fs::create_dir_all(arguments.out.join("truth"))?;
    let mut population = create(&arguments.out, "population.ndjson.zst")?;
    let mut households = create(&arguments.out, "truth/households.ndjson.zst")?;
    let mut income = create(&arguments.out, "truth/income.ndjson.zst")?;
    let mut summary = Summary::default();
    let frames = country.neighbourhoods().div_ceil(NEIGHBOURHOODS_A_FRAME);
    for frame in in_order(threads, frames, move |frame| make_frame(country, frame, days)) {
        let frame = frame?;
        population.write_all(&frame.population)?;
        households.write_all(&frame.households)?;
        income.write_all(&frame.income)?;
        spill.append(&frame.days)?;
        summary.population_lines += frame.summary.population_lines;
        summary.update_lines += frame.summary.update_lines;
        summary.births += frame.summary.births;
    }
    let opening = opening(arguments.start);
    summary.population_lines += lines(&opening);
    population.write_all(&compress(&opening)?)?;
    for mut file in [population, households, income] {
        file.flush()?;
    }
    summary.update_lines += spill.join(arguments.start, create(&arguments.out, "updates.ndjson.zst")?)?;
    Ok(summary)
}

/// Writes the records of the pilot; nothing happens after the first day.
fn generate_pilot(arguments: &Arguments) -> io::Result<Summary> {
    fs::create_dir_all(&arguments.out)?;
    let mut population = create(&arguments.out, "population.ndjson.zst")?;
    let mut summary = Summary::default();
    for block in pilot(arguments.seed, arguments.start).chain([opening(arguments.start)]) {
        summary.population_lines += lines(&block);
        population.write_all(&compress(&block)?)?;
    }
    population.flush()?;
    Ok(summary)
}

/// Makes and compresses the neighbourhoods of one frame.
fn make_frame(country: Country, frame: usize, days: usize) -> io::Result<Frame> {
    let (mut population, mut households, mut income) = (Vec::new(), Vec::new(), Vec::new());
    let mut by_day = vec![Vec::new(); days];
    let mut summary = Summary::default();
    let first = frame * NEIGHBOURHOODS_A_FRAME;
    for index in first..country.neighbourhoods().min(first + NEIGHBOURHOODS_A_FRAME) {
        let mut neighbourhood = country.neighbourhood(index);
        neighbourhood.population(country.seed(), &mut population);
        neighbourhood.true_income(&mut income);
        neighbourhood.true_households(country.start(), &mut households);
        if days > 0 {
            let life = neighbourhood.live(country.seed(), days);
            by_day.iter_mut().zip(&life.days).for_each(|(day, lines)| day.extend_from_slice(lines));
            neighbourhood.true_households(Date(country.start().0 + days as i32), &mut households);
            summary.births += life.births.len() as u64;
        }
    }
    summary.population_lines = lines(&population);
    summary.update_lines = by_day.iter().map(|day| lines(day)).sum();
    let days = by_day.iter().map(|day| compress(day)).collect::<io::Result<_>>()?;
    Ok(Frame { population: compress(&population)?, days, households: compress(&households)?, income: compress(&income)?, summary })
}

/// What arrives by day, on disk until every neighbourhood has lived.
struct Spill {
    folder: PathBuf,
    days: usize,
}

impl Spill {
    fn new(out: &Path, days: usize) -> io::Result<Self> {
        let folder = out.join("spill");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(Spill { folder, days })
    }

    fn path(&self, day: usize) -> PathBuf {
        self.folder.join(format!("{day}.zst"))
    }

    /// Adds compressed lines to each day's file, which is opened for this only: there may be more days than a process may hold files.
    fn append(&self, days: &[Vec<u8>]) -> io::Result<()> {
        for (day, bytes) in days.iter().enumerate() {
            OpenOptions::new().create(true).append(true).open(self.path(day))?.write_all(bytes)?;
        }
        Ok(())
    }

    /// Writes the days one after the other, each behind its date and heartbeats; gives the number of lines added.
    fn join(self, start: Date, mut out: BufWriter<File>) -> io::Result<u64> {
        let mut added = 0;
        for day in 0..self.days {
            let morning = morning(Date(start.0 + day as i32 + 1));
            added += lines(&morning);
            out.write_all(&compress(&morning)?)?;
            io::copy(&mut File::open(self.path(day))?, &mut out)?;
        }
        out.flush()?;
        fs::remove_dir_all(&self.folder)?;
        Ok(added)
    }
}

fn create(folder: &Path, name: &str) -> io::Result<BufWriter<File>> {
    File::create(folder.join(name)).map(BufWriter::new)
}

fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(bytes, COMPRESSION_LEVEL)
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// Runs the command and says what was written.
pub fn run(arguments: &Arguments) -> Result<(), super::Failure> {
    let summary = generate(arguments).map_err(|error| super::Failure::failed(format!("{}: {error}", arguments.out.display())))?;
    println!(
        "{} records on the first day, {} in {} days, {} births",
        summary.population_lines, summary.update_lines, arguments.days, summary.births
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};

    fn generated(threads: usize) -> PathBuf {
        let out = std::env::temp_dir().join(format!("shanyraq-generate-{}-{threads}", std::process::id()));
        let start = Date::from_ymd(2026, 1, 1).unwrap();
        let arguments = Arguments {
            persons: Some(17_300),
            scenario: None,
            seed: 5,
            days: 12,
            start,
            history: None,
            out: out.clone(),
            threads: Some(threads),
        };
        assert!(generate(&arguments).unwrap().births > 0);
        out
    }

    #[test]
    fn files_are_the_same_for_any_number_of_threads() {
        let (one, three) = (generated(1), generated(3));
        for name in ["population.ndjson.zst", "updates.ndjson.zst", "truth/households.ndjson.zst", "truth/income.ndjson.zst"] {
            assert!(fs::read(one.join(name)).unwrap() == fs::read(three.join(name)).unwrap(), "{name} differs");
        }
        assert!(!one.join("spill").exists());
        let updates = BufReader::new(zstd::Decoder::new(File::open(one.join("updates.ndjson.zst")).unwrap()).unwrap());
        let dates = updates.lines().filter(|line| line.as_ref().unwrap().contains("\"calendar\"")).count();
        assert_eq!(dates, 12);
        fs::remove_dir_all(one).unwrap();
        fs::remove_dir_all(three).unwrap();
    }
}
