//! Records as bytes: framed, durable, in order, in a directory of their own.
//! Nothing here knows what a record means.

pub mod block;
pub mod store;
pub mod memory;
pub mod sled;
pub mod file;
pub mod directory;
pub mod vaults;
pub mod rescue;
