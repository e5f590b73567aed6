//! The one test binary: a file per concern.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod architecture;
mod config;
mod demo;
mod directory;
mod support;
mod stories;
mod cli;
mod cli_answers;
mod properties;
mod crash;
mod tamper;
mod recordings;
mod evidence_parsers;
mod guard;
mod kill;
mod merkle;
mod readme;
mod rows;
mod store_contract;
mod vectors;
