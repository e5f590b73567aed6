//! What state a directory is in, and what to do: told from its files alone, without opening a
//! database, which would change it. Never changes anything itself.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use crate::crypto::keys::KeyFile;
use crate::domain::snapshot::{FORMAT, SECTION_BYTES_MAX};
use crate::evidence::builder::TileBuilder;
use crate::evidence::directory::DirectorySource;
use crate::evidence::source::{CHECKPOINT, newest_note};
use crate::ledger::vault_files::REWRITE_DUE;
use crate::log::checkpoint::Checkpoint;
use crate::log::directory::{
    CLEAN, CleanMark, FENCE, KEYS, LOCK, LOG, LOG_COPY, MARKER, Marker, SNAPSHOTS,
};
use crate::log::fence::{Fence, FenceFile};
use crate::log::file::{beside, list, read_if_there};
use crate::log::outline::{Outline, OutlineError, outline};
use crate::log::rescue::CONFIRMED;
use crate::log::snapshots::{SnapshotError, SnapshotFile, Snapshots};
use crate::log::unfinished::is_unfinished;
use crate::log::vaults::{POINTER, PREFIX};
use crate::types::id::Seq;
use crate::witness::directory::{KEY as WITNESS_KEY, OriginId, WitnessDirectory};

use super::findings::{Examined, Kind, Weight};
use super::restore::UNFINISHED;
use super::unclean::unclean;

/// Examines the directory `path`, and the fence in the file `fence` where it is elsewhere. A ledger
/// that is being served may change meanwhile.
pub fn examine(path: &Path, fence: Option<&Path>) -> Examined {
    let mut found = if !path.exists() {
        let mut found = Examined::new(Kind::Missing);
        let what = format!("there is no {}", path.display());
        found.broken(what, "check the path; or token-ledger init, or token-ledger restore");
        found
    } else if let Err(error) = list(path) {
        let mut found = Examined::new(Kind::Foreign);
        found.broken(error.to_string(), "check who owns the directory, and who asks");
        found
    } else if is_unfinished(path).unwrap_or(false) {
        let mut found = Examined::new(Kind::Ledger);
        lock(path, &mut found);
        let what = format!("an init that was interrupted: {MARKER}, its last step, is missing");
        found.broken(what, "unless it is made now: remove it, and run token-ledger init again");
        found
    } else if path.join(MARKER).exists() || path.join(POINTER).exists() {
        ledger(path, fence)
    } else if path.join(WITNESS_KEY).exists() {
        witness(path)
    } else if path.join(CHECKPOINT).exists() || path.join("tile").is_dir() {
        tiles(path)
    } else {
        let mut found = Examined::new(Kind::Foreign);
        let what = format!("{} is no ledger, no witness and no directory of tiles", path.display());
        let remedy = match path.join(LOG).join(CHECKPOINT).exists() {
            true => "the log of a backup is the directory log in it: name that one",
            false => "check the path; an empty directory can be given to token-ledger init",
        };
        found.broken(what, remedy);
        found
    };
    let unfinished = beside(path, UNFINISHED);
    if unfinished.exists() {
        let what = format!("{} is half a restore", unfinished.display());
        found.notice(what, "run token-ledger restore again, which begins anew; or remove it");
    }
    found
}

fn ledger(path: &Path, elsewhere: Option<&Path>) -> Examined {
    let mut found = Examined::new(Kind::Ledger);
    marker(path, &mut found);
    let is_in_use = lock(path, &mut found);
    let left_at = clean_mark(path, is_in_use, &mut found);
    keys(path, &mut found);
    vault(path, is_in_use, &mut found);
    log(path, is_in_use, left_at, &mut found);
    snapshots(path, &mut found);
    fence(path, elsewhere, left_at, &mut found);
    leftovers(path, is_in_use, &mut found);
    found
}

