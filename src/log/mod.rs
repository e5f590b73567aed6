//! The log: records as bytes, their Merkle tree, and what is signed over it. It knows no meaning.

pub mod leaf;
pub mod tree;
pub mod proof;
pub mod tile;
pub mod tile_hashes;
pub mod bundle;
mod lines;
pub mod checkpoint;
pub mod receipt;
pub mod witness;
pub mod block;
pub mod store;
pub mod memory;
pub mod sled;
pub mod file;
pub mod directory;
pub mod vaults;
pub mod rescue;
