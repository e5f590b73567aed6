//! The private keys in use. What is published and since when is told by the log, not by this.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::crypto::keys::{KeyFile, KeyFileRefused};
use crate::crypto::signing::SigningKey;
use crate::crypto::token::TokenKeys;

/// The keys of a running ledger.
pub struct Keyring {
    tokens: Arc<TokenKeys>,
    file: RwLock<KeyFile>,
}

impl Keyring {
    /// The keys of `file`.
    pub fn new(file: KeyFile) -> Self {
        Self { tokens: Arc::clone(file.token_keys()), file: RwLock::new(file) }
    }

    /// The keys behind refresh tokens, codes and opaque access tokens.
    pub fn tokens(&self) -> &TokenKeys {
        &self.tokens
    }

    /// The key that signs access tokens.
    pub fn signer(&self) -> Arc<SigningKey> {
        Arc::clone(self.file.read().current_signing_key())
    }

    /// All signing keys whose private half is here, oldest first.
    pub fn signing_keys(&self) -> Vec<Arc<SigningKey>> {
        self.file.read().signing_keys().to_vec()
    }

    /// Changes the keys: `change` gets a copy, `keep` makes it durable, and only then it is used.
    ///
    /// # Errors
    /// What `change` or `keep` reports; the keys are as before then.
    pub fn change<E: From<KeyFileRefused>>(
        &self,
        change: impl FnOnce(&mut KeyFile) -> Result<(), E>,
        keep: impl FnOnce(&KeyFile) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut file = self.file.write();
        let mut changed = KeyFile::decode(&file.encode())?;
        change(&mut changed)?;
        keep(&changed)?;
        *file = changed;
        Ok(())
    }
}
