//! One record, or a few, of every event, of values that never change.

use token_ledger::crypto::signing::SigningAlgorithm;
use token_ledger::domain::client::{AccessTokenFormat, AuthMethod, ClientMetadata};
use token_ledger::domain::event::{
    AccessTokenIssued, AccessTokenRevoked, AuditRead, BlacklistAdded, BlacklistLifted, Cause,
    ClientAssertionUsed, ClientAuthenticationFailed, ClientDisabled, ClientEnabled,
    ClientRegistered, ClientSecretRotated, ClientUpdated, ClockStepped, CodeIssued, CodeRedeemed,
    CodeRefusal, CodeRefused, CodeReplayed, Event, GrantCreated, GrantRevoked, How, KeyAdded,
    KeyRetired, LedgerClosed, LedgerCreated, LedgerOpened, LedgerStalled, RefreshRefusal,
    RefreshRefused, RefreshTokenIssued, RefreshTokenRetried, RefreshTokenReused,
    RefreshTokenRotated, RefreshTokenUsed, Reuse, SubjectErased, SubjectRegistered, Target,
};
use token_ledger::domain::record::{About, Actor, Back, Origin, Record};
use token_ledger::log::leaf::leaf_hash;
use token_ledger::types::id::{RequestId, Seq};
use token_ledger::types::time::Timestamp;

use crate::support::names::{
    blacklist_id, client_id, digest, grant_id, key_id, resources, scope, sealed, subject_id, tag,
};

const AT: Timestamp = Timestamp::from_micros(1_795_407_153_123_456);
const LATER: Timestamp = Timestamp::from_micros(1_795_410_753_000_000);

fn text(text: &str) -> String {
    text.to_owned()
}

/// Every sample, in the order of the events.
pub(crate) fn samples() -> Vec<Record> {
    let mut events = Vec::new();
    events.extend(of_the_ledger());
    events.extend(of_clients());
    events.extend(of_grants());
    events.extend(of_refresh_tokens());
    events.extend(of_operators());
    let mut records: Vec<Record> = events.into_iter().map(record).collect();
    records.extend(envelopes());
    records
}

fn record(event: Event) -> Record {
    Record {
        seq: Seq(1042),
        at: AT,
        about: About {
            client: Some(client_id("photos")),
            subject: Some(subject_id("ann")),
            grant: Some(grant_id("g1")),
        },
        request: RequestId::from_bytes([0x8f, 0x7e, 0x6d, 0x5c, 0x4b, 0x3a, 0x29, 0x18]),
        actor: Actor::Client(client_id("photos")),
        origin: Some(Origin::Sealed(sealed("origin"))),
        back: Back { grant: Some(Seq(1039)), subject: Some(Seq(1040)), client: Some(Seq(1041)) },
        prev: Some(leaf_hash(b"the record before")),
        event,
    }
}

/// The same event in every shape of envelope.
fn envelopes() -> Vec<Record> {
    let clear =
        Origin::Clear { address: text("2001:db8::7"), user_agent: text("a \"b\" \\ \u{1}é") };
    let actors = [
        Actor::Administrator(client_id("root")),
        Actor::Login(client_id("login")),
        Actor::Auditor(client_id("eye:1")),
        Actor::Ledger,
    ];
    let bare = |actor| Record {
        about: About::default(),
        back: Back::default(),
        origin: None,
        prev: None,
        actor,
        ..record(LedgerClosed {}.into())
    };
    let mut records: Vec<Record> = actors.map(bare).into();
    records.push(Record { origin: Some(clear), ..bare(Actor::Ledger) });
    records
}

fn of_the_ledger() -> Vec<Event> {
    let (issuer, origin) = (text("https://ledger.example"), text("ledger.example"));
    vec![
        LedgerCreated { version: text("0.1.0"), issuer, origin }.into(),
        LedgerOpened { version: text("0.1.0"), records: 1000, clean: false }.into(),
        LedgerClosed {}.into(),
        ClockStepped { from: AT, to: LATER }.into(),
        ClockStepped { from: LATER, to: AT }.into(),
        LedgerStalled { for_ms: 41_000 }.into(),
    ]
}

