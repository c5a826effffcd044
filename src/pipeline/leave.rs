//! When texts may leave: not at night and not on a holiday, by the clock on the wall where people live; in a trial, to listed numbers alone. It changes
//! when somebody is written to, never whether.

use crate::dispatch::Phone;
use dataflows::model::Date;
use std::collections::BTreeSet;
use std::time::Duration;

/// One zone since 1 March 2024: UTC+5.
const ZONE: Duration = Duration::from_secs(5 * 60 * 60);
const SECONDS_A_DAY: u64 = 24 * 60 * 60;

/// What holds texts back for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leave {
    /// From one minute of the day to another, which may be of the next day; nothing: no hours are quiet.
    quiet: Option<(u64, u64)>,
    holidays: Holidays,
    /// Nobody else is written to; nothing: everybody may be.
    listed: Option<BTreeSet<Phone>>,
}

/// Days of each year, by month and day, and days of one year.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Holidays {
    of_each_year: BTreeSet<(u32, u32)>,
    once: BTreeSet<Date>,
}

impl Leave {
    /// `quiet` is like `21:00-09:00`, or `none`; holidays are like `12-16` or `2026-05-27`; with numbers it is a trial. The error tells what is wrong.
    pub fn new(quiet: &str, holidays: &[String], trial: &[Phone]) -> Result<Leave, String> {
        let hours = |text: &str| {
            let (from, to) = text.split_once('-')?;
            minute(from).zip(minute(to)).filter(|(from, to)| from != to)
        };
        let quiet = match quiet {
            "none" => None,
            text => Some(hours(text).ok_or_else(|| format!("quiet_hours: `{text}` is neither like 21:00-09:00 nor none"))?),
        };
        let mut known = Holidays::default();
        for day in holidays {
            let of_each_year = Date::parse(&format!("2024-{day}")).filter(|_| day.len() == "12-16".len());
            match (of_each_year, Date::parse(day)) {
                (Some(date), _) => drop(known.of_each_year.insert((date.ymd().1, date.ymd().2))),
                (None, Some(date)) => drop(known.once.insert(date)),
                (None, None) => return Err(format!("holidays: `{day}` is neither like 12-16 nor like 2026-05-27")),
            }
        }
        Ok(Leave { quiet, holidays: known, listed: (!trial.is_empty()).then(|| trial.iter().copied().collect()) })
    }

    /// Whether texts may leave at this time, by the clock since the beginning of 1970.
    pub fn holds_at(&self, since_1970: Duration) -> bool {
        let local = (since_1970 + ZONE).as_secs();
        let (minute, today) = (local % SECONDS_A_DAY / 60, Date((local / SECONDS_A_DAY) as i32));
        let is_quiet = self.quiet.is_some_and(|(from, to)| match from < to {
            true => (from..to).contains(&minute),
            false => minute >= from || minute < to,
        });
        let (_, month, day) = today.ymd();
        !is_quiet && !self.holidays.of_each_year.contains(&(month, day)) && !self.holidays.once.contains(&today)
    }

    /// Whether anything may leave to this number.
    pub fn holds_for(&self, phone: Phone) -> bool {
        self.listed.as_ref().is_none_or(|listed| listed.contains(&phone))
    }
}

/// The minute of the day of `21:00`.
fn minute(text: &str) -> Option<u64> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds since the beginning of 1970 of a time where people live.
    fn at(date: &str, hour: u64, minute: u64) -> Duration {
        let days = Date::parse(date).unwrap().0 as u64;
        Duration::from_secs(days * SECONDS_A_DAY + hour * 3600 + minute * 60) - ZONE
    }

    #[test]
    fn nights_and_holidays_are_quiet() {
        let holidays = ["12-16", "2026-05-27"].map(str::to_owned);
        let leave = Leave::new("21:00-09:00", &holidays, &[]).unwrap();
        let holds = |date: &str, hour, minute| leave.holds_at(at(date, hour, minute));
        assert!(holds("2026-11-30", 9, 0) && holds("2026-11-30", 20, 59));
        assert!(!holds("2026-11-30", 8, 59) && !holds("2026-11-30", 21, 0) && !holds("2026-11-30", 0, 0));
        assert!(!holds("2026-12-16", 12, 0) && !holds("2031-12-16", 12, 0) && holds("2026-12-17", 12, 0));
        assert!(!holds("2026-05-27", 12, 0) && holds("2027-05-27", 12, 0));
        let siesta = Leave::new("13:00-15:00", &[], &[]).unwrap();
        assert!(!siesta.holds_at(at("2026-11-30", 14, 0)) && siesta.holds_at(at("2026-11-30", 23, 0)));
        assert!(Leave::new("none", &[], &[]).unwrap().holds_at(at("2026-11-30", 3, 0)));
    }

    #[test]
    fn a_trial_is_for_those_on_the_list() {
        let leave = Leave::new("none", &[], &[77_010_000_001]).unwrap();
        assert!(leave.holds_for(77_010_000_001) && !leave.holds_for(77_010_000_002));
        assert!(Leave::default().holds_for(77_010_000_002));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let wrong = |quiet: &str, day: &str| Leave::new(quiet, &[day.to_owned()], &[]).unwrap_err();
        assert_eq!(wrong("25:00-09:00", "12-16"), "quiet_hours: `25:00-09:00` is neither like 21:00-09:00 nor none");
        assert_eq!(wrong("none", "16 Dec"), "holidays: `16 Dec` is neither like 12-16 nor like 2026-05-27");
        assert_eq!(wrong("none", "02-30"), "holidays: `02-30` is neither like 12-16 nor like 2026-05-27");
    }
}
