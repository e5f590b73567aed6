//! Checking a ledger or an export offline, record by record. Reads only.

use std::io::BufRead;

use crate::domain::record::RECORD_BYTES_MAX;
use crate::domain::state::{Head, State};
use crate::ledger::replay::{LogError, verify_next};
use crate::types::id::Seq;

/// What was found to be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// How many records there are.
    pub records: u64,
    /// The last one; none in an empty log.
    pub head: Option<Head>,
}

/// Why an export is not whole.
#[derive(Debug, thiserror::Error)]
pub enum ExportFault {
    /// It cannot be read.
    #[error("the export cannot be read after record {after}: {source}")]
    Unreadable {
        /// How many records came before.
        after: u64,
        /// What the system says.
        source: std::io::Error,
    },
    /// A line is longer than a record can be.
    #[error("line {line} is longer than a record can be (16384 bytes)")]
    TooLong {
        /// Which line, from 1.
        line: u64,
    },
    /// The last line was cut.
    #[error("the last line, record {seq}, has no end: the export was cut off")]
    Cut {
        /// Which record.
        seq: Seq,
    },
    /// A record is not what it must be.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Checks an export: one record a line, from the first one. Says nothing about what came after its
/// last record.
///
/// # Errors
/// [`ExportFault`] naming the first record that is wrong.
pub fn verify_export(
    mut export: impl BufRead,
    mut progress: impl FnMut(Seq),
) -> Result<(Whole, State), ExportFault> {
    let mut state = State::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let after = state.next_seq();
        let unreadable = |source| ExportFault::Unreadable { after: after.0, source };
        let bound = RECORD_BYTES_MAX as u64 + 1;
        let mut bounded = std::io::Read::take(&mut export, bound + 1);
        let read = bounded.read_until(b'\n', &mut line).map_err(unreadable)?;
        if read == 0 {
            return Ok((Whole { records: after.0, head: state.head() }, state));
        }
        if line.pop() != Some(b'\n') {
            return Err(match RECORD_BYTES_MAX < line.len() {
                true => ExportFault::TooLong { line: after.0 + 1 },
                false => ExportFault::Cut { seq: after },
            });
        }
        let next = verify_next(&state, &line)?;
        state.apply(&next.record, next.leaf);
        progress(after);
    }
}
