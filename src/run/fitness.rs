//! Whether disk and vault are fit to serve from.

use std::path::Path;

use crate::config::settings::Config;
use crate::ledger::open::Opened;
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
