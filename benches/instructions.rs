//! What the engine costs in instructions, which no other load of the machine changes: `cargo bench --bench instructions`.
//!
//! The program runs under valgrind (`apt-get install valgrind`), each measure at two sizes: the difference is what one more person, or
//! one more update, costs, with making and decoding its records. Times are `shanyraq bench`'s business.

use std::process::Command;

/// A measure: its name, and the arguments of `shanyraq bench` at so many of what is counted.
type Measure = (&'static str, fn(usize) -> Vec<String>, [usize; 2]);

fn main() {
    let measures: [Measure; 4] = [
        ("a person of a load", |persons| split(format!("load --persons {persons}")), [2_000, 6_000]),
        ("an update, alone", |updates| split(format!("catchup --persons 5000 --batch 1 --updates {updates}")), [500, 2_500]),
        ("an update of a hundred", |updates| split(format!("catchup --persons 5000 --batch 100 --updates {updates}")), [500, 2_500]),
        ("an update of two thousand", |updates| split(format!("catchup --persons 5000 --batch 2000 --updates {updates}")), [2_000, 4_000]),
    ];
    for (name, arguments, [few, many]) in measures {
        let each = (instructions(&arguments(many)) - instructions(&arguments(few))) / (many - few) as i64;
        println!("{name}: {each} instructions, its record (or records) made and decoded too");
    }
}

fn split(text: String) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// How many instructions a run of `shanyraq bench` takes.
fn instructions(arguments: &[String]) -> i64 {
    let valgrind = ["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"];
    let output = Command::new("valgrind").args(valgrind).arg(env!("CARGO_BIN_EXE_shanyraq")).arg("bench").args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("valgrind: {error}; apt-get install valgrind"));
    let told = String::from_utf8_lossy(&output.stderr);
    let line = told.lines().find(|line| line.contains("I   refs:")).unwrap_or_else(|| panic!("{told}"));
    let digits: String = line.rsplit(':').next().unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{line}"))
}
