//! What only a journal has of its log. Judges both, and changes neither.

use std::path::Path;

use super::super::block::Block;
use super::super::leaf::leaf_hash;
use super::super::store::{Damage, JournalDamage, Store, StoreError};
use super::{Frame, no_record};
use crate::types::id::Seq;

/// The record before `seq`, or `None` for the first one.
pub(in crate::log) fn record_before(
    log: &dyn Store,
    seq: Seq,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(before) = seq.0.checked_sub(1).map(Seq) else { return Ok(None) };
    let block = log.block(before)?;
    Ok(block.as_ref().and_then(|block| block.record(before)).map(<[u8]>::to_vec))
}

/// The records that `frames` have and `log` lacks: they begin where it ends. What both have must be
/// the same; a last frame that was torn is not among `frames`, for nobody was told of it.
pub(in crate::log) fn missing(
    frames: &[Frame],
    log: &dyn Store,
    path: &Path,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let damaged = |what| StoreError::Journal { path: path.to_owned(), what };
    let log_end = log.end()?;
    let mut missing: Vec<Vec<u8>> = Vec::new();
    let mut block: Option<Block> = None;
    for Frame { after, blocks } in frames {
        for (seq, record) in blocks.iter().flat_map(Block::iter) {
            let end = Seq(log_end.0 + missing.len() as u64);
            if seq < log_end {
                if block.as_ref().is_none_or(|block| block.record(seq).is_none()) {
                    block = log.block(seq)?;
                }
                let known = block.as_ref().and_then(|block| block.record(seq));
                let lost = StoreError::Damaged { seq, what: Damage::Missing };
                if known.ok_or(lost)? != record {
                    return Err(damaged(JournalDamage::Differs { seq }));
                }
            } else if seq < end {
                let known = usize::try_from(seq.0 - log_end.0).ok().and_then(|i| missing.get(i));
                if known.is_none_or(|known| known != record) {
                    return Err(damaged(JournalDamage::Differs { seq }));
                }
            } else if end < seq {
                return Err(damaged(JournalDamage::Gap { from: end, until: seq }));
            } else {
                if blocks.first().is_some_and(|block| block.first() == seq) {
                    let before = match missing.last() {
                        Some(record) => Some(record.clone()),
                        None => record_before(log, seq)?,
                    };
                    if before.map_or_else(no_record, |record| leaf_hash(&record)) != *after {
                        return Err(damaged(JournalDamage::Unchained { seq }));
                    }
                }
                missing.push(record.to_vec());
            }
        }
    }
    Ok(missing)
}
