//! Who lives with whom and how each family stands, as tables of the ledger's file: kept by what epochs say of those who moved and of
//! households that are judged otherwise.

use super::{Families, StoreFailure};
use crate::views::Writer;
use dataflows::model::{Epoch, HouseholdKey, Move, PersonId, Role, Scores};
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Statement, Transaction, params};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Members as the table has them: number and role, in the order of numbers.
type Members = Vec<(String, String)>;

const ENTER_HOUSEHOLD: &str = "INSERT OR REPLACE INTO households VALUES (?, ?, ?, ?, ?)";
const ENTER_CATEGORY: &str = "INSERT OR REPLACE INTO categories VALUES (?, ?, ?, ?, ?, ?)";

/// Writes households that somebody left or joined, or in which somebody has another role.
pub(super) fn write_moves(transaction: &Transaction<'_>, rows: &Writer, epoch: Epoch, moves: &[Move]) -> Result<(), StoreFailure> {
    let mut moved: BTreeMap<HouseholdKey, Vec<(PersonId, Option<Role>)>> = BTreeMap::new();
    for (person, from, to) in moves {
        if from.household != to.household {
            moved.entry(from.household).or_default().push((*person, None));
        }
        moved.entry(to.household).or_default().push((*person, Some(to.role)));
    }
    moved.remove(&HouseholdKey::NONE);
    let mut known = transaction.prepare_cached("SELECT members FROM households WHERE household = ?")?;
    let mut remove = transaction.prepare_cached("DELETE FROM households WHERE household = ?")?;
    let mut enter = transaction.prepare_cached(ENTER_HOUSEHOLD)?;
    for (household, moved) in moved {
        let key = rows.household_key(household);
        let members: Option<String> = known.query_row([&key], |row| row.get(0)).optional()?;
        let members: Members = members.map_or(Ok(Vec::new()), |members| read(&members))?;
        let role = |name: &str| Role::ALL.into_iter().find(|role| role.name() == name);
        let member = |(person, name): (String, String)| Some((rows.person_named(&person)?, role(&name)?));
        let mut members: BTreeMap<PersonId, Role> = members.into_iter().filter_map(member).collect();
        for (person, role) in moved {
            match role {
                Some(role) => drop(members.insert(person, role)),
                None => drop(members.remove(&person)),
            }
        }
        if members.is_empty() {
            remove.execute([&key])?;
        } else {
            let members: Vec<(PersonId, Role)> = members.into_iter().collect();
            enter_household(&mut enter, rows, epoch, household, &members)?;
        }
    }
    Ok(())
}

/// Writes how households stand that are judged otherwise than before.
pub(super) fn write_rejudged(
    transaction: &Transaction<'_>,
    rows: &Writer,
    epoch: Epoch,
    rejudged: &BTreeMap<HouseholdKey, Option<Scores>>,
) -> Result<(), StoreFailure> {
    let mut enter = transaction.prepare_cached(ENTER_CATEGORY)?;
    let mut remove = transaction.prepare_cached("DELETE FROM categories WHERE household = ?")?;
    for (household, scores) in rejudged {
        match scores {
            Some(scores) => enter_category(&mut enter, rows, epoch, *household, *scores)?,
            None => drop(remove.execute([rows.household_key(*household)])?),
        }
    }
    Ok(())
}

/// Writes all families as they stand.
pub(super) fn write_all(transaction: &Transaction<'_>, rows: &Writer, epoch: Epoch, families: &Families) -> Result<(), StoreFailure> {
    transaction.execute_batch("DELETE FROM households; DELETE FROM categories")?;
    let mut enter = transaction.prepare_cached(ENTER_HOUSEHOLD)?;
    for (household, members) in &families.members {
        enter_household(&mut enter, rows, epoch, *household, members)?;
    }
    let mut enter = transaction.prepare_cached(ENTER_CATEGORY)?;
    for (household, scores) in &families.scores {
        enter_category(&mut enter, rows, epoch, *household, *scores)?;
    }
    Ok(())
}

fn enter_household(
    enter: &mut Statement<'_>,
    rows: &Writer,
    epoch: Epoch,
    household: HouseholdKey,
    members: &[(PersonId, Role)],
) -> rusqlite::Result<()> {
    let row = rows.household(household, members);
    let members: Vec<Value> = members.iter().map(|(person, role)| json!([rows.person(*person), role.name()])).collect();
    let text = |name: &str| row[name].as_str();
    enter.execute(params![text("household"), text("head"), text("kind"), Value::from(members).to_string(), epoch])?;
    Ok(())
}

fn enter_category(enter: &mut Statement<'_>, rows: &Writer, epoch: Epoch, household: HouseholdKey, scores: Scores) -> rusqlite::Result<()> {
    let Scores { score, category, level_score, level } = scores;
    enter.execute(params![rows.household_key(household), score, category, level_score, rows.level(level), epoch])?;
    Ok(())
}

/// A row of the view `households`.
pub(super) fn household(row: &rusqlite::Row<'_>) -> rusqlite::Result<Value> {
    let text = |name: &str| row.get::<_, Option<String>>(name);
    let members = read(&row.get::<_, String>("members")?)?;
    let counted: Vec<String> = members.into_iter().filter(|(_, role)| *role != Role::Outside.name()).map(|(person, _)| person).collect();
    Ok(json!({ "household": text("household")?, "head": text("head")?, "members": counted, "kind": text("kind")? }))
}

/// A row of the view `categories`.
pub(super) fn category(row: &rusqlite::Row<'_>) -> rusqlite::Result<Value> {
    let (text, number) = (|name: &str| row.get::<_, Option<String>>(name), |name: &str| row.get::<_, i64>(name));
    Ok(json!({ "household": text("household")?, "score": number("score")?, "category": number("category")?,
               "level_score": number("level_score")?, "level": text("level")? }))
}

fn read(members: &str) -> rusqlite::Result<Members> {
    serde_json::from_str(members).map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}
