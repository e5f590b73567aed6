//! The one test binary: a file per concern.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod store_contract;
mod rows;
mod directory;
