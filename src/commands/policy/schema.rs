//! `policy schema`: what the files of a package look like, as JSON Schemas for editors. They know keys, types and spellings;
//! whether names and units go together is for `policy check` to say.

use super::super::Failure;
use serde_json::{Map, Value, json};
use std::path::Path;

/// A schema, and the files of a package that it describes.
pub struct Schema {
    pub name: &'static str,
    /// A file, or all files of a folder.
    pub describes: &'static str,
    pub schema: Value,
}

impl Schema {
    /// Whether it describes the file of this path. A file beats its folder: see the order of [`schemas`].
    pub fn is_of(&self, path: &str) -> bool {
        self.describes.strip_suffix("*.toml").map_or(path == self.describes, |folder| path.starts_with(folder))
    }
}

/// Writes the schemas, and a list that tells the editors which is for which file.
pub fn write(folder: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("{}: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut rules =
        String::from("# Schemas of the files of a policy package, for editors that use taplo: lay this file beside policy.toml.\n");
    for Schema { name, describes, schema } in schemas() {
        let file = folder.join(format!("{name}.schema.json"));
        std::fs::write(&file, format!("{schema:#}\n")).map_err(failed)?;
        println!("{}", file.display());
        let url = std::path::absolute(&file).map_err(failed)?;
        rules += &format!("\n[[rule]]\ninclude = [\"{describes}\"]\n[rule.schema]\nurl = \"file://{}\"\n", url.display());
    }
    let list = folder.join(".taplo.toml");
    std::fs::write(&list, rules).map_err(failed)?;
    println!("{}", list.display());
    Ok(())
}

/// All schemas; where two describe a file, the first is meant.
pub fn schemas() -> Vec<Schema> {
    let schema = |name, describes, schema: Value| {
        let mut whole = json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "title": format!("Policy package: {name}") });
        if let (Value::Object(whole), Value::Object(schema)) = (&mut whole, schema) {
            whole.extend(schema);
        }
        Schema { name, describes, schema: whole }
    };
    vec![
        schema("policy", "policy.toml", policy()),
        schema("parameters", "parameters.toml", table_of("^[A-Z][A-Z0-9_]*$", parameter())),
        schema("registers", "registers/*.toml", table_of(r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$", register())),
        schema("indicators", "indicators/*.toml", table_of(WORD, indicator())),
        schema("criteria", "criteria.toml", table_of(WORD, criterion())),
        schema("levels", "levels.toml", table_of(WORD, criterion())),
        schema("faults", "faults.toml", table_of(WORD, fault())),
        schema("categories", "categories.toml", object(&[], json!({ "category": category(), "level": level() }))),
        schema("benefits", "benefits/*.toml", benefit()),
        schema("messages", "messages.toml", table_of(WORD, texts())),
        schema("equivalents", "tests/equivalents.toml", equivalents()),
        schema("stories", "tests/*.toml", story()),
    ]
}

const WORD: &str = "^[a-z][a-z0-9_]*$";
/// A value, `a..b`, `..b`, `a..`, or a word of an enum.
const BIN: &str = r"^(-?[0-9_]+|(-?[0-9_]+)?\.\.(-?[0-9_]+)?|[a-z][a-z0-9_]*)$";

/// A table with these keys and no others.
fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false })
}

