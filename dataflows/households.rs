//! Room 3: households. Who belongs together: membership and role of every person (domain.md 2.2, rules 3 to 8).
//!
//! Families form around a responsible adult, not by chains of kinship, so nothing is iterated. Four keyed lists of facts, each
//! with one rule, hand on what they conclude:
//!
//! ```text
//!  facts about adults ──► ADULTS ──► offers ─────────┐
//!                         anchor of a couple         ▼
//!  facts about children ─────────────────────────► CHILDREN ──► children of child parents ──► FOLLOWERS
//!                                                    ▲          one step further, and no further
//!  residents ───────────► ADDRESSES ──► crowded ─────┘
//! ```
//!
//! A couple's anchor is its woman (of two women or two men, the smaller number). A child goes to the first valid of: guardian,
//! custody holder, both parents where they share an anchor, the parent at the same address, mother, other parent. A child
//! who is a parent may take their children along to their own adult, and no further.

use crate::facts::{AdultFact, Care, Carer, ChildFact, Resident};
use crate::model::{HouseholdKey, Membership, PersonId, Role};
use crate::operators::{Flow, Listed, Packed, Room, Rule, StoreSize, lists, spread};
use crate::persons::{Facts, Placed};
use crate::policy::file::{read_varint, write_varint};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::rc::Rc;

/// How much each of the lists holds.
#[derive(Clone, Default)]
pub struct ListSizes {
    pub adults: Rc<Cell<StoreSize>>,
    pub addresses: Rc<Cell<StoreSize>>,
    pub children: Rc<Cell<StoreSize>>,
    pub followers: Rc<Cell<StoreSize>>,
}

/// Composes households: the places of everybody who needs facts about others to be placed.
pub fn compose<'scope>(facts: Facts<'scope>, sizes: &ListSizes) -> [Flow<'scope, Placed>; 3] {
    let site = facts.adults.site();
    let (adults, offers) = Room::new(site.clone(), "Adults").hear(facts.adults, route).run(lists(Adults, sizes.adults.clone()));
    let (crowded,) = Room::new(site.clone(), "Addresses").hear(facts.residents, route).run(lists(Addresses, sizes.addresses.clone()));
    let children = Room::new(site.clone(), "Children").hear(facts.children, route).hear(offers, route).hear(crowded, route);
    let (children, followed) = children.run(lists(Children, sizes.children.clone()));
    let (followers,) = Room::new(site.clone(), "Followers").hear(followed, route).run(lists(Followers, sizes.followers.clone()));
    [adults, children, followers]
}

fn route<Fact>((key, ..): &Listed<Fact>) -> u64 {
    spread(*key)
}

fn family(anchor: PersonId, role: Role) -> Membership {
    Membership { household: HouseholdKey::family(anchor), role }
}

/// By adult (or child parent): couples share an anchor, and carers make their offers.
struct Adults;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum OfAdult {
    Place(Membership),
    Offer { child: PersonId, carer: Carer },
}

impl Rule for Adults {
    type Fact = AdultFact;
    type Conclusion = OfAdult;
    type Outlets = (Vec<Placed>, Vec<Listed<ChildFact>>);

    fn conclude(&self, person: PersonId, known: &[AdultFact], conclusions: &mut dyn FnMut(OfAdult)) {
        let standing = known.iter().find_map(|fact| match *fact {
            AdultFact::Stands { spouse, address, female, responsible } => {
                let anchor = anchor(person, female, spouse, known);
                Some((Some(anchor), address, female, responsible))
            }
            AdultFact::StandsAsChild { address, female } => Some((None, address, female, true)),
            _ => None,
        });
        let Some((anchor, address, female, responsible)) = standing else { return };
        if let Some(anchor) = anchor {
            conclusions(OfAdult::Place(family(anchor, if anchor == person { Role::Head } else { Role::Spouse })));
        }
        for fact in known.iter().filter(|_| responsible) {
            if let AdultFact::AnswersFor { child, address: of_child, care } = *fact {
                let near = of_child != 0 && of_child == address;
                conclusions(OfAdult::Offer { child, carer: Carer { person, anchor: anchor.unwrap_or(0), care, female, near } });
            }
        }
    }

