//! The notary of a service: its keys, its fence, and when it signs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::settings::Config;
use crate::domain::checkpoint_keys::signing_now;
use crate::edge::Edge;
use crate::edge::keyring::Keyring;
use crate::ledger::checkpoints::{CHECKPOINTS, Checkpoints};
use crate::ledger::handle::Ledger;
use crate::ledger::notary::{Heartbeat, Notary};
use crate::ledger::open::{FIRST_RECORDS, OpenError};
use crate::ledger::unsigned::Unsigned;
use crate::log::directory::DataDirectory;
use crate::log::fence::FenceFile;
use crate::log::sled::{SledDatabase, SledRows};
use crate::oauth::issuer::Issuer;
use crate::run::error::RunError;

/// Where the fence of a ledger is.
fn fence_path(directory: &DataDirectory, config: &Config) -> PathBuf {
    let configured = config.fence_file.path();
    configured.map_or_else(|| directory.fence_file(), std::path::Path::to_owned)
}

/// The notary, once fence, checkpoints and log agree.
pub(super) fn notary_of(
    directory: &DataDirectory,
    ledger: &Ledger,
    database: &Arc<SledDatabase>,
    keyring: &Keyring,
    issuer: &Issuer,
    config: &Config,
) -> Result<Notary, RunError> {
    let unusable = |why: &dyn std::fmt::Display| RunError::Issuer(why.to_string());
    let origin = issuer.origin_name().parse().map_err(|why| unusable(&why))?;
    let name = issuer.origin_name().parse().map_err(|why| unusable(&why))?;
    let table = SledRows::within(Arc::clone(database), CHECKPOINTS).map_err(OpenError::from)?;
    let fence = FenceFile::new(&fence_path(directory, config));
    let heartbeat = Heartbeat { heartbeat_s: u64::from(config.checkpoint_heartbeat_s) };
    let signers = signing_now(&ledger.state(), keyring.checkpoint_signers(&name));
    let (tree, checkpoints) = (Arc::clone(ledger.tree()), Checkpoints::new(Arc::new(table)));
    let notary = Notary::open(tree, origin, checkpoints, Box::new(fence), heartbeat, signers)
        .map_err(OpenError::from)?;
    let records = ledger.tree().size();
    if FIRST_RECORDS < records && !notary.remembers() {
        // As after a crash in the first second, after a restore, or when both were taken away.
        tracing::warn!(
            records,
            "neither a fence nor a checkpoint is left of this log: if it was served for longer than a \
             second, compare it with a witness, a mirror or an auditor's checkpoint; from here alone \
             nobody can tell whether it is an old copy"
        );
    }
    Ok(notary)
}

/// Signs checkpoints often enough that no record waits for longer than `interval_ms`: a look takes
/// place after three quarters of it, and the signing has the rest.
pub(super) async fn keep_covered_in_time(edge: Arc<Edge>, interval_ms: u64) {
    let every = Duration::from_millis((interval_ms * 3 / 4).max(1));
    let mut turns = tokio::time::interval(every);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = turns.tick() => {}
            () = edge.notary.wanted().notified() => {}
        }
        keep_covered(&edge).await;
    }
}

/// Off the asynchronous threads, one at a time: a fence on a disk that hangs holds up nobody else.
pub(super) async fn keep_covered(edge: &Edge) {
    let (notary, now) = (Arc::clone(&edge.notary), edge.ledger.now());
    match tokio::task::spawn_blocking(move || notary.keep_up(now)).await {
        Ok(Ok(())) => {}
        Ok(Err(error @ Unsigned::Unread(_))) => {
            tracing::error!(%error, "a checkpoint is not signed in time; trying again");
        }
        Ok(Err(error)) => tracing::error!(%error, "checkpoints are no longer signed"),
        Err(_) => tracing::error!("the signing of a checkpoint ended early; trying again later"),
    }
}
