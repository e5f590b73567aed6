//! Packages: all records of one grant, person or client, or of a time, with what a court needs to
//! check that none is missing. The reading itself is the last record, and carries the auditor's
//! nonce: its back links name the end of the trail, and those of each record the one before it.
//!
//! What remains to be trusted is in the package's own `README.md`, and printed by `verify`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::directory::read_bounded;
use super::keys::{Keys, Untrusted};
use super::source::{LogSource, SourceError, hashes};
use crate::audit::trail::Trail;
use crate::crypto::note::{NOTE_BYTES_MAX, Note, NoteError};
use crate::domain::event::{AuditRead, Event};
use crate::domain::record::{NotARecord, Record};
use crate::log::checkpoint::OpenedCheckpoint;
use crate::log::file::{self, FILE_MODE, FileError};
use crate::log::receipt::{RECEIPT_BYTES_MAX, Receipt, ReceiptError};
use crate::log::tile_hashes::{TileReadError, TileReader};
use crate::log::tree::{TreeError, inclusion_proof};
use crate::types::id::Seq;
use crate::types::time::Timestamp;

/// How many bytes of records a package may have.
pub const PACKAGE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What stands in every package.
const README: &str = include_str!("package/README.md");
const RECORDS: &str = "records.jsonl";
const CHECKPOINT: &str = "checkpoint";
const KEYS: &str = "vkeys.txt";
const RECEIPTS: &str = "receipts";
const README_FILE: &str = "README.md";

/// What a package was found to prove.
#[derive(Debug, Clone)]
pub struct Proven {
    /// How many records it holds, the reading included.
    pub records: u64,
    /// The reading.
    pub reading: Reading,
    /// The checkpoint that covers all of it.
    pub checkpoint: OpenedCheckpoint,
}

/// The record that a package ends with: what was asked, when, and with which nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Its place.
    pub seq: Seq,
    /// When it was asked.
    pub at: Timestamp,
    /// What was asked for.
    pub asked: Asked,
    /// The auditor's nonce.
    pub nonce: String,
}

/// What a package is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// All that happened to one party.
    Trail(Trail),
    /// All that happened in a time.
    Span {
        /// From this instant on; none for the beginning.
        since: Option<Timestamp>,
        /// Up to this instant; none for the reading itself.
        until: Option<Timestamp>,
    },
}

/// Why a package proves nothing, or cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A file is not there.
    #[error("{} is missing", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A tile cannot be read, or a file is too long.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Something is there already.
    #[error("{} is there already; name a new directory", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// A line is no record.
    #[error("line {line} of {RECORDS}: {what}")]
    NotARecord {
        /// Which line, from 1.
        line: u64,
        /// Why.
        what: NotARecord,
    },
    /// The last line has no end.
    #[error("{RECORDS} was cut off in its last line")]
    CutLine,
    /// It does not end with a reading that has a nonce.
    #[error(
        "the package does not end with the record of its own reading (audit.read with a nonce): \
         its end was cut off, or something was added to it"
    )]
    NoReading,
    /// The reading has another nonce than the auditor gave.
    #[error("the package was read with the nonce {found}, not {expected}: it is an older one")]
    Nonce {
        /// In the record.
        found: String,
        /// As the auditor remembers it.
        expected: String,
    },
    /// The reading is about more than one party, or about none.
    #[error("the reading is not that of one trail or of a time")]
    Vague,
    /// A record is on another trail.
    #[error("record {seq} is not on the trail that was read")]
    OffTrail {
        /// Which.
        seq: Seq,
    },
    /// A link leads to a record that is not the one before.
    #[error(
        "record {seq} names {} as the one before it, and the package has {} there: a record was \
         left out, moved or put in", shown(*says), shown(*found)
    )]
    Gap {
        /// Which.
        seq: Seq,
        /// What its back link, or its place, says.
        says: Option<Seq>,
        /// What stands before it in the package.
        found: Option<Seq>,
    },
    /// The records of a time do not reach to its ends.
    #[error("the records do not reach {which} of the time that was asked for")]
    Span {
        /// Which end.
        which: &'static str,
    },
    /// A record is not in the tree.
    #[error("record {seq}: {source}")]
    Receipt {
        /// Which.
        seq: Seq,
        /// Why not.
        source: ReceiptError,
    },
    /// A receipt is for another record or another checkpoint.
    #[error("the receipt of record {seq} is for another record or another checkpoint")]
    OtherReceipt {
        /// Which.
        seq: Seq,
    },
    /// The checkpoint is no note.
    #[error("the checkpoint of the package: {0}")]
    Note(#[from] NoteError),
    /// The checkpoint is not believed.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// The checkpoint does not reach to the reading.
    #[error("the checkpoint covers {size} records, and the reading is record {seq}")]
    TooEarly {
        /// Of the checkpoint.
        size: u64,
        /// The reading.
        seq: Seq,
    },
}

