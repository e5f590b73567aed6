//! What can go wrong between here and the server, in sentences. Nothing of what was sent is
//! repeated, and what the server said is shown as plain text only.

use std::borrow::Cow;

use crate::cli::output::plain;

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// There is no connection.
    #[error("cannot reach {server}: {why}")]
    Unreachable {
        /// Which server.
        server: String,
        /// What the system said.
        why: String,
    },
    /// The answer did not come, or not whole.
    #[error("no whole answer came from {server}: {why}")]
    NoAnswer {
        /// Which server.
        server: String,
        /// What happened.
        why: String,
        /// Whether the request asked for a change, which may be done by now.
        changes: bool,
    },
    /// The answer is longer than is read.
    #[error("the answer is longer than {bytes_max} bytes")]
    TooLong {
        /// What is read.
        bytes_max: usize,
    },
    /// The client could not log in.
    #[error("{server} gives client {client_id} no access token: {refusal}")]
    NoToken {
        /// Which server.
        server: String,
        /// As whom it was tried.
        client_id: String,
        /// What the server said.
        refusal: Box<Refused>,
    },
    /// The server refused the request.
    #[error("{0}")]
    Refused(Box<Refused>),
    /// The answer is not one of a token ledger.
    #[error("the answer of {server} is not what a token ledger says: {what}")]
    Unexpected {
        /// Which server.
        server: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The HTTP library does not start.
    #[error("cannot speak HTTP: {why}")]
    NoHttp {
        /// What it said.
        why: String,
    },
}

/// An error answer (RFC 6749 section 5.2, RFC 6750 section 3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// The code, empty when the answer had none.
    pub error: String,
    /// The sentence, empty when the answer had none.
    pub error_description: String,
    /// Seconds to wait, from `Retry-After`.
    pub retry_after_s: Option<u64>,
    /// The scope that would do, from `WWW-Authenticate`.
    pub scope: Option<String>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (error, description) = (plain(&self.error), plain(&self.error_description));
        match (error.as_str(), description.as_str()) {
            ("", _) => write!(f, "the server answered {}", self.status),
            (error, "") => write!(f, "{error} ({})", self.status),
            (error, description) => write!(f, "{description} ({error}, {})", self.status),
        }
    }
}

impl Refused {
    fn hint(&self) -> Cow<'static, str> {
        match (self.status, self.error.as_str()) {
            (401, _) => "do --public and --admin of the profile belong to the same ledger? Log in \
                         again with token-ledger login"
                .into(),
            (403, "insufficient_scope") | (403, "") => match &self.scope {
                Some(scope) => {
                    format!("log in as a client that has the scope {}", plain(scope)).into()
                }
                None => "log in as a client with more scope: ledger:admin, ledger:grant or \
                         ledger:audit"
                    .into(),
            },
            // Without a code of ours it is not our answer: another server, or a path it lacks.
            (404 | 405, "") => "is the address right? --admin of token-ledger login must be the \
                                admin listener, and as new as this program"
                .into(),
            (404, _) => {
                "check how it is spelt, for identifiers are case-sensitive: clients, grants and \
                         the blacklist have a list command"
                    .into()
            }
            (409, _) => "look at what is there now with the show or list command".into(),
            (429 | 503, _) => match self.retry_after_s {
                Some(seconds) => format!("try again in {seconds} s").into(),
                None => "try again in a moment; the server's log says more".into(),
            },
            (500..=599, _) => "the server's log says more".into(),
            _ => "--help shows what the command takes".into(),
        }
    }
}

impl RemoteError {
    /// What a person can do next.
    pub fn hint(&self) -> Cow<'static, str> {
        match self {
            Self::Unreachable { .. } => {
                "is it running (token-ledger serve --data DIR), and is the address in the profile \
                 right?"
                    .into()
            }
            Self::NoAnswer { changes: true, .. } => {
                "the change may be done or not: look with the list or show command before you \
                 repeat it"
                    .into()
            }
            Self::NoAnswer { changes: false, .. } => "nothing was changed; try again".into(),
            Self::TooLong { .. } => {
                "ask for less: --limit, --from and --to, --since and --until; a package holds 256 \
                 MiB of records, and that of a time holds them in parts"
                    .into()
            }
            Self::NoToken { refusal, .. } => match (refusal.status, refusal.error.as_str()) {
                (401, _) | (_, "invalid_client") => {
                    "log in again with token-ledger login; a lost secret is replaced by another \
                     administrator with token-ledger client rotate-secret, or where there is none by \
                     token-ledger administrator on the server's machine; the client must \
                     authenticate by client_secret_basic"
                        .into()
                }
                (_, "unauthorized_client") => {
                    "give the client the grant type: token-ledger client update ID --grant-type \
                     client_credentials"
                        .into()
                }
                (404 | 405, _) => "is --public of token-ledger login the public listener?".into(),
                _ => refusal.hint(),
            },
            Self::Refused(refused) => refused.hint(),
            Self::Unexpected { .. } => {
                "is the address in the profile that of a token ledger as new as this program?"
                    .into()
            }
            Self::NoHttp { .. } => "are the certificates of this system installed?".into(),
        }
    }
}
