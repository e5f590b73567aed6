//! Signs checkpoints: the fence first, then the table, then everybody else. What it signed once it
//! never takes back: a smaller tree, or another one of that size, is never signed.
//! A failure stops the signing until the next start, and nothing but the signing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};

use crate::crypto::note::{Note, NoteError, NoteSignature};
use crate::crypto::note_signer::NoteSigner;
use crate::ledger::checkpoints::{Checkpoints, Published};
use crate::ledger::tree::Tree;
use crate::ledger::unsigned::Unsigned;
use crate::log::checkpoint::{Checkpoint, Origin};
use crate::log::fence::{Advance, Fence, FenceError};
use crate::log::tree::TreeHead;
use crate::types::id::Seq;
use crate::types::time::Timestamp;

/// When checkpoints are due beyond those that are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Heartbeat {
    /// After how many seconds without one, however silent the log is.
    pub heartbeat_s: u64,
}

/// The notary of one log.
pub struct Notary {
    tree: Arc<Tree>,
    origin: Origin,
    checkpoints: Checkpoints,
    fence: Box<dyn Fence>,
    heartbeat: Heartbeat,
    signers: RwLock<Arc<Vec<NoteSigner>>>,
    /// Held while one checkpoint is signed, which waits for disks: never taken by who only asks.
    turn: Mutex<Turn>,
    failed: Mutex<Option<String>>,
    newest: watch::Sender<Option<Arc<Published>>>,
    wanted: Notify,
    signed: AtomicU64,
}

/// What one signing at a time needs.
struct Turn {
    /// What the fence remembers.
    fenced: Option<Checkpoint>,
    /// Whether an attempt was cut short, which may have moved it all the same.
    is_unsure: bool,
    /// Who signs once another checkpoint was signed by those who do now.
    next: Option<Vec<NoteSigner>>,
    signed_at: Option<Timestamp>,
}

impl Notary {
    /// The notary of `tree`, once fence, stored checkpoints and tree agree. It has signed nothing
    /// yet; what it signed before the start is published again.
    ///
    /// # Errors
    /// [`Unsigned`]: the log must not be served; the message says what to do.
    pub fn open(
        tree: Arc<Tree>,
        origin: Origin,
        checkpoints: Checkpoints,
        fence: Box<dyn Fence>,
        heartbeat: Heartbeat,
        signers: Vec<NoteSigner>,
    ) -> Result<Self, Unsigned> {
        let fenced = fence.newest()?;
        let stored = checkpoints.newest()?;
        if let Some(stored) = &stored {
            reaches(&tree, &stored.head)?;
            let (place, size) = (fence.place(), stored.head.size);
            match &fenced {
                None => return Err(Unsigned::FenceMissing { place, size }),
                Some(fenced) if fenced.origin == origin && fenced.head.size < size => {
                    let (fenced, stored) = (fenced.head.size, size);
                    return Err(Unsigned::FenceBehind { place, fenced, stored });
                }
                Some(_) => {}
            }
        }
        if let Some(fenced) = &fenced {
            if fenced.origin != origin {
                let (place, found) = (fence.place(), fenced.origin.clone());
                return Err(Unsigned::ForeignFence { place, found, own: origin });
            }
            reaches(&tree, &fenced.head)?;
        }
        let signed_at = stored.as_ref().map(|stored| stored.at);
        let newest = watch::Sender::new(stored.map(Arc::new));
        Ok(Self {
            tree,
            origin,
            checkpoints,
            fence,
            heartbeat,
            signers: RwLock::new(Arc::new(signers)),
            turn: Mutex::new(Turn { fenced, is_unsure: false, next: None, signed_at }),
            failed: Mutex::default(),
            newest,
            wanted: Notify::new(),
            signed: AtomicU64::new(0),
        })
    }

    /// The log's name in checkpoints.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// All that was signed.
    pub fn checkpoints(&self) -> &Checkpoints {
        &self.checkpoints
    }

    /// The newest published checkpoint.
    pub fn newest(&self) -> Option<Arc<Published>> {
        self.newest.borrow().clone()
    }

