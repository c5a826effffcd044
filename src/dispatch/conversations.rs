//! All conversations, those about the rights of one person together, and which of them are to be looked at. On the first day of a quarter there are
//! millions of both.

use super::conversation::Conversation;
use super::desk::RightKey;
use dataflows::model::PersonId;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::ops::Index;

/// Why a conversation is to be looked at.
#[derive(Clone, Copy)]
pub(super) enum Mark {
    /// Something may be done about it before the epoch is over.
    Due = 0,
    /// It began or went on since this was last asked.
    Changed = 1,
}

#[derive(Default, Serialize, Deserialize)]
pub(super) struct Conversations {
    /// Of each person in the order of rights.
    by_person: HashMap<PersonId, Vec<Kept>>,
    /// By mark: whose conversations have it, some of them more than once.
    marked: [Vec<PersonId>; 2],
}

#[derive(Serialize, Deserialize)]
struct Kept {
    right: RightKey,
    conversation: Conversation,
    /// A bit for each mark.
    marks: u8,
}

impl Conversations {
    pub fn get(&self, right: &RightKey) -> Option<&Conversation> {
        let kept = self.by_person.get(&right.person)?;
        kept.iter().find(|kept| kept.right == *right).map(|kept| &kept.conversation)
    }

    /// The rights of somebody about which there are conversations, in order.
    pub fn of_person(&self, person: PersonId) -> impl Iterator<Item = &RightKey> {
        self.by_person.get(&person).into_iter().flatten().map(|kept| &kept.right)
    }

    /// All of them, in the order of rights.
    pub fn iter(&self) -> impl Iterator<Item = (&RightKey, &Conversation)> {
        let mut people: Vec<PersonId> = self.by_person.keys().copied().collect();
        people.sort_unstable();
        people.into_iter().flat_map(|person| &self.by_person[&person]).map(|kept| (&kept.right, &kept.conversation))
    }

    /// Keeps one as it is now, with both marks; as it was before.
    pub fn insert(&mut self, right: &RightKey, conversation: Conversation) -> Option<Conversation> {
        let of_person = self.by_person.entry(right.person).or_default();
        let (place, before) = match of_person.binary_search_by(|kept| kept.right.cmp(right)) {
            Ok(place) => (place, Some(std::mem::replace(&mut of_person[place].conversation, conversation))),
            Err(place) => {
                // Most people have one or two.
                of_person.reserve_exact(1);
                of_person.insert(place, Kept { right: right.clone(), conversation, marks: 0 });
                (place, None)
            }
        };
        for mark in [Mark::Due, Mark::Changed] {
            of_person[place].mark(mark, &mut self.marked);
        }
        before
    }

    /// Marks one, if it is there.
    pub fn mark(&mut self, right: &RightKey, mark: Mark) {
        let of_person = self.by_person.get_mut(&right.person);
        if let Some(kept) = of_person.and_then(|of_person| of_person.iter_mut().find(|kept| kept.right == *right)) {
            kept.mark(mark, &mut self.marked);
        }
    }

    /// Those of whose conversations some may have a mark, in order: from here on they are not told of again.
    pub fn take_marked(&mut self, mark: Mark) -> Vec<PersonId> {
        let mut people = std::mem::take(&mut self.marked[mark as usize]);
        people.sort_unstable();
        people.dedup();
        people
    }

    /// Takes a mark from all conversations of somebody; which had it, in order.
    pub fn unmark(&mut self, person: PersonId, mark: Mark) -> Vec<RightKey> {
        let kept = self.by_person.get_mut(&person).into_iter().flatten();
        let marked = kept.filter(|kept| kept.marks & mark.bit() != 0);
        marked
            .map(|kept| {
                kept.marks &= !mark.bit();
                kept.right.clone()
            })
            .collect()
    }
}

impl Index<&RightKey> for Conversations {
    type Output = Conversation;

    fn index(&self, right: &RightKey) -> &Conversation {
        self.get(right).expect("there is a conversation about this right")
    }
}

impl Kept {
    fn mark(&mut self, mark: Mark, marked: &mut [Vec<PersonId>; 2]) {
        let people = &mut marked[mark as usize];
        if self.marks & mark.bit() == 0 && people.last() != Some(&self.right.person) {
            people.push(self.right.person);
        }
        self.marks |= mark.bit();
    }
}

impl Mark {
    fn bit(self) -> u8 {
        1 << self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::super::conversation::Standing;
    use super::*;
    use dataflows::model::{Date, Ground};

    fn right(person: PersonId, benefit: u16) -> RightKey {
        RightKey { person, benefit, ground: Ground::Constant, period: Date::NEVER }
    }

    fn begun() -> Conversation {
        let standing = Standing { certain: true, amount: 1, from: Date(0), until: Date::NEVER, addressee: 7, proactive: Date(0) };
        Conversation::begin(standing, Date(0))
    }

    fn taken(conversations: &mut Conversations, mark: Mark) -> Vec<RightKey> {
        let people = conversations.take_marked(mark);
        people.into_iter().flat_map(|person| conversations.unmark(person, mark)).collect()
    }

    /// What is marked is told of once, in the order of rights, however often and in whatever order it was marked; each mark by itself.
    #[test]
    fn what_is_marked_is_told_of_once_and_in_order() {
        let mut conversations = Conversations::default();
        for (person, benefit) in [(9, 2), (1, 5), (9, 1), (1, 5), (4, 0)] {
            conversations.insert(&right(person, benefit), begun());
        }
        let all = [(1, 5), (4, 0), (9, 1), (9, 2)].map(|(person, benefit)| right(person, benefit));
        assert_eq!(conversations.iter().map(|(right, _)| right.clone()).collect::<Vec<_>>(), all);
        assert_eq!((taken(&mut conversations, Mark::Due), taken(&mut conversations, Mark::Due)), (all.to_vec(), Vec::new()));
        assert_eq!(taken(&mut conversations, Mark::Changed), all, "one mark is not the other");
        // Of somebody whose other right is marked too, and of somebody of whom nothing is kept.
        [right(9, 2), right(4, 0), right(9, 1), right(9, 2), right(3, 3)].iter().for_each(|right| conversations.mark(right, Mark::Due));
        let people = conversations.take_marked(Mark::Due);
        // While some were taken and not asked yet.
        conversations.mark(&right(9, 1), Mark::Due);
        let told: Vec<RightKey> = people.into_iter().flat_map(|person| conversations.unmark(person, Mark::Due)).collect();
        assert_eq!(told, all[1..]);
        assert!(taken(&mut conversations, Mark::Due).is_empty());
    }
}
