//! Error answers: the codes of the RFCs, the JSON of RFC 6749 section 5.2, and the challenges that
//! go with a 401. A description never repeats what the caller sent.

use std::borrow::Cow;

use serde::Serialize;

use crate::domain::client::MetadataFault;
use crate::types::scope::Scope;

/// How many bytes of a description are kept.
const DESCRIPTION_BYTES_MAX: usize = 512;

/// What went wrong, in the word that the caller's program looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request is malformed (RFC 6749 section 5.2).
    InvalidRequest,
    /// The client is unknown or did not prove who it is (RFC 6749 section 5.2).
    InvalidClient,
    /// The code or refresh token is of no use to this client (RFC 6749 section 5.2).
    InvalidGrant,
    /// The client may not use this grant type (RFC 6749 section 5.2).
    UnauthorizedClient,
    /// The grant type is not served (RFC 6749 section 5.2).
    UnsupportedGrantType,
    /// The scope is malformed, unknown, or more than was granted (RFC 6749 section 5.2).
    InvalidScope,
    /// The resource is malformed, unknown, or was not granted (RFC 8707 section 2).
    InvalidTarget,
    /// Tokens of this kind cannot be revoked (RFC 7009 section 2.2.1).
    UnsupportedTokenType,
    /// A redirect URI cannot be registered (RFC 7591 section 3.2.2).
    InvalidRedirectUri,
    /// Another member of a client's metadata cannot be registered (RFC 7591 section 3.2.2).
    InvalidClientMetadata,
    /// The bearer token is expired, revoked or not ours (RFC 6750 section 3.1).
    InvalidToken,
    /// The bearer token is good, but for less than this (RFC 6750 section 3.1).
    InsufficientScope,
    /// The owner or the operator said no (RFC 6749 section 4.1.2.1).
    AccessDenied,
    /// There is no such thing (administration only).
    NotFound,
    /// It is there already, or has changed meanwhile (administration only).
    Conflict,
    /// The server is broken; the same request will not do better.
    ServerError,
    /// The server is overloaded or stopping; the same request may do better later.
    TemporarilyUnavailable,
}

impl ErrorCode {
    /// The code as it is written on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::AccessDenied => "access_denied",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    /// The HTTP status that goes with the code unless the caller knows a better one.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest
            | Self::InvalidGrant
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType
            | Self::InvalidScope
            | Self::InvalidTarget
            | Self::UnsupportedTokenType
            | Self::InvalidRedirectUri
            | Self::InvalidClientMetadata => 400,
            // RFC 6749 section 5.2 lets 400 be when no header was used; one answer is simpler.
            Self::InvalidClient | Self::InvalidToken => 401,
            Self::InsufficientScope | Self::AccessDenied => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::ServerError => 500,
            Self::TemporarilyUnavailable => 503,
        }
    }
}

/// The JSON body of an error (RFC 6749 section 5.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}: {error_description}", error.as_str())]
pub struct ErrorResponse {
    error: ErrorCode,
    #[serde(skip_serializing_if = "str::is_empty")]
    error_description: Cow<'static, str>,
}

impl ErrorResponse {
    /// An error with a sentence for the people who read it. Characters that RFC 6749 section 5.2
    /// does not allow in it are replaced, and it is cut at 512 bytes.
    pub fn new(error: ErrorCode, error_description: impl Into<Cow<'static, str>>) -> Self {
        let mut error_description = error_description.into();
        let fits = error_description.len() <= DESCRIPTION_BYTES_MAX;
        if !fits || !error_description.bytes().all(is_allowed) {
            error_description = Cow::Owned(sanitised(&error_description));
        }
        Self { error, error_description }
    }

    /// The code.
    pub fn error(&self) -> ErrorCode {
        self.error
    }

    /// The sentence; it may be empty.
    pub fn error_description(&self) -> &str {
        &self.error_description
    }

    /// The HTTP status that goes with it, as of [`ErrorCode::status`].
    pub fn status(&self) -> u16 {
        self.error.status()
    }
}

/// `%x20-21 / %x23-5B / %x5D-7E`.
const fn is_allowed(c: u8) -> bool {
    matches!(c, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E)
}

fn sanitised(text: &str) -> String {
    let replaced = text.chars().map(|c| match c {
        '"' => '\'',
        '\\' => '/',
        c if u8::try_from(c).is_ok_and(is_allowed) => c,
        _ => '?',
    });
    replaced.take(DESCRIPTION_BYTES_MAX).collect()
}

/// The `WWW-Authenticate` of a client that failed with an `Authorization` header (RFC 6749
/// section 5.2, RFC 7617 section 2). Client secrets and identifiers are ASCII, so no `charset`.
pub fn basic_challenge(realm: &str) -> String {
    format!("Basic realm=\"{}\"", sanitised(realm))
}

