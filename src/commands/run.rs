//! `shanyraq run`: the long-lived pipeline.

use super::configuration::Configuration;
use super::{Failure, load_package};
use crate::intake::{Schema, did_you_mean};
use crate::journal::base::Archive;
use crate::packages::{Package, title};
use crate::pipeline::Failure::Unwritten;
use crate::pipeline::{self, Pipeline, Sending, Setup, Standing, in_force, is_ledger_behind, journal_folder};
use crate::serve::{Connections, Doors, router};
use crate::sources::mapping::load;
use axum::serve::Listener;
use clap::Args;
use dataflows::policy::Policy;
use sd_notify::NotifyState;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

/// Where nothing is there yet, and no package is named.
const DEFAULT_PACKAGE: &str = "kz";
const SECONDS_A_DAY: u64 = 24 * 60 * 60;
/// Between looks at whether the pipeline still works.
const LOOK: Duration = Duration::from_millis(500);

/// The long-lived pipeline: feeds in by HTTP, decisions and texts out.
#[derive(Args, Clone, Debug)]
pub struct RunArguments {
    /// A configuration file; flags count before it.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Say what would be run, or what is wrong with it, and do nothing.
    #[arg(long)]
    pub check: bool,
    /// The folder of journal and ledger [default: data].
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// A package's folder, or the name of a built-in package [default: the one in force in the data folder; in an empty one kz].
    #[arg(long)]
    pub policy: Option<String>,
    /// The address of the doors [default: 127.0.0.1:7117].
    #[arg(long)]
    pub listen: Option<SocketAddr>,
    /// Where texts go: the address of a gateway (http://…, or a template with {phone} and {text}) or of a message centre (smpp://system_id:password@host:port?window=100&rate=500), pretend (each arrives, nowhere), or none [default: none].
    #[arg(long)]
    pub smsc: Option<String>,
    /// Hours in which no text leaves, in UTC+5, like 21:00-09:00 or none [default: 21:00-09:00].
    #[arg(long)]
    pub quiet_hours: Option<String>,
    /// Worker threads of the dataflow [default: 1].
    #[arg(long)]
    pub workers: Option<u16>,
    /// Offer amounts that the package only assumes, too.
    #[arg(long)]
    pub allow_assumed: bool,
}

impl RunArguments {
    fn configuration(&self) -> Result<Configuration, Failure> {
        let said = self.config.as_deref().map_or_else(|| Ok(Configuration::default()), Configuration::read)?;
        Ok(Configuration {
            data: self.data.clone().unwrap_or(said.data),
            policy: self.policy.clone().unwrap_or(said.policy),
            listen: self.listen.unwrap_or(said.listen),
            smsc: self.smsc.clone().unwrap_or(said.smsc),
            quiet_hours: self.quiet_hours.clone().unwrap_or(said.quiet_hours),
            workers: self.workers.unwrap_or(said.workers),
            allow_assumed: self.allow_assumed || said.allow_assumed,
            ..said
        })
    }
}

