//! Why a rule said no. Distinct for the audit and the trace; the client learns the RFC's code.

use crate::domain::event::{CodeRefusal, RefreshRefusal};

/// A rule said no. Nothing changed but for the facts of the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such client.
    #[error("there is no such client")]
    UnknownClient,
    /// There is a client of that name already.
    #[error("a client with this client_id is registered already")]
    ClientExists,
    /// There is no such grant.
    #[error("there is no such grant")]
    UnknownGrant,
    /// There is no such subject.
    #[error("there is no such subject, or it was erased")]
    UnknownSubject,
    /// There is no such blacklist entry in force.
    #[error("there is no such blacklist entry in force")]
    UnknownEntry,
    /// There is no such key in use.
    #[error("there is no such key in use")]
    UnknownKey,
    /// There is a key of that name already.
    #[error("a key with this id was added already")]
    KeyExists,
    /// The client would lock itself out.
    #[error("this would lock out the client that asks for it: use another administrator")]
    SelfLockout,
    /// A client that authenticates without a secret has none.
    #[error("the client authenticates without a secret")]
    NoSecret,
    /// The client may not use this grant type.
    #[error("the client is not registered for this grant type")]
    GrantType,
    /// Nothing is issued to the client for now.
    #[error("the client is disabled")]
    ClientDisabled,
    /// Nothing is issued for now.
    #[error("the client, the subject or everything is blacklisted")]
    Blacklisted,
    /// More scope than registered or granted.
    #[error("the scope exceeds what may be asked for")]
    Scope,
    /// Another resource than registered or granted.
    #[error("the resource is not among those that may be asked for")]
    Target,
    /// A public client must send a code challenge (RFC 9700 section 2.1.1).
    #[error("a public client needs a code challenge")]
    NoChallenge,
    /// The redirect URI is not one of the client's.
    #[error("the redirect URI is not registered for the client")]
    RedirectUri,
    /// A verifier came for a code without a challenge (RFC 9700 section 2.1.1).
    #[error("a code verifier came for a code that has no challenge")]
    UnexpectedVerifier,
    /// The code was refused.
    #[error("the code was refused: {0:?}")]
    Code(CodeRefusal),
    /// The code was exchanged before; the grant is revoked.
    #[error("the code was exchanged before; the grant is revoked")]
    CodeReplayed,
    /// The refresh token was refused.
    #[error("the refresh token was refused: {0:?}")]
    Refresh(RefreshRefusal),
    /// A spent refresh token came back; the grant is revoked.
    #[error("a spent refresh token came back; the grant is revoked")]
    Reused,
    /// The token belongs to another client (RFC 7009 section 2.1).
    #[error("the token was issued to another client")]
    ForeignToken,
    /// What is to be recorded does not fit into a record.
    #[error("the request carries more text than one record may hold")]
    TooLarge,
    /// The assertion proved its client before, or is too old to tell.
    #[error("the assertion was used before, or is too old to tell")]
    AssertionUsed,
    /// As many assertions are remembered as may be: none is accepted without being remembered.
    #[error("too many assertions are remembered: assertions_kept_max")]
    AssertionsFull,
    /// What the edge prepared is out of date: ask again.
    #[error("the state changed while the request was prepared: ask again")]
    Stale,
}
