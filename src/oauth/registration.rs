//! The JSON by which an operator registers and changes clients (names of RFC 7591 section 2). It
//! turns raw members into [`ClientMetadata`], and never stores a member that it does not know.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::domain::client::{ClientMetadata, MetadataFault};
use crate::oauth::error::{ErrorCode, ErrorResponse};
use crate::types::id::ClientId;

/// How many bytes the JSON of a registration may take.
pub const REGISTRATION_BYTES_MAX: usize = 64 * 1024;
/// How many bytes metadata may take as JSON: it is stored in one record of at most 16 KiB, beside
/// the envelope of the record.
pub const METADATA_BYTES_MAX: usize = 12 * 1024;

/// A registration as sent: each member absent, `null`, or any JSON value.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRegistration {
    client_id: Sent,
    client_name: Sent,
    grant_types: Sent,
    redirect_uris: Sent,
    scope: Sent,
    token_endpoint_auth_method: Sent,
    jwks: Sent,
    jwks_uri: Sent,
    resources: Sent,
    access_token_format: Sent,
    access_token_lifetime_s: Sent,
    refresh_idle_s: Sent,
    refresh_absolute_s: Sent,
    rotation: Sent,
    grace_s: Sent,
    grace_retries_max: Sent,
    shadow_generations_max: Sent,
}

/// A change as sent: the same members, of which those that are absent stay as they are.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub struct RawUpdate(RawRegistration);

/// One member. What is there is `Some`, also where it is `null`; an `Option` in the structs above
/// would make that `None`.
#[derive(Default)]
struct Sent(Option<Value>);

impl<'de> Deserialize<'de> for Sent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Value::deserialize(from).map(|value| Self(Some(value)))
    }
}

impl RawRegistration {
    /// Reads the body of `POST /admin/clients`.
    ///
    /// # Errors
    /// `invalid_request` for what is no JSON object, too long, or with a member that is unknown or
    /// stands twice. The caller corrects the body.
    pub fn parse(body: &[u8]) -> Result<Self, ErrorResponse> {
        parse(body)
    }
}

