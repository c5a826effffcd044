//! `policy new`: skeletons of registers, indicators and benefits. What is written passes `policy check` and says nothing yet.

use super::super::{Failure, package_texts};
use clap::ValueEnum;
use dataflows::policy::Policy;
use dataflows::policy::contents::{Contents, Sort};
use std::path::Path;

/// What there are skeletons of.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skeleton {
    Register,
    Indicator,
    Benefit,
}

/// Writes a skeleton into a package's folder.
pub fn write(skeleton: Skeleton, id: &str, folder: &Path) -> Result<(), Failure> {
    let name = folder.display();
    if !folder.join("policy.toml").is_file() {
        let built_in = package_texts(&name.to_string()).is_ok();
        let hint = if built_in { "is part of the program; copy its folder and name that" } else { "has no policy.toml" };
        return Err(Failure::usage(format!("{name} {hint}")));
    }
    let texts = package_texts(&name.to_string())?;
    let contents = Contents::read(&texts);
    check_name(skeleton, id, &contents)?;
    let words = Words::read(&texts, &contents);
    let (file, text) = match skeleton {
        Skeleton::Register => (format!("registers/{}.toml", id.replace('.', "_")), register(id, &words)),
        Skeleton::Indicator => (format!("indicators/{id}.toml"), indicator(id, &words)),
        Skeleton::Benefit => (format!("benefits/{id}.toml"), benefit(id, &words)),
    };
    if folder.join(&file).exists() {
        return Err(Failure::usage(format!("{name}/{file} is there already")));
    }
    save(folder, &file, &text)?;
    if skeleton == Skeleton::Benefit
        && let Some((file, text)) = assignable(id, &texts, &contents)
    {
        save(folder, &file, &text)?;
    }
    let mistakes = Policy::load(&package_texts(&name.to_string())?).err().unwrap_or_default();
    mistakes.iter().for_each(|mistake| println!("{mistake}"));
    Ok(())
}

fn save(folder: &Path, file: &str, text: &str) -> Result<(), Failure> {
    let path = folder.join(file);
    let failed = |error: std::io::Error| Failure::failed(format!("{}: {error}", path.display()));
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
    std::fs::write(&path, text).map_err(failed)?;
    println!("{}", path.display());
    Ok(())
}

fn check_name(skeleton: Skeleton, id: &str, contents: &Contents) -> Result<(), Failure> {
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
    };
    let words: Vec<&str> = id.split('.').collect();
    let (count, shape) = if skeleton == Skeleton::Register { (2, "agency.register") } else { (1, "lower_case_words") };
    if words.len() != count || !words.iter().all(|word| is_word(word)) {
        return Err(Failure::usage(format!("`{id}` is no name for it; names look like {shape}")));
    }
    match contents.named(id).find(|item| item.sort != Sort::Message) {
        Some(known) => Err(Failure::usage(format!("`{id}` is there already: {} in {}:{}", known.sort.word(), known.file, known.line))),
        None => Ok(()),
    }
}

/// What a skeleton takes from its package.
struct Words {
    languages: Vec<String>,
    currency: String,
    from: String,
    /// Names under which conditions are inherited.
    inherited: Vec<String>,
}

impl Words {
    fn read(texts: &[(String, String)], contents: &Contents) -> Words {
        let policy = policy_table(texts);
        let text = |key: &str| policy.get(key).map_or(String::new(), |value| value.to_string().trim_matches('"').to_owned());
        let languages = policy.get("languages").and_then(toml::Value::as_array).into_iter().flatten();
        let inherited = contents.of(Sort::Section).filter_map(|section| section.id.strip_prefix("inherit."));
        Words {
            languages: languages.filter_map(|language| language.as_str().map(str::to_owned)).collect(),
            currency: text("currency"),
            from: text("from"),
            inherited: inherited.map(str::to_owned).collect(),
        }
    }

    /// A title that still has to be written, in every language.
    fn title(&self, id: &str) -> String {
        let titles: Vec<String> = self.languages.iter().map(|language| format!("{language} = \"{id}\"")).collect();
        format!("{{ {} }}", titles.join(", "))
    }
}

