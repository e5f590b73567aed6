//! When nobody could be answered: between a stop or a crash and the next start, while the disk made all
//! wait, and over what the wall clock was put forward by. Such time does not count against a client whose
//! answer was lost in it. It follows from the records alone, so that an auditor finds the same.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::domain::event::Event;
use crate::types::time::Timestamp;

/// How many are remembered, the newest: a window is as long as a grace, and rarely lies over two.
const PAUSES_MAX: usize = 32;

/// The newest times in which nobody could be answered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pauses(VecDeque<Pause>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Pause {
    /// The time of the record that tells of it.
    end: Timestamp,
    micros: u64,
}

impl Pauses {
    /// Notes what `event` tells of at `at`, where the record before is of `before`. No pause is longer
    /// than the time between the two: so all of them together never make time run backwards.
    pub(super) fn note(&mut self, event: &Event, at: Timestamp, before: Option<Timestamp>) {
        let micros = match (told(event), before) {
            (Some(told), Some(before)) => told.min(at.micros().saturating_sub(before.micros())),
            (Some(_) | None, _) => return,
        };
        if micros == 0 {
            return;
        }
        if PAUSES_MAX <= self.0.len() {
            self.0.pop_front();
        }
        self.0.push_back(Pause { end: at, micros });
    }

    /// How many microseconds of the time since `from` nobody could be answered.
    pub fn since(&self, from: Timestamp) -> u64 {
        let newer = self.0.iter().rev().take_while(|pause| from < pause.end);
        newer.map(|pause| pause.micros).sum()
    }

    pub(super) fn clone_from(&mut self, other: &Self) {
        self.0.clone_from(&other.0);
    }
}

/// The longest pause that an event tells of, in microseconds; none for most.
fn told(event: &Event) -> Option<u64> {
    if matches!(event, Event::LedgerOpened(_)) {
        return Some(u64::MAX);
    }
    if let Event::ClockStepped(step) = event {
        return Some(step.to.micros().saturating_sub(step.from.micros()));
    }
    if let Event::LedgerStalled(stalled) = event {
        return Some(stalled.for_ms.saturating_mul(1000));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{ClockStepped, LedgerClosed, LedgerOpened, LedgerStalled};

    fn at(s: u64) -> Timestamp {
        Timestamp::from_seconds(s)
    }

    fn opened() -> Event {
        LedgerOpened { version: String::new(), records: 0, clean: true }.into()
    }

    #[test]
    fn a_pause_counts_for_what_was_before_it_and_is_no_longer_than_the_time_between_two_records() {
        let mut pauses = Pauses::default();
        pauses.note(&opened(), at(5), None);
        assert_eq!(pauses, Pauses::default(), "nothing was before");
        pauses.note(&opened(), at(100), Some(at(40)));
        pauses.note(&LedgerClosed {}.into(), at(110), Some(at(100)));
        pauses.note(&LedgerStalled { for_ms: 3000 }.into(), at(120), Some(at(110)));
        let forward = ClockStepped { from: at(130), to: at(190) };
        pauses.note(&forward.into(), at(190), Some(at(125)));
        let back = ClockStepped { from: at(190), to: at(90) };
        pauses.note(&back.into(), at(190), Some(at(190)));
        let seconds = |from| pauses.since(at(from)) / 1_000_000;
        assert_eq!([30, 99, 100, 119, 120, 189, 190].map(seconds), [123, 123, 63, 63, 60, 60, 0]);
        let lie = LedgerStalled { for_ms: u64::MAX };
        pauses.note(&lie.into(), at(200), Some(at(190)));
        assert_eq!(pauses.since(at(190)), 10_000_000);
    }

    #[test]
    fn the_newest_are_remembered() {
        let mut pauses = Pauses::default();
        for i in 1..=100 {
            pauses.note(&opened(), at(10 * i), Some(at(10 * i - 1)));
        }
        assert_eq!(pauses.since(at(0)), PAUSES_MAX as u64 * 1_000_000);
    }
}
