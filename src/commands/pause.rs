//! `shanyraq pause` and `resume`: a feed, or texts about a benefit or of a kind, wait until they may go on.

use super::Failure;
use super::feed::{post, wait_for};
use clap::Args;
use serde_json::json;

/// Which of them, and of which pipeline.
#[derive(Args, Clone, Debug)]
pub struct PauseArguments {
    #[command(flatten)]
    what: What,
    /// The pipeline.
    #[arg(long, default_value = "http://127.0.0.1:7117")]
    to: String,
}

#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct What {
    /// Whoever sends as this feed is asked to come again: by the name of its token, `http` of all who have none, `folder` of the watched folder.
    #[arg(long)]
    feed: Option<String>,
    /// Texts about this benefit wait.
    #[arg(long)]
    benefit: Option<String>,
    /// Texts of this kind wait: offer, repeat, notice, account, ...
    #[arg(long)]
    template: Option<String>,
}

pub fn pause(arguments: &PauseArguments, paused: bool) -> Result<(), Failure> {
    let PauseArguments { what: What { feed, benefit, template }, to } = arguments;
    let mut row = json!({ "paused": paused });
    for (name, what) in [("feed", feed), ("benefit", benefit), ("template", template)] {
        what.iter().for_each(|what| row[name] = what.as_str().into());
    }
    let answer = post(&format!("{to}/v1/pause"), "", row.to_string().as_bytes())?;
    wait_for(to, answer["token"].as_str().unwrap_or_default()).map(drop)
}
