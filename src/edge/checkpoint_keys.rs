//! The keys that sign checkpoints, and the change from one to the next. The log tells which ones
//! sign: a key signs from its record on, and the one before it goes on beside it for a while, so
//! that who knows only the old key learns of the new one under the old one's signature.

use zeroize::Zeroizing;

use crate::crypto::note_key::NoteVerifier;
use crate::crypto::note_signer::NoteSigner;
use crate::domain::checkpoint_keys::{
    checkpoint_key_record, checkpoint_keys, checkpoint_kid, signing_now,
};
use crate::domain::record::Actor;
use crate::domain::state::Key;
use crate::edge::fault::Fault;
use crate::edge::rotate::{BY_ITSELF, By};
use crate::edge::{Caller, Edge};
use crate::entropy::bytes;
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
    /// configured; a `compromised` one signs nothing any more once a checkpoint of both covers the
    /// record of the new one. Where a change is under way already, that is the answer.
    ///
    /// # Errors
    /// Unavailable when a record is not known to be durable, or no checkpoint comes;
    /// [`Fault::Keys`] when the key file cannot be written. Asking again is safe.
    pub async fn rotate_checkpoint_key(
        &self,
        actor: Actor,
        caller: &Caller,
        compromised: bool,
    ) -> Result<RotatedCheckpointKey, Fault> {
        let _turn = self.changing.lock().await;
        let by = By { actor, origin: Some(caller.in_clear()) };
        let under_way = {
            let state = self.ledger.state();
            let signs = checkpoint_keys(&state);
            let signs = signs.into_iter().filter(|key| key.retired_at.is_none());
            let newest = signs.clone().next_back().map(|key| (key.id.clone(), key.added));
            newest.filter(|_| 1 < signs.count())
        };
        let made = under_way.is_none();
        let (kid, added) = match under_way {
            Some(waits) => waits,
            None => self.add_checkpoint_key(by.clone()).await?,
        };
        if compromised {
            self.covered(added).await?;
            self.retire_before(&kid, by).await?;
        }
        let state = self.ledger.state();
        let Some(key) = state.key(&kid) else {
            return Err(Fault::Broken("a key that was added is not there"));
        };
        let both_until = key.added_at.plus_seconds(self.limits.checkpoint_key_overlap_s);
        let vkey = key.public.get("vkey").and_then(|vkey| vkey.as_str()).unwrap_or_default();
        let (vkey, both_until) = (vkey.to_owned(), (!compromised).then_some(both_until));
        Ok(RotatedCheckpointKey { kid, vkey, both_until, made })
    }

    /// The private half is durable before the log speaks of the key, and signs only after that.
    async fn add_checkpoint_key(&self, by: By) -> Result<(KeyId, Seq), Fault> {
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(bytes(self.entropy.as_ref()));
        let signer = NoteSigner::new(self.checkpoint_key_name()?, &seed);
        self.change_keys(move |file| file.add_checkpoint_seed(seed)).await?;
        self.record_checkpoint_key(signer.verifier(), by).await
    }

    async fn record_checkpoint_key(
        &self,
        key: &NoteVerifier,
        by: By,
    ) -> Result<(KeyId, Seq), Fault> {
        let command = checkpoint_key_record(key);
        let answer = self.submit(self.asked(by.actor, by.origin, command)).await?;
        answer.outcome?;
        let seq = answer.seq.ok_or(Fault::Broken("a key left no record"))?;
        self.exchange_signers()?;
        Ok((checkpoint_kid(key), seq))
    }

    /// Retires the checkpoint keys before `kid`, and forgets their private halves.
    async fn retire_before(&self, kid: &KeyId, by: By) -> Result<(), Fault> {
        let older: Vec<KeyId> = {
            let state = self.ledger.state();
            let keys = checkpoint_keys(&state).into_iter();
            let older = keys.take_while(|key| key.id != *kid);
            older.filter(|key| key.retired_at.is_none()).map(|key| key.id.clone()).collect()
        };
        for old in older {
            self.retire(old, by.clone()).await?;
        }
        self.exchange_signers()?;
        self.forget_checkpoint_seeds().await
    }

    /// Does what time has made due, and completes what a crash cut short: records a key whose
    /// record was never written, and retires the old one when the overlap is over.
    ///
    /// # Errors
    /// As [`Edge::rotate_checkpoint_key`]; asking again later is safe.
    pub async fn keep_checkpoint_keys(&self) -> Result<(), Fault> {
        let _turn = self.changing.lock().await;
        for signer in self.keyring.checkpoint_signers(&self.checkpoint_key_name()?) {
            if self.ledger.state().key(&checkpoint_kid(signer.verifier())).is_none() {
                self.record_checkpoint_key(signer.verifier(), BY_ITSELF).await?;
            }
        }
        let now = self.ledger.now();
        let newest = {
            let state = self.ledger.state();
            let newest = checkpoint_keys(&state).pop();
            let overlap_s = self.limits.checkpoint_key_overlap_s;
            let over = newest.filter(|key| key.added_at.plus_seconds(overlap_s) <= now);
            over.map(|key| key.id.clone())
        };
        if let Some(newest) = newest {
            self.retire_before(&newest, BY_ITSELF).await?;
        }
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
        let signers = self.keyring.checkpoint_signers(&self.checkpoint_key_name()?);
        if !signers.iter().any(|signer| over.contains(&checkpoint_kid(signer.verifier()))) {
            return Ok(());
        }
        let is_over = move |seed: &[u8; 32]| over.contains(&kid(seed));
        self.change_keys(move |file| file.remove_checkpoint_seeds(is_over)).await
    }

    /// From now on the keys sign that the log names.
    fn exchange_signers(&self) -> Result<(), Fault> {
        let signers = self.keyring.checkpoint_signers(&self.checkpoint_key_name()?);
        self.notary.sign_with(signing_now(&self.ledger.state(), signers));
        Ok(())
    }

    fn checkpoint_key_name(&self) -> Result<crate::crypto::note_key::KeyName, Fault> {
        let name = self.issuer.origin_name().parse();
        name.map_err(|_| Fault::Broken("the issuer gives no name for the checkpoint key"))
    }
}
