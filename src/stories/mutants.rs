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
