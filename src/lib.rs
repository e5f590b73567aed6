//! Token Ledger: an OAuth 2.0 token service whose truth is an append-only, tamper-evident log.

pub mod types;
pub mod clock;
pub mod entropy;
pub mod log;
