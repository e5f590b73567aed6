//! What a presented text turned out to be: authentic, because `TokenKeys::parse` checked its tag.
//! It may still be spent, expired or revoked; that is for the ledger to say.

use std::fmt;

use zeroize::Zeroizing;

use super::token::REFRESH_BYTES;
use crate::types::digest::Digest;
use crate::types::id::GrantId;

/// What a text turned out to be.
#[derive(Debug)]
pub enum Presented {
    /// A refresh token that this ledger made.
    Refresh(PresentedRefresh),
    /// An authorization code that this ledger made.
    Code(PresentedCode),
    /// An opaque access token that this ledger made.
    Access(PresentedAccess),
    /// Anything else. JWT access tokens too: they are found by digest, or verified by signature.
    Unknown,
}

/// An authentic refresh token, of whatever generation. Exists only because it parsed.
pub struct PresentedRefresh {
    /// The grant it descends from.
    pub grant: GrantId,
    /// How many rotations came before it.
    pub generation: u32,
    /// What the ledger keeps of it.
    pub digest: Digest,
    pub(super) key: u8,
    pub(super) raw: Zeroizing<[u8; REFRESH_BYTES]>,
}

/// An authentic authorization code.
pub struct PresentedCode {
    /// The grant it was made for.
    pub grant: GrantId,
    /// What the ledger keeps of it.
    pub digest: Digest,
}

/// An authentic opaque access token.
pub struct PresentedAccess {
    /// The grant it descends from.
    pub grant: GrantId,
    /// What the ledger keeps of it.
    pub digest: Digest,
}

impl fmt::Debug for PresentedRefresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedRefresh")
            .field("grant", &self.grant)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PresentedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedCode").field("grant", &self.grant).finish_non_exhaustive()
    }
}

impl fmt::Debug for PresentedAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedAccess").field("grant", &self.grant).finish_non_exhaustive()
    }
}
