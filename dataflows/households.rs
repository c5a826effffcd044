//! Room 3: households. Who belongs together: membership and role of every person (domain.md 2.2, rules 3 to 8).
//!
//! Families form around a responsible adult, not by chains of kinship, so nothing is iterated:
//!
//! ```text
//!  claims ──► couples ──────────────┐                       residences ──► crowded addresses
//!                                   ▼                                          │
//!  singles ─────────────────────► adults ──┐                                   ▼
//!                                          ├─ offers ──► placements ◄── children at an address
//!  needs, supports (child × carer) ────────┘                 │
//!                                                            └─ children of child parents: one step further
//! ```
//!
//! A couple's anchor is its woman (of two women or two men, the smaller number). A child goes to the first valid of: guardian,
//! custody holder, both parents where they share an anchor, the parent at the same address, mother, other parent. A child
//! who is a parent may take their children along to their own adult, and no further.

use crate::model::{Epoch, HouseholdKey, Membership, PersonId, Role};
use crate::operators::{PerEpoch, per_epoch, spread};
use crate::persons::{Adult, Care, Fact, Need, own_place};
use differential_dataflow::{AsCollection, VecCollection};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

/// A collection that changes from epoch to epoch.
pub type Rows<'scope, D> = VecCollection<'scope, Epoch, D, isize>;

/// More residents than this make an address useless as a sign of living together (edge case E24).
const RESIDENTS_MAX: i64 = 15;

/// Somebody who may take in a child, and where that would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Standing {
    /// An adult, with the anchor of their family.
    Adult { anchor: PersonId },
    /// Is a child too: goes where their own adult is.
    Child,
}

/// Somebody's standing, as the children they answer for see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Carer {
    person: PersonId,
    female: bool,
    address: u64,
    standing: Standing,
}

/// What is known of a child when it is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Circumstance {
    Needs(Need),
    /// Too many people live at the child's address.
    Crowded,
    Offer(Care, Carer),
}

/// Where a child is placed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Placement {
    /// With the family of this adult; the flag says that the child may itself take children along.
    With { anchor: PersonId, role: Role, responsible: bool },
    /// Nobody is there.
    Nobody { role: Role },
    /// A parent is a child: that parent's own placement decides.
    Open(Vec<Circumstance>),
}

/// Composes households from what is known of each person: everybody's place.
pub fn compose<'scope>(facts: Rows<'scope, Fact>) -> Rows<'scope, (PersonId, Membership)> {
    let couples = couples(facts.clone());
    let adults = facts
        .clone()
        .flat_map(|fact| if let Fact::Single(adult) = fact { Some((adult, adult.person)) } else { None })
        .concat(couples.clone());
    let offers = offers(facts.clone(), adults);
    let crowded = crowded_children(facts.clone());
    let needs =
        facts.clone().flat_map(|fact| if let Fact::Needs(child, need) = fact { Some((child, Circumstance::Needs(need))) } else { None });

    let circumstances = needs.concat(offers).concat(crowded);
    let placements = circumstances.reduce_named("Placements", |_child, known, placement| {
        let known: Vec<Circumstance> = known.iter().filter(|(_, count)| *count > 0).map(|(circumstance, _)| **circumstance).collect();
        placement.extend(place(&known, None).map(|placement| (placement, 1)));
    });
    let followed = follow(placements.clone());

    let of_children = placements.concat(followed).flat_map(|(child, placement)| Some((child, placement.membership(child)?)));
    let of_couples = couples.map(|(adult, anchor)| {
        let role = if adult.person == anchor { Role::Head } else { Role::Spouse };
        (adult.person, Membership { household: HouseholdKey::family(anchor), role })
    });
    let of_others = facts.flat_map(|fact| own_place(&fact));
    of_others.concat(of_couples).concat(of_children)
}

