//! What happened: every type of event, its data, and its name on disk.
//! A variant and its members are for ever: add a type, or raise the version and upcast on read.

use serde::{Deserialize, Serialize};

use crate::crypto::seal::Sealed;
use crate::domain::client::{AccessTokenFormat, ClientMetadata};
use crate::domain::pen::{Pen, Penned};
use crate::domain::scan::{Scan, Scanned};
use crate::types::digest::Digest;
use crate::types::id::{BlacklistId, ClientId, GrantId, KeyId, OriginTag, Seq, SubjectId};
use crate::types::resource::Resources;
use crate::types::scope::Scope;
use crate::types::time::Timestamp;

/// Declares the enum, the names on disk, and both directions of the data's JSON.
macro_rules! events {
    ($($variant:ident $name:literal $version:literal;)*) => {
        /// An event. Each variant holds the `data` member of its record.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[allow(missing_docs)] // each variant is named after its data, which is documented
        pub enum Event { $($variant($variant),)* }

        impl Event {
            /// The `type` member: the event's name on disk.
            pub const fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            /// The `v` member: the version of the data that this program writes.
            pub const fn version(&self) -> u32 {
                match self { $(Self::$variant(_) => $version,)* }
            }

            /// Reads the data of an event of `kind` in version `version`; `None` where no such
            /// type or version was ever written.
            pub(super) fn decode(
                kind: &str, version: u32, data: &str,
            ) -> Option<Result<Self, serde_json::Error>> {
                match (kind, version) {
                    $(($name, $version) => Some(serde_json::from_str(data).map(Self::$variant)),)*
                    _ => None,
                }
            }

            /// As [`Event::decode`] for data that is written as this program writes it.
            pub(super) fn scan(kind: &str, version: u32, from: &mut Scan<'_>) -> Option<Self> {
                match (kind, version) {
                    $(($name, $version) => $variant::scanned(from).map(Self::$variant),)*
                    _ => None,
                }
            }

            /// Every type with its version, in the order of the table in the documentation.
            pub const ALL: &'static [(&'static str, u32)] = &[$(($name, $version),)*];
        }

        impl Penned for Event {
            fn penned(&self, to: &mut Pen) {
                match self { $(Self::$variant(data) => data.penned(to),)* }
            }
        }

        $(impl From<$variant> for Event {
            fn from(data: $variant) -> Self { Self::$variant(data) }
        })*
    };
}

events! {
    LedgerCreated "ledger.created" 1;
    LedgerOpened "ledger.opened" 1;
    LedgerClosed "ledger.closed" 1;
    ClockStepped "clock.stepped" 1;
    LedgerStalled "ledger.stalled" 1;
    ClientRegistered "client.registered" 1;
    ClientUpdated "client.updated" 1;
    ClientSecretRotated "client.secret_rotated" 1;
    ClientDisabled "client.disabled" 1;
    ClientEnabled "client.enabled" 1;
    SubjectRegistered "subject.registered" 1;
    SubjectErased "subject.erased" 1;
    GrantCreated "grant.created" 1;
    CodeRedeemed "code.redeemed" 1;
    CodeReplayed "code.replayed" 1;
    CodeRefused "code.refused" 1;
    AccessTokenIssued "access_token.issued" 1;
    RefreshTokenIssued "refresh_token.issued" 1;
    RefreshTokenUsed "refresh_token.used" 1;
    RefreshTokenRotated "refresh_token.rotated" 1;
    RefreshTokenRetried "refresh_token.retried" 1;
    RefreshTokenReused "refresh_token.reused" 1;
    RefreshRefused "refresh.refused" 1;
    AccessTokenRevoked "access_token.revoked" 1;
    GrantRevoked "grant.revoked" 1;
    BlacklistAdded "blacklist.added" 1;
    BlacklistLifted "blacklist.lifted" 1;
    ClientAuthenticationFailed "client.authentication_failed" 1;
    ClientAssertionUsed "client.assertion_used" 1;
    KeyAdded "key.added" 1;
    KeyRetired "key.retired" 1;
    AuditRead "audit.read" 1;
}