    /// The newest published checkpoint, each time there is a newer one, or the same with more
    /// signatures.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.newest.subscribe()
    }

    /// Whether it remembers a checkpoint: if it does not, an old copy of the log looks like a new one.
    pub fn remembers(&self) -> bool {
        self.newest().is_some() || self.turn.lock().fenced.is_some()
    }

    /// How many checkpoints were signed since the start.
    pub fn signed(&self) -> u64 {
        self.signed.load(Ordering::Relaxed)
    }

    /// Why nothing is signed any more, if that is so.
    pub fn failure(&self) -> Option<String> {
        self.failed.lock().clone()
    }

    /// Asks for a checkpoint now rather than in time; [`Notary::watch`] tells when it is there.
    pub fn ask(&self) {
        self.wanted.notify_one();
    }

    /// Told each time when somebody has asked.
    pub fn wanted(&self) -> &Notify {
        &self.wanted
    }

    /// Exchanges the keys that sign from now on.
    pub fn sign_with(&self, signers: Vec<NoteSigner>) {
        *self.signers.write() = Arc::new(signers);
    }

    /// The keys that sign, as verifiers know them, in the order of their signatures.
    pub fn verifiers(&self) -> Vec<crate::crypto::note_key::NoteVerifier> {
        self.signers.read().iter().map(|signer| signer.verifier().clone()).collect()
    }

    /// Signs a checkpoint if the log has grown or was silent for as long as a heartbeat. Called
    /// more often than `checkpoint_interval_ms`, no record waits longer than that. Blocks.
    ///
    /// # Errors
    /// As [`Notary::sign`].
    pub fn keep_up(&self, now: Timestamp) -> Result<(), Unsigned> {
        let is_due = {
            let turn = self.turn.lock();
            let signed = turn.fenced.as_ref().map_or(0, |fenced| fenced.head.size);
            let last = turn.signed_at;
            let silent = last.is_none_or(|at| at.plus_seconds(self.heartbeat.heartbeat_s) <= now);
            self.failed.lock().is_none() && (signed < self.tree.size() || silent)
        };
        if is_due { self.sign(now).map(drop) } else { Ok(()) }
    }

    /// Signs the tree as it is now, and publishes it. Blocks for a few syncs; nobody who appends
    /// waits for it.
    ///
    /// # Errors
    /// [`Unsigned`]: nothing was published, and nothing will be until the next start, but after
    /// [`Unsigned::Unread`], which the next attempt may be spared. What was published before stays.
    pub fn sign(&self, now: Timestamp) -> Result<Arc<Published>, Unsigned> {
        self.sign_once(&mut self.turn.lock(), now)
    }

    /// Signs a last checkpoint by the keys that sign now, which covers record `seq`, unless one that
    /// was published does so; from then on `next` sign. Nothing is signed in between. Blocks.
    ///
    /// # Errors
    /// As [`Notary::sign`]: the keys that sign stay as they were; after [`Unsigned::Unread`] they sign the
    /// next checkpoint and no other.
    pub fn hand_over(
        &self,
        seq: Seq,
        next: Vec<NoteSigner>,
        now: Timestamp,
    ) -> Result<(), Unsigned> {
        let mut turn = self.turn.lock();
        if self.newest().is_none_or(|newest| newest.head.size <= seq.0) {
            // If that is not possible for the moment, the next checkpoint is the last one of these keys.
            turn.next = Some(next);
            self.sign_once(&mut turn, now).map(drop)
        } else {
            self.sign_with(next);
            Ok(())
        }
    }

    fn sign_once(&self, turn: &mut Turn, now: Timestamp) -> Result<Arc<Published>, Unsigned> {
        if let Some(failed) = self.failure() {
            return Err(Unsigned::Stopped(failed));
        }
        let signed = self.sign_in(turn, now);
        if let Err(error) = &signed
            && !matches!(error, Unsigned::Unread(_))
        {
            *self.failed.lock() = Some(error.to_string());
            // Whoever waits for a checkpoint looks again, and learns that there will be none.
            self.newest.send_modify(|_| {});
        }
        if signed.is_ok()
            && let Some(next) = turn.next.take()
        {
            self.sign_with(next);
        }
        signed
    }

    fn sign_in(&self, turn: &mut Turn, now: Timestamp) -> Result<Arc<Published>, Unsigned> {
        let head = self.tree.head();
        if let Some(fenced) = &turn.fenced {
            reaches(&self.tree, &fenced.head)?;
        }
        let checkpoint = Checkpoint { origin: self.origin.clone(), head };
        let signers = Arc::clone(&self.signers.read());
        let Some((first, others)) = signers.split_first() else {
            return Err(Unsigned::Stopped("there is no checkpoint key".to_owned()));
        };
        let mut note = checkpoint.sign(first);
        for more in others {
            note.add(more.sign(note.text()))?;
        }
        // A checkpoint has no time. Signed with one, that of a heartbeat says how long it was silent.
        for signer in signers.iter() {
            note.add(signer.date(note.text(), now))?;
        }
        // Cosignatures of the same tree stay until there are newer ones.
        if let Some(same) = self.newest().filter(|newest| newest.head == head) {
            add_missing(&mut note, same.note.signatures().to_vec())?;
        }
        // The order is the point: after a crash between any two of these steps, the fence is at
        // or beyond everything that anybody was given. It may be shared with a copy of this ledger
        // that somebody started: who comes second signs nothing.
        if turn.is_unsure {
            self.find_out(turn)?;
        }
        match self.fence.advance(turn.fenced.as_ref(), &checkpoint) {
            Ok(Advance::Done) => turn.fenced = Some(checkpoint),
            Ok(Advance::Moved) => return Err(Unsigned::Moved { place: self.fence.place() }),
            Err(error) => {
                turn.is_unsure = error.is_passing();
                return Err(unmoved(error));
            }
        }
        let published = Published { head, at: now, note };
        self.checkpoints.keep(&published)?;
        turn.signed_at = Some(now);
        self.signed.fetch_add(1, Ordering::Relaxed);
        let published = Arc::new(published);
        self.newest.send_replace(Some(Arc::clone(&published)));
        Ok(published)
    }

    /// What the fence remembers after an attempt that was cut short: what it did before, or what that one
    /// would have signed, which is the beginning of this log either way.
    fn find_out(&self, turn: &mut Turn) -> Result<(), Unsigned> {
        let found = self.fence.newest().map_err(unmoved)?;
        if let Some(found) = &found {
            let is_ours = found.origin == self.origin && reaches(&self.tree, &found.head).is_ok();
            if !is_ours {
                return Err(Unsigned::Moved { place: self.fence.place() });
            }
        }
        let was = |fenced: &Option<Checkpoint>| fenced.as_ref().map_or(0, |one| one.head.size);
        if was(&found) < was(&turn.fenced) {
            return Err(Unsigned::Moved { place: self.fence.place() });
        }
        if let Some(found) = &found
            && turn.fenced.as_ref() != Some(found)
        {
            // It has its name, and that may not be durable: before anything is built on it, it is.
            let advance = self.fence.advance(turn.fenced.as_ref(), found).map_err(unmoved)?;
            if advance == Advance::Moved {
                return Err(Unsigned::Moved { place: self.fence.place() });
            }
        }
        (turn.fenced, turn.is_unsure) = (found, false);
        Ok(())
    }

    /// Adds cosignatures to a checkpoint that was published, newer ones in the place of older ones
    /// of the same key; the caller has checked them. The newest checkpoint is then published again.
    ///
    /// # Errors
    /// [`Unsigned`]; the checkpoint stays as it is.
    pub fn add_cosignatures(
        &self,
        published: &Published,
        cosignatures: Vec<NoteSignature>,
    ) -> Result<Arc<Published>, Unsigned> {
        let _turn = self.turn.lock();
        // What came in meanwhile must not be lost.
        let newest = self.newest();
        let base = match &newest {
            Some(newest) if newest.head == published.head => newest.as_ref(),
            Some(_) | None => published,
        };
        let ours = |line: &NoteSignature| cosignatures.iter().any(|new| is_of_one_key(new, line));
        let mut kept = base.note.signatures().iter().filter(|line| !ours(line)).cloned();
        let Some(first) = kept.next() else { return Err(Unsigned::Unknown(base.head.size)) };
        let mut note = Note::new(base.note.text().to_owned(), first)?;
        for line in kept.chain(cosignatures.iter().cloned()) {
            note.add(line)?;
        }
        let cosigned = Arc::new(Published { note, ..base.clone() });
        self.checkpoints.keep(&cosigned)?;
        if newest.is_some_and(|newest| newest.head == cosigned.head) {
            self.newest.send_replace(Some(Arc::clone(&cosigned)));
        }
        Ok(cosigned)
    }
}

fn unmoved(error: FenceError) -> Unsigned {
    if error.is_passing() { Unsigned::Unread(error) } else { error.into() }
}

fn is_of_one_key(a: &NoteSignature, b: &NoteSignature) -> bool {
    a.id() == b.id() && a.name() == b.name()
}

fn add_missing(note: &mut Note, lines: Vec<NoteSignature>) -> Result<(), NoteError> {
    for line in lines {
        if !note.signatures().iter().any(|have| is_of_one_key(have, &line)) {
            note.add(line)?;
        }
    }
    Ok(())
}

/// Whether the tree begins with that of `signed`.
pub(super) fn reaches(tree: &Tree, signed: &TreeHead) -> Result<(), Unsigned> {
    let found = tree.size();
    if found < signed.size {
        return Err(Unsigned::Shorter { signed: signed.size, found });
    }
    match tree.root(signed.size)? == signed.root {
        true => Ok(()),
        false => Err(Unsigned::Forked { size: signed.size }),
    }
}