fn marker(path: &Path, found: &mut Examined) {
    match read_if_there(&path.join(MARKER)) {
        Ok(Some(bytes)) => match Marker::decode(path, &bytes) {
            Ok(marker) => found.good(format!("the ledger of {}", marker.issuer)),
            Err(error) => found.broken(error.to_string(), "put the marker back, or restore"),
        },
        Ok(None) => found.broken(
            format!("{MARKER} is missing: it says whose ledger this is"),
            "put it back from a copy of the directory, or restore",
        ),
        Err(error) => found.broken(error.to_string(), "check who owns the directory"),
    }
}

/// Whether another process has it open.
fn lock(path: &Path, found: &mut Examined) -> bool {
    let Ok(file) = File::open(path.join(LOCK)) else { return false };
    let is_free = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
    if !is_free {
        found.good("in use by another process: it is being served or read now");
    }
    !is_free
}

/// The last record at the last clean stop, if that was the last stop.
fn clean_mark(path: &Path, is_in_use: bool, found: &mut Examined) -> Option<Seq> {
    let mark = match read_if_there(&path.join(CLEAN)) {
        Ok(mark) => mark,
        Err(error) => {
            found.broken(error.to_string(), "check who owns the directory");
            return None;
        }
    };
    match mark.map(|bytes| serde_json::from_slice::<CleanMark>(&bytes)) {
        Some(Ok(mark)) => {
            found.good(format!("closed cleanly after record {}", mark.seq));
            return Some(mark.seq);
        }
        Some(Err(error)) => found.broken(
            format!("the mark of the clean stop is damaged: {error}"),
            format!("remove {CLEAN}: the ledger then starts as after a crash"),
        ),
        None if is_in_use => {}
        None => unclean(path, found),
    }
    None
}

fn keys(path: &Path, found: &mut Examined) {
    let file = path.join(KEYS);
    let bytes = match read_if_there(&file) {
        Ok(Some(bytes)) => Zeroizing::new(bytes),
        Ok(None) => {
            return found.broken(
                format!("{KEYS} is missing: no token can be recognised without it"),
                "put it back from the copy of the keys",
            );
        }
        Err(error) => return found.broken(error.to_string(), "check who owns the file"),
    };
    match KeyFile::decode(&bytes) {
        Ok(_) => found.good("the private keys are readable"),
        Err(error) => found.broken(
            format!("{KEYS} cannot be used: {error}"),
            "put it back from the copy of the keys",
        ),
    }
    private(&file, found);
}

fn private(file: &Path, found: &mut Examined) {
    let mode = std::fs::metadata(file).map(|about| about.permissions().mode() & 0o777);
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        let file = file.display();
        found.notice(format!("others may read {file}"), format!("chmod 600 {file}"));
    }
}

fn vault(path: &Path, is_in_use: bool, found: &mut Examined) {
    let named = read_if_there(&path.join(POINTER)).ok().flatten().unwrap_or_default();
    let named = String::from_utf8_lossy(&named).trim_end().to_owned();
    let is_named = named.starts_with(PREFIX);
    if !is_named {
        found.broken(
            format!("{POINTER} is missing or names no vault"),
            "write the name of the vault's directory into it; or restore",
        );
    } else if !path.join(&named).join("db").is_file() {
        found.broken(
            format!("the vault {named} is missing: nobody behind a pseudonym is known"),
            "restore it with token-ledger restore --vault, from the newest copy",
        );
    } else {
        found.good(format!("the vault is {named}"));
    }
    let entries = list(path).unwrap_or_default();
    let names = entries.iter().filter_map(|entry| entry.file_name().into_string().ok());
    let others = names.filter(|name| name.starts_with(PREFIX) && *name != named).count();
    if is_named && 0 < others && !is_in_use {
        found.notice(
            format!("{others} more vault: an exchange of the vault was interrupted"),
            "nothing: the next start removes all but the current one",
        );
    }
    if path.join(REWRITE_DUE).exists() {
        found.notice(
            "keys of erased people may still stand in the vault's files",
            "nothing: a serving ledger rewrites the vault within vault_rewrite_s_max seconds",
        );
    }
}

