//! Whether disk and vault are fit to serve from, and stay so.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::settings::Config;
use crate::ledger::open::Opened;
use crate::ledger::vault::Vault;
use crate::log::room::Room;
use crate::run::RunError;

/// So many of the newest resource owners are looked up in the vault at a start: what the engine
/// drops is what was written last. `verify` looks up all.
const SUBJECTS_CHECKED_MAX: usize = 50_000;

/// From now on a part of the disk stays free.
pub(super) fn keep_free(opened: &Opened, path: &Path, config: &Config) {
    let room = Room::new(path, config.disk_free_bytes_min);
    opened.ledger.keep_free(room.clone());
    opened.vault.keep_free(room);
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

/// Exchanges the vault's database whenever bytes of the erased stand in it, within half of the time
/// allowed.
pub(super) async fn rewrite_in_time(vault: Arc<Vault>, within_s: u64) {
    let mut turns = tokio::time::interval(Duration::from_millis(within_s.max(1) * 500));
    loop {
        turns.tick().await;
        let vault = Arc::clone(&vault);
        let done = tokio::task::spawn_blocking(move || match vault.needs_rewrite() {
            Ok(true) => vault.rewrite(),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        });
        match done.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "the vault could not be rewritten; trying again later");
            }
            Err(_) => tracing::error!("the rewriting of the vault ended early; trying again later"),
        }
    }
}
