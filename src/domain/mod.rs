//! The rules: commands in, facts out, and the fold of the facts. Pure: no clock, no randomness,
//! no IO, no `async`. Start with `grant.rs`.

pub mod grant;
mod excuse;
pub mod pauses;
pub mod command;
pub mod event;
pub mod refusal;
pub mod decide;
pub mod issue;
mod blacklist;
pub mod party;
pub mod terms;
pub mod client;
pub mod record;
mod pen;
mod scan;
pub mod state;
pub mod tokens;
pub mod assertions;
pub mod lookup;
pub mod snapshot;
pub mod keys;
pub mod checkpoint_keys;
pub mod view;
pub mod judge;
mod retrace;
mod table;
