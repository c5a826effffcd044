//! Rooms of a lone worker, without the house.

use dataflows::model::Epoch;
use dataflows::operators::{Entrance, Flow, Passage, PerEpoch, Restorer, Room, Saver, Site, build};
use std::io;
use std::marker::PhantomData;
use std::time::Instant;
use timely::communication::Allocator;
use timely::communication::allocator::thread::Thread;
use timely::worker::Worker;
use timely::{ExchangeData, WorkerConfig};

/// Rooms, and the ways into them.
pub struct Alone<Entrances> {
    worker: Worker,
    pub entrances: Entrances,
    passage: Passage,
    epoch: Epoch,
}

impl<Entrances> Alone<Entrances> {
    pub fn build(join: impl for<'scope> FnOnce(&Site<'scope>) -> (Entrances, Flow<'scope, ()>)) -> Self {
        let mut worker = Worker::new(WorkerConfig::default(), Allocator::Thread(Thread::default()), Some(Instant::now()));
        let (entrances, passage, _) = build(&mut worker, "alone", join);
        Alone { worker, entrances, passage, epoch: 0 }
    }

    /// Ends an epoch.
    pub fn close(&mut self) {
        self.epoch += 1;
        self.passage.complete(&mut self.worker, self.epoch);
    }
}

impl<Item: Clone + 'static> Alone<Entrance<Item>> {
    /// An epoch in which this is heard.
    pub fn hear(&mut self, items: Vec<Item>) {
        items.into_iter().for_each(|item| self.entrances.send(item));
        self.close();
    }
}

/// Ends a flow, or several of a kind: nobody looks at what is said.
pub fn unheard<'scope, Item: ExchangeData>(flows: impl IntoIterator<Item = Flow<'scope, Item>>) -> Flow<'scope, ()> {
    let mut flows = flows.into_iter().peekable();
    let site = flows.peek().expect("there is a flow").site();
    let room = Room::<'_, Item>::new(site, "unheard");
    let (end,) = flows.fold(room, |room, flow| room.hear(flow, |_| 0)).run(Unheard(PhantomData));
    end
}

struct Unheard<Item>(PhantomData<Item>);

impl<Item: 'static> PerEpoch for Unheard<Item> {
    type Event = Item;
    type Outlets = (Vec<()>,);

    fn receive(&mut self, _: Item, _: &mut Self::Outlets) {}

    fn answer(&mut self, _: &mut Self::Outlets) -> bool {
        false
    }

    fn save(&self, _: &mut Saver<'_>) -> io::Result<()> {
        Ok(())
    }

    fn restore(&mut self, _: &mut Restorer<'_>) -> io::Result<()> {
        Ok(())
    }
}