impl RawUpdate {
    /// Reads the body of `PATCH /admin/clients/{id}`.
    ///
    /// # Errors
    /// As [`RawRegistration::parse`].
    pub fn parse(body: &[u8]) -> Result<Self, ErrorResponse> {
        parse(body)
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ErrorResponse> {
    let fault = |what| ErrorResponse::new(ErrorCode::InvalidRequest, what);
    if REGISTRATION_BYTES_MAX < body.len() {
        return Err(fault("the body is longer than 65536 bytes"));
    }
    // serde would take an array for a struct, member by member.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(fault("the body must be a JSON object"));
    }
    serde_json::from_slice(body).map_err(|_| {
        fault(
            "the body must be a JSON object of these members, each at most once: client_id, \
             client_name, grant_types, redirect_uris, scope, token_endpoint_auth_method, jwks, \
             jwks_uri, resources, access_token_format, access_token_lifetime_s, refresh_idle_s, \
             refresh_absolute_s, rotation, grace_s, grace_retries_max, shadow_generations_max",
        )
    })
}

/// The metadata that `raw` asks for, and the identifier where it names one. Absent members take
/// the defaults of [`ClientMetadata::default`]. `may_administer` says whether the client may hold
/// scopes of the ledger's own administration.
///
/// # Errors
/// The first [`MetadataFault`]; nothing is registered, and the caller corrects that member.
pub fn register(
    mut raw: RawRegistration,
    may_administer: bool,
) -> Result<(Option<ClientId>, ClientMetadata), MetadataFault> {
    let what = "1 to 128 visible ASCII characters but quote and backslash";
    let client_id = read(std::mem::take(&mut raw.client_id), "client_id", what)?;
    Ok((client_id, amend(ClientMetadata::default(), raw, may_administer)?))
}

/// `metadata` with the members of `raw` in place of its own. Who is not `may_administer` cannot
/// change a client that holds scopes of the ledger's own administration either.
///
/// # Errors
/// The first [`MetadataFault`]; nothing is changed, and the caller corrects that member.
pub fn update(
    metadata: &ClientMetadata,
    raw: RawUpdate,
    may_administer: bool,
) -> Result<ClientMetadata, MetadataFault> {
    if raw.0.client_id.0.is_some() {
        return Err(MetadataFault { member: "client_id", what: "cannot be changed" });
    }
    amend(metadata.clone(), raw.0, may_administer)
}

fn amend(
    mut to: ClientMetadata,
    raw: RawRegistration,
    may_administer: bool,
) -> Result<ClientMetadata, MetadataFault> {
    const COUNT: &str = "must be a whole number";
    const EXPIRY: &str = "must be a whole number of seconds, or null for never";
    if let Some(name) = read(raw.client_name, "client_name", "must be a string")? {
        to.client_name = Some(name);
    }
    let what = "must be an array of authorization_code, client_credentials, refresh_token";
    set(&mut to.grant_types, raw.grant_types, "grant_types", what)?;
    let what = "must be an array of absolute URIs of at most 512 bytes, without fragment: https, \
                http to a loopback host, or a private-use scheme with a dot";
    set(&mut to.redirect_uris, raw.redirect_uris, "redirect_uris", what)?;
    let what = "must be a string of at most 64 scope tokens with single spaces between";
    set(&mut to.scope, raw.scope, "scope", what)?;
    let member = "token_endpoint_auth_method";
    let what = "must be client_secret_basic, client_secret_post, private_key_jwt or none";
    set(&mut to.token_endpoint_auth_method, raw.token_endpoint_auth_method, member, what)?;
    let what = "must be a JWK Set of 1 to 8 public keys with different kid for EdDSA (Ed25519), \
                ES256 or RS256 (2048 bits or more) signatures, without any private member";
    set(&mut to.jwks, raw.jwks, "jwks", what)?;
    let what = "must be an https URL of at most 512 bytes, or http to a loopback host";
    set(&mut to.jwks_uri, raw.jwks_uri, "jwks_uri", what)?;
    let what = "must be an array of at most 16 absolute URIs without fragment";
    set(&mut to.resources, raw.resources, "resources", what)?;
    let what = "must be jwt or opaque";
    set(&mut to.access_token_format, raw.access_token_format, "access_token_format", what)?;
    let member = "access_token_lifetime_s";
    set(&mut to.access_token_lifetime_s, raw.access_token_lifetime_s, member, COUNT)?;
    set(&mut to.refresh_idle_s, raw.refresh_idle_s, "refresh_idle_s", EXPIRY)?;
    set(&mut to.refresh_absolute_s, raw.refresh_absolute_s, "refresh_absolute_s", EXPIRY)?;
    set(&mut to.rotation, raw.rotation, "rotation", "must be always or never")?;
    set(&mut to.grace_s, raw.grace_s, "grace_s", COUNT)?;
    set(&mut to.grace_retries_max, raw.grace_retries_max, "grace_retries_max", COUNT)?;
    let member = "shadow_generations_max";
    set(&mut to.shadow_generations_max, raw.shadow_generations_max, member, COUNT)?;
    to.check(may_administer)?;
    check_size(&to)?;
    Ok(to)
}

/// The value of a member; `None` where it is absent. A `null` is a value, so it is refused unless
/// `T` has room for it.
fn read<T: DeserializeOwned>(
    sent: Sent,
    member: &'static str,
    what: &'static str,
) -> Result<Option<T>, MetadataFault> {
    let value = sent.0.map(serde_json::from_value).transpose();
    value.map_err(|_| MetadataFault { member, what })
}

fn set<T: DeserializeOwned>(
    slot: &mut T,
    sent: Sent,
    member: &'static str,
    what: &'static str,
) -> Result<(), MetadataFault> {
    if let Some(value) = read(sent, member, what)? {
        *slot = value;
    }
    Ok(())
}

/// Scope, resources and name are bounded one by one; only keys and redirect URIs can be too much.
fn check_size(metadata: &ClientMetadata) -> Result<(), MetadataFault> {
    let fits = serde_json::to_vec(metadata).is_ok_and(|json| json.len() <= METADATA_BYTES_MAX);
    let what = "too long: all metadata together may take 12288 bytes";
    let uris: usize = metadata.redirect_uris.iter().map(|uri| uri.as_str().len()).sum();
    let member = if uris < METADATA_BYTES_MAX / 2 { "jwks" } else { "redirect_uris" };
    if fits { Ok(()) } else { Err(MetadataFault { member, what }) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::domain::client::{AccessTokenFormat, AuthMethod, GrantType, Rotation};

    fn raw(value: &Value) -> RawRegistration {
        RawRegistration::parse(value.to_string().as_bytes())
            .unwrap_or_else(|fault| panic!("{fault}"))
    }

    fn updated(metadata: &ClientMetadata, value: &Value) -> Result<ClientMetadata, &'static str> {
        update(metadata, RawUpdate(raw(value)), false).map_err(|fault| fault.member)
    }

    fn fault_of(value: &Value) -> Option<&'static str> {
        register(raw(value), false).err().map(|fault| fault.member)
    }

