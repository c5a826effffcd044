//! What the substrate lacks: operators that keep keyed state of their own and answer once an epoch is complete.
//!
//! An operator costs an epoch nothing unless something reaches it: it is woken by events, and by the progress of others only
//! while it holds events to answer ([`FrontierInterest::IfCapability`]).

mod lists;

pub use lists::{Listed, Rule, lists};

use crate::model::Epoch;
use std::ops::Range;
use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, InputCapability};
use timely::dataflow::{Scope, StreamVec};
use timely::progress::operate::FrontierInterest;

/// State that takes in events as they come, and answers when no more can come for their epoch.
///
/// Exactly one epoch is in flight (the engine closes an epoch only when the one before is through), so events may change
/// the state on arrival, before their epoch is complete.
pub trait PerEpoch: 'static {
    type Event: 'static;
    /// What is said, and to whom: a buffer for each stream that leaves.
    type Outlets: Outlets;

    /// Takes in one event, and says what does not depend on those still to come.
    fn receive(&mut self, event: Self::Event, out: &mut Self::Outlets);

    /// Gives (part of) the answer to the events received; true when there is more to give. An operator that gives in parts
    /// lets those behind it work in between, so that a load does not pile up in channels.
    fn answer(&mut self, epoch: Epoch, out: &mut Self::Outlets) -> bool;
}

/// How many keys an operator answers for before those behind it work; lists that are longer for once give their room back.
pub const TURN: usize = 4096;

/// How far an answer that is given in parts has come.
#[derive(Default)]
pub struct Turns {
    done: usize,
}

impl Turns {
    /// Whether nothing of the answer was given yet.
    pub fn is_first(&self) -> bool {
        self.done == 0
    }

    /// The part that is due now, of so many.
    pub fn next(&mut self, count: usize) -> Range<usize> {
        let start = self.done;
        self.done = count.min(start + TURN);
        start..self.done
    }

    /// Whether more is due, now that there are so many; if not, the next answer starts anew.
    pub fn more(&mut self, count: usize) -> bool {
        let more = self.done < count;
        if !more {
            self.done = 0;
        }
        more
    }
}

/// An operator under construction: name its inputs, then [`run`](Self::run) it.
pub struct Room<'scope, Event> {
    scope: Scope<'scope, Epoch>,
    builder: OperatorBuilder<'scope, Epoch>,
    inlets: Vec<Inlet<Event>>,
}

/// Hands on what waits at one input.
type Inlet<Event> = Box<dyn FnMut(&mut Held, &mut dyn FnMut(Event))>;

/// The right to answer in the epoch of the events received: one capability per outlet.
struct Held {
    outlets: usize,
    capabilities: Vec<Capability<Epoch>>,
}

impl Held {
    fn keep(&mut self, capability: &InputCapability<Epoch>) {
        if self.capabilities.is_empty() {
            let retain = |outlet| capability.retain_least(outlet).expect("every message carries a time");
            self.capabilities.extend((0..self.outlets).map(retain));
        }
        debug_assert_eq!(capability.least(), self.capabilities.first().map(Capability::time), "one epoch in flight");
    }
}

