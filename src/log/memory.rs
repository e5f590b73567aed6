//! A store in memory, for tests and simulations: fails when told to, and can be tampered with.
//! Keeps nothing after the process, so it must never serve a real ledger.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use parking_lot::Mutex;

use super::block::{Block, framed};
use super::file::FileError;
use super::store::{Damage, Store, StoreError, end_after};
use crate::types::id::Seq;

/// What becomes of the records of an append that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing was stored.
    Lost,
    /// All was stored, and yet the caller is told of a failure.
    Kept,
}

/// Records in memory, in the same blocks as on a disk.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<State>);

#[derive(Debug)]
struct State {
    /// What a restart finds; after a kept fault more than readers see.
    blocks: BTreeMap<Seq, Block>,
    /// What readers see.
    end: Seq,
    /// Appends tried so far, without those that were refused.
    appends: u64,
    faults: BTreeMap<u64, Fault>,
    poisoned: bool,
}

impl Default for State {
    fn default() -> Self {
        let (blocks, faults) = (BTreeMap::new(), BTreeMap::new());
        Self { blocks, end: Seq(0), appends: 0, faults, poisoned: false }
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the `nth` append (from 0, counted since the store was made or reopened) fail.
    pub fn fail_append(&self, nth: u64, fault: Fault) {
        self.0.lock().faults.insert(nth, fault);
    }

    /// Makes the next append fail.
    pub fn fail_next_append(&self, fault: Fault) {
        let mut state = self.0.lock();
        let next = state.appends;
        state.faults.insert(next, fault);
    }

    /// What a restart finds: all that survived, no faults, and not poisoned.
    pub fn reopen(&self) -> Self {
        Self::over(self.0.lock().blocks.clone())
    }

    /// A store over the same records but one, which holds `bytes` now, in an intact block: as if
    /// somebody who knows the format had changed it.
    ///
    /// # Panics
    /// When there is no record at `seq`, or `bytes` do not fit into its block.
    pub fn with_record(&self, seq: Seq, bytes: &[u8]) -> Self {
        let mut blocks = self.0.lock().blocks.clone();
        let block = holding(&blocks, seq).expect("a record can be changed where there is one");
        let records = block.iter().map(|(at, record)| if at == seq { bytes } else { record });
        let records: Vec<Vec<u8>> = records.map(<[u8]>::to_vec).collect();
        blocks.insert(block.first(), changed(block.first(), &records));
        Self::over(blocks)
    }

    /// A store over the same records without the block that holds `seq`: a hole.
    pub fn without_block(&self, seq: Seq) -> Self {
        let mut blocks = self.0.lock().blocks.clone();
        if let Some(block) = holding(&blocks, seq) {
            blocks.remove(&block.first());
        }
        Self::over(blocks)
    }

    /// Forgets every record from `end` on, as a restored old backup would.
    pub fn truncate(&self, end: Seq) {
        let mut state = self.0.lock();
        if let Some(block) = end.0.checked_sub(1).and_then(|last| holding(&state.blocks, Seq(last)))
        {
            let kept = block.iter().take_while(|(seq, _)| *seq < end);
            let kept: Vec<Vec<u8>> = kept.map(|(_, record)| record.to_vec()).collect();
            state.blocks.insert(block.first(), changed(block.first(), &kept));
        }
        state.blocks.split_off(&end);
        state.end = end_of(&state.blocks);
    }

    fn over(blocks: BTreeMap<Seq, Block>) -> Self {
        let end = end_of(&blocks);
        Self(Mutex::new(State { blocks, end, ..State::default() }))
    }
}

impl Store for MemoryStore {
    fn append(&self, first: Seq, records: &[Vec<u8>]) -> Result<(), StoreError> {
        let mut state = self.0.lock();
        if state.poisoned {
            return Err(StoreError::Poisoned);
        }
        let end = end_after(first, state.end, records)?;
        let blocks = framed(first, records)?;
        let blocks = blocks.into_iter().map(|block| (block.first(), block));

        let nth = state.appends;
        state.appends += 1;
        let fault = state.faults.remove(&nth);
        if fault != Some(Fault::Lost) {
            state.blocks.extend(blocks);
        }
        if fault.is_some() {
            state.poisoned = true;
            let source = io::Error::other("a fault was injected");
            return Err(FileError { what: "write", path: PathBuf::from("memory"), source }.into());
        }
        state.end = end;
        Ok(())
    }

    fn block(&self, seq: Seq) -> Result<Option<Block>, StoreError> {
        let state = self.0.lock();
        if state.end <= seq {
            return Ok(None);
        }
        let block = holding(&state.blocks, seq);
        block.map(Some).ok_or(StoreError::Damaged { seq, what: Damage::Missing })
    }

    fn end(&self) -> Result<Seq, StoreError> {
        Ok(self.0.lock().end)
    }
}

fn holding(blocks: &BTreeMap<Seq, Block>, seq: Seq) -> Option<Block> {
    let (_, block) = blocks.range(..=seq).next_back()?;
    (seq < block.end()).then(|| block.clone())
}

fn end_of(blocks: &BTreeMap<Seq, Block>) -> Seq {
    blocks.last_key_value().map_or(Seq(0), |(_, block)| block.end())
}

fn changed(first: Seq, records: &[Vec<u8>]) -> Block {
    Block::framed(first, records).expect("a changed block still holds its records")
}
