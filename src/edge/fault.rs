//! What goes wrong at the edge, and what the caller is told of it.

use crate::domain::event::{CodeRefusal, RefreshRefusal};
use crate::domain::refusal::Refusal;
use crate::edge::rotate::KeyFault;
use crate::ledger::handle::SubmitError;
use crate::ledger::replay::LogError;
use crate::ledger::tree::RootFault;
use crate::ledger::unsigned::Unsigned;
use crate::ledger::vault::VaultError;
use crate::oauth::error::{ErrorCode, ErrorResponse};
use crate::types::scope::Scope;

/// Why there is no answer but an error.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The request is at fault, or a rule said no.
    #[error(transparent)]
    Refused(#[from] ErrorResponse),
    /// The client did not prove itself (RFC 6749 section 5.2).
    #[error("the client did not prove itself")]
    Unauthenticated {
        /// Whether it tried with the `Authorization` header.
        basic: bool,
    },
    /// The bearer token does not open this (RFC 6750 section 3.1).
    #[error("the bearer token does not open this")]
    Bearer {
        /// What to say about a token that was sent; nothing where there was none.
        error: Option<ErrorResponse>,
        /// The scope that is needed.
        scope: Option<Scope>,
    },
    /// Too many attempts of this caller failed; this one was not looked at.
    #[error("too many failed attempts to authenticate")]
    Throttled {
        /// After how many seconds the next attempt is looked at.
        retry_after_s: u64,
    },
    /// Not now: the queue is full, the writer stopped, or the answer took too long.
    #[error(transparent)]
    Unavailable(#[from] SubmitError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The Merkle tree cannot be read.
    #[error(transparent)]
    Tree(#[from] RootFault),
    /// No checkpoint is signed.
    #[error(transparent)]
    Unsigned(#[from] Unsigned),
    /// The vault cannot be read or written.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The keys could not be changed.
    #[error(transparent)]
    Keys(#[from] KeyFault),
    /// A bug: the operator learns which.
    #[error("{0}")]
    Broken(&'static str),
}

impl Fault {
    /// A refusal with a sentence for the people who read it.
    pub fn refused(
        code: ErrorCode,
        description: impl Into<std::borrow::Cow<'static, str>>,
    ) -> Self {
        Self::Refused(ErrorResponse::new(code, description))
    }
}

/// The RFC's code for each refusal. Everything by which a caller could probe tokens is the same
/// `invalid_grant`; the record and the trace keep the difference.
impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let (code, description) = match refusal {
            Refusal::UnknownClient => (ErrorCode::NotFound, "there is no such client"),
            Refusal::ClientExists => {
                (ErrorCode::Conflict, "this client_id is taken: choose another, or leave it out")
            }
            Refusal::UnknownGrant => (ErrorCode::NotFound, "there is no such grant"),
            Refusal::UnknownSubject => {
                (ErrorCode::NotFound, "there is no such subject, or it was erased")
            }
            Refusal::UnknownEntry => {
                (ErrorCode::NotFound, "there is no such blacklist entry in force")
            }
            Refusal::UnknownKey => (ErrorCode::NotFound, "there is no such key in use"),
            Refusal::KeyExists => (ErrorCode::Conflict, "this key was added already"),
            Refusal::SelfLockout => (
                ErrorCode::Conflict,
                "this would lock out the client that asks for it: use another administrator",
            ),
            Refusal::NoSecret => (ErrorCode::Conflict, NO_SECRET),
            Refusal::AssertionUsed | Refusal::AssertionsFull => {
                (ErrorCode::InvalidClient, UNPROVEN)
            }
            Refusal::GrantType => {
                (ErrorCode::UnauthorizedClient, "the client is not registered for this grant type")
            }
            Refusal::ClientDisabled => (ErrorCode::UnauthorizedClient, "the client is disabled"),
            Refusal::Blacklisted => (
                ErrorCode::UnauthorizedClient,
                "nothing is issued for this client or subject at present",
            ),
            Refusal::Scope => {
                (ErrorCode::InvalidScope, "the scope exceeds what may be asked for here")
            }
            Refusal::Target => {
                (ErrorCode::InvalidTarget, "the resource is not among those that may be asked for")
            }
            Refusal::NoChallenge => {
                (ErrorCode::InvalidRequest, "a public client must send a code_challenge")
            }
            Refusal::RedirectUri => {
                (ErrorCode::InvalidRequest, "the redirect_uri is not registered for the client")
            }
            Refusal::UnexpectedVerifier => (
                ErrorCode::InvalidRequest,
                "code_verifier was sent for a code that was issued without code_challenge",
            ),
            Refusal::Code(CodeRefusal::Scope) | Refusal::Refresh(RefreshRefusal::Scope) => {
                (ErrorCode::InvalidScope, "the scope exceeds what was granted")
            }
            Refusal::Code(CodeRefusal::Target) | Refusal::Refresh(RefreshRefusal::Target) => {
                (ErrorCode::InvalidTarget, "the resource is not among those granted")
            }
            Refusal::Code(
                CodeRefusal::WrongClient
                | CodeRefusal::WrongVerifier
                | CodeRefusal::WrongRedirectUri
                | CodeRefusal::Expired
                | CodeRefusal::Revoked
                | CodeRefusal::Blacklisted
                | CodeRefusal::ClientDisabled,
            )
            | Refusal::CodeReplayed => (ErrorCode::InvalidGrant, INVALID_CODE),
            Refusal::Refresh(
                RefreshRefusal::Expired
                | RefreshRefusal::Revoked
                | RefreshRefusal::Blacklisted
                | RefreshRefusal::ClientDisabled
                | RefreshRefusal::GrantType
                | RefreshRefusal::WrongClient
                | RefreshRefusal::Ahead,
            )
            | Refusal::Reused => (ErrorCode::InvalidGrant, INVALID_REFRESH_TOKEN),
            Refusal::ForeignToken => {
                (ErrorCode::UnauthorizedClient, "the token was issued to another client")
            }
            Refusal::TooLarge => {
                (ErrorCode::InvalidRequest, "the request carries more text than a record may hold")
            }
            Refusal::Stale => (
                ErrorCode::Conflict,
                "the state changed while the request was prepared: send it again",
            ),
        };
        Self::refused(code, description)
    }
}

const NO_SECRET: &str = "the client authenticates without a secret";
/// Authentication answers so by itself; should such a refusal come from elsewhere, it looks alike.
const UNPROVEN: &str = "the client is unknown or did not prove who it is";
/// What a client learns of a code that is of no use, whatever the reason.
pub const INVALID_CODE: &str = "the code is unknown, expired, used, or not for this client";
/// What a client learns of a refresh token that is of no use, whatever the reason.
pub const INVALID_REFRESH_TOKEN: &str =
    "the refresh token is unknown, expired, revoked, or not for this client";
