//! Reading the log back: verify the links, decode, fold. The same path serves start-up, the
//! auditor's past and the offline verification. Never writes, never repairs.

use crate::domain::event::Event;
use crate::domain::record::{About, Back, NotARecord, Record};
use crate::domain::state::{Head, State};
use crate::ledger::read_ahead::{Failure, Piece, read_ahead};
use crate::log::leaf::leaf_hash;
use crate::log::store::{Store, StoreError};
use crate::types::digest::{LeafHash, ShortDigest};
use crate::types::id::{GrantId, Seq, SubjectId};
use crate::types::time::Timestamp;

/// How many records [`touch`] looks at before they are folded.
const TOUCHED: usize = 32;

/// What is wrong with a record.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(#[from] NotARecord),
    /// It says that it is another one.
    #[error("it says it is record {says}: one was left out, added or moved")]
    OutOfOrder {
        /// The `seq` member.
        says: Seq,
    },
    /// Its `prev` is not the leaf hash of the record before.
    #[error(
        "its prev is not the hash of the record before: that one was altered, or this one was \
         put in its place"
    )]
    Unchained,
    /// Its time lies before that of the record before.
    #[error("its time {at} lies before that of the record before ({before})")]
    BackInTime {
        /// Its time.
        at: Timestamp,
        /// The time of the record before.
        before: Timestamp,
    },
    /// A back link led to it, but it is not on that trail.
    #[error("a back link names it, but it is not on that trail")]
    OffTrail,
    /// Its back links do not name the newest records of its trails.
    #[error("its back links are {says:?}, but the newest records of its trails are {known:?}")]
    BackLinks {
        /// What it says.
        says: Back,
        /// What the log says.
        known: Back,
    },
}

/// Why the log could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The store below failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record is not what it must be.
    #[error("record {seq} is broken: {what}. Leave the directory as it is and restore a backup")]
    Broken {
        /// Which record.
        seq: Seq,
        /// In which way.
        what: Broken,
    },
}

/// A record with its hash.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The record.
    pub record: Record,
    /// Its leaf hash.
    pub leaf: LeafHash,
}

/// Reads a record's bytes and checks them against all that came before it.
///
/// # Errors
/// [`LogError::Broken`] names the record and what is wrong with it.
pub fn verify_next(state: &State, bytes: &[u8]) -> Result<Verified, LogError> {
    let seq = state.next_seq();
    check_next(state, bytes).map_err(|what| LogError::Broken { seq, what })
}

fn check_next(state: &State, bytes: &[u8]) -> Result<Verified, Broken> {
    let record = Record::decode(bytes)?;
    check_chain(state.head(), &record)?;
    check_back(state, &record)?;
    Ok(Verified { leaf: leaf_hash(bytes), record })
}

/// Whether `record` follows the record `head`: its place, its `prev` and its time.
///
/// # Errors
/// [`Broken`]: it does not.
pub fn check_chain(head: Option<Head>, record: &Record) -> Result<(), Broken> {
    if record.seq != head.map_or(Seq(0), |head| head.seq.next()) {
        return Err(Broken::OutOfOrder { says: record.seq });
    }
    if record.prev != head.map(|head| head.leaf) {
        return Err(Broken::Unchained);
    }
    match head.map(|head| head.at).filter(|before| record.at < *before) {
        Some(before) => Err(Broken::BackInTime { at: record.at, before }),
        None => Ok(()),
    }
}

/// Whether the back links of `record` name the newest records of its trails, as `state` knows them.
///
/// # Errors
/// [`Broken::BackLinks`]: they do not.
pub fn check_back(state: &State, record: &Record) -> Result<(), Broken> {
    same_back(record, back(state, &record.about))
}

fn same_back(record: &Record, known: Back) -> Result<(), Broken> {
    if record.back == known {
        return Ok(());
    }
    Err(Broken::BackLinks { says: record.back, known })
}

/// The newest record of each trail that `about` names.
pub fn back(state: &State, about: &About) -> Back {
    Back {
        grant: about.grant.and_then(|id| state.grant(&id)).map(|grant| grant.head),
        subject: about.subject.and_then(|id| state.subject(&id)).map(|subject| subject.head),
        client: about.client.as_ref().and_then(|id| state.client(id)).map(|client| client.head),
    }
}

