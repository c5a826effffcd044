//! The one integration binary.

/// What is written to whom: limits, timers, repeats and replays, over random lives.
mod dispatch;
