//! The one test binary: a file per concern.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod cli;
mod cli_answers;
mod evidence_parsers;
mod merkle;
mod vectors;