    #[test]
    fn an_empty_registration_takes_the_defaults() {
        let (client_id, metadata) = register(raw(&json!({})), false).unwrap();
        assert_eq!(client_id, None);
        assert_eq!(metadata, ClientMetadata::default());
    }

    #[test]
    fn every_member_is_taken_over() {
        let body = json!({
            "client_id": "photos", "client_name": "Photos",
            "grant_types": ["refresh_token", "authorization_code"],
            "redirect_uris": ["https://photos.example/cb", "com.example.photos:/cb"],
            "scope": "write read", "token_endpoint_auth_method": "none",
            "resources": ["https://api.example"], "access_token_format": "opaque",
            "access_token_lifetime_s": 600, "refresh_idle_s": null, "refresh_absolute_s": 86_400,
            "rotation": "always", "grace_s": 5, "grace_retries_max": 2, "shadow_generations_max": 0,
        });
        let (client_id, metadata) = register(raw(&body), false).unwrap();
        assert_eq!(client_id, "photos".parse().ok());
        let expected = ClientMetadata {
            client_name: Some("Photos".to_owned()),
            grant_types: BTreeSet::from([GrantType::AuthorizationCode, GrantType::RefreshToken]),
            redirect_uris: serde_json::from_value(body["redirect_uris"].clone()).unwrap(),
            scope: "read write".parse().unwrap(),
            token_endpoint_auth_method: AuthMethod::None,
            jwks: None,
            jwks_uri: None,
            resources: serde_json::from_value(body["resources"].clone()).unwrap(),
            access_token_format: AccessTokenFormat::Opaque,
            access_token_lifetime_s: 600,
            refresh_idle_s: None,
            refresh_absolute_s: Some(86_400),
            rotation: Rotation::Always,
            grace_s: 5,
            grace_retries_max: 2,
            shadow_generations_max: 0,
        };
        assert_eq!(metadata, expected);
    }

    #[test]
    fn a_value_of_another_kind_is_a_fault_of_its_member() {
        for (member, value) in [
            ("client_id", json!("a b")),
            ("client_name", json!(1)),
            ("grant_types", json!(["password"])),
            ("grant_types", json!("refresh_token")),
            ("redirect_uris", json!(["/cb"])),
            ("redirect_uris", json!("https://a.example")),
            ("scope", json!("a  b")),
            ("scope", json!(["a"])),
            ("token_endpoint_auth_method", json!("tls_client_auth")),
            ("resources", json!(["photos"])),
            ("access_token_format", json!("JWT")),
            ("access_token_lifetime_s", json!("600")),
            ("access_token_lifetime_s", json!(-1)),
            ("refresh_idle_s", json!(1.5)),
            ("refresh_absolute_s", json!(0)),
            ("rotation", json!(true)),
            ("grace_s", json!(3601)),
            ("grace_retries_max", json!(4_294_967_296_u64)),
            ("shadow_generations_max", json!([])),
        ] {
            assert_eq!(fault_of(&json!({ member: value })), Some(member), "{member} {value}");
        }
    }

    #[test]
    fn null_means_never_for_an_expiry_and_nothing_elsewhere() {
        let members = serde_json::to_value(ClientMetadata::default()).unwrap();
        for member in members.as_object().unwrap().keys().map(String::as_str).chain(["client_id"]) {
            let found = fault_of(&json!({ member: null }));
            let expiry = ["refresh_idle_s", "refresh_absolute_s"].contains(&member);
            assert_eq!(found, (!expiry).then_some(member), "{member}");
        }
    }

