//! Packages: all records of one grant, person or client, or of a time, with what a court needs to
//! check that none is missing. The reading itself is the last record, and carries the auditor's
//! nonce: its back links name the end of the trail, and those of each record the one before it.
//!
//! What remains to be trusted is in the package's own `README.md`, and printed by `verify`.

pub mod asked;
pub mod error;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use self::asked::{Asked, Expected, Reading, reading};
use self::error::PackageError;
use super::directory::read_bounded;
use super::keys::Keys;
use super::source::{LogSource, SourceError, hashes};
use crate::audit::trail::Trail;
use crate::crypto::note::{NOTE_BYTES_MAX, Note};
use crate::domain::record::Record;
use crate::log::checkpoint::OpenedCheckpoint;
use crate::log::file::{self, FILE_MODE, FileError};
use crate::log::receipt::{RECEIPT_BYTES_MAX, Receipt};
use crate::log::tile_hashes::{TileReadError, TileReader};
use crate::log::tree::{TreeError, TreeHead, inclusion_proof};
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
    /// How many of them, the reading aside, are of the time that was asked for, where it was one.
    pub in_time: Option<u64>,
    /// The reading.
    pub reading: Reading,
    /// The checkpoint that covers all of it.
    pub checkpoint: OpenedCheckpoint,
}

/// One record of a package.
struct Item {
    bytes: Vec<u8>,
    record: Record,
}

/// The records of a package, found to be all that its reading asked for.
struct All {
    items: Vec<Item>,
    reading: Reading,
    in_time: Option<u64>,
}

/// Checks that `lines`, JSON Lines of exact records, are all records that the last of them, the
/// reading, asked for; and that it is the reading that is `expected`.
///
/// # Errors
/// [`PackageError`], naming the record that is wrong.
fn read_all(lines: &[u8], expected: &Expected) -> Result<All, PackageError> {
    let body = lines.strip_suffix(b"\n").ok_or(PackageError::CutLine)?;
    let mut items = Vec::new();
    for (line, bytes) in (1..).zip(body.split(|byte| *byte == b'\n')) {
        let record = Record::decode(bytes);
        let record = record.map_err(|what| PackageError::NotARecord { line, what })?;
        items.push(Item { bytes: bytes.to_vec(), record });
    }
    let reading = items.last().map(|item| reading(&item.record)).transpose()?;
    let reading = reading.ok_or(PackageError::NoReading)?;
    expected.check(&reading)?;
    let records: Vec<&Record> = items.iter().map(|item| &item.record).collect();
    let in_time = match &reading.asked {
        Asked::Trail(trail) => check_trail(&records, trail).map(|()| None)?,
        Asked::Span { since, until } => Some(check_span(&records, *since, *until)?),
    };
    Ok(All { items, reading, in_time })
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

/// The records of a time are dense, and have a neighbour outside it at each end; where nothing
/// happened in it, these are all. The reading stands apart from them, after all of them. Answers how
/// many are of that time.
fn check_span(
    records: &[&Record],
    since: Option<Timestamp>,
    until: Option<Timestamp>,
) -> Result<u64, PackageError> {
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
    let is_in_time = |record: &&&Record| {
        since.is_none_or(|since| since <= record.at) && until.is_none_or(|until| record.at <= until)
    };
    Ok(span.iter().filter(is_in_time).count() as u64)
}

/// Writes a package into the new directory `path`: the records in `lines`, the receipts that prove
/// them, the checkpoint `note`, and the keys that open it. All of it is checked first, as [`verify`]
/// does: also that it is the reading that is `expected`.
///
/// # Errors
/// [`PackageError`]; no directory is left then.
pub fn write(
    path: &Path,
    lines: &[u8],
    source: &dyn LogSource,
    note: &Note,
    keys: &Keys,
    expected: &Expected,
) -> Result<Proven, PackageError> {
    let all = read_all(lines, expected)?;
    let place = source.place(CHECKPOINT);
    let size = keys.open_any(note, &place)?.checkpoint.head.size;
    if size <= all.reading.seq.0 {
        return Err(PackageError::TooEarly { size, seq: all.reading.seq });
    }
    let checkpoint = keys.open(note, &place)?;
    if path.exists() {
        return Err(PackageError::Exists { path: path.to_owned() });
    }
    let making = file::beside(path, ".making");
    remove(&making)?;
    let head = checkpoint.checkpoint.head;
    let made = write_receipts(&making, &all.items, source, note, &head).and_then(|()| {
        write_beside(&making, lines, note, keys)?;
        let renamed = std::fs::rename(&making, path);
        renamed.map_err(|source| FileError { what: "rename to", path: path.to_owned(), source })?;
        Ok(file::sync_directory(file::parent(path))?)
    });
    if let Err(error) = made {
        // What went wrong matters more than a left-over, which the next attempt removes.
        let _ = remove(&making);
        return Err(error);
    }
    let All { items, reading, in_time } = all;
    Ok(Proven { records: items.len() as u64, in_time, reading, checkpoint })
}

/// Makes the directory `making`, with the receipts of all `items` in it.
fn write_receipts(
    making: &Path,
    items: &[Item],
    source: &dyn LogSource,
    note: &Note,
    head: &TreeHead,
) -> Result<(), PackageError> {
    file::create_directory(making)?;
    file::create_directory(&making.join(RECEIPTS))?;
    let size = head.size;
    let mut reader = TileReader::new(size, |tile| hashes(source, tile));
    for item in items {
        let index = item.record.seq;
        let proof = inclusion_proof(index, size, |at| reader.read(at)).map_err(|error| {
            let what = error.to_string();
            if let TreeError::Read(TileReadError::Fetch { source, .. }) = error {
                return source;
            }
            SourceError::Missing { name: source.place(&what) }
        })?;
        let receipt = Receipt { extra: Vec::new(), index, proof, checkpoint: note.clone() };
        let proven = receipt.prove(&item.bytes, head);
        proven.map_err(|source| PackageError::Receipt { seq: index, source })?;
        let name = making.join(RECEIPTS).join(receipt_name(index));
        file::write_complete(&name, receipt.encode().as_bytes(), FILE_MODE)?;
    }
    Ok(file::sync_directory(&making.join(RECEIPTS))?)
}

/// Writes the other files of a package into `making`.
fn write_beside(making: &Path, lines: &[u8], note: &Note, keys: &Keys) -> Result<(), PackageError> {
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
    Ok(file::sync_directory(making)?)
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

/// Checks a package. `keys` are the auditor's own: those in the package prove nothing. It must be the
/// reading that is `expected`: with its nonce, no older one.
///
/// # Errors
/// [`PackageError`]: it is not shown that the records are all, or that they are the log's.
pub fn verify(path: &Path, keys: &Keys, expected: &Expected) -> Result<Proven, PackageError> {
    let read = |name: &str, bytes_max| {
        let path = path.join(name);
        read_bounded(&path, bytes_max)?.ok_or(PackageError::Missing { path })
    };
    let All { items, reading, in_time } = read_all(&read(RECORDS, PACKAGE_BYTES_MAX)?, expected)?;
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
    Ok(Proven { records: seen.len() as u64, in_time, reading, checkpoint })
}
