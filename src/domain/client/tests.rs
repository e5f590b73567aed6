//! What can be registered about a client, and how it is written.

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
    assert_eq!(serde_json::from_str::<ClientMetadata>(&text).unwrap(), ClientMetadata::default());
}

#[test]
fn what_was_written_before_there_was_a_choice_is_signed_as_it_was() {
    let text = serde_json::to_string(&ClientMetadata::default()).unwrap();
    assert!(!text.contains("signing_alg"), "{text}");
    let chosen = ClientMetadata {
        access_token_signing_alg: SigningAlgorithm::ES256,
        introspection_signed_response_alg: SigningAlgorithm::EdDSA,
        ..ClientMetadata::default()
    };
    let text = serde_json::to_string(&chosen).unwrap();
    let end = concat!(
        r#","access_token_signing_alg":"ES256","#,
        r#""introspection_signed_response_alg":"EdDSA"}"#
    );
    assert!(text.ends_with(end), "{text}");
    assert_eq!(serde_json::from_str::<ClientMetadata>(&text).unwrap(), chosen);
    let none = text.replace("ES256", "none");
    assert!(serde_json::from_str::<ClientMetadata>(&none).is_err());
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
        let found = fault_of(|m| m.grant_types = BTreeSet::from([GrantType::RefreshToken, other]));
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
