//! `token-ledger verify`: judges evidence of every kind, and says what it did not judge.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::cli::arguments::VerifyArgs;
use crate::cli::local::{
    LocalError, OFFLINE_CACHE_BYTES, RECOVERY_COPY_BYTES_MAX, log_to_standard_error, progress, say,
};
use crate::cli::stored_checkpoints::signed_before;
use crate::cli::verify_error::{VerifyError, WHERE_A_LOG_IS};
use crate::cli::verify_package::verify_package;
use crate::clock::Stopwatch;
use crate::crypto::note::{NOTE_BYTES_MAX, Note};
use crate::crypto::note_key::{NoteVerifier, Verified};
use crate::domain::record::RECORD_BYTES_MAX;
use crate::evidence::directory::DirectorySource;
use crate::evidence::feed::{Unverified, from_export, from_source, from_store};
use crate::evidence::keys::Keys;
use crate::evidence::source::{CHECKPOINT, LogSource, SourceError, newest_note};
use crate::evidence::url::UrlSource;
use crate::evidence::verifier::{End, Fault, Signed, Verifier, Whole};
use crate::ledger::open::{FIRST_RECORDS, OpenError, Replayed, VAULT_CACHE_BYTES, open_log};
use crate::ledger::vault::check;
use crate::ledger::vault_files::VaultFiles;
use crate::log::checkpoint::{Checkpoint, OpenedCheckpoint};
use crate::log::receipt::{RECEIPT_BYTES_MAX, Receipt};
use crate::run::error::RunError;
use crate::types::secret::Secret;
use crate::types::time::Timestamp;

/// How many bytes a file of verifier keys may take.
const KEYS_BYTES_MAX: usize = 64 * 1024;

/// What was judged.
struct Judged {
    what: String,
    whole: Whole,
    /// The newest checkpoint, where there is one.
    checkpoint: Option<OpenedCheckpoint>,
}

/// Judges evidence. `bearer` opens the records of a live log.
pub(super) fn verify(args: &VerifyArgs, bearer: Option<&Secret>) -> Result<(), LocalError> {
    log_to_standard_error();
    let watch = Stopwatch::start();
    let (log, witnesses) = (verifier_keys(&args.vkey)?, verifier_keys(&args.witness_vkey)?);
    let keys = Keys::new(log, witnesses).map_err(VerifyError::from)?;
    if let (Some(receipt), Some(record)) = (&args.evidence.receipt, &args.record) {
        return verify_receipt(args, &keys, receipt, record);
    }
    if let Some(path) = &args.evidence.package {
        return verify_package(args, &keys, path);
    }
    let evidence = &args.evidence;
    if evidence.export.is_some() && keys.vouch() && args.checkpoint.is_empty() {
        return Err(VerifyError::NothingSigned.into());
    }
    let kept = kept_checkpoints(&args.checkpoint, &keys)?;
    let judged = if let Some(data) = &evidence.data {
        verify_data(data, &keys, kept)?
    } else if let Some(tiles) = &evidence.tiles {
        verify_source(&DirectorySource::new(tiles), tiles.display().to_string(), &keys, kept)?
    } else if let Some(url) = &evidence.url {
        let source = UrlSource::new(url, bearer).map_err(VerifyError::from)?;
        verify_source(&source, url.clone(), &keys, kept)?
    } else if let Some(export) = &evidence.export {
        verify_export(export, &keys, kept)?
    } else {
        return Ok(());
    };
    let kept = args.checkpoint.len();
    if args.json {
        say(&as_json(&judged, &keys))
    } else {
        say(&as_text(&judged, &keys, kept, watch.seconds()))
    }
}

/// What the auditor kept: heads, and the largest checkpoint of them.
#[derive(Default)]
struct Kept {
    heads: Vec<Signed>,
    /// The checkpoint and where it lies.
    largest: Option<(Note, String)>,
}

impl Kept {
    /// The largest checkpoint, as the log has signed it and its witnesses have cosigned it; none
    /// where no key says who they are.
    fn opened(&self, keys: &Keys) -> Result<Option<OpenedCheckpoint>, VerifyError> {
        let largest = self.largest.as_ref().filter(|_| keys.vouch());
        Ok(largest.map(|(note, place)| keys.open(note, place)).transpose()?)
    }
}

fn verify_data(data: &Path, keys: &Keys, kept: Kept) -> Result<Judged, LocalError> {
    let replayed =
        open_log(data, OFFLINE_CACHE_BYTES, RECOVERY_COPY_BYTES_MAX, progress("replaying"))?;
    let judged = judge_stored(&replayed, keys, &kept);
    check_vault(&replayed)?;
    let (whole, checkpoint) = judged?;
    Ok(Judged { what: data.display().to_string(), whole, checkpoint })
}