/// Runs until it is asked to stop.
pub fn run(arguments: &RunArguments) -> Result<(), Failure> {
    let configuration = arguments.configuration()?;
    let sending = configuration.check()?;
    let package = match configuration.policy.as_str() {
        "" if journal_folder(&configuration.data).exists() => None,
        "" => Some(load_package(DEFAULT_PACKAGE)?),
        name => Some(load_package(name)?),
    };
    let in_force = match in_force(&configuration.data, package.as_ref()) {
        Err(failure) if arguments.check => refuse_or_warn(&configuration.data, &failure)?,
        // What is the matter with a data folder its start tells.
        in_force => in_force.unwrap_or_default(),
    };
    let policy = in_force.as_ref().or(package.as_ref()).map(|package| &package.policy);
    policy.map_or(Ok(()), |policy| check_against(policy, &configuration))?;
    if arguments.check {
        let said = policy.map(|policy| format!("{}: {} benefits", title(policy), policy.benefits.len()));
        println!("{}; all is well", said.as_deref().unwrap_or("the package in force"));
        return Ok(());
    }
    // One JSON object a line: names of files and epochs, never of people.
    tracing_subscriber::fmt().json().flatten_event(true).with_target(false).with_writer(std::io::stderr).init();
    let Configuration { data, listen, watch, maps, tokens, silence_seconds, drain_seconds, .. } = configuration.clone();
    let (silence, patience) = (Duration::from_secs(silence_seconds), Duration::from_secs(drain_seconds));
    let mut setup = set_up(configuration, sending);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::heard().map_err(|error| Failure::failed(format!("no signals: {error}")))?;
        let problem = |error: std::io::Error| Failure::failed(format!("{listen}: {error}"));
        let connections = Connections::at(listen, silence).map_err(problem)?;
        let address = connections.local_addr().map_err(problem)?;
        setup.sending.network.found_at(address);
        tracing::info!(url = format!("http://{address}"), "listening");
        let doors = Doors::closed(tokens, silence, &setup);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn({
            let router = router(doors.clone());
            async move { axum::serve(connections, router).with_graceful_shutdown(async { drop(stopped.await) }).await }
        });
        let starting = tokio::task::spawn_blocking({
            let doors = doors.clone();
            move || {
                let opened = Pipeline::open(package, setup)?;
                doors.show(&opened);
                opened.catch_up()
            }
        });
        let started = tokio::select! {
            started = starting => started,
            // Nothing was taken in yet: what is written is told again by the next start.
            () = signals.asked_to_stop() => {
                tracing::info!("stopped before it was ready");
                tell_supervisor(NotifyState::Stopping);
                return Ok(());
            }
        };
        let pipeline = started.map_err(|error| Failure::failed(error.to_string()))?;
        let pipeline = pipeline.map_err(|failure| Failure::failed(failure.to_string()))?;
        doors.open(&pipeline);
        if !watch.as_os_str().is_empty() {
            let watching = crate::serve::watch(&watch, maps, &pipeline);
            watching.map_err(|error| Failure::failed(format!("watch: {}: {error}", watch.display())))?;
        }
        tracing::info!(epoch = pipeline.progress.standing().epoch, "ready");
        tell_supervisor(NotifyState::Ready);
        tokio::select! {
            () = signals.asked_to_stop() => {}
            () = given_up(&pipeline) => {}
        }
        tracing::info!(epoch = pipeline.progress.standing().epoch, "stopping");
        tell_supervisor(NotifyState::Stopping);
        // What is being answered is answered; then what was taken in goes through.
        let _ = stop.send(());
        match timeout(patience, serving).await {
            Ok(served) => served.map_err(|error| Failure::failed(error.to_string()))?.map_err(problem)?,
            // Their connections end with the process; what comes over them until the scribe closes is acknowledged or refused as ever.
            Err(_) => tracing::warn!(seconds = drain_seconds, "somebody is too slow to be waited for"),
        }
        let progress = pipeline.progress.clone();
        tokio::task::spawn_blocking(move || pipeline.stop()).await.map_err(|error| Failure::failed(error.to_string()))?;
        tracing::info!(epoch = progress.standing().epoch, "stopped");
        match progress.standing() {
            Standing { failure: Some(failure), .. } => Err(Failure::failed(failure)),
            Standing { journal_failure: Some(what), .. } => Err(Failure::failed(Unwritten { data, what }.to_string())),
            _ => Ok(()),
        }
    });
    // A start that was broken off is not waited for.
    runtime.shutdown_background();
    ended
}

/// A check refuses what a start would: of what the ledger's file does not know yet it can only say so.
fn refuse_or_warn(data: &Path, failure: &pipeline::Failure) -> Result<Option<Package>, Failure> {
    if matches!(failure, pipeline::Failure::NotActivated { .. }) && is_ledger_behind(data).unwrap_or(true) {
        eprintln!("shanyraq: only a start can tell whether this is so, since the ledger's file is behind its journal: {failure}");
        return Ok(None);
    }
    Err(Failure::failed(failure.to_string()))
}

/// What of a configuration is about a package's registers and benefits.
fn check_against(policy: &Policy, configuration: &Configuration) -> Result<(), Failure> {
    if !configuration.maps.is_empty() {
        load(&Schema::from(policy), &configuration.maps).map_err(|what| Failure::usage(format!("maps: {what}")))?;
    }
    if let Some(unknown) = configuration.at_least_once.iter().find(|benefit| policy.benefit(benefit).is_none()) {
        let hint = did_you_mean(unknown, policy.benefits.iter().map(|benefit| benefit.id.as_str()));
        return Err(Failure::usage(format!("at_least_once: there is no benefit `{unknown}`{hint}")));
    }
    Ok(())
}

/// A pipeline as a configuration has it.
fn set_up(configuration: Configuration, sending: Sending) -> Setup {
    let Configuration { data, archive, archive_kept_days, .. } = configuration;
    let archive = Some(archive).filter(|archive| !archive.as_os_str().is_empty());
    Setup {
        archive: archive.map(|archive| Archive { folder: data.join(archive), kept_for: days(archive_kept_days) }),
        data,
        workers: usize::from(configuration.workers),
        sending,
        allow_assumed: configuration.allow_assumed,
        segment_bytes: configuration.segment_bytes,
        snapshot_every: Duration::from_secs(configuration.snapshot_seconds),
        snapshots_kept: configuration.snapshots_kept,
        snapshots_kept_for: days(configuration.snapshots_kept_days),
        audited_families: configuration.audited_families,
        compact_after_segments: configuration.compact_after_segments,
        metrics: Arc::default(),
    }
}

/// So many days; of none it is for ever.
fn days(days: u64) -> Duration {
    match days {
        0 => Duration::MAX,
        days => Duration::from_secs(days.saturating_mul(SECONDS_A_DAY)),
    }
}

/// The signals by which somebody asks the process to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on they end nothing by themselves.
    fn heard() -> std::io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns once somebody asks.
    async fn asked_to_stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Whoever started the process may want to know; where nobody does, nothing happens.
fn tell_supervisor(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the supervisor cannot be told");
    }
}

async fn given_up(pipeline: &Pipeline) {
    while !pipeline.scribe.is_closed() {
        tokio::time::sleep(LOOK).await;
    }
}
