//! What state a directory is in, and what to do: told from its files alone, without opening a
//! database, which would change it. Never changes anything itself.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::crypto::keys::KeyFile;
use crate::evidence::builder::TileBuilder;
use crate::evidence::directory::DirectorySource;
use crate::evidence::source::{CHECKPOINT, newest_note};
use crate::ledger::vault_files::REWRITE_DUE;
use crate::log::checkpoint::Checkpoint;
use crate::log::directory::{CLEAN, CleanMark, FENCE, KEYS, LOCK, LOG, LOG_COPY, MARKER, Marker};
use crate::log::fence::{Fence, FenceFile};
use crate::log::file::{beside, list, read_if_there};
use crate::log::rescue::CONFIRMED;
use crate::log::vaults::POINTER;

use super::restore::UNFINISHED;

/// What a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// There is nothing.
    Missing,
    /// A ledger's data directory, perhaps an incomplete one.
    Ledger,
    /// A log as tiles: a backup, a mirror or an export.
    Tiles,
    /// Something else.
    Foreign,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// As it should be.
    Good,
    /// Nothing stops, but somebody should know.
    Notice,
    /// It cannot be used as it is.
    Broken,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub weight: Weight,
    /// What was found.
    pub what: String,
    /// What to do about it; empty where there is nothing to do.
    #[serde(rename = "do")]
    pub remedy: String,
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Examined {
    /// What the directory is.
    pub kind: Kind,
    /// The findings, in the order of the examination.
    pub findings: Vec<Finding>,
}

impl Examined {
    fn new(kind: Kind) -> Self {
        Self { kind, findings: Vec::new() }
    }

    fn add(&mut self, weight: Weight, what: impl Into<String>, remedy: impl Into<String>) {
        self.findings.push(Finding { weight, what: what.into(), remedy: remedy.into() });
    }

    fn good(&mut self, what: impl Into<String>) {
        self.add(Weight::Good, what, "");
    }

    fn notice(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(Weight::Notice, what, remedy);
    }

    fn broken(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(Weight::Broken, what, remedy);
    }

    /// Whether it can be used as it is.
    pub fn is_usable(&self) -> bool {
        self.findings.iter().all(|finding| finding.weight < Weight::Broken)
    }
}

/// Examines the directory `path`. A ledger that is being served may change meanwhile.
pub fn examine(path: &Path) -> Examined {
    let mut found = if !path.exists() {
        let mut found = Examined::new(Kind::Missing);
        let what = format!("there is no {}", path.display());
        found.broken(what, "check the path; or token-ledger init, or token-ledger restore");
        found
    } else if path.join(MARKER).exists() || path.join(POINTER).exists() {
        ledger(path)
    } else if path.join(CHECKPOINT).exists() || path.join("tile").is_dir() {
        tiles(path)
    } else {
        let mut found = Examined::new(Kind::Foreign);
        let what = format!("{} is no ledger and no directory of tiles", path.display());
        found.broken(what, "check the path; an empty directory can be given to token-ledger init");
        found
    };
    let unfinished = beside(path, UNFINISHED);
    if unfinished.exists() {
        let what = format!("{} is half a restore", unfinished.display());
        found.notice(what, "run token-ledger restore again, which begins anew; or remove it");
    }
    found
}

fn ledger(path: &Path) -> Examined {
    let mut found = Examined::new(Kind::Ledger);
    marker(path, &mut found);
    let is_in_use = lock(path, &mut found);
    clean_mark(path, is_in_use, &mut found);
    keys(path, &mut found);
    vault(path, is_in_use, &mut found);
    log(path, is_in_use, &mut found);
    fence(path, &mut found);
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
            format!("an init that was interrupted: {MARKER}, which is written last, is missing"),
            "remove the directory and run token-ledger init again; nothing was acknowledged yet",
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

fn clean_mark(path: &Path, is_in_use: bool, found: &mut Examined) {
    let mark = match read_if_there(&path.join(CLEAN)) {
        Ok(mark) => mark,
        Err(error) => return found.broken(error.to_string(), "check who owns the directory"),
    };
    match mark.map(|bytes| serde_json::from_slice::<CleanMark>(&bytes)) {
        Some(Ok(mark)) => found.good(format!("closed cleanly after record {}", mark.seq)),
        Some(Err(error)) => found.broken(
            format!("the mark of the clean stop is damaged: {error}"),
            format!("remove {CLEAN}: the ledger then starts as after a crash"),
        ),
        None if is_in_use => {}
        None => found.notice(
            "not closed cleanly: a crash, a kill, or a restore",
            "nothing: token-ledger serve keeps a copy of the log, replays it and checks every \
             record; what was acknowledged is there",
        ),
    }
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
    let mode = std::fs::metadata(&file).map(|about| about.permissions().mode() & 0o777);
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        found.notice(format!("others may read {KEYS}"), format!("chmod 600 {}", file.display()));
    }
}

fn vault(path: &Path, is_in_use: bool, found: &mut Examined) {
    let named = read_if_there(&path.join(POINTER)).ok().flatten().unwrap_or_default();
    let named = String::from_utf8_lossy(&named).trim_end().to_owned();
    let is_named = named.starts_with("vault-");
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
    let others = names.filter(|name| name.starts_with("vault-") && *name != named).count();
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

fn log(path: &Path, is_in_use: bool, found: &mut Examined) {
    let log = path.join(LOG);
    let bytes = std::fs::metadata(log.join("db")).map_or(0, |about| about.len());
    if bytes == 0 || !log.join("conf").is_file() {
        found.broken(
            "the database of the log is missing or empty",
            "leave what is there as it is, and run token-ledger restore into another directory",
        );
    } else {
        let size = format!("the log is there, {bytes} bytes");
        let next = "token-ledger verify --data checks every record, while no server runs";
        found.add(Weight::Good, size, if is_in_use { "" } else { next });
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

fn fence(path: &Path, found: &mut Examined) {
    let file = FenceFile::new(&path.join(FENCE));
    match file.newest() {
        Ok(Some(signed)) => {
            let size = signed.head.size;
            found.good(format!("the fence: a checkpoint of {size} records was signed last"));
        }
        Ok(None) => found.notice(
            format!("there is no {FENCE} here"),
            "nothing, where fence_file names another place, or nothing was ever signed; else serve \
             refuses and says what to do",
        ),
        Err(error) => found.broken(
            error.to_string(),
            "put it back from another copy, or see what token-ledger serve says",
        ),
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
