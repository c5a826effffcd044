//! A link to a message centre: binds, hands over as many parts of texts as its window has room for and the rate allows, asks whether the other side
//! is alive, and begins anew when it is not.
//!
//! A part that was refused was not taken, and may be handed over again. One that is unanswered when the link breaks, or for too long, may have been:
//! its text is uncertain, and never handed over again.

use super::encoding::{parts, whole};
use super::receipt::receipt;
use super::replies::Replies;
use super::terms::LinkTerms;
use super::tls;
use crate::journal::Own;
use crate::network::Hearing;
use crate::network::governor::Governor;
use crate::network::queue::{Queue, Work};
use rusmpp::pdus::{BindReceiver, BindTransceiver, BindTransmitter, DeliverSm, DeliverSmResp, SubmitSm};
use rusmpp::tlvs::MessageSubmissionRequestTlvValue;
use rusmpp::tokio_codec::CommandCodec;
use rusmpp::types::{COctetString, EmptyOrFullCOctetString};
use rusmpp::values::{EsmClass, InterfaceVersion, Npi, RegisteredDelivery, Ton, UserMessageReference};
use rusmpp::{Command, CommandId, CommandStatus, Pdu};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Display;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, split};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep_until, timeout};
use tokio_stream::{Stream, StreamExt};
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Encoder, FramedRead};

/// How long a centre may take to accept a connection, a bind, what is written to it, and a question whether it is alive.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between attempts to bind: twice as long each time, and never quite as long as another link.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A part that a centre refuses for the moment is handed over so often; before each, it waits twice as long.
const REFUSALS_MAX: u32 = 6;
const REFUSAL_PAUSE: Duration = Duration::from_millis(250);
/// At the end so long is waited for what is unanswered.
const FAREWELL: Duration = Duration::from_secs(5);
/// A link that does not wait for texts looks so often whether more come at all.
const LOOK: Duration = Duration::from_millis(250);
/// Sequence numbers are from 1 to this.
const SEQUENCE_MAX: u32 = 0x7fff_ffff;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Transceiver,
    Transmitter,
    Receiver,
}

pub(super) struct Link {
    terms: LinkTerms,
    role: Role,
    queue: Arc<Queue>,
    hearing: Hearing,
}

/// Why a connection is no more.
struct Broken(String);

fn broken(what: &str) -> impl FnOnce(&dyn Display) -> Broken + use<> {
    let what = what.to_owned();
    move |error| Broken(format!("{what}: {error}"))
}

impl Link {
    pub fn new(terms: LinkTerms, role: Role, queue: Arc<Queue>, hearing: Hearing) -> Link {
        Link { terms, role, queue, hearing }
    }

