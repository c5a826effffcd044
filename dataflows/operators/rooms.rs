//! Rooms and the ways between them.
//!
//! A room is state that answers once an epoch is complete; it hears what others say and says what follows. Between several workers
//! that goes through timely's channels: every room is an operator, its items go to the worker that `route` names, and progress
//! tracking tells when an epoch is complete. One worker has nobody to send to and nobody to wait for, so there all rooms together
//! are one operator, joined by queues, and answer in the order in which they were built: it was measured that nearly half of an
//! update's instructions went into telling each other of progress (117,000 of 255,000 with eleven operators).

use super::{PerEpoch, Restorer, Saver, TURN};
use crate::model::Epoch;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, InputCapability};
use timely::dataflow::{Scope, StreamVec};
use timely::progress::operate::FrontierInterest;

/// Where rooms are built.
#[derive(Clone)]
pub struct Site<'scope> {
    scope: Scope<'scope, Epoch>,
    /// With one worker: what its only operator does.
    alone: Option<Rc<RefCell<Alone<'scope>>>>,
    kept: Rc<RefCell<Vec<Rc<dyn Kept>>>>,
}

/// The state of a room, for whoever keeps it across processes; to be asked between epochs.
pub trait Kept {
    /// See [`PerEpoch::save`].
    fn save(&self, saver: &mut Saver<'_>) -> io::Result<()>;
    /// See [`PerEpoch::restore`].
    fn restore(&self, restorer: &mut Restorer<'_>) -> io::Result<()>;
}

impl<State: PerEpoch> Kept for RefCell<State> {
    fn save(&self, saver: &mut Saver<'_>) -> io::Result<()> {
        self.borrow().save(saver)
    }

    fn restore(&self, restorer: &mut Restorer<'_>) -> io::Result<()> {
        self.borrow_mut().restore(restorer)
    }
}

/// What the operator of a lone worker does: takes in what enters, then has each room hear and answer, in order.
#[derive(Default)]
struct Alone<'scope> {
    entrances: Vec<Entrance<'scope>>,
    rooms: Vec<Box<dyn Local>>,
}

/// Adds an input to the operator; what that returns moves waiting items into a queue.
type Entrance<'scope> = Box<dyn FnOnce(&mut OperatorBuilder<'scope, Epoch>) -> Box<dyn FnMut(&mut Held)> + 'scope>;

impl<'scope> Site<'scope> {
    pub fn new(scope: Scope<'scope, Epoch>) -> Self {
        let alone = (scope.peers() == 1).then(Rc::default);
        Site { scope, alone, kept: Rc::default() }
    }

    /// The index of this worker.
    pub fn worker(&self) -> u64 {
        self.scope.index() as u64
    }

    /// Lets rooms hear a stream.
    pub fn enter<Item: Clone + 'static>(&self, items: StreamVec<'scope, Epoch, Item>) -> Flow<'scope, Item> {
        let Some(alone) = &self.alone else { return Flow { site: self.clone(), way: Way::Channel(items) } };
        let queue = Queue::default();
        let to = queue.clone();
        alone.borrow_mut().entrances.push(Box::new(move |builder| {
            let mut input = builder.new_input(items, Pipeline);
            Box::new(move |held| {
                input.for_each(|capability, items| {
                    held.keep(&capability);
                    to.borrow_mut().append(items);
                });
            })
        }));
        Flow { site: self.clone(), way: Way::Queue(queue) }
    }

    /// The states of the rooms built here so far, in order.
    pub fn kept(&self) -> Vec<Rc<dyn Kept>> {
        self.kept.borrow().clone()
    }

    /// Ends the building: the answer is a stream that is through with an epoch when all rooms are.
    pub fn leave(self, last: Flow<'scope, ()>) -> StreamVec<'scope, Epoch, ()> {
        match (last.way, self.alone) {
            (Way::Channel(stream), _) => stream,
            (Way::Queue(_), Some(alone)) => alone.take().run(self.scope),
            (Way::Queue(_), None) => unreachable!("queues are there for a lone worker only"),
        }
    }
}

