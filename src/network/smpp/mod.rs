//! Short message centres: links that bind, hand over what comes next, and hear receipts and replies (SMPP 3.4).

mod encoding;
mod governor;
mod link;
mod queue;
mod receipt;
mod replies;
mod terms;

pub use terms::LinkTerms;

use super::Hearing;
use crate::ledger::Message;
use link::{Link, Role};
use queue::Queue;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

/// Hands over texts by whichever link has room, until no more come and all that were handed over are answered for.
pub(super) fn run(links: Vec<LinkTerms>, mut texts: UnboundedReceiver<Message>, hearing: &Hearing) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async {
        let queue = Arc::new(Queue::default());
        let mut running = JoinSet::new();
        for terms in links {
            let roles: &[Role] = if terms.separate { &[Role::Transmitter, Role::Receiver] } else { &[Role::Transceiver] };
            for role in roles {
                running.spawn(Link::new(terms.clone(), *role, queue.clone(), hearing.clone()).run());
            }
        }
        while let Some(message) = texts.recv().await {
            queue.put(message.into());
        }
        queue.close();
        running.join_all().await;
    });
}