impl PackageError {
    /// Whether the package was read and is wrong, and not only out of reach.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Self::File(_) | Self::Exists { .. } | Self::TooEarly { .. })
    }
}

fn shown(seq: Option<Seq>) -> String {
    seq.map_or_else(|| "none".to_owned(), |seq| format!("record {seq}"))
}

/// One record of a package.
struct Item {
    bytes: Vec<u8>,
    record: Record,
}

/// Checks that `lines`, JSON Lines of exact records, are all records that the last of them, the
/// reading, asked for.
///
/// # Errors
/// [`PackageError`], naming the record that is wrong.
fn read_all(lines: &[u8], nonce: Option<&str>) -> Result<(Vec<Item>, Reading), PackageError> {
    let body = lines.strip_suffix(b"\n").ok_or(PackageError::CutLine)?;
    let mut items = Vec::new();
    for (line, bytes) in (1..).zip(body.split(|byte| *byte == b'\n')) {
        let record = Record::decode(bytes);
        let record = record.map_err(|what| PackageError::NotARecord { line, what })?;
        items.push(Item { bytes: bytes.to_vec(), record });
    }
    let reading = items.last().map(|item| reading(&item.record)).transpose()?;
    let reading = reading.ok_or(PackageError::NoReading)?;
    if let Some(expected) = nonce.filter(|nonce| *nonce != reading.nonce) {
        let (found, expected) = (reading.nonce, expected.to_owned());
        return Err(PackageError::Nonce { found, expected });
    }
    let records: Vec<&Record> = items.iter().map(|item| &item.record).collect();
    match &reading.asked {
        Asked::Trail(trail) => check_trail(&records, trail)?,
        Asked::Span { since, until } => check_span(&records, *since, *until)?,
    }
    Ok((items, reading))
}

fn reading(record: &Record) -> Result<Reading, PackageError> {
    let Event::AuditRead(AuditRead { what, parameters }) = &record.event else {
        return Err(PackageError::NoReading);
    };
    let text = |name: &str| parameters.get(name).and_then(|value| value.as_str());
    let nonce = text("nonce").ok_or(PackageError::NoReading)?.to_owned();
    let about = &record.about;
    let instant = |name: &str| match text(name).map(str::parse::<Timestamp>) {
        Some(Ok(at)) => Ok(Some(at)),
        Some(Err(_)) => Err(PackageError::Vague),
        None => Ok(None),
    };
    let narrowed = ["from", "to", "type"].iter().any(|name| parameters.contains_key(*name));
    let asked = match (what.as_str(), about.grant, about.subject, about.client.clone()) {
        ("trail", Some(grant), None, None) => Asked::Trail(Trail::Grant(grant)),
        ("trail", None, Some(subject), None) => Asked::Trail(Trail::Subject(subject)),
        ("trail", None, None, Some(client)) => Asked::Trail(Trail::Client(client)),
        ("records", None, None, None) if !narrowed => {
            Asked::Span { since: instant("since")?, until: instant("until")? }
        }
        _ => return Err(PackageError::Vague),
    };
    Ok(Reading { seq: record.seq, at: record.at, asked, nonce })
}

/// Each record names the one before it; the first one names none.
fn check_trail(records: &[&Record], trail: &Trail) -> Result<(), PackageError> {
    let mut before = None;
    for record in records {
        let seq = record.seq;
        let says = trail.back(record).map_err(|()| PackageError::OffTrail { seq })?;
        if says != before {
            return Err(PackageError::Gap { seq, says, found: before });
        }
        before = Some(seq);
    }
    Ok(())
}

/// The records of a time are dense, and have a neighbour outside it at each end. The reading stands
/// apart from them, after all of them.
fn check_span(
    records: &[&Record],
    since: Option<Timestamp>,
    until: Option<Timestamp>,
) -> Result<(), PackageError> {
    let Some((reading, span)) = records.split_last() else { return Err(PackageError::NoReading) };
    for (before, record) in span.iter().zip(span.iter().skip(1)) {
        if before.seq.next() != record.seq {
            let (seq, found) = (record.seq, Some(before.seq));
            let says = record.seq.0.checked_sub(1).map(Seq);
            return Err(PackageError::Gap { seq, says, found });
        }
    }
    let (Some(first), Some(last)) = (span.first(), span.last()) else {
        return Err(PackageError::Span { which: "any part" });
    };
    let begins = first.seq == Seq(0) || since.is_some_and(|since| first.at < since);
    if !begins {
        return Err(PackageError::Span { which: "the beginning" });
    }
    let ends = last.seq.next() == reading.seq || until.is_some_and(|until| until < last.at);
    if !ends || reading.seq <= last.seq {
        return Err(PackageError::Span { which: "the end" });
    }
    Ok(())
}

