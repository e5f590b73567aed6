//! A whole service in one thread and out of one seed: the real writer, domain and log over a store
//! that fails (its records lost or kept), clients that lose answers and ask again, a thief, an
//! operator, a clock that steps, crashes at any point, starts from snapshots. After each turn everything is looked at.
//! The same seed takes the same course, to the byte.

pub(crate) mod campaign;
mod dice;
mod looks;
mod machine;
pub(crate) mod odds;
mod people;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use token_ledger::domain::command::Command;
use token_ledger::domain::decide::Granted;
use token_ledger::domain::record::About;
use token_ledger::domain::refusal::Refusal;
use token_ledger::log::memory::Fault;
use token_ledger::types::digest::LeafHash;
use token_ledger::types::time::Timestamp;

use crate::support::model::{CLIENTS, Model, Names, Step};
use crate::support::names::{client_id, digest};
use crate::support::policies::POLICIES;
use crate::support::simulation::dice::Dice;
use crate::support::simulation::looks::Dead;
use crate::support::simulation::machine::{FAULTS, Machine};
use crate::support::simulation::odds::{Odds, Tally};
use crate::support::simulation::people::{Made, Session, Wish, operate};
use crate::support::world::verify;

type Outcome = Result<Granted, Refusal>;

#[derive(Debug, Clone, Copy)]
struct Ticket {
    /// The session that waits for the answer; none where nobody learns from it.
    session: Option<usize>,
    wish: Wish,
}

/// An assertion: until when it is good, and whether it proved its client already.
type Assertions = Vec<(Timestamp, bool)>;

/// Where a simulation writes what happens.
pub(crate) type Notes = Arc<Mutex<Vec<String>>>;

struct Simulation {
    dice: Dice,
    odds: Odds,
    machine: Machine,
    model: Model,
    assertions: Assertions,
    names: Names,
    sessions: Vec<Session>,
    /// Copies of refresh tokens: grant, generation, and a host that is not their owner's.
    loot: Vec<(usize, u32, usize)>,
    queue: VecDeque<Ticket>,
    on_the_way: Vec<(u64, Ticket, Outcome, Made)>,
    dead: Vec<Dead>,
    /// The next append fails so.
    fault: Option<Fault>,
    /// How far the clock is from where it would be without steps, in seconds.
    stepped_s: i64,
    /// Refusals since the last start.
    refusals: u64,
    /// How far the clock was set since the last start, in seconds.
    set_s: i64,
    turn: u64,
    tally: Tally,
    notes: Option<Notes>,
}

/// Runs one seed to its end; answers how much happened, and the leaf hash of the last record.
///
/// # Panics
/// When something does not hold that must.
pub(crate) fn run(seed: u64, notes: Option<Notes>) -> (Tally, LeafHash) {
    let mut simulation = Simulation::new(seed, notes);
    simulation.found();
    while simulation.turn < simulation.odds.turns {
        simulation.turn += 1;
        simulation.take_turn();
    }
    simulation.stop_cleanly();
    simulation.machine.check();
    simulation.machine.check_root();
    verify(&simulation.machine.world.bytes()).expect("every log that comes of this is lawful");
    simulation.tally.turns = simulation.turn;
    simulation.tally.records = simulation.machine.records();
    (simulation.tally, simulation.machine.head())
}

impl Simulation {
    fn new(seed: u64, notes: Option<Notes>) -> Self {
        let mut dice = Dice::of(seed);
        let odds = Odds::of(&mut dice);
        let sessions = (0..=dice.below(6)).map(|_| Session::new(&mut dice)).collect();
        Self {
            dice,
            odds,
            machine: Machine::new(),
            model: Model::default(),
            assertions: Vec::new(),
            names: Names::default(),
            sessions,
            loot: Vec::new(),
            queue: VecDeque::new(),
            on_the_way: Vec::new(),
            dead: Vec::new(),
            fault: None,
            stepped_s: 0,
            refusals: 0,
            set_s: 0,
            turn: 0,
            tally: Tally::default(),
            notes,
        }
    }