fn policy_table(texts: &[(String, String)]) -> toml::Table {
    let text = texts.iter().find(|(path, _)| path == "policy.toml").map_or("", |(_, text)| text);
    text.parse().unwrap_or_default()
}

fn register(id: &str, words: &Words) -> String {
    format!(
        r#"# What the agency sends, and for how long it is kept.

["{id}"]
title    = {title}
source   = "the agency and the law [assumed]"
identity = "person"             # one person's record; "global": an act that names several people, its key its own
key      = "{{number}}"           # made of fields, {{person}} included
cadence  = "45 days"            # silent longer: what rests on it is unknown, never "no"
retain   = "forever"            # or "14 months", counted from the month or date field that `period = "…"` names, else from the event date
["{id}".fields]
# type [unit] [, optional] [, card]: person date month int money bool enum(a|b|c) id text. A card field is shown, never seen by rules.
number   = "id"
from     = "date"
until    = "date, optional"
amount   = "money {currency}/month, optional"
note     = "text, card, optional"
# All that composition takes from a record: spouses | parent | guardian | custody | address | away.
# ["{id}".tie]
# kind  = "address"
# of    = ["person", "number"]
# from  = "from"
# until = "until"
"#,
        title = words.title(id),
        currency = words.currency,
    )
}

fn indicator(id: &str, words: &Words) -> String {
    format!(
        r#"# One indicator. Its file is its sphere: move the table into the file of the sphere that it belongs to.

[{id}]
title  = {title}
source = "the law [assumed]"
of     = "person"               # or "household"
unit   = "months"               # {currency}/month, persons, bool, date, …
value  = "0"                    # REGISTER.filter(r, …).map(r, r.field).sum(); of a household: members.map(m, m.x).sum(), head.x
# round   = "down"              # down | up | nearest: where the value is a fraction
# unknown = 0                   # where not knowing has a value
# classes = 5                   # 0 ≤ value < 5, so that members' greatest and least can be taken
# helper  = true                # a step on the way to others, none that the law speaks of
"#,
        title = words.title(id),
        currency = words.currency,
    )
}

fn benefit(id: &str, words: &Words) -> String {
    let inherit = words.inherited.first().map_or("# inherit = \"cash\"", String::as_str);
    let inherit = if inherit.starts_with('#') { inherit.to_owned() } else { format!("# inherit = \"{inherit}\"") };
    format!(
        r#"# One right. Its file has its name. Nobody has it until the conditions say otherwise.

id        = "{id}"
title     = {title}
source    = "the law [assumed]"
of        = "person"            # or "household"
recipient = "self"              # of a household: "head", "mother, else head"
ground    = "constant"          # or a register: one right for each record of it, named `r` in the expressions
period    = "open"              # once | month | quarter | open
kind      = "payment"           # or "notice": no [amount], and a message of this id in messages.toml
budget    = "local"
{inherit:<31} # conditions of policy.toml that come before these
# proactive = {from}          # offered without an application from this day on
consent   = true
debounce_days = 0
priority  = 99                  # lower goes first
# from      = "a date"
# until     = "a date"
# excludes  = ["another_right"] # not beside these
[when]                          # all must hold; the key is the reason code
to_be_written = "false"
[amount]
unit  = "{currency}/month"
round = "up"
value = "0"                     # or by = "…" and pay = {{ "1" = "…", "2.." = "…" }}
"#,
        title = words.title(id),
        currency = words.currency,
        from = words.from,
    )
}

/// The file of the register of assignments with one more word: a right must be among those that can be held.
fn assignable(id: &str, texts: &[(String, String)], contents: &Contents) -> Option<(String, String)> {
    let policy = policy_table(texts);
    let assignment = policy.get("assignment")?;
    let named = |key: &str| assignment.get(key)?.as_str();
    let register = contents.named(named("register")?).find(|item| item.sort == Sort::Register)?;
    let words = register.detail(&format!("fields.{}", named("benefit")?))?;
    let (enumeration, rest) = words.strip_prefix("enum(")?.split_once(')')?;
    let more = format!("enum({enumeration}|{id}){rest}");
    let (file, text) = texts.iter().find(|(path, _)| *path == register.file)?;
    // Only where it is plain which words are meant.
    (text.matches(words).count() == 1).then(|| (file.clone(), text.replacen(words, &more, 1)))
}