    fn tell(&self, person: PersonId, conclusion: OfAdult, sign: isize, (places, offers): &mut Self::Outlets) {
        match conclusion {
            OfAdult::Place(place) => places.push((person, place, sign)),
            OfAdult::Offer { child, carer } => offers.push((child, ChildFact::Offer(carer), sign)),
        }
    }
}

/// After whom an adult's family is named: two who name each other as spouses share one.
fn anchor(person: PersonId, female: bool, spouse: PersonId, known: &[AdultFact]) -> PersonId {
    let claim = known.iter().find_map(|fact| match *fact {
        AdultFact::ClaimedBy { spouse: by, female } if by == spouse => Some(female),
        _ => None,
    });
    match claim {
        None => person,
        Some(spouse_female) if spouse_female && !female => spouse,
        Some(spouse_female) if female && !spouse_female => person,
        Some(_) => person.min(spouse),
    }
}

/// By address: where more than [`RESIDENTS_MAX`] people are registered, it is no sign of living together (edge case E24).
struct Addresses;

const RESIDENTS_MAX: usize = 15;

impl Rule for Addresses {
    type Fact = Resident;
    /// A child who lives at this crowded address.
    type Conclusion = PersonId;
    type Outlets = (Vec<Listed<ChildFact>>,);

    fn conclude(&self, _address: u64, known: &[Resident], conclusions: &mut dyn FnMut(PersonId)) {
        if known.len() > RESIDENTS_MAX {
            known.iter().filter_map(Resident::child).for_each(conclusions);
        }
    }

    fn tell(&self, address: u64, child: PersonId, sign: isize, (crowded,): &mut Self::Outlets) {
        crowded.push((child, ChildFact::Crowded(address), sign));
    }
}

/// By child (or dependant adult): who takes them in.
struct Children;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum OfChild {
    Place(Membership),
    /// Something to be known under (another) child whose parent is a child.
    Follow(PersonId, FollowerFact),
}

/// What is known of a child whose parent is a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FollowerFact {
    /// As it was known when the child was to be placed.
    Known(ChildFact),
    /// The child parent found this adult's family.
    Found { parent: PersonId, anchor: PersonId },
}

impl Packed for FollowerFact {
    fn pack(&self, out: &mut Vec<u8>) {
        match self {
            FollowerFact::Known(fact) => {
                out.push(0);
                fact.pack(out);
            }
            FollowerFact::Found { parent, anchor } => {
                out.push(1);
                write_varint(out, *parent);
                write_varint(out, *anchor);
            }
        }
    }

    fn unpack(bytes: &[u8], at: &mut usize) -> Self {
        *at += 1;
        match bytes[*at - 1] {
            0 => FollowerFact::Known(ChildFact::unpack(bytes, at)),
            _ => FollowerFact::Found { parent: read_varint(bytes, at), anchor: read_varint(bytes, at) },
        }
    }
}

impl Rule for Children {
    type Fact = ChildFact;
    type Conclusion = OfChild;
    type Outlets = (Vec<Placed>, Vec<Listed<FollowerFact>>);

    fn conclude(&self, child: PersonId, known: &[ChildFact], conclusions: &mut dyn FnMut(OfChild)) {
        match place(known, None) {
            None => {}
            Some(Placement::Open) => {
                known.iter().for_each(|fact| conclusions(OfChild::Follow(child, FollowerFact::Known(*fact))));
            }
            Some(Placement::With { anchor, role, .. }) => conclusions(OfChild::Place(family(anchor, role))),
            Some(Placement::Nobody { role }) => conclusions(OfChild::Place(alone(child, role))),
        }
        let mut takes = known.iter().filter_map(|fact| if let ChildFact::Takes(other) = *fact { Some(other) } else { None }).peekable();
        // Who is placed by a parent who is a child leads nobody there, but to an adult of their own.
        if takes.peek().is_some()
            && let Some(Placement::With { anchor, responsible: true, .. }) = place(known, Some(&[]))
        {
            takes.for_each(|other| conclusions(OfChild::Follow(other, FollowerFact::Found { parent: child, anchor })));
        }
    }