/// Writes a package into the new directory `path`: the records in `lines`, the receipts that prove
/// them, the checkpoint `note`, and the keys that open it. All of it is checked first.
///
/// # Errors
/// [`PackageError`]; no directory is left then.
pub fn write(
    path: &Path,
    lines: &[u8],
    source: &dyn LogSource,
    note: &Note,
    keys: &Keys,
) -> Result<Proven, PackageError> {
    let (items, reading) = read_all(lines, None)?;
    let checkpoint = keys.open_any(note, &source.place(CHECKPOINT))?;
    let size = checkpoint.checkpoint.head.size;
    if size <= reading.seq.0 {
        return Err(PackageError::TooEarly { size, seq: reading.seq });
    }
    if path.exists() {
        return Err(PackageError::Exists { path: path.to_owned() });
    }
    let making = file::beside(path, ".making");
    remove(&making)?;
    file::create_directory(&making)?;
    file::create_directory(&making.join(RECEIPTS))?;
    let mut reader = TileReader::new(size, |tile| hashes(source, tile));
    for item in &items {
        let index = item.record.seq;
        let proof = inclusion_proof(index, size, |at| reader.read(at)).map_err(|error| {
            let what = error.to_string();
            if let TreeError::Read(TileReadError::Fetch { source, .. }) = error {
                return source;
            }
            SourceError::Missing { name: source.place(&what) }
        })?;
        let receipt = Receipt { extra: Vec::new(), index, proof, checkpoint: note.clone() };
        let proven = receipt.prove(&item.bytes, &checkpoint.checkpoint.head);
        proven.map_err(|source| PackageError::Receipt { seq: index, source })?;
        let name = making.join(RECEIPTS).join(receipt_name(index));
        file::write_complete(&name, receipt.encode().as_bytes(), FILE_MODE)?;
    }
    let vkeys: String =
        keys.log().iter().chain(keys.witnesses()).map(|k| format!("{k}\n")).collect();
    for (name, bytes) in [
        (RECORDS, lines),
        (CHECKPOINT, note.encode().as_bytes()),
        (KEYS, vkeys.as_bytes()),
        (README_FILE, README.as_bytes()),
    ] {
        file::write_complete(&making.join(name), bytes, FILE_MODE)?;
    }
    file::sync_directory(&making.join(RECEIPTS))?;
    file::sync_directory(&making)?;
    let renamed = std::fs::rename(&making, path);
    renamed.map_err(|source| FileError { what: "rename to", path: path.to_owned(), source })?;
    file::sync_directory(file::parent(path))?;
    Ok(Proven { records: items.len() as u64, reading, checkpoint })
}

fn receipt_name(seq: Seq) -> String {
    format!("{seq}.tlog-proof")
}

fn remove(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_dir_all(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(FileError { what: "remove", path: path.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Checks a package. `keys` are the auditor's own: those in the package prove nothing. With `nonce`
/// it must be the reading that the auditor asked for, and no older one.
///
/// # Errors
/// [`PackageError`]: it is not shown that the records are all, or that they are the log's.
pub fn verify(path: &Path, keys: &Keys, nonce: Option<&str>) -> Result<Proven, PackageError> {
    let read = |name: &str, bytes_max| {
        let path = path.join(name);
        read_bounded(&path, bytes_max)?.ok_or(PackageError::Missing { path })
    };
    let (items, reading) = read_all(&read(RECORDS, PACKAGE_BYTES_MAX)?, nonce)?;
    let note = Note::parse(&read(CHECKPOINT, NOTE_BYTES_MAX)?)?;
    let checkpoint = keys.open(&note, &path.join(CHECKPOINT).display().to_string())?;
    let mut seen = BTreeMap::new();
    for item in &items {
        let seq = item.record.seq;
        let name = format!("{RECEIPTS}/{}", receipt_name(seq));
        let wrong = |source| PackageError::Receipt { seq, source };
        let receipt = Receipt::parse(&read(&name, RECEIPT_BYTES_MAX)?).map_err(wrong)?;
        if receipt.index != seq || receipt.checkpoint.text() != note.text() {
            return Err(PackageError::OtherReceipt { seq });
        }
        receipt.prove(&item.bytes, &checkpoint.checkpoint.head).map_err(wrong)?;
        seen.insert(seq, ());
    }
    Ok(Proven { records: seen.len() as u64, reading, checkpoint })
}
