//! The writer, and how the rest of the program reaches it. One thread decides and appends;
//! everything else reads.

pub mod submit_error;
pub mod postbox;
pub mod handle;
pub mod tree;
pub mod checkpoints;
pub mod unsigned;
pub mod notary;
pub mod lost_fence;
pub mod writer;
pub mod coalesce;
pub mod clock_watch;
pub mod counters;
pub mod replay;
mod read_ahead;
pub mod snapshot;
pub mod vault;
pub mod vault_files;
mod fold;
pub mod administrator;
pub mod open;
