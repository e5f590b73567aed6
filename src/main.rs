//! The `token-ledger` binary.
fn main() {}
