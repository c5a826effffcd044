//! What `rules.sql` makes of a household's sums, for the peers that are written in Rust.

/// Score and category of a household.
pub fn judge(members: i64, children: i64, income: i64, debt: i64, arrears: i64) -> (i64, i64) {
    let by_income = match income / members {
        ..50_000 => 30,
        50_000..100_000 => 20,
        100_000..200_000 => 10,
        _ => 0,
    };
    let by_children = match children {
        0 => 0,
        1..4 => 5,
        _ => 15,
    };
    let by_debt = match debt / income.max(1) {
        ..12 => 0,
        12..36 => 5,
        _ => 10,
    };
    let score = by_income + by_children + by_debt + if arrears > 0 { 10 } else { 0 };
    let category = match score {
        ..5 => 5,
        5..15 => 4,
        15..25 => 3,
        25..40 => 2,
        _ => 1,
    };
    (score, category)
}
