//! The house: from checked records to changed decisions, as one differential dataflow.

pub mod model;
pub mod policy;
