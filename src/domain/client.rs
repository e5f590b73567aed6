//! A registered client: what it may ask for and how its tokens behave (RFC 7591 section 2).
//! It is stored as event data, so a member may be added, but never renamed or given a new meaning.

pub mod redirect_uri;
pub mod keys;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::crypto::jwk_set::PublicJwkSet;
use crate::domain::client::keys::JwksUri;
use crate::domain::client::redirect_uri::RedirectUri;
use crate::types::resource::Resources;
use crate::types::scope::Scope;

/// How many characters a client's name may have.
pub const CLIENT_NAME_CHARS_MAX: usize = 200;
/// How many redirect URIs a client may register.
pub const REDIRECT_URIS_MAX: usize = 32;
/// The longest life of an access token, in seconds: one day.
pub const ACCESS_TOKEN_LIFETIME_S_MAX: u32 = 86_400;
/// The longest expiry of a refresh token that is not "never", in seconds: about a century.
pub const REFRESH_EXPIRY_S_MAX: u64 = 3_153_600_000;
/// The longest grace window, in seconds: one hour.
pub const GRACE_S_MAX: u32 = 3600;
/// The most retries inside one grace window.
pub const GRACE_RETRIES_MAX: u32 = 1000;
/// The most generations in a row that may be retried from elsewhere before that is reuse.
pub const SHADOW_GENERATIONS_MAX: u32 = 100;

/// Scope tokens with this prefix open the ledger's own administration.
const ADMINISTRATION: &str = "ledger:";

/// A kind of grant that a client may use at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// RFC 6749 section 4.1.
    AuthorizationCode,
    /// RFC 6749 section 4.4.
    ClientCredentials,
    /// RFC 6749 section 6.
    RefreshToken,
}

impl GrantType {
    /// Every grant type that is served.
    pub const ALL: [Self; 3] =
        [Self::AuthorizationCode, Self::ClientCredentials, Self::RefreshToken];

    /// The value of the `grant_type` parameter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::ClientCredentials => "client_credentials",
            Self::RefreshToken => "refresh_token",
        }
    }
}

/// How a client proves who it is (RFC 7591 section 2, `token_endpoint_auth_method`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// The secret in the `Authorization` header (RFC 6749 section 2.3.1).
    ClientSecretBasic,
    /// The secret in the form (RFC 6749 section 2.3.1).
    ClientSecretPost,
    /// A JWT signed with the client's own key (RFC 7523 section 2.2).
    PrivateKeyJwt,
    /// Not at all: a public client, which only names itself.
    None,
}

impl AuthMethod {
    /// Every method that is served.
    pub const ALL: [Self; 4] =
        [Self::ClientSecretBasic, Self::ClientSecretPost, Self::PrivateKeyJwt, Self::None];

    /// The methods that prove something.
    pub const CONFIDENTIAL: [Self; 3] =
        [Self::ClientSecretBasic, Self::ClientSecretPost, Self::PrivateKeyJwt];

    /// The registered name of the method.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::None => "none",
        }
    }
}

/// What an access token looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessTokenFormat {
    /// A signed `at+jwt` (RFC 9068): resource servers can check it alone.
    Jwt,
    /// A random text that only introspection explains.
    Opaque,
}

/// Whether a refresh gives a new refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// A new one each time; the one presented is spent (RFC 9700 section 4.14.2).
    Always,
    /// The same one stays good.
    Never,
}

