//! Words on how far a start has come: a bar on a terminal, else a line of the log, about once a second.

use crate::beside::Beside;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Between words.
const PAUSE: Duration = Duration::from_secs(1);

/// Of something that takes long, and of which it is known how much it is.
pub(super) struct News {
    doing: &'static str,
    of: u64,
    begun: Instant,
    spoken: Instant,
}

impl News {
    pub fn of(doing: &'static str, of: u64) -> News {
        News { doing, of, begun: Instant::now(), spoken: Instant::now() }
    }

    /// So much of it is done.
    pub fn tell(&mut self, done: u64) {
        if self.spoken.elapsed() < PAUSE {
            return;
        }
        self.spoken = Instant::now();
        let (percent, seconds_left) = outlook(self.begun.elapsed(), done, self.of);
        if io::stderr().is_terminal() {
            let bar = "█".repeat(percent as usize / 4);
            eprint!("\r{}  {bar:·<25} {percent:>3} %  {seconds_left} s left  ", self.doing);
        } else {
            tracing::info!(percent, seconds_left, "{}", self.doing);
        }
    }

    /// Tells of what others do and count, until what this gives is dropped.
    pub fn watch(mut self, done: Arc<AtomicU64>) -> Beside {
        Beside::start("news", move |end| {
            while end.rest(PAUSE) {
                self.tell(done.load(Ordering::Relaxed));
            }
        })
    }
}

/// How many of a hundred parts are done, and how many seconds the others take if they go on like that.
fn outlook(taken: Duration, done: u64, of: u64) -> (u64, u64) {
    let percent = (done * 100).checked_div(of).unwrap_or(100).min(100);
    (percent, taken.as_secs() * (100 - percent) / percent.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_takes_as_long_as_what_is_done() {
        let after = |seconds, done, of| outlook(Duration::from_secs(seconds), done, of);
        assert_eq!((after(10, 50, 200), after(9, 9, 10)), ((25, 30), (90, 1)));
        assert_eq!((after(7, 12, 10), after(7, 0, 0), after(7, 0, 10)), ((100, 0), (100, 0), (0, 700)));
    }
}
