//! The ledger under simulation: the real writer over a store that fails and survives, and beside
//! it a reader who folds only what is durable, record by record, and judges it.

use token_ledger::clock::Clock;
use token_ledger::domain::command::Command;
use token_ledger::domain::event::Event;
use token_ledger::domain::record::Record;
use token_ledger::domain::snapshot::Restoring;
use token_ledger::domain::state::State;
use token_ledger::ledger::clock_watch::{ClockStep, ClockWatch, Reading};
use token_ledger::ledger::replay::{LogError, verify_next};
use token_ledger::ledger::writer::Answer;
use token_ledger::log::memory::Fault;
use token_ledger::log::store::records_from;
use token_ledger::types::digest::LeafHash;
use token_ledger::types::id::Seq;
use token_ledger::types::time::Timestamp;

use crate::merkle::mth;
use crate::support::auditor::Auditor;
use crate::support::world::{CLOCK_STEP_MS, World, check_lists};

pub(crate) struct Machine {
    pub(crate) world: World,
    /// The fold of what is durable, made from the bytes in the store and nothing else.
    durable: State,
    auditor: Auditor,
    /// The leaf hash of every durable record.
    leaves: Vec<LeafHash>,
    newest: Option<Record>,
    snapshot: Option<Vec<(u8, Vec<u8>)>>,
    retries: u64,
    reuses: u64,
    /// Refusals by their records since the last start.
    pub(crate) counted: u64,
    /// How far the wall clock was set since the last start, by the records.
    pub(crate) stepped_micros: i64,
    /// What the writer will notice of steps.
    watch: ClockWatch,
    /// The time of the newest record before the newest instant, while all records of that instant only
    /// tell that nobody was answered.
    quiet_since: Option<Timestamp>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let mut new = Self {
            world: World::new(),
            durable: State::default(),
            auditor: Auditor::default(),
            leaves: Vec::new(),
            newest: None,
            snapshot: None,
            retries: 0,
            reuses: 0,
            counted: 0,
            stepped_micros: 0,
            watch: ClockWatch::new(CLOCK_STEP_MS),
            quiet_since: None,
        };
        new.catch_up();
        new
    }

    pub(crate) fn commit(&mut self, commands: Vec<Command>) -> Result<Vec<Answer>, LogError> {
        let answers = self.world.try_together(commands)?;
        self.catch_up();
        for answer in &answers {
            // Acknowledged is durable: the record is in the store before anyone hears of it.
            assert!(answer.seq.is_none_or(|seq| (seq.0 as usize) < self.leaves.len()));
        }
        Ok(answers)
    }

    /// For how many microseconds at most nobody was answered before the batch that is judged at `at`, and
    /// what it will say first of them: that the ledger was opened, or that the clock was put forward.
    pub(crate) fn paused_before(&mut self, at: Timestamp, opens: Option<bool>) -> (u64, u64) {
        let Some(head) = self.durable.head() else { return (0, 0) };
        let clock = &self.world.clock;
        let reading = Reading { now: clock.now(), uptime: clock.uptime() };
        let since = if head.at < at { head.at } else { self.quiet_since.unwrap_or(at) };
        let passed = at.micros() - since.micros();
        // The first look of a start comes after its record, which is of the same instant.
        let newest = if opens.is_some() { at } else { head.at };
        let step = self.watch.step(reading, Some(newest), false);
        let forward = |step: ClockStep| step.to.micros().saturating_sub(step.from.micros());
        let told = match opens {
            Some(true) => u64::MAX,
            // It may have served for long before the crash.
            Some(false) => 600_000_000,
            None => step.map_or(0, forward),
        };
        (passed, told)
    }

    pub(crate) fn flush_counts(&mut self, closes: bool) -> Result<(), LogError> {
        self.world.try_tick(closes)?;
        self.catch_up();
        Ok(())
    }

    /// After a failed append nothing of it may be seen, and nothing more is written.
    pub(crate) fn has_stopped(&mut self) {
        assert_eq!(self.world.state.read().next_seq(), self.durable.next_seq(), "seen too early");
        self.is_what_is_durable();
        assert!(self.world.try_together(Vec::new()).is_err(), "a disk is not tried again");
    }

    /// Keeps a snapshot of what is durable now.
    pub(crate) fn keep_snapshot(&mut self) {
        self.snapshot = Some(self.durable.sections().collect());
    }

    /// Loses all but the store and the snapshot, and folds them anew. Answers how many records nobody had heard of.
    pub(crate) fn restart(&mut self) -> u64 {
        let known = self.durable.next_seq();
        self.world = match self.snapshot.take() {
            Some(sections) => {
                let mut restoring = Restoring::default();
                for (kind, bytes) in &sections {
                    restoring.take(*kind, bytes).expect("a snapshot is read again");
                }
                self.world.reopened_onto(restoring.finish().expect("it is whole"))
            }
            None => self.world.reopened(),
        };
        self.watch = ClockWatch::new(CLOCK_STEP_MS);
        assert!(known <= self.world.end(), "an acknowledged record is missing");
        let unheard = self.world.end().0 - known.0;
        self.catch_up();
        self.counted = 0;
        unheard
    }

    /// Reads what became durable, checks it against all before it, and looks at whom it is about.
    fn catch_up(&mut self) {
        let from = self.durable.next_seq();
        let mut fresh = Vec::new();
        for block in records_from(self.world.store.as_ref(), from) {
            let block = block.expect("memory is read");
            fresh.extend(block.iter().filter(|(seq, _)| from <= *seq).map(|(_, b)| b.to_vec()));
        }
        for bytes in &fresh {
            let next = verify_next(&self.durable, bytes).expect("the log goes on");
            self.durable.apply(&next.record, next.leaf);
            self.leaves.push(next.leaf);
            self.read(next.record, bytes);
        }
        let live = self.world.state.read();
        let heads = (live.head(), self.durable.head());
        assert_eq!(heads.0, heads.1, "what is visible is what is durable");
        drop(live);
        self.compare_touched(from);
    }

    fn read(&mut self, record: Record, bytes: &[u8]) {
        assert_eq!(record.encode().expect("it was read"), bytes, "a record has one form");
        if let Some(before) = &self.newest {
            assert!(before.at <= record.at, "time goes back");
            assert!(before.request != record.request || before.at == record.at, "one instant");
        }
        if let Event::RefreshRefused(data) = &record.event {
            self.counted += data.count;
        } else if let Event::CodeRefused(data) = &record.event {
            self.counted += data.count;
        } else if let Event::ClientAuthenticationFailed(data) = &record.event {
            self.counted += data.count;
        }
        if let Event::ClockStepped(data) = &record.event {
            let micros = |at: Timestamp| i64::try_from(at.micros()).unwrap();
            self.stepped_micros += micros(data.to) - micros(data.from);
        }
        self.retries += u64::from(matches!(record.event, Event::RefreshTokenRetried(_)));
        self.reuses += u64::from(matches!(record.event, Event::RefreshTokenReused(_)));
        self.auditor.read(&record);
        let since = match &self.newest {
            Some(before) if before.at < record.at => Some(before.at),
            Some(_) => self.quiet_since,
            None => None,
        };
        let is_quiet = matches!(
            record.event,
            Event::ClockStepped(_) | Event::LedgerOpened(_) | Event::LedgerStalled(_)
        );
        self.quiet_since = since.filter(|_| is_quiet);
        self.newest = Some(record);
    }

    /// Whoever has a new record looks the same to everyone and to who folds the store.
    fn compare_touched(&self, from: Seq) {
        let live = self.world.state.read();
        for grant in live.grants().filter(|grant| from <= grant.head) {
            assert_eq!(Some(grant), self.durable.grant(&grant.id));
        }
        for client in live.clients().into_iter().filter(|client| from <= client.head) {
            let known = self.durable.client(&client.id).expect("a client has a record");
            let of = |c: &token_ledger::domain::party::Client| {
                (c.metadata.clone(), c.disabled, c.ban, c.own_grant, c.head)
            };
            assert_eq!(of(client), of(known));
        }
    }

    /// All of the live projection against all of the fold.
    pub(crate) fn is_what_is_durable(&self) {
        let live = self.world.state.read();
        assert_eq!(
            live.canonical(),
            self.durable.canonical(),
            "the live fold is that of the store"
        );
    }

    /// Everything that must hold at any moment.
    pub(crate) fn check(&self) {
        self.is_what_is_durable();
        let live = self.world.state.read();
        check_lists(&live);
        self.auditor.compare(&live, self.world.now());
    }

    /// The tree over the records, grown leaf by leaf, has the root that RFC 6962 section 2.1 defines.
    pub(crate) fn check_root(&self) {
        let grown = self.world.tree.head();
        assert_eq!(grown.size, self.records(), "the tree is over every record");
        assert_eq!(grown.root, mth(&self.leaves), "the root of {} records", self.records());
    }

    /// How many retries there were, and how many reuses.
    pub(crate) fn kinds(&self) -> (u64, u64) {
        (self.retries, self.reuses)
    }

    pub(crate) fn head(&self) -> LeafHash {
        *self.leaves.last().expect("a ledger has a first record")
    }

    pub(crate) fn records(&self) -> u64 {
        self.leaves.len() as u64
    }
}

/// What becomes of the batch whose append fails.
pub(crate) const FAULTS: [Fault; 2] = [Fault::Lost, Fault::Kept];