fn judge_stored(
    replayed: &Replayed,
    keys: &Keys,
    kept: &Kept,
) -> Result<(Whole, Option<OpenedCheckpoint>), LocalError> {
    let mut signed = kept.heads.clone();
    let newest = match signed_before(&replayed.database, keys, &mut signed)? {
        // One that the auditor kept may be older than its cosignatures.
        Some(newest) => Some(newest),
        None => kept.opened(keys)?,
    };
    let mut verifier = Verifier::new(signed);
    let (whole, _) = from_store(replayed.store.as_ref(), &mut verifier, progress("verifying"))
        .and_then(|()| Ok(verifier.finish(End::Whole)?))
        .map_err(VerifyError::from)?;
    if keys.vouch() && newest.is_none() {
        let place = replayed.directory.path().display().to_string();
        return Err(VerifyError::Unsigned { place, served: FIRST_RECORDS < whole.tree.size }.into());
    }
    Ok((whole, newest))
}

/// Where the vault stands beside the log, everybody whom the log knows is in it.
fn check_vault(replayed: &Replayed) -> Result<(), LocalError> {
    let vault = replayed.directory.vault_dir();
    if !vault.is_dir() {
        return Ok(());
    }
    let rows = VaultFiles::open(Arc::clone(&replayed.directory), VAULT_CACHE_BYTES)
        .map_err(OpenError::from)?;
    let checked = check(&rows, replayed.state.newest_subjects(usize::MAX));
    let path = vault.display().to_string();
    Ok(checked.map_err(|source| RunError::Vault { path, source })?)
}

fn verify_export(export: &Path, keys: &Keys, kept: Kept) -> Result<Judged, LocalError> {
    let checkpoint = kept.opened(keys)?;
    let read = BufReader::with_capacity(1 << 20, open(export)?);
    let mut verifier = Verifier::new(kept.heads);
    let judged = from_export(read, &mut verifier, progress("verifying"))
        .and_then(|()| Ok(verifier.finish(End::Anywhere)?));
    let (whole, _) = judged.map_err(VerifyError::from)?;
    let what = export.display().to_string();
    if whole.tree.size == 0 {
        let hint = "did what should have written it fail? `token-ledger audit records --all` does";
        return Err(VerifyError::Nothing { place: what, what: "holds no record", hint }.into());
    }
    Ok(Judged { what, whole, checkpoint })
}

fn verify_source(
    source: &dyn LogSource,
    what: String,
    keys: &Keys,
    kept: Kept,
) -> Result<Judged, VerifyError> {
    let (place, note) = (source.place(CHECKPOINT), newest_of(source)?);
    let opened = keys.open(&note, &place)?;
    let Checkpoint { origin, head } = opened.checkpoint.clone();
    let mut signed = kept.heads;
    signed.push(Signed { head, place });
    let mut verifier = Verifier::new(signed);
    from_source(source, head.size, &mut verifier, progress("verifying"))?;
    if let Some(found) = verifier.origin().filter(|found| *found != origin.as_str()) {
        let (found, signed) = (found.to_owned(), origin.to_string());
        return Err(Unverified::from(Fault::Origin { found, signed }).into());
    }
    let (whole, _) = verifier.finish(End::Whole).map_err(Unverified::from)?;
    Ok(Judged { what, whole, checkpoint: Some(opened) })
}

/// The newest checkpoint. Where there is none, there is no log: nobody forged one.
pub(super) fn newest_of(source: &dyn LogSource) -> Result<Note, VerifyError> {
    match newest_note(source) {
        Err(SourceError::Missing { .. }) => {
            let (place, what) = (source.place(CHECKPOINT), "is not there");
            Err(VerifyError::Nothing { place, what, hint: WHERE_A_LOG_IS })
        }
        found => Ok(found.map_err(Unverified::from)?),
    }
}

fn verify_receipt(
    args: &VerifyArgs,
    keys: &Keys,
    path: &Path,
    record: &Path,
) -> Result<(), LocalError> {
    let receipt = read_bounded(path, RECEIPT_BYTES_MAX)?;
    let refused = |source| VerifyError::Receipt { path: path.to_owned(), source };
    let receipt = Receipt::parse(&receipt).map_err(refused)?;
    let bytes = read_bounded(record, RECORD_BYTES_MAX + 1)?;
    // A record has no newline inside; the one that an editor or `audit records` adds is not its.
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let opened = keys.open(&receipt.checkpoint, &path.display().to_string());
    let opened = opened.map_err(VerifyError::from)?;
    receipt.prove(bytes, &opened.checkpoint.head).map_err(refused)?;
    let Checkpoint { origin, head } = &opened.checkpoint;
    if args.json {
        let body = json!({ "whole": true, "origin": origin.as_str(), "seq": receipt.index,
            "checkpoint": { "size": head.size, "root": head.root_text(), "at": opened.at },
            "cosignatures": cosignatures(&opened.cosignatures) });
        return say(&body.to_string());
    }
    let mut text = format!(
        "{} is record {} of the log {origin}, as signed over {} records",
        record.display(),
        receipt.index,
        head.size
    );
    text.push_str(&seen(&opened));
    say(&text)
}

