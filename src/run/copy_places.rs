//! Whether the copies of a backup would lie where they may: not together, not one in the other, and not
//! in the data directory. Only looks at paths, and writes nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::settings::Config;

/// Why a place for copies is refused; nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum CopyPlaceRefused {
    /// One place for both.
    #[error(
        "backup_vault_dir and backup_keys_dir are one place, {}: the vault's copy is sealed under a \
         key that follows from the keys, so who finds both can read it. Name another directory for \
         one of them, best on another medium",
        path.display()
    )]
    Together {
        /// The place.
        path: PathBuf,
    },
    /// One place in the other.
    #[error(
        "{inner} is {}, in {outer}: the vault's copy is sealed under a key that follows from the keys, \
         so who finds both can read it. Name two directories of which neither is in the other, best on \
         two media",
        path.display()
    )]
    Within {
        /// Which of them is in the other.
        inner: &'static str,
        /// The other one.
        outer: &'static str,
        /// Where the one within is.
        path: PathBuf,
    },
    /// A place beside what is copied.
    #[error(
        "{setting} is {}, in the data directory: the copy would be lost with it, and who was erased \
         would stay in it beside the keys that open it. Name a directory elsewhere, best on another \
         medium",
        path.display()
    )]
    InData {
        /// Which of them.
        setting: &'static str,
        /// Where it is.
        path: PathBuf,
    },
}

/// That copies would lie neither in one place, nor one in the other, nor in the data directory `data`. A
/// place that is not there is warned of: its medium may be mounted before the next backup.
///
/// # Errors
/// [`CopyPlaceRefused`].
pub(super) fn check_copy_places(data: &Path, config: &Config) -> Result<(), CopyPlaceRefused> {
    let data = resolved(data);
    let vault = ("backup_vault_dir", config.backup_vault_dir.path());
    let keys = ("backup_keys_dir", config.backup_keys_dir.path());
    for (setting, place) in [vault, keys] {
        let Some(place) = place else { continue };
        if resolved(place).starts_with(&data) {
            return Err(CopyPlaceRefused::InData { setting, path: place.to_owned() });
        }
        if !place.is_dir() {
            let directory = place.display();
            tracing::warn!(
                setting,
                %directory,
                "the directory for a copy is not there, so backups fail: make it, or mount its medium"
            );
        }
    }
    if vault.1.is_some() != keys.1.is_some() {
        tracing::warn!(
            "only one of backup_vault_dir and backup_keys_dir is set, so backups fail but for --log-only: \
             set both"
        );
    }
    let (Some(vault_dir), Some(keys_dir)) = (vault.1, keys.1) else { return Ok(()) };
    if resolved(vault_dir) == resolved(keys_dir) {
        return Err(CopyPlaceRefused::Together { path: vault_dir.to_owned() });
    }
    for ((inner, path), (outer, around)) in
        [((vault.0, vault_dir), (keys.0, keys_dir)), ((keys.0, keys_dir), (vault.0, vault_dir))]
    {
        if resolved(path).starts_with(resolved(around)) {
            return Err(CopyPlaceRefused::Within { inner, outer, path: path.to_owned() });
        }
    }
    Ok(())
}

/// `path` without links, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut missing: Vec<OsString> = Vec::new();
    let mut there = path.as_path();
    loop {
        if let Ok(found) = there.canonicalize() {
            return missing.iter().rev().fold(found, |path, name| path.join(name));
        }
        let (Some(parent), Some(name)) = (there.parent(), there.file_name()) else { return path };
        missing.push(name.to_owned());
        there = parent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::RawConfig;

    #[test]
    fn a_copy_lies_neither_with_the_other_one_nor_in_the_data_directory() {
        let folder = tempfile::tempdir().expect("a directory");
        let at = |name: &str| folder.path().join(name).display().to_string();
        for name in ["data", "data/copies", "vault", "keys", "data-of-another"] {
            std::fs::create_dir(at(name)).expect("a directory");
        }
        std::os::unix::fs::symlink(at("keys"), at("link")).expect("a link");
        let checked = |vault: &str, keys: &str| {
            let raw = RawConfig {
                backup_vault_dir: if vault.is_empty() { String::new() } else { at(vault) },
                backup_keys_dir: if keys.is_empty() { String::new() } else { at(keys) },
                ..RawConfig::default()
            };
            check_copy_places(&folder.path().join("data"), &Config::try_from(raw).expect("valid"))
        };
        for (vault, keys) in [
            ("vault", "keys"),
            ("vault", ""),
            ("vault", "vault-of-another"),
            ("", ""),
            ("data-of-another", "keys"),
            ("not/mounted/vault", "not/mounted/keys"),
        ] {
            assert!(checked(vault, keys).is_ok(), "{vault} {keys}");
        }
        for (vault, keys) in [
            ("vault", "vault"),
            ("keys/", "link"),
            ("link", "keys/../keys"),
            ("not/mounted", "not/mounted"),
        ] {
            let refused = checked(vault, keys);
            assert!(matches!(refused, Err(CopyPlaceRefused::Together { .. })), "{vault} {keys}");
        }
        for (vault, keys, at_fault) in [
            ("vault/of/ledger", "vault", "backup_vault_dir"),
            ("keys/../vault", "vault/keys", "backup_keys_dir"),
            ("link/vault", "keys", "backup_vault_dir"),
            ("not/mounted", "not/mounted/keys", "backup_keys_dir"),
        ] {
            let refused = checked(vault, keys).err();
            let Some(CopyPlaceRefused::Within { inner, .. }) = refused else {
                panic!("{vault} {keys}: {refused:?}")
            };
            assert_eq!(inner, at_fault);
        }
        for (vault, keys, at_fault) in [
            ("data", "keys", "backup_vault_dir"),
            ("data/copies", "keys", "backup_vault_dir"),
            ("vault", "vault/../data/not/made", "backup_keys_dir"),
            ("", "data/copies", "backup_keys_dir"),
        ] {
            let refused = checked(vault, keys).err();
            let Some(CopyPlaceRefused::InData { setting, .. }) = refused else {
                panic!("{vault} {keys}: {refused:?}")
            };
            assert_eq!(setting, at_fault);
        }
    }
}
