//! How the asynchronous side reaches the writer: a bounded queue in, one answer out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::sync::oneshot;

use crate::clock::{Clock, SystemClock};
use crate::domain::command::Asked;
use crate::domain::record::Actor;
use crate::domain::state::State;
use crate::ledger::clock_watch::JudgingTime;
use crate::ledger::counters::Counters;
use crate::ledger::postbox::{self, Waiter};
use crate::ledger::replay::LogError;
pub use crate::ledger::submit_error::SubmitError;
use crate::ledger::tree::Tree;
use crate::ledger::writer::{Answer, Writer};
use crate::log::reached::Reached;
use crate::log::room::Room;
use crate::log::store::Store;
use crate::types::time::Timestamp;

/// The bounds of queue and batch.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Commands that may wait.
    pub queue_commands_max: usize,
    /// Commands that become durable together.
    pub batch_commands_max: usize,
    /// Grants and clients whose refusals are counted together.
    pub coalesce_keys_max: usize,
    /// How long an answer may take, in milliseconds.
    pub submit_timeout_ms: u64,
    /// From which step of the wall clock on it is recorded, and warned of, in milliseconds.
    pub clock_step_warn_ms: u64,
    /// After how many records the next snapshot is made; 0 makes and reads none.
    pub snapshot_every_records: u64,
}

struct Pending {
    asked: Asked,
    waiter: Waiter,
}

impl Pending {
    /// Nobody waits for the answer that it is for, so it is not begun: a client that was told to ask
    /// again finds everything as it was.
    fn is_in_vain(&self) -> bool {
        self.waiter.is_gone() && self.asked.command.is_for_its_answer()
    }
}

#[allow(clippy::large_enum_variant)] // nearly all are commands: a box would cost each of them
enum Message {
    Command(Pending),
    Stop,
}

struct Shared {
    queue: Sender<Message>,
    /// The other end of the queue, for those who clear it once the writer has ended.
    left_over: Receiver<Message>,
    state: Arc<RwLock<State>>,
    store: Arc<dyn Store>,
    tree: Arc<Tree>,
    clock: Arc<dyn Clock>,
    judging: Arc<JudgingTime>,
    limits: Limits,
    stopped: AtomicBool,
    failure: Mutex<Option<LogError>>,
    counters: Counters,
    /// What must stay free on the disk.
    room: OnceLock<Room>,
    /// Where the newest durable record is noted.
    reached: OnceLock<Reached>,
    /// Told when the writer ends, whatever the reason.
    ended: tokio::sync::watch::Sender<bool>,
}

/// The ledger as everything but the writer sees it. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Ledger {
    /// Starts the writer on `store`, whose fold is `state` and whose tree is `tree`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        store: Arc<dyn Store>,
        tree: Arc<Tree>,
        state: State,
        clock: Arc<dyn Clock>,
        limits: Limits,
    ) -> std::io::Result<Self> {
        let (queue, commands) = bounded(limits.queue_commands_max);
        let state = Arc::new(RwLock::new(state));
        let mut writer = Writer::new(
            Arc::clone(&store),
            Arc::clone(&tree),
            Arc::clone(&state),
            Arc::clone(&clock),
            limits.coalesce_keys_max,
        )
        .recording_steps(limits.clock_step_warn_ms);
        writer.measure_waits_by(Arc::new(SystemClock));
        let shared = Arc::new(Shared {
            queue,
            left_over: commands.clone(),
            state,
            store,
            tree,
            clock,
            judging: writer.judging_time(),
            limits,
            stopped: AtomicBool::new(false),
            failure: Mutex::new(None),
            counters: Counters::default(),
            room: OnceLock::new(),
            reached: OnceLock::new(),
            ended: tokio::sync::watch::Sender::new(false),
        });
        let run = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("ledger-writer".to_owned())
            .spawn(move || run_writer(&run, writer, &commands))?;
        Ok(Self { shared, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// What is valid now. Hold it briefly: the writer waits for it.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.shared.state.read()
    }

    /// The log, for reading.
    pub fn store(&self) -> &dyn Store {
        self.shared.store.as_ref()
    }

    /// The Merkle tree over the log, for reading. It covers all that [`Ledger::state`] shows.
    pub fn tree(&self) -> &Arc<Tree> {
        &self.shared.tree
    }

    /// The time by which everything is judged: the wall clock, but never before the newest record or
    /// an answer that was given.
    pub fn now(&self) -> Timestamp {
        let newest = self.state().head().map(|head| head.at);
        self.shared.judging.at(self.shared.clock.now(), newest)
    }

    /// What the wall clock shows, which is before [`Ledger::now`] for as long as it was set back.
    pub fn wall_clock(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Asks for a command and waits until what follows from it is durable.
    ///
    /// # Errors
    /// [`SubmitError`]: nothing is known to have happened. The caller answers 503, and its client
    /// may ask again.
    pub async fn submit(&self, asked: Asked) -> Result<Answer, SubmitError> {
        let answer = self.enqueue(asked)?;
        let timeout = Duration::from_millis(self.shared.limits.submit_timeout_ms);
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) if self.has_stopped() => Err(SubmitError::Stopped),
            Ok(Err(_)) => Err(SubmitError::NoRoom),
            Err(_) => Err(SubmitError::TimedOut),
        }
    }

    /// Asks for a command whose answer nobody waits for; it is dropped where the queue is full.
    pub fn post(&self, asked: Asked) {
        let _ = self.enqueue(asked);
    }

    fn enqueue(&self, asked: Asked) -> Result<oneshot::Receiver<Answer>, SubmitError> {
        if self.has_stopped() {
            return Err(SubmitError::Stopped);
        }
        let (waiter, answer) = Waiter::here();
        match self.shared.queue.try_send(Message::Command(Pending { asked, waiter })) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                self.shared.counters.overloaded.fetch_add(1, Ordering::Relaxed);
                return Err(SubmitError::Overloaded);
            }
            Err(TrySendError::Disconnected(_)) => return Err(SubmitError::Stopped),
        }
        if self.has_stopped() {
            // The writer may have cleared the queue before this came in.
            self.shared.clear_queue();
        }
        Ok(answer)
    }

    /// Whether nothing is written any more.
    pub fn has_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::SeqCst)
    }

    /// From now on clients' commands are only taken while there is room. The ledger's own records,
    /// of its start and stop and its keys, may use what is held back.
    pub fn keep_free(&self, room: Room) {
        // Set once, at the start.
        let _ = self.shared.room.set(room);
    }

    /// From now on each batch, once durable, is noted there.
    pub fn note_in(&self, reached: Reached) {
        // Set once, at the start.
        let _ = self.shared.reached.set(reached);
    }

    /// Whether the disk has room for more records.
    pub fn has_room(&self) -> bool {
        self.shared.has_room()
    }

    /// Waits until the writer has ended.
    pub async fn ended(&self) {
        let mut ended = self.shared.ended.subscribe();
        // An error means that the sender is gone: ended all the more.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// What the writer did so far.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// How many commands wait.
    pub fn queued(&self) -> usize {
        self.shared.queue.len()
    }

    /// Stops the writer once it has answered what waits. Blocks; call it off the async threads.
    ///
    /// # Errors
    /// The [`LogError`] that stopped the writer before, if one did.
    pub fn stop(&self) -> Result<(), LogError> {
        // Where the writer has ended, the queue is clear, and this waits for nobody.
        let _ = self.shared.queue.send(Message::Stop);
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the writer panicked; what it had answered is durable");
        }
        match self.shared.failure.lock().take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }
}