fn log(path: &Path, is_in_use: bool, left_at: Option<Seq>, found: &mut Examined) {
    let log = path.join(LOG);
    let restore =
        "leave what is there as it is, and run token-ledger restore into another directory";
    let bytes = std::fs::metadata(log.join("db")).map_or(0, |about| about.len());
    if bytes == 0 || !log.join("conf").is_file() {
        found.broken("the database of the log is missing or empty", restore);
    }
    match (outline(&log), left_at) {
        (Ok(Outline { files, end, .. }), Some(last)) if 0 < files && end <= last => found.broken(
            format!("the files of records end before record {end}, and it was closed after {last}"),
            restore,
        ),
        (Ok(Outline { files, bytes, end }), _) => {
            let size = format!("the log is there: {files} files, {bytes} bytes, to record {end}");
            let next = "token-ledger verify --data checks every record, and the vault against them, while no server runs";
            found.add(Weight::Good, size, if is_in_use { "" } else { next });
        }
        (Err(error @ OutlineError::Gap { .. }), _) => found.broken(error.to_string(), restore),
        (Err(error @ OutlineError::File(_)), _) => {
            found.broken(error.to_string(), "check who owns the directory");
        }
    }
    let torn = list(&log).unwrap_or_default().iter().any(|entry| {
        let name = entry.file_name().into_encoded_bytes();
        name.starts_with(b"snap.") && name.ends_with(b".generating")
    });
    if torn && !is_in_use {
        found.notice(
            "a kill during a start left a torn snapshot of the storage engine",
            "nothing: the next start removes it",
        );
    }
    let copy = path.join(LOG_COPY);
    if copy.is_dir() && copy.join(CONFIRMED).exists() {
        found.notice(
            format!("{LOG_COPY} is the log from before the last recovery, which went well"),
            "keep it while that crash is looked into; it may be removed",
        );
    } else if copy.is_dir() {
        found.notice(
            format!("{LOG_COPY} is the log from before a recovery that was never found good"),
            "keep it: it is closer to the crash than the log is now",
        );
    }
}

/// Each is read to its end: one that is damaged would be passed over by a start.
fn snapshots(path: &Path, found: &mut Examined) {
    let files = match Snapshots::new(path.join(SNAPSHOTS)).newest_first() {
        Ok(files) => files,
        Err(error) => return found.notice(error.to_string(), "check who owns the directory"),
    };
    for (i, file) in files.iter().enumerate() {
        match whole(file) {
            Ok(seq) if i == 0 => {
                found.good(format!(
                    "a start reads the newest snapshot, and the records after {seq}"
                ));
            }
            Ok(_) => {}
            Err(error) => found.notice(
                format!("the snapshot {} cannot be used: {error}", file.display()),
                "nothing: a start passes over it, and reads more of the log; it may be removed",
            ),
        }
    }
}

fn whole(file: &Path) -> Result<Seq, SnapshotError> {
    let mut snapshot = SnapshotFile::open(file, FORMAT, SECTION_BYTES_MAX)?;
    while snapshot.section()?.is_some() {}
    Ok(snapshot.head.seq)
}