    #[test]
    fn a_method_that_is_not_served_is_answered_with_those_that_are() {
        let body = json!({"token_endpoint_auth_method": "tls_client_auth"});
        let fault = ErrorResponse::from(register(raw(&body), false).unwrap_err());
        assert_eq!(fault.error(), ErrorCode::InvalidClientMetadata);
        for method in AuthMethod::ALL {
            assert!(fault.error_description().contains(method.as_str()), "{method:?}");
        }
        assert!(!fault.error_description().contains("tls_client_auth"));
        let fault = register(raw(&json!({"redirect_uris": ["x"]})), false).unwrap_err();
        assert_eq!(ErrorResponse::from(fault).error(), ErrorCode::InvalidRedirectUri);
    }

    #[test]
    fn only_an_object_of_known_members_is_read() {
        for body in [
            "",
            "null",
            "[]",
            "[\"photos\"]",
            "{",
            "{\"jwk\":{}}",
            "{} {}",
            "{\"grace_s\":1,\"grace_s\":2}",
        ] {
            let fault = RawRegistration::parse(body.as_bytes()).err().map(|fault| fault.error());
            assert_eq!(fault, Some(ErrorCode::InvalidRequest), "{body}");
            assert!(RawUpdate::parse(body.as_bytes()).is_err(), "{body}");
        }
        let long = format!("{{}}{}", " ".repeat(REGISTRATION_BYTES_MAX));
        assert!(RawRegistration::parse(long.as_bytes()).is_err());
    }

    #[test]
    fn the_complaint_about_a_body_names_every_member() {
        let fault = RawRegistration::parse(b"{").err().unwrap().to_string();
        let members = serde_json::to_value(ClientMetadata::default()).unwrap();
        assert!(members.as_object().unwrap().keys().all(|member| fault.contains(member.as_str())));
    }

    #[test]
    fn scopes_of_the_ledger_are_registered_only_by_those_who_may() {
        let body = json!({"scope": "ledger:audit"});
        assert_eq!(fault_of(&body), Some("scope"));
        let (_, metadata) = register(raw(&body), true).unwrap();
        assert_eq!(updated(&metadata, &json!({"grace_s": 1})), Err("scope"));
        assert!(update(&metadata, RawUpdate(raw(&json!({"grace_s": 1}))), true).is_ok());
    }

    #[test]
    fn an_update_changes_what_it_names_and_nothing_else() {
        let metadata = ClientMetadata {
            client_name: Some("Photos".to_owned()),
            refresh_absolute_s: Some(7),
            ..ClientMetadata::default()
        };
        assert_eq!(updated(&metadata, &json!({})).as_ref(), Ok(&metadata));
        let changed = updated(&metadata, &json!({"refresh_absolute_s": null}));
        assert_eq!(changed, Ok(ClientMetadata { refresh_absolute_s: None, ..metadata }));
    }

    #[test]
    fn an_update_is_judged_with_what_stays() {
        let metadata = ClientMetadata { rotation: Rotation::Never, ..ClientMetadata::default() };
        let public = json!({"token_endpoint_auth_method": "none"});
        assert_eq!(updated(&metadata, &public), Err("rotation"));
        assert_eq!(updated(&metadata, &json!({"client_id": "other"})), Err("client_id"));
    }

    #[test]
    fn metadata_fits_into_a_record() {
        let uri = |i: usize| format!("https://a.example/{i:02}/{}", "a".repeat(480));
        let uris = |n: usize| json!({"redirect_uris": (0..n).map(uri).collect::<Vec<_>>()});
        assert_eq!(fault_of(&uris(20)), None);
        assert_eq!(fault_of(&uris(32)), Some("redirect_uris"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            json in "[\\[{][\"a-z_:,0-9\\[\\]{}]{0,60}",
            member in "client_name|grant_types|redirect_uris|scope|resources|refresh_idle_s",
            value in "null|-?[0-9]{1,25}|\".{0,30}\"|\\[(\"[ -~]{0,30}\")?\\]|true",
        ) {
            let likely = format!("{{\"{member}\":{value}}}");
            for body in [bytes.as_slice(), json.as_bytes(), likely.as_bytes()] {
                if let Ok(raw) = RawRegistration::parse(body) {
                    let _ = register(raw, false);
                }
                if let Ok(raw) = RawUpdate::parse(body) {
                    let _ = update(&ClientMetadata::default(), raw, true);
                }
            }
        }
    }
}
