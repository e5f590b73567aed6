//! The private keys in use. What is published and since when is told by the log, not by this.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::crypto::keys::{KeyFile, KeyFileRefused};
use crate::crypto::note_key::KeyName;
use crate::crypto::note_signer::NoteSigner;
use crate::crypto::signing::SigningKey;
use crate::crypto::token::TokenKeys;
use crate::types::id::KeyId;

/// The keys of a running ledger. Cheap to clone; all clones are one keyring.
#[derive(Clone)]
pub struct Keyring {
    tokens: Arc<TokenKeys>,
    file: Arc<RwLock<KeyFile>>,
    /// Held by one change at a time, so that tokens are signed while a key file is written.
    changing: Arc<Mutex<()>>,
}

impl Keyring {
    /// The keys of `file`.
    pub fn new(file: KeyFile) -> Self {
        let tokens = Arc::clone(file.token_keys());
        Self { tokens, file: Arc::new(RwLock::new(file)), changing: Arc::default() }
    }

    /// The keys behind refresh tokens, codes and opaque access tokens.
    pub fn tokens(&self) -> &TokenKeys {
        &self.tokens
    }

    /// The signing key `kid`, if its private half is here.
    pub fn signing_key(&self, kid: &KeyId) -> Option<Arc<SigningKey>> {
        let file = self.file.read();
        file.signing_keys().iter().find(|key| key.kid() == kid).map(Arc::clone)
    }

    /// Whether the private half of `kid` is here.
    pub fn has(&self, kid: &KeyId) -> bool {
        self.file.read().signing_keys().iter().any(|key| key.kid() == kid)
    }

    /// All signing keys whose private half is here, oldest first.
    pub fn signing_keys(&self) -> Vec<Arc<SigningKey>> {
        self.file.read().signing_keys().to_vec()
    }

    /// The keys that may sign checkpoints of the log `name`, oldest first.
    pub fn checkpoint_signers(&self, name: &KeyName) -> Vec<NoteSigner> {
        let file = self.file.read();
        file.checkpoint_seeds().map(|seed| NoteSigner::new(name.clone(), seed)).collect()
    }

    /// The bytes of the key file as it is now.
    pub fn encoded(&self) -> zeroize::Zeroizing<Vec<u8>> {
        self.file.read().encode()
    }

    /// Changes the keys: `change` gets a copy, `keep` makes it durable, and only then it is used.
    /// Blocks; call it off the async threads.
    ///
    /// # Errors
    /// What `change` or `keep` reports; the keys are as before then.
    pub fn change<E: From<KeyFileRefused>>(
        &self,
        change: impl FnOnce(&mut KeyFile) -> Result<(), E>,
        keep: impl FnOnce(&KeyFile) -> Result<(), E>,
    ) -> Result<(), E> {
        let _one = self.changing.lock();
        let mut changed = KeyFile::decode(&self.file.read().encode())?;
        change(&mut changed)?;
        keep(&changed)?;
        *self.file.write() = changed;
        Ok(())
    }
}
