//! Token Ledger: an OAuth 2.0 token service whose truth is an append-only, tamper-evident log.
//!
//! Every grant, issuance, refresh, rotation, revocation and blacklist entry is an immutable record.
//! What is valid now is a fold of the log; what was valid then is the same fold, stopped earlier.
//!
//! # The map
//!
//! Read from the top: a module imports from those above it only, and `tests/it/architecture.rs`
//! keeps it so.
//!
//! | module | for | never |
//! |---|---|---|
//! | [`types`] | the words: ids, instants, digests, secrets, scopes | IO |
//! | [`clock`], [`entropy`] | the one file that reads the time, the one that asks for randomness | decide |
//! | [`crypto`] | tokens, digests, sealing, signatures, signed notes | a clock, a file |
//! | [`domain`] | commands in, facts out, and their fold: start with [`domain::grant`] | clock, randomness, IO, `async` |
//! | [`log`] | records as bytes: blocks, stores, the Merkle tree, the directory | know what a record means |
//! | [`ledger`] | the writer, replay, the vault; from a directory to a running ledger | repair silently |
//! | [`witness`] | cosigns the checkpoints of logs that only grow | forget what it cosigned |
//! | [`audit`] | trails, filtered records, what was valid then | change anything |
//! | [`evidence`] | the log as strangers check it: tiles in and out, verification, packages | change what it reads |
//! | [`backup`] | copies of a ledger, and back; what state a directory is in | trust a copy unchecked |
//! | [`oauth`] | the protocol's syntax: forms, credentials, errors, metadata | rules, IO |
//! | [`edge`] | where bearer secrets stop: requests become commands with digests | know HTTP |
//! | [`http`] | two listeners: parse, hand on, render | rules, a clock |
//! | [`guard`] | middleware for resource servers; a client of any such service | know this service |
//! | [`config`], [`telemetry`], [`run`] | settings, log lines, and putting it all together | |
//! | [`cli`], [`demo`] | the binary's commands | |
//!
//! # The way of a refresh
//!
//! 1. [`http`] reads the form; [`oauth`] parses it; [`edge::authenticate`] finds out who asks.
//! 2. [`edge::token`] recognises the refresh token by its tag, derives the one successor it can ever
//!    have, signs the access token, and submits a [`domain::command::Command`] of digests and ids.
//! 3. The writer thread takes all that waits as one batch, reads the clock once, and lets
//!    [`domain::decide::decide`] judge each command over what the batch has done so far.
//! 4. The records are appended and synced: the commit point. Only then the projection shows them,
//!    and only then the waiters are answered.
//!
//! Reading the past is the lower half of the same picture: log, verify links, decode, apply, stopped
//! at an instant and narrowed to a trail.
//!
//! # Guarding an API of your own
//!
//! [`guard`] validates `at+jwt` offline by the published keys, or any token by introspection; its
//! module documentation holds a complete example.

pub mod types;
pub mod clock;
pub mod entropy;
pub mod crypto;
pub mod domain;
pub mod log;
pub mod ledger;
pub mod witness;
pub mod audit;
pub mod evidence;
pub mod backup;
pub mod oauth;
pub mod edge;
pub mod http;
pub mod guard;
pub mod config;
pub mod telemetry;
pub mod run;
pub mod demo;
pub mod cli;
