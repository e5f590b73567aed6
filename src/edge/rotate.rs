//! Signing keys: which one signs, what is published, and the change from one to the next. The
//! records decide; this makes keys, appends their records, and keeps the key file in step.

use std::sync::Arc;

use tokio::sync::MutexGuard;

use crate::crypto::keys::{KeyFile, KeyFileRefused};
use crate::crypto::signing::{SigningAlgorithm, SigningKey};
use crate::domain::checkpoint_keys::CHECKPOINT_PURPOSE;
use crate::domain::command::Command;
use crate::domain::keys::{ACCESS_TOKEN_PURPOSE, KeyStanding};
use crate::domain::record::{Actor, Origin};
use crate::domain::refusal::Refusal;
use crate::domain::state::{Key, State};
use crate::edge::fault::Fault;
use crate::edge::inquire::AsOf;
use crate::edge::{Caller, Edge};
use crate::oauth::error::ErrorCode;
use crate::types::id::KeyId;
use crate::types::time::Timestamp;

/// How many keys may be published before a rotation that was asked for is refused: who fetches a
/// key set bounds it, the guard of this crate at 32.
pub const PUBLISHED_KEYS_MAX: usize = 24;
/// The longest that anybody may keep a fetched key set, in seconds.
const KEY_SET_AGE_S_MAX: u64 = 300;

