//! `shanyraq run`: the long-lived pipeline.

use super::{Failure, load_policy};
use crate::pipeline::{Network, Pipeline, Setup};
use crate::serve::{Doors, router};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// The long-lived pipeline: feeds in by HTTP, decisions and texts out.
#[derive(Args, Clone, Debug)]
pub struct RunArguments {
    /// The folder of journal and ledger.
    #[arg(long, default_value = "data")]
    pub data: PathBuf,
    /// A package's folder, or the name of a built-in package.
    #[arg(long, default_value = "kz")]
    pub policy: String,
    /// The address of the doors. Only loopback until feeds and readers have tokens.
    #[arg(long, default_value = "127.0.0.1:7117")]
    pub listen: SocketAddr,
    /// Where texts go: the address of a gateway (http://…), or none.
    #[arg(long, default_value = "none")]
    pub smsc: String,
    /// Worker threads of the dataflow.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Offer amounts that the package only assumes, too.
    #[arg(long)]
    pub allow_assumed: bool,
}

/// Runs until it is asked to stop.
pub fn run(arguments: RunArguments) -> Result<(), Failure> {
    if !arguments.listen.ip().is_loopback() {
        return Err(Failure::usage(format!("{}: not a loopback address, and feeds and readers have no tokens", arguments.listen)));
    }
    let network = network(&arguments.smsc)?;
    let policy = load_policy(&arguments.policy)?;
    let RunArguments { data, workers, allow_assumed, listen, .. } = arguments;
    let setup = Setup { data, workers: usize::from(workers), network, allow_assumed };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        let problem = |error: std::io::Error| Failure::failed(format!("{listen}: {error}"));
        let listener = TcpListener::bind(listen).await.map_err(problem)?;
        eprintln!("shanyraq: listening on http://{}", listener.local_addr().map_err(problem)?);
        let doors = Doors::closed();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn({
            let router = router(doors.clone());
            async move { axum::serve(listener, router).with_graceful_shutdown(async { drop(stopped.await) }).await }
        });
        let started = tokio::task::spawn_blocking(move || Pipeline::start(policy, setup)).await;
        let pipeline = started.map_err(|error| Failure::failed(error.to_string()))?;
        let pipeline = pipeline.map_err(|failure| Failure::failed(failure.to_string()))?;
        doors.open(&pipeline);
        eprintln!("shanyraq: ready at epoch {}", pipeline.progress.standing().epoch);
        asked_to_stop().await.map_err(|error| Failure::failed(format!("no signals: {error}")))?;
        // What is being answered is answered; then what was taken in goes through.
        let _ = stop.send(());
        serving.await.map_err(|error| Failure::failed(error.to_string()))?.map_err(problem)?;
        let progress = pipeline.progress.clone();
        tokio::task::spawn_blocking(move || pipeline.stop()).await.map_err(|error| Failure::failed(error.to_string()))?;
        match progress.standing().failure {
            Some(failure) => Err(Failure::failed(failure)),
            None => Ok(()),
        }
    })
}

fn network(smsc: &str) -> Result<Network, Failure> {
    match smsc {
        "none" => Ok(Network::Nowhere),
        url if url.starts_with("http://") => Ok(Network::Gateway(url.to_owned())),
        other => Err(Failure::usage(format!("--smsc {other}: neither `none` nor the address of a gateway, http://…"))),
    }
}

async fn asked_to_stop() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
