//! Trails: all records of one grant, subject or client, by the links inside the records. Its cost
//! is the size of the answer, and no record can be dropped from it unnoticed.

use crate::audit::records::decode;
use crate::domain::record::Record;
use crate::domain::state::State;
use crate::ledger::replay::{Broken, LogError};
use crate::log::block::Block;
use crate::log::store::{Damage, Store, StoreError};
use crate::types::id::{ClientId, GrantId, Seq, SubjectId};

/// Whose trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trail {
    /// A grant's.
    Grant(GrantId),
    /// A resource owner's.
    Subject(SubjectId),
    /// A client's.
    Client(ClientId),
}

impl Trail {
    /// Its newest record, as the projection knows it.
    pub fn head(&self, state: &State) -> Option<Seq> {
        match self {
            Self::Grant(id) => state.grant(id).map(|grant| grant.head),
            Self::Subject(id) => state.subject(id).map(|subject| subject.head),
            Self::Client(id) => state.client(id).map(|client| client.head),
        }
    }

    /// The record before `record` on this trail; none at its start.
    ///
    /// # Errors
    /// `()` where `record` is not on the trail, or names a later one.
    #[allow(clippy::result_unit_err)] // each caller knows which record it asked about
    pub fn back(&self, record: &Record) -> Result<Option<Seq>, ()> {
        let about = &record.about;
        let (on_it, back) = match self {
            Self::Grant(id) => (about.grant.as_ref() == Some(id), record.back.grant),
            Self::Subject(id) => (about.subject.as_ref() == Some(id), record.back.subject),
            Self::Client(id) => (about.client.as_ref() == Some(id), record.back.client),
        };
        if on_it && back.is_none_or(|back| back < record.seq) { Ok(back) } else { Err(()) }
    }
}

/// One record of a trail.
#[derive(Debug)]
pub struct Step {
    /// The exact bytes.
    pub bytes: Vec<u8>,
    /// What they say.
    pub record: Record,
}

/// Reads records one by one; those of one block cost one look-up.
pub struct Reader<'a> {
    store: &'a dyn Store,
    block: Option<Block>,
}

impl<'a> Reader<'a> {
    /// A reader of `store`.
    pub fn new(store: &'a dyn Store) -> Self {
        Self { store, block: None }
    }

    /// The record at `seq`.
    ///
    /// # Errors
    /// [`LogError`] when it is missing or cannot be read.
    pub fn step(&mut self, seq: Seq) -> Result<Step, LogError> {
        let holds = |block: &Block| block.first() <= seq && seq < block.end();
        if !self.block.as_ref().is_some_and(holds) {
            self.block = self.store.block(seq)?;
        }
        let bytes = self.block.as_ref().and_then(|block| block.record(seq));
        let missing = StoreError::Damaged { seq, what: Damage::Missing };
        let bytes = bytes.ok_or(missing)?.to_vec();
        Ok(Step { record: decode(seq, &bytes)?, bytes })
    }
}

/// The newest `limit` records of a trail that ends at `head`, oldest first, and the position of the
/// next older one where there are more.
///
/// # Errors
/// [`LogError`] when a record of it is missing, cannot be read, or is not on the trail.
pub fn walk(
    store: &dyn Store,
    trail: &Trail,
    head: Seq,
    limit: usize,
) -> Result<(Vec<Step>, Option<Seq>), LogError> {
    let mut reader = Reader::new(store);
    let mut steps = Vec::new();
    let mut at = Some(head);
    while let Some(seq) = at {
        if limit <= steps.len() {
            break;
        }
        let step = reader.step(seq)?;
        let back = trail.back(&step.record);
        at = back.map_err(|()| LogError::Broken { seq, what: Broken::OffTrail })?;
        steps.push(step);
    }
    steps.reverse();
    Ok((steps, at))
}
