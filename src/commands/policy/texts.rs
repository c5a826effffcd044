//! `shanyraq policy texts`: what the messages of a package take and cost.

use crate::commands::{Failure, load_package, print};
use clap::Args;
use serde_json::json;

#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// A package's folder, or the name of a built-in package.
    policy: String,
    /// What one part of a short message costs, in the currency of the package.
    #[arg(long, default_value_t = 0.0)]
    price: f64,
}

/// A row for each message and language; of a person whose language is unknown the text is in two, one under the other.
pub fn texts(Arguments { policy, price }: &Arguments) -> Result<(), Failure> {
    let policy = load_package(policy)?.policy;
    let mut rows = String::new();
    for (message, texts) in &policy.messages {
        for language in texts.keys() {
            let Some((parts, about)) = policy.longest_text(message, language) else { continue };
            let thousand = parts as f64 * price * 1000.0;
            let row = json!({ "message": message, "language": language, "parts": parts, "about": about, "a_thousand_cost": thousand });
            rows.push_str(&format!("{row}\n"));
        }
    }
    print(&rows);
    Ok(())
}
