//! The making of keys: a private half first, then the record by which the log speaks of it. A key of
//! which the log never spoke was never published; it gives way to the next one that is made.

use std::sync::Arc;

use tokio::sync::MutexGuard;

use crate::crypto::keys::{KeyFile, KeyFileRefused};
use crate::crypto::signing::{SigningAlgorithm, SigningKey};
use crate::domain::command::Command;
use crate::domain::keys::ACCESS_TOKEN_PURPOSE;
use crate::domain::record::Actor;
use crate::edge::Edge;
use crate::edge::fault::Fault;
use crate::edge::rotate::{By, KeyFault};
use crate::ledger::handle::SubmitError;
use crate::log::file::{FILE_MODE, write_durably};
use crate::types::id::KeyId;

impl Edge {
    /// Whether the log takes the record of a key. Asked before a key is made: one without a record
    /// would be left in the file.
    pub(super) fn check_that_log_takes_key(&self, by: &By) -> Result<(), Fault> {
        if self.ledger.has_stopped() {
            return Err(SubmitError::Stopped.into());
        }
        // What is held back is for the ledger itself.
        if by.actor != Actor::Ledger && !self.ledger.has_room() {
            return Err(SubmitError::NoRoom.into());
        }
        Ok(())
    }

    /// Makes a key: its private half is durable before the log speaks of it, and it is used only
    /// after that. Those of its algorithm of which the log never spoke leave the file: they may have
    /// been read where they lay, and must not pile up.
    pub(super) async fn add_key(
        &self,
        _turn: &MutexGuard<'_, ()>,
        alg: SigningAlgorithm,
        by: By,
    ) -> Result<KeyId, Fault> {
        self.check_that_log_takes_key(&by)?;
        let entropy = Arc::clone(&self.entropy);
        // An RSA key takes its time.
        let made = move || SigningKey::generate(alg, entropy.as_ref());
        let made = tokio::task::spawn_blocking(made).await;
        let made = made.map_err(|_| Fault::Broken("the making of a key ended early"))?;
        let key = made.map_err(KeyFault::from)?;
        let kid = key.kid().clone();
        let unrecorded = self.unrecorded_keys(alg);
        let change = move |file: &mut KeyFile| {
            file.add_signing_key(key)?;
            let current = file.current_signing_key().kid().clone();
            let mut over = unrecorded.iter().filter(|kid| **kid != current);
            over.try_for_each(|kid| file.remove_signing_key(kid))
        };
        self.change_keys(change).await?;
        let key = self.keyring.signing_key(&kid);
        let key = key.ok_or(Fault::Broken("a key that was made is not there"))?;
        self.record_key(&key, by).await?;
        Ok(kid)
    }

    fn unrecorded_keys(&self, alg: SigningAlgorithm) -> Vec<KeyId> {
        let state = self.ledger.state();
        let keys = self.keyring.signing_keys().into_iter();
        let unrecorded =
            keys.filter(|key| key.algorithm() == alg && state.key(key.kid()).is_none());
        unrecorded.map(|key| key.kid().clone()).collect()
    }

    pub(super) async fn record_key(&self, key: &SigningKey, by: By) -> Result<(), Fault> {
        let public = serde_json::to_value(key.public_jwk())
            .map_err(|_| Fault::Broken("a public key does not serialise"))?;
        let command = Command::AddKey {
            kid: key.kid().clone(),
            purpose: ACCESS_TOKEN_PURPOSE.to_owned(),
            alg: key.algorithm().as_str().to_owned(),
            public,
        };
        self.submit(self.asked(by.actor, by.origin, command)).await?.outcome?;
        Ok(())
    }

    /// Changes the keys and their file, off the asynchronous threads.
    pub(super) async fn change_keys(
        &self,
        change: impl FnOnce(&mut KeyFile) -> Result<(), KeyFileRefused> + Send + 'static,
    ) -> Result<(), Fault> {
        let (keyring, path) = (self.keyring.clone(), self.keys_file.clone());
        let keep = move |file: &KeyFile| match &path {
            Some(path) => Ok(write_durably(path, &file.encode(), FILE_MODE)?),
            None => Ok(()),
        };
        let run = move || keyring.change(|file| Ok::<_, KeyFault>(change(file)?), keep);
        let done = tokio::task::spawn_blocking(run).await;
        Ok(done.map_err(|_| Fault::Broken("the change of the keys ended early"))??)
    }
}