impl Placement {
    fn membership(&self, child: PersonId) -> Option<Membership> {
        match *self {
            Placement::With { anchor, role, .. } => Some(Membership { household: HouseholdKey::family(anchor), role }),
            Placement::Nobody { role: Role::Child } => Some(Membership { household: HouseholdKey::orphan(child), role: Role::Child }),
            Placement::Nobody { .. } => Some(Membership { household: HouseholdKey::family(child), role: Role::Head }),
            Placement::Open(_) => None,
        }
    }
}

/// Adults who name a spouse, with their anchor: two who name each other share one.
fn couples<'scope>(facts: Rows<'scope, Fact>) -> Rows<'scope, (Adult, PersonId)> {
    facts
        .flat_map(|fact| match fact {
            Fact::Claims { adult, spouse } => Some(((adult.person.min(spouse), adult.person.max(spouse)), adult)),
            _ => None,
        })
        .reduce_named("Couples", |_pair, halves, anchored| {
            let adults: Vec<Adult> = halves.iter().filter(|(_, count)| *count > 0).map(|(adult, _)| **adult).collect();
            match adults[..] {
                [one, other] => {
                    let anchor = if other.female && !one.female {
                        other.person
                    } else if one.female && !other.female {
                        one.person
                    } else {
                        one.person.min(other.person)
                    };
                    anchored.extend([((one, anchor), 1), ((other, anchor), 1)]);
                }
                _ => anchored.extend(adults.iter().map(|adult| ((*adult, adult.person), 1))),
            }
        })
        .map(|(_pair, anchored)| anchored)
}

/// What each carer offers to each child that they answer for.
fn offers<'scope>(facts: Rows<'scope, Fact>, adults: Rows<'scope, (Adult, PersonId)>) -> Rows<'scope, (PersonId, Circumstance)> {
    let supports =
        facts.clone().flat_map(|fact| if let Fact::Supported { child, by, care } = fact { Some((by, (child, care))) } else { None });
    let adults = adults.flat_map(|(adult, anchor)| {
        let Adult { person, female, address, responsible } = adult;
        responsible.then_some((person, (female, address, Standing::Adult { anchor })))
    });
    let children = facts.flat_map(|fact| match fact {
        Fact::Needs(person, need) if need.responsible => Some((person, (need.female, need.address, Standing::Child))),
        _ => None,
    });
    let carers = adults.concat(children).arrange_by_key_named("Carers");
    supports.arrange_by_key_named("Supports").join_core(carers, |&person, &(child, care), &(female, address, standing)| {
        Some((child, Circumstance::Offer(care, Carer { person, female, address, standing })))
    })
}

/// Children who live where more than [`RESIDENTS_MAX`] people are registered.
fn crowded_children<'scope>(facts: Rows<'scope, Fact>) -> Rows<'scope, (PersonId, Circumstance)> {
    let residences = facts.clone().flat_map(|fact| if let Fact::Resides(address) = fact { Some(address) } else { None });
    let crowded = per_epoch(residences.inner, "Residents", |(address, ..)| spread(*address), Residents::default()).as_collection();
    facts
        .flat_map(|fact| match fact {
            Fact::Needs(child, need) if need.address != 0 => Some((need.address, child)),
            _ => None,
        })
        .arrange_by_key_named("ChildrenByAddress")
        .join_core(crowded.arrange_by_key_named("Crowded"), |_address, &child, ()| Some((child, Circumstance::Crowded)))
}

/// How many people are registered at each address; says only which ones are crowded.
#[derive(Default)]
struct Residents {
    count: HashMap<u64, i64>,
    touched: HashMap<u64, i64>,
}

impl PerEpoch<(u64, Epoch, isize), ((u64, ()), Epoch, isize)> for Residents {
    fn receive(&mut self, (address, _, difference): (u64, Epoch, isize)) {
        let count = self.count.entry(address).or_default();
        self.touched.entry(address).or_insert(*count);
        *count += difference as i64;
        if *count == 0 {
            self.count.remove(&address);
        }
    }

