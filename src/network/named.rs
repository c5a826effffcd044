//! A gateway over HTTP of our own kind: it takes each text under a name of ours, once however often it is given it.

use super::{Hearing, PAUSE};
use crate::journal::Own;
use crate::ledger::Message;
use crate::pipeline::Scribe;
use serde_json::json;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// How long a network may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn run(url: &str, scribe: &Scribe, mut texts: UnboundedReceiver<Message>, hearing: &Hearing) {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).build().into();
    while let Some(message) = texts.blocking_recv() {
        let body = json!({ "message": format!("{:032x}", message.id), "phone": message.text.phone.to_string(), "text": message.text.body });
        let body = body.to_string();
        let delivered = loop {
            // Whether an unanswered text arrived is not known: it is given again under the same name.
            match agent.post(url).header("content-type", "application/json").send(body.as_bytes()).map(|answer| answer.status()) {
                Ok(status) if status.is_success() => break true,
                Ok(status) if status.is_client_error() && status != 429 => break false,
                _ if scribe.is_leaving() => return,
                _ => std::thread::sleep(PAUSE),
            }
        };
        // The next one is given once this is synced: a start gives again what was not, one at most.
        if hearing.have_synced(Own::Receipt { message: message.id, delivered }).blocking_recv().is_err() {
            return;
        }
    }
}
