//! The constructors that the tests share. A changed constructor breaks one file here.

pub(crate) mod server;
pub(crate) mod wire;
pub(crate) mod frail;