    fn tell(&self, child: PersonId, conclusion: OfChild, sign: isize, (places, followed): &mut Self::Outlets) {
        match conclusion {
            OfChild::Place(place) => places.push((child, place, sign)),
            OfChild::Follow(other, fact) => followed.push((other, fact, sign)),
        }
    }
}

/// Where somebody stands who is to be placed and whom nobody takes in.
fn alone(child: PersonId, role: Role) -> Membership {
    match role {
        Role::Child => Membership { household: HouseholdKey::orphan(child), role },
        _ => family(child, Role::Head),
    }
}

/// By child of a child: where the parent went, if that parent found an adult.
struct Followers;

impl Rule for Followers {
    type Fact = FollowerFact;
    type Conclusion = Membership;
    type Outlets = (Vec<Placed>,);

    fn conclude(&self, child: PersonId, facts: &[FollowerFact], conclusions: &mut dyn FnMut(Membership)) {
        let (mut known, mut found) = (Vec::new(), Vec::new());
        for fact in facts {
            match *fact {
                FollowerFact::Known(fact) => known.push(fact),
                FollowerFact::Found { parent, anchor } => found.push((parent, anchor)),
            }
        }
        match place(&known, Some(&found)) {
            Some(Placement::With { anchor, role, .. }) => conclusions(family(anchor, role)),
            Some(Placement::Nobody { role }) => conclusions(alone(child, role)),
            Some(Placement::Open) | None => {}
        }
    }

    fn tell(&self, child: PersonId, place: Membership, sign: isize, (places,): &mut Self::Outlets) {
        places.push((child, place, sign));
    }
}

/// Where a child is placed.
enum Placement {
    /// With the family of this adult; the flag says that the child may itself take children along.
    With { anchor: PersonId, role: Role, responsible: bool },
    /// Nobody is there.
    Nobody { role: Role },
    /// A parent is a child: that parent's own placement decides.
    Open,
}

/// Domain rules 6 and 7. `found` says where child parents went; without it, a child parent leaves the placement open.
fn place(known: &[ChildFact], found: Option<&[(PersonId, PersonId)]>) -> Option<Placement> {
    let need =
        |fact: &ChildFact| if let ChildFact::Needs { dependant, responsible } = *fact { Some((dependant, responsible)) } else { None };
    let (dependant, responsible) = known.iter().find_map(need)?;
    let role = if dependant { Role::Dependant } else { Role::Child };
    let with = |anchor: PersonId| Some(Placement::With { anchor, role, responsible });

    let mut trusted: Option<(Care, PersonId)> = None;
    let mut parents: Vec<(Carer, PersonId)> = Vec::new();
    for fact in known {
        let ChildFact::Offer(carer) = *fact else { continue };
        let adult = (carer.anchor != 0).then_some(carer.anchor);
        match (carer.care, adult, found) {
            (Care::Parent, Some(anchor), _) => parents.push((carer, anchor)),
            (Care::Parent, None, Some(found)) => {
                parents.extend(found.iter().filter(|(parent, _)| *parent == carer.person).map(|(_, anchor)| (carer, *anchor)));
            }
            (Care::Parent, None, None) if !dependant => return Some(Placement::Open),
            (care, Some(anchor), _) => trusted = Some(trusted.map_or((care, anchor), |first| first.min((care, anchor)))),
            (_, None, _) => {}
        }
    }
    if let Some((_, anchor)) = trusted {
        return with(anchor);
    }
    parents.sort_unstable_by_key(|(carer, _)| (!carer.female, carer.person));
    let crowded = known.iter().any(|fact| matches!(fact, ChildFact::Crowded(_)));
    let nearby = parents.iter().find(|(carer, _)| carer.near && !crowded);
    let chosen = match &parents[..] {
        _ if dependant => nearby,
        [(_, one), (_, other), ..] if one != other => nearby.or(parents.first()),
        _ => parents.first(),
    };
    chosen.and_then(|(_, anchor)| with(*anchor)).or(Some(Placement::Nobody { role }))
}
