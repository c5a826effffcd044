//! Short message centres: links that bind, hand over what comes next, and hear receipts and replies (SMPP 3.4).

mod encoding;
mod link;
mod receipt;
mod replies;
mod terms;
mod tls;

pub use terms::LinkTerms;

use super::Hearing;
use super::queue::Queue;
use link::{Link, Role};
use receipt::receipt;
use replies::Replies;
use rusmpp::Pdu;
use rusmpp::tokio_codec::CommandCodec;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::Decoder;

/// Begins a link, which ends once no more texts come and all that were handed over are answered for.
pub(super) fn begin(terms: &LinkTerms, queue: &Arc<Queue>, hearing: &Hearing, running: &mut JoinSet<()>) {
    let roles: &[Role] = if terms.separate { &[Role::Transmitter, Role::Receiver] } else { &[Role::Transceiver] };
    for role in roles {
        running.spawn(Link::new(terms.clone(), *role, queue.clone(), hearing.clone()).run());
    }
}

/// How many of the commands that these bytes are, read as a link reads them, are receipts or say what somebody wrote. Whatever they are, it does not
/// panic.
pub fn understand(bytes: &[u8]) -> usize {
    let (mut codec, mut bytes, mut replies, mut understood) = (CommandCodec::new(), BytesMut::from(bytes), Replies::default(), 0);
    while let Ok(Some(command)) = codec.decode(&mut bytes) {
        if let Some(Pdu::DeliverSm(message)) = command.pdu() {
            let said = receipt(message).is_some() || replies.take(command.sequence_number(), message, Instant::now()).is_some();
            understood += usize::from(said);
        }
    }
    understood
}
