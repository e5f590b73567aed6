//! Whether disk and vault are fit to serve from, and stay so.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::config::settings::Config;
use crate::ledger::handle::Ledger;
use crate::ledger::open::Opened;
use crate::ledger::vault::{Vault, VaultError};
use crate::log::directory::DataDirectory;
use crate::log::room::Room;
use crate::run::error::RunError;
use crate::types::id::SubjectId;

/// So many of the newest resource owners are looked up in the vault at a start: what the engine
/// drops is what was written last. `verify` looks up all.
const SUBJECTS_CHECKED_MAX: usize = 50_000;

/// From now on a part of the disk stays free.
pub(super) fn keep_free(opened: &Opened, path: &Path, config: &Config) {
    let room = Room::new(path, config.disk_free_bytes_min);
    opened.ledger.keep_free(room.clone());
    opened.vault.keep_free(room);
}

/// Warns where other users of this machine can read the private keys.
pub(super) fn warn_of_open_keys(directory: &DataDirectory) {
    let mode = |path: &Path| std::fs::metadata(path).map_or(0, |about| about.permissions().mode());
    let keys = directory.keys_file();
    // Who may read the file, and may pass through the directory to it: first others, then the group.
    if mode(&keys) >> 2 & mode(directory.path()) & 0o011 != 0 {
        let path = keys.display();
        tracing::warn!(
            %path,
            "other users of this machine can read the private keys: chmod 600 it, and chmod 700 the \
             directory; if they may have, change the keys (keys rotate --now, keys rotate --checkpoint \
             --compromised)"
        );
    }
}

/// That the vault has everybody whom the log knows.
pub(super) fn check_vault(opened: &Opened, config: &Config) -> Result<(), RunError> {
    if config.vault_incomplete_ok == 1 {
        return Ok(());
    }
    let state = opened.ledger.state();
    let checked = opened.vault.check(state.newest_subjects(SUBJECTS_CHECKED_MAX));
    let path = opened.directory.vault_dir().display().to_string();
    checked.map_err(|source| RunError::Vault { path, source })
}

/// How often it is looked whether an erasure was left half done, in seconds.
const FINISH_S: u64 = 1;

/// Completes erasures that nobody waits for any more, and exchanges the vault's database whenever bytes
/// of the erased stand in it, within half of the time allowed.
pub(super) async fn keep_vault_in_time(vault: Arc<Vault>, ledger: Ledger, within_s: u64) {
    let mut finishing = tokio::time::interval(Duration::from_secs(FINISH_S));
    finishing.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rewriting = tokio::time::interval(Duration::from_millis(within_s.max(1) * 500));
    loop {
        let rewrites = tokio::select! {
            _ = finishing.tick() => false,
            _ = rewriting.tick() => true,
        };
        let (vault, ledger) = (Arc::clone(&vault), ledger.clone());
        let done = tokio::task::spawn_blocking(move || forget(&vault, &ledger, rewrites)).await;
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "the vault could not be looked after; trying again later");
            }
            Err(_) => tracing::error!("the look after the vault ended early; trying again later"),
        }
    }
}

/// Completes the erasures that are recorded; with `rewrites` their bytes are gone, too, when it returns.
fn forget(vault: &Vault, ledger: &Ledger, rewrites: bool) -> Result<(), VaultError> {
    let is_erased = |id: &SubjectId| ledger.state().subject(id).is_some_and(|found| found.erased);
    vault.finish_erasures(is_erased)?;
    match rewrites && vault.needs_rewrite()? {
        true => vault.rewrite(),
        false => Ok(()),
    }
}

/// Before a stop: while nothing runs, nobody would keep the time that was promised.
pub(super) async fn forget_before_stop(vault: &Arc<Vault>, ledger: &Ledger) {
    let (vault, ledger) = (Arc::clone(vault), ledger.clone());
    match tokio::task::spawn_blocking(move || forget(&vault, &ledger, true)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::error!(%error, "bytes of the erased may stand in the vault until the next start");
        }
        Err(_) => tracing::error!("the last look after the vault ended early"),
    }
}
