//! The policy language against CEL as others know it: the public conformance suite, and an interpreter over random expressions.

use cel::{Context, Program, Value};
use dataflows::model::{Date, Role};
use dataflows::policy::file::NewRecord;
use dataflows::policy::{Environment, Evaluator, FeedState, Policy, is_unknown};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

const POLICY: &str = r#"
id = "probe"
version = "1"
from = 2026-01-01
person = "integer"
currency = "none"
languages = ["en"]
"#;

const REGISTERS: &str = r#"
["t.one"]
title = { en = "Numbers" }
source = "test"
key = "1"
cadence = "30 days"
["t.one".fields]
a = "int"
b = "int"
c = "int"
d = "bool"
w = "enum(x|y|z)"
["t.row"]
title = { en = "Rows" }
source = "test"
key = "{k}"
cadence = "30 days"
["t.row".fields]
k = "int"
n = "int"
m = "int"
flag = "bool"
v = "enum(x|y|z)"
"#;

const NAMES: &str = r#"
[a]
title = { en = "a" }
source = "test"
of = "person"
value = "t.one.map(o, o.a).max()"
unknown = 0
[b]
title = { en = "b" }
source = "test"
of = "person"
value = "t.one.map(o, o.b).max()"
unknown = 0
[c]
title = { en = "c" }
source = "test"
of = "person"
value = "t.one.map(o, o.c).max()"
unknown = 0
[d]
title = { en = "d" }
source = "test"
of = "person"
value = "t.one.exists(o, o.d)"
[w]
title = { en = "w" }
source = "test"
of = "person"
value = "t.one.map(o, o.w).max()"
"#;

const WORDS: [&str; 3] = ["x", "y", "z"];

/// A package with these expressions as indicators `p0`, `p1` …; what is wrong with it if it is refused.
fn package(expressions: &[String]) -> Result<Arc<Policy>, String> {
    let mut probes = String::new();
    for (index, expression) in expressions.iter().enumerate() {
        let value = toml::Value::from(expression.as_str());
        probes += &format!("[p{index}]\ntitle = {{ en = \"probe\" }}\nsource = \"test\"\nof = \"person\"\nvalue = {value}\n");
    }
    let files =
        [("policy.toml", POLICY), ("registers/t.toml", REGISTERS), ("indicators/names.toml", NAMES), ("indicators/probes.toml", &probes)];
    let files: Vec<(String, String)> = files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
    Policy::load(&files).map(Arc::new).map_err(|problems| problems[0].message.clone())
}

fn today(policy: &Policy) -> Environment {
    policy.environment(Date::from_ymd(2026, 11, 22).expect("a date"), &vec![FeedState::Fresh; policy.registers.len()])
}

/// The values of the probes over a file.
fn evaluate(policy: &Arc<Policy>, evaluator: &mut Evaluator, environment: &Environment, file: &[u8], probes: usize) -> Vec<i64> {
    let (values, _) = evaluator.person_values(environment, 1, file, Role::Head);
    let position = |index| policy.indicators.iter().find(|indicator| indicator.id == format!("p{index}")).expect("a probe").position;
    (0..probes).map(|index| values[position(index)]).collect()
}

// The public suite.

/// A case: its name, expression, and result; no result is an error.
#[derive(Debug)]
struct Case {
    name: String,
    expression: String,
    /// A number or a truth; `None` for an error.
    expected: Option<i64>,
}

/// Reads the cases whose result is a number, a truth or an error, and that need nothing around them.
fn cases(text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for block in text.split("\n  test {").skip(1) {
        let field = |key: &str| block.lines().find_map(|line| line.trim().strip_prefix(key)).map(str::trim);
        let quoted = |text: &str| {
            let quote = text.chars().next().filter(|quote| "'\"".contains(*quote))?;
            let inner = &text[1..text.rfind(quote)?];
            Some(inner.replace("\\\"", "\"").replace("\\'", "'").replace("\\\\", "\\"))
        };
        let (Some(name), Some(expression)) = (field("name:").and_then(quoted), field("expr:").and_then(quoted)) else { continue };
        if ["bindings", "type_env", "container"].iter().any(|around| block.contains(around)) {
            continue;
        }
        let after = |kind: &str| block.split(kind).nth(1).map(|rest| rest.trim_start().split([' ', '}', '\n']).next().unwrap_or(""));
        let number = after("int64_value:").and_then(|number| number.parse().ok());
        let truth = after("bool_value:").map(|truth| i64::from(truth == "true"));
        let expected = number.or(truth);
        if expected.is_some() || block.contains("eval_error") {
            cases.push(Case { name, expression, expected });
        }
    }
    cases
}