impl Event {
    /// Whether it changes a client, a key or the blacklist: what every as-of answer needs.
    pub const fn is_control(&self) -> bool {
        matches!(
            self,
            Self::LedgerCreated(_)
                | Self::ClientRegistered(_)
                | Self::ClientUpdated(_)
                | Self::ClientSecretRotated(_)
                | Self::ClientDisabled(_)
                | Self::ClientEnabled(_)
                | Self::BlacklistAdded(_)
                | Self::BlacklistLifted(_)
                | Self::KeyAdded(_)
                | Self::KeyRetired(_)
        )
    }
}

/// Declares the data of one event with the derives that all of them share.
macro_rules! data {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl Scanned for $name {
            fn scanned(from: &mut Scan<'_>) -> Option<Self> {
                from.open()?;
                $(let $field = from.member(concat!("\"", stringify!($field), "\":"))?;)*
                from.close()?;
                Some(Self { $($field,)* })
            }
        }

        impl Penned for $name {
            fn penned(&self, to: &mut Pen) {
                to.open();
                $(to.member(concat!(",\"", stringify!($field), "\":"), &self.$field);)*
                to.close();
            }
        }
    };
}

data!(
    /// `init` made the ledger.
    LedgerCreated {
        /// The program's version.
        version: String,
        /// The issuer identifier (RFC 8414 section 2).
        issuer: String,
        /// The log's name in checkpoints: the issuer without its scheme.
        origin: String,
    }
);
data!(
    /// A process began to serve the ledger.
    LedgerOpened {
        /// The program's version.
        version: String,
        /// How many records it found.
        records: u64,
        /// Whether the process before it stopped cleanly.
        clean: bool,
    }
);
data!(
    /// A process stopped cleanly.
    LedgerClosed {}
);
data!(
    /// The wall clock jumped, forward or back. The log's time never does: it goes on from the
    /// newest record, and stands still until a clock that was set back has caught up.
    ClockStepped {
        /// What the clock would have shown without the step; at a start, the newest record's time.
        from: Timestamp,
        /// What it showed.
        to: Timestamp,
    }
);
data!(
    /// The disk made a batch wait for a second or more: nobody was answered meanwhile, and what a client
    /// may repeat for a while, it may repeat for so much longer.
    LedgerStalled {
        /// For how many milliseconds, and not for longer than since the record before.
        for_ms: u64,
    }
);
data!(
    /// A client was registered.
    ClientRegistered {
        /// All that is known of it.
        metadata: Box<ClientMetadata>,
        /// The digest of its secret; a public client has none.
        secret: Option<Digest>,
    }
);
data!(
    /// A client's metadata was replaced.
    ClientUpdated {
        /// The metadata from now on.
        metadata: Box<ClientMetadata>,
    }
);
data!(
    /// A client was given another secret.
    ClientSecretRotated {
        /// The digest of the new secret.
        secret: Digest,
        /// Until when the secret before it is accepted too.
        previous_expires_at: Timestamp,
    }
);
data!(
    /// A client may not use its tokens for the time being.
    ClientDisabled {
        /// Why, in the operator's words.
        reason: String,
    }
);
data!(
    /// A disabled client may go on.
    ClientEnabled {
        /// Why, in the operator's words.
        reason: String,
    }
);
data!(
    /// A resource owner was seen for the first time; the record's `subject` is the pseudonym.
    SubjectRegistered {
        /// The `sub`, sealed under the subject's own key.
        sub: Sealed,
    }
);
data!(
    /// A resource owner's key was destroyed; all that was issued is dead.
    SubjectErased {
        /// Why, in the operator's words.
        reason: String,
        /// The legal basis, such as an article of the GDPR.
        legal_basis: String,
    }
);

/// How a grant came to be (RFC 6749 section 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// A resource owner said yes; a code was issued for it.
    AuthorizationCode,
    /// The client asked on its own behalf.
    ClientCredentials,
}

