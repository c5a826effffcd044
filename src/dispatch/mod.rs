//! From a right to an answer: what is written to whom, when, and what follows (domain.md 6).
//!
//! Decide here, act there: [`Desk`] and the [`conversation`] of each right are pure; the ledger keeps what they decide.

pub mod conversation;
mod conversations;
mod desk;
mod iban;
mod listener;
mod payments;
mod reply;
mod terms;
mod texts;

pub use conversation::{Consent, Conversation, HeldBack, Kind, NoteKind, Phone, Stage, Standing};
pub use desk::{Action, Case, Desk, Heard, Note, OPEN_OFFERS_MAX, RightKey, Step, Text};
pub use iban::Iban;
pub use listener::Listener;
pub use payments::{Due, Order, Ordered, Pay, Payment, Payments};
pub use reply::{Reply, parse as parse_reply};
pub use terms::{BenefitTerms, Terms};
pub use texts::grouped;
