//! Notices when the wall clock steps: it is held against a clock that only counts up. Judges
//! nothing; the writer records what it finds. Pure: both readings come in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::types::time::Timestamp;

/// The shortest time between two records of steps.
const SPACING: Duration = Duration::from_secs(1);

/// The wall clock jumped, forward or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStep {
    /// What it would have shown without the step.
    pub from: Timestamp,
    /// What it showed.
    pub to: Timestamp,
}

/// Both clocks, read at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// The wall clock.
    pub now: Timestamp,
    /// The clock that only counts up, from wherever it began.
    pub uptime: Duration,
}

/// The latest time that anything was judged by. An answer leaves no record when it says that a
/// token has expired, so the records alone do not keep it true: a wall clock that steps back would
/// revive the token.
#[derive(Debug, Default)]
pub struct JudgingTime(AtomicU64);

impl JudgingTime {
    /// The time to judge by: the wall clock's, but never before the `newest` record, nor before
    /// what this answered last.
    pub fn at(&self, now: Timestamp, newest: Option<Timestamp>) -> Timestamp {
        let now = newest.map_or(now, |newest| newest.max(now));
        let latest = self.0.fetch_max(now.micros(), Ordering::SeqCst);
        Timestamp::from_micros(latest).max(now)
    }
}

/// Compares each reading with the one before.
#[derive(Debug)]
pub struct ClockWatch {
    step_micros_min: u64,
    before: Option<Reading>,
    /// When the last step was told, by the clock that only counts up.
    told_at: Option<Duration>,
    waiting: bool,
}

impl ClockWatch {
    /// Tells of steps of `step_ms_min` milliseconds and more: what a clock is slewed by between two
    /// readings stays below that.
    pub fn new(step_ms_min: u64) -> Self {
        let step_micros_min = step_ms_min.saturating_mul(1000).max(1);
        Self { step_micros_min, before: None, told_at: None, waiting: false }
    }

    /// Whether a step was noticed that was not told yet.
    pub fn has_waiting(&self) -> bool {
        self.waiting
    }

    /// The step since the last reading. Within a second of the last one that was told, steps add
    /// up and wait, unless the ledger `closes`. The first reading is compared with the `newest`
    /// record: a clock that is behind it was set back while nobody watched.
    pub fn step(
        &mut self,
        reading: Reading,
        newest: Option<Timestamp>,
        closes: bool,
    ) -> Option<ClockStep> {
        let Reading { now, uptime } = reading;
        let from = match self.before {
            Some(before) => later(before.now, uptime.saturating_sub(before.uptime)),
            None => newest.map_or(now, |newest| newest.max(now)),
        };
        if now.micros().abs_diff(from.micros()) < self.step_micros_min {
            self.before = Some(reading);
            self.waiting = false;
            return None;
        }
        let is_soon = self.told_at.is_some_and(|told_at| uptime < told_at + SPACING);
        self.waiting = is_soon && !closes;
        if self.waiting {
            return None;
        }
        self.before = Some(reading);
        self.told_at = Some(uptime);
        Some(ClockStep { from, to: now })
    }
}

fn later(at: Timestamp, passed: Duration) -> Timestamp {
    let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
    Timestamp::from_micros(at.micros().saturating_add(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> ClockWatch {
        ClockWatch::new(5000)
    }

    fn reading(now_s: u64, uptime_ms: u64) -> Reading {
        let now = Timestamp::from_seconds(now_s);
        Reading { now, uptime: Duration::from_millis(uptime_ms) }
    }

    fn step(from_s: u64, to_s: u64) -> Option<ClockStep> {
        let (from, to) = (Timestamp::from_seconds(from_s), Timestamp::from_seconds(to_s));
        Some(ClockStep { from, to })
    }

    #[test]
    fn time_that_passes_is_no_step_and_one_is_told_once() {
        let mut watch = watch();
        assert_eq!(watch.step(reading(10_000, 0), None, false), None);
        assert_eq!(watch.step(reading(13_600, 3_600_000), None, false), None);
        // Slewed by less than the bound, and that is no reason for a later one.
        assert_eq!(watch.step(reading(13_604, 3_600_000), None, false), None);
        assert_eq!(watch.step(reading(13_608, 3_600_000), None, false), None);
        assert_eq!(watch.step(reading(10_009, 3_601_000), None, false), step(13_609, 10_009));
        assert_eq!(watch.step(reading(10_010, 3_602_000), None, false), None);
        assert_eq!(watch.step(reading(13_611, 3_603_000), None, false), step(10_011, 13_611));
    }

    #[test]
    fn steps_within_a_second_add_up_and_one_that_is_undone_is_forgotten() {
        let mut watch = watch();
        watch.step(reading(10_000, 0), None, false);
        assert_eq!(watch.step(reading(20_000, 0), None, false), step(10_000, 20_000));
        assert_eq!(watch.step(reading(30_000, 500), None, false), None);
        assert!(watch.has_waiting());
        assert_eq!(watch.step(reading(20_000, 900), None, false), None);
        assert!(!watch.has_waiting());
        assert_eq!(watch.step(reading(30_000, 950), None, false), None);
        assert_eq!(watch.step(reading(40_000, 999), None, false), None);
        let from = Timestamp::from_micros(20_000_100_000);
        let to = Timestamp::from_seconds(40_000);
        let told = watch.step(reading(40_000, 1000), None, false);
        assert_eq!(told, Some(ClockStep { from, to }));
        assert!(!watch.has_waiting());
    }

    #[test]
    fn what_waits_is_told_when_the_ledger_closes() {
        let mut watch = watch();
        watch.step(reading(10_000, 0), None, false);
        watch.step(reading(20_000, 0), None, false);
        assert_eq!(watch.step(reading(10_000, 0), None, false), None);
        assert_eq!(watch.step(reading(10_000, 0), None, true), step(20_000, 10_000));
    }

    #[test]
    fn a_clock_behind_the_newest_record_was_set_back_while_nobody_watched() {
        let newest = Some(Timestamp::from_seconds(50_000));
        assert_eq!(watch().step(reading(46_400, 7), newest, false), step(50_000, 46_400));
        assert_eq!(watch().step(reading(49_999, 7), newest, false), None);
        assert_eq!(watch().step(reading(99_999, 7), newest, false), None);
    }
}
