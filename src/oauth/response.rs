//! What the endpoints answer when all is well. Token answers hold secrets: they are rendered and
//! forgotten, never printed.

use serde::{Serialize, Serializer};

use crate::crypto::public_jwk::ASSERTION_ALGORITHMS;
use crate::domain::client::{AuthMethod, GrantType};
use crate::oauth::issuer::Issuer;
use crate::types::id::ClientId;
use crate::types::resource::Resources;
use crate::types::scope::Scope;
use crate::types::time::Timestamp;

/// The answer to whoever asks about a token that is not good for them, whatever the reason: always
/// these bytes, so that they tell nothing (RFC 7662 section 2.2).
pub const INACTIVE: &[u8] = br#"{"active":false}"#;

/// How an access token is to be presented (RFC 6749 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum TokenType {
    /// RFC 6750.
    Bearer,
}

/// A successful answer of the token endpoint (RFC 6749 section 5.1).
#[derive(Serialize)]
pub struct TokenResponse<'a> {
    /// The access token itself.
    pub access_token: &'a str,
    /// How to present it.
    pub token_type: TokenType,
    /// Seconds that it will live.
    pub expires_in: u64,
    /// The refresh token to use next time; left out when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<&'a str>,
    /// The scope of the access token, also where it is what was asked for; left out when it is
    /// empty, for which RFC 6749 section 3.3 has no spelling.
    #[serde(skip_serializing_if = "Scope::is_empty")]
    pub scope: &'a Scope,
}

/// The answer about a good token (RFC 7662 section 2.2); [`INACTIVE`] is the other one.
#[derive(Serialize)]
pub struct IntrospectionResponse<'a> {
    /// Always `true`.
    pub active: True,
    /// Left out when there is none.
    #[serde(skip_serializing_if = "Scope::is_empty")]
    pub scope: &'a Scope,
    /// The client that the token was issued to.
    pub client_id: &'a ClientId,
    /// `None` for a refresh token, which is never presented to a resource server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_type: Option<TokenType>,
    /// When it expires, as a NumericDate; `None` for never.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "expiry")]
    pub exp: Option<Timestamp>,
    /// When it was issued, as a NumericDate.
    #[serde(serialize_with = "numeric_date")]
    pub iat: Timestamp,
    /// The resource owner, or the client where it acts for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<&'a str>,
    /// The resources that it is meant for; left out when there is none.
    #[serde(skip_serializing_if = "Resources::is_empty")]
    pub aud: &'a Resources,
    /// Who issued it.
    pub iss: &'a Issuer,
    /// Its identifier, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<&'a str>,
}

/// The JSON value `true`: an answer of another activity cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct True;

impl Serialize for True {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bool(true)
    }
}

fn numeric_date<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(at.seconds())
}

fn expiry<S: Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    at.map(Timestamp::seconds).serialize(to)
}

