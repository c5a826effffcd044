//! Rooms and the ways between them.
//!
//! A room is state that answers once an epoch is complete; it hears what others say and says what follows. Between several workers
//! that goes through timely's channels: every room is an operator, its items go to the worker that `route` names, and progress
//! tracking tells when an epoch is complete. One worker has nobody to send to and nobody to wait for, so there rooms are joined by
//! queues, and answer in the order in which they were built: it was measured that nearly half of an update's instructions went into
//! telling each other of progress with eleven operators (117,000 of 255,000), and a quarter of its time when all rooms were one.

use super::{PerEpoch, ROOM, Restorer, Saver, TOGETHER};
use crate::model::Epoch;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandleVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::probe::Handle as Probe;
use timely::dataflow::operators::{Capability, Input, InputCapability, Probe as _};
use timely::dataflow::{Scope, StreamVec};
use timely::progress::operate::FrontierInterest;
use timely::worker::Worker;

/// Where rooms are built.
#[derive(Clone)]
pub struct Site<'scope> {
    worker: usize,
    ground: Ground<'scope>,
    kept: Rc<RefCell<Vec<Rc<dyn Kept>>>>,
}

#[derive(Clone)]
enum Ground<'scope> {
    /// Among several workers: a dataflow.
    Among(Scope<'scope, Epoch>),
    /// Of a lone worker: its rooms, in order.
    Alone(Rc<RefCell<Vec<Box<dyn Local>>>>),
}

/// Where items are put that rooms hear.
pub enum Entrance<Item: Clone + 'static> {
    Channel(Box<InputHandleVec<Epoch, Item>>),
    Queue(Queue<Item>),
}

impl<Item: Clone + 'static> Entrance<Item> {
    pub fn send(&mut self, item: Item) {
        match self {
            Entrance::Channel(input) => input.send(item),
            Entrance::Queue(queue) => queue.borrow_mut().push(item),
        }
    }

    /// Lets the rooms hear of what was sent.
    pub fn flush(&mut self) {
        if let Entrance::Channel(input) = self {
            input.flush();
        }
    }

    /// What is sent from now on is of this epoch, or a later one.
    pub fn advance_to(&mut self, epoch: Epoch) {
        if let Entrance::Channel(input) = self {
            input.advance_to(epoch);
        }
    }
}

/// All rooms of a worker, at work.
pub enum Passage {
    Among(Probe<Epoch>),
    Alone(Vec<Box<dyn Local>>),
}

impl Passage {
    /// Has rooms take in what has entered.
    pub fn work(&mut self, worker: &mut Worker) {
        match self {
            Passage::Among(_) => {
                worker.step();
            }
            Passage::Alone(rooms) => rooms.iter_mut().for_each(|room| room.receive()),
        }
    }

    /// Has rooms answer all that is of epochs before this one, at which entrances are.
    pub fn complete(&mut self, worker: &mut Worker, epoch: Epoch) {
        match self {
            Passage::Among(through) => {
                worker.step_or_park_while(None, || through.less_than(&epoch));
            }
            Passage::Alone(rooms) => {
                rooms.iter_mut().for_each(|room| room.receive());
                for room in 0..rooms.len() {
                    // Those behind take in each part of an answer, so that a load does not pile up before them.
                    while rooms[room].answer() {
                        rooms[room + 1..].iter_mut().for_each(|room| room.receive());
                    }
                    rooms[room + 1..].iter_mut().for_each(|room| room.receive());
                }
            }
        }
    }
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

/// Builds the rooms of a worker, and the ways into them.
pub fn build<Entrances>(
    worker: &mut Worker,
    name: &str,
    join: impl for<'scope> FnOnce(&Site<'scope>) -> (Entrances, Flow<'scope, ()>),
) -> (Entrances, Passage, Vec<Rc<dyn Kept>>) {
    let index = worker.index();
    let build = |ground: Ground<'_>| {
        let site = Site { worker: index, ground, kept: Rc::default() };
        let (entrances, last) = join(&site);
        let kept = site.kept.take();
        (entrances, site.leave(last), kept)
    };
    match worker.peers() {
        1 => build(Ground::Alone(Rc::default())),
        _ => worker.dataflow_named(name, |scope| build(Ground::Among(scope))),
    }
}

impl<'scope> Site<'scope> {
    /// The index of this worker.
    pub fn worker(&self) -> u64 {
        self.worker as u64
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        match &self.ground {
            Ground::Among(scope) => scope.peers(),
            Ground::Alone(_) => 1,
        }
    }

