//! The porch.

pub mod commands;
