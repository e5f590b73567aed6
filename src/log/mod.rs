//! The log: records as bytes, framed, durable and in order; their Merkle tree, and what is signed
//! over it. Nothing here knows what a record means.

pub mod leaf;
pub mod block;
pub mod store;
pub mod side_table;
pub mod memory;
pub mod sled;
mod journal;
pub mod journaled;
pub mod file;
pub mod directory;
pub mod unfinished;
pub mod vaults;
pub mod snapshots;
pub mod rescue;
pub mod outline;
pub mod room;
pub mod reached;
pub mod tree;
pub mod proof;
pub mod tile;
pub mod tile_hashes;
pub mod bundle;
mod lines;
pub mod checkpoint;
pub mod fence;
pub mod receipt;
pub mod witness;
