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
/// For how many seconds before a stop checkpoints may be on their way to a witness.
const ON_THE_WAY_S_MAX: u64 = 60;

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
        // That of a stop waits for witnesses, but not for long.
        Err(error @ Untrusted::NotWitnessed { .. }) => {
            match newest_witnessed(&checkpoints, keys)? {
                Some(opened) => Ok(Some(opened)),
                None => Err(VerifyError::from(error).into()),
            }
        }
        Err(error) => Err(VerifyError::from(error).into()),
    }
}

/// The newest checkpoint that all witnesses have seen, if only those of a stop came after it: the one
/// over its last record, and those that were on their way to a witness.
fn newest_witnessed(
    checkpoints: &Checkpoints,
    keys: &Keys,
) -> Result<Option<OpenedCheckpoint>, LocalError> {
    let (mut seen, mut newest, mut behind) = (None, None, 0);
    each_checkpoint(checkpoints, |Published { head, note, at }| {
        match keys.open(&note, "a checkpoint of the directory") {
            Ok(opened) => (seen, behind) = (Some((opened, at)), 0),
            Err(_) if newest.is_none_or(|(size, _)| size < head.size) => behind += 1,
            Err(_) => {}
        }
        newest = Some((head.size, at));
        Ok(())
    })?;
    let is_recent = |at| newest.is_some_and(|(_, to)| to.seconds_since(at) <= ON_THE_WAY_S_MAX);
    let seen = seen.filter(|(_, at)| behind <= 1 || is_recent(*at));
    Ok(seen.map(|(opened, _)| opened))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::note_signer::{Cosigner, NoteSigner};
    use crate::log::checkpoint::Checkpoint;
    use crate::log::leaf::leaf_hash;
    use crate::log::side_table::MemoryTable;
    use crate::log::tree::Frontier;
    use crate::types::time::Timestamp;

    /// Checkpoints of so many records each, signed at so many seconds, cosigned or not.
    fn size_seen(published: &[(u64, u64, bool)]) -> Option<u64> {
        let signer = NoteSigner::new("log.example".parse().expect("a name"), &[1; 32]);
        let witness = Cosigner::new("witness.example".parse().expect("a name"), &[2; 32]);
        let keys = Keys::new(vec![signer.verifier().clone()], vec![witness.verifier().clone()]);
        let keys = keys.expect("keys of a log and of its witness");
        let checkpoints = Checkpoints::new(Arc::new(MemoryTable::default()));
        let mut frontier = Frontier::default();
        for (size, at_s, is_cosigned) in published {
            while frontier.size() < *size {
                frontier.append(leaf_hash(b"record"));
            }
            let (head, at) = (frontier.head(), Timestamp::from_seconds(*at_s));
            let origin = "log.example".parse().expect("an origin");
            let mut note = Checkpoint { origin, head }.sign(&signer);
            if *is_cosigned {
                note.add(witness.cosign(note.text(), at)).expect("room for a signature");
            }
            checkpoints.keep(&Published { head, at, note }).expect("stored");
        }
        let seen = newest_witnessed(&checkpoints, &keys).expect("memory is read");
        seen.map(|opened| opened.checkpoint.head.size)
    }

    #[test]
    fn what_a_stop_signed_may_lack_its_witnesses_and_nothing_else() {
        assert_eq!(size_seen(&[(3, 0, true), (5, 9000, false)]), Some(3), "that of the stop");
        assert_eq!(size_seen(&[(3, 0, true), (5, 50, false), (6, 60, false)]), Some(3));
        assert_eq!(size_seen(&[(3, 0, true), (5, 50, false), (6, 61, false)]), None);
        assert_eq!(size_seen(&[(3, 0, true), (5, 50, false), (6, 90, true)]), Some(6));
        assert_eq!(size_seen(&[(3, 0, false)]), None);
    }
}
