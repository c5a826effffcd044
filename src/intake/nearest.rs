//! "Did you mean …?"

/// ` (did you mean …?)` when a known name is near enough to be a slip of the pen, else nothing.
pub(crate) fn did_you_mean<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    let nearest = known.map(|known| (edits(name, known), known)).min();
    match nearest {
        Some((distance, known)) if distance <= 1 + known.len() / 4 => format!(" (did you mean {known}?)"),
        _ => String::new(),
    }
}

/// Insertions, deletions and replacements of characters that make one name the other.
fn edits(name: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in name.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, &wanted) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != wanted);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}
