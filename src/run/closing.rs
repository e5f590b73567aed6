//! From the last answer to a closed ledger.

use std::sync::Arc;

use crate::edge::Edge;
use crate::ledger::checkpoints::Published;
use crate::ledger::handle::Ledger;
use crate::ledger::snapshot::Snapshotter;
use crate::run::error::RunError;

/// Stops the writer once it has answered what waits.
pub(super) async fn close(ledger: &Ledger) -> Result<(), RunError> {
    let ledger = ledger.clone();
    match tokio::task::spawn_blocking(move || ledger.stop()).await {
        Ok(stopped) => Ok(stopped?),
        Err(_) => Err(RunError::Ended),
    }
}

/// A checkpoint that covers the record of the stop.
pub(super) async fn cover_the_end(edge: &Edge) -> Option<Arc<Published>> {
    let (notary, now) = (Arc::clone(&edge.notary), edge.ledger.now());
    match tokio::task::spawn_blocking(move || notary.sign(now)).await {
        Ok(Ok(published)) => return Some(published),
        Ok(Err(error)) => tracing::error!(%error, "the end of the log has no checkpoint"),
        Err(_) => tracing::error!("the signing of the last checkpoint ended early"),
    }
    None
}

/// The next start reads this instead of the log.
pub(super) async fn keep_snapshot(snapshotter: Option<Snapshotter>, ledger: &Ledger) {
    let Some(snapshotter) = snapshotter else { return };
    let ledger = ledger.clone();
    let kept = tokio::task::spawn_blocking(move || {
        let state = ledger.state();
        let frontier = ledger.tree().frontier(state.next_seq().0);
        frontier.map(|frontier| snapshotter.stop(&state, &frontier))
    });
    match kept.await {
        Ok(Ok(Ok(_))) => {}
        Ok(Ok(Err(error))) => tracing::warn!(%error, "no snapshot: the next start takes longer"),
        Ok(Err(error)) => tracing::warn!(%error, "no snapshot: the next start takes longer"),
        Err(_) => tracing::error!("making the last snapshot ended early"),
    }
}
