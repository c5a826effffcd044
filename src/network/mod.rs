//! Where texts go, and how what becomes of them comes back.
//!
//! ```text
//!  conductor ─► texts, each after its intent is synced ─► links ─► the network
//!  scribe ◄──── hearing: what the network says, journalled before it is thanked for ◄─┘
//! ```
//!
//! A gateway of our own kind knows each text by a name of ours and takes it once however often it is given it, so that it may be given again. Short
//! message centres and the gateways of others know nothing: a text of which nobody has said whether it was taken is *uncertain*, and is never given
//! again.

mod gateway;
mod governor;
mod named;
mod queue;
pub mod smpp;

pub use gateway::GatewayTerms;

use crate::journal::Own;
use crate::ledger::Message;
use crate::pipeline::{Scribe, Submission};
use queue::Queue;
use smpp::LinkTerms;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Between attempts to have something journalled, while the journal cannot be written.
const PAUSE: Duration = Duration::from_millis(200);
/// Texts that a gateway is given at a time.
const TEXTS_ON_THE_WAY: usize = 64;
/// What is heard together is journalled together, up to so much.
const HEARD_TOGETHER: usize = 1024;

/// Where texts go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// They stay in the outbox.
    #[default]
    Nowhere,
    /// Each arrives, nowhere: for trials.
    Pretend,
    /// A gateway that takes `{"message", "phone", "text"}` by POST, and takes the same message once however often it is given it.
    Named(String),
    /// Short message centres and a gateway of others.
    Routes(Routes),
}

/// Any of the links takes what comes next; the gateway takes it where there are no links, or none has been bound for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    pub links: Vec<LinkTerms>,
    pub gateway: Option<GatewayTerms>,
}

impl Network {
    /// Says where a gateway finds our doors, if nobody has.
    pub fn found_at(&mut self, address: SocketAddr) {
        if let Network::Routes(Routes { gateway: Some(gateway), .. }) = self
            && gateway.callback.is_empty()
        {
            gateway.callback = format!("http://{address}");
        }
    }

    /// Whether a text that was handed over and not answered for may be handed over again.
    pub fn knows_names(&self) -> bool {
        !matches!(self, Network::Routes(_))
    }

    /// How many texts may be handed over and not answered for: no more than the windows of routes have room for, so that no more can become
    /// uncertain at once.
    pub fn on_the_way(&self) -> usize {
        match self {
            Network::Nowhere => 0,
            Network::Pretend | Network::Named(_) => TEXTS_ON_THE_WAY,
            Network::Routes(Routes { links, gateway }) => {
                links.iter().map(|link| link.window).chain(gateway.iter().map(|gateway| gateway.window)).sum()
            }
        }
    }
}

/// Texts on their way to the network.
pub type Texts = UnboundedSender<Message>;

/// What a network says, and where it is told that this would outlive a loss of power.
pub(crate) struct Said(Own, Option<oneshot::Sender<()>>);

/// The way of what a network says into the journal.
#[derive(Clone)]
pub(crate) struct Hearing(Sender<Said>);

impl Hearing {
    /// Without waiting for it.
    pub fn note(&self, own: Own) {
        // Whoever hears goes with the pipeline; what was not journalled is told again, or uncertain.
        let _ = self.0.send(Said(own, None));
    }

    /// The answer comes once it is durable, and never if it will not be.
    pub fn have_synced(&self, own: Own) -> oneshot::Receiver<()> {
        let (synced, answer) = oneshot::channel();
        let _ = self.0.send(Said(own, Some(synced)));
        answer
    }
}

/// Starts the threads that hand over the texts that are sent to it, and that hear what becomes of them; they end when the texts do, and once the pipeline
/// is leaving without having reached the network, or the journal.
pub fn start(network: Network, scribe: Scribe) -> (Texts, [JoinHandle<()>; 2]) {
    let (texts_in, texts) = unbounded_channel();
    let (said_in, said) = channel();
    let hearing = Hearing(said_in);
    let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.to_owned()).spawn(run).expect("a thread can be started")
    };
    let hand = {
        let scribe = scribe.clone();
        spawn("messenger", Box::new(move || hand(network, &scribe, texts, &hearing)))
    };
    let hear = spawn("hearing", Box::new(move || hear(&scribe, &said)));
    (texts_in, [hand, hear])
}

fn hand(network: Network, scribe: &Scribe, mut texts: UnboundedReceiver<Message>, hearing: &Hearing) {
    match network {
        Network::Nowhere => {}
        Network::Pretend => {
            while let Some(message) = texts.blocking_recv() {
                hearing.note(Own::Receipt { message: message.id, delivered: true });
            }
        }
        Network::Named(url) => named::run(&url, scribe, texts, hearing),
        Network::Routes(routes) => routes.run(texts, hearing),
    }
}

impl Routes {
    /// Hands over texts by whichever route has room, until no more come and all that were handed over are answered for.
    fn run(self, mut texts: UnboundedReceiver<Message>, hearing: &Hearing) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        runtime.block_on(async {
            let (queue, mut running) = (Arc::new(Queue::new()), JoinSet::new());
            self.links.iter().for_each(|terms| smpp::begin(terms, &queue, hearing, &mut running));
            if let Some(terms) = self.gateway {
                gateway::begin(terms, !self.links.is_empty(), &queue, hearing, &mut running);
            }
            while let Some(message) = texts.recv().await {
                queue.put(message.into());
            }
            queue.close();
            running.join_all().await;
            give_back(&queue, hearing);
        });
    }
}

/// Says of all texts that are left what is known of them: a whole one was not handed over, one of which a part was taken may yet be seen.
fn give_back(queue: &Queue, hearing: &Hearing) {
    while let Some(work) = queue.next() {
        let message = work.message;
        hearing.note(if work.is_whole() { Own::Again { message } } else { Own::Uncertain { message } });
    }
}

/// Has what the network says journalled, as much together as there is. At the end what cannot be is told again, or uncertain.
fn hear(scribe: &Scribe, said: &Receiver<Said>) {
    while let Ok(first) = said.recv() {
        let mut together = vec![first];
        together.extend(said.try_iter().take(HEARD_TOGETHER - 1));
        let submission = || {
            let mut submission = Submission::default();
            together.iter().for_each(|Said(own, _)| submission.append(Submission::of_own(own.clone())));
            submission
        };
        loop {
            let is_last = scribe.is_leaving();
            match scribe.submit(submission()) {
                Ok(_) => break,
                Err(_) if is_last || scribe.is_closed() => return,
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
        for thanks in together.into_iter().filter_map(|Said(_, thanks)| thanks) {
            // A link that broke meanwhile needs no answer.
            let _ = thanks.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::queue::Work;
    use super::*;

    #[test]
    fn a_text_of_which_a_part_was_taken_keeps_no_other_from_being_given_back() {
        let (queue, (said_in, said)) = (Queue::new(), channel());
        for (message, names) in [(1, vec![]), (2, vec![Some("a".to_owned()), None]), (3, vec![None, None]), (4, vec![])] {
            queue.put(Work { message, phone: 77_010_000_001, text: String::new(), parts: vec![], names, refusals: 0 });
        }
        give_back(&queue, &Hearing(said_in));
        let said: Vec<Own> = said.iter().map(|Said(own, _)| own).collect();
        let again = |message| Own::Again { message };
        assert_eq!(said, [again(1), Own::Uncertain { message: 2 }, again(3), again(4)]);
    }
}