/// The `WWW-Authenticate` of a protected resource (RFC 6750 section 3). Without credentials there
/// is no `fault`, so that nothing is said about tokens; `scope` is what the request needs.
pub fn bearer_challenge(
    realm: &str,
    fault: Option<&ErrorResponse>,
    scope: Option<&Scope>,
) -> String {
    let mut challenge = format!("Bearer realm=\"{}\"", sanitised(realm));
    let mut attribute = |name: &str, value: &str| {
        challenge.push_str(", ");
        challenge.push_str(name);
        challenge.push_str("=\"");
        challenge.push_str(value); // neither a scope nor a description holds `"` or `\`
        challenge.push('"');
    };
    if let Some(fault) = fault {
        attribute("error", fault.error.as_str());
        if !fault.error_description.is_empty() {
            attribute("error_description", &fault.error_description);
        }
    }
    if let Some(scope) = scope {
        attribute("scope", &scope.to_string());
    }
    challenge
}

impl From<MetadataFault> for ErrorResponse {
    /// The codes of RFC 7591 section 3.2.2.
    fn from(fault: MetadataFault) -> Self {
        let code = match fault.member {
            "redirect_uris" => ErrorCode::InvalidRedirectUri,
            _ => ErrorCode::InvalidClientMetadata,
        };
        Self::new(code, fault.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [ErrorCode; 17] = [
        ErrorCode::InvalidRequest,
        ErrorCode::InvalidClient,
        ErrorCode::InvalidGrant,
        ErrorCode::UnauthorizedClient,
        ErrorCode::UnsupportedGrantType,
        ErrorCode::InvalidScope,
        ErrorCode::InvalidTarget,
        ErrorCode::UnsupportedTokenType,
        ErrorCode::InvalidRedirectUri,
        ErrorCode::InvalidClientMetadata,
        ErrorCode::InvalidToken,
        ErrorCode::InsufficientScope,
        ErrorCode::AccessDenied,
        ErrorCode::NotFound,
        ErrorCode::Conflict,
        ErrorCode::ServerError,
        ErrorCode::TemporarilyUnavailable,
    ];

    #[test]
    fn a_code_is_the_same_word_in_rust_and_in_json() {
        for code in ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }

    #[test]
    fn w9_an_error_is_json_with_error_and_error_description() {
        let fault = ErrorResponse::new(ErrorCode::InvalidGrant, "the code was used before");
        let text = serde_json::to_string(&fault).unwrap();
        let expected =
            r#"{"error":"invalid_grant","error_description":"the code was used before"}"#;
        assert_eq!(text, expected);
        assert_eq!(fault.status(), 400);
        let silent = ErrorResponse::new(ErrorCode::InvalidClient, "");
        assert_eq!(serde_json::to_string(&silent).unwrap(), r#"{"error":"invalid_client"}"#);
    }

    #[test]
    fn w9_a_description_holds_only_allowed_characters() {
        let fault = ErrorResponse::new(ErrorCode::InvalidRequest, "say \"\u{e9}\\\n\u{7f}\" ~!");
        assert_eq!(fault.error_description(), "say '?/??' ~!");
        let long = ErrorResponse::new(ErrorCode::InvalidRequest, "x".repeat(10_000));
        assert_eq!(long.error_description().len(), DESCRIPTION_BYTES_MAX);
    }

    #[test]
    fn c5_an_unknown_client_is_401() {
        assert_eq!(ErrorCode::InvalidClient.status(), 401);
        assert_eq!(ErrorCode::UnauthorizedClient.status(), 400);
    }

    #[test]
    fn c3_the_basic_challenge_names_the_realm() {
        assert_eq!(basic_challenge("ledger"), "Basic realm=\"ledger\"");
        assert_eq!(basic_challenge("a\"b\\c\r\nd"), "Basic realm=\"a'b/c??d\"");
    }

    #[test]
    fn b2_without_credentials_the_challenge_names_no_error() {
        assert_eq!(bearer_challenge("ledger", None, None), "Bearer realm=\"ledger\"");
    }

    #[test]
    fn b3_b4_each_attribute_of_the_challenge_stands_once() {
        let fault = ErrorResponse::new(ErrorCode::InsufficientScope, "needs \"more\"");
        let scope: Scope = "ledger:admin ledger:audit".parse().unwrap();
        let challenge = bearer_challenge("ledger", Some(&fault), Some(&scope));
        assert_eq!(
            challenge,
            "Bearer realm=\"ledger\", error=\"insufficient_scope\", \
             error_description=\"needs 'more'\", scope=\"ledger:admin ledger:audit\""
        );
        assert_eq!(fault.status(), 403);
        let silent = ErrorResponse::new(ErrorCode::InvalidToken, "");
        let challenge = bearer_challenge("ledger", Some(&silent), None);
        assert_eq!(challenge, "Bearer realm=\"ledger\", error=\"invalid_token\"");
    }
}