    fn note(&self, what: impl FnOnce() -> String) {
        if let Some(notes) = &self.notes {
            let at = self.machine.world.now();
            notes.lock().unwrap().push(format!("{:>3} {at} {}", self.turn, what()));
        }
    }

    /// Opens the ledger and registers the clients.
    fn found(&mut self) {
        self.note(|| format!("{:?}", self.odds));
        let register = |name: &str| Command::RegisterClient {
            client: client_id(name),
            metadata: Box::new(POLICIES[0].metadata()),
            secret: Some(digest(name)),
        };
        self.machine.commit(CLIENTS.map(register).to_vec()).unwrap();
        let expires_s = [1, 30, 100, 300].into_iter().cycle().take(12);
        let now = self.machine.world.now();
        self.assertions = expires_s.map(|s| (now.plus_seconds(s), false)).collect();
    }

    fn take_turn(&mut self) {
        self.pass_time();
        self.hear_answers();
        self.ask();
        if self.dice.chance(self.odds.fails_append) {
            self.fault = Some(self.dice.of_these(&FAULTS));
            self.machine.world.store.fail_next_append(self.fault.unwrap());
        }
        match self.dice.below(8) {
            0 => self.flush_counts(),
            1 => {} // The writer gets no time.
            _ => self.commit_some(),
        }
        if self.dice.chance(self.odds.keeps_snapshot) {
            self.machine.keep_snapshot();
        }
        if self.dice.chance(self.odds.crashes) {
            self.note(|| "crash".to_owned());
            self.tally.crashes += 1;
            assert_eq!(self.restart(false), 0, "all that is durable was seen");
        } else if self.dice.chance(self.odds.stops) {
            self.stop_cleanly();
        }
        self.look();
        if self.turn.is_multiple_of(8) {
            self.look_at_everything();
        }
    }

    fn pass_time(&mut self) {
        let second = 1_000_000;
        let micros = match self.dice.below(100) {
            0..=39 => self.dice.between(0, second / 20),
            40..=79 => self.dice.between(second / 5, 3 * second),
            80..=91 => self.dice.between(5 * second, 40 * second),
            92..=95 => self.dice.of_these(&[29, 30, 31, 99, 100, 200]) * second,
            _ => self.dice.between(50 * second, 300 * second),
        };
        let clock = &self.machine.world.clock;
        clock.pass(Duration::from_micros(micros));
        if self.dice.chance(self.odds.steps_clock) {
            // An hour off, and some time later right again.
            let step_s = match self.stepped_s {
                0 => self.dice.of_these(&[-3600, -90, 90, 3600]),
                off => -off,
            };
            clock.step_s(step_s);
            self.stepped_s += step_s;
            self.set_s += step_s;
            self.tally.clock_steps += 1;
            self.note(|| format!("the clock steps by {step_s} s"));
        }
    }

    fn ask(&mut self) {
        for i in 0..self.sessions.len() {
            if !self.dice.chance(self.odds.acts) || 3 < self.sessions[i].waiting {
                continue;
            }
            for wish in self.sessions[i].act(&mut self.dice) {
                self.submit(Some(i), wish);
            }
        }
        if self.dice.chance(self.odds.steals) {
            let victim = self.dice.below(self.sessions.len());
            let copied = self.sessions[victim].held();
            self.loot.extend(copied.map(|(grant, held, host)| (grant, held, 1 - host)));
        }
        if self.dice.chance(self.odds.steals) && !self.loot.is_empty() {
            let (grant, generation, host) = self.loot[self.dice.below(self.loot.len())];
            let (foreign, widens) = (false, false);
            self.submit(None, Wish::Refresh { grant, generation, foreign, host, widens });
        }
        if self.dice.chance(self.odds.operates)
            && let Some(wish) = operate(&mut self.dice, &self.model)
        {
            let times = if matches!(wish, Wish::Prove { .. }) { 2 } else { 1 };
            (0..times).for_each(|_| self.submit(None, wish));
        }
    }

