//! The keys that sign checkpoints, and the change from one to the next. The log tells which ones
//! sign: a key signs from its record on, and the one before it goes on beside it for a while, so
//! that who knows only the old key learns of the new one under the old one's signature.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::crypto::keys::KeyFile;
use crate::crypto::note_key::{KeyName, NoteVerifier};
use crate::crypto::note_signer::NoteSigner;
use crate::domain::checkpoint_keys::{
    checkpoint_key_record, checkpoint_keys, checkpoint_kid, ends_older_keys, signing_now,
};
use crate::domain::record::Actor;
use crate::domain::state::Key;
use crate::edge::fault::Fault;
use crate::edge::rotate::{BY_ITSELF, By};
use crate::edge::{Caller, Edge};
use crate::entropy::bytes;
use crate::ledger::unsigned::Unsigned;
use crate::types::id::{KeyId, Seq};
use crate::types::time::Timestamp;

/// What came of a rotation of the checkpoint key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotatedCheckpointKey {
    /// The new key.
    pub kid: KeyId,
    /// How auditors write it.
    pub vkey: String,
    /// Until when the one before signs beside it; none where it signs no more.
    pub both_until: Option<Timestamp>,
    /// Whether it was made now, or an earlier change is still under way.
    pub made: bool,
}

impl Edge {
    /// Makes the next checkpoint key. It signs beside the one before for the overlap that is
    /// configured; where a change is under way already, that is the answer. With `compromised` there
    /// is always a new one, and all before it sign nothing more once a checkpoint of theirs covers
    /// its record.
    ///
    /// # Errors
    /// Unavailable when a record is not known to be durable, or no checkpoint is signed;
    /// [`Fault::Keys`] when the key file cannot be written. Asking again is safe, and what the log
    /// speaks of is completed by the next [`Edge::keep_checkpoint_keys`].
    pub async fn rotate_checkpoint_key(
        &self,
        actor: Actor,
        caller: &Caller,
        compromised: bool,
    ) -> Result<RotatedCheckpointKey, Fault> {
        let _turn = self.changing.lock().await;
        let by = By { actor, origin: Some(caller.in_clear()) };
        let under_way = if compromised { None } else { self.under_way()? };
        let made = under_way.is_none();
        let kid = match under_way {
            Some(kid) => kid,
            None if compromised => self.replace_checkpoint_key(by).await?,
            None => self.add_checkpoint_key(by, false).await?.0,
        };
        let state = self.ledger.state();
        let Some(key) = state.key(&kid) else {
            return Err(Fault::Broken("a key that was added is not there"));
        };
        let both_until = key.added_at.plus_seconds(self.limits.checkpoint_key_overlap_s);
        let both_until = (!ends_older_keys(key)).then_some(both_until);
        let vkey = key.public.get("vkey").and_then(|vkey| vkey.as_str()).unwrap_or_default();
        Ok(RotatedCheckpointKey { vkey: vkey.to_owned(), kid, both_until, made })
    }

    /// The newest key, where it does not sign alone yet. One whose private half is lost never will.
    fn under_way(&self) -> Result<Option<KeyId>, Fault> {
        let signers = self.checkpoint_signers()?;
        let state = self.ledger.state();
        let signing = signing_now(&state, signers).into_iter();
        let signing: Vec<KeyId> = signing.map(|key| checkpoint_kid(key.verifier())).collect();
        let keys = checkpoint_keys(&state).into_iter();
        let mut signing = keys.filter(|key| signing.contains(&key.id));
        Ok(signing.next().and(signing.next_back()).map(|newest| newest.id.clone()))
    }

    async fn replace_checkpoint_key(&self, by: By) -> Result<KeyId, Fault> {
        // Without a checkpoint nobody would hand over to it.
        if let Some(failed) = self.notary.failure() {
            return Err(Unsigned::Stopped(failed).into());
        }
        // What an earlier attempt left unfinished comes first, so that attempts do not pile up.
        self.complete_change(by.clone()).await?;
        let (kid, added) = self.add_checkpoint_key(by.clone(), true).await?;
        self.hand_over(added, by).await?;
        Ok(kid)
    }

    /// The private half is durable before the log speaks of the key, and signs only after that. Those
    /// of which the log never spoke leave the file: they may have been read where they lay, and must
    /// not pile up.
    async fn add_checkpoint_key(
        &self,
        by: By,
        older_compromised: bool,
    ) -> Result<(KeyId, Seq), Fault> {
        self.check_that_log_takes_key(&by)?;
        self.record_only_signer().await?;
        let name = self.checkpoint_key_name()?;
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(bytes(self.entropy.as_ref()));
        let signer = NoteSigner::new(name.clone(), &seed);
        let kid = checkpoint_kid(signer.verifier());
        let recorded: Vec<KeyId> = {
            let state = self.ledger.state();
            checkpoint_keys(&state).into_iter().map(|key| key.id.clone()).collect()
        };
        let is_unrecorded = move |seed: &[u8; 32]| {
            let found = checkpoint_kid(NoteSigner::new(name.clone(), seed).verifier());
            found != kid && !recorded.contains(&found)
        };
        let change = move |file: &mut KeyFile| {
            file.add_checkpoint_seed(seed)?;
            file.remove_checkpoint_seeds(is_unrecorded)
        };
        self.change_keys(change).await?;
        self.record_checkpoint_key(signer.verifier(), by, older_compromised).await
    }

