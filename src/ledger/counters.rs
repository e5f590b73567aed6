//! What the writer counts; the metrics show it.

use std::sync::atomic::AtomicU64;

/// What the writer did, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Batches made durable.
    pub batches: AtomicU64,
    /// Commands answered.
    pub commands: AtomicU64,
    /// Bytes of records made durable.
    pub record_bytes: AtomicU64,
    /// Commands turned away because the queue was full.
    pub overloaded: AtomicU64,
}
