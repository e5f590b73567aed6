//! What a client asks of the token, revocation and introspection endpoints. Only the syntax is
//! judged here; whether a code or token is good needs the ledger.

use crate::domain::client::GrantType;
use crate::oauth::error::{ErrorCode, ErrorResponse};
use crate::oauth::form::Form;
use crate::oauth::pkce;
use crate::types::resource::{NotAResource, Resource, Resources};
use crate::types::scope::Scope;
use crate::types::secret::Secret;

/// An access token request (RFC 6749 sections 4.1.3, 4.4.2 and 6).
pub struct TokenRequest {
    /// What the client presents in exchange.
    pub grant: PresentedGrant,
    /// The scope asked for; `None` leaves it to the grant (RFC 6749 section 3.3).
    pub scope: Option<Scope>,
    /// The resources asked for, never an empty set (RFC 8707 section 2.2).
    pub resources: Option<Resources>,
}

/// The grant that a token request presents.
pub enum PresentedGrant {
    /// RFC 6749 section 4.1.3.
    AuthorizationCode {
        /// The code.
        code: Secret,
        /// Where it was sent, if the client says so.
        redirect_uri: Option<String>,
        /// The answer to the challenge (RFC 7636 section 4.5), well-formed.
        code_verifier: Option<Secret>,
    },
    /// RFC 6749 section 4.4.2: the client's own authentication is the grant.
    ClientCredentials,
    /// RFC 6749 section 6.
    RefreshToken {
        /// The refresh token.
        token: Secret,
    },
}

impl PresentedGrant {
    /// Its type, as a client registers it.
    pub fn grant_type(&self) -> GrantType {
        match self {
            Self::AuthorizationCode { .. } => GrantType::AuthorizationCode,
            Self::ClientCredentials => GrantType::ClientCredentials,
            Self::RefreshToken { .. } => GrantType::RefreshToken,
        }
    }
}

impl TokenRequest {
    /// Reads the form of a token request.
    ///
    /// # Errors
    /// `invalid_request` for a parameter that is missing or malformed, `unsupported_grant_type`,
    /// `invalid_scope`, or `invalid_target`. The caller corrects the request.
    pub fn parse(form: &Form) -> Result<Self, ErrorResponse> {
        let grant_type = form.one("grant_type").ok_or_else(|| missing("grant_type is missing"))?;
        let served = GrantType::ALL.into_iter().find(|served| served.as_str() == grant_type);
        let grant = match served {
            Some(GrantType::AuthorizationCode) => authorization_code(form)?,
            Some(GrantType::ClientCredentials) => PresentedGrant::ClientCredentials,
            Some(GrantType::RefreshToken) => {
                let token = form.secret("refresh_token");
                let token = token.ok_or_else(|| missing("refresh_token is missing"))?;
                PresentedGrant::RefreshToken { token }
            }
            None => {
                let what = "grant_type is not one that this server knows";
                return Err(ErrorResponse::new(ErrorCode::UnsupportedGrantType, what));
            }
        };
        let scope = form.one("scope").map(str::parse).transpose();
        let scope = scope.map_err(|_| {
            let what = "scope must be at most 64 scope tokens with single spaces between";
            ErrorResponse::new(ErrorCode::InvalidScope, what)
        })?;
        Ok(Self { grant, scope, resources: resources(form)? })
    }
}

/// The `token` of a revocation (RFC 7009 section 2.1) or introspection request (RFC 7662 section
/// 2.1). The hint is not read: a token names its own kind.
///
/// # Errors
/// `invalid_request` when it is missing.
pub fn token_parameter(form: &Form) -> Result<&str, ErrorResponse> {
    form.one("token").ok_or_else(|| missing("token is missing"))
}

fn missing(what: &'static str) -> ErrorResponse {
    ErrorResponse::new(ErrorCode::InvalidRequest, what)
}

fn authorization_code(form: &Form) -> Result<PresentedGrant, ErrorResponse> {
    Ok(PresentedGrant::AuthorizationCode {
        code: form.secret("code").ok_or_else(|| missing("code is missing"))?,
        redirect_uri: form.one("redirect_uri").map(str::to_owned),
        code_verifier: form.secret("code_verifier").map(pkce::parse_verifier).transpose()?,
    })
}

