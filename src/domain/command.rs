//! What is asked: data with digests, fresh ids and what the edge prepared. No secrets, no time.

use crate::crypto::seal::Sealed;
use crate::domain::client::{AccessTokenFormat, ClientMetadata};
use crate::domain::event::Target;
use crate::domain::record::{Actor, Origin};
use crate::types::digest::Digest;
use crate::types::id::{BlacklistId, ClientId, GrantId, KeyId, OriginTag, RequestId, SubjectId};
use crate::types::resource::Resources;
use crate::types::scope::Scope;
use crate::types::time::Timestamp;

/// A command with what all its records share.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Names the command in every record it leads to.
    pub request: RequestId,
    /// Who asks.
    pub actor: Actor,
    /// Where from; sealed where the command is about a resource owner.
    pub origin: Option<Origin>,
    /// What is asked.
    pub command: Command,
}

/// An access token that the edge has made and signed, but not yet shown to anyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its digest.
    pub digest: Digest,
    /// The JWT's `jti`.
    pub jti: Option<String>,
    /// JWT or opaque.
    pub format: AccessTokenFormat,
    /// The key that signed it.
    pub key: Option<KeyId>,
    /// What it covers.
    pub scope: Scope,
    /// The servers it is meant for.
    pub audience: Resources,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// Why the edge could not make an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoDraft {
    /// More scope than was granted (RFC 6749 section 6).
    Scope,
    /// Another resource than was granted (RFC 8707 section 2.2).
    Target,
    /// What it would belong to was dead already.
    Dead,
}

/// A resource owner as the edge knows it: the pseudonym, and the sealed `sub` for its first record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The pseudonym.
    pub subject: SubjectId,
    /// The `sub`, sealed under the subject's key.
    pub sub: Sealed,
}

/// What is asked of the ledger.
#[derive(Debug, Clone)]
pub enum Command {
    /// Makes the first record.
    CreateLedger {
        /// The program's version.
        version: String,
        /// The issuer identifier.
        issuer: String,
        /// The log's name in checkpoints.
        origin: String,
    },
    /// Notes that a process serves the ledger from now on.
    OpenLedger {
        /// The program's version.
        version: String,
        /// Whether the process before it stopped cleanly.
        clean: bool,
    },
    /// Notes that the process stops.
    CloseLedger,
    /// Registers a client.
    RegisterClient {
        /// Its identifier.
        client: ClientId,
        /// All that is known of it.
        metadata: Box<ClientMetadata>,
        /// The digest of its secret; none for a public client.
        secret: Option<Digest>,
    },
    /// Replaces a client's metadata.
    UpdateClient {
        /// Which client.
        client: ClientId,
        /// The metadata from now on.
        metadata: Box<ClientMetadata>,
    },
    /// Gives a client another secret.
    RotateSecret {
        /// Which client.
        client: ClientId,
        /// The digest of the new secret.
        secret: Digest,
        /// How long the secret before it is accepted too, in seconds.
        previous_lifetime_s: u64,
    },
    /// Disables or enables a client.
    SwitchClient {
        /// Which client.
        client: ClientId,
        /// Whether it may go on.
        enabled: bool,
        /// Why.
        reason: String,
    },
    /// Records what a resource owner granted, with a code for the client.
    CreateGrant {
        /// The fresh grant's identifier.
        grant: GrantId,
        /// The client it is for.
        client: ClientId,
        /// Who granted.
        owner: Owner,
        /// What was granted.
        scope: Scope,
        /// For which servers.
        resources: Resources,
        /// The digest of the code.
        code: Digest,
        /// How long the code is accepted, in seconds.
        code_lifetime_s: u64,
        /// The redirect URI of the authorization request.
        redirect_uri: Option<String>,
        /// The S256 code challenge.
        challenge: Option<Digest>,
    },
    /// Exchanges a code (RFC 6749 section 4.1.3).
    RedeemCode {
        /// The grant that the authentic code names.
        grant: GrantId,
        /// The client that asks, authenticated.
        client: ClientId,
        /// The digest of the code.
        code: Digest,
        /// The S256 transform of the verifier that was sent.
        challenge: Option<Digest>,
        /// The redirect URI that was sent.
        redirect_uri: Option<String>,
        /// The digest of the first refresh token, made in case one is due.
        refresh: Digest,
        /// The access token.
        access: Result<Box<Draft>, NoDraft>,
    },
    /// Issues an access token to a client on its own behalf (RFC 6749 section 4.4).
    IssueToClient {
        /// The client's own grant, or a fresh identifier where there is none.
        grant: GrantId,
        /// The client, authenticated.
        client: ClientId,
        /// The access token.
        access: Result<Box<Draft>, NoDraft>,
    },
    /// Refreshes (RFC 6749 section 6).
    Refresh(Refresh),
    /// Revokes a token at its client's request (RFC 7009).
    RevokeToken {
        /// The client that asks, authenticated.
        client: ClientId,
        /// The token.
        token: TokenRef,
    },
    /// Revokes a grant at an administrator's request.
    RevokeGrant {
        /// Which grant.
        grant: GrantId,
        /// Why.
        reason: Option<String>,
    },
    /// Blacklists something.
    AddBlacklist {
        /// The fresh entry's identifier.
        id: BlacklistId,
        /// What it hits.
        target: BlacklistTarget,
        /// Why.
        reason: String,
    },
    /// Lifts a blacklist entry.
    LiftBlacklist {
        /// Which entry.
        id: BlacklistId,
        /// Why.
        reason: String,
    },
    /// Forgets a resource owner.
    EraseSubject {
        /// Who: also somebody whom only the vault knows, as while a first grant is on its way.
        owner: Owner,
        /// Why.
        reason: String,
        /// On which legal basis.
        legal_basis: String,
    },
    /// Takes a key into use.
    AddKey {
        /// Its identifier.
        kid: KeyId,
        /// What for.
        purpose: String,
        /// The algorithm.
        alg: String,
        /// The public key.
        public: serde_json::Value,
    },
    /// Signs nothing with a key any more.
    RetireKey {
        /// Its identifier.
        kid: KeyId,
    },
    /// Notes that a client could not prove itself.
    FailAuthentication {
        /// The client it claimed to be.
        client: ClientId,
        /// How it tried.
        method: String,
    },
    /// Takes an assertion, whose signature and claims were found to be right, for a client's proof.
    UseAssertion {
        /// The client that signed it.
        client: ClientId,
        /// The digest of the client and its `jti`.
        digest: Digest,
        /// Its `exp`.
        expires_at: Timestamp,
        /// How many assertions may be remembered at once.
        kept_max: usize,
    },
    /// Notes that someone reads the log.
    ReadAudit {
        /// Which question.
        what: String,
        /// What was asked for, without personal data.
        parameters: serde_json::Map<String, serde_json::Value>,
        /// Whose trail is read.
        about: crate::domain::record::About,
    },
}

