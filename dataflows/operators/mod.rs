//! What the substrate lacks: operators that keep keyed state of their own and answer once an epoch is complete.

use crate::model::Epoch;
use timely::ExchangeData;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

/// State that takes in events as they come, and answers when no more can come for their epoch.
///
/// Exactly one epoch is in flight (the engine closes an epoch only when the one before is through), so events may change
/// the state on arrival, before their epoch is complete.
pub trait PerEpoch<Event, Answer>: 'static {
    /// Takes in one event.
    fn receive(&mut self, event: Event);
    /// Gives what may leave before the epoch is complete, because it does not depend on what is still to come.
    fn give_early(&mut self, _give: &mut dyn FnMut(Answer)) {}
    /// Gives (part of) the answer to the events received; true when there is more to give. An operator that gives in parts
    /// lets those behind it work in between, so that a load does not pile up in channels.
    fn answer(&mut self, epoch: Epoch, give: &mut dyn FnMut(Answer)) -> bool;
}

/// Runs `state` over a stream whose events are sent to the worker that `route` names (modulo the number of workers).
pub fn per_epoch<'scope, Event, Answer>(
    events: StreamVec<'scope, Epoch, Event>,
    name: &str,
    route: impl Fn(&Event) -> u64 + 'static,
    mut state: impl PerEpoch<Event, Answer>,
) -> StreamVec<'scope, Epoch, Answer>
where
    Event: ExchangeData,
    Answer: Clone + 'static,
{
    let scope = events.scope();
    events.unary_frontier(Exchange::new(route), name, move |_initial, info| {
        let activator = scope.activator_for(info.address);
        let mut held: Option<Capability<Epoch>> = None;
        move |(input, frontier), output| {
            input.for_each(|capability, events| {
                let capability = capability.retain_least(0).expect("every message carries a time");
                let held = held.get_or_insert(capability);
                debug_assert!(!frontier.frontier().iter().any(|epoch| epoch > held.time()), "one epoch in flight");
                events.drain(..).for_each(|event| state.receive(event));
            });
            let Some(capability) = held.as_ref() else { return };
            {
                let mut session = output.session(capability);
                state.give_early(&mut |answer| session.give(answer));
            }
            if frontier.less_equal(capability.time()) {
                return;
            }
            let more = {
                let mut session = output.session(capability);
                state.answer(*capability.time(), &mut |answer| session.give(answer))
            };
            if more {
                activator.activate();
            } else {
                held = None;
            }
        }
    })
}

/// Spreads keys over workers: neighbouring numbers must not share one.
pub fn spread(key: u64) -> u64 {
    key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
}
