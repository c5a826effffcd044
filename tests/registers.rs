use dataflows::model::{PersonId, PersonKind, check_digit};
use dataflows::policy::file::Packing;
use dataflows::policy::{Contact, Field, FieldType, Policy, Register, Tie, TieKind};
use shanyraq::intake::Schema;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A field from a line such as `from date`, `kind enum(a|b) optional` or `name text`.
fn field(text: &str) -> Field {
    let mut words = text.split(' ');
    let (name, kind) = (words.next().unwrap(), words.next().unwrap());
    let kind = match kind.strip_prefix("enum(").and_then(|words| words.strip_suffix(')')) {
        Some(words) => FieldType::Enum(words.split('|').map(str::to_owned).collect()),
        None => match kind {
            "text" => FieldType::Text,
            "person" => FieldType::Person,
            "date" => FieldType::Date,
            "month" => FieldType::Month,
            "int" => FieldType::Int,
            "money" => FieldType::Money,
            "bool" => FieldType::Bool,
            "id" => FieldType::Id,
            other => panic!("no type {other}"),
        },
    };
    let card = kind == FieldType::Text;
    Field { name: name.to_owned(), kind, unit: String::new(), optional: words.next().is_some(), card }
}

/// A register with these fields, one a line.
pub fn register(id: &str, global: bool, fields: &str) -> Register {
    let fields: Vec<Field> = fields.split(", ").map(field).collect();
    let packed = (0..fields.len()).filter(|&index| !fields[index].card).collect();
    let mut register = Register {
        id: id.to_owned(),
        title: BTreeMap::new(),
        source: String::new(),
        global,
        key: String::new(),
        cadence_days: 30,
        retain_months: None,
        period: None,
        fields,
        packed,
        ties: Vec::new(),
        alias: None,
        packing: Packing::default(),
    };
    register.packing = Packing::new(&register, PersonKind::Iin);
    register
}

fn tie(kind: TieKind, first: Option<usize>, second: Option<usize>) -> Tie {
    Tie { kind, first, second, from: None, until: None }
}

/// Some of Kazakhstan's registers.
pub fn kz() -> Arc<Schema> {
    let mut birth = register("zags.birth", true, "act_no text, child person, mother person optional, father person optional, born date");
    birth.ties = vec![tie(TieKind::Parent, Some(0), Some(1)), tie(TieKind::Parent, Some(0), Some(2))];
    let mut marriage = register("zags.marriage", true, "man person optional, woman person optional, registered date, ended date optional");
    marriage.ties = vec![tie(TieKind::Spouses, Some(0), Some(1))];
    let mut carer = register("guard.carer", false, "carer person, from date");
    carer.ties = vec![tie(TieKind::Guardian, None, Some(0))];
    let registers = vec![
        register("bmg.phone", false, "msisdn text, language text"),
        register("enpf.contribution", false, "period month, employer id, amount money"),
        register("gbdfl.person", false, "birth_date date, sex enum(M|F), surname text, patronymic text optional"),
        carer,
        birth,
        marriage,
        register("test.kinds", false, "person person, flag bool optional, count int optional, ratio money optional, day date optional"),
        register("kin", false, "kind enum(spouse|parent), person person"),
    ];
    let contact = Contact { register: 0, phone: "msisdn".to_owned(), language: "language".to_owned() };
    Arc::new(Schema { package: String::new(), person: PersonKind::Iin, registers, contact: Some(contact) })
}

/// The registers that the survey in `data/cps2014` is delivered as.
pub fn us() -> Arc<Schema> {
    let registers = vec![
        register("irs.income", false, "year int, kind enum(wages|self_employment|interest), amount money"),
        register("census.person", false, "birth_year int, state id optional"),
        register("court.marriage", true, "one person, other person, since date optional"),
    ];
    Arc::new(Schema { package: String::new(), person: PersonKind::Integer, registers, contact: None })
}

/// A valid ИИН with this serial number, born on 1985-03-15.
pub fn iin(serial: u32) -> String {
    (serial..)
        .find_map(|serial| {
            let text = format!("8503153{serial:04}");
            let digits: Vec<u32> = text.bytes().map(|byte| u32::from(byte - b'0')).collect();
            check_digit(&digits.try_into().unwrap()).map(|check| format!("{text}{check}"))
        })
        .unwrap()
}

/// The same as a number.
pub fn number(iin: &str) -> PersonId {
    PersonKind::Iin.parse(iin).unwrap()
}

/// A package of this repository.
pub fn package(name: &str) -> Policy {
    fn collect(root: &Path, folder: &Path, texts: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                collect(root, &path, texts);
            } else if name.ends_with(".toml") && !name.ends_with(".map.toml") {
                texts.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = repository("dataflows/policies").join(name);
    let mut texts = Vec::new();
    collect(&root, &root, &mut texts);
    Policy::load(&texts).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// A path within this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