    /// A way into the rooms.
    pub fn enter<Item: Clone + 'static>(&self) -> (Entrance<Item>, Flow<'scope, Item>) {
        let (entrance, way) = match &self.ground {
            Ground::Among(scope) => {
                let (input, stream) = scope.clone().new_input::<Vec<Item>>();
                (Entrance::Channel(Box::new(input)), Way::Channel(stream))
            }
            Ground::Alone(_) => {
                let queue = Queue::default();
                (Entrance::Queue(queue.clone()), Way::Queue(queue))
            }
        };
        (entrance, Flow { site: self.clone(), way })
    }

    /// Ends the building: the last flow is through with an epoch when all rooms are.
    fn leave(self, last: Flow<'scope, ()>) -> Passage {
        match (last.way, self.ground) {
            (Way::Channel(stream), _) => {
                let through = Probe::new();
                stream.probe_with(&through);
                Passage::Among(through)
            }
            (Way::Queue(_), Ground::Alone(rooms)) => Passage::Alone(rooms.take()),
            (Way::Queue(_), Ground::Among(_)) => unreachable!("queues are there for a lone worker only"),
        }
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

/// What one room of a lone worker said and the next has not heard.
pub type Queue<Item> = Rc<RefCell<Vec<Item>>>;

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

/// Hands on what waits at one input, some events at a time.
type Inlet<Event> = Box<dyn FnMut(&mut Held, &mut dyn FnMut(&mut Vec<Event>))>;

/// Hands items on, so many at a time; `events` is room to put them.
fn hand_on<Item: Into<Event>, Event>(
    mut items: impl Iterator<Item = Item>,
    events: &mut Vec<Event>,
    receive: &mut dyn FnMut(&mut Vec<Event>),
) {
    loop {
        events.extend(items.by_ref().take(TOGETHER).map(Into::into));
        if events.is_empty() {
            return;
        }
        receive(events);
        events.clear();
    }
}

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
        let builder = match &site.ground {
            Ground::Among(scope) => Some(OperatorBuilder::new(name.to_owned(), *scope)),
            Ground::Alone(_) => None,
        };
        Room { site, builder, inlets: Vec::new() }
    }

    /// Hears items, which are sent to the worker that `route` names (modulo the number of workers).
    pub fn hear<Item: ExchangeData + Into<Event>>(mut self, items: Flow<'scope, Item>, route: impl Fn(&Item) -> u64 + 'static) -> Self {
        let mut events = Vec::new();
        self.inlets.push(match (items.way, &mut self.builder) {
            (Way::Channel(stream), Some(builder)) => {
                let mut input = builder.new_input(stream, Exchange::new(route));
                builder.set_notify_for(self.inlets.len(), FrontierInterest::IfCapability);
                Box::new(move |held, receive| {
                    input.for_each(|capability, items| {
                        held.keep(&capability);
                        hand_on(items.drain(..), &mut events, receive);
                    });
                })
            }
            (Way::Queue(queue), None) => Box::new(move |_, receive| {
                let mut items = queue.borrow_mut();
                hand_on(items.drain(..), &mut events, receive);
                items.shrink_to(ROOM);
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
        match (&site.ground, builder) {
            (Ground::Alone(rooms), _) => {
                let (queues, flows) = State::Outlets::queues(&site);
                rooms.borrow_mut().push(Box::new(LocalRoom { state, inlets, out: State::Outlets::default(), queues, heard: false }));
                flows
            }
            (Ground::Among(scope), Some(builder)) => run_as_operator(builder, *scope, &site, inlets, state),
            (Ground::Among(_), None) => unreachable!("an operator is built where there are other workers"),
        }
    }
}

fn run_as_operator<'scope, State: PerEpoch>(
    mut builder: OperatorBuilder<'scope, Epoch>,
    scope: Scope<'scope, Epoch>,
    site: &Site<'scope>,
    mut inlets: Vec<Inlet<State::Event>>,
    state: Rc<RefCell<State>>,
) -> <State::Outlets as Outlets>::Flows<'scope> {
    let (mut ports, flows) = State::Outlets::open(&mut builder, site);
    let activator = scope.activator_for(builder.operator_info().address);
    let mut held = Held { outlets: builder.shape().outputs(), capabilities: Vec::new() };
    let mut out = State::Outlets::default();
    builder.build(move |_initial| {
        move |frontiers| {
            let mut state = state.borrow_mut();
            inlets.iter_mut().for_each(|inlet| inlet(&mut held, &mut |events| take_in(&mut *state, events, &mut out)));
            let Some(epoch) = held.epoch() else { return };
            let complete = !frontiers.iter().any(|frontier| frontier.less_equal(&epoch));
            let more = complete && state.answer(&mut out);
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

fn take_in<State: PerEpoch>(state: &mut State, events: &mut Vec<State::Event>, out: &mut State::Outlets) {
    if events.len() > 1 {
        state.expect(events);
    }
    events.drain(..).for_each(|event| state.receive(event, out));
}

/// A room of a lone worker.
pub trait Local {
    /// Takes in what waits.
    fn receive(&mut self);
    /// See [`PerEpoch::answer`].
    fn answer(&mut self) -> bool;
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
            inlet(&mut nobody, &mut |events| {
                *heard = true;
                take_in(&mut *state, events, out);
            });
        }
        out.push(queues);
    }

    fn answer(&mut self) -> bool {
        self.heard = self.heard && self.state.borrow_mut().answer(&mut self.out);
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