fn of_clients() -> Vec<Event> {
    let full = ClientMetadata {
        client_name: Some(text("Photos \"é\"")),
        redirect_uris: vec!["https://app.example/callback".parse().unwrap()],
        scope: scope("read+write"),
        resources: resources("api+cdn"),
        access_token_format: AccessTokenFormat::Opaque,
        refresh_idle_s: None,
        refresh_absolute_s: Some(31_536_000),
        ..ClientMetadata::default()
    };
    let keys = serde_json::json!({ "keys": [
        { "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" },
        { "kty": "EC", "crv": "P-256", "kid": "es", "x": "A".repeat(43), "y": "A".repeat(43) },
        { "kty": "RSA", "kid": "rs", "n": "_".repeat(340) + "_w", "e": "AQAB" },
    ] });
    let signing = ClientMetadata {
        token_endpoint_auth_method: AuthMethod::PrivateKeyJwt,
        jwks: Some(serde_json::from_value(keys).unwrap()),
        ..ClientMetadata::default()
    };
    let publishing = ClientMetadata {
        jwks: None,
        jwks_uri: Some("https://app.example/jwks.json".parse().unwrap()),
        ..signing.clone()
    };
    let signed = ClientMetadata {
        access_token_signing_alg: SigningAlgorithm::RS256,
        ..ClientMetadata::default()
    };
    let asking = ClientMetadata {
        introspection_signed_response_alg: SigningAlgorithm::EdDSA,
        ..ClientMetadata::default()
    };
    let (reason, method) = (text("why \u{7}"), text("client_secret_basic"));
    vec![
        ClientRegistered { metadata: Box::new(full.clone()), secret: Some(digest("s1")) }.into(),
        ClientRegistered { metadata: Box::default(), secret: None }.into(),
        ClientUpdated { metadata: Box::new(full) }.into(),
        ClientSecretRotated { secret: digest("s2"), previous_expires_at: LATER }.into(),
        ClientDisabled { reason: reason.clone() }.into(),
        ClientEnabled { reason }.into(),
        ClientAuthenticationFailed { method, count: 1999 }.into(),
        ClientRegistered { metadata: Box::new(signing), secret: None }.into(),
        ClientUpdated { metadata: Box::new(publishing) }.into(),
        ClientUpdated { metadata: Box::new(signed) }.into(),
        ClientUpdated { metadata: Box::new(asking) }.into(),
        ClientAssertionUsed { digest: digest("j1"), expires_at: LATER }.into(),
    ]
}

fn of_grants() -> Vec<Event> {
    let code = CodeIssued {
        digest: digest("code"),
        expires_at: LATER,
        redirect_uri: Some(text("https://app.example/callback")),
        challenge: Some(digest("challenge")),
    };
    let bare = CodeIssued { redirect_uri: None, challenge: None, ..code.clone() };
    let created = |how, code| GrantCreated {
        how,
        scope: scope("read+write"),
        resources: resources("api"),
        code,
    };
    let issued = AccessTokenIssued {
        digest: digest("a1"),
        jti: Some(text("jti")),
        format: AccessTokenFormat::Jwt,
        key: Some(key_id("k1")),
        scope: scope("read"),
        audience: resources("api"),
        expires_at: LATER,
        generation: Some(3),
    };
    let opaque = AccessTokenIssued {
        jti: None,
        format: AccessTokenFormat::Opaque,
        key: None,
        generation: None,
        scope: scope(""),
        audience: resources(""),
        ..issued.clone()
    };
    let mut events: Vec<Event> = vec![
        SubjectRegistered { sub: sealed("ann") }.into(),
        SubjectErased { reason: text("asked"), legal_basis: text("GDPR article 17") }.into(),
        created(How::AuthorizationCode, Some(code)).into(),
        created(How::AuthorizationCode, Some(bare)).into(),
        created(How::ClientCredentials, None).into(),
        CodeRedeemed {}.into(),
        CodeReplayed {}.into(),
        issued.into(),
        opaque.into(),
        AccessTokenRevoked { digest: digest("a1"), cause: Cause::Client }.into(),
        GrantRevoked { cause: Cause::Reuse, reason: None }.into(),
        GrantRevoked { cause: Cause::CodeReplay, reason: None }.into(),
        GrantRevoked { cause: Cause::Administrator, reason: Some(text("asked")) }.into(),
    ];
    let reasons = [
        CodeRefusal::WrongClient,
        CodeRefusal::WrongVerifier,
        CodeRefusal::WrongRedirectUri,
        CodeRefusal::Expired,
        CodeRefusal::Revoked,
        CodeRefusal::Blacklisted,
        CodeRefusal::ClientDisabled,
        CodeRefusal::Scope,
        CodeRefusal::Target,
    ];
    events.extend(reasons.map(|reason| CodeRefused { reason, count: 2 }.into()));
    events
}

