//! Step 15: the log alone makes the state of the live service, and a changed byte is found.

use crate::demo::Play;
use crate::demo::error::DemoError;
use crate::ledger::replay::{LogError, replay};
use crate::log::leaf::leaf_hash;
use crate::log::memory::MemoryStore;
use crate::log::store::{Store, records_from};
use crate::log::tree::Frontier;
use crate::types::id::Seq;

/// How often the live state may move on while the log is replayed: counted refusals are written
/// when nothing else is.
const ATTEMPTS_MAX: usize = 20;

/// Runs it; answers how many records were verified.
///
/// # Errors
/// [`DemoError`] at the first thing that is not as stated.
pub(super) fn run(play: &mut Play<'_, '_>, changed: Seq) -> Result<u64, DemoError> {
    let Play { stage, tell, .. } = play;
    tell.part("The proof")?;
    tell.step(15, "The log is replayed into an empty projection, and verified")?;
    tell.say(
        "Each record holds the SHA-256 of the one before it. We read the log from its first \
         record, check each hash, time and back link, and fold it into a fresh state:",
    )?;
    let store = stage.ledger().store();
    let mut same = None;
    for _ in 0..ATTEMPTS_MAX {
        let fresh = replay(store, |_, _| Ok(()))?;
        let live = stage.ledger().state();
        if fresh.head() == live.head() {
            same = Some((fresh.canonical(), live.canonical(), fresh.next_seq().0));
            break;
        }
    }
    let (fresh, live, records) = same.unwrap_or_default();
    let differing = fresh.iter().zip(&live).filter(|(fresh, live)| fresh != live).count();
    let differing = differing + fresh.len().abs_diff(live.len());
    let lines = fresh.len();
    tell.line(&format!("      records verified and folded   {records}"))?;
    tell.line(&format!("      lines of the fresh state      {lines}"))?;
    tell.line(&format!("      lines that differ from live   {differing}"))?;
    tell.stated().holds("records in the log", "none", 0 < records && !fresh.is_empty())?;
    tell.stated().is("differences to the live state:", 0, differing)?;

    let (copy, root) = copied(store, Seq(records))?;
    tell.line(&format!("      Merkle root over all of them  {root}"))?;
    tell.say(&format!(
        "Whoever writes this root down can find out later whether anything before it was changed. \
         To see that the check is worth something, we change one letter of record {changed} in a \
         copy, as somebody with the disk in hands could, its checksum included:"
    ))?;
    let bytes = copy.block(changed).map_err(LogError::from)?;
    let bytes = bytes.and_then(|block| block.record(changed).map(<[u8]>::to_vec));
    let bytes = bytes.unwrap_or_default();
    let reason = b"\"reason\":\"";
    let letter = bytes.windows(reason.len()).position(|found| found == reason);
    let letter = letter.map(|at| at + reason.len());
    tell.stated().holds("a record with a reason", "none", letter.is_some())?;
    let forged: Vec<u8> = bytes
        .iter()
        .enumerate()
        .map(|(at, byte)| if Some(at) == letter { byte ^ 0x20 } else { *byte })
        .collect();
    let found = match replay(&copy.with_record(changed, &forged), |_, _| Ok(())) {
        Ok(_) => "nothing is wrong".to_owned(),
        Err(error) => error.to_string(),
    };
    let named = format!("record {} is broken", changed.next());
    tell.stated().holds(&named, &found, found.starts_with(&named))?;
    tell.say(&format!("found: {found}"))?;
    tell.ok("the replayed state equals the live one, and the log is whole")?;
    Ok(records)
}

/// The records up to `end` in memory, and the root of the tree over them (RFC 6962 section 2.1).
fn copied(store: &dyn Store, end: Seq) -> Result<(MemoryStore, String), DemoError> {
    let (copy, mut tree) = (MemoryStore::new(), Frontier::default());
    for block in records_from(store, Seq(0)) {
        let block = block.map_err(LogError::from)?;
        let records = block.iter().take_while(|(seq, _)| *seq < end);
        let records: Vec<Vec<u8>> = records.map(|(_, bytes)| bytes.to_vec()).collect();
        if records.is_empty() {
            break;
        }
        records.iter().for_each(|bytes| tree.append(leaf_hash(bytes)));
        copy.append(block.first(), &records).map_err(LogError::from)?;
    }
    Ok((copy, tree.root().to_string()))
}
