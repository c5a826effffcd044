//! The desk where all conversations lie: it routes what is heard to the conversations concerned, keeps the limits that hold
//! across them (one unasked text a person a day, three open offers), and knows numbers, accounts and assignments.
//!
//! Like a conversation it decides and never acts: no clock, no I/O. Events of an epoch go in one by one through [`Desk::step`];
//! [`Desk::settle`] then runs the timers that are due and lets the first texts go, so that within an epoch the order of
//! events cannot matter to who is written to first.

use super::conversation::{self, Act, Consent, Context, Conversation, Event, HeldBack, Kind, NoteKind, Phone, Stage, Standing};
use super::conversations::{Conversations, Mark};
use super::iban::Iban;
use super::payments::{Due, Pay};
use super::reply::{self, Reply};
use super::terms::{BenefitTerms, Terms};
use super::texts::{self, Filling};
use dataflows::model::{Date, Ground, PersonId, Renumbering};
use dataflows::policy::Period;
use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Offers that may wait for one person's answer at a time.
pub const OPEN_OFFERS_MAX: usize = 3;
/// Days for which a reply's identity is remembered, so that a second delivery is not a second answer.
const REPLIES_REMEMBERED_DAYS: i32 = 30;

/// Which right: all of a decision that survives a change of its amount.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RightKey {
    pub person: PersonId,
    pub benefit: u16,
    pub ground: Ground,
    pub period: Date,
}

/// News for the desk that is not a change of a right. Of what has a version the greatest counts, in whatever order they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A person's number and, where known, language (an index into the terms' languages); no number: it was taken away.
    Contact { person: PersonId, version: u64, phone: Option<Phone>, language: Option<usize> },
    /// The person has an account to be paid into; its number, if it is one.
    Account { person: PersonId, iban: Option<Iban> },
    /// An agency holds the benefit assigned until that day; `Date::BEFORE_ALL`: it says so no longer. The ground is named as in
    /// [`Terms::ground`].
    Assignment { person: PersonId, benefit: u16, ground: Box<str>, version: u64, until: Date },
    /// The agency's other answer to a case.
    Refusal { person: PersonId, benefit: u16, ground: Box<str>, reason: Box<str> },
    /// The agency's pay run included the benefit.
    Payment { person: PersonId, benefit: u16, ground: Box<str> },
    /// On which day, if that is known.
    Death { person: PersonId, on: Option<Date> },
    /// What a number means to the house.
    Renumbered(Renumbering),
    /// What somebody wrote back; `id` is the network's, the same when it delivers twice. `at`: when it came, in seconds since the
    /// beginning of 1970, if that is known.
    Reply { id: u128, phone: Phone, text: Box<str>, at: Option<u64> },
    /// Nobody is to be written to at this number, or again.
    Blocked { phone: Phone, blocked: bool },
    /// The network says whether a text arrived.
    Receipt { message: u128, delivered: bool },
}

/// An event of the desk.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// A right holds as said, or no longer.
    Held(RightKey, Standing),
    Lost(RightKey),
    Heard(&'a Heard),
    /// The last check before sending stopped this text.
    NotSent(RightKey, Kind),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Text(Text),
    OpenCase(Case),
    WithdrawCase(u128),
    Note(Note),
}

/// A text to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    pub right: RightKey,
    pub round: u32,
    pub kind: Kind,
    pub addressee: PersonId,
    pub phone: Phone,
    /// What must be written after the answer, if the text says so.
    pub tag: Option<u8>,
    pub body: String,
}

/// A case for the agency: somebody has agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    pub id: u128,
    pub right: RightKey,
    pub round: u32,
    pub amount: i64,
    pub from: Date,
    pub until: Date,
    pub consent: Consent,
}

/// A line on a social worker's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub kind: NoteKind,
    /// The right concerned; none for a reply that fits no offer.
    pub right: Option<RightKey>,
    pub phone: Option<Phone>,
}

/// Of most of a country there is one in memory.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Contact {
    version: u64,
    phone: Option<NonZero<Phone>>,
    language: Option<u8>,
}

