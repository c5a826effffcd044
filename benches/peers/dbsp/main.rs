//! The rules of `../rules.sql` as one circuit of dbsp: tables that are written over by key, joins that bring what people have to their household, and sums over
//! households as one linear aggregate of 32 numbers, by one worker, as the engine has. What people have is one table, which takes fewer steps than one for
//! each register. `dbsp-peer FOLDER` reads the batches that the bench wrote there. It need not look at versions, since they come in order: that is to its
//! advantage.

#[path = "../records.rs"]
mod records;
#[path = "../rules.rs"]
mod rules;
#[path = "../telling.rs"]
mod telling;

use dbsp::operator::Update;
use dbsp::typed_batch::{IndexedZSetReader, SpineSnapshot};
use dbsp::utils::{Tup2, Tup3, Tup4, Tup8};
use dbsp::{DBSPHandle, MapHandle, OrdZSet, OutputHandle, RootCircuit, Runtime};
use records::Record;
use rules::{Register, Sums, add, judge};
use std::path::Path;
use telling::{Peer, summand, tell};

/// A person, a register, an item.
type Key = Tup3<u64, u8, u32>;
/// A register, and what a record of it says.
type Said = Tup4<u8, i64, i64, i64>;
type Table = MapHandle<Key, Said, Said>;
/// A household, its score and its category.
type Judged = Tup3<u64, i64, i64>;
/// Sums of a household, as something that dbsp adds up.
type Weight = Tup4<Eight, Eight, Eight, Eight>;
type Eight = Tup8<i64, i64, i64, i64, i64, i64, i64, i64>;

struct Handles {
    people: Table,
    parents: Table,
    belongings: Table,
    judged: OutputHandle<SpineSnapshot<OrdZSet<Judged>>>,
}

fn build(circuit: &mut RootCircuit) -> anyhow::Result<Handles> {
    let (person, people) = circuit.add_input_map::<Key, Said, Said, _>(|said, now| *said = *now);
    let (parent, parents) = circuit.add_input_map::<Key, Said, Said, _>(|said, now| *said = *now);
    let (belonging, belongings) = circuit.add_input_map::<Key, Said, Said, _>(|said, now| *said = *now);
    let person = person.map_index(|(Tup3(person, ..), said)| (*person, *said));
    let parent = parent.map_index(|(Tup3(child, ..), Tup4(_, parent, ..))| (*child, *parent as u64));
    let belonging = belonging.map_index(|(Tup3(person, ..), said)| (*person, *said));
    // Of everybody the household, and what is said of themselves.
    let with_parents = person.join_index(&parent, |person, said, parent| Some((*person, Tup2(*parent, *said))));
    let alone = person.antijoin(&parent).map_index(|(person, said)| (*person, Tup2(*person, *said)));
    let lives = with_parents.plus(&alone);
    let selves = lives.map_index(|(_, Tup2(household, said))| (*household, *said));
    let owned = belonging.join_index(&lives, |_, said, Tup2(household, _)| Some((*household, *said)));
    let judged = owned.plus(&selves).aggregate_linear(weight).map(|(household, weight)| {
        let (score, category) = judge(&sums(weight));
        Tup3(*household, score, category)
    });
    Ok(Handles { people, parents, belongings, judged: judged.accumulate_output() })
}

/// What a record adds to the sums of a household.
fn weight(Tup4(register, first, second, third): &Said) -> Weight {
    let mut sums = [0; 32];
    add(&mut sums, 1, Register::ALL[usize::from(*register)], &[*first, *second, *third]);
    let eight = |from: usize| {
        let [a, b, c, d, e, f, g, h] = *sums[from..].first_chunk().expect("there are 32");
        Tup8(a, b, c, d, e, f, g, h)
    };
    Tup4(eight(0), eight(8), eight(16), eight(24))
}

fn sums(Tup4(first, second, third, fourth): &Weight) -> Sums {
    let eight = |Tup8(a, b, c, d, e, f, g, h): &Eight| [*a, *b, *c, *d, *e, *f, *g, *h];
    let mut sums = [0; 32];
    sums.as_chunks_mut().0.copy_from_slice(&[first, second, third, fourth].map(eight));
    sums
}

/// What is told, ready to be handed in.
#[derive(Default)]
struct Told {
    people: Vec<Tup2<Key, Update<Said, Said>>>,
    parents: Vec<Tup2<Key, Update<Said, Said>>>,
    belongings: Vec<Tup2<Key, Update<Said, Said>>>,
}

struct Circuit {
    circuit: DBSPHandle,
    handles: Handles,
    judged: Vec<(Judged, i64)>,
    sum: i64,
}

impl Peer for Circuit {
    type Ready = Told;

    fn prepare(&mut self, records: Vec<Record>) -> Told {
        let mut told = Told::default();
        for Record { register, person, item, values, .. } in records {
            let table = match register {
                Register::Person => &mut told.people,
                Register::Parent => &mut told.parents,
                _ => &mut told.belongings,
            };
            let said = |[first, second, third]: [i64; 3]| Update::Insert(Tup4(register as u8, first, second, third));
            table.push(Tup2(Tup3(person, register as u8, item), values.map_or(Update::Delete, said)));
        }
        told
    }

    fn take(&mut self, told: &mut Told) {
        self.handles.people.append(&mut told.people);
        self.handles.parents.append(&mut told.parents);
        self.handles.belongings.append(&mut told.belongings);
    }

    fn conclude(&mut self) {
        // In as many steps as it takes: what it puts out is accumulated over them.
        self.circuit.transaction().expect("a transaction of the circuit");
        let judged = self.handles.judged.concat().consolidate();
        self.judged.extend(judged.iter().map(|(judged, (), weight)| (judged, weight)));
    }

    fn answer(&mut self) -> (u64, i64) {
        let mut changed = 0;
        for (Tup3(household, score, category), weight) in self.judged.drain(..) {
            changed += weight.max(0) as u64;
            self.sum += weight * summand(household, (score, category));
        }
        (changed, self.sum)
    }
}

fn main() {
    let folder = std::env::args().nth(1).expect("dbsp-peer FOLDER");
    let (circuit, handles) = Runtime::init_circuit(1, build).expect("a circuit");
    let version = include_str!("Cargo.toml").lines().find_map(|line| line.strip_prefix("dbsp = ")).expect("its version");
    let about = format!("dbsp {}, incremental, one worker", version.trim_matches(['"', '=']));
    tell(&about, &mut Circuit { circuit, handles, judged: Vec::new(), sum: 0 }, Path::new(&folder));
}