    fn submit(&mut self, session: Option<usize>, wish: Wish) {
        if self.odds.queue_max <= self.queue.len() {
            self.tally.turned_away += 1;
            return;
        }
        if let Some(i) = session {
            self.sessions[i].waiting += 1;
        }
        self.queue.push_back(Ticket { session, wish });
    }

    fn commit_some(&mut self) {
        let count = (1 + self.dice.below(self.odds.batch_max)).min(self.queue.len());
        let batch: Vec<Ticket> = self.queue.drain(..count).collect();
        self.commit(batch);
    }

    fn commit(&mut self, batch: Vec<Ticket>) {
        let at = self.machine.world.now();
        let before = self.fault.map(|_| (self.model.clone(), self.assertions.clone()));
        let first = batch.first().map(|first| first.wish);
        let opens = if let Some(Wish::Open { clean }) = first { Some(clean) } else { None };
        self.pause(at, opens);
        let (mut commands, mut expected) = (Vec::new(), Vec::new());
        for ticket in batch {
            let Some((command, outcome, made)) = self.compose(at, ticket.wish) else {
                self.forget(ticket);
                continue;
            };
            self.note(|| format!("{:?} -> {outcome:?}", ticket.wish));
            commands.push(command);
            expected.push((ticket, outcome, made));
        }
        self.tally.commands += commands.len() as u64;
        let Ok(answers) = self.machine.commit(commands) else {
            self.fail(before);
            return;
        };
        for (answer, (ticket, outcome, made)) in answers.into_iter().zip(expected) {
            assert_eq!(answer.outcome, outcome, "{:?}: the model and the ledger", ticket.wish);
            assert_eq!(answer.at, at, "one reading of the clock");
            self.refusals += u64::from(is_counted(ticket.wish, outcome));
            self.look_at_successor(ticket.wish, outcome);
            self.send(ticket, outcome, made);
        }
    }

    /// The command of a wish with what must come of it.
    fn compose(&mut self, at: Timestamp, wish: Wish) -> Option<(Command, Outcome, Made)> {
        let done = Ok(Granted::Done);
        let version = "0".to_owned();
        let other = |command| Some((command, done, Made::default()));
        match wish {
            Wish::Open { clean } => return other(Command::OpenLedger { version, clean }),
            Wish::Close => return other(Command::CloseLedger),
            Wish::ReadAudit => {
                let (what, parameters) = ("records".to_owned(), serde_json::Map::new());
                return other(Command::ReadAudit { what, parameters, about: About::default() });
            }
            Wish::Prove { assertion } => {
                let (expires_at, used) = &mut self.assertions[assertion];
                let command = Command::UseAssertion {
                    client: client_id(CLIENTS[0]),
                    digest: digest(&format!("j{assertion}")),
                    expires_at: *expires_at,
                    kept_max: 1000,
                };
                let is_over = expires_at.plus_seconds(60) <= at;
                let refused = is_over || std::mem::replace(used, true);
                let outcome = if refused { Err(Refusal::AssertionUsed) } else { done };
                return Some((command, outcome, Made::default()));
            }
            Wish::Redeem { .. }
            | Wish::Refresh { .. }
            | Wish::RevokeRefresh { .. }
            | Wish::RevokeGrant { .. }
            | Wish::BanGrant { .. }
            | Wish::Step(_) => {}
        }
        let step = wish.step(&self.model)?;
        let [grants, tokens, ..] = self.model.counts();
        let (command, outcome) = self.model.step(at, step)?;
        let [more_grants, more_tokens, ..] = self.model.counts();
        let made = Made {
            grant: (grants < more_grants).then_some(grants),
            token: (tokens < more_tokens).then_some(tokens),
        };
        Some((command, outcome, made))
    }

    /// The append failed: nobody hears anything, and whether it happened shows after the restart.
    fn fail(&mut self, before: Option<(Model, Assertions)>) {
        let fault = self.fault.take().expect("no append fails by itself");
        self.note(|| format!("the append failed: {fault:?}"));
        self.machine.has_stopped();
        if fault == Fault::Lost {
            (self.model, self.assertions) = before.expect("kept where a fault is on");
            self.tally.lost_appends += 1;
        } else {
            self.tally.kept_appends += 1;
        }
        let unheard = self.restart(false);
        assert_eq!(0 < unheard, fault == Fault::Kept, "a batch is there as a whole or not");
    }

