//! Another administrator for a ledger that nobody can administer any more: the secrets are lost, or the
//! clients disabled. A short life of the ledger with no listener, from its record of the start to
//! that of the stop, so that every auditor sees what was done, and that no client asked for it.

use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::settings::Config;
use crate::domain::client::ClientMetadata;
use crate::domain::command::Command;
use crate::entropy::Entropy;
use crate::ledger::administrator::{Administrator, new_administrator};
use crate::ledger::handle::Ledger;
use crate::ledger::open::{Opened, leave_clean_mark, open};
use crate::run::closing::{close, keep_snapshot};
use crate::run::error::RunError;
use crate::run::fitness::keep_free;
use crate::run::limits::ledger_limits;
use crate::run::note;
use crate::types::id::Seq;

/// Registers a client of this metadata in the ledger in `path`, which nothing serves meanwhile.
///
/// # Errors
/// [`RunError`]: there is no such client, or nobody was told its secret; do it again.
pub async fn add_administrator(
    path: &Path,
    metadata: ClientMetadata,
    config: &Config,
    clock: Arc<dyn Clock>,
    entropy: &dyn Entropy,
    progress: impl FnMut(Seq),
) -> Result<Administrator, RunError> {
    let (cache, copy) = (config.sled_cache_bytes_max, config.recovery_copy_bytes_max);
    let opened = open(path, ledger_limits(config), cache, copy, clock, progress)?;
    keep_free(&opened, path, config);
    let Opened { directory, ledger, snapshotter, clean, .. } = opened;
    let (administrator, register) = new_administrator(metadata, entropy);
    let recorded = record(&ledger, entropy, clean, register).await;
    close(&ledger).await?;
    recorded?;
    keep_snapshot(snapshotter, &ledger).await;
    leave_clean_mark(&directory, &ledger.state())?;
    Ok(administrator)
}

async fn record(
    ledger: &Ledger,
    entropy: &dyn Entropy,
    clean: bool,
    register: Command,
) -> Result<(), RunError> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    for command in [Command::OpenLedger { version, clean }, register, Command::CloseLedger] {
        note(ledger, entropy, command).await?;
    }
    Ok(())
}