/// What the language leaves out of CEL, by what it says of it; the reason is the manual's.
const LEFT_OUT: [&str; 11] = [
    // Values are integers, booleans, dates and words: no texts, doubles, unsigned numbers, lists, maps or messages to keep
    // incrementally; decimals stand only in amounts, where they are exact.
    "values are integers",
    "decimals stand only in amounts",
    "this decimal number has too many digits",
    "a list in brackets",
    "this part of CEL is not part",
    "there is no function `dyn`",
    // Types are checked before anything runs: nothing is of any type.
    "cannot be compared with",
    "a number is needed here",
    "a condition must be true or false",
    // Money needs no more, and sums of it saturate there instead of failing.
    "numbers lie within ±2^62",
    // Division is exact; CEL cuts off.
    "this is a fraction",
];

/// Where the language decides otherwise than CEL, by its manual: arithmetic saturates instead of failing.
const OTHERWISE: [&str; 2] = ["int64_overflow_mul_positive", "int64_overflow_mul_negative"];

#[test]
fn what_the_language_takes_of_the_public_suite_means_the_same() {
    let suite = [
        ("logic", include_str!("../../fixtures/cel-conformance/logic.textproto")),
        ("integer_math", include_str!("../../fixtures/cel-conformance/integer_math.textproto")),
        ("comparisons", include_str!("../../fixtures/cel-conformance/comparisons.textproto")),
    ];
    let (mut claimed, mut wrong, mut left_out): (BTreeMap<&str, usize>, Vec<String>, BTreeSet<&str>) = Default::default();
    for (section, text) in suite {
        for case in cases(text) {
            let policy = match package(std::slice::from_ref(&case.expression)) {
                Ok(policy) => policy,
                Err(reason) => {
                    let why = LEFT_OUT.iter().find(|why| reason.contains(**why));
                    left_out.insert(*why.unwrap_or_else(|| panic!("`{}` is refused, and nobody says why: {reason}", case.expression)));
                    continue;
                }
            };
            let found = evaluate(&policy, &mut Evaluator::new(policy.clone()), &today(&policy), &[], 1)[0];
            let same = case.expected.map_or(is_unknown(found), |expected| expected == found);
            if same {
                *claimed.entry(section).or_default() += 1;
            }
            if !same && !OTHERWISE.contains(&case.name.as_str()) {
                wrong.push(format!("{section} {}: `{}` is {:?}, found {found}", case.name, case.expression, case.expected));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(claimed.len(), suite.len(), "of each part something is claimed: {claimed:?}");
    let stale: Vec<_> = LEFT_OUT.iter().filter(|reason| !left_out.contains(**reason)).collect();
    assert!(stale.is_empty(), "nothing is left out any more because of {stale:?}");
}

// Random expressions.

/// A generator of numbers that need not be good.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A number's expression; `row` inside a macro.
    fn number(&mut self, depth: u32, row: bool) -> String {
        let leaf = |dice: &mut Dice| match dice.below(3) {
            0 => (dice.below(41) as i64 - 20).to_string(),
            1 if row => dice.pick(&["r.n", "r.m"]).to_owned(),
            _ => dice.pick(&["a", "b", "c"]).to_owned(),
        };
        if depth == 0 {
            return leaf(self);
        }
        match self.below(if row { 7 } else { 8 }) {
            0 => leaf(self),
            1 | 2 => format!("({} {} {})", self.number(depth - 1, row), self.pick(&["+", "-"]), self.number(depth - 1, row)),
            3 => format!("({} * {})", leaf(self), leaf(self)),
            4 => format!("({} % {})", self.number(depth - 1, row), self.below(9) + 1),
            5 => format!("-({})", self.number(depth - 1, row)),
            6 => format!("({} ? {} : {})", self.truth(depth - 1, row), self.number(depth - 1, row), self.number(depth - 1, row)),
            _ => format!("t.row.filter(r, {}).size()", self.truth(depth - 1, true)),
        }
    }

    fn truth(&mut self, depth: u32, row: bool) -> String {
        if depth == 0 {
            return if row { self.pick(&["true", "false", "d", "r.flag"]) } else { self.pick(&["true", "false", "d"]) }.to_owned();
        }
        let word = if row { "r.v" } else { "w" };
        match self.below(if row { 8 } else { 10 }) {
            0 | 1 => {
                let sign = self.pick(&["<", "<=", ">", ">=", "==", "!="]);
                format!("({} {sign} {})", self.number(depth - 1, row), self.number(depth - 1, row))
            }
            2 => format!("({} && {})", self.truth(depth - 1, row), self.truth(depth - 1, row)),
            3 => format!("({} || {})", self.truth(depth - 1, row), self.truth(depth - 1, row)),
            4 => format!("!({})", self.truth(depth - 1, row)),
            5 => format!("({word} {} '{}')", self.pick(&["==", "!="]), self.pick(&WORDS)),
            6 => format!("({word} in ['{}', '{}'])", self.pick(&WORDS), self.pick(&WORDS)),
            7 => format!("({} in [{}, {}])", self.number(depth - 1, row), self.below(5), self.below(30)),
            8 => format!("t.row.exists(r, {})", self.truth(depth - 1, true)),
            _ => format!("t.row.all(r, {})", self.truth(depth - 1, true)),
        }
    }
}

/// A file, and the same facts for the interpreter.
fn facts(dice: &mut Dice, policy: &Policy) -> (Vec<u8>, Context<'static, 'static>) {
    let mut file = Vec::new();
    let mut write = |register: &str, key: &str, fields: &[i64]| {
        let register = policy.register(register).expect("a register");
        NewRecord { register, key, seq: 1, deleted: false, event_date: None, shown: 0, fields }.pack(policy.packing(register), &mut file);
    };
    let mut context = Context::default();
    let numbers: [i64; 3] = std::array::from_fn(|_| dice.below(101) as i64 - 50);
    let (d, w) = (dice.below(2), dice.below(3));
    write("t.one", "1", &[numbers[0], numbers[1], numbers[2], d as i64, w as i64]);
    for (name, number) in ["a", "b", "c"].iter().zip(numbers) {
        context.add_variable_from_value(*name, number);
    }
    context.add_variable_from_value("d", d == 1);
    context.add_variable_from_value("w", WORDS[w as usize]);
    let rows = (0..dice.below(5)).map(|key| {
        let (n, m, flag, v) = (dice.below(41) as i64 - 20, dice.below(7) as i64, dice.below(2), dice.below(3));
        write("t.row", &key.to_string(), &[key as i64, n, m, flag as i64, v as i64]);
        let fields =
            [("n", Value::from(n)), ("m", Value::from(m)), ("flag", Value::from(flag == 1)), ("v", Value::from(WORDS[v as usize]))];
        Value::from(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<HashMap<String, Value>>())
    });
    let rows: Vec<Value> = rows.collect();
    context.add_variable_from_value("t", HashMap::from([("row".to_owned(), Value::from(rows))]));
    (file, context)
}

#[test]
fn a_million_random_cases_agree_with_an_interpreter() {
    const PACKAGES: u64 = 25;
    const EXPRESSIONS: usize = 40;
    const FILES: usize = 1000;
    let mut compared = 0;
    for seed in 0..PACKAGES {
        let mut dice = Dice(seed);
        let expressions: Vec<String> =
            (0..EXPRESSIONS).map(|index| if index % 2 == 0 { dice.number(4, false) } else { dice.truth(4, false) }).collect();
        let programs: Vec<Program> = expressions.iter().map(|text| Program::compile(text).expect("CEL")).collect();
        let policy = package(&expressions).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
        let (environment, mut evaluator) = (today(&policy), Evaluator::new(policy.clone()));
        for _ in 0..FILES {
            let (file, context) = facts(&mut dice, &policy);
            let ours = evaluate(&policy, &mut evaluator, &environment, &file, EXPRESSIONS);
            for (index, (program, found)) in programs.iter().zip(ours).enumerate() {
                let expected = match program.execute(&context).unwrap_or_else(|error| panic!("`{}`: {error}", expressions[index])) {
                    Value::Int(number) => number,
                    Value::Bool(truth) => i64::from(truth),
                    other => panic!("`{}` is {other:?}", expressions[index]),
                };
                assert_eq!(found, expected, "seed {seed}: `{}`", expressions[index]);
                compared += 1;
            }
        }
    }
    assert_eq!(compared, PACKAGES as usize * EXPRESSIONS * FILES);
}