/// All that is registered about a client. Every member is written, so a record explains itself;
/// only keys are left out where there are none, as they were before there could be any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientMetadata {
    /// The name that people see: 1 to [`CLIENT_NAME_CHARS_MAX`] characters.
    pub client_name: Option<String>,
    /// The grant types that it may use. A resource server that only introspects has none.
    pub grant_types: BTreeSet<GrantType>,
    /// Where codes may be sent, at most [`REDIRECT_URIS_MAX`].
    pub redirect_uris: Vec<RedirectUri>,
    /// The widest scope that it may be granted.
    pub scope: Scope,
    /// The one method by which it authenticates.
    pub token_endpoint_auth_method: AuthMethod,
    /// The public keys that prove it, for [`AuthMethod::PrivateKeyJwt`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<PublicJwkSet>,
    /// Where it publishes them, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<JwksUri>,
    /// The resources that its tokens may be meant for, and that it may introspect tokens of.
    pub resources: Resources,
    /// The form of its access tokens.
    pub access_token_format: AccessTokenFormat,
    /// Seconds that an access token lives: 1 to [`ACCESS_TOKEN_LIFETIME_S_MAX`].
    pub access_token_lifetime_s: u32,
    /// Seconds without use after which a refresh token dies; `None` is never.
    pub refresh_idle_s: Option<u64>,
    /// Seconds after its grant began at which a refresh token dies; `None` is never.
    pub refresh_absolute_s: Option<u64>,
    /// Whether refresh tokens rotate.
    pub rotation: Rotation,
    /// Seconds after its first use in which a spent refresh token gets the same answer again.
    pub grace_s: u32,
    /// How often it gets that answer.
    pub grace_retries_max: u32,
    /// How many generations in a row may be retried from elsewhere; 0 does not count them.
    pub shadow_generations_max: u32,
}

impl Default for ClientMetadata {
    /// What a registration that names no member gets. RFC 7591 section 2 sets the grant type and
    /// the authentication method.
    fn default() -> Self {
        Self {
            client_name: None,
            grant_types: BTreeSet::from([GrantType::AuthorizationCode]),
            redirect_uris: Vec::new(),
            scope: Scope::default(),
            token_endpoint_auth_method: AuthMethod::ClientSecretBasic,
            jwks: None,
            jwks_uri: None,
            resources: Resources::default(),
            access_token_format: AccessTokenFormat::Jwt,
            access_token_lifetime_s: 3600, // RFC 6750 section 5.3: one hour or less
            refresh_idle_s: Some(2_592_000),
            refresh_absolute_s: None,
            rotation: Rotation::Always,
            grace_s: 30,
            grace_retries_max: 8,
            shadow_generations_max: 3,
        }
    }
}

/// Why metadata cannot be registered: the member at fault, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{member}: {what}")]
pub struct MetadataFault {
    /// The name of the member, as on the wire.
    pub member: &'static str,
    /// What it must be; never what it was.
    pub what: &'static str,
}

impl ClientMetadata {
    /// Whether the client cannot keep a secret (RFC 6749 section 2.1).
    pub fn is_public(&self) -> bool {
        self.token_endpoint_auth_method == AuthMethod::None
    }