data!(
    /// An authorization code, bound to what it was asked with (RFC 6749 section 4.1.2).
    CodeIssued {
        /// The digest of the code.
        digest: Digest,
        /// Not accepted from this instant on.
        expires_at: Timestamp,
        /// The redirect URI of the authorization request.
        redirect_uri: Option<String>,
        /// The S256 code challenge (RFC 7636 section 4.3), as the 32 bytes it encodes.
        challenge: Option<Digest>,
    }
);
data!(
    /// An authorization that tokens descend from.
    GrantCreated {
        /// By which grant type.
        how: How,
        /// What it covers.
        scope: Scope,
        /// The servers it is meant for (RFC 8707).
        resources: Resources,
        /// The code that was issued for it.
        code: Option<CodeIssued>,
    }
);
data!(
    /// The code was exchanged for tokens.
    CodeRedeemed {}
);
data!(
    /// The code came a second time, valid in all else (RFC 6749 section 10.5).
    CodeReplayed {}
);

/// Why a code was not exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeRefusal {
    /// Another client's code.
    WrongClient,
    /// The verifier does not belong to the challenge, or one of them is missing.
    WrongVerifier,
    /// Another redirect URI than in the authorization request.
    WrongRedirectUri,
    /// Too late.
    Expired,
    /// The grant is revoked.
    Revoked,
    /// Client, subject or everything is blacklisted.
    Blacklisted,
    /// The client is disabled.
    ClientDisabled,
    /// More scope than was granted.
    Scope,
    /// Another resource than was granted.
    Target,
}

data!(
    /// An authentic code was refused; at most one record per grant and reason a second.
    CodeRefused {
        /// Why.
        reason: CodeRefusal,
        /// How often since the last such record.
        count: u64,
    }
);
data!(
    /// An access token left the service.
    AccessTokenIssued {
        /// The token's digest.
        digest: Digest,
        /// The JWT's `jti`; an opaque token has none.
        jti: Option<String>,
        /// JWT or opaque.
        format: AccessTokenFormat,
        /// The key that signed the JWT.
        key: Option<KeyId>,
        /// What it covers.
        scope: Scope,
        /// The servers it is meant for.
        audience: Resources,
        /// Not accepted from this instant on.
        expires_at: Timestamp,
        /// The generation of the refresh token that asked for it.
        generation: Option<u32>,
    }
);
data!(
    /// The first refresh token of a grant.
    RefreshTokenIssued {
        /// Always 0.
        generation: u32,
        /// The token's digest.
        digest: Digest,
        /// When it expires by the policy of that moment, unused; none means never.
        expires_at: Option<Timestamp>,
    }
);
data!(
    /// A refresh without rotation.
    RefreshTokenUsed {
        /// The generation used.
        generation: u32,
        /// Who asked, as a tag under the subject's key.
        tag: Option<OriginTag>,
        /// When the token expires by the policy of that moment, unused; none means never.
        expires_at: Option<Timestamp>,
    }
);
data!(
    /// A refresh with rotation.
    RefreshTokenRotated {
        /// The generation that was presented, spent from now on.
        from: u32,
        /// Its successor.
        to: u32,
        /// The successor's digest.
        digest: Digest,
        /// Who asked, as a tag under the subject's key.
        tag: Option<OriginTag>,
        /// When the successor expires by the policy of that moment; none means never.
        expires_at: Option<Timestamp>,
    }
);
data!(
    /// A spent token came back inside its grace window and got the same successor again.
    RefreshTokenRetried {
        /// The generation presented.
        generation: u32,
        /// How many retries of it there were, this one included.
        count: u32,
        /// Who asked, as a tag under the subject's key.
        tag: Option<OriginTag>,
        /// Whether the tag differs from that of the first use.
        other_origin: bool,
    }
);

/// How the reuse showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reuse {
    /// A spent token came back when nothing excused it any more.
    Spent,
    /// Generation after generation was retried from another origin within the grace window.
    Shadowed,
}

data!(
    /// A spent refresh token came back (RFC 9700 section 4.14.2).
    RefreshTokenReused {
        /// The generation presented.
        generation: u32,
        /// The grant's generation at that moment.
        current: u32,
        /// How it showed.
        how: Reuse,
        /// Who asked, as a tag under the subject's key.
        tag: Option<OriginTag>,
    }
);

