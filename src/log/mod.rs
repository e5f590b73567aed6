//! Nothing here knows what a record means.

pub mod block;
pub mod store;
pub mod memory;
pub mod sled;
pub mod file;