    /// Binds again and again, until there is nothing more to hand over and all that was is answered for.
    pub async fn run(self) {
        let mut pause = SHORTEST_PAUSE;
        loop {
            let mut useful = false;
            match self.session(&mut useful).await {
                Ok(()) => return,
                Err(Broken(why)) => tracing::warn!(link = self.terms.address, role = ?self.role, %why, "link broken"),
            }
            if self.queue.is_closed() {
                return;
            }
            pause = if useful { SHORTEST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            let until = Instant::now() + pause.mul_f64(0.5 + chance() / 2.0);
            while Instant::now() < until && !self.queue.is_closed() {
                tokio::time::sleep(SHORTEST_PAUSE.min(until - Instant::now())).await;
            }
        }
    }

    /// One connection, from its bind until it breaks, or until nothing more comes; `useful` once anything was answered in it.
    async fn session(&self, useful: &mut bool) -> Result<(), Broken> {
        let connecting = timeout(PATIENCE, TcpStream::connect(&self.terms.address)).await;
        let stream = connecting.map_err(|error| broken("connect")(&error))?.map_err(|error| broken("connect")(&error))?;
        stream.set_nodelay(true).map_err(|error| broken("connect")(&error))?;
        let mut wire = match self.terms.tls {
            false => {
                let (reading, writing) = stream.into_split();
                Wire::new(Box::new(reading), Box::new(writing))
            }
            true => {
                let stream = timeout(PATIENCE, tls::connect(&self.terms, stream)).await.map_err(|error| broken("tls")(&error))?;
                let (reading, writing) = split(stream.map_err(|error| broken("tls")(&error))?);
                Wire::new(Box::new(reading), Box::new(writing))
            }
        };
        timeout(PATIENCE, self.bind(&mut wire)).await.map_err(|error| broken("bind")(&error))??;
        tracing::info!(link = self.terms.address, role = ?self.role, "link bound");
        let mut session = Session::new(self, wire);
        let takes_texts = self.role != Role::Receiver;
        takes_texts.then(|| self.queue.count_link(true));
        let ended = session.serve().await;
        session.give_back();
        takes_texts.then(|| self.queue.count_link(false));
        *useful = session.useful;
        ended
    }

    async fn bind(&self, wire: &mut Wire) -> Result<(), Broken> {
        let LinkTerms { system_id, password, system_type, .. } = &self.terms;
        let (system_id, password, system_type) = (words(system_id), words(password), words(system_type));
        let (version, ton, npi, all) = (InterfaceVersion::Smpp3_4, Ton::Unknown, Npi::Unknown, COctetString::default());
        let pdu: Pdu = match self.role {
            Role::Transceiver => BindTransceiver::new(system_id, password, system_type, version, ton, npi, all).into(),
            Role::Transmitter => BindTransmitter::new(system_id, password, system_type, version, ton, npi, all).into(),
            Role::Receiver => BindReceiver::new(system_id, password, system_type, version, ton, npi, all).into(),
        };
        let sequence = wire.ask(pdu);
        wire.flush().await?;
        loop {
            let answer = wire.read().await?;
            let is_answer = answer.sequence_number() == sequence && answer.id() != CommandId::EnquireLink;
            match answer.status() {
                CommandStatus::EsmeRok if is_answer => return Ok(()),
                refused if is_answer => return Err(Broken(format!("bind: {refused:?}"))),
                _ => {}
            }
        }
    }
}

/// An ASCII text that fits, as the terms were checked.
fn words<const MAX: usize>(text: &str) -> COctetString<1, MAX> {
    COctetString::from_slice(format!("{text}\0").as_bytes()).unwrap_or_default()
}

/// Something between nothing and one: who knocks at the same moment should not do so again.
fn chance() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    f64::from(now.subsec_nanos() % 1000) / 1000.0
}

type Reading = Box<dyn AsyncRead + Send + Unpin>;
type Writing = Box<dyn AsyncWrite + Send + Unpin>;

/// A connection, with what is to be written to it.
struct Wire {
    reading: FramedRead<Reading, CommandCodec>,
    writing: Writing,
    codec: CommandCodec,
    buffer: BytesMut,
    sequence: u32,
}

impl Wire {
    fn new(reading: Reading, writing: Writing) -> Wire {
        let reading = FramedRead::new(reading, CommandCodec::new());
        Wire { reading, writing, codec: CommandCodec::new(), buffer: BytesMut::new(), sequence: 0 }
    }

    /// Asks something, under a number of its own.
    fn ask(&mut self, pdu: impl Into<Pdu>) -> u32 {
        self.sequence = self.sequence % SEQUENCE_MAX + 1;
        self.put(CommandStatus::EsmeRok, self.sequence, pdu);
        self.sequence
    }

    fn put(&mut self, status: CommandStatus, sequence: u32, pdu: impl Into<Pdu>) {
        self.codec.encode(Command::new(status, sequence, pdu), &mut self.buffer).expect("memory takes all that is written");
    }

