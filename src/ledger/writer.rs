//! The one thread that decides and appends. Durable before visible, visible before acknowledged;
//! after a failed append it stops, and only a restart (a replay) goes on. Never retries a disk.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{RwLock, RwLockReadGuard};

use crate::clock::Clock;
use crate::domain::command::{Asked, Command};
use crate::domain::decide::{Decision, Fact, Granted, decide};
use crate::domain::event::{ClockStepped, Event, LedgerStalled};
use crate::domain::record::{About, Actor, Record};
use crate::domain::refusal::Refusal;
use crate::domain::state::{Head, State};
use crate::domain::view::Overlay;
use crate::ledger::clock_watch::{ClockStep, ClockWatch, JudgingTime, Reading};
use crate::ledger::coalesce::{Caused, Coalescer};
use crate::ledger::replay::{LogError, Touched, touch};
use crate::ledger::tree::Tree;
use crate::log::leaf::leaf_hash;
use crate::log::store::{BATCH_BYTES_MAX, Store, StoreError};
use crate::types::digest::LeafHash;
use crate::types::id::{RequestId, Seq};
use crate::types::time::Timestamp;

/// From which wait for the disk on it is recorded: what is shorter no client notices.
const STALL: Duration = Duration::from_secs(1);

/// From how many bytes of records on no further command joins a batch: one that a crash cuts in two
/// would leave half of a command. The records of one command are far shorter than the other half.
const FULL_BYTES: usize = BATCH_BYTES_MAX / 2;

/// What the ledger answers to a command, once it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// What was granted, or which rule said no.
    pub outcome: Result<Granted, Refusal>,
    /// The last record of the command; none where nothing happened.
    pub seq: Option<Seq>,
    /// The time of the command.
    pub at: Timestamp,
}

/// Decides and appends; see the module.
pub struct Writer {
    store: Arc<dyn Store>,
    tree: Arc<Tree>,
    state: Arc<RwLock<State>>,
    clock: Arc<dyn Clock>,
    overlay: Overlay,
    coalescer: Coalescer,
    batch: Batch,
    /// An append failed: nothing is decided any more, for what is on the disk is not known.
    has_failed: bool,
    watch: ClockWatch,
    judging: Arc<JudgingTime>,
    /// Both clocks, as they were read for this batch.
    reading: Reading,
    /// What waits for the disk are measured by.
    waits: Arc<dyn Clock>,
    /// How long the disk made all wait with the batch before, where that was long and has no record.
    stalled: Option<Duration>,
    /// Bytes of records that the last call made durable.
    committed_bytes: u64,
}

/// The records of one batch: durable together.
#[derive(Default)]
struct Batch {
    bytes: Vec<Vec<u8>>,
    /// How many bytes those are together.
    length: usize,
    records: Vec<(Record, LeafHash)>,
}

/// A batch under way, over the projection as it was before.
struct Part<'a> {
    base: RwLockReadGuard<'a, State>,
    at: Timestamp,
}

impl Writer {
    /// A writer that goes on where `state`, the fold of all of `store`, and `tree`, the tree over
    /// it, end.
    pub fn new(
        store: Arc<dyn Store>,
        tree: Arc<Tree>,
        state: Arc<RwLock<State>>,
        clock: Arc<dyn Clock>,
        coalesce_keys_max: usize,
    ) -> Self {
        let reading = Reading { now: clock.now(), uptime: clock.uptime() };
        let waits = Arc::clone(&clock);
        Self {
            store,
            tree,
            state,
            clock,
            overlay: Overlay::default(),
            coalescer: Coalescer::new(coalesce_keys_max),
            batch: Batch::default(),
            has_failed: false,
            watch: ClockWatch::new(u64::MAX),
            judging: Arc::default(),
            reading,
            waits,
            stalled: None,
            committed_bytes: 0,
        }
    }

    /// Measures waits for the disk, which takes its own time, by another clock than that of the log.
    pub fn measure_waits_by(&mut self, waits: Arc<dyn Clock>) {
        self.waits = waits;
    }

    /// The time that commands are judged by, for those who answer without a command.
    pub fn judging_time(&self) -> Arc<JudgingTime> {
        Arc::clone(&self.judging)
    }

    /// Records steps of the wall clock, forward or back, of this many milliseconds and more.
    pub fn recording_steps(mut self, clock_step_ms_min: u64) -> Self {
        self.watch = ClockWatch::new(clock_step_ms_min);
        self
    }