/// Why a refresh was refused without consequence for the grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshRefusal {
    /// Idle or absolute expiry passed.
    Expired,
    /// The grant is revoked.
    Revoked,
    /// Client, subject, grant or everything is blacklisted.
    Blacklisted,
    /// The client is disabled.
    ClientDisabled,
    /// The client may not refresh any more.
    GrantType,
    /// Another client's token.
    WrongClient,
    /// More scope than was granted.
    Scope,
    /// Another resource than was granted.
    Target,
    /// A token that this log has not issued: the log is older than the token.
    Ahead,
}

data!(
    /// An authentic refresh token was refused; at most one record per grant and reason a second.
    RefreshRefused {
        /// Why.
        reason: RefreshRefusal,
        /// The generation presented.
        generation: u32,
        /// How often since the last such record.
        count: u64,
    }
);

/// Why a token or a grant died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The client revoked it (RFC 7009).
    Client,
    /// A spent refresh token came back.
    Reuse,
    /// The code came back.
    CodeReplay,
    /// An administrator revoked it.
    Administrator,
}

data!(
    /// One access token is dead; the others of its grant live on.
    AccessTokenRevoked {
        /// The token's digest.
        digest: Digest,
        /// Why.
        cause: Cause,
    }
);
data!(
    /// A grant is dead with all its tokens.
    GrantRevoked {
        /// Why.
        cause: Cause,
        /// In the operator's words, where there was one.
        reason: Option<String>,
    }
);

/// What a blacklist entry hits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "id", rename_all = "snake_case")]
pub enum Target {
    /// One token, by its digest. A refresh token or code takes its grant along.
    Token(Digest),
    /// A grant with all its tokens.
    Grant(GrantId),
    /// All that was granted by a resource owner.
    Subject(SubjectId),
    /// All that was granted to a client.
    Client(ClientId),
    /// All access tokens that a key signed.
    Key(KeyId),
    /// Everything.
    All,
}

data!(
    /// The operator blacklisted something.
    BlacklistAdded {
        /// The entry's identifier.
        id: BlacklistId,
        /// What it hits.
        target: Target,
        /// Whether a token hit by its digest takes its whole grant along.
        whole_grant: bool,
        /// Why, in the operator's words.
        reason: String,
        /// All that was issued up to this `seq` is dead; none for a token or a grant.
        watermark: Option<Seq>,
    }
);
data!(
    /// The operator lifted an entry: new tokens may be issued, none comes back to life.
    BlacklistLifted {
        /// The entry's identifier.
        id: BlacklistId,
        /// Why, in the operator's words.
        reason: String,
    }
);
data!(
    /// A known client could not prove itself; at most one record per client a second.
    ClientAuthenticationFailed {
        /// The method it used, as in `token_endpoint_auth_methods_supported`.
        method: String,
        /// How often since the last such record.
        count: u64,
    }
);
data!(
    /// A client proved itself by an assertion, which proves nothing a second time.
    ClientAssertionUsed {
        /// The digest of the client and the assertion's `jti`.
        digest: Digest,
        /// The assertion's `exp`.
        expires_at: Timestamp,
    }
);
data!(
    /// A key came into use.
    KeyAdded {
        /// Its identifier.
        kid: KeyId,
        /// What for: `access_token`, `checkpoint`.
        purpose: String,
        /// The algorithm (RFC 7518 section 3.1).
        alg: String,
        /// The public key: a JWK (RFC 7517) or a note verifier key.
        public: serde_json::Value,
    }
);
data!(
    /// A key signs nothing any more; what it signed lives on until it expires.
    KeyRetired {
        /// Its identifier.
        kid: KeyId,
    }
);
data!(
    /// Someone read or exported the log.
    AuditRead {
        /// Which question was asked, such as `records`, `trail`, `token` or `valid`.
        what: String,
        /// What was asked for, without personal data: the record's envelope names the parties.
        parameters: serde_json::Map<String, serde_json::Value>,
    }
);
