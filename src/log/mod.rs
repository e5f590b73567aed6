//! The log: records as bytes, their Merkle tree, and what is signed over it. It knows no meaning.

pub mod leaf;