impl<'scope> Alone<'scope> {
    fn run(self, scope: Scope<'scope, Epoch>) -> StreamVec<'scope, Epoch, ()> {
        let Alone { entrances, mut rooms } = self;
        let mut builder = OperatorBuilder::new("Rooms".to_owned(), scope);
        let mut entrances: Vec<_> = entrances.into_iter().map(|entrance| entrance(&mut builder)).collect();
        (0..entrances.len()).for_each(|input| builder.set_notify_for(input, FrontierInterest::IfCapability));
        let (_, through) = builder.new_output::<Vec<()>>();
        let mut held = Held { outlets: 1, capabilities: Vec::new() };
        builder.build(move |_initial| {
            move |frontiers| {
                entrances.iter_mut().for_each(|entrance| entrance(&mut held));
                let Some(epoch) = held.epoch() else { return };
                rooms.iter_mut().for_each(|room| room.receive());
                if frontiers.iter().any(|frontier| frontier.less_equal(&epoch)) {
                    return;
                }
                for room in 0..rooms.len() {
                    // Those behind take in each part of an answer, so that a load does not pile up before them.
                    while rooms[room].answer(epoch) {
                        rooms[room + 1..].iter_mut().for_each(|room| room.receive());
                    }
                    rooms[room + 1..].iter_mut().for_each(|room| room.receive());
                }
                held.capabilities.clear();
            }
        });
        through
    }
}

/// Items on their way from one room to another.
pub struct Flow<'scope, Item> {
    site: Site<'scope>,
    way: Way<'scope, Item>,
}

enum Way<'scope, Item> {
    Channel(StreamVec<'scope, Epoch, Item>),
    Queue(Queue<Item>),
}

type Queue<Item> = Rc<RefCell<Vec<Item>>>;

impl<'scope, Item> Flow<'scope, Item> {
    /// Where it flows.
    pub fn site(&self) -> Site<'scope> {
        self.site.clone()
    }
}

/// A room under construction: name what it hears, then [`run`](Self::run) it.
pub struct Room<'scope, Event> {
    site: Site<'scope>,
    /// Where there are other workers.
    builder: Option<OperatorBuilder<'scope, Epoch>>,
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

    fn epoch(&self) -> Option<Epoch> {
        self.capabilities.first().map(|capability| *capability.time())
    }
}

impl<'scope, Event: 'static> Room<'scope, Event> {
    pub fn new(site: Site<'scope>, name: &str) -> Self {
        let builder = site.alone.is_none().then(|| OperatorBuilder::new(name.to_owned(), site.scope));
        Room { site, builder, inlets: Vec::new() }
    }

    /// Hears items, which are sent to the worker that `route` names (modulo the number of workers).
    pub fn hear<Item: ExchangeData + Into<Event>>(mut self, items: Flow<'scope, Item>, route: impl Fn(&Item) -> u64 + 'static) -> Self {
        self.inlets.push(match (items.way, &mut self.builder) {
            (Way::Channel(stream), Some(builder)) => {
                let mut input = builder.new_input(stream, Exchange::new(route));
                builder.set_notify_for(self.inlets.len(), FrontierInterest::IfCapability);
                Box::new(move |held, receive| {
                    input.for_each(|capability, items| {
                        held.keep(&capability);
                        items.drain(..).for_each(|item| receive(item.into()));
                    });
                })
            }
            (Way::Queue(queue), None) => Box::new(move |_, receive| {
                let mut items = queue.borrow_mut();
                items.drain(..).for_each(|item| receive(item.into()));
                items.shrink_to(TURN);
            }),
            _ => unreachable!("channels are there between workers, queues for a lone one"),
        });
        self
    }

    /// Runs `state` behind what it hears; its outlets flow on.
    pub fn run<State: PerEpoch<Event = Event>>(self, state: State) -> <State::Outlets as Outlets>::Flows<'scope> {
        let Room { site, builder, inlets } = self;
        let state = Rc::new(RefCell::new(state));
        site.kept.borrow_mut().push(state.clone());
        match (&site.alone, builder) {
            (Some(alone), None) => {
                let (queues, flows) = State::Outlets::queues(&site);
                let room = LocalRoom { state, inlets, out: State::Outlets::default(), queues, heard: false };
                alone.borrow_mut().rooms.push(Box::new(room));
                flows
            }
            (None, Some(builder)) => run_as_operator(builder, &site, inlets, state),
            _ => unreachable!("an operator is built where there are other workers"),
        }
    }
}