/// The checkpoints that the auditor kept, signed by the log's keys where those are known.
fn kept_checkpoints(paths: &[PathBuf], keys: &Keys) -> Result<Kept, VerifyError> {
    let (mut kept, mut largest_size) = (Kept::default(), None);
    for path in paths {
        let bytes = read_bounded(path, NOTE_BYTES_MAX)?;
        let wrong = |source| VerifyError::Note { path: path.clone(), source };
        let note = Note::parse(&bytes).map_err(wrong)?;
        let place = path.display().to_string();
        let head = keys.open_any(&note, &place)?.checkpoint.head;
        if largest_size.is_none_or(|largest| largest < head.size) {
            largest_size = Some(head.size);
            kept.largest = Some((note, place.clone()));
        }
        kept.heads.push(Signed { head, place });
    }
    Ok(kept)
}

/// The keys that are named: each is a key, or a file with one on each line.
pub(super) fn verifier_keys(named: &[String]) -> Result<Vec<NoteVerifier>, VerifyError> {
    let mut keys = Vec::new();
    for text in named {
        let wrong = |why: String| VerifyError::Key { text: text.clone(), why };
        let not_a_key = match text.parse() {
            Ok(key) => {
                keys.push(key);
                continue;
            }
            Err(error) => error,
        };
        let file = read_bounded(Path::new(text), KEYS_BYTES_MAX)
            .map_err(|error| wrong(format!("{not_a_key}; {error}")))?;
        let lines = String::from_utf8(file).map_err(|_| wrong("it is not text".to_owned()))?;
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            keys.push(line.parse().map_err(|error| wrong(format!("{line}: {error}")))?);
        }
    }
    Ok(keys)
}

fn open(path: &Path) -> Result<Box<dyn Read + Send>, VerifyError> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let opened = File::open(path);
    Ok(Box::new(opened.map_err(|source| VerifyError::File { path: path.to_owned(), source })?))
}

fn read_bounded(path: &Path, bytes_max: usize) -> Result<Vec<u8>, VerifyError> {
    let mut bytes = Vec::new();
    let read = open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|source| VerifyError::File { path: path.to_owned(), source })?;
    match bytes_max < bytes.len() {
        true => Err(VerifyError::TooLong { path: path.to_owned(), bytes_max }),
        false => Ok(bytes),
    }
}

pub(super) fn cosignatures(by: &[Verified]) -> Vec<Value> {
    by.iter().map(|by| json!({ "witness": by.name.as_str(), "at": by.at })).collect()
}

/// When it was signed, by the log's own word and by that of each witness.
pub(super) fn seen(opened: &OpenedCheckpoint) -> String {
    let said = |at: &Option<Timestamp>| at.map_or_else(String::new, |at| format!(" at {at}"));
    let own = opened.at.map(|at| format!("\nsigned at {at}, as the log itself says"));
    let cosigned = |by: &Verified| format!("\ncosigned by {}{}", by.name, said(&by.at));
    own.into_iter().chain(opened.cosignatures.iter().map(cosigned)).collect()
}

fn as_json(judged: &Judged, keys: &Keys) -> String {
    let Judged { whole, checkpoint, .. } = judged;
    let (seq, at, leaf) =
        whole.head.map_or((None, None, None), |h| (Some(h.seq), Some(h.at), Some(h.leaf)));
    let mut body = json!({ "whole": true, "records": whole.tree.size, "root": whole.tree.root_text(),
        "head": { "seq": seq, "at": at, "leaf": leaf } });
    if let (Some(opened), Some(body)) = (checkpoint, body.as_object_mut()) {
        let Checkpoint { origin, head } = &opened.checkpoint;
        body.insert("origin".to_owned(), json!(origin.as_str()));
        body.insert(
            "checkpoint".to_owned(),
            json!({ "size": head.size, "root": head.root_text(), "at": opened.at }),
        );
        body.insert("signature_checked".to_owned(), json!(keys.vouch()));
        body.insert("cosignatures".to_owned(), json!(cosignatures(&opened.cosignatures)));
    }
    body.to_string()
}

fn as_text(judged: &Judged, keys: &Keys, kept: usize, seconds: f64) -> String {
    let Judged { what, whole, checkpoint } = judged;
    let mut text = format!(
        "{what} is whole: {} records, dense, chained, back links and times right, each as the \
         rules have it ({seconds:.1} s)\nroot {}",
        whole.tree.size,
        whole.tree.root_text()
    );
    if let Some(head) = whole.head {
        text.push_str(&format!(
            "\nlast record {} of {}, leaf hash {}",
            head.seq, head.at, head.leaf
        ));
    }
    if 0 < kept {
        text.push_str("\nit extends what you kept: nothing before has changed");
    }
    match checkpoint {
        Some(opened) if keys.vouch() => {
            text.push_str(&format!("\nsigned by {}", opened.checkpoint.origin));
            text.push_str(&seen(opened));
            let (covered, all) = (opened.checkpoint.head.size, whole.tree.size);
            if covered < all {
                text.push_str(&format!(
                    "\nthat checkpoint covers the first {covered} of {all} records"
                ));
            }
        }
        Some(_) => text.push_str("\nnobody vouches for it: no --vkey was given"),
        None if kept == 0 => {
            text.push_str(
                "\nwhat came after the last record, and who wrote it, is not judged here",
            );
        }
        None => {}
    }
    text
}
