//! What happens how often in a simulation, and how much of it did.

use std::ops::AddAssign;

use crate::support::simulation::dice::Dice;

/// What happens how often, in a thousandth of the turns; every seed has its own mixture, so that
/// one kind of trouble does not hide another.
#[derive(Debug)]
pub(super) struct Odds {
    pub(super) turns: u64,
    pub(super) batch_max: usize,
    pub(super) queue_max: usize,
    pub(super) acts: u32,
    pub(super) operates: u32,
    pub(super) steals: u32,
    pub(super) loses_answer: u32,
    pub(super) delays_answer: u32,
    pub(super) fails_append: u32,
    pub(super) crashes: u32,
    pub(super) stops: u32,
    pub(super) keeps_snapshot: u32,
    pub(super) steps_clock: u32,
}

impl Odds {
    pub(super) fn of(dice: &mut Dice) -> Self {
        Self {
            turns: dice.between(30, 70),
            batch_max: dice.of_these(&[1, 2, 4, 8, 16]),
            queue_max: dice.of_these(&[3, 8, 32]),
            acts: dice.of_these(&[200, 500, 900]),
            operates: dice.of_these(&[30, 150, 400]),
            steals: dice.of_these(&[0, 0, 40, 150]),
            loses_answer: dice.of_these(&[0, 100, 300]),
            delays_answer: dice.of_these(&[0, 200]),
            fails_append: dice.of_these(&[0, 15, 60]),
            crashes: dice.of_these(&[0, 10, 40]),
            stops: dice.of_these(&[0, 15]),
            keeps_snapshot: dice.of_these(&[0, 50]),
            steps_clock: dice.of_these(&[0, 0, 20]),
        }
    }
}

/// How much happened.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) turns: u64,
    pub(crate) commands: u64,
    pub(crate) records: u64,
    pub(crate) retries: u64,
    pub(crate) reuses: u64,
    pub(crate) lost_answers: u64,
    pub(crate) turned_away: u64,
    pub(crate) lost_appends: u64,
    pub(crate) kept_appends: u64,
    pub(crate) crashes: u64,
    pub(crate) clean_stops: u64,
    pub(crate) clock_steps: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.turns += more.turns;
        self.commands += more.commands;
        self.records += more.records;
        self.retries += more.retries;
        self.reuses += more.reuses;
        self.lost_answers += more.lost_answers;
        self.turned_away += more.turned_away;
        self.lost_appends += more.lost_appends;
        self.kept_appends += more.kept_appends;
        self.crashes += more.crashes;
        self.clean_stops += more.clean_stops;
        self.clock_steps += more.clock_steps;
    }
}
