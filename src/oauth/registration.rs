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
    access_token_signing_alg: Sent,
    introspection_signed_response_alg: Sent,
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
             refresh_absolute_s, rotation, grace_s, grace_retries_max, shadow_generations_max, \
             access_token_signing_alg, introspection_signed_response_alg",
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
    let (member, what) = ("access_token_signing_alg", "must be EdDSA, ES256 or RS256");
    set(&mut to.access_token_signing_alg, raw.access_token_signing_alg, member, what)?;
    let (member, raw) =
        ("introspection_signed_response_alg", raw.introspection_signed_response_alg);
    set(&mut to.introspection_signed_response_alg, raw, member, what)?;
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
mod tests;