fn fence(path: &Path, elsewhere: Option<&Path>, left_at: Option<Seq>, found: &mut Examined) {
    let place = elsewhere.map_or_else(|| path.join(FENCE), Path::to_owned);
    let signed = match FenceFile::new(&place).newest() {
        Ok(Some(signed)) => signed,
        Ok(None) => {
            return found.notice(
                format!("there is no fence at {}", place.display()),
                "where fence_file is set, name that file with --fence; nothing, where nothing was \
                 ever signed; else serve refuses and says what to do. Without fence and stored \
                 checkpoints only a witness, a mirror or an auditor can tell whether this log is the \
                 newest",
            );
        }
        Err(error) => {
            let remedy = "put it back from another copy, or see what token-ledger serve says";
            return found.broken(error.to_string(), remedy);
        }
    };
    let size = signed.head.size;
    found.good(format!(
        "the fence of {}: a checkpoint of {size} records was signed last",
        signed.origin
    ));
    // A clean stop signs all that there is, and the fence comes first.
    if let Some(left_at) = left_at.filter(|left_at| left_at.next().0 < size) {
        found.broken(
            format!("the log ends at record {left_at}, before what the fence remembers: it is an old copy"),
            "restore the newest backup or mirror; serve refuses this one",
        );
    }
}

fn leftovers(path: &Path, is_in_use: bool, found: &mut Examined) {
    if is_in_use {
        return;
    }
    for entry in list(path).unwrap_or_default() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".tmp") {
            found.notice(
                format!("{name} is what an interrupted write left"),
                "nothing: the next write of that file replaces it",
            );
        }
    }
}

fn witness(path: &Path) -> Examined {
    let mut found = Examined::new(Kind::Witness);
    lock(path, &mut found);
    let anew = "make a new witness with a key of its own, and give its verifier key to the logs";
    let opened = WitnessDirectory::look(path).and_then(|directory| {
        let (key, logs) = (directory.key()?, directory.logs()?);
        Ok((directory, key, logs))
    });
    let (directory, key, logs) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            found.broken(error.to_string(), "do as it says; until then it cosigns nothing");
            return found;
        }
    };
    found.good(format!("the witness {}", key.verifier()));
    private(&path.join(WITNESS_KEY), &mut found);
    if logs.is_empty() {
        found.notice("it knows no log, so it cosigns none", "token-ledger witness add --help");
    }
    for log in logs {
        let id = OriginId::of(&log.origin);
        match directory.head(id, key.verifier()) {
            Ok(Some(last)) => found.good(format!(
                "{}: {} records, cosigned last at {}",
                log.origin, last.head.size, last.at
            )),
            Ok(None) => found.good(format!("{}: nothing cosigned yet", log.origin)),
            Err(error) => found.broken(format!("{}: {error}", log.origin), anew),
        }
        if directory.has_fork(id) {
            found.notice(
                format!("{} HAS FORKED: it signed two trees of one size", log.origin),
                "keep the two checkpoints in forks/, which prove it, and confront its operators",
            );
        }
    }
    found
}

fn tiles(path: &Path) -> Examined {
    let mut found = Examined::new(Kind::Tiles);
    let source = DirectorySource::new(path);
    if !path.join(CHECKPOINT).exists() {
        found.broken(
            "there are tiles, but no checkpoint yet: the first copy was interrupted",
            "run the same backup or mirror again: what is complete is not copied twice",
        );
        return found;
    }
    let text = newest_note(&source).map(|note| note.text().to_owned());
    let checkpoint = text
        .map_err(|error| error.to_string())
        .and_then(|text| Checkpoint::parse(&text).map_err(|error| error.to_string()));
    let checkpoint = match checkpoint {
        Ok(checkpoint) => checkpoint,
        Err(error) => return damaged(found, &error),
    };
    let size = checkpoint.head.size;
    match TileBuilder::resume(&source, size) {
        Ok(built) if built.head() == checkpoint.head => found.good(format!(
            "the log {}, {size} records, and the tiles at its end have the checkpoint's root",
            checkpoint.origin
        )),
        Ok(_) => return damaged(found, "the tiles do not have the root that the checkpoint names"),
        Err(error) => return damaged(found, &error.to_string()),
    }
    found.good("token-ledger verify --tiles checks every record and signature");
    found
}

fn damaged(mut found: Examined, what: &str) -> Examined {
    found.broken(what, "keep it as it is, copy anew into another directory, and compare");
    found
}
