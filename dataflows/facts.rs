//! What composition is told: under adults, under children, at addresses; and how lists of it are packed.

use crate::model::PersonId;
use crate::operators::Packed;
use crate::policy::file::{read_varint, write_varint};
use serde::{Deserialize, Serialize};

/// As what somebody may take in a child; in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Care {
    /// The position orders several: the latest first.
    Guardian(u8),
    Custody(u8),
    Parent,
}

/// What composition knows under an adult, or under a child who is a parent. An address of zero: registered nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AdultFact {
    /// An adult with a spouse (zero: none), or one who is `responsible`: named as parent, guardian or custody holder, and not
    /// deprived.
    Stands { spouse: PersonId, address: u64, female: bool, responsible: bool },
    /// A child who is a parent: their children may be placed where they are.
    StandsAsChild { address: u64, female: bool },
    /// Another adult names them as spouse.
    ClaimedBy { spouse: PersonId, female: bool },
    /// A child names them.
    AnswersFor { child: PersonId, address: u64, care: Care },
}

/// Somebody who may take in a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Carer {
    pub person: PersonId,
    /// After whom their family is named; zero for one who is a child too, and goes where their own adult is.
    pub anchor: PersonId,
    pub care: Care,
    pub female: bool,
    /// Registered at the child's address.
    pub near: bool,
}

/// What composition knows under a child, or under a dependant adult.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ChildFact {
    /// Is to be placed. A dependant is an adult who is placed only with a parent at the same address (domain rule 7); whoever
    /// is `responsible` is a parent already.
    Needs {
        dependant: bool,
        responsible: bool,
    },
    /// Takes this child of theirs along to whoever takes them in.
    Takes(PersonId),
    /// Too many people live at this address, where the child is registered.
    Crowded(u64),
    Offer(Carer),
}

/// Somebody registered at an address: a person, and whether they are to be told when it is crowded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Resident(u64);

impl Resident {
    pub fn new(person: PersonId, child: bool) -> Self {
        Resident(person << 1 | u64::from(child))
    }

    /// The person, if they are a child.
    pub fn child(&self) -> Option<PersonId> {
        (self.0 & 1 == 1).then_some(self.0 >> 1)
    }
}

// How facts are packed: a byte that says which they are and what is true of them, then their numbers as varints.

/// Bits of that byte, beside the two that say which fact it is.
const FEMALE: u64 = 4;
const RESPONSIBLE: u64 = 8;
const DEPENDANT: u64 = 16;
const NEAR: u64 = 32;

fn flag(holds: bool, bit: u64) -> u64 {
    if holds { bit } else { 0 }
}

impl Care {
    /// Guardians come first, then those who have custody, in their order; parents last.
    fn number(self) -> u64 {
        match self {
            Care::Guardian(position) => u64::from(position) << 2,
            Care::Custody(position) => u64::from(position) << 2 | 1,
            Care::Parent => 2,
        }
    }

    fn of(number: u64) -> Care {
        let position = (number >> 2) as u8;
        match number & 3 {
            0 => Care::Guardian(position),
            1 => Care::Custody(position),
            _ => Care::Parent,
        }
    }
}

impl Packed for AdultFact {
    fn pack(&self, out: &mut Vec<u8>) {
        let mut write = |numbers: &[u64]| numbers.iter().for_each(|number| write_varint(out, *number));
        match *self {
            AdultFact::Stands { spouse, address, female, responsible } => {
                write(&[flag(female, FEMALE) | flag(responsible, RESPONSIBLE), spouse, address]);
            }
            AdultFact::StandsAsChild { address, female } => write(&[1 | flag(female, FEMALE), address]),
            AdultFact::ClaimedBy { spouse, female } => write(&[2 | flag(female, FEMALE), spouse]),
            AdultFact::AnswersFor { child, address, care } => write(&[3, child, address, care.number()]),
        }
    }

    fn unpack(bytes: &[u8], at: &mut usize) -> Self {
        let mut read = || read_varint(bytes, at);
        let head = read();
        let (female, responsible) = (head & FEMALE != 0, head & RESPONSIBLE != 0);
        match head & 3 {
            0 => AdultFact::Stands { spouse: read(), address: read(), female, responsible },
            1 => AdultFact::StandsAsChild { address: read(), female },
            2 => AdultFact::ClaimedBy { spouse: read(), female },
            _ => AdultFact::AnswersFor { child: read(), address: read(), care: Care::of(read()) },
        }
    }
}

impl Packed for ChildFact {
    fn pack(&self, out: &mut Vec<u8>) {
        let mut write = |numbers: &[u64]| numbers.iter().for_each(|number| write_varint(out, *number));
        match *self {
            ChildFact::Needs { dependant, responsible } => write(&[flag(dependant, DEPENDANT) | flag(responsible, RESPONSIBLE)]),
            ChildFact::Takes(child) => write(&[1, child]),
            ChildFact::Crowded(address) => write(&[2, address]),
            ChildFact::Offer(Carer { person, anchor, care, female, near }) => {
                write(&[3 | flag(female, FEMALE) | flag(near, NEAR), person, anchor, care.number()]);
            }
        }
    }

    fn unpack(bytes: &[u8], at: &mut usize) -> Self {
        let mut read = || read_varint(bytes, at);
        let head = read();
        match head & 3 {
            0 => ChildFact::Needs { dependant: head & DEPENDANT != 0, responsible: head & RESPONSIBLE != 0 },
            1 => ChildFact::Takes(read()),
            2 => ChildFact::Crowded(read()),
            _ => {
                let (female, near) = (head & FEMALE != 0, head & NEAR != 0);
                ChildFact::Offer(Carer { person: read(), anchor: read(), care: Care::of(read()), female, near })
            }
        }
    }
}

impl Packed for Resident {
    fn pack(&self, out: &mut Vec<u8>) {
        write_varint(out, self.0);
    }

    fn unpack(bytes: &[u8], at: &mut usize) -> Self {
        Resident(read_varint(bytes, at))
    }
}