/// Folds the whole log into a fresh projection, telling `progress` the leaf hashes of some records at
/// a time, with the seq of the first.
///
/// # Errors
/// [`LogError`] when a record is missing or not what it must be: the log is left as it is, and the
/// caller must not serve it.
pub fn replay(
    store: &dyn Store,
    progress: impl FnMut(Seq, &[LeafHash]) -> Result<(), StoreError>,
) -> Result<State, LogError> {
    let mut state = State::default();
    replay_onto(&mut state, store, progress)?;
    Ok(state)
}

/// As [`replay`], from where `state` ends: that must be the fold of all records before.
///
/// # Errors
/// As [`replay`]; `state` is of no use then.
pub fn replay_onto(
    state: &mut State,
    store: &dyn Store,
    mut progress: impl FnMut(Seq, &[LeafHash]) -> Result<(), StoreError>,
) -> Result<(), LogError> {
    read_ahead(store, state.next_seq(), |Piece { records, leaves, failure }| {
        let first = state.next_seq();
        for (records, leaves) in records.chunks(TOUCHED).zip(leaves.chunks(TOUCHED)) {
            touch(state, records.iter().map(Touched::by));
            for (record, leaf) in records.iter().zip(leaves) {
                let seq = state.next_seq();
                fold_next(state, record, *leaf).map_err(|what| LogError::Broken { seq, what })?;
            }
        }
        match failure {
            Some(Failure::Store(error)) => Err(error.into()),
            Some(Failure::Unreadable(why)) => {
                Err(LogError::Broken { seq: state.next_seq(), what: why.into() })
            }
            None => Ok(progress(first, &leaves)?),
        }
    })
}

/// Checks a record as [`check_next`] does and folds it in, which comes to know the back links on its way.
fn fold_next(state: &mut State, record: &Record, leaf: LeafHash) -> Result<(), Broken> {
    check_chain(state.head(), record)?;
    let known = state.apply(record, leaf);
    same_back(record, known)
}

/// What a record or command to come will look up.
#[derive(Default)]
pub(super) struct Touched {
    pub(super) grant: Option<GrantId>,
    pub(super) subject: Option<SubjectId>,
    /// Of an access token to be issued.
    pub(super) token: Option<ShortDigest>,
}

impl Touched {
    fn by(record: &Record) -> Self {
        let About { grant, subject, .. } = record.about;
        let token = if let Event::AccessTokenIssued(data) = &record.event {
            Some(data.digest.short())
        } else {
            None
        };
        Self { grant, subject, token }
    }
}

/// Looks at what the records or commands to come are about, none after the other: so the processor
/// waits for the memory of several at once, and who folds or decides them finds it at hand.
pub(super) fn touch(state: &State, to_come: impl Iterator<Item = Touched>) {
    for Touched { grant, subject, token } in to_come {
        let grant = grant.and_then(|id| state.grant(&id));
        let refresh = grant.and_then(|grant| grant.refresh_token()).map(|token| token.generation);
        let subject = subject.or(grant.and_then(|grant| grant.subject));
        let subject = subject.and_then(|id| state.subject(&id)).map(|subject| subject.head);
        let is_known = token.is_some_and(|digest| state.token(&digest).is_some());
        std::hint::black_box((refresh, subject, is_known));
    }
}

/// The exact bytes of one record.
///
/// # Errors
/// [`LogError::Store`] when it cannot be read.
pub fn bytes_of(store: &dyn Store, seq: Seq) -> Result<Option<Vec<u8>>, LogError> {
    let block = store.block(seq)?;
    Ok(block.and_then(|block| block.record(seq).map(<[u8]>::to_vec)))
}

/// One record of the log, decoded.
///
/// # Errors
/// [`LogError`] when it cannot be read, or is no record.
pub fn record_of(store: &dyn Store, seq: Seq) -> Result<Option<Verified>, LogError> {
    let Some(bytes) = bytes_of(store, seq)? else { return Ok(None) };
    let broken = |what: NotARecord| LogError::Broken { seq, what: what.into() };
    let record = Record::decode(&bytes).map_err(broken)?;
    Ok(Some(Verified { leaf: leaf_hash(&bytes), record }))
}
