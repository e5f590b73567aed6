//! The log as strangers check it: read from a directory of tiles, a live ledger or a data directory,
//! written out in the same layout, and judged from the first record to the last.
//! Never changes what it reads, and never takes a claim for a proof.

pub mod source;
pub mod directory;
pub mod url;
pub mod stored;
pub mod builder;
pub mod writer;
pub mod keys;
pub mod verifier;
pub mod feed;
pub mod package;
