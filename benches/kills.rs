//! `cargo bench --bench kills`: a thousand SIGKILLs at random moments, over five stories: after each nothing that was acknowledged is lost,
//! and nobody is texted twice. `cargo bench --bench kills -- STORIES KILLS` for another size.
//!
//! `cargo bench --bench kills -- centre [PERSONS DAYS]`: a hundred thousand texts through a message centre at which everything goes wrong that can, with
//! broken connections and five kills: nothing is shown twice, and of every text it is known what became of it.

#[path = "../tests/faulty.rs"]
mod faulty;
#[path = "../tests/folder.rs"]
mod folder;
#[path = "../tests/packages.rs"]
mod packages;
#[path = "../tests/program.rs"]
mod program;
#[path = "../tests/running.rs"]
mod running;

use std::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let number = |index: usize, otherwise: usize| numbers.get(index).copied().unwrap_or(otherwise);
    let begun = Instant::now();
    if arguments.iter().any(|argument| argument == "centre") {
        let said = faulty::through_a_faulty_centre(number(0, 46_000), number(1, 3), 100, 5, 2_500);
        return println!("{said}  {:.0} s", begun.elapsed().as_secs_f64());
    }
    let (stories, kills) = (number(0, 5), number(1, 200));
    for seed in 1..=stories {
        running::kill_again_and_again(kills, seed as u64);
        println!("{} kills, nothing lost and nobody texted twice  {:.0} s", seed * kills, begun.elapsed().as_secs_f64());
    }
}
