//! How fast texts go out by message centres, from the moment on which they may: a country is written to from the beginning, its texts wait until all are
//! there, and then go at once.

use super::made_of_population;
use crate::commands::feeds::parse_date;
use crate::commands::{Failure, load_package};
use crate::dispatch::Kind;
use crate::intake::{Intake, Schema};
use crate::journal::{Own, Pausable};
use crate::ledger::Reader;
use crate::network::smpp::LinkTerms;
use crate::network::{Network, Routes};
use crate::pipeline::{Pipeline, Sending, Setup, Submission};
use clap::Args;
use dataflows::model::Date;
use fixtures::country::Country;
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Args)]
pub struct Arguments {
    /// A package's folder, or the name of a built-in package.
    #[arg(long, default_value = "kz")]
    policy: String,
    #[arg(long, default_value_t = 50_000)]
    persons: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Message centres: smpp://system_id:password@host:port?window=100&rate=100000; `pretend-centre` of this project is one.
    #[arg(long, required = true, num_args = 1..)]
    smsc: Vec<String>,
    /// A folder that is not there yet.
    #[arg(long, default_value = "bench-data")]
    data: PathBuf,
    #[arg(long, default_value = "2026-01-01", value_parser = parse_date)]
    start: Date,
}

const FOR_EVER: Duration = Duration::from_secs(600);
/// Between looks whether all texts are answered for.
const LOOK: Duration = Duration::from_millis(5);

pub fn dispatch(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { policy, persons, seed, smsc, data, start } = arguments;
    if data.exists() {
        return Err(Failure::usage(format!("--data {}: is there already", data.display())));
    }
    let links = smsc.iter().map(|url| LinkTerms::parse(url)).collect::<Result<Vec<_>, _>>();
    let links = links.map_err(|what| Failure::usage(format!("--smsc: {what}")))?;
    let package = load_package(policy)?;
    let schema = Arc::new(Schema::from(&*package.policy));
    let setup = Setup {
        sending: Sending { network: Network::Routes(Routes { links, gateway: None }), ..Sending::default() },
        allow_assumed: true,
        ..Setup::quiet(data)
    };
    let pipeline = Pipeline::start(Some(package), setup).map_err(|failure| Failure::failed(failure.to_string()))?;
    let submit = |submission| pipeline.scribe.submit(submission).map_err(|reason| Failure::failed(reason.to_string()));
    let pause = |paused: bool| {
        let kinds = Kind::ALL.into_iter().map(|kind| Own::Paused { what: Pausable::Template(kind.name().to_owned()), paused });
        kinds.map(|own| submit(Submission::of_own(own))).try_fold(0, |_, answer| answer.map(|answer| answer.epoch))
    };
    submit(Submission::of_own(Own::Live))?;
    pause(true)?;
    let country = Country::new(*persons, *seed, *start);
    let read = move |lines: &[u8]| Submission::read(&mut Intake::journalling(schema.clone()), "country", 1, lines);
    for part in made_of_population(country, read).flatten() {
        submit(part)?;
    }
    pipeline.progress.wait_for(submit(Submission::of_own(Own::Intents(Vec::new())))?.epoch, FOR_EVER);
    let texts = pipeline.progress.standing().texts_under_way;
    let begun = Instant::now();
    pause(false)?;
    while pipeline.progress.standing().texts_under_way > 0 {
        std::thread::sleep(LOOK);
    }
    let answered_seconds = begun.elapsed().as_secs_f64();
    let epochs = pipeline.progress.standing().epoch;
    let file = pipeline.ledger_file.clone();
    let statuses =
        || Reader::open(&file).and_then(|reader| reader.texts_by_status()).map_err(|failure| Failure::failed(failure.to_string()));
    // Receipts come after the answers.
    while statuses()?.get("taken").is_some_and(|taken| *taken > 0) && begun.elapsed() < FOR_EVER {
        std::thread::sleep(LOOK * 20);
    }
    let delivered_seconds = begun.elapsed().as_secs_f64();
    let statuses = statuses()?;
    pipeline.stop();
    fs::remove_dir_all(data).map_err(|error| Failure::failed(format!("{}: {error}", data.display())))?;
    println!(
        "{}",
        json!({ "bench": "dispatch", "persons": persons, "texts": texts, "answered_seconds": answered_seconds, "texts_per_second": texts as f64 / answered_seconds,
                "delivered_seconds": delivered_seconds, "statuses": statuses, "epochs": epochs })
    );
    Ok(())
}
