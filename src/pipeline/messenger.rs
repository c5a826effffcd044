//! The messenger: hands texts to the network, each under its own name, until the network says what became of it.

use super::scribe::Scribe;
use super::submission::Submission;
use crate::journal::Own;
use crate::ledger::Message;
use serde_json::json;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a network may take to answer, and how long it is left alone when it does not.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);

/// Where texts go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// They stay in the outbox.
    Nowhere,
    /// A gateway that takes `{"message", "phone", "text"}` by POST, and takes the same message once however often it is given it.
    Gateway(String),
}

/// Starts the thread that hands over the texts that are sent to it.
pub(super) fn start(network: Network, scribe: Scribe) -> (Sender<Message>, JoinHandle<()>) {
    let (texts_in, texts) = channel();
    let run = move || run(&network, &scribe, &texts);
    let thread = std::thread::Builder::new().name("messenger".to_owned()).spawn(run).expect("a thread can be started");
    (texts_in, thread)
}

fn run(network: &Network, scribe: &Scribe, texts: &Receiver<Message>) {
    let Network::Gateway(url) = network else { return };
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).build().into();
    for message in texts {
        let body = json!({ "message": format!("{:032x}", message.id), "phone": message.text.phone.to_string(), "text": message.text.body });
        let body = body.to_string();
        let delivered = loop {
            // Whether an unanswered text arrived is not known: it is given again under the same name.
            match agent.post(url).header("content-type", "application/json").send(body.as_bytes()).map(|answer| answer.status()) {
                Ok(status) if status.is_success() => break true,
                Ok(status) if status.is_client_error() && status != 429 => break false,
                _ if scribe.is_closed() => return,
                _ => std::thread::sleep(PAUSE),
            }
        };
        while scribe.submit(Submission::of_own(Own::Receipt { message: message.id, delivered })).is_err() {
            if scribe.is_closed() {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }
}
