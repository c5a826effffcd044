//! `cargo bench --bench kills`: a thousand SIGKILLs at random moments, over five stories: after each nothing that was acknowledged is lost,
//! and nobody is texted twice. `cargo bench --bench kills -- STORIES KILLS` for another size.

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
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let number = |index: usize, otherwise: usize| numbers.get(index).copied().unwrap_or(otherwise);
    let (stories, kills) = (number(0, 5), number(1, 200));
    let begun = Instant::now();
    for seed in 1..=stories {
        running::kill_again_and_again(kills, seed as u64);
        println!("{} kills, nothing lost and nobody texted twice  {:.0} s", seed * kills, begun.elapsed().as_secs_f64());
    }
}
