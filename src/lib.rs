//! The porch: whatever can fail, block or know the time. The house is the crate `dataflows`.

pub mod dispatch;
pub mod intake;
pub mod ledger;
pub mod sources;