    fn pause(&mut self, at: Timestamp, opens: Option<bool>) {
        let (passed, told) = self.machine.paused_before(at, opens);
        // What is told of at one instant shares the time before it.
        match told.min(passed - self.model.paused_at(at).min(passed)) {
            0 => {}
            micros => self.model.pause(at, micros),
        }
    }

    fn flush_counts(&mut self) {
        let before = (self.model.clone(), self.assertions.clone());
        self.pause(self.machine.world.now(), None);
        if self.machine.flush_counts(false).is_err() {
            self.fail(Some(before));
        }
    }

    /// Everything volatile is gone: waiting requests, answers on their way, counts.
    fn restart(&mut self, clean: bool) -> u64 {
        (self.fault, self.refusals) = (None, 0);
        self.queue.clear();
        self.on_the_way.clear();
        self.sessions.iter_mut().for_each(|session| session.waiting = 0);
        let unheard = self.machine.restart();
        self.look_at_everything();
        self.commit(vec![Ticket { session: None, wish: Wish::Open { clean } }]);
        // A clock behind the newest record was set back before anyone looked.
        (self.machine.stepped_micros, self.set_s) = (0, 0);
        unheard
    }

    /// What waits is answered, refusals that were only counted get their records, then the last one.
    fn stop_cleanly(&mut self) {
        self.note(|| "clean stop".to_owned());
        let crashes = |tally: &Tally| (tally.lost_appends, tally.kept_appends);
        let before = crashes(&self.tally);
        let mut batch: Vec<Ticket> = self.queue.drain(..).collect();
        batch.push(Ticket { session: None, wish: Wish::Close });
        self.commit(batch);
        if crashes(&self.tally) != before {
            return; // It did not get that far.
        }
        assert_eq!(self.machine.counted, self.refusals, "every refusal is in a record");
        let set_micros = self.set_s * 1_000_000;
        assert_eq!(self.machine.stepped_micros, set_micros, "every step of the clock is too");
        let end = self.machine.records();
        self.machine.flush_counts(true).unwrap();
        assert_eq!(self.machine.records(), end, "nothing comes after the record of the stop");
        self.tally.clean_stops += 1;
        assert_eq!(self.restart(true), 0);
    }

    fn send(&mut self, ticket: Ticket, outcome: Outcome, made: Made) {
        if self.dice.chance(self.odds.loses_answer) {
            self.tally.lost_answers += 1;
            self.note(|| format!("lost: the answer to {:?}", ticket.wish));
            return self.forget(ticket);
        }
        let delay = self.dice.chance(self.odds.delays_answer);
        let turns = if delay { self.dice.between(1, 5) } else { 0 };
        self.on_the_way.push((self.turn + turns, ticket, outcome, made));
    }

    fn forget(&mut self, ticket: Ticket) {
        if let Some(i) = ticket.session {
            self.sessions[i].waiting = self.sessions[i].waiting.saturating_sub(1);
        }
    }

    fn hear_answers(&mut self) {
        let (due, later) =
            std::mem::take(&mut self.on_the_way).into_iter().partition(|a| a.0 <= self.turn);
        self.on_the_way = later;
        for (_, ticket, outcome, made) in due {
            self.forget(ticket);
            if let Some(i) = ticket.session {
                self.sessions[i].hear(ticket.wish, outcome, made);
            }
            if outcome.is_ok() {
                self.remember_dead(ticket.wish);
            }
        }
    }
}

/// Whether the refusal is one that is counted.
fn is_counted(wish: Wish, outcome: Outcome) -> bool {
    matches!(outcome, Err(Refusal::Refresh(_) | Refusal::Code(_)))
        || matches!(wish, Wish::Step(Step::FailAuthentication { .. }))
}