/// Authorization server metadata (RFC 8414 section 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Metadata {
    issuer: Issuer,
    token_endpoint: String,
    revocation_endpoint: String,
    introspection_endpoint: String,
    jwks_uri: String,
    grant_types_supported: [GrantType; 3],
    /// REQUIRED even without an authorization endpoint, and an empty array must be left out. The
    /// codes that are redeemed here are those of the response type `code`, so that is what stands.
    response_types_supported: [&'static str; 1],
    token_endpoint_auth_methods_supported: [AuthMethod; 4],
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    revocation_endpoint_auth_methods_supported: [AuthMethod; 4],
    revocation_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    /// Without `none`: who asks about a token has to prove who it is (RFC 7662 section 2.1).
    introspection_endpoint_auth_methods_supported: [AuthMethod; 3],
    introspection_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    code_challenge_methods_supported: [&'static str; 1],
}

impl Metadata {
    /// The path of the token endpoint below the issuer.
    pub const TOKEN_PATH: &'static str = "/oauth/token";
    /// The path of the revocation endpoint below the issuer.
    pub const REVOCATION_PATH: &'static str = "/oauth/revoke";
    /// The path of the introspection endpoint below the issuer.
    pub const INTROSPECTION_PATH: &'static str = "/oauth/introspect";
    /// The path of the key set below the issuer.
    pub const JWKS_PATH: &'static str = "/oauth/jwks";

    /// The metadata of `issuer`.
    pub fn of(issuer: &Issuer) -> Self {
        Self {
            issuer: issuer.clone(),
            token_endpoint: issuer.endpoint(Self::TOKEN_PATH),
            revocation_endpoint: issuer.endpoint(Self::REVOCATION_PATH),
            introspection_endpoint: issuer.endpoint(Self::INTROSPECTION_PATH),
            jwks_uri: issuer.endpoint(Self::JWKS_PATH),
            grant_types_supported: GrantType::ALL,
            response_types_supported: ["code"],
            token_endpoint_auth_methods_supported: AuthMethod::ALL,
            token_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
            revocation_endpoint_auth_methods_supported: AuthMethod::ALL,
            revocation_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
            introspection_endpoint_auth_methods_supported: AuthMethod::CONFIDENTIAL,
            introspection_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
            code_challenge_methods_supported: ["S256"],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn issuer() -> Issuer {
        "https://auth.example/t".parse().unwrap()
    }

    #[test]
    fn w8_w11_a_token_response_names_its_scope_and_counts_in_numbers() {
        let scope: Scope = "write read".parse().unwrap();
        let mut response = TokenResponse {
            access_token: "tla_1",
            token_type: TokenType::Bearer,
            expires_in: 3600,
            refresh_token: Some("tlr_1"),
            scope: &scope,
        };
        assert_eq!(
            serde_json::to_string(&response).unwrap(),
            concat!(
                r#"{"access_token":"tla_1","token_type":"Bearer","expires_in":3600,"#,
                r#""refresh_token":"tlr_1","scope":"read write"}"#
            )
        );
        response.refresh_token = None;
        let value = serde_json::to_value(&response).unwrap();
        assert_eq!(value.get("refresh_token"), None);
        assert_eq!(value["expires_in"], json!(3600));
    }

    fn introspection(change: impl FnOnce(&mut IntrospectionResponse<'_>)) -> Value {
        let (scope, client_id) = ("read".parse().unwrap(), "app".parse().unwrap());
        let aud = Resources::new(vec!["https://api.example".parse().unwrap()]).unwrap();
        let iss = issuer();
        let mut response = IntrospectionResponse {
            active: True,
            scope: &scope,
            client_id: &client_id,
            token_type: Some(TokenType::Bearer),
            exp: Some(Timestamp::from_micros(1_700_003_600_999_999)),
            iat: Timestamp::from_seconds(1_700_000_000),
            sub: Some("alice"),
            aud: &aud,
            iss: &iss,
            jti: Some("j1"),
        };
        change(&mut response);
        serde_json::to_value(&response).unwrap()
    }

    #[test]
    fn n2_an_active_token_is_described_with_whole_seconds() {
        let expected = json!({
            "active": true, "scope": "read", "client_id": "app", "token_type": "Bearer",
            "exp": 1_700_003_600, "iat": 1_700_000_000, "sub": "alice",
            "aud": ["https://api.example"], "iss": "https://auth.example/t", "jti": "j1",
        });
        assert_eq!(introspection(|_| {}), expected);
    }

    #[test]
    fn n10_a_refresh_token_has_no_token_type_and_may_have_no_expiry() {
        let value = introspection(|response| {
            response.token_type = None;
            response.exp = None;
            response.jti = None;
            response.sub = None;
        });
        let mut names: Vec<_> = value.as_object().unwrap().keys().collect();
        names.sort_unstable();
        assert_eq!(names, ["active", "aud", "client_id", "iat", "iss", "scope"]);
    }

    #[test]
    fn n3_an_inactive_token_is_described_by_one_member() {
        let value: Value = serde_json::from_slice(INACTIVE).unwrap();
        assert_eq!(value, json!({"active": false}));
    }

    #[test]
    fn d2_d3_d4_the_metadata_names_everything_that_has_a_misleading_default() {
        let expected = json!({
            "issuer": "https://auth.example/t",
            "token_endpoint": "https://auth.example/t/oauth/token",
            "revocation_endpoint": "https://auth.example/t/oauth/revoke",
            "introspection_endpoint": "https://auth.example/t/oauth/introspect",
            "jwks_uri": "https://auth.example/t/oauth/jwks",
            "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
            "response_types_supported": ["code"],
            "token_endpoint_auth_methods_supported":
                ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"],
            "token_endpoint_auth_signing_alg_values_supported":
                ["EdDSA", "Ed25519", "ES256", "RS256"],
            "revocation_endpoint_auth_methods_supported":
                ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"],
            "revocation_endpoint_auth_signing_alg_values_supported":
                ["EdDSA", "Ed25519", "ES256", "RS256"],
            "introspection_endpoint_auth_methods_supported":
                ["client_secret_basic", "client_secret_post", "private_key_jwt"],
            "introspection_endpoint_auth_signing_alg_values_supported":
                ["EdDSA", "Ed25519", "ES256", "RS256"],
            "code_challenge_methods_supported": ["S256"],
        });
        assert_eq!(serde_json::to_value(Metadata::of(&issuer())).unwrap(), expected);
    }

    #[test]
    fn d3_d5_no_array_is_empty_and_every_list_of_methods_has_its_algorithms() {
        let value_of = serde_json::to_value(Metadata::of(&issuer())).unwrap();
        for (name, value) in value_of.as_object().unwrap() {
            assert!(value.as_array().is_none_or(|array| !array.is_empty()), "{name}");
            if let Some(endpoint) = name.strip_suffix("_auth_methods_supported") {
                let algorithms = &value_of[format!("{endpoint}_auth_signing_alg_values_supported")];
                let algorithms = algorithms.as_array().unwrap();
                assert!(algorithms.contains(&json!("RS256")), "{name}");
                assert!(!algorithms.contains(&json!("none")), "{name}");
            }
        }
    }
}