    fn answer(&mut self, epoch: Epoch, give: &mut dyn FnMut(((u64, ()), Epoch, isize))) -> bool {
        for (address, before) in self.touched.drain() {
            let now = self.count.get(&address).copied().unwrap_or(0);
            match (before > RESIDENTS_MAX, now > RESIDENTS_MAX) {
                (false, true) => give(((address, ()), epoch, 1)),
                (true, false) => give(((address, ()), epoch, -1)),
                _ => {}
            }
        }
        false
    }
}

/// Places the children of children: where the parent went, if that parent found an adult.
fn follow<'scope>(placements: Rows<'scope, (PersonId, Placement)>) -> Rows<'scope, (PersonId, Placement)> {
    let open =
        placements.clone().flat_map(|(child, placement)| if let Placement::Open(known) = placement { Some((child, known)) } else { None });
    let child_parents = open.clone().flat_map(|(child, known)| {
        known.into_iter().filter_map(move |circumstance| match circumstance {
            Circumstance::Offer(Care::Parent, carer) if carer.standing == Standing::Child => Some((carer.person, child)),
            _ => None,
        })
    });
    let placed_parents = placements.flat_map(|(person, placement)| match placement {
        Placement::With { anchor, responsible: true, .. } => Some((person, anchor)),
        _ => None,
    });
    let found = child_parents.join_map(placed_parents, |&parent, &child, &anchor| (child, Step::Found(parent, anchor)));
    open.map(|(child, known)| (child, Step::Open(known))).concat(found).reduce_named("Followed", |_child, steps, placement| {
        let mut known: &[Circumstance] = &[];
        let mut found = Vec::new();
        for (step, _) in steps.iter().filter(|(_, count)| *count > 0) {
            match step {
                Step::Open(circumstances) => known = circumstances,
                Step::Found(parent, anchor) => found.push((*parent, *anchor)),
            }
        }
        placement.extend(place(known, Some(&found)).map(|placement| (placement, 1)));
    })
}

/// What is known when a child of a child is placed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Step {
    Open(Vec<Circumstance>),
    /// A child parent, and the anchor that they were placed with.
    Found(PersonId, PersonId),
}

/// Domain rules 6 and 7. `found` says where child parents went; without it, a child parent leaves the placement open.
fn place(known: &[Circumstance], found: Option<&[(PersonId, PersonId)]>) -> Option<Placement> {
    let need = known.iter().find_map(|circumstance| if let Circumstance::Needs(need) = circumstance { Some(*need) } else { None })?;
    let crowded = known.contains(&Circumstance::Crowded);
    let role = if need.dependant { Role::Dependant } else { Role::Child };
    let with = |anchor: PersonId| Some(Placement::With { anchor, role, responsible: need.responsible });

    let mut trusted: Vec<(Care, PersonId)> = Vec::new();
    let mut parents: Vec<(Carer, PersonId)> = Vec::new();
    for circumstance in known {
        let Circumstance::Offer(care, carer) = *circumstance else { continue };
        match (care, carer.standing, found) {
            (Care::Parent, Standing::Adult { anchor }, _) => parents.push((carer, anchor)),
            (Care::Parent, Standing::Child, Some(found)) => {
                parents.extend(found.iter().filter(|(parent, _)| *parent == carer.person).map(|(_, anchor)| (carer, *anchor)));
            }
            (Care::Parent, Standing::Child, None) if !need.dependant => return Some(Placement::Open(known.to_vec())),
            (_, Standing::Adult { anchor }, _) => trusted.push((care, anchor)),
            (_, Standing::Child, _) => {}
        }
    }
    if let Some((_, anchor)) = trusted.iter().min() {
        return with(*anchor);
    }
    parents.sort_unstable_by_key(|(carer, _)| (!carer.female, carer.person));
    let together = need.address != 0 && !crowded;
    let nearby = parents.iter().find(|(carer, _)| together && carer.address == need.address);
    let chosen = match &parents[..] {
        _ if need.dependant => nearby,
        [(_, one), (_, other), ..] if one != other => nearby.or(parents.first()),
        _ => parents.first(),
    };
    chosen.and_then(|(_, anchor)| with(*anchor)).or(Some(Placement::Nobody { role }))
}
