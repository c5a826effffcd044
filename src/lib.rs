//! The porch: whatever can fail, block or know the time. The house is the crate `dataflows`.

pub mod intake;
pub mod sources;
