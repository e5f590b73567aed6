//! What the ledger's words mean: who may hold tokens, and what follows from a command.
//! Nothing here does IO, reads a clock or draws randomness.

pub mod client;