fn run_as_operator<'scope, State: PerEpoch>(
    mut builder: OperatorBuilder<'scope, Epoch>,
    site: &Site<'scope>,
    mut inlets: Vec<Inlet<State::Event>>,
    state: Rc<RefCell<State>>,
) -> <State::Outlets as Outlets>::Flows<'scope> {
    let (mut ports, flows) = State::Outlets::open(&mut builder, site);
    let activator = site.scope.activator_for(builder.operator_info().address);
    let mut held = Held { outlets: builder.shape().outputs(), capabilities: Vec::new() };
    let mut out = State::Outlets::default();
    builder.build(move |_initial| {
        move |frontiers| {
            let mut state = state.borrow_mut();
            inlets.iter_mut().for_each(|inlet| inlet(&mut held, &mut |event| state.receive(event, &mut out)));
            let Some(epoch) = held.epoch() else { return };
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
    flows
}

/// A room on a lone worker.
trait Local {
    /// Takes in what waits.
    fn receive(&mut self);
    /// See [`PerEpoch::answer`].
    fn answer(&mut self, epoch: Epoch) -> bool;
}

struct LocalRoom<State: PerEpoch> {
    state: Rc<RefCell<State>>,
    inlets: Vec<Inlet<State::Event>>,
    out: State::Outlets,
    queues: <State::Outlets as Outlets>::Queues,
    /// Something was heard in this epoch that is not answered yet.
    heard: bool,
}

impl<State: PerEpoch> Local for LocalRoom<State> {
    fn receive(&mut self) {
        let LocalRoom { state, inlets, out, queues, heard } = self;
        let mut state = state.borrow_mut();
        let mut nobody = Held { outlets: 0, capabilities: Vec::new() };
        for inlet in inlets {
            inlet(&mut nobody, &mut |event| {
                *heard = true;
                state.receive(event, out);
            });
        }
        out.push(queues);
    }

    fn answer(&mut self, epoch: Epoch) -> bool {
        self.heard = self.heard && self.state.borrow_mut().answer(epoch, &mut self.out);
        self.out.push(&mut self.queues);
        self.heard
    }
}

/// What a room says: a tuple of buffers, each of which flows on by itself.
pub trait Outlets: Default + 'static {
    type Ports: 'static;
    type Queues: 'static;
    type Flows<'scope>;
    /// Adds outputs to an operator.
    fn open<'scope>(builder: &mut OperatorBuilder<'scope, Epoch>, site: &Site<'scope>) -> (Self::Ports, Self::Flows<'scope>);
    /// Sends what was said, and leaves the buffers empty.
    fn send(&mut self, ports: &mut Self::Ports, capabilities: &[Capability<Epoch>]);
    /// Adds queues.
    fn queues<'scope>(site: &Site<'scope>) -> (Self::Queues, Self::Flows<'scope>);
    /// Puts what was said into the queues, and leaves the buffers empty.
    fn push(&mut self, queues: &mut Self::Queues);
}

type Port<Item> = OutputBuilder<Epoch, CapacityContainerBuilder<Vec<Item>>>;

fn open<'scope, Item: Clone + 'static>(
    builder: &mut OperatorBuilder<'scope, Epoch>,
    site: &Site<'scope>,
) -> (Port<Item>, Flow<'scope, Item>) {
    let (output, stream) = builder.new_output();
    (OutputBuilder::from(output), Flow { site: site.clone(), way: Way::Channel(stream) })
}

fn send<Item: Clone + 'static>(items: &mut Vec<Item>, port: &mut Port<Item>, capability: &Capability<Epoch>) {
    if !items.is_empty() {
        port.activate().session(capability).give_container(items);
        items.clear();
    }
}

fn queue<'scope, Item>(site: &Site<'scope>) -> (Queue<Item>, Flow<'scope, Item>) {
    let queue = Queue::default();
    (queue.clone(), Flow { site: site.clone(), way: Way::Queue(queue) })
}

macro_rules! outlets {
    ($($item:ident $index:tt),+) => {
        impl<$($item: Clone + 'static),+> Outlets for ($(Vec<$item>,)+) {
            type Ports = ($(Port<$item>,)+);
            type Queues = ($(Queue<$item>,)+);
            type Flows<'scope> = ($(Flow<'scope, $item>,)+);
            fn open<'scope>(builder: &mut OperatorBuilder<'scope, Epoch>, site: &Site<'scope>) -> (Self::Ports, Self::Flows<'scope>) {
                let opened = ($(open::<$item>(builder, site),)+);
                (($(opened.$index.0,)+), ($(opened.$index.1,)+))
            }
            fn send(&mut self, ports: &mut Self::Ports, capabilities: &[Capability<Epoch>]) {
                $(send(&mut self.$index, &mut ports.$index, &capabilities[$index]);)+
            }
            fn queues<'scope>(site: &Site<'scope>) -> (Self::Queues, Self::Flows<'scope>) {
                let queues = ($(queue::<$item>(site),)+);
                (($(queues.$index.0,)+), ($(queues.$index.1,)+))
            }
            fn push(&mut self, queues: &mut Self::Queues) {
                $(queues.$index.borrow_mut().append(&mut self.$index);)+
            }
        }
    };
}

outlets!(A 0);
outlets!(A 0, B 1);
outlets!(A 0, B 1, C 2);
outlets!(A 0, B 1, C 2, D 3);
