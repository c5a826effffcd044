//! `cargo bench --bench year`: two thousand families through a year, every day of which the engine (one worker, and three) is held against
//! the twin. Says what was compared, and fails on the first difference. `cargo bench --bench year -- WORLDS PERSONS DAYS SEED` for
//! another size.

#[path = "../tests/agreement.rs"]
mod agreement;
#[path = "../tests/year.rs"]
mod year;

use std::time::Instant;

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let number = |index: usize, otherwise: usize| numbers.get(index).copied().unwrap_or(otherwise);
    let (worlds, persons, days) = (number(0, 40), number(1, 75), number(2, 365));
    let begun = Instant::now();
    let compared = year::live(year::Year { seed: number(3, 1) as u64, worlds, persons, days }, |date, compared| {
        if compared.days % 10 == 1 {
            println!("{date}  {compared:?}  {:.0} s", begun.elapsed().as_secs_f64());
        }
    });
    println!("equal on every day: {compared:?}  {:.0} s", begun.elapsed().as_secs_f64());
}