    async fn flush(&mut self) -> Result<(), Broken> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = timeout(PATIENCE, async {
            self.writing.write_all(&self.buffer).await?;
            self.writing.flush().await
        })
        .await;
        self.buffer.clear();
        written.map_err(|error| broken("write")(&error))?.map_err(|error| broken("write")(&error))
    }

    async fn read(&mut self) -> Result<Command, Broken> {
        as_read(self.reading.next().await)
    }

    /// What has come already.
    async fn read_at_once(&mut self) -> Option<Result<Command, Broken>> {
        poll_fn(|context| match Pin::new(&mut self.reading).poll_next(context) {
            Poll::Ready(read) => Poll::Ready(Some(as_read(read))),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}

fn as_read<E: Display>(read: Option<Result<Command, E>>) -> Result<Command, Broken> {
    match read {
        Some(Ok(command)) => Ok(command),
        Some(Err(error)) => Err(broken("read")(&error)),
        None => Err(Broken("closed by the centre".to_owned())),
    }
}

/// A part of a text that the centre has not answered for.
struct Unanswered {
    message: u128,
    part: usize,
    since: Instant,
}

/// A bound connection.
struct Session<'l> {
    link: &'l Link,
    wire: Wire,
    /// Texts of which parts are still to be taken, and those parts, the next one first.
    works: HashMap<u128, Work>,
    ready: VecDeque<(u128, usize)>,
    /// Parts that were refused for the moment, by when they are handed over again.
    refused: Vec<(Instant, u128, usize)>,
    unanswered: BTreeMap<u32, Unanswered>,
    governor: Governor,
    replies: Replies,
    /// Which commands of the centre may be answered, and whether with thanks.
    thanks: UnboundedReceiver<(Vec<u32>, bool)>,
    thanking: UnboundedSender<(Vec<u32>, bool)>,
    useful: bool,
    heard_at: Instant,
    asked_at: Option<Instant>,
    closing_since: Option<Instant>,
}

/// What an answer means.
enum Verdict {
    Taken,
    /// Not taken: too fast.
    TooFast,
    /// Not taken, for the moment.
    NotNow,
    Never,
}

impl<'l> Session<'l> {
    fn new(link: &'l Link, wire: Wire) -> Self {
        let now = Instant::now();
        let (thanking, thanks) = unbounded_channel();
        Session {
            link,
            wire,
            works: HashMap::new(),
            ready: VecDeque::new(),
            refused: Vec::new(),
            unanswered: BTreeMap::new(),
            governor: Governor::new(link.terms.rate, now),
            replies: Replies::default(),
            thanks,
            thanking,
            useful: false,
            heard_at: now,
            asked_at: None,
            closing_since: None,
        }
    }

    async fn serve(&mut self) -> Result<(), Broken> {
        loop {
            self.hand_over();
            self.wire.flush().await?;
            if self.link.queue.is_closed() && self.closing_since.is_none() {
                self.closing_since = Some(Instant::now());
            }
            if self.is_done() {
                return self.take_leave().await;
            }
            let waits = self.closing_since.is_none() && self.has_room();
            let due = if waits { self.due() } else { self.due().min(Instant::now() + LOOK) };
            let due = tokio::time::Instant::from_std(due);
            let queue = self.link.queue.clone();
            tokio::select! {
                read = self.wire.read() => {
                    self.hear(read?)?;
                    while let Some(read) = self.wire.read_at_once().await {
                        self.hear(read?)?;
                    }
                }
                Some((sequences, synced)) = self.thanks.recv() => self.thank(&sequences, synced),
                () = queue.changed(), if waits => {}
                () = sleep_until(due) => self.look()?,
            }
        }
    }

    /// Whether another text could be taken: who has no room does not take the news from those who have.
    fn has_room(&self) -> bool {
        self.link.role != Role::Receiver && self.ready.is_empty() && self.unanswered.len() < self.link.terms.window
    }

    /// Whether nothing is left to do here, or too little to wait any longer.
    fn is_done(&self) -> bool {
        let Some(since) = self.closing_since else { return false };
        self.unanswered.is_empty() && self.ready.is_empty() || since.elapsed() > FAREWELL
    }

    async fn take_leave(&mut self) -> Result<(), Broken> {
        self.wire.ask(Pdu::Unbind);
        self.wire.flush().await?;
        // Whatever is answered to that.
        let farewell =
            timeout(FAREWELL, async { while self.wire.read().await.is_ok_and(|command| command.id() != CommandId::UnbindResp) {} });
        drop(farewell.await);
        Ok(())
    }

    /// Hands over what the window has room for and the rate allows.
    fn hand_over(&mut self) {
        if self.link.role == Role::Receiver {
            return;
        }
        let now = Instant::now();
        while self.unanswered.len() < self.link.terms.window {
            if self.ready.is_empty() && !self.take_work() {
                return;
            }
            if !self.governor.grants(now) {
                return;
            }
            let Some((message, part)) = self.ready.pop_front() else { return };
            let Some(submit) = self.works.get(&message).and_then(|work| work.parts.get(part).cloned()) else { continue };
            let sequence = self.wire.ask(submit);
            self.unanswered.insert(sequence, Unanswered { message, part, since: now });
        }
    }

    /// Takes a text that waits, and cuts it; whether there was one.
    fn take_work(&mut self) -> bool {
        while let Some(mut work) = self.link.queue.next() {
            if work.parts.is_empty() {
                let envelope = self.envelope(&work);
                let parts = match self.link.terms.payload {
                    true => Ok(whole(envelope, &work.text)),
                    false => parts(envelope, &work.text, work.reference() as u8),
                };
                match parts {
                    Ok(parts) => (work.names, work.parts) = (vec![None; parts.len()], parts),
                    Err(why) => {
                        tracing::error!(message = format!("{:032x}", work.message), why, "a text cannot be cut");
                        self.link.hearing.note(Own::Receipt { message: work.message, delivered: false });
                        continue;
                    }
                }
            }
            let left = (0..work.parts.len()).filter(|part| work.names[*part].is_none());
            self.ready.extend(left.map(|part| (work.message, part)));
            self.works.insert(work.message, work);
            return true;
        }
        false
    }

    /// Everything about a text but the text.
    fn envelope(&self, work: &Work) -> SubmitSm {
        let LinkTerms { source, validity_hours, .. } = &self.link.terms;
        // A relative time, in days and hours.
        let validity = format!("0000{:02}{:02}0000000R\0", validity_hours / 24, validity_hours % 24);
        let is_number = source.bytes().all(|byte| byte.is_ascii_digit());
        let (ton, npi) = if is_number { (Ton::Unknown, Npi::Unknown) } else { (Ton::Alphanumeric, Npi::Unknown) };
        SubmitSm::builder()
            .source_addr_ton(ton)
            .source_addr_npi(npi)
            .source_addr(words(source))
            .dest_addr_ton(Ton::International)
            .dest_addr_npi(Npi::Isdn)
            .destination_addr(words(&work.phone.to_string()))
            .esm_class(EsmClass::from(0))
            .registered_delivery(RegisteredDelivery::from(1))
            .validity_period(EmptyOrFullCOctetString::from_slice(validity.as_bytes()).unwrap_or_default())
            .push_tlv(MessageSubmissionRequestTlvValue::UserMessageReference(UserMessageReference::new(work.reference())))
            .build()
    }

    fn hear(&mut self, command: Command) -> Result<(), Broken> {
        (self.heard_at, self.asked_at) = (Instant::now(), None);
        let (status, sequence) = (command.status(), command.sequence_number());
        match (command.id(), command.pdu()) {
            (CommandId::SubmitSmResp, pdu) => {
                let name = if let Some(Pdu::SubmitSmResp(answer)) = pdu { answer.message_id().as_str() } else { "" };
                self.answered(sequence, status, name.trim_end_matches('\0'));
            }
            (CommandId::GenericNack, _) => self.answered(sequence, status, ""),
            (CommandId::DeliverSm, Some(Pdu::DeliverSm(message))) => self.delivered(sequence, message),
            (CommandId::EnquireLink, _) => self.wire.put(CommandStatus::EsmeRok, sequence, Pdu::EnquireLinkResp),
            (CommandId::Unbind, _) => {
                self.wire.put(CommandStatus::EsmeRok, sequence, Pdu::UnbindResp);
                return Err(Broken("unbound by the centre".to_owned()));
            }
            (id, _) if u32::from(id) <= SEQUENCE_MAX => self.wire.put(CommandStatus::EsmeRinvcmdid, sequence, Pdu::GenericNack),
            // An answer to what nobody asked.
            _ => {}
        }
        Ok(())
    }

    /// The centre answered for a part.
    fn answered(&mut self, sequence: u32, status: CommandStatus, name: &str) {
        let Some(Unanswered { message, part, .. }) = self.unanswered.remove(&sequence) else { return };
        self.useful = true;
        let Some(work) = self.works.get_mut(&message) else { return };
        match verdict(status) {
            Verdict::Taken => {
                work.names[part] = Some(name.to_owned());
                if work.names.iter().all(Option::is_some) {
                    let names = self.works.remove(&message).into_iter().flat_map(|work| work.names).flatten().collect();
                    self.link.hearing.note(Own::Taken { message, names });
                }
            }
            Verdict::TooFast => {
                self.governor.complained(Instant::now());
                self.ready.push_front((message, part));
            }
            Verdict::NotNow if work.refusals < REFUSALS_MAX => {
                let pause = REFUSAL_PAUSE * 2_u32.pow(work.refusals);
                work.refusals += 1;
                self.refused.push((Instant::now() + pause, message, part));
            }
            Verdict::NotNow | Verdict::Never => {
                tracing::warn!(message = format!("{message:032x}"), ?status, "a text was refused");
                self.link.hearing.note(Own::Receipt { message, delivered: false });
                self.forget(message);
            }
        }
    }

    /// Nothing more of a text is handed over.
    fn forget(&mut self, message: u128) {
        self.works.remove(&message);
        self.ready.retain(|(other, _)| *other != message);
        self.refused.retain(|(_, other, _)| *other != message);
    }

    /// A text that somebody wrote, or a receipt: the centre is thanked once it would outlive a loss of power.
    fn delivered(&mut self, sequence: u32, message: &DeliverSm) {
        let now = Instant::now();
        self.useful = true;
        let (own, sequences) = match receipt(message) {
            Some(receipt) => {
                let phone = message.source_addr.as_str().trim_matches(['+', '\0']).parse().ok();
                let Some((delivered, phone)) = receipt.delivered.zip(phone) else { return self.thank(&[sequence], true) };
                (Own::Delivery { name: receipt.name, reference: receipt.reference, phone, delivered }, vec![sequence])
            }
            None => match self.replies.take(sequence, message, now) {
                Some(reply) => (Own::reply(reply.id, reply.phone, reply.text), reply.sequences),
                // A part waits for the others, and is thanked for with them; what nobody can have written is thanked for at once.
                None if self.replies.waits_for(sequence) => return,
                None => return self.thank(&[sequence], true),
            },
        };
        let (synced, thanking) = (self.link.hearing.have_synced(own), self.thanking.clone());
        tokio::spawn(async move {
            // Where the session has ended meanwhile the centre delivers again.
            let _ = thanking.send((sequences, synced.await.is_ok()));
        });
    }

    fn thank(&mut self, sequences: &[u32], synced: bool) {
        // What could not be kept is to be delivered again.
        let status = if synced { CommandStatus::EsmeRok } else { CommandStatus::EsmeRxTAppn };
        for sequence in sequences {
            self.wire.put(status, *sequence, DeliverSmResp::default());
        }
    }

    /// When something is to be done although nothing is heard.
    fn due(&self) -> Instant {
        let LinkTerms { enquire_seconds, response_seconds, window, .. } = &self.link.terms;
        let ask = self.asked_at.map_or(self.heard_at + Duration::from_secs(*enquire_seconds), |asked| asked + PATIENCE);
        let oldest = self.unanswered.first_key_value().map(|(_, oldest)| oldest.since + Duration::from_secs(*response_seconds));
        let next = (!self.ready.is_empty() && self.unanswered.len() < *window).then(|| self.governor.next());
        let again = self.refused.iter().map(|(at, ..)| *at).min();
        let end = self.closing_since.map(|since| since + FAREWELL + Duration::from_millis(1));
        [oldest, next, again, end].into_iter().flatten().fold(ask, Instant::min)
    }

    /// Does what is due.
    fn look(&mut self) -> Result<(), Broken> {
        let (now, terms) = (Instant::now(), &self.link.terms);
        match self.asked_at {
            Some(asked) if now >= asked + PATIENCE => return Err(Broken("nobody is there".to_owned())),
            None if now >= self.heard_at + Duration::from_secs(terms.enquire_seconds) => {
                self.wire.ask(Pdu::EnquireLink);
                self.asked_at = Some(now);
            }
            _ => {}
        }
        for (_, message, part) in self.refused.extract_if(.., |(at, ..)| *at <= now) {
            self.ready.push_back((message, part));
        }
        let patience = Duration::from_secs(terms.response_seconds);
        while let Some(oldest) = self.unanswered.first_entry().filter(|oldest| now >= oldest.get().since + patience) {
            let message = oldest.remove().message;
            self.doubt(message);
        }
        Ok(())
    }

    /// Whether a text was taken nobody knows.
    fn doubt(&mut self, message: u128) {
        if self.works.contains_key(&message) {
            self.link.hearing.note(Own::Uncertain { message });
            self.forget(message);
        }
    }

    /// The connection is no more: what is unanswered is uncertain, what was not handed over is another link's.
    fn give_back(&mut self) {
        for (_, unanswered) in std::mem::take(&mut self.unanswered) {
            self.doubt(unanswered.message);
        }
        for (_, work) in self.works.drain() {
            self.link.queue.give_back(work);
        }
    }
}

fn verdict(status: CommandStatus) -> Verdict {
    match status {
        CommandStatus::EsmeRok => Verdict::Taken,
        CommandStatus::EsmeRthrottled | CommandStatus::EsmeRmsgqful => Verdict::TooFast,
        CommandStatus::EsmeRsyserr | CommandStatus::EsmeRxTAppn | CommandStatus::EsmeRsubmitfail => Verdict::NotNow,
        _ => Verdict::Never,
    }
}