    /// Decides the commands in turn, makes all that follows durable and visible, and answers each: in
    /// one batch, or in several where one would be too long to be stored as a whole.
    ///
    /// # Errors
    /// [`LogError`] when an append failed: nothing was acknowledged, it is not known what is on
    /// the disk, and the caller must stop.
    pub fn commit<'a>(
        &mut self,
        commands: impl Iterator<Item = &'a Asked> + Clone,
    ) -> Result<Vec<Answer>, LogError> {
        let state = Arc::clone(&self.state);
        self.committed_bytes = 0;
        let mut part = self.begin(&state)?;
        touch(&part.base, commands.clone().map(refreshed));
        let mut commands = commands.peekable();
        // The record of a start is the first one after that of a stop.
        if !commands.peek().is_some_and(|first| opens(first)) {
            self.record_stall(&part.base, part.at);
            self.record_step(&part.base, part.at, false);
        }
        // Before the commands, so that it does not matter how they are cut into batches.
        part = self.record_counts(&state, part, false)?;
        let mut answers = Vec::new();
        for asked in commands {
            if matches!(asked.command, Command::CloseLedger) {
                // Nothing comes after the record of a clean stop.
                self.record_step(&part.base, part.at, true);
                part = self.record_counts(&state, part, true)?;
            }
            answers.push(self.take(&part.base, part.at, asked));
            part = self.cut_if_full(&state, part)?;
        }
        drop(part);
        self.finish()?;
        Ok(answers)
    }

    /// Records the refusals that were only counted so far.
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub fn flush_counts(&mut self, closes: bool) -> Result<(), LogError> {
        let state = Arc::clone(&self.state);
        self.committed_bytes = 0;
        let part = self.begin(&state)?;
        if !closes {
            // The record of a clean stop is the last one: the clock was looked at before it.
            self.record_stall(&part.base, part.at);
            self.record_step(&part.base, part.at, false);
        }
        drop(self.record_counts(&state, part, closes)?);
        self.finish()
    }

    /// Whether a wait with this batch has a record: none with those that only tell of waits and of steps,
    /// or a slow disk would be told of for ever, and nothing comes after the record of a stop.
    fn tells_waits(&self) -> bool {
        let events = || self.batch.records.iter().map(|(record, _)| &record.event);
        let is_of_itself =
            |event: &Event| matches!(event, Event::LedgerStalled(_) | Event::ClockStepped(_));
        let has_closed = events().next_back().is_some_and(|e| matches!(e, Event::LedgerClosed(_)));
        !has_closed && !events().all(is_of_itself)
    }

    /// The bytes of records that the last call made durable.
    pub fn committed_bytes(&self) -> u64 {
        self.committed_bytes
    }

    /// Whether refusals were counted, or a step of the clock or a wait for the disk was noticed, that
    /// have no record yet.
    pub fn has_counts(&self) -> bool {
        self.coalescer.has_waiting() || self.watch.has_waiting() || self.stalled.is_some()
    }

    /// One reading of the clock per batch; the log's time never goes back.
    fn begin<'a>(&mut self, state: &'a RwLock<State>) -> Result<Part<'a>, LogError> {
        if self.has_failed {
            return Err(StoreError::Poisoned.into());
        }
        let base = state.read();
        self.overlay.restart(&base);
        self.batch.bytes.clear();
        self.batch.length = 0;
        self.batch.records.clear();
        let (now, uptime) = (self.clock.now(), self.clock.uptime());
        self.reading = Reading { now, uptime };
        let at = self.judging.at(now, base.head().map(|head| head.at));
        Ok(Part { base, at })
    }

    /// Makes a batch durable that is full, and begins the next one.
    fn cut_if_full<'a>(
        &mut self,
        state: &'a RwLock<State>,
        part: Part<'a>,
    ) -> Result<Part<'a>, LogError> {
        if self.batch.length < FULL_BYTES {
            return Ok(part);
        }
        drop(part);
        self.finish()?;
        let next = self.begin(state)?;
        self.record_stall(&next.base, next.at);
        Ok(next)
    }

    /// The log's time does not step, so the record is what tells of it.
    fn record_step(&mut self, base: &State, at: Timestamp, closes: bool) {
        let Some(head) = self.head(base) else { return };
        let Some(step) = self.watch.step(self.reading, Some(head.at), closes) else { return };
        let ClockStep { from, to } = step;
        tracing::warn!(%from, %to, "the wall clock stepped: look at it");
        let fact = Fact { about: About::default(), event: ClockStepped { from, to }.into() };
        self.record(base, at, unasked(fact, &head));
    }

    /// How long the disk made all wait with the batch before, where it was long: clients that were not
    /// answered are not to suffer for it.
    fn record_stall(&mut self, base: &State, at: Timestamp) {
        let (Some(stalled), Some(head)) = (self.stalled.take(), self.head(base)) else { return };
        // In the log's time, which a clock that was set back meanwhile holds up.
        let since = Duration::from_micros(at.micros().saturating_sub(head.at.micros()));
        let for_ms = u64::try_from(stalled.min(since).as_millis()).unwrap_or(u64::MAX);
        if for_ms == 0 {
            return;
        }
        tracing::warn!(for_ms, "the disk made everybody wait: look at it");
        let fact = Fact { about: About::default(), event: LedgerStalled { for_ms }.into() };
        self.record(base, at, unasked(fact, &head));
    }

    fn record_counts<'a>(
        &mut self,
        state: &'a RwLock<State>,
        mut part: Part<'a>,
        closes: bool,
    ) -> Result<Part<'a>, LogError> {
        for caused in self.coalescer.due(self.reading.uptime, closes) {
            self.record(&part.base, part.at, caused);
            part = self.cut_if_full(state, part)?;
        }
        Ok(part)
    }

    fn take(&mut self, base: &State, at: Timestamp, asked: &Asked) -> Answer {
        let before = self.batch.records.len();
        let Decision { facts, mut outcome } = decide(&self.overlay.view(base), at, asked);
        let mut seq = None;
        for fact in facts {
            let (request, actor) = (asked.request, asked.actor.clone());
            let caused = Caused { fact, request, actor, origin: asked.origin.clone() };
            let Some(caused) = self.coalescer.offer(self.reading.uptime, caused) else { continue };
            match self.record(base, at, caused) {
                Some(recorded) => seq = Some(recorded),
                None => {
                    // All records of a command or none.
                    self.take_back(base, before);
                    (seq, outcome) = (None, Err(Refusal::TooLarge));
                    break;
                }
            }
        }
        if opens(asked) {
            self.record_step(base, at, false);
        }
        Answer { outcome, seq, at }
    }

    /// Leaves the first `kept` records of this batch, as if the rest had never been decided.
    fn take_back(&mut self, base: &State, kept: usize) {
        self.batch.bytes.truncate(kept);
        self.batch.length = self.batch.bytes.iter().map(Vec::len).sum();
        self.batch.records.truncate(kept);
        self.overlay.restart(base);
        for (record, leaf) in &self.batch.records {
            self.overlay.adopt(base, &record.about);
            self.overlay.apply(base, record, *leaf);
        }
    }

    /// Makes a fact a record of this batch, visible to the commands after it.
    fn record(&mut self, base: &State, at: Timestamp, caused: Caused) -> Option<Seq> {
        let head = self.head(base);
        let about = caused.fact.about;
        let record = Record {
            seq: head.map_or(Seq(0), |head| head.seq.next()),
            at,
            back: self.overlay.adopt(base, &about),
            about,
            request: caused.request,
            actor: caused.actor,
            origin: caused.origin,
            prev: head.map(|head| head.leaf),
            event: caused.fact.event,
        };
        let bytes = record.encode().ok()?;
        let (seq, leaf) = (record.seq, leaf_hash(&bytes));
        self.overlay.apply(base, &record, leaf);
        self.batch.length += bytes.len();
        self.batch.bytes.push(bytes);
        self.batch.records.push((record, leaf));
        Some(seq)
    }

    fn head(&self, base: &State) -> Option<Head> {
        match self.batch.records.last() {
            Some((record, leaf)) => Some(Head { seq: record.seq, at: record.at, leaf: *leaf }),
            None => base.head(),
        }
    }

    /// The commit point: after `append` the batch is durable, after the loop it is visible. The tree
    /// grows in between: whoever sees a record can be told the root over it.
    fn finish(&mut self) -> Result<(), LogError> {
        let Some((first, _)) = self.batch.records.first() else { return Ok(()) };
        self.has_failed = true;
        let begun = self.waits.uptime();
        self.store.append(first.seq, &self.batch.bytes)?;
        let waited = self.waits.uptime().saturating_sub(begun);
        self.stalled = Some(waited).filter(|waited| STALL <= *waited && self.tells_waits());
        self.tree.grow(self.batch.records.iter().map(|(_, leaf)| *leaf))?;
        self.has_failed = false;
        self.committed_bytes += self.batch.length as u64;
        let mut state = self.state.write();
        for (record, leaf) in &self.batch.records {
            state.apply(record, *leaf);
        }
        Ok(())
    }
}

/// What nobody asked for: it is named after the record before, as no other one is.
fn unasked(fact: Fact, before: &Head) -> Caused {
    let [a, b, c, d, e, f, g, h, ..] = *before.leaf.as_bytes();
    let request = RequestId::from_bytes([a, b, c, d, e, f, g, h]);
    Caused { fact, request, actor: Actor::Ledger, origin: None }
}

fn opens(asked: &Asked) -> bool {
    matches!(asked.command, Command::OpenLedger { .. })
}

/// What a refresh will look up.
fn refreshed(asked: &Asked) -> Touched {
    let Command::Refresh(refresh) = &asked.command else { return Touched::default() };
    let token = refresh.access.as_ref().ok().map(|draft| draft.digest.short());
    Touched { grant: Some(refresh.grant), subject: None, token }
}
