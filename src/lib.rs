//! The porch: whatever can fail, block or know the time. The house is the crate `dataflows`.

pub mod bench;
mod beside;
pub mod commands;
pub mod dispatch;
pub mod engine;
pub mod intake;
pub mod journal;
pub mod ledger;
pub mod memory;
pub mod network;
pub mod packages;
pub mod pipeline;
pub mod rights;
pub mod serve;
pub mod snapshot;
pub mod sources;
pub mod stories;
pub mod views;
