//! What `shanyraq` can be told to do, a command a file.

pub mod generate;
