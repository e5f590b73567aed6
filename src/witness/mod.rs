//! Witnesses (C2SP tlog-witness v1.0.0): one that cosigns the checkpoints of logs which only grow,
//! and a ledger's dealings with such witnesses. A witness never cosigns two heads of one size, nor
//! a smaller head than one before, and never answers before it has made sure to remember.

pub mod directory;
pub mod judge;
pub mod serve;
pub mod ask;
pub mod submit;