impl Command {
    /// Whether the answer is what it is for: a token, a code or a secret, which nobody has where nobody
    /// waits for it any more. What takes something away is carried out all the same.
    pub const fn is_for_its_answer(&self) -> bool {
        match self {
            Self::RegisterClient { .. }
            | Self::RotateSecret { .. }
            | Self::CreateGrant { .. }
            | Self::RedeemCode { .. }
            | Self::IssueToClient { .. }
            | Self::Refresh(_) => true,
            Self::CreateLedger { .. }
            | Self::OpenLedger { .. }
            | Self::CloseLedger
            | Self::UpdateClient { .. }
            | Self::SwitchClient { .. }
            | Self::RevokeToken { .. }
            | Self::RevokeGrant { .. }
            | Self::AddBlacklist { .. }
            | Self::LiftBlacklist { .. }
            | Self::EraseSubject { .. }
            | Self::AddKey { .. }
            | Self::RetireKey { .. }
            | Self::FailAuthentication { .. }
            | Self::UseAssertion { .. }
            | Self::ReadAudit { .. } => false,
        }
    }
}

/// A refresh as the edge prepared it.
#[derive(Debug, Clone)]
pub struct Refresh {
    /// The grant that the authentic token names.
    pub grant: GrantId,
    /// The generation that it names.
    pub generation: u32,
    /// Its digest.
    pub digest: Digest,
    /// The digest of the one successor it can ever have.
    pub successor: Digest,
    /// The client that asks, authenticated.
    pub client: ClientId,
    /// Who asks, as a tag under the subject's key.
    pub tag: Option<OriginTag>,
    /// The access token.
    pub access: Result<Box<Draft>, NoDraft>,
}

/// A token as far as its revocation is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRef {
    /// An authentic refresh token or code: its grant.
    OfGrant(GrantId),
    /// An access token, by its digest.
    Access(Digest),
}

/// What is to be blacklisted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlacklistTarget {
    /// A subject that may not have been seen before.
    Owner(Owner),
    /// A refresh token or code: it takes its grant along.
    TokenOfGrant(Digest, GrantId),
    /// Anything else, by identifier.
    Other(Target),
}
