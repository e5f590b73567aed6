//! Registrations as operators send them, good and bad.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::crypto::signing::SigningAlgorithm;
use crate::domain::client::{AccessTokenFormat, AuthMethod, GrantType, Rotation};

fn raw(value: &Value) -> RawRegistration {
    RawRegistration::parse(value.to_string().as_bytes()).unwrap_or_else(|fault| panic!("{fault}"))
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
        "access_token_signing_alg": "ES256",
        "introspection_signed_response_alg": "EdDSA",
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
        access_token_signing_alg: SigningAlgorithm::ES256,
        introspection_signed_response_alg: SigningAlgorithm::EdDSA,
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
        ("access_token_signing_alg", json!("none")),
        ("access_token_signing_alg", json!("HS256")),
        ("access_token_signing_alg", json!(null)),
        ("introspection_signed_response_alg", json!("none")),
        ("introspection_signed_response_alg", json!(null)),
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
