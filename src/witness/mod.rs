//! Witnesses (C2SP tlog-witness v1.0.0): one that cosigns the checkpoints of logs which only grow.
//! It never cosigns two heads of one size, nor a smaller head than one before, and never answers
//! before it has made sure that it will remember.

pub mod directory;
pub mod judge;
pub mod serve;
