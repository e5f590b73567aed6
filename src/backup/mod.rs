//! Copies of a ledger, and back: the vault and the keys apart from the log, so that what is erased
//! goes from the copies too; a directory made anew from them; and what state a directory is in.
//! Never trusts a copy that it has not checked, and never calls half a copy one.

pub mod vault_copy;
pub mod restore;
pub mod follow;
pub mod findings;
pub mod doctor;
mod unclean;
