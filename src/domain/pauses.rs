//! When nobody could be answered: between a stop or a crash and the next start, while the disk made all
//! wait, and over what the wall clock was put forward by. Such time does not count against a client whose
//! answer was lost in it. It follows from the records alone, so that an auditor finds the same.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::domain::client::GRACE_S_MAX;
use crate::domain::event::Event;
use crate::types::time::Timestamp;

/// The longest time before a start that followed no clean stop which counts, in microseconds: nobody knows
/// when the process ended, and before that it answered.
const UNCLEAN_MICROS_MAX: u64 = 600 * 1_000_000;
/// How many are remembered at most, the newest.
const PAUSES_MAX: usize = 1024;

/// The newest times in which nobody could be answered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pauses {
    noted: VecDeque<Pause>,
    /// The time of the newest record.
    at: Option<Timestamp>,
    /// How much of the time before it is in no pause yet, and may be.
    left_micros: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Pause {
    /// The time of the record that tells of it.
    end: Timestamp,
    micros: u64,
}

impl Pauses {
    /// Notes what `event`, of the next record, tells of at `at`. Pauses that are told of one after the
    /// other are together no longer than the time since the record before them: so they never make time
    /// run backwards.
    pub(super) fn note(&mut self, event: &Event, at: Timestamp) {
        if self.at.is_none_or(|newest| newest < at) {
            let since = |newest: Timestamp| at.micros().saturating_sub(newest.micros());
            (self.left_micros, self.at) = (self.at.map_or(0, since), Some(at));
        }
        let Some(told) = told(event) else {
            // Somebody was answered up to here.
            self.left_micros = 0;
            return;
        };
        let micros = told.min(self.left_micros);
        if micros == 0 {
            return;
        }
        self.left_micros -= micros;
        self.noted.push_back(Pause { end: at, micros });
        self.forget(at);
    }

    /// Lets go of those that are over for every window, however long its grace.
    fn forget(&mut self, at: Timestamp) {
        let mut all: u64 = self.noted.iter().map(|pause| pause.micros).sum();
        while let Some(oldest) = self.noted.front() {
            let over = oldest.end.plus_seconds(u64::from(GRACE_S_MAX)).plus_micros(all);
            if at < over && self.noted.len() <= PAUSES_MAX {
                return;
            }
            all -= oldest.micros;
            self.noted.pop_front();
        }
    }

    /// How many microseconds of the time since `from` nobody could be answered.
    pub fn since(&self, from: Timestamp) -> u64 {
        let newer = self.noted.iter().rev().take_while(|pause| from < pause.end);
        newer.map(|pause| pause.micros).sum()
    }
}

/// The longest pause that an event tells of, in microseconds; none for most.
fn told(event: &Event) -> Option<u64> {
    if let Event::LedgerOpened(opened) = event {
        return Some(if opened.clean { u64::MAX } else { UNCLEAN_MICROS_MAX });
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

    fn opened(clean: bool) -> Event {
        LedgerOpened { version: String::new(), records: 0, clean }.into()
    }

    fn stepped(from: u64, to: u64) -> Event {
        ClockStepped { from: at(from), to: at(to) }.into()
    }

    fn stalled(for_ms: u64) -> Event {
        LedgerStalled { for_ms }.into()
    }

    /// What these records, each of a second, make of each second before the last.
    fn seconds(records: &[(u64, Event)], from: &[u64]) -> Vec<u64> {
        let mut pauses = Pauses::default();
        records.iter().for_each(|(s, event)| pauses.note(event, at(*s)));
        from.iter().map(|from| pauses.since(at(*from)) / 1_000_000).collect()
    }

    #[test]
    fn a_pause_counts_for_what_was_before_it() {
        let closed = || LedgerClosed {}.into();
        let records = [
            (5, opened(true)),
            (40, closed()),
            (100, opened(true)),
            (110, closed()),
            (120, stalled(3000)),
        ];
        assert_eq!(seconds(&records, &[5, 39, 99, 100, 119, 120]), [63, 63, 63, 3, 3, 0]);
        let records = [(5, closed()), (190, stepped(130, 190)), (190, stepped(190, 90))];
        assert_eq!(seconds(&records, &[5, 189, 190]), [60, 60, 0]);
    }

    #[test]
    fn pauses_that_end_together_share_the_time_that_there_is() {
        let closed = || LedgerClosed {}.into();
        // A disk that made all wait for 2 s, and a clock that was put an hour forward meanwhile.
        let records = [(10, closed()), (3612, stalled(2000)), (3612, stepped(12, 3612))];
        assert_eq!(seconds(&records, &[10]), [3602]);
        let records =
            [(10, closed()), (12, stalled(9000)), (12, stepped(12, 3612)), (12, opened(true))];
        assert_eq!(seconds(&records, &[10]), [2], "never more than passed");
        let records = [(10, closed()), (500, closed()), (500, opened(true))];
        assert_eq!(seconds(&records, &[10]), [0], "somebody was answered before it");
    }

    #[test]
    fn before_a_start_after_a_crash_it_may_have_served_for_long() {
        let closed = || LedgerClosed {}.into();
        assert_eq!(seconds(&[(10, closed()), (40, opened(false))], &[10]), [30]);
        assert_eq!(seconds(&[(10, closed()), (9_000, opened(false))], &[10]), [600]);
        assert_eq!(seconds(&[(10, closed()), (9_000, opened(true))], &[10]), [8_990]);
    }

    #[test]
    fn many_are_remembered_for_as_long_as_any_window_may_be_open() {
        let mut pauses = Pauses::default();
        for i in 1..=500 {
            pauses.note(&LedgerClosed {}.into(), at(10 * i));
            pauses.note(&opened(true), at(10 * i + 5));
        }
        assert_eq!(pauses.since(at(10)), 500 * 5_000_000);
        pauses.note(&opened(true), at(5_000_000));
        let later = 5_000_000 + 5_000_000 + 4000;
        pauses.note(&LedgerClosed {}.into(), at(later));
        pauses.note(&stalled(1000), at(later + 1));
        assert_eq!(pauses.noted.len(), 1, "what is over is forgotten");
        for i in 0..5_000 {
            pauses.note(&stalled(1000), at(later + 2 + i));
        }
        assert!(pauses.noted.len() <= PAUSES_MAX);
    }
}