    /// Judges the members together. `may_administer` says whether this client may hold scopes of
    /// the ledger's own administration.
    ///
    /// # Errors
    /// The first [`MetadataFault`]; the caller corrects that member and asks again.
    pub fn check(&self, may_administer: bool) -> Result<(), MetadataFault> {
        self.check_sizes()?;
        self.check_spans()?;
        self.check_keys()?;
        let administers = self.scope.iter().any(|token| token.starts_with(ADMINISTRATION));
        require(
            may_administer || !administers,
            "scope",
            "scopes of ledger: are not for this client",
        )?;
        let has = |grant_type| self.grant_types.contains(&grant_type);
        if has(GrantType::RefreshToken) {
            let what = "refresh_token needs authorization_code as well";
            require(has(GrantType::AuthorizationCode), "grant_types", what)?;
        }
        if self.is_public() {
            // RFC 6749 section 4.4: this grant is for confidential clients only.
            let what = "a public client cannot use client_credentials";
            require(!has(GrantType::ClientCredentials), "grant_types", what)?;
            // RFC 9700 section 2.2.2: its refresh tokens rotate, or are bound to a key.
            let what = "must be always for a public client";
            require(self.rotation == Rotation::Always, "rotation", what)?;
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), MetadataFault> {
        if let Some(name) = &self.client_name {
            let fits = !name.is_empty() && name.chars().count() <= CLIENT_NAME_CHARS_MAX;
            let plain = !name.chars().any(char::is_control);
            let what = "1 to 200 characters, none of them a control character";
            require(fits && plain, "client_name", what)?;
        }
        require(self.redirect_uris.len() <= REDIRECT_URIS_MAX, "redirect_uris", "at most 32")
    }

    fn check_spans(&self) -> Result<(), MetadataFault> {
        let lifetime = 1..=ACCESS_TOKEN_LIFETIME_S_MAX;
        let what = "1 to 86400 seconds";
        require(lifetime.contains(&self.access_token_lifetime_s), "access_token_lifetime_s", what)?;
        let expiry = |expiry_s: Option<u64>| {
            expiry_s.is_none_or(|expiry_s| (1..=REFRESH_EXPIRY_S_MAX).contains(&expiry_s))
        };
        let what = "1 to 3153600000 seconds, or null for never";
        require(expiry(self.refresh_idle_s), "refresh_idle_s", what)?;
        require(expiry(self.refresh_absolute_s), "refresh_absolute_s", what)?;
        require(self.grace_s <= GRACE_S_MAX, "grace_s", "0 to 3600 seconds")?;
        require(self.grace_retries_max <= GRACE_RETRIES_MAX, "grace_retries_max", "0 to 1000")?;
        let shadow = self.shadow_generations_max <= SHADOW_GENERATIONS_MAX;
        require(shadow, "shadow_generations_max", "0 to 100")
    }
}

fn require(holds: bool, member: &'static str, what: &'static str) -> Result<(), MetadataFault> {
    if holds { Ok(()) } else { Err(MetadataFault { member, what }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault_of(change: impl FnOnce(&mut ClientMetadata)) -> Option<&'static str> {
        let mut metadata = ClientMetadata::default();
        change(&mut metadata);
        metadata.check(false).err().map(|fault| fault.member)
    }

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    #[test]
    fn every_member_is_written_in_the_words_of_the_wire() {
        let text = serde_json::to_string(&ClientMetadata::default()).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"client_name":null,"grant_types":["authorization_code"],"redirect_uris":[],"#,
                r#""scope":"","token_endpoint_auth_method":"client_secret_basic","resources":[],"#,
                r#""access_token_format":"jwt","access_token_lifetime_s":3600,"#,
                r#""refresh_idle_s":2592000,"refresh_absolute_s":null,"rotation":"always","#,
                r#""grace_s":30,"grace_retries_max":8,"shadow_generations_max":3}"#
            )
        );
        assert_eq!(
            serde_json::from_str::<ClientMetadata>(&text).unwrap(),
            ClientMetadata::default()
        );
    }

    #[test]
    fn names_in_rust_and_on_the_wire_agree() {
        for grant_type in GrantType::ALL {
            assert_eq!(serde_json::to_value(grant_type).unwrap(), grant_type.as_str());
        }
        for method in AuthMethod::ALL {
            assert_eq!(serde_json::to_value(method).unwrap(), method.as_str());
        }
    }

    #[test]
    fn the_defaults_can_be_registered() {
        assert_eq!(ClientMetadata::default().check(false), Ok(()));
    }

