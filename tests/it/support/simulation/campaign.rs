//! Many seeds one after the other; one that fails is run again and tells its story.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::support::simulation::odds::Tally;
use crate::support::simulation::{Notes, run};

/// The last turns of a failing seed that are shown.
const NOTES_SHOWN: usize = 40;

/// Runs `count` seeds from `first`, as long as `goes_on`; answers how many, and what happened in them.
///
/// # Errors
/// The seed that failed, with what it did before.
pub(crate) fn campaign(
    first: u64,
    count: u64,
    mut goes_on: impl FnMut() -> bool,
) -> Result<(u64, Tally), String> {
    let mut total = Tally::default();
    for seed in first..first + count {
        if !goes_on() {
            return Ok((seed - first, total));
        }
        match catch_unwind(|| run(seed, None)) {
            Ok((tally, _)) => total += tally,
            Err(_) => return Err(story(seed)),
        }
    }
    Ok((count, total))
}

/// What a seed does, to its end or to where it fails.
pub(crate) fn story(seed: u64) -> String {
    let notes = Notes::default();
    let again = notes.clone();
    let failed = catch_unwind(AssertUnwindSafe(|| run(seed, Some(again)))).is_err();
    let notes = notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let shown = notes.len().saturating_sub(NOTES_SHOWN);
    let how = if failed { "failed after" } else { "went well:" };
    let again = format!("cargo bench --bench simulate -- --seed {seed}");
    format!("seed {seed} {how}\n{}\nagain: {again}", notes[shown..].join("\n"))
}