    /// In ledgers of earlier versions a key signs of which the log does not speak yet.
    async fn record_only_signer(&self) -> Result<(), Fault> {
        let signers = signing_now(&self.ledger.state(), self.checkpoint_signers()?);
        for signer in signers {
            if self.ledger.state().key(&checkpoint_kid(signer.verifier())).is_none() {
                self.record_checkpoint_key(signer.verifier(), BY_ITSELF, false).await?;
            }
        }
        Ok(())
    }

    async fn record_checkpoint_key(
        &self,
        key: &NoteVerifier,
        by: By,
        older_compromised: bool,
    ) -> Result<(KeyId, Seq), Fault> {
        let command = checkpoint_key_record(key, older_compromised);
        let answer = self.submit(self.asked(by.actor, by.origin, command)).await?;
        answer.outcome?;
        let seq = answer.seq.ok_or(Fault::Broken("a key left no record"))?;
        self.exchange_signers()?;
        Ok((checkpoint_kid(key), seq))
    }

    /// Has the keys before the one of the record `added` sign a last checkpoint, which covers it;
    /// then retires them, and forgets their private halves.
    async fn hand_over(&self, added: Seq, by: By) -> Result<(), Fault> {
        let (older, signers) = {
            let state = self.ledger.state();
            let keys = checkpoint_keys(&state).into_iter();
            let is_older = |key: &&Key| key.retired_at.is_none() && key.added < added;
            let older: Vec<KeyId> = keys.filter(is_older).map(|key| key.id.clone()).collect();
            let mut signers = signing_now(&state, self.checkpoint_signers()?);
            signers.retain(|signer| !older.contains(&checkpoint_kid(signer.verifier())));
            (older, signers)
        };
        if !older.is_empty() {
            let (notary, now) = (Arc::clone(&self.notary), self.ledger.now());
            let signing =
                tokio::task::spawn_blocking(move || notary.hand_over(added, signers, now));
            signing.await.map_err(|_| Fault::Broken("the last checkpoint ended early"))??;
        }
        for old in older {
            self.retire(old, by.clone()).await?;
        }
        self.forget_checkpoint_seeds().await
    }

    /// Hands over to the newest key to which it is time to do so, if there is one.
    async fn complete_change(&self, by: By) -> Result<(), Fault> {
        let now = self.ledger.now();
        let signers = self.checkpoint_signers()?;
        let has =
            |key: &Key| signers.iter().any(|signer| checkpoint_kid(signer.verifier()) == key.id);
        let due = {
            let state = self.ledger.state();
            let overlap_s = self.limits.checkpoint_key_overlap_s;
            let is_over = |key: &Key| key.added_at.plus_seconds(overlap_s) <= now;
            let is_due = |key: &&Key| {
                key.retired_at.is_none() && has(key) && (ends_older_keys(key) || is_over(key))
            };
            checkpoint_keys(&state).into_iter().rfind(is_due).map(|key| key.added)
        };
        match due {
            Some(added) => self.hand_over(added, by).await,
            None => Ok(()),
        }
    }

    /// Does what time has made due, and completes what a crash cut short: records a key whose
    /// record was never written, and retires the old ones when the overlap is over, or at once where
    /// they are compromised. A checkpoint of theirs covers the record of the new one by then.
    ///
    /// # Errors
    /// As [`Edge::rotate_checkpoint_key`]; asking again later is safe.
    pub async fn keep_checkpoint_keys(&self) -> Result<(), Fault> {
        let _turn = self.changing.lock().await;
        for signer in self.checkpoint_signers()? {
            if self.ledger.state().key(&checkpoint_kid(signer.verifier())).is_none() {
                self.record_checkpoint_key(signer.verifier(), BY_ITSELF, false).await?;
            }
        }
        self.complete_change(BY_ITSELF).await?;
        self.exchange_signers()
    }

    async fn forget_checkpoint_seeds(&self) -> Result<(), Fault> {
        let name = self.checkpoint_key_name()?;
        let over: Vec<KeyId> = {
            let state = self.ledger.state();
            let retired = |key: &&Key| key.retired_at.is_some();
            checkpoint_keys(&state).into_iter().filter(retired).map(|key| key.id.clone()).collect()
        };
        let kid =
            move |seed: &[u8; 32]| checkpoint_kid(NoteSigner::new(name.clone(), seed).verifier());
        let signers = self.checkpoint_signers()?;
        if !signers.iter().any(|signer| over.contains(&checkpoint_kid(signer.verifier()))) {
            return Ok(());
        }
        let is_over = move |seed: &[u8; 32]| over.contains(&kid(seed));
        self.change_keys(move |file| file.remove_checkpoint_seeds(is_over)).await
    }

    /// From now on the keys sign that the log names.
    fn exchange_signers(&self) -> Result<(), Fault> {
        let signers = self.checkpoint_signers()?;
        self.notary.sign_with(signing_now(&self.ledger.state(), signers));
        Ok(())
    }

    /// Those whose private half is here, oldest first.
    fn checkpoint_signers(&self) -> Result<Vec<NoteSigner>, Fault> {
        Ok(self.keyring.checkpoint_signers(&self.checkpoint_key_name()?))
    }

    fn checkpoint_key_name(&self) -> Result<KeyName, Fault> {
        let name = self.issuer.origin_name().parse();
        name.map_err(|_| Fault::Broken("the issuer gives no name for the checkpoint key"))
    }
}
