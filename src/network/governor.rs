//! How fast a link hands over: no faster than agreed, and slower for a while when the centre says that it is too fast.

use std::time::{Duration, Instant};

/// Of what was allowed so much is allowed after the centre has complained, and each second without complaint so much of what was agreed more.
const BACK: f64 = 0.5;
const FORTH: f64 = 0.05;
/// After a complaint nothing is handed over for so long.
const REST: Duration = Duration::from_millis(200);
/// What may be handed over at once, in seconds of the rate.
const BURST: f64 = 0.1;

pub(super) struct Governor {
    agreed: f64,
    allowed: f64,
    tokens: f64,
    counted: Instant,
    /// Nothing before this.
    rests_until: Instant,
}

impl Governor {
    pub fn new(rate: u32, now: Instant) -> Self {
        let agreed = f64::from(rate);
        Governor { agreed, allowed: agreed, tokens: 1.0, counted: now, rests_until: now }
    }

    /// Whether something may be handed over now; if so it counts.
    pub fn grants(&mut self, now: Instant) -> bool {
        let seconds = (now - self.counted).as_secs_f64();
        self.counted = now;
        self.allowed = (self.allowed + self.agreed * FORTH * seconds).min(self.agreed);
        self.tokens = (self.tokens + self.allowed * seconds).min((self.allowed * BURST).max(1.0));
        let granted = now >= self.rests_until && self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }

    /// When the next one may be.
    pub fn next(&self) -> Instant {
        let missing = (1.0 - self.tokens).max(0.0) / self.allowed;
        (self.counted + Duration::from_secs_f64(missing)).max(self.rests_until)
    }

    /// The centre said that it is too fast.
    pub fn complained(&mut self, now: Instant) {
        // What was under way when it first complained is complained of too.
        if now >= self.rests_until {
            self.allowed = (self.allowed * BACK).max(1.0);
            self.rests_until = now + REST;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many are granted in a second, asked each millisecond.
    fn granted(governor: &mut Governor, from: Instant) -> usize {
        (0..1000).filter(|millisecond| governor.grants(from + Duration::from_millis(*millisecond))).count()
    }

    #[test]
    fn the_rate_is_kept_halved_and_won_back() {
        let begun = Instant::now();
        let second = |number: u64| begun + Duration::from_secs(number);
        let mut governor = Governor::new(100, begun);
        assert!((98..=111).contains(&granted(&mut governor, begun)));
        governor.complained(second(1));
        governor.complained(second(1) + REST / 2);
        let slower = granted(&mut governor, second(1));
        assert!((35..=60).contains(&slower), "half, and a rest: {slower}");
        for number in 2..14 {
            granted(&mut governor, second(number));
        }
        assert!((98..=101).contains(&granted(&mut governor, second(14))));
    }
}
