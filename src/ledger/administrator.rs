//! A client that administers, made where no client can ask for it: with a new ledger, and for one that
//! nobody can administer any more.

use crate::crypto::token::new_client_secret;
use crate::domain::client::ClientMetadata;
use crate::domain::command::Command;
use crate::entropy::{Entropy, bytes};
use crate::types::id::ClientId;
use crate::types::secret::Secret;

/// An administrator's credentials, shown once.
pub struct Administrator {
    /// The client's identifier.
    pub client: ClientId,
    /// Its secret.
    pub secret: Secret,
}

/// Fresh credentials, and the command that registers a client of this metadata under them.
pub fn new_administrator(
    metadata: ClientMetadata,
    entropy: &dyn Entropy,
) -> (Administrator, Command) {
    let minted = new_client_secret(entropy);
    let [a, b, c, d] = bytes(entropy);
    let name = format!("admin-{:08x}", u32::from_be_bytes([a, b, c, d]));
    let client: ClientId = name.parse().expect("letters, digits and a dash are a client_id");
    let (metadata, secret) = (Box::new(metadata), Some(minted.digest));
    let register = Command::RegisterClient { client: client.clone(), metadata, secret };
    (Administrator { client, secret: minted.token }, register)
}
