//! A fence that was lost or damaged, made anew. Never moves one back.

use crate::ledger::checkpoints::Checkpoints;
use crate::ledger::notary::reaches;
use crate::ledger::tree::Tree;
use crate::ledger::unsigned::Unsigned;
use crate::log::checkpoint::{Checkpoint, Origin};
use crate::log::fence::{Advance, Fence, FenceError};
use crate::log::tree::TreeHead;

/// Makes a fence that was lost anew, from the newest checkpoint that the log itself has and one that
/// somebody else `vouched` for: a witness, a mirror, an auditor. The log must reach both.
///
/// # Errors
/// [`Unsigned`]; the fence is as it was. One that is there is never moved back.
pub fn restore_fence(
    tree: &Tree,
    origin: &Origin,
    checkpoints: &Checkpoints,
    fence: &dyn Fence,
    vouched: Option<TreeHead>,
) -> Result<Checkpoint, Unsigned> {
    let stored = checkpoints.newest()?.map(|stored| stored.head);
    let mut newest: Option<TreeHead> = None;
    for head in stored.into_iter().chain(vouched) {
        reaches(tree, &head)?;
        newest = newest.filter(|newest| head.size <= newest.size).or(Some(head));
    }
    let head = newest.ok_or(Unsigned::Unknown(0))?;
    let found = match fence.newest() {
        Ok(Some(old)) if old.origin != *origin => {
            let (place, found, own) = (fence.place(), old.origin, origin.clone());
            return Err(Unsigned::ForeignFence { place, found, own });
        }
        Ok(Some(old)) if head.size < old.head.size => {
            let (place, fenced, newest) = (fence.place(), old.head.size, head.size);
            return Err(Unsigned::FenceAhead { place, fenced, newest });
        }
        Ok(found) => Ok(found),
        // What is damaged is what this is for.
        Err(error @ FenceError::Damaged { .. }) => Err(error),
        Err(error @ (FenceError::Unread(_) | FenceError::Busy { .. } | FenceError::Io(_))) => {
            return Err(error.into());
        }
    };
    let checkpoint = Checkpoint { origin: origin.clone(), head };
    let advance = match found {
        Ok(expected) => fence.advance(expected.as_ref(), &checkpoint)?,
        Err(_) => fence.mend(&checkpoint)?,
    };
    match advance {
        Advance::Done => Ok(checkpoint),
        Advance::Moved => Err(Unsigned::Moved { place: fence.place() }),
    }
}
