//! A ledger that was not closed cleanly: whether what was acknowledged is there, as far as files tell.
//! Never says so of what it has not found.

use std::path::Path;

use crate::log::directory::{LOG, REACHED};
use crate::log::outline::{Outline, end_with_journal, outline};
use crate::log::reached;
use crate::types::id::Seq;

use super::findings::Examined;

const WHAT: &str = "not closed cleanly: a crash, a kill, or a restore";

/// Compares how far the log had come with how far its files go.
pub(super) fn unclean(path: &Path, found: &mut Examined) {
    let reached = match reached::read(&path.join(REACHED)) {
        Ok(reached) => reached.map(|(seq, _)| seq),
        Err(error) => return found.broken(error.to_string(), "check who owns the directory"),
    };
    let end = match end(&path.join(LOG)) {
        Ok(end) => end,
        Err(error) => return found.broken(error, "leave it as it is, and see what serve says"),
    };
    let replayed = "token-ledger serve keeps a copy of the log, replays it and checks every record";
    match (reached, end) {
        (Some(reached), Some(end)) if reached < end => found.notice(
            WHAT,
            format!(
                "nothing: {replayed}; the journal and the files hold all that was noted as \
                 acknowledged, up to record {reached}"
            ),
        ),
        (Some(reached), Some(end)) => found.broken(
            format!(
                "{WHAT}; record {reached} was on the disk before, and the journal and the files end \
                 before record {end}: acknowledged records are missing, and serve refuses"
            ),
            "put back the journal, or whatever was taken away; else leave it as it is, and run \
             token-ledger restore into another directory",
        ),
        (Some(_) | None, Some(_) | None) => found.notice(
            WHAT,
            format!(
                "{replayed}, and says what is missing; from the files alone it cannot be told whether \
                 what was acknowledged is there"
            ),
        ),
    }
}

/// The first record that is in no file; `None` where records may be in the database alone, as in
/// format 1, or where the outline of the log says what is wrong.
fn end(log: &Path) -> Result<Option<Seq>, String> {
    let Ok(Outline { files: 1.., end, .. }) = outline(log) else { return Ok(None) };
    end_with_journal(log, end).map(Some).map_err(|error| error.to_string())
}
