//! `policy new`: skeletons of registers, indicators and benefits.
use super::super::Failure;
use clap::ValueEnum;
use std::path::Path;
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skeleton { Register, Indicator, Benefit }
pub fn write(_skeleton: Skeleton, _id: &str, _folder: &Path) -> Result<(), Failure> { Ok(()) }
