//! The vault in one file, sealed under a key that follows from the key file: line by line, each
//! bound to its place, with an end. Each copy replaces the one before, and with it the erased.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::crypto::seal::{Sealed, SubjectKey, open, seal};
use crate::entropy::Entropy;
use crate::ledger::vault::{PersonRow, Vault, VaultError};
use crate::log::file::{FILE_MODE, FileError, PartialFile};
use crate::log::store::StoreError;
use crate::types::id::SubjectId;

/// The name of the copy in its directory.
pub const VAULT_COPY: &str = "vault.copy";

const HEADER: &str = "token-ledger vault copy v1";
const LINE_BYTES_MAX: u64 = 4096;
const SUBJECT_BYTES: usize = 16;
/// How many people are put back at once.
const PEOPLE_AT_ONCE: usize = 256;

/// Why a copy of the vault cannot be read. Nothing of it may be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultCopyError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not a copy of the vault, or a line of it was changed, moved or left out; or the key
    /// file is another ledger's.
    #[error(
        "{} is damaged at line {line}, or does not belong to this key file: take another copy",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
    },
    /// The vault below failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// What a line is sealed for: its place, so that none can be moved, or left out at the end.
fn place(line: u64) -> Vec<u8> {
    format!("{HEADER}, row {line}").into_bytes()
}

fn end(rows: u64) -> Vec<u8> {
    format!("{HEADER}, end after {rows}").into_bytes()
}

/// Writes all of `vault` to the file `path`; answers how many people are in it. Registrations wait
/// meanwhile, look-ups do not.
///
/// # Errors
/// [`VaultError`]: the copy before, if any, is still there.
pub fn write(vault: &Vault, path: &Path, entropy: &dyn Entropy) -> Result<u64, VaultError> {
    let key = vault.copy_key();
    let mut file = PartialFile::create(path, FILE_MODE).map_err(StoreError::from)?;
    file.write(format!("{HEADER}\n").as_bytes()).map_err(StoreError::from)?;
    let mut people = 0;
    let mut too_long = None;
    vault.each(|subject, row| {
        let plain = Zeroizing::new([subject.as_bytes(), row].concat());
        match seal(&key, &place(people), &plain, entropy) {
            Ok(sealed) => file.write(format!("{sealed}\n").as_bytes())?,
            Err(error) => too_long = Some(error),
        }
        people += 1;
        Ok(())
    })?;
    if let Some(error) = too_long {
        return Err(error.into());
    }
    let sealed = seal(&key, &end(people), b"end", entropy)?;
    file.write(format!("{sealed}\n").as_bytes()).map_err(StoreError::from)?;
    file.finish().map_err(StoreError::from)?;
    Ok(people)
}

/// Reads the copy in `path` to its end, handing `take` its people a few at a time.
///
/// # Errors
/// [`VaultCopyError`]; what was handed over already may not be used either.
pub fn read(
    path: &Path,
    key: &SubjectKey,
    mut take: impl FnMut(&[PersonRow]) -> Result<(), VaultError>,
) -> Result<u64, VaultCopyError> {
    let file = File::open(path).map_err(FileError::on("open", path))?;
    let mut lines = Lines { path, file: BufReader::new(file), line: 0 };
    if lines.next()?.as_deref() != Some(HEADER) {
        return Err(lines.damaged());
    }
    let mut people: u64 = 0;
    let mut batch: Vec<PersonRow> = Vec::with_capacity(PEOPLE_AT_ONCE);
    loop {
        let line = lines.next()?.ok_or_else(|| lines.damaged())?;
        let sealed: Sealed = line.parse().map_err(|_| lines.damaged())?;
        if let Ok(plain) = open(key, &place(people), &sealed) {
            batch.push(person(&plain).ok_or_else(|| lines.damaged())?);
            people += 1;
            if batch.len() == PEOPLE_AT_ONCE {
                take(&batch)?;
                batch.clear();
            }
            continue;
        }
        if open(key, &end(people), &sealed).is_err() || lines.next()?.is_some() {
            return Err(lines.damaged());
        }
        if !batch.is_empty() {
            take(&batch)?;
        }
        return Ok(people);
    }
}

fn person(plain: &[u8]) -> Option<PersonRow> {
    let (subject, row) = plain.split_first_chunk::<SUBJECT_BYTES>()?;
    Some((SubjectId::from_bytes(*subject), Zeroizing::new(row.to_vec())))
}

struct Lines<'a> {
    path: &'a Path,
    file: BufReader<File>,
    line: u64,
}

impl Lines<'_> {
    fn damaged(&self) -> VaultCopyError {
        VaultCopyError::Damaged { path: self.path.to_owned(), line: self.line }
    }

    /// The next line without its newline; `None` at the end of the file.
    fn next(&mut self) -> Result<Option<String>, VaultCopyError> {
        self.line += 1;
        let mut bytes = Vec::new();
        let read = self.file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes);
        read.map_err(FileError::on("read", self.path))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let line = bytes.strip_suffix(b"\n").ok_or_else(|| self.damaged())?;
        let text = std::str::from_utf8(line).map_err(|_| self.damaged())?;
        Ok(Some(text.to_owned()))
    }
}