/// A table whose keys are alike and whose values are alike.
fn table_of(keys: &str, value: Value) -> Value {
    json!({ "type": "object", "patternProperties": { keys: value }, "additionalProperties": false })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn integer() -> Value {
    json!({ "type": "integer" })
}

fn boolean() -> Value {
    json!({ "type": "boolean" })
}

fn one_of(words: &[&str]) -> Value {
    json!({ "enum": words })
}

fn list_of(item: Value) -> Value {
    json!({ "type": "array", "items": item })
}

/// Validators see dates of TOML as texts.
fn date() -> Value {
    json!({ "type": "string", "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" })
}

fn texts() -> Value {
    let mut texts = table_of("^[a-z]{2,3}$", json!({ "type": "string", "minLength": 1 }));
    texts["minProperties"] = json!(1);
    texts
}

fn expression() -> Value {
    json!({ "type": ["string", "integer", "boolean"], "description": "a CEL expression" })
}

fn expressions() -> Value {
    table_of(WORD, expression())
}

fn rounding() -> Value {
    one_of(&["down", "up", "nearest"])
}

fn span(unit: &str) -> Value {
    json!({ "type": "string", "pattern": format!("^([0-9]+ {unit}s?|forever)$") })
}

/// Properties that many tables have, and some more.
fn with_title(more: Value) -> Value {
    let mut all = Map::from_iter([("title".to_owned(), texts()), ("source".to_owned(), text())]);
    if let Value::Object(more) = more {
        all.extend(more);
    }
    Value::Object(all)
}

fn policy() -> Value {
    let flags = ["exists", "female", "alive", "minor", "student", "dependant", "deprived"];
    let composition: Map<String, Value> = flags.iter().map(|flag| ((*flag).to_owned(), expression())).collect();
    let row = object(
        &["register"],
        json!({ "register": text(), "key": text(), "person": text(), "event_date": text(), "data": { "type": "object" } }),
    );
    object(
        &["id", "version", "from", "person", "currency", "languages"],
        with_title(json!({
            "id": text(),
            "version": text(),
            "from": date(),
            "person": one_of(&["iin", "integer"]),
            "currency": text(),
            "region": text(),
            "text_parts": { "type": "integer", "minimum": 1 },
            "languages": { "type": "array", "items": { "type": "string", "pattern": "^[a-z]{2,3}$" }, "minItems": 1 },
            "coverage": text(),
            "composition": object(&[], Value::Object(composition)),
            "kin": object(&["when"], json!({ "when": expression(), "fields": expressions() })),
            "assignment": object(&["register", "benefit"], json!({ "register": text(), "benefit": text(), "from": text(), "until": text() })),
            "contact": object(&["phone", "language"], json!({ "phone": text(), "language": text() })),
            "inherit": table_of(WORD, object(&[], json!({ "person": expressions(), "household": expressions() }))),
            "story": object(&[], json!({ "people": list_of(row) })),
        })),
    )
}

fn parameter() -> Value {
    let value = object(&["from", "is"], json!({ "from": date(), "is": integer(), "source": text() }));
    let propose = object(
        &["of", "quantile", "share"],
        json!({
            "of": text(),
            "quantile": { "type": "integer", "minimum": 1, "maximum": 1000 },
            "share": { "type": "integer", "minimum": 1 },
            "at_least": text(),
            "weigh": one_of(&["people", "households"]),
        }),
    );
    let values = json!({ "type": "array", "items": value, "minItems": 1 });
    object(&["values"], with_title(json!({ "unit": text(), "values": values, "propose": propose })))
}

fn register() -> Value {
    let field = r"^(text|person|date|month|int|money|bool|id|enum\([^()]+\))( [^,]+)?(, *(optional|card))*$";
    let tie = object(
        &["kind", "of"],
        json!({
            "kind": one_of(&["spouses", "parent", "guardian", "custody", "address", "away"]),
            "of": { "type": "array", "items": text(), "minItems": 1, "maxItems": 2 },
            "from": text(),
            "until": text(),
        }),
    );
    let alias = object(
        &["of", "from"],
        json!({
            "of": { "type": "array", "items": text(), "minItems": 2, "maxItems": 2 },
            "from": text(),
            "reported": text(),
            "secret": text(),
            "closes": { "type": "array", "items": { "type": "string", "pattern": r"^[a-z0-9_]+\.[a-z0-9_]+\.[a-z0-9_]+$" } },
        }),
    );
    object(
        &["title", "source", "key", "cadence", "fields"],
        with_title(json!({
            "identity": one_of(&["person", "global"]),
            "key": text(),
            "cadence": span("day"),
            "retain": span("month"),
            "period": text(),
            "fields": table_of(WORD, json!({ "type": "string", "pattern": field })),
            "tie": { "anyOf": [tie.clone(), list_of(tie)] },
            "alias": alias,
        })),
    )
}

fn indicator() -> Value {
    object(
        &["title", "source", "of", "value"],
        with_title(json!({
            "of": one_of(&["person", "household"]),
            "unit": text(),
            "value": expression(),
            "round": rounding(),
            "classes": { "type": "integer", "minimum": 2, "maximum": 16 },
            "unknown": expression(),
            "helper": boolean(),
        })),
    )
}

fn criterion() -> Value {
    let add = object(&["when", "points"], json!({ "reason": text(), "when": expression(), "points": integer() }));
    let either = json!({ "oneOf": [{ "required": ["by", "points"] }, { "required": ["value"] }] });
    let properties = json!({
        "by": expression(),
        "points": table_of(BIN, integer()),
        "value": expression(),
        "round": rounding(),
        "add": list_of(add),
        "unknown": integer(),
    });
    let mut criterion = object(&["title", "source", "unknown"], with_title(properties));
    criterion["oneOf"] = either["oneOf"].clone();
    criterion
}

fn fault() -> Value {
    object(&["title", "source", "when"], with_title(json!({ "when": expression() })))
}

fn category() -> Value {
    let hard = object(&["when", "category"], json!({ "reason": text(), "when": expression(), "category": integer() }));
    object(
        &["bins", "unknown"],
        with_title(json!({
            "by": expression(),
            "bins": table_of(BIN, integer()),
            "hard": list_of(hard),
            "mode": one_of(&["all", "score", "all_or_score"]),
            "unknown": integer(),
        })),
    )
}

fn level() -> Value {
    object(&["bins"], with_title(json!({ "by": expression(), "bins": table_of(BIN, text()) })))
}

fn benefit() -> Value {
    let pay = table_of(BIN, expression());
    let amount = json!({ "source": text(), "unit": text(), "round": rounding(), "by": expression(), "pay": pay, "value": expression() });
    object(
        &["id", "title", "source", "of", "period"],
        with_title(json!({
            "id": { "type": "string", "pattern": WORD },
            "of": one_of(&["person", "household"]),
            "recipient": one_of(&["self", "head", "mother, else head"]),
            "ground": text(),
            "period": one_of(&["once", "month", "quarter", "open"]),
            "kind": one_of(&["payment", "in kind", "notice"]),
            "to": one_of(&["person", "worker"]),
            "answers": boolean(),
            "budget": text(),
            "inherit": text(),
            "proactive": { "oneOf": [date(), object(&["by", "from"], json!({ "by": expression(), "from": table_of(BIN, date()) }))] },
            "consent": boolean(),
            "debounce_days": integer(),
            "priority": integer(),
            "from": expression(),
            "until": expression(),
            "excludes": list_of(text()),
            "while": expressions(),
            "when": expressions(),
            "amount": object(&["unit"], amount),
        })),
    )
}

fn story() -> Value {
    let person = object(&["born"], json!({ "sex": one_of(&["F", "M"]), "born": date(), "of": list_of(text()), "address": text() }));
    let record = json!({ "type": "object", "required": ["register"], "properties": { "register": text() } });
    let day = json!({ "date": date(), "give": list_of(record), "silent": list_of(text()), "expect": list_of(text()) });
    object(
        &["story", "day"],
        json!({
            "story": text(),
            "people": { "type": "object", "additionalProperties": person },
            "silent": list_of(text()),
            "day": { "type": "array", "items": object(&["date"], day), "minItems": 1 },
        }),
    )
}

fn equivalents() -> Value {
    let equivalent = object(
        &["id", "path", "mutant", "reason"],
        json!({ "id": text(), "path": text(), "mutant": text(), "reason": { "type": "string", "minLength": 1 } }),
    );
    object(&[], json!({ "equivalent": list_of(equivalent) }))
}
