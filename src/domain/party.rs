//! Clients and resource owners as the log tells of them, and the bans that lie on them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::client::ClientMetadata;
use crate::domain::table::{Keyed, Slot};
use crate::types::digest::Digest;
use crate::types::id::{ClientId, GrantId, Seq, SubjectId};
use crate::types::time::Timestamp;

/// Blacklist entries on one thing: while one is in force nothing new is issued, and what was
/// issued up to the watermark stays dead for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ban {
    /// How many entries are in force.
    pub in_force: u32,
    /// All that was issued up to here is dead.
    pub watermark: Option<Seq>,
}

impl Ban {
    /// Whether what was issued at `seq` is dead.
    pub fn covers(&self, seq: Seq) -> bool {
        self.watermark.is_some_and(|mark| seq <= mark)
    }

    /// Whether nothing new may be issued for now.
    pub const fn is_in_force(&self) -> bool {
        0 < self.in_force
    }

    pub(super) fn add(&mut self, at: Seq) {
        self.in_force += 1;
        self.watermark = self.watermark.max(Some(at));
    }

    pub(super) fn lift(&mut self) {
        self.in_force = self.in_force.saturating_sub(1);
    }
}

/// A client secret, by its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSecret {
    /// The digest.
    pub digest: Digest,
    /// Not accepted from this instant on; none means until it is replaced.
    pub expires_at: Option<Timestamp>,
}

/// A registered client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its identifier.
    pub id: ClientId,
    /// All that is known of it.
    pub metadata: Arc<ClientMetadata>,
    /// The newest secret first; at most two.
    pub secrets: Vec<ClientSecret>,
    /// Whether it may not use its tokens for now.
    pub disabled: bool,
    /// Blacklist entries on it.
    pub ban: Ban,
    /// The grant that its `client_credentials` tokens descend from.
    pub own_grant: Option<GrantId>,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// The newest record of its trail.
    pub head: Seq,
    pub(super) grants: Option<Slot>,
}

impl Client {
    /// Whether `digest` is that of a secret accepted at `at`. Looks at every secret, in constant
    /// time each.
    pub fn accepts(&self, digest: &Digest, at: Timestamp) -> bool {
        self.secrets.iter().fold(false, |found, secret| {
            let live = secret.expires_at.is_none_or(|expires_at| at < expires_at);
            found | ((secret.digest == *digest) & live)
        })
    }
}

/// A resource owner, by pseudonym.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The pseudonym.
    pub id: SubjectId,
    /// Whether its key is destroyed and all that was issued is dead.
    pub erased: bool,
    /// The newest record of its trail.
    pub head: Seq,
    /// Few have any.
    pub(super) ban: Option<Box<Ban>>,
    pub(super) grants: Option<Slot>,
}

impl Keyed for Subject {
    fn key(&self) -> &[u8; 16] {
        self.id.as_bytes()
    }
}

impl Client {
    /// A client that authenticates without a secret has none: one that was given up does not come back
    /// with the method.
    pub(super) fn update(&mut self, metadata: ClientMetadata) {
        if !metadata.has_secret() {
            self.secrets.clear();
        }
        self.metadata = Arc::new(metadata);
    }

    /// Two at most: the one being replaced stays for the time it was given.
    pub(super) fn replace_secret(&mut self, digest: Digest, previous_expires_at: Timestamp) {
        self.secrets.truncate(1);
        if let Some(previous) = self.secrets.first_mut() {
            previous.expires_at = Some(previous_expires_at);
        }
        self.secrets.insert(0, ClientSecret { digest, expires_at: None });
    }

    /// A copy that stands in no list of another projection.
    pub(super) fn unlisted(&self) -> Self {
        Self { grants: None, ..self.clone() }
    }
}

impl Subject {
    /// Blacklist entries on it.
    pub fn ban(&self) -> Ban {
        self.ban.as_deref().copied().unwrap_or_default()
    }

    pub(super) fn ban_mut(&mut self) -> &mut Ban {
        self.ban.get_or_insert_default()
    }

    /// A copy that stands in no list of another projection.
    pub(super) fn unlisted(&self) -> Self {
        Self { grants: None, ..self.clone() }
    }
}
