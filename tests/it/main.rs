//! The one test binary: a file per concern.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod config;
mod directory;
mod support;
mod stories;
mod properties;
mod crash;
mod tamper;
mod recordings;
mod evidence_parsers;
mod guard;
mod merkle;
mod rows;
mod store_contract;
mod vectors;
