//! The constructors that the tests share. A changed constructor breaks one file here.

pub(crate) mod names;
pub(crate) mod world;
pub(crate) mod auditor;
pub(crate) mod script;
pub(crate) mod render;
pub(crate) mod golden;
pub(crate) mod policies;
pub(crate) mod model;
pub(crate) mod simulation;
pub(crate) mod recorded;
pub(crate) mod samples;
pub(crate) mod server;
pub(crate) mod waits;
pub(crate) mod wire;
pub(crate) mod frail;
pub(crate) mod process;
pub(crate) mod notary;
pub(crate) mod disk;
pub(crate) mod snapshots;
