//! Why the ledger has no answer to a command.

/// Why a command has no answer. Whether it took effect is not known, but most often it did not: what is
/// for its answer alone is not begun once nobody waits for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full: try again in a moment.
    #[error("the ledger has more to do than it can; try again in a moment")]
    Overloaded,
    /// The writer stopped, because a write failed or the process is stopping.
    #[error("the ledger has stopped writing; an operator must look at it")]
    Stopped,
    /// The answer took longer than the configured time.
    #[error("the ledger did not answer in time; try again in a moment")]
    TimedOut,
    /// The disk is nearly full: nothing happened.
    #[error("the disk of the ledger is nearly full: make room on it, and writing goes on")]
    NoRoom,
}
