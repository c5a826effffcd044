//! Small mistakes that an author could have made in an expression, one at a time.

use dataflows::policy::{Expression, Kind};

/// The expression with one mistake, in every way that we know; texts, each once.
pub fn mutants(expression: &Expression, is_parameter: &dyn Fn(&str) -> bool) -> Vec<String> {
    let original = expression.to_string();
    let mut texts: Vec<String> = Vec::new();
    for mutant in all(expression, is_parameter) {
        let text = mutant.to_string();
        if text != original && !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

/// Mistakes at this place, then those within its parts.
fn all(expression: &Expression, is_parameter: &dyn Fn(&str) -> bool) -> Vec<Expression> {
    let mut found = here(expression, is_parameter);
    let parts: &[Expression] = match &expression.kind {
        Kind::List(parts) | Kind::Call(_, parts) | Kind::Method(_, _, parts) => parts,
        _ => &[],
    };
    for (index, part) in parts.iter().enumerate() {
        for mutant in all(part, is_parameter) {
            let mut whole = expression.clone();
            if let Kind::List(parts) | Kind::Call(_, parts) | Kind::Method(_, _, parts) = &mut whole.kind {
                parts[index] = mutant;
            }
            found.push(whole);
        }
    }
    if let Kind::Method(target, name, arguments) = &expression.kind {
        for mutant in all(target, is_parameter) {
            found.push(like(expression, Kind::Method(Box::new(mutant), name.clone(), arguments.clone())));
        }
    }
    found
}

/// Another expression in the same place.
fn like(expression: &Expression, kind: Kind) -> Expression {
    Expression { place: expression.place, kind }
}

fn here(expression: &Expression, is_parameter: &dyn Fn(&str) -> bool) -> Vec<Expression> {
    let int = |number: i64| like(expression, Kind::Int(number));
    match &expression.kind {
        Kind::Int(number) => vec![int(number + 1), int(number - 1)],
        Kind::Bool(flag) => vec![like(expression, Kind::Bool(!flag))],
        Kind::Name(name) if is_parameter(name) => vec![like(expression, Kind::Call("_+_".to_owned(), vec![expression.clone(), int(1)]))],
        Kind::Call(name, arguments) => call(expression, name, arguments),
        Kind::Method(target, name, arguments) => {
            let method = |target: &Expression, name: &str| Kind::Method(Box::new(target.clone()), name.to_owned(), arguments.clone());
            let others: &[&str] = match name.as_str() {
                "exists" => &["all"],
                "all" => &["exists"],
                "sum" => &["max", "size"],
                "max" => &["min", "sum"],
                "min" => &["max"],
                _ => &[],
            };
            others.iter().map(|other| like(expression, method(target, other))).collect()
        }
        Kind::Decimal { .. } | Kind::Word(_) | Kind::Name(_) | Kind::List(_) => Vec::new(),
    }
}

fn call(expression: &Expression, name: &str, arguments: &[Expression]) -> Vec<Expression> {
    let renamed = |name: &str| like(expression, Kind::Call(name.to_owned(), arguments.to_vec()));
    let window = |months: i64| like(expression, Kind::Call("last_months".to_owned(), vec![like(expression, Kind::Int(months))]));
    match (name, arguments) {
        ("_&&_", [left, right]) => vec![renamed("_||_"), left.clone(), right.clone()],
        ("_||_", [left, right]) => vec![renamed("_&&_"), left.clone(), right.clone()],
        ("!_", [operand]) => vec![operand.clone()],
        ("_<_" | "_<=_" | "_>_" | "_>=_", [_, right]) => {
            let (shifted, reversed) = match name {
                "_<_" => ("_<=_", "_>=_"),
                "_<=_" => ("_<_", "_>_"),
                "_>_" => ("_>=_", "_<=_"),
                _ => ("_>_", "_<_"),
            };
            // With a number on the right, one more or less of it says the same as the shifted sign.
            let shifts = !matches!(right.kind, Kind::Int(_));
            [Some(renamed(reversed)), shifts.then(|| renamed(shifted))].into_iter().flatten().collect()
        }
        ("_==_", _) => vec![renamed("_!=_")],
        ("_!=_", _) => vec![renamed("_==_")],
        ("_+_", _) => vec![renamed("_-_")],
        ("_-_", _) => vec![renamed("_+_")],
        ("min", _) => vec![renamed("max")],
        ("max", _) => vec![renamed("min")],
        ("previous_quarter", []) => vec![window(3)],
        ("this_year", []) => vec![window(12)],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataflows::policy::Contents;

    fn mutants_of(expression: &str) -> Vec<String> {
        let indicator = format!("[x]\nof = \"person\"\nvalue = \"{expression}\"");
        let texts = [("policy.toml".to_owned(), String::new()), ("indicators/x.toml".to_owned(), indicator)];
        let contents = Contents::read(&texts);
        mutants(&contents.items[0].passages[0].expression, &|name| name == "MRP")
    }

    #[test]
    fn every_kind_of_mistake_is_made() {
        assert_eq!(mutants_of("a >= 4"), ["a < 4", "a >= 5", "a >= 3"]);
        assert_eq!(mutants_of("a < b"), ["a >= b", "a <= b"]);
        let junctions = ["a || b || !c", "a", "b || !c", "a && b && !c", "a && b", "a && !c", "a && (b || c)"];
        assert_eq!(mutants_of("a && (b || !c)"), junctions);
        assert_eq!(mutants_of("min(a, MRP) + b"), ["min(a, MRP) - b", "max(a, MRP) + b", "min(a, MRP + 1) + b"]);
        assert_eq!(mutants_of("r.list.exists(r, r.kind == 'x')"), ["r.list.all(r, r.kind == 'x')", "r.list.exists(r, r.kind != 'x')"]);
        let window = mutants_of("r.list.filter(r, within(r.period, previous_quarter())).map(r, r.amount).sum()");
        assert!(window.iter().any(|mutant| mutant.contains("last_months(3)")), "{window:?}");
        assert!(window.iter().any(|mutant| mutant.ends_with(".max()")) && window.iter().any(|mutant| mutant.ends_with(".size()")));
    }
}