impl Shared {
    fn has_room(&self) -> bool {
        self.room.get().is_none_or(Room::is_left)
    }

    fn note_reached(&self) {
        if let (Some(reached), Some(head)) = (self.reached.get(), self.state.read().head()) {
            reached.note(head.seq, head.leaf);
        }
    }

    /// Leaves the commands that may be carried out; who waits for another is told so.
    fn turn_away(&self, batch: &mut Vec<Pending>, is_short: &mut bool) {
        if self.has_room() {
            *is_short = false;
            return;
        }
        batch.retain(|pending| pending.asked.actor == Actor::Ledger);
        if !std::mem::replace(is_short, true) {
            tracing::error!(
                "the disk is nearly full: clients are answered 503 until there is room on it"
            );
        }
    }

    /// Drops what nobody will take any more, which answers each who waits with `Stopped`.
    fn clear_queue(&self) {
        while self.left_over.try_recv().is_ok() {}
    }
}

/// Marks the ledger stopped however the writer ends, a panic included.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        self.0.clear_queue();
        self.0.ended.send_replace(true);
    }
}

fn run_writer(shared: &Shared, mut writer: Writer, commands: &Receiver<Message>) {
    // Who waits in it after a failure is let go of once the ledger is marked stopped, and told so.
    let mut batch = Vec::with_capacity(shared.limits.batch_commands_max);
    let _ending = Ending(shared);
    if let Err(failure) = serve(shared, &mut writer, commands, &mut batch) {
        tracing::error!(
            error = %failure,
            "a write failed: nothing more is written. Look at disk and logs, then restart"
        );
        *shared.failure.lock() = Some(failure);
    }
}

fn serve(
    shared: &Shared,
    writer: &mut Writer,
    commands: &Receiver<Message>,
    batch: &mut Vec<Pending>,
) -> Result<(), LogError> {
    let mut is_short = false;
    loop {
        let mut stops = false;
        match next(writer, commands) {
            Next::Command(first) => batch.push(first),
            Next::Quiet => writer.flush_counts(false)?,
            Next::Stop => stops = true,
        }
        // What gathered while the last batch was made durable becomes the next one.
        while !stops && batch.len() < shared.limits.batch_commands_max {
            match commands.try_recv() {
                Ok(Message::Command(pending)) => batch.push(pending),
                Ok(Message::Stop) => stops = true,
                Err(_) => break,
            }
        }
        batch.retain(|pending| !pending.is_in_vain());
        shared.turn_away(batch, &mut is_short);
        if !batch.is_empty() {
            let answers = writer.commit(batch.iter().map(|pending| &pending.asked))?;
            shared.note_reached();
            shared.counters.batches.fetch_add(1, Ordering::Relaxed);
            shared.counters.record_bytes.fetch_add(writer.committed_bytes(), Ordering::Relaxed);
            shared.counters.commands.fetch_add(answers.len() as u64, Ordering::Relaxed);
            postbox::answer(batch.drain(..).map(|pending| pending.waiter).zip(answers));
        }
        if stops {
            writer.flush_counts(true)?;
            return Ok(shared.store.settle()?);
        }
    }
}

#[allow(clippy::large_enum_variant)] // nearly all are commands: a box would cost each of them
enum Next {
    Command(Pending),
    Quiet,
    Stop,
}

fn next(writer: &Writer, commands: &Receiver<Message>) -> Next {
    let message = if writer.has_counts() {
        match commands.recv_timeout(Duration::from_secs(1)) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => return Next::Quiet,
            Err(RecvTimeoutError::Disconnected) => return Next::Stop,
        }
    } else {
        match commands.recv() {
            Ok(message) => message,
            Err(_) => return Next::Stop,
        }
    };
    match message {
        Message::Command(pending) => Next::Command(pending),
        Message::Stop => Next::Stop,
    }
}
