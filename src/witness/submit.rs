//! Keeps the newest checkpoint cosigned by one witness: one request at a time, the newest only, and
//! with patience where it fails. Nothing waits for it: neither a token nor a checkpoint.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::crypto::note::NoteSignature;
use crate::ledger::checkpoints::Published;
use crate::log::leaf::NodeHash;
use crate::log::tree::TreeHead;
use crate::log::witness::AddCheckpoint;
use crate::types::time::Timestamp;
use crate::witness::ask::{Answer, Unwitnessed, WitnessClient};

/// How often one checkpoint is submitted anew because the witness named another size.
const CONFLICTS_MAX: u32 = 3;
/// The first pause after a failure, in milliseconds; each further one is twice as long.
const PAUSE_MS: u64 = 500;

/// The log whose checkpoints are cosigned. Asked off the asynchronous threads.
pub trait Witnessed: Send + Sync {
    /// The proof that the tree of `new` extends that of `old`.
    ///
    /// # Errors
    /// Why it cannot be made; it is tried again.
    fn growth(&self, old: u64, new: u64) -> Result<Vec<NodeHash>, String>;

    /// Publishes a cosignature, checked already, over `checkpoint`.
    ///
    /// # Errors
    /// Why it cannot be kept; the witness is asked again.
    fn cosigned(&self, checkpoint: &Published, line: NoteSignature) -> Result<(), String>;
}

/// How a witness stands, for metrics and operators.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The size that it cosigned last, as far as this process knows; 0 for none yet.
    pub cosigned: u64,
    /// Its own time of that.
    pub cosigned_at: Option<Timestamp>,
    /// Since when a checkpoint waits for its cosignature; `None` when the newest has it.
    pub waiting_since: Option<Timestamp>,
    /// Submissions that failed, since the start.
    pub failures: u64,
    /// Why the last one failed; `None` after a success.
    pub fault: Option<Unwitnessed>,
    /// What puts the history in doubt; `None` after a success. A witness that cannot be asked any more
    /// has taken nothing back.
    pub alarm: Option<Unwitnessed>,
}

/// A witness, and how it stands.
pub struct Submitter {
    client: WitnessClient,
    clock: Arc<dyn Clock>,
    standing: Mutex<Standing>,
    pause_ms_max: u64,
}

impl Submitter {
    /// Submits to the witness behind `client`. After failures it pauses for `pause_ms_max`
    /// milliseconds at most.
    pub fn new(client: WitnessClient, clock: Arc<dyn Clock>, pause_ms_max: u64) -> Self {
        Self { client, clock, standing: Mutex::default(), pause_ms_max }
    }

    /// The name of the witness.
    pub fn name(&self) -> &str {
        self.client.name()
    }

    /// How the witness stands.
    pub fn standing(&self) -> Standing {
        self.standing.lock().clone()
    }

    /// Submits what is offered, until nothing is offered any more. The offers in between are
    /// skipped while one is under way. The same head signed again is submitted again: silence is
    /// witnessed, too.
    pub async fn run(
        &self,
        mut offers: tokio::sync::watch::Receiver<Option<Arc<Published>>>,
        log: Arc<dyn Witnessed>,
    ) {
        let mut failures: u32 = 0;
        // Size and root may be signed again after a silence: the time tells whether it is another.
        let mut done: Option<(TreeHead, Timestamp)> = None;
        loop {
            let offer = offers.borrow_and_update().clone();
            let Some(offer) = offer.filter(|offer| done != Some((offer.head, offer.at))) else {
                if offers.changed().await.is_err() {
                    return;
                }
                continue;
            };
            self.standing.lock().waiting_since.get_or_insert(offer.at);
            match self.submit(&offer, &log).await {
                Ok(at) => {
                    failures = 0;
                    self.note_success(&offer, at);
                    done = Some((offer.head, offer.at));
                }
                Err(fault) => {
                    self.note_failure(fault);
                    let pause = PAUSE_MS.saturating_mul(1 << failures.min(20));
                    failures = failures.saturating_add(1);
                    let pause = Duration::from_millis(pause.min(self.pause_ms_max));
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Submits one checkpoint; answers the time of its cosignature, which is published then.
    ///
    /// # Errors
    /// [`Unwitnessed`].
    pub async fn submit(
        &self,
        offer: &Arc<Published>,
        log: &Arc<dyn Witnessed>,
    ) -> Result<Timestamp, Unwitnessed> {
        let size = offer.head.size;
        // What another process of this log submitted since is learned from the first conflict.
        let mut old = self.standing.lock().cosigned;
        for _ in 0..=CONFLICTS_MAX {
            if size < old {
                return Err(Unwitnessed::Ahead { cosigned: old, size });
            }
            let proof = {
                let log = Arc::clone(log);
                tokio::task::spawn_blocking(move || log.growth(old, size)).await
            };
            let proof = proof.unwrap_or_else(|_| Err("its task ended early".to_owned()));
            let proof = proof.map_err(Unwitnessed::NoProof)?;
            let request = AddCheckpoint { old_size: old, proof, checkpoint: offer.note.clone() };
            match self.client.ask(&request, size).await? {
                Answer::Cosigned { line, at } => {
                    let (log, offer) = (Arc::clone(log), Arc::clone(offer));
                    let kept = tokio::task::spawn_blocking(move || log.cosigned(&offer, line));
                    let kept =
                        kept.await.unwrap_or_else(|_| Err("its task ended early".to_owned()));
                    return kept.map(|()| at).map_err(Unwitnessed::NotKept);
                }
                Answer::Conflict { cosigned } => old = cosigned,
            }
        }
        Err(Unwitnessed::Unsettled)
    }

    fn note_success(&self, offer: &Arc<Published>, at: Timestamp) {
        let mut standing = self.standing.lock();
        if let Some(fault) = standing.fault.take() {
            tracing::info!(witness = self.name(), %fault, "the witness cosigns again");
        }
        standing.alarm = None;
        standing.cosigned = offer.head.size;
        standing.cosigned_at = Some(at);
        standing.waiting_since = None;
    }

    fn note_failure(&self, fault: Unwitnessed) {
        let mut standing = self.standing.lock();
        standing.failures += 1;
        let witness = self.name();
        let is_new = standing.fault.as_ref() != Some(&fault);
        if fault.is_alarm() {
            tracing::error!(witness, %fault, "the history of this log is in doubt");
            standing.alarm = Some(fault.clone());
        } else if is_new {
            tracing::warn!(witness, %fault, "not cosigned; trying again with pauses");
        }
        standing.fault = Some(fault);
    }

    /// For how many seconds a checkpoint has been waiting for this witness.
    pub fn waits_s(&self) -> u64 {
        let since = self.standing.lock().waiting_since;
        since.map_or(0, |since| self.clock.now().seconds().saturating_sub(since.seconds()))
    }
}
