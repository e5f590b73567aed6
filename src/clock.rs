//! The only file that reads the time. Everything else is told what time it is.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::types::time::Timestamp;

/// Where the time comes from. It may step back; the writer clamps it to the head of the log.
pub trait Clock: Send + Sync {
    /// The wall clock, UTC.
    fn now(&self) -> Timestamp;

    /// How long since some instant of its own, by a clock that nobody sets: against it a step of
    /// the wall clock shows. On Linux it stands still while the machine is suspended.
    fn uptime(&self) -> Duration;
}

/// The system's wall clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // this is the one place
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    #[allow(clippy::disallowed_methods)] // this is the one place
    fn uptime(&self) -> Duration {
        static BEGAN: OnceLock<Instant> = OnceLock::new();
        BEGAN.get_or_init(Instant::now).elapsed()
    }
}

/// A clock that moves only when told to: for tests, simulations and examples.
#[derive(Debug)]
pub struct ManualClock {
    now_micros: AtomicU64,
    uptime_micros: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at `at`.
    pub fn at(at: Timestamp) -> Self {
        Self { now_micros: AtomicU64::new(at.micros()), uptime_micros: AtomicU64::new(0) }
    }

    /// Moves the clock to `at`: time passes, or the clock steps back.
    pub fn set(&self, at: Timestamp) {
        let before = self.now_micros.swap(at.micros(), Ordering::SeqCst);
        self.uptime_micros.fetch_add(at.micros().saturating_sub(before), Ordering::SeqCst);
    }

    /// Lets `seconds` pass.
    pub fn advance_s(&self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    /// Lets time pass, by both clocks.
    pub fn pass(&self, passed: Duration) {
        let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
        self.set(Timestamp::from_micros(self.now().micros().saturating_add(micros)));
    }

    /// Somebody sets the wall clock `seconds` forward, or back, and no time passes.
    pub fn step_s(&self, seconds: i64) {
        let micros = self.now().micros().saturating_add_signed(seconds.saturating_mul(1_000_000));
        self.now_micros.store(Timestamp::from_micros(micros).micros(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now_micros.load(Ordering::SeqCst))
    }

    fn uptime(&self) -> Duration {
        Duration::from_micros(self.uptime_micros.load(Ordering::SeqCst))
    }
}

/// Measures how long something took, for metrics and progress; never decides anything.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    #[allow(clippy::disallowed_methods)] // this is the one place
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}
