//! Judges a log from its first record to its last: dense, chained, back-linked, its tree against
//! what was signed, and every command as the rules have it. Pure; the bytes are handed in.

use crate::domain::event::Event;
use crate::domain::judge::{COMMAND_RECORDS_MAX, Judge, Unlawful};
use crate::domain::record::{NotARecord, Record};
use crate::domain::state::{Head, State};
use crate::ledger::replay::{Broken, Verified, check_back, check_chain};
use crate::log::leaf::leaf_hash;
use crate::log::tree::{Frontier, TreeHead};
use crate::types::digest::LeafHash;
use crate::types::id::Seq;

/// A tree that somebody signed, and that the log must have had at that size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Size and root.
    pub head: TreeHead,
    /// Where it was signed, for messages: "the checkpoint FILE".
    pub place: String,
}

/// What was found to be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// How many records there are, and the root over them.
    pub tree: TreeHead,
    /// The last record; none in an empty log.
    pub head: Option<Head>,
}

/// Why a log is not what it must be. The first bad record is named: those before it are whole.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A record is not what it must be.
    #[error("record {seq} is broken: {what}")]
    Broken {
        /// Which record.
        seq: Seq,
        /// In which way.
        what: Broken,
    },
    /// A record is well-formed and linked, and could not have happened.
    #[error("record {} could not have happened: {}", .0.seq, .0.what)]
    Unlawful(Unlawful),
    /// Another tree than the one that was signed.
    #[error(
        "the first {size} records have the root {found}, and {place} names {signed}: a record \
         was changed before it was written out, or this is a fork"
    )]
    Root {
        /// How many records.
        size: u64,
        /// Their root.
        found: String,
        /// The root that was signed.
        signed: String,
        /// Where.
        place: String,
    },
    /// Fewer records than were signed.
    #[error("there are {records} records, and {place} covers {size}: the end was cut off")]
    Short {
        /// How many there are.
        records: u64,
        /// How many were signed.
        size: u64,
        /// Where.
        place: String,
    },
    /// The log calls itself by another name than its checkpoint.
    #[error("the log is of {found}, and its checkpoint of {signed}")]
    Origin {
        /// What the first record says.
        found: String,
        /// What was signed.
        signed: String,
    },
}

/// A record's bytes, read: what can be done before the records before it are judged.
///
/// # Errors
/// [`NotARecord`].
pub fn read(bytes: &[u8]) -> Result<Verified, NotARecord> {
    Ok(Verified { record: Record::decode(bytes)?, leaf: leaf_hash(bytes) })
}

/// How a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With the last record of a command, as every checkpoint does.
    Whole,
    /// Anywhere: somebody asked for records up to a number.
    Anywhere,
}

/// Judges record after record; see the module.
#[derive(Debug, Default)]
pub struct Verifier {
    state: State,
    judge: Judge,
    tree: Frontier,
    head: Option<Head>,
    /// The records of the command under way. They are folded in together, after they were judged.
    command: Vec<Record>,
    leaves: Vec<LeafHash>,
    /// By size, the smallest last.
    signed: Vec<Signed>,
    origin: Option<String>,
}

impl Verifier {
    /// A verifier that compares the tree with each of `signed`, in any order.
    pub fn new(mut signed: Vec<Signed>) -> Self {
        signed.sort_by_key(|signed| std::cmp::Reverse(signed.head.size));
        Self { signed, ..Self::default() }
    }

    /// How many records were taken so far.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The origin that the first record names; none before it, or where it names none.
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// [`Fault`] naming the first bad record, which may be an earlier one of the same command. The
    /// verifier is of no use then.
    pub fn take(&mut self, next: Result<Verified, NotARecord>) -> Result<(), Fault> {
        self.compare()?;
        let seq = Seq(self.tree.size());
        let checked = next.map_err(Broken::from).and_then(|next| {
            check_chain(self.head, &next.record)?;
            Ok(next)
        });
        let next = match checked {
            Ok(next) => next,
            Err(what) => {
                // An earlier record of the command may be the first bad one.
                self.close(End::Anywhere)?;
                return Err(Fault::Broken { seq, what });
            }
        };
        let full = COMMAND_RECORDS_MAX < self.command.len();
        let same = self.command.last().is_some_and(|last| last.request == next.record.request);
        if full || !same {
            self.close(End::Whole)?;
        }
        if let (0, Event::LedgerCreated(created)) = (seq.0, &next.record.event) {
            self.origin = Some(created.origin.clone());
        }
        self.head = Some(Head { seq, at: next.record.at, leaf: next.leaf });
        self.tree.append(next.leaf);
        self.command.push(next.record);
        self.leaves.push(next.leaf);
        Ok(())
    }

    /// Compares what is signed at this size.
    fn compare(&mut self) -> Result<(), Fault> {
        while let Some(signed) = self.signed.pop() {
            let size = signed.head.size;
            if self.tree.size() < size {
                self.signed.push(signed);
                return Ok(());
            }
            let found = self.tree.root();
            if found != signed.head.root {
                let (found, signed_root) = (found.to_string(), signed.head.root.to_string());
                return Err(Fault::Root { size, found, signed: signed_root, place: signed.place });
            }
        }
        Ok(())
    }

    /// Judges the command under way, and folds it in.
    fn close(&mut self, end: End) -> Result<(), Fault> {
        let judged = match end {
            End::Whole => self.judge.judge(&self.state, &self.command),
            End::Anywhere => self.judge.judge_beginning(&self.state, &self.command),
        };
        let unlawful = judged.err();
        for (record, leaf) in self.command.drain(..).zip(self.leaves.drain(..)) {
            let seq = record.seq;
            // A wrong link is the plainer fault, and may be why the rules say no.
            check_back(&self.state, &record).map_err(|what| Fault::Broken { seq, what })?;
            if let Some(unlawful) = unlawful.clone().filter(|unlawful| unlawful.seq == seq) {
                return Err(Fault::Unlawful(unlawful));
            }
            self.state.apply(&record, leaf);
        }
        Ok(())
    }

    /// Judges the end; answers what is whole, and its fold.
    ///
    /// # Errors
    /// As [`Verifier::take`], and when fewer records came than were signed.
    pub fn finish(mut self, end: End) -> Result<(Whole, State), Fault> {
        self.compare()?;
        self.close(end)?;
        let tree = self.tree.head();
        match self.signed.pop() {
            Some(Signed { head, place }) => {
                Err(Fault::Short { records: tree.size, size: head.size, place })
            }
            None => Ok((Whole { tree, head: self.head }, self.state)),
        }
    }
}