impl Contact {
    fn phone(&self) -> Option<Phone> {
        self.phone.map(NonZero::get)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Assignment {
    ground: Box<str>,
    version: u64,
    until: Date,
}

/// Rights by a number: of a country in one set, since most numbers have one or two.
#[derive(Default, Serialize, Deserialize)]
struct Index(BTreeSet<(u64, RightKey)>);

impl Index {
    fn insert(&mut self, number: u64, right: RightKey) {
        self.0.insert((number, right));
    }

    fn remove(&mut self, number: u64, right: &RightKey) {
        self.0.remove(&(number, right.clone()));
    }

    /// The rights of a number, in order.
    fn of(&self, number: u64) -> impl Iterator<Item = &RightKey> {
        let first = RightKey { person: 0, benefit: 0, ground: Ground::Constant, period: Date::BEFORE_ALL };
        self.0.range((number, first)..).take_while(move |(other, _)| *other == number).map(|(_, right)| right)
    }
}

/// All conversations, and what is known about the people in them.
#[derive(Serialize, Deserialize)]
pub struct Desk {
    terms: Arc<Terms>,
    today: Date,
    conversations: Conversations,
    /// Conversations with somebody else than whose right it is.
    by_addressee: Index,
    /// Conversations that wait for something from a number.
    open_by_phone: Index,
    contacts: HashMap<PersonId, Contact>,
    accounts: HashMap<PersonId, Option<Iban>>,
    /// Of people with conversations: when they died.
    deaths: HashMap<PersonId, Date>,
    assignments: HashMap<(PersonId, u16), Vec<Assignment>>,
    /// Numbers given up, and by the number that stands those given up for it: what was heard of them is of the same person.
    given_up: HashMap<PersonId, PersonId>,
    former: BTreeMap<PersonId, BTreeSet<PersonId>>,
    /// People who are said to have two numbers.
    doubtful: HashSet<PersonId>,
    /// Numbers from which somebody wrote that they want no texts, and such as an operator has blocked.
    opted_out: HashSet<Phone>,
    blocked: HashSet<Phone>,
    /// The day of a person's last unasked text.
    last_unasked: HashMap<PersonId, Date>,
    replies: HashSet<u128>,
    replies_by_day: BTreeSet<(Date, u128)>,
    wakes: BTreeMap<Date, BTreeSet<RightKey>>,
    /// People who may be written to before the epoch is over, some of them more than once.
    touched: Vec<PersonId>,
    counts: [usize; Stage::NAMES.len()],
    /// Conversations in which somebody agreed, and that went on since this was last asked.
    #[serde(skip)]
    for_payments: BTreeSet<RightKey>,
}

impl Desk {
    pub fn new(terms: Terms) -> Self {
        Desk {
            terms: Arc::new(terms),
            today: Date::BEFORE_ALL,
            conversations: Conversations::default(),
            by_addressee: Index::default(),
            open_by_phone: Index::default(),
            contacts: HashMap::new(),
            accounts: HashMap::new(),
            deaths: HashMap::new(),
            assignments: HashMap::new(),
            given_up: HashMap::new(),
            former: BTreeMap::new(),
            doubtful: HashSet::new(),
            opted_out: HashSet::new(),
            blocked: HashSet::new(),
            last_unasked: HashMap::new(),
            replies: HashSet::new(),
            replies_by_day: BTreeSet::new(),
            wakes: BTreeMap::new(),
            touched: Vec::new(),
            counts: [0; Stage::NAMES.len()],
            for_payments: BTreeSet::new(),
        }
    }

    /// What is known goes on under these terms.
    pub fn set_terms(&mut self, terms: Terms) {
        self.terms = Arc::new(terms);
    }

    pub fn terms(&self) -> &Terms {
        &self.terms
    }
    /// The same, for whoever writes in these terms later.
    pub fn shared_terms(&self) -> Arc<Terms> {
        self.terms.clone()
    }
    pub fn conversation(&self, right: &RightKey) -> Option<&Conversation> {
        self.conversations.get(right)
    }
    pub fn conversations(&self) -> impl Iterator<Item = (&RightKey, &Conversation)> {
        self.conversations.iter()
    }
    /// Those about whose rights conversations began or went on since this was last asked.
    pub fn take_changed(&mut self) -> Vec<PersonId> {
        self.conversations.take_marked(Mark::Changed)
    }
    /// These rights of somebody, once.
    pub fn take_changed_of(&mut self, person: PersonId) -> Vec<RightKey> {
        self.conversations.unmark(person, Mark::Changed)
    }
    /// The same, for whoever orders payments.
    pub fn take_for_payments(&mut self) -> BTreeSet<RightKey> {
        std::mem::take(&mut self.for_payments)
    }

    /// How it stands with paying for a right.
    pub fn due(&self, right: &RightKey) -> Option<Due> {
        let conversation = self.conversations.get(right)?;
        let terms = self.terms.benefit(right.benefit);
        Some(match conversation.stage {
            Stage::Assigned | Stage::Paid if conversation.consent.is_some() && !terms.in_kind => match conversation.holds() {
                true => Due::Pay(self.pay(right, conversation)),
                false => Due::Wait,
            },
            Stage::ClosedDeath => Due::Over(self.deaths.get(&right.person).copied().unwrap_or(self.today)),
            _ => Due::Over(conversation.lost.unwrap_or(self.today)),
        })
    }

    fn pay(&self, right: &RightKey, conversation: &Conversation) -> Pay {
        let Standing { amount, from, addressee, .. } = conversation.standing;
        let begun = if from == Date::BEFORE_ALL { self.today } else { from };
        let account = self.numbers(addressee).chain(self.numbers(right.person)).find_map(|number| *self.accounts.get(&number)?);
        Pay {
            round: conversation.round,
            amount,
            monthly: self.terms.benefit(right.benefit).monthly,
            from: if right.period == Date::NEVER { begun } else { right.period },
            until: self.until(right, conversation),
            payee: addressee,
            account,
        }
    }

    /// The first day on which a right is not for any more.
    fn until(&self, right: &RightKey, conversation: &Conversation) -> Date {
        let until = conversation.standing.until;
        match self.terms.benefit(right.benefit).period {
            Period::Month if until == Date::NEVER => right.period.add_months(1),
            Period::Quarter if until == Date::NEVER => right.period.add_months(3),
            _ => until,
        }
    }

    /// How many conversations are in each stage, in the order of [`Stage::NAMES`].
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// Why nothing was sent in this round, for a right that is known here; `None` when something was.
    pub fn held_back(&self, right: &RightKey) -> Option<HeldBack> {
        let conversation = self.conversations.get(right)?;
        match conversation.stage {
            Stage::Eligible => Some(self.ready(right, conversation).err().unwrap_or(HeldBack::Limit)),
            Stage::NoPhone if conversation.standing.addressee == 0 => Some(HeldBack::NoAddressee),
            Stage::NoPhone => Some(HeldBack::NoPhone),
            Stage::AssignedOther => Some(HeldBack::Assigned),
            Stage::Declined | Stage::NoAnswer | Stage::NoAccount => Some(HeldBack::CoolOff),
            Stage::Rejected => Some(HeldBack::Rejected),
            Stage::ClosedDeath => Some(HeldBack::Died),
            _ => None,
        }
    }

    /// Today moves, never backwards. Timers run when the epoch is settled.
    pub fn set_today(&mut self, today: Date) {
        self.today = self.today.max(today);
        let later = self.wakes.split_off(&Date(self.today.0.saturating_add(1)));
        for (_, rights) in std::mem::replace(&mut self.wakes, later) {
            rights.iter().for_each(|right| self.conversations.mark(right, Mark::Due));
        }
        let forget = Date(self.today.0.saturating_sub(REPLIES_REMEMBERED_DAYS));
        let kept = self.replies_by_day.split_off(&(forget, 0));
        for (_, id) in std::mem::replace(&mut self.replies_by_day, kept) {
            self.replies.remove(&id);
        }
    }

    /// One event, and what is to be done at once.
    pub fn step(&mut self, step: Step) -> Vec<Action> {
        match step {
            Step::Held(right, standing) => self.held(right, standing),
            Step::Lost(right) => self.tell(&right, Event::Lost),
            Step::Heard(heard) => self.hear(heard),
            Step::NotSent(right, kind) => self.tell(&right, Event::NotSent(kind)),
        }
    }

    /// Runs the timers that are due, then lets the first texts go, to each person the one of the lowest priority number.
    pub fn settle(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        for person in self.conversations.take_marked(Mark::Due) {
            for right in self.conversations.unmark(person, Mark::Due) {
                actions.extend(self.tell(&right, Event::Tick));
                self.wake_again(&right);
            }
            // They were looked at just now.
            self.conversations.unmark(person, Mark::Due);
        }
        self.conversations.take_marked(Mark::Due);
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        for addressee in touched {
            actions.extend(self.offer_next(addressee));
        }
        for person in self.conversations.take_marked(Mark::Due) {
            for right in self.conversations.unmark(person, Mark::Due) {
                self.wake_again(&right);
            }
        }
        self.touched.clear();
        actions
    }

    fn held(&mut self, right: RightKey, standing: Standing) -> Vec<Action> {
        if self.conversations.get(&right).is_none() {
            self.put(&right, Conversation::begin(standing, self.today));
        }
        self.tell(&right, Event::Held(standing))
    }

    fn hear(&mut self, heard: &Heard) -> Vec<Action> {
        match heard {
            Heard::Contact { person, version, phone, language } => {
                let language = language.and_then(|language| u8::try_from(language).ok());
                self.contact(*person, Contact { version: *version, phone: phone.and_then(NonZero::new), language })
            }
            Heard::Account { person, iban } => {
                let known = self.accounts.entry(*person).or_default();
                *known = iban.or(*known);
                self.tell_all(self.concerning(self.kept(*person)), &Event::AccountKnown)
            }
            Heard::Assignment { person, benefit, ground, version, until } => {
                self.assignment(*person, *benefit, Assignment { ground: ground.clone(), version: *version, until: *until })
            }
            Heard::Refusal { person, benefit, ground, reason } => {
                self.tell_all(self.of_ground(*person, *benefit, ground), &Event::Refused(reason.clone()))
            }
            Heard::Payment { person, benefit, ground } => self.tell_all(self.of_ground(*person, *benefit, ground), &Event::Paid),
            Heard::Death { person, on } => {
                let rights = self.of_person(self.kept(*person));
                if !rights.is_empty() {
                    self.deaths.insert(self.kept(*person), on.unwrap_or(self.today));
                }
                self.tell_all(rights, &Event::Died)
            }
            Heard::Renumbered(Renumbering::GivenUp(number, kept)) => self.give_up(*number, *kept),
            Heard::Renumbered(Renumbering::Doubtful(person, doubtful)) => {
                if *doubtful {
                    self.doubtful.insert(*person)
                } else {
                    self.doubtful.remove(person)
                };
                self.look_at(self.concerning(*person));
                Vec::new()
            }
            Heard::Reply { id, phone, text, at } => self.reply(*id, *phone, text, *at),
            Heard::Blocked { phone, blocked } => {
                if *blocked {
                    self.blocked.insert(*phone)
                } else {
                    self.blocked.remove(phone)
                };
                self.tell_all(self.reached_at(*phone), if *blocked { &Event::Tick } else { &Event::Reachable })
            }
            Heard::Receipt { .. } => Vec::new(),
        }
    }

    /// Whether nothing is to be sent to a number, and no offers.
    pub fn is_blocked(&self, phone: Phone) -> bool {
        self.blocked.contains(&phone)
    }

    /// Rights about which somebody is written to at this number.
    fn reached_at(&self, phone: Phone) -> BTreeSet<RightKey> {
        let people = self.contacts.iter().filter(|(_, contact)| contact.phone() == Some(phone)).map(|(person, _)| self.kept(*person));
        people.flat_map(|person| self.written_to(person)).collect()
    }

    fn contact(&mut self, person: PersonId, contact: Contact) -> Vec<Action> {
        let known = self.contacts.entry(person).or_insert(contact);
        if known.version > contact.version {
            return Vec::new();
        }
        *known = contact;
        let event = if contact.phone.is_some() { Event::Reachable } else { Event::Tick };
        self.tell_all(self.written_to(self.kept(person)), &event)
    }

    /// A number stands for another from now on, or for itself again: what is known of it concerns other rights.
    fn give_up(&mut self, number: PersonId, kept: Option<PersonId>) -> Vec<Action> {
        let before = match kept {
            Some(kept) => self.given_up.insert(number, kept),
            None => self.given_up.remove(&number),
        };
        if let Some(before) = before {
            self.former.entry(before).or_default().remove(&number);
        }
        if let Some(kept) = kept {
            self.former.entry(kept).or_default().insert(number);
        }
        let people = [before, kept].into_iter().flatten();
        let rights: BTreeSet<RightKey> = people.flat_map(|person| self.concerning(person)).collect();
        let reached = rights.iter().filter(|right| self.phone(self.conversations[*right].standing.addressee).is_some()).cloned().collect();
        let mut actions = self.tell_all(reached, &Event::Reachable);
        actions.extend(self.look_for_assignments(rights));
        actions
    }

    fn kept(&self, number: PersonId) -> PersonId {
        self.given_up.get(&number).copied().unwrap_or(number)
    }

    /// Somebody's number and those given up for it.
    fn numbers(&self, person: PersonId) -> impl Iterator<Item = PersonId> + '_ {
        std::iter::once(person).chain(self.former.get(&person).into_iter().flatten().copied())
    }

    /// An assignment in force is news for the rights that it covers; one that ends is a reason to look at them again.
    fn assignment(&mut self, person: PersonId, benefit: u16, assignment: Assignment) -> Vec<Action> {
        let known = self.assignments.entry((person, benefit)).or_default();
        match known.iter_mut().find(|other| other.ground == assignment.ground) {
            Some(other) if other.version > assignment.version => return Vec::new(),
            Some(other) => *other = assignment,
            None => {
                // Most have one.
                known.reserve_exact(1);
                known.push(assignment);
            }
        }
        self.look_for_assignments(self.of_benefit(self.kept(person), benefit))
    }

    fn look_for_assignments(&mut self, rights: BTreeSet<RightKey>) -> Vec<Action> {
        let (covered, free): (BTreeSet<_>, BTreeSet<_>) = rights.into_iter().partition(|right| self.assigned_until(right).is_some());
        self.look_at(free);
        self.look_at(covered.clone());
        self.tell_all(covered, &Event::Assigned)
    }

    /// A reply to whatever waits for one on this number; where it cannot be told which is meant, each is clarified.
    fn reply(&mut self, id: u128, phone: Phone, text: &str, at: Option<u64>) -> Vec<Action> {
        if !self.replies.insert(id) {
            return Vec::new();
        }
        self.replies_by_day.insert((self.today, id));
        let open = self.open_by_phone.of(phone).cloned();
        let (asked, accounts): (BTreeSet<_>, BTreeSet<_>) = open.partition(|right| self.conversations[right].stage.awaits_answer());
        let consent = Consent { on: self.today, at, reply_hash: xxh3_64(text.as_bytes()) };
        let (event, tag) = match reply::parse(text) {
            Reply::Account(iban) if !accounts.is_empty() => return self.account_written(accounts, iban),
            Reply::Yes(tag) => (Event::Yes(consent), tag),
            Reply::No(tag) => (Event::No, tag),
            // What was asked is declined with it.
            Reply::Stop => {
                self.opted_out.insert(phone);
                return self.tell_all(asked, &Event::No);
            }
            Reply::Start => {
                self.opted_out.remove(&phone);
                self.look_at(self.reached_at(phone));
                return Vec::new();
            }
            Reply::Account(_) | Reply::Unclear => (Event::Unclear, None),
        };
        if asked.is_empty() {
            return vec![Action::Note(Note { kind: NoteKind::LateReply, right: None, phone: Some(phone) })];
        }
        let meant: BTreeSet<RightKey> = match tag {
            Some(tag) => asked.iter().filter(|right| self.conversations[*right].tag == tag).cloned().collect(),
            None => asked.clone(),
        };
        if meant.len() == 1 { self.tell_all(meant, &event) } else { self.tell_all(asked, &Event::Unclear) }
    }

    fn account_written(&mut self, waiting: BTreeSet<RightKey>, iban: Iban) -> Vec<Action> {
        let owners: BTreeSet<PersonId> = waiting.iter().map(|right| self.conversations[right].standing.addressee).collect();
        owners.into_iter().flat_map(|person| self.hear(&Heard::Account { person, iban: Some(iban) })).collect()
    }

    /// Lets the best waiting offer go to a person whose day is free.
    fn offer_next(&mut self, addressee: PersonId) -> Vec<Action> {
        let rights = self.written_to(addressee);
        let mut waiting: Vec<(i64, Date, RightKey)> = rights.iter().filter_map(|right| self.candidate(right)).collect();
        if waiting.is_empty() {
            return Vec::new();
        }
        waiting.sort();
        let Some(phone) = self.phone(addressee) else {
            return self.tell_all(waiting.into_iter().map(|(_, _, right)| right).collect(), &Event::Unreachable);
        };
        let open = rights.iter().filter(|right| self.conversations[*right].stage.is_open()).count();
        let tomorrow = Date(self.today.0 + 1);
        let room = |right: &RightKey| open < OPEN_OFFERS_MAX || !self.terms.benefit(right.benefit).consent;
        let next = waiting.iter().position(|(_, _, right)| room(right)).filter(|_| self.day_free(addressee));
        let next = next.map(|position| waiting.remove(position).2);
        self.wakes.entry(tomorrow).or_default().extend(waiting.into_iter().map(|(_, _, right)| right));
        let Some(right) = next else { return Vec::new() };
        let tag = self.free_tag(&right, phone);
        self.tell(&right, Event::Offer { phone, tag })
    }

    fn candidate(&self, right: &RightKey) -> Option<(i64, Date, RightKey)> {
        let conversation = &self.conversations[right];
        let to_person = conversation.stage == Stage::Eligible && !self.terms.benefit(right.benefit).to_worker;
        let waits = to_person && self.ready(right, conversation).is_ok();
        waits.then(|| (self.terms.benefit(right.benefit).priority, conversation.since, right.clone()))
    }

    fn ready(&self, right: &RightKey, conversation: &Conversation) -> Result<(), HeldBack> {
        conversation.ready(&self.context(right, conversation))
    }

    /// A tag that no other conversation of this person or number carries, found from the right's own hash.
    fn free_tag(&self, right: &RightKey, phone: Phone) -> u8 {
        let conversation = &self.conversations[right];
        let mut others = self.written_to(conversation.standing.addressee);
        others.extend(self.open_by_phone.of(phone).cloned());
        let taken: BTreeSet<u8> = others.iter().filter(|other| *other != right).map(|other| self.conversations[other].tag).collect();
        let first = (self.terms.offer_hash(right, conversation.round + 1, "tag") % 90) as u8;
        let tags = (0..90).map(|shift| 10 + (first + shift) % 90);
        tags.clone().find(|tag| !taken.contains(tag)).unwrap_or(10 + first)
    }

    fn tell_all(&mut self, rights: BTreeSet<RightKey>, event: &Event) -> Vec<Action> {
        rights.iter().flat_map(|right| self.tell(right, event.clone())).collect()
    }

    /// Steps one conversation, and turns what it wants into actions.
    fn tell(&mut self, right: &RightKey, event: Event) -> Vec<Action> {
        let Some(conversation) = self.conversations.get(right) else { return Vec::new() };
        let (conversation, acts) = conversation::step(conversation.clone(), event, &self.context(right, conversation));
        self.put(right, conversation);
        acts.into_iter().filter_map(|act| self.action(right, act)).collect()
    }

    /// Has conversations looked at before the epoch is over.
    fn look_at(&mut self, rights: BTreeSet<RightKey>) {
        rights.iter().for_each(|right| self.conversations.mark(right, Mark::Due));
    }

    /// Puts a conversation back, and keeps the indexes true.
    fn put(&mut self, right: &RightKey, conversation: Conversation) {
        if self.touched.last() != Some(&conversation.standing.addressee) {
            self.touched.push(conversation.standing.addressee);
        }
        self.counts[conversation.stage.position()] += 1;
        let (addressee, open_at) = (conversation.standing.addressee, open_phone(&conversation));
        let mut agreed = conversation.consent.is_some();
        let before = self.conversations.insert(right, conversation);
        if let Some(before) = before {
            agreed |= before.consent.is_some();
            self.counts[before.stage.position()] -= 1;
            if before.standing.addressee != addressee {
                self.by_addressee.remove(before.standing.addressee, right);
            }
            if let Some(phone) = open_phone(&before).filter(|phone| Some(*phone) != open_at) {
                self.open_by_phone.remove(phone, right);
            }
        }
        // Nothing is ordered for what nobody agreed to.
        if agreed {
            self.for_payments.insert(right.clone());
        }
        if let Some(phone) = open_at {
            self.open_by_phone.insert(phone, right.clone());
        }
        if addressee != right.person {
            self.by_addressee.insert(addressee, right.clone());
        }
    }

    fn action(&mut self, right: &RightKey, act: Act) -> Option<Action> {
        let conversation = &self.conversations[right];
        match act {
            Act::Text(kind) => self.text(right, kind).map(Action::Text),
            Act::OpenCase => Some(Action::OpenCase(self.case(right, conversation))),
            Act::WithdrawCase => Some(Action::WithdrawCase(self.terms.offer_hash(right, conversation.round, "case"))),
            Act::Note(kind) => Some(Action::Note(Note { kind, right: Some(right.clone()), phone: conversation.phone })),
        }
    }

    fn text(&mut self, right: &RightKey, kind: Kind) -> Option<Text> {
        let conversation = &self.conversations[right];
        let (addressee, phone) = (conversation.standing.addressee, conversation.phone?);
        let asks = matches!(kind, Kind::Offer | Kind::Repeat | Kind::Unclear);
        let tag = (asks && self.others_asked(right, phone)).then_some(conversation.tag);
        let known_from = conversation.standing.from != Date::BEFORE_ALL;
        let filling = Filling {
            benefit: right.benefit,
            amount: conversation.standing.amount,
            from: if known_from { conversation.standing.from } else { self.today },
            date: if known_from { conversation.standing.from } else { self.today },
            reason: conversation.refusal.as_deref().unwrap_or(""),
            tag,
        };
        let language = self.language_known(addressee).map(usize::from);
        let body = texts::render(&self.terms, message(&self.terms, right, kind), language, &filling)?;
        let text = Text { right: right.clone(), round: conversation.round, kind, addressee, phone, tag, body };
        if kind.is_unasked() {
            self.last_unasked.insert(addressee, self.today);
        }
        Some(text)
    }

    fn case(&self, right: &RightKey, conversation: &Conversation) -> Case {
        let Standing { amount, from, .. } = conversation.standing;
        Case {
            id: self.terms.offer_hash(right, conversation.round, "case"),
            right: right.clone(),
            round: conversation.round,
            amount,
            from: if from == Date::BEFORE_ALL { self.today } else { from },
            until: self.until(right, conversation),
            consent: conversation.consent.expect("a case is opened on a yes"),
        }
    }

    /// Whether another conversation waits for an answer on this number.
    fn others_asked(&self, right: &RightKey, phone: Phone) -> bool {
        let open = self.open_by_phone.of(phone);
        open.filter(|other| *other != right).any(|other| self.conversations[other].stage.awaits_answer())
    }

    fn context<'a>(&'a self, right: &RightKey, conversation: &Conversation) -> Context<'a> {
        let terms: &BenefitTerms = self.terms.benefit(right.benefit);
        let addressee = conversation.standing.addressee;
        let phone = self.phone(addressee);
        Context {
            today: self.today,
            terms,
            allow_assumed: self.terms.allow_assumed,
            tellable: self.terms.messages.contains_key(&terms.id),
            account_known: self.numbers(addressee).chain(self.numbers(right.person)).any(|number| self.accounts.contains_key(&number)),
            opted_out: phone.is_some_and(|phone| self.opted_out.contains(&phone)),
            two_numbers: self.doubtful.contains(&addressee) || self.doubtful.contains(&right.person),
            assigned: self.assigned_until(right).is_some(),
            phone,
            day_free: self.day_free(addressee),
        }
    }

    fn phone(&self, person: PersonId) -> Option<Phone> {
        self.numbers(person).find_map(|number| self.contacts.get(&number)?.phone()).filter(|phone| !self.blocked.contains(phone))
    }

    /// The language in which somebody is written to, if it is known, by its place in the terms.
    pub fn language_known(&self, person: PersonId) -> Option<u8> {
        self.numbers(person).find_map(|number| self.contacts.get(&number)?.language)
    }

    fn day_free(&self, addressee: PersonId) -> bool {
        self.last_unasked.get(&addressee).is_none_or(|day| *day < self.today)
    }

    /// Until when an agency holds this right assigned. A benefit given once stays given.
    fn assigned_until(&self, right: &RightKey) -> Option<Date> {
        let once = self.terms.benefit(right.benefit).period == Period::Once;
        let needed = if right.period == Date::NEVER { self.today } else { self.today.max(right.period) };
        let known = self.numbers(right.person).filter_map(|number| self.assignments.get(&(number, right.benefit))).flatten();
        let covering = known.filter(|assignment| assignment.until != Date::BEFORE_ALL && self.covers(right, &assignment.ground));
        covering.map(|assignment| if once { Date::NEVER } else { assignment.until }).filter(|until| *until > needed).max()
    }

    fn written_to(&self, addressee: PersonId) -> BTreeSet<RightKey> {
        let own = self.conversations.of_person(addressee).filter(|right| self.conversations[*right].standing.addressee == addressee);
        own.chain(self.by_addressee.of(addressee)).cloned().collect()
    }

    /// Rights of somebody, and those about which they are written to.
    fn concerning(&self, person: PersonId) -> BTreeSet<RightKey> {
        let mut rights = self.written_to(person);
        rights.extend(self.of_person(person));
        rights
    }

    fn of_person(&self, person: PersonId) -> BTreeSet<RightKey> {
        self.conversations.of_person(person).cloned().collect()
    }

    fn of_benefit(&self, person: PersonId, benefit: u16) -> BTreeSet<RightKey> {
        self.of_person(person).into_iter().filter(|right| right.benefit == benefit).collect()
    }

    fn of_ground(&self, person: PersonId, benefit: u16, ground: &str) -> BTreeSet<RightKey> {
        self.of_benefit(self.kept(person), benefit).into_iter().filter(|right| self.covers(right, ground)).collect()
    }

    /// Whether an assignment on this ground is one of this right: any will do for a right that rests on its conditions alone.
    fn covers(&self, right: &RightKey, assigned: &str) -> bool {
        right.ground == Ground::Constant || self.terms.ground(&right.ground) == assigned
    }

    /// Notes the next day on which something may happen by itself.
    fn wake_again(&mut self, right: &RightKey) {
        let Some(conversation) = self.conversations.get(right) else { return };
        let timer = conversation.next_look(self.terms.benefit(right.benefit));
        let overdue_repeat = matches!(conversation.stage, Stage::Sent1 { .. }) && conversation.holds();
        let timer = match timer {
            Some(day) if day <= self.today => overdue_repeat.then(|| Date(self.today.0 + 1)),
            other => other,
        };
        let assignment_ends = self.assigned_until(right).filter(|day| *day != Date::NEVER);
        for day in timer.into_iter().chain(assignment_ends) {
            self.wakes.entry(day).or_default().insert(right.clone());
        }
    }
}

fn message<'a>(terms: &'a Terms, right: &RightKey, kind: Kind) -> &'a str {
    match kind {
        Kind::Notice => &terms.benefit(right.benefit).id,
        Kind::AccountRepeat => Kind::Account.name(),
        Kind::Assigned if terms.benefit(right.benefit).in_kind => "assigned_in_kind",
        _ => kind.name(),
    }
}

fn open_phone(conversation: &Conversation) -> Option<Phone> {
    conversation.phone.filter(|_| conversation.stage.is_open())
}