impl<'scope, Event: 'static> Room<'scope, Event> {
    pub fn new(scope: Scope<'scope, Epoch>, name: &str) -> Self {
        Room { scope, builder: OperatorBuilder::new(name.to_owned(), scope), inlets: Vec::new() }
    }

    /// Takes in a stream whose items are sent to the worker that `route` names (modulo the number of workers).
    pub fn hear<Item: ExchangeData + Into<Event>>(
        mut self,
        items: StreamVec<'scope, Epoch, Item>,
        route: impl Fn(&Item) -> u64 + 'static,
    ) -> Self {
        let mut input = self.builder.new_input(items, Exchange::new(route));
        self.builder.set_notify_for(self.inlets.len(), FrontierInterest::IfCapability);
        self.inlets.push(Box::new(move |held, receive| {
            input.for_each(|capability, items| {
                held.keep(&capability);
                items.drain(..).for_each(|item| receive(item.into()));
            });
        }));
        self
    }

    /// Runs `state` behind the inputs; its outlets are the streams that leave.
    pub fn run<State: PerEpoch<Event = Event>>(self, mut state: State) -> <State::Outlets as Outlets>::Streams<'scope> {
        let Room { scope, mut builder, mut inlets } = self;
        let (mut ports, streams) = State::Outlets::open(&mut builder);
        let activator = scope.activator_for(builder.operator_info().address);
        let mut held = Held { outlets: builder.shape().outputs(), capabilities: Vec::new() };
        let mut out = State::Outlets::default();
        builder.build(move |_initial| {
            move |frontiers| {
                inlets.iter_mut().for_each(|inlet| inlet(&mut held, &mut |event| state.receive(event, &mut out)));
                let Some(epoch) = held.capabilities.first().map(|capability| *capability.time()) else { return };
                let complete = !frontiers.iter().any(|frontier| frontier.less_equal(&epoch));
                let more = complete && state.answer(epoch, &mut out);
                out.send(&mut ports, &held.capabilities);
                if more {
                    activator.activate();
                } else if complete {
                    held.capabilities.clear();
                }
            }
        });
        streams
    }
}

/// What an operator says: a tuple of buffers, each behind a stream of its own.
pub trait Outlets: Default + 'static {
    type Ports: 'static;
    type Streams<'scope>;
    /// Adds the outputs to an operator.
    fn open<'scope>(builder: &mut OperatorBuilder<'scope, Epoch>) -> (Self::Ports, Self::Streams<'scope>);
    /// Sends what was said, and leaves the buffers empty.
    fn send(&mut self, ports: &mut Self::Ports, capabilities: &[Capability<Epoch>]);
}

type Port<Item> = OutputBuilder<Epoch, CapacityContainerBuilder<Vec<Item>>>;

fn open<'scope, Item: Clone + 'static>(builder: &mut OperatorBuilder<'scope, Epoch>) -> (Port<Item>, StreamVec<'scope, Epoch, Item>) {
    let (output, stream) = builder.new_output();
    (OutputBuilder::from(output), stream)
}

fn send<Item: Clone + 'static>(items: &mut Vec<Item>, port: &mut Port<Item>, capability: &Capability<Epoch>) {
    if !items.is_empty() {
        port.activate().session(capability).give_container(items);
        items.clear();
    }
}

macro_rules! outlets {
    ($($item:ident $index:tt),+) => {
        impl<$($item: Clone + 'static),+> Outlets for ($(Vec<$item>,)+) {
            type Ports = ($(Port<$item>,)+);
            type Streams<'scope> = ($(StreamVec<'scope, Epoch, $item>,)+);
            fn open<'scope>(builder: &mut OperatorBuilder<'scope, Epoch>) -> (Self::Ports, Self::Streams<'scope>) {
                let opened = ($(open::<$item>(builder),)+);
                (($(opened.$index.0,)+), ($(opened.$index.1,)+))
            }
            fn send(&mut self, ports: &mut Self::Ports, capabilities: &[Capability<Epoch>]) {
                $(send(&mut self.$index, &mut ports.$index, &capabilities[$index]);)+
            }
        }
    };
}

outlets!(A 0);
outlets!(A 0, B 1);
outlets!(A 0, B 1, C 2, D 3);

/// How much a keyed store holds, without what the allocator adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSize {
    pub keys: u64,
    pub bytes: u64,
}

impl std::ops::AddAssign for StoreSize {
    fn add_assign(&mut self, other: Self) {
        self.keys += other.keys;
        self.bytes += other.bytes;
    }
}

/// Spreads keys over workers: neighbouring numbers must not share one.
pub fn spread(key: u64) -> u64 {
    hash(key) >> 32
}

/// Hashes keys for tables, which look at the lowest and the highest bits.
pub fn hash(key: u64) -> u64 {
    let product = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    product ^ product >> 32
}