    #[test]
    fn numbers_outside_of_their_range_are_faults_and_the_ends_are_not() {
        for (lifetime_s, fault) in [(0, true), (1, false), (86_400, false), (86_401, true)] {
            let found = fault_of(|m| m.access_token_lifetime_s = lifetime_s);
            assert_eq!(found, fault.then_some("access_token_lifetime_s"), "{lifetime_s}");
        }
        let century = 3_153_600_000;
        for (expiry_s, fault) in [(0, true), (1, false), (century, false), (century + 1, true)] {
            let idle = fault_of(|m| m.refresh_idle_s = Some(expiry_s));
            assert_eq!(idle, fault.then_some("refresh_idle_s"), "{expiry_s}");
            let absolute = fault_of(|m| m.refresh_absolute_s = Some(expiry_s));
            assert_eq!(absolute, fault.then_some("refresh_absolute_s"), "{expiry_s}");
        }
        assert_eq!(fault_of(|m| m.refresh_idle_s = None), None);
        assert_eq!(fault_of(|m| m.grace_s = 3600), None);
        assert_eq!(fault_of(|m| m.grace_s = 3601), Some("grace_s"));
        assert_eq!(fault_of(|m| m.grace_retries_max = 1000), None);
        assert_eq!(fault_of(|m| m.grace_retries_max = 1001), Some("grace_retries_max"));
        assert_eq!(fault_of(|m| m.shadow_generations_max = 0), None);
        assert_eq!(fault_of(|m| m.shadow_generations_max = 100), None);
        assert_eq!(fault_of(|m| m.shadow_generations_max = 101), Some("shadow_generations_max"));
    }

    #[test]
    fn a_name_is_short_and_plain() {
        assert_eq!(fault_of(|m| m.client_name = Some("é".repeat(200))), None);
        for name in [String::new(), "a".repeat(201), "a\nb".to_owned()] {
            assert_eq!(fault_of(|m| m.client_name = Some(name)), Some("client_name"));
        }
    }

    #[test]
    fn there_are_at_most_32_redirect_uris() {
        let uri: RedirectUri = "https://a.example/cb".parse().unwrap();
        assert_eq!(fault_of(|m| m.redirect_uris = vec![uri.clone(); 32]), None);
        assert_eq!(fault_of(|m| m.redirect_uris = vec![uri.clone(); 33]), Some("redirect_uris"));
    }

    #[test]
    fn cc1_a_public_client_has_no_client_credentials() {
        let types = BTreeSet::from([GrantType::AuthorizationCode, GrantType::ClientCredentials]);
        assert_eq!(fault_of(|m| m.grant_types = types.clone()), None);
        let found = fault_of(|m| {
            m.token_endpoint_auth_method = AuthMethod::None;
            m.grant_types = types.clone();
        });
        assert_eq!(found, Some("grant_types"));
    }

    #[test]
    fn r6_the_refresh_tokens_of_a_public_client_rotate() {
        assert_eq!(fault_of(|m| m.token_endpoint_auth_method = AuthMethod::None), None);
        assert_eq!(fault_of(|m| m.rotation = Rotation::Never), None);
        let found = fault_of(|m| {
            m.token_endpoint_auth_method = AuthMethod::None;
            m.rotation = Rotation::Never;
        });
        assert_eq!(found, Some("rotation"));
    }

    #[test]
    fn refresh_tokens_come_from_codes_only() {
        for (other, fault) in
            [(GrantType::AuthorizationCode, false), (GrantType::ClientCredentials, true)]
        {
            let found =
                fault_of(|m| m.grant_types = BTreeSet::from([GrantType::RefreshToken, other]));
            assert_eq!(found, fault.then_some("grant_types"));
        }
        let alone = fault_of(|m| m.grant_types = BTreeSet::from([GrantType::RefreshToken]));
        assert_eq!(alone, Some("grant_types"));
        assert_eq!(fault_of(|m| m.grant_types = BTreeSet::new()), None);
    }

    #[test]
    fn scopes_of_the_ledger_need_the_callers_word() {
        assert_eq!(fault_of(|m| m.scope = scope("read ledgers:admin")), None);
        assert_eq!(fault_of(|m| m.scope = scope("read ledger:admin")), Some("scope"));
        let metadata = ClientMetadata { scope: scope("ledger:admin"), ..Default::default() };
        assert_eq!(metadata.check(true), Ok(()));
    }
}
