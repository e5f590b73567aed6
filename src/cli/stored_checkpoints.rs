//! The checkpoints that a data directory holds, as `verify` wants them.

use std::sync::Arc;

use crate::cli::export::checkpoints_of;
use crate::cli::local::LocalError;
use crate::cli::verify_error::VerifyError;
use crate::evidence::keys::{Keys, Untrusted};
use crate::evidence::verifier::Signed;
use crate::ledger::checkpoints::{Checkpoints, Published};
use crate::log::checkpoint::OpenedCheckpoint;
use crate::log::sled::SledDatabase;

/// How many checkpoints are read at once.
const CHECKPOINTS_PER_PAGE: usize = 1000;

/// Adds the heads of all checkpoints that the directory holds, each signed by a key of the log
/// where those are known; the newest one, which the witnesses must have seen.
pub(super) fn signed_before(
    database: &Arc<SledDatabase>,
    keys: &Keys,
    signed: &mut Vec<Signed>,
) -> Result<Option<OpenedCheckpoint>, LocalError> {
    let checkpoints = checkpoints_of(database)?;
    let mut newest = None;
    each_checkpoint(&checkpoints, |Published { head, note, .. }| {
        let place = format!("the directory's checkpoint of {}", head.size);
        keys.open_any(&note, &place)?;
        if signed.last().is_none_or(|last: &Signed| last.head != head) {
            signed.push(Signed { head, place });
        }
        newest = Some(note);
        Ok(())
    })?;
    let Some(newest) = newest else { return Ok(None) };
    match keys.open(&newest, "the directory's newest checkpoint") {
        Ok(opened) => Ok(Some(opened)),
        // That of a stop is signed when nobody waits for witnesses any more.
        Err(error @ Untrusted::NotWitnessed { .. }) => {
            match newest_witnessed(&checkpoints, keys)? {
                Some(opened) => Ok(Some(opened)),
                None => Err(VerifyError::from(error).into()),
            }
        }
        Err(error) => Err(VerifyError::from(error).into()),
    }
}

/// The newest checkpoint that all witnesses have seen.
fn newest_witnessed(
    checkpoints: &Checkpoints,
    keys: &Keys,
) -> Result<Option<OpenedCheckpoint>, LocalError> {
    let mut newest = None;
    each_checkpoint(checkpoints, |published| {
        newest = keys.open(&published.note, "a checkpoint of the directory").ok().or(newest.take());
        Ok(())
    })?;
    Ok(newest)
}

fn each_checkpoint(
    checkpoints: &Checkpoints,
    mut visit: impl FnMut(Published) -> Result<(), VerifyError>,
) -> Result<(), LocalError> {
    let mut from = 0;
    loop {
        let page = checkpoints.from_size(from, CHECKPOINTS_PER_PAGE).map_err(LocalError::Stored)?;
        let (full, before) = (page.len() == CHECKPOINTS_PER_PAGE, from);
        for published in page {
            from = published.head.size;
            visit(published)?;
        }
        match full {
            // A page of one size only, as after days of silence, would be read for ever.
            true if before == from => from += 1,
            true => {}
            false => return Ok(()),
        }
    }
}