/// Why a key could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// The key file refused.
    #[error(transparent)]
    File(#[from] KeyFileRefused),
    /// The key file could not be written.
    #[error(transparent)]
    Disk(#[from] crate::log::file::FileError),
    /// The key could not be made.
    #[error(transparent)]
    Made(#[from] crate::crypto::signing::SigningKeyRefused),
}

/// What came of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The next key.
    pub kid: KeyId,
    /// What it signs with.
    pub alg: SigningAlgorithm,
    /// From when on it signs.
    pub signs_from: Timestamp,
    /// Whether it was made now, or waited already.
    pub made: bool,
}

/// A key as the operator sees it.
pub struct ShownKey {
    /// What the log tells of it.
    pub key: Key,
    /// What it is for at present.
    pub standing: KeyStanding,
    /// Whether the key set shows it.
    pub published: bool,
}

/// Who has a key made.
#[derive(Clone)]
pub(super) struct By {
    pub(super) actor: Actor,
    pub(super) origin: Option<Origin>,
}

pub(super) const BY_ITSELF: By = By { actor: Actor::Ledger, origin: None };

impl Edge {
    /// The keys whose tokens may still be alive, and those that will sign next, as a JWK set
    /// publishes them (RFC 7517 section 5).
    pub fn published_keys(&self) -> Vec<serde_json::Value> {
        let now = self.ledger.now();
        let state = self.ledger.state();
        let mut keys: Vec<_> = state.keys().filter(|key| key.is_published(now)).collect();
        keys.sort_unstable_by_key(|key| key.added);
        keys.into_iter().map(|key| key.public.clone()).collect()
    }

    /// For how many seconds the key set may be kept: half of the time for which a key is published
    /// before it is used, so that nobody's set is without the key that signs.
    pub fn key_set_age_s(&self) -> u64 {
        KEY_SET_AGE_S_MAX.min(self.limits.key_published_before_use_s / 2)
    }

    /// All keys that there ever were, oldest first, and the record that this is as of.
    ///
    /// # Errors
    /// When the tree cannot be read.
    pub fn shown_keys(&self) -> Result<(Vec<ShownKey>, Option<AsOf>), Fault> {
        let now = self.ledger.now();
        let state = self.ledger.state();
        let period_s = self.limits.key_published_before_use_s;
        let signers = SigningAlgorithm::ALL.map(|alg| self.signer_in(&state, alg, now));
        let shown = |key: &Key| {
            let signer = signers.iter().flatten().find(|signer| signer.alg == key.alg);
            let standing = match key.purpose.as_str() {
                CHECKPOINT_PURPOSE => key.standing_of_checkpoint_key(),
                _ => state.standing(key, signer.copied(), period_s),
            };
            ShownKey { key: key.clone(), standing, published: key.is_published(now) }
        };
        let mut keys: Vec<_> = state.keys().map(shown).collect();
        keys.sort_unstable_by_key(|shown| shown.key.added);
        Ok((keys, self.as_of(&state)?))
    }

    fn signer_in<'a>(
        &self,
        state: &'a State,
        alg: SigningAlgorithm,
        now: Timestamp,
    ) -> Option<&'a Key> {
        let period_s = self.limits.key_published_before_use_s;
        state.signer(alg.as_str(), now, period_s, |kid| self.keyring.has(kid))
    }

    /// The key that signs by `alg` at `now`.
    ///
    /// # Errors
    /// [`Fault::Broken`] where there is none: its private half is lost. The next look after the
    /// keys makes another one.
    pub(super) fn signer(
        &self,
        alg: SigningAlgorithm,
        now: Timestamp,
    ) -> Result<Arc<SigningKey>, Fault> {
        let kid = self.signer_in(&self.ledger.state(), alg, now).map(|key| key.id.clone());
        let key = kid.and_then(|kid| self.keyring.signing_key(&kid));
        key.ok_or(Fault::Broken("there is no key that signs by this algorithm"))
    }

    /// Makes the first key of an algorithm, if there is none. It signs at once: nobody else could.
    ///
    /// # Errors
    /// As [`Edge::rotate_signing_key`].
    pub(super) async fn ensure_signer(
        &self,
        turn: &MutexGuard<'_, ()>,
        alg: SigningAlgorithm,
        actor: Actor,
        caller: &Caller,
    ) -> Result<(), Fault> {
        let by = By { actor, origin: Some(caller.in_clear()) };
        if self.signer(alg, self.ledger.now()).is_err() {
            self.add_key(turn, alg, by).await?;
        }
        Ok(())
    }

    /// The key that signs by `alg`, made if there is none yet.
    ///
    /// # Errors
    /// As [`Edge::rotate_signing_key`].
    pub(super) async fn signer_or_first(
        &self,
        alg: SigningAlgorithm,
    ) -> Result<Arc<SigningKey>, Fault> {
        if let Ok(signer) = self.signer(alg, self.ledger.now()) {
            return Ok(signer);
        }
        let turn = self.changing.lock().await;
        if self.signer(alg, self.ledger.now()).is_err() {
            self.add_key(&turn, alg, BY_ITSELF).await?;
        }
        self.signer(alg, self.ledger.now())
    }

    /// Makes the next key of `alg`. It is published now and signs once everybody can have it; with
    /// `at_once` it signs from now on, and the keys before it are retired. What they signed lives
    /// on. Where a next key waits already, that is the answer.
    ///
    /// # Errors
    /// A conflict when too many keys are published; unavailable when the key's record is not known
    /// to be durable; [`Fault::Keys`] when the key file cannot be written. The old key signs on
    /// then, and asking again is safe.
    pub async fn rotate_signing_key(
        &self,
        actor: Actor,
        caller: &Caller,
        alg: SigningAlgorithm,
        at_once: bool,
    ) -> Result<Rotated, Fault> {
        if PUBLISHED_KEYS_MAX <= self.published_keys().len() {
            let what = "too many keys are published: wait until old ones are no longer needed";
            return Err(Fault::refused(ErrorCode::Conflict, what));
        }
        let turn = self.changing.lock().await;
        let by = By { actor, origin: Some(caller.in_clear()) };
        if at_once {
            self.replace_signer(&turn, alg, by).await
        } else {
            self.next(&turn, alg, by).await
        }
    }

    async fn next(
        &self,
        turn: &MutexGuard<'_, ()>,
        alg: SigningAlgorithm,
        by: By,
    ) -> Result<Rotated, Fault> {
        let now = self.ledger.now();
        let period_s = self.limits.key_published_before_use_s;
        let waits = {
            let state = self.ledger.state();
            let signs = self.signer_in(&state, alg, now).map(|key| key.added);
            let next = state.next_signer(alg.as_str(), now, period_s);
            let next = next.filter(|next| Some(next.added) != signs);
            next.map(|next| (next.id.clone(), next.signs_from(period_s)))
        };
        if let Some((kid, signs_from)) = waits {
            return Ok(Rotated { kid, alg, signs_from, made: false });
        }
        let kid = self.add_key(turn, alg, by).await?;
        let state = self.ledger.state();
        let is_first = self.signer_in(&state, alg, now).is_some_and(|signer| signer.id == kid);
        let added_at = state.key(&kid).map_or(now, |key| key.added_at);
        let wait_s = if is_first { 0 } else { period_s };
        Ok(Rotated { kid, alg, signs_from: added_at.plus_seconds(wait_s), made: true })
    }

    async fn replace_signer(
        &self,
        turn: &MutexGuard<'_, ()>,
        alg: SigningAlgorithm,
        by: By,
    ) -> Result<Rotated, Fault> {
        let kid = self.add_key(turn, alg, by.clone()).await?;
        let (old, signs_from) = {
            let state = self.ledger.state();
            let Some(new) = state.key(&kid) else {
                return Err(Fault::Broken("a key that was added is not there"));
            };
            let old: Vec<_> = state.superseded(new).map(|key| key.id.clone()).collect();
            (old, new.added_at)
        };
        for old in old {
            self.retire(old, by.clone()).await?;
        }
        Ok(Rotated { kid, alg, signs_from, made: true })
    }

    /// Before the key that signs is blacklisted, another one takes its place.
    pub(super) async fn spare_signer(
        &self,
        actor: Actor,
        caller: &Caller,
        kid: &KeyId,
    ) -> Result<(), Fault> {
        let turn = self.changing.lock().await;
        let now = self.ledger.now();
        let signs =
            |alg: &SigningAlgorithm| self.signer(*alg, now).is_ok_and(|signer| signer.kid() == kid);
        if let Some(alg) = SigningAlgorithm::ALL.into_iter().find(signs) {
            let by = By { actor, origin: Some(caller.in_clear()) };
            self.replace_signer(&turn, alg, by).await?;
        }
        Ok(())
    }

    /// Does what time has made due: records that a newer key took over, makes the next key once
    /// the present one is old enough, completes what a crash cut short, and forgets private halves
    /// that are no longer needed. Asking more often than needed changes nothing.
    ///
    /// # Errors
    /// As [`Edge::rotate_signing_key`]; asking again later is safe.
    pub async fn keep_keys(&self) -> Result<(), Fault> {
        let turn = self.changing.lock().await;
        // Their records were never written, or never acknowledged.
        for key in self.keyring.signing_keys() {
            if self.ledger.state().key(key.kid()).is_none() {
                self.record_key(&key, BY_ITSELF).await?;
            }
        }
        for alg in SigningAlgorithm::ALL {
            if self.is_next_due(alg) {
                self.add_key(&turn, alg, BY_ITSELF).await?;
            }
            let now = self.ledger.now();
            let superseded: Vec<KeyId> = {
                let state = self.ledger.state();
                let signer = self.signer_in(&state, alg, now);
                let old = signer.into_iter().flat_map(|signer| state.superseded(signer));
                old.map(|key| key.id.clone()).collect()
            };
            for kid in superseded {
                self.retire(kid, BY_ITSELF).await?;
            }
        }
        self.forget_private_halves().await
    }

    /// Whether an algorithm that was ever used has no key that signs, or only an old one.
    fn is_next_due(&self, alg: SigningAlgorithm) -> bool {
        let now = self.ledger.now();
        let (period_s, rotation_s) =
            (self.limits.key_published_before_use_s, self.limits.key_rotation_s);
        let state = self.ledger.state();
        match self.signer_in(&state, alg, now) {
            Some(signer) => {
                rotation_s != 0
                    && signer.added_at.plus_seconds(rotation_s) <= now
                    && state.next_signer(alg.as_str(), now, period_s).is_none()
            }
            None => state
                .keys()
                .any(|key| key.purpose == ACCESS_TOKEN_PURPOSE && key.alg == alg.as_str()),
        }
    }

    pub(super) async fn retire(&self, kid: KeyId, by: By) -> Result<(), Fault> {
        let retire = self.asked(by.actor, by.origin, Command::RetireKey { kid });
        match self.submit(retire).await?.outcome {
            // It was retired meanwhile.
            Ok(_) | Err(Refusal::UnknownKey) => Ok(()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Takes the private halves of keys out of the file once nothing that they signed is alive.
    async fn forget_private_halves(&self) -> Result<(), Fault> {
        let now = self.ledger.now();
        let (over, signs) = {
            let state = self.ledger.state();
            let is_over = |key: &Arc<SigningKey>| {
                let kept_until = state.key(key.kid()).and_then(Key::kept_until);
                kept_until.is_some_and(|until| until <= now)
            };
            let over: Vec<_> = self.keyring.signing_keys().into_iter().filter(is_over).collect();
            let signs = self.signer_in(&state, SigningAlgorithm::EdDSA, now);
            (over, signs.map(|key| key.id.clone()))
        };
        let (false, Some(signs)) = (over.is_empty(), signs) else { return Ok(()) };
        let forget = move |file: &mut KeyFile| {
            file.use_signing_key(&signs)?;
            over.iter().try_for_each(|key| file.remove_signing_key(key.kid()))
        };
        self.change_keys(forget).await
    }
}
