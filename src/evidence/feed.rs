//! Brings the records of an export, a source or a store to the verifier. Reading, decoding and
//! hashing go on in a thread of their own, ahead of the judgement by a bounded number of records.

use std::io::{BufRead, Read};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::builder::TileBuilder;
use super::source::{LogSource, SourceError, entries, is_damage};
use super::verifier::{Fault, Verifier, read};
use crate::domain::record::{NotARecord, RECORD_BYTES_MAX};
use crate::ledger::replay::Verified;
use crate::log::store::{Store, records_from};
use crate::log::tile::{TILE_WIDTH, TileId, TileKind};
use crate::types::digest::LeafHash;
use crate::types::id::Seq;

/// Records handed over at once.
const BATCH_RECORDS: usize = 512;
/// Batches that wait for their judgement.
const BATCHES_MAX: usize = 8;

/// Why a log is not shown to be whole.
#[derive(Debug, thiserror::Error)]
pub enum Unverified {
    /// It was read, and is not what it must be.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// It is not there as it should be, or cannot be read at all.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An export cannot be read.
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
    /// A tile is not what its records give.
    #[error("{name} does not hold the hashes of its records: it was changed")]
    Tile {
        /// Its path or address.
        name: String,
    },
}

impl Unverified {
    /// Whether the evidence was read and is wrong, and not only out of reach.
    pub fn is_fault(&self) -> bool {
        match self {
            Self::Fault(_) | Self::TooLong { .. } | Self::Cut { .. } | Self::Tile { .. } => true,
            Self::Unreadable { .. } => false,
            Self::Source(error) => match error {
                SourceError::File(_)
                | SourceError::Unreachable { .. }
                | SourceError::Refused { .. } => false,
                SourceError::Missing { .. }
                | SourceError::TooLong { .. }
                | SourceError::Hashes { .. }
                | SourceError::Narrow { .. }
                | SourceError::Bundle { .. }
                | SourceError::Note { .. } => true,
                SourceError::Log(error) => is_damage(error),
            },
        }
    }
}

type Batch = Vec<Result<Verified, NotARecord>>;

/// Where a reader puts records, in order.
struct Sink {
    batch: Batch,
    to: Sender<Batch>,
}

/// The judgement ended early: nothing more is wanted.
struct Enough;

impl Sink {
    fn put(&mut self, bytes: &[u8]) -> Result<Option<LeafHash>, Enough> {
        let next = read(bytes);
        let leaf = next.as_ref().ok().map(|next| next.leaf);
        self.batch.push(next);
        if BATCH_RECORDS <= self.batch.len() {
            self.flush()?;
        }
        Ok(leaf)
    }

    fn flush(&mut self) -> Result<(), Enough> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_RECORDS));
        self.to.send(batch).map_err(|_| Enough)
    }
}

/// Runs `reader` in a thread of its own, and hands what it reads to `verifier`.
fn feed(
    verifier: &mut Verifier,
    mut progress: impl FnMut(Seq),
    reader: impl FnOnce(&mut Sink) -> Result<Result<(), Unverified>, Enough> + Send,
) -> Result<(), Unverified> {
    let (to, from): (Sender<Batch>, Receiver<Batch>) = bounded(BATCHES_MAX);
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut sink = Sink { batch: Vec::with_capacity(BATCH_RECORDS), to };
            let read = reader(&mut sink)?;
            sink.flush()?;
            Ok(read)
        });
        let mut judged = Ok(());
        'all: for batch in &from {
            for next in batch {
                let seq = Seq(verifier.size());
                judged = verifier.take(next);
                if judged.is_err() {
                    break 'all;
                }
                progress(seq);
            }
        }
        drop(from);
        let read = reading.join().expect("the reader does not panic");
        // What was judged came before what could not be read.
        judged?;
        match read {
            Ok(read) => read,
            Err(Enough) => Ok(()),
        }
    })
}

/// Judges an export: one record a line, from the first one.
///
/// # Errors
/// [`Unverified`], naming the first record that is wrong.
pub fn from_export(
    export: impl BufRead + Send,
    verifier: &mut Verifier,
    progress: impl FnMut(Seq),
) -> Result<(), Unverified> {
    let mut export = export;
    feed(verifier, progress, move |sink| {
        let mut line = Vec::new();
        for after in 0.. {
            line.clear();
            let bound = RECORD_BYTES_MAX as u64 + 1;
            let mut bounded = Read::take(&mut export, bound + 1);
            match bounded.read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => {}
                Err(source) => return Ok(Err(Unverified::Unreadable { after, source })),
            }
            if line.pop() != Some(b'\n') {
                return Ok(Err(match RECORD_BYTES_MAX < line.len() {
                    true => Unverified::TooLong { line: after + 1 },
                    false => Unverified::Cut { seq: Seq(after) },
                }));
            }
            sink.put(&line)?;
        }
        Ok(Ok(()))
    })
}

/// Judges the records of a store.
///
/// # Errors
/// [`Unverified`], naming the first record that is wrong.
pub fn from_store(
    store: &dyn Store,
    verifier: &mut Verifier,
    progress: impl FnMut(Seq),
) -> Result<(), Unverified> {
    feed(verifier, progress, |sink| {
        for block in records_from(store, Seq(0)) {
            let block = match block {
                Ok(block) => block,
                Err(error) => return Ok(Err(SourceError::from(error).into())),
            };
            for (_, bytes) in block.iter() {
                sink.put(bytes)?;
            }
        }
        Ok(Ok(()))
    })
}

/// Judges the first `size` records of a source, and that its tiles of hashes are theirs.
///
/// # Errors
/// [`Unverified`], naming the first record or tile that is wrong.
pub fn from_source(
    source: &dyn LogSource,
    size: u64,
    verifier: &mut Verifier,
    progress: impl FnMut(Seq),
) -> Result<(), Unverified> {
    feed(verifier, progress, |sink| {
        let mut built = TileBuilder::default();
        let mut wrong = Ok(());
        for index in 0..size.div_ceil(u64::from(TILE_WIDTH)) {
            let Some(tile) = TileId::at(TileKind::Entries, index, size) else { break };
            let records = match entries(source, tile) {
                Ok(records) => records,
                Err(error) => return Ok(wrong.and(Err(error.into()))),
            };
            for bytes in records {
                let Some(leaf) = sink.put(&bytes)? else { return Ok(wrong) };
                let full = built.push_hashed(&bytes, leaf);
                wrong = wrong.and_then(|()| compare(source, &full));
            }
        }
        Ok(wrong.and_then(|()| compare(source, &built.partial())))
    })
}

fn compare(source: &dyn LogSource, tiles: &[(TileId, Vec<u8>)]) -> Result<(), Unverified> {
    for (tile, bytes) in tiles.iter().filter(|(tile, _)| tile.kind() != TileKind::Entries) {
        if super::source::hashes(source, *tile)?.encode() != *bytes {
            return Err(Unverified::Tile { name: source.place(&tile.to_string()) });
        }
    }
    Ok(())
}