fn of_refresh_tokens() -> Vec<Event> {
    let (tag, expires_at) = (Some(tag("home")), Some(LATER));
    let (from, to, digest) = (3, 4, digest("g1.4"));
    let mut events: Vec<Event> = vec![
        RefreshTokenIssued { generation: 0, digest, expires_at }.into(),
        RefreshTokenIssued { generation: 0, digest, expires_at: None }.into(),
        RefreshTokenUsed { generation: 3, tag, expires_at }.into(),
        RefreshTokenUsed { generation: u32::MAX, tag: None, expires_at: None }.into(),
        RefreshTokenRotated { from, to, digest, tag, expires_at }.into(),
        RefreshTokenRotated { from, to, digest, tag: None, expires_at: None }.into(),
        RefreshTokenRetried { generation: 3, count: 1, tag, other_origin: false }.into(),
        RefreshTokenRetried { generation: 3, count: 2, tag: None, other_origin: true }.into(),
        RefreshTokenReused { generation: 3, current: 9, how: Reuse::Spent, tag }.into(),
        RefreshTokenReused { generation: 8, current: 9, how: Reuse::Shadowed, tag: None }.into(),
    ];
    let reasons = [
        RefreshRefusal::Expired,
        RefreshRefusal::Revoked,
        RefreshRefusal::Blacklisted,
        RefreshRefusal::ClientDisabled,
        RefreshRefusal::GrantType,
        RefreshRefusal::WrongClient,
        RefreshRefusal::Scope,
        RefreshRefusal::Target,
        RefreshRefusal::Ahead,
    ];
    events.extend(reasons.map(|reason| RefreshRefused { reason, generation: 3, count: 2 }.into()));
    events
}

fn of_operators() -> Vec<Event> {
    let added = |target, watermark| BlacklistAdded {
        id: blacklist_id("b1"),
        target,
        whole_grant: false,
        reason: text("leaked"),
        watermark,
    };
    let mark = Some(Seq(1042));
    let public = serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"});
    let parameters = serde_json::json!({"from": 3, "type": ["grant.created", null]});
    vec![
        added(Target::Token(digest("a1")), None).into(),
        BlacklistAdded { whole_grant: true, ..added(Target::Token(digest("g1.3")), None) }.into(),
        added(Target::Grant(grant_id("g1")), None).into(),
        added(Target::Subject(subject_id("ann")), mark).into(),
        added(Target::Client(client_id("photos")), mark).into(),
        added(Target::Key(key_id("k1")), mark).into(),
        added(Target::All, mark).into(),
        BlacklistLifted { id: blacklist_id("b1"), reason: text("found") }.into(),
        KeyAdded { kid: key_id("k1"), purpose: text("access_token"), alg: text("EdDSA"), public }
            .into(),
        KeyRetired { kid: key_id("k1") }.into(),
        AuditRead { what: text("records"), parameters: parameters.as_object().unwrap().clone() }
            .into(),
    ]
}