fn resources(form: &Form) -> Result<Option<Resources>, ErrorResponse> {
    let resources: Result<Vec<Resource>, NotAResource> =
        form.all("resource").map(str::parse).collect();
    let resources = resources.and_then(Resources::new).map_err(|_| {
        let what = "resource must be at most 16 absolute URIs without fragment";
        ErrorResponse::new(ErrorCode::InvalidTarget, what)
    })?;
    Ok(Some(resources).filter(|resources| !resources.is_empty()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(body: &str) -> Form {
        let content_type = Some("application/x-www-form-urlencoded");
        Form::parse(content_type, body.as_bytes()).map_err(|fault| fault.to_string()).unwrap()
    }

    fn request(body: &str) -> TokenRequest {
        TokenRequest::parse(&form(body)).map_err(|fault| fault.to_string()).unwrap()
    }

    fn refusal(body: &str) -> Option<ErrorCode> {
        TokenRequest::parse(&form(body)).err().map(|fault| fault.error())
    }

    #[test]
    fn each_grant_type_is_read() {
        let body = "grant_type=authorization_code&code=tlc_1&redirect_uri=https%3A%2F%2Fa%2Fcb";
        let verifier = "v".repeat(43);
        let read = request(&format!("{body}&code_verifier={verifier}"));
        assert_eq!(read.grant.grant_type(), GrantType::AuthorizationCode);
        let PresentedGrant::AuthorizationCode { code, redirect_uri, code_verifier } = read.grant
        else {
            panic!("not a code");
        };
        assert_eq!(code.expose(), "tlc_1");
        assert_eq!(redirect_uri.as_deref(), Some("https://a/cb"));
        assert_eq!(code_verifier.as_ref().map(Secret::expose), Some(verifier.as_str()));

        let read = request("grant_type=refresh_token&refresh_token=tlr_1");
        let PresentedGrant::RefreshToken { token } = &read.grant else {
            panic!("not a refresh token");
        };
        assert_eq!(token.expose(), "tlr_1");
        assert_eq!(read.grant.grant_type(), GrantType::RefreshToken);

        let read = request("grant_type=client_credentials");
        assert_eq!(read.grant.grant_type(), GrantType::ClientCredentials);
        assert_eq!((read.scope, read.resources), (None, None));
    }

    #[test]
    fn w3_w6_a_missing_grant_type_is_an_invalid_request() {
        for body in ["", "grant_type=", "code=1"] {
            assert_eq!(refusal(body), Some(ErrorCode::InvalidRequest), "{body}");
        }
    }

    #[test]
    fn w6_an_unknown_grant_type_is_unsupported() {
        for grant_type in
            ["password", "Refresh_Token", "urn:ietf:params:oauth:grant-type:jwt-bearer"]
        {
            let found = refusal(&format!("grant_type={grant_type}"));
            assert_eq!(found, Some(ErrorCode::UnsupportedGrantType), "{grant_type}");
        }
    }

    #[test]
    fn w3_r1_what_the_grant_needs_must_be_there() {
        for body in [
            "grant_type=authorization_code",
            "grant_type=authorization_code&code=",
            "grant_type=refresh_token",
            "grant_type=refresh_token&refresh_token=",
        ] {
            assert_eq!(refusal(body), Some(ErrorCode::InvalidRequest), "{body}");
        }
    }

    #[test]
    fn w4_parameters_of_another_grant_are_ignored() {
        let read =
            request("grant_type=client_credentials&code_verifier=short&refresh_token=x&foo=1");
        assert_eq!(read.grant.grant_type(), GrantType::ClientCredentials);
    }

    #[test]
    fn w10_a_scope_is_a_set_of_scope_tokens() {
        let read = request("grant_type=client_credentials&scope=write+read%20read");
        assert_eq!(read.scope, "read write".parse().ok());
        assert_eq!(request("grant_type=client_credentials&scope=").scope, None);
        for scope in ["a%22b", "a%5Cb", "a++b", "+", "caf%C3%A9", "a%09b", &"a".repeat(2049)] {
            let found = refusal(&format!("grant_type=client_credentials&scope={scope}"));
            assert_eq!(found, Some(ErrorCode::InvalidScope), "{scope}");
        }
    }

    #[test]
    fn a5_a8_what_only_the_grant_can_judge_may_be_absent() {
        let read = request("grant_type=authorization_code&code=1");
        let PresentedGrant::AuthorizationCode { redirect_uri, code_verifier, .. } = read.grant
        else {
            panic!("not a code");
        };
        assert!(redirect_uri.is_none() && code_verifier.is_none());
    }

    #[test]
    fn a6_a_malformed_verifier_is_an_invalid_request() {
        for verifier in ["a".repeat(42), "a".repeat(129), format!("{}%2B", "a".repeat(43))] {
            let body = format!("grant_type=authorization_code&code=1&code_verifier={verifier}");
            assert_eq!(refusal(&body), Some(ErrorCode::InvalidRequest), "{verifier}");
        }
    }

    #[test]
    fn x1_a_resource_is_an_absolute_uri_without_fragment() {
        let body = "&resource=https://b/&resource=urn:a:x&resource=https://b/";
        let read = request(&format!("grant_type=client_credentials{body}"));
        let read = read.resources.unwrap();
        assert_eq!(
            read.iter().map(Resource::as_str).collect::<Vec<_>>(),
            ["https://b/", "urn:a:x"]
        );
        for resource in ["photos", "/photos", "https://b/%23x", "https://b/%20"] {
            let found = refusal(&format!("grant_type=client_credentials&resource={resource}"));
            assert_eq!(found, Some(ErrorCode::InvalidTarget), "{resource}");
        }
        let many = (0..17).map(|i| format!("&resource=https://b/{i}")).collect::<String>();
        let found = refusal(&format!("grant_type=client_credentials{many}"));
        assert_eq!(found, Some(ErrorCode::InvalidTarget));
    }

    #[test]
    fn v2_v4_a_revocation_names_a_token_and_its_hint_has_no_meaning() {
        let read = form("token=tlr_1&token_type_hint=nonsense");
        assert_eq!(token_parameter(&read), Ok("tlr_1"));
        for body in ["", "token=", "token_type_hint=refresh_token"] {
            let fault = token_parameter(&form(body)).err().map(|fault| fault.error());
            assert_eq!(fault, Some(ErrorCode::InvalidRequest), "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_form_makes_it_panic(
            grant_type in "authorization_code|client_credentials|refresh_token|.{0,5}",
            values in proptest::collection::vec("(%[0-9A-F]{2}|[ -~]){0,50}", 7),
        ) {
            let names = "code redirect_uri code_verifier refresh_token scope resource token";
            let pairs = names.split(' ').zip(values);
            let pairs = pairs.map(|(name, value)| format!("&{name}={value}"));
            let body = format!("grant_type={grant_type}{}", pairs.collect::<String>());
            let content_type = Some("application/x-www-form-urlencoded");
            if let Ok(form) = Form::parse(content_type, body.as_bytes()) {
                let _ = TokenRequest::parse(&form);
                let _ = token_parameter(&form);
            }
        }
    }
}
