//! Whatever is sent, the answer is an error that names what is wrong: never a 5xx, never a panic,
//! never another answer than before to those who come after.

use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::server::{Server, asking, photos};
use crate::support::wire::{Answer, Call, FORM};

async fn still_serves(server: &Server) {
    assert!(server.is_active(&server.tokens("alice").await.access).await);
    server.wire.send(Call::new("GET", server.public("/readyz"))).await.is(200);
}

#[actix_web::test]
async fn unknown_members_and_wrong_types_are_named_without_what_was_sent() {
    let server = Server::start().await;
    let canary = "canary@example.com";
    for (path, body) in [
        ("/admin/clients", json!({ "client_nam": canary })),
        ("/admin/clients", json!({ "grant_types": [canary] })),
        ("/admin/clients", json!([canary])),
        ("/admin/blacklist", json!({ "target": canary, "reason": "r" })),
        ("/admin/blacklist", json!({ "target": { "type": canary }, "reason": "r" })),
        ("/admin/blacklist", json!({ "target": { "type": "all" }, "reason": [canary] })),
        ("/admin/subjects/erase", json!({ "subject": { "x": canary } })),
        ("/admin/subjects/erase", json!({ "subject": "a", canary: 1 })),
        ("/admin/subjects/erase", json!({ "rewrite_now": ", expected canary@example.com" })),
        ("/admin/clients/photos/secret", json!({ "previous_lifetime_s": canary })),
        ("/admin/clients/photos/secret", json!({ "previous_lifetime_s": -1 })),
        ("/admin/clients/photos/secret", json!({ "previous_lifetime_s": 2_592_001 })),
        ("/admin/clients/photos/disable", json!({ "why": canary })),
        ("/admin/clients/photos/disable", json!({ "reason": "a".repeat(1001) })),
    ] {
        let answer = server.administer("POST", path, Some(body.clone())).await;
        assert!(!answer.body.contains("canary"), "{body}: {answer:?}");
        assert!(!answer.text("error_description").is_empty(), "{body}");
        let error = answer.text("error");
        answer.fails_with(400, &error);
    }
    let mut body = asking("photos", "alice");
    body["acr"] = json!(canary);
    let answer = server.grant(body).await;
    assert!(answer.text("error_description").contains("code_challenge_method"), "{answer:?}");
    answer.fails_with(400, "invalid_request");
    still_serves(&server).await;
}

#[actix_web::test]
async fn what_is_no_json_is_an_invalid_request() {
    let server = Server::start().await;
    let deep = "[".repeat(8000);
    let deeper = format!("{{\"subject\":{}1{}}}", "[".repeat(4000), "]".repeat(4000));
    for body in ["", "{", "null", "1", "[]", "\u{feff}{}", &deep, &deeper, "{}{}"] {
        for path in ["/admin/clients", "/admin/blacklist", "/admin/subjects/erase"] {
            let call = Call::new("POST", server.admin(path)).bearer(&server.admin_token);
            let answer = server.wire.send(call.body("application/json", body)).await;
            // An empty object is a client with the defaults.
            assert!(answer.status == 400, "{path} {body} {answer:?}");
        }
    }
    for kind in [FORM, "text/json", "application/jsonp", ""] {
        let call = Call::new("POST", server.admin("/admin/clients")).bearer(&server.admin_token);
        server.wire.send(call.body(kind, "{}")).await.fails_with(400, "invalid_request");
    }
    let call = Call::new("POST", server.admin("/admin/clients")).bearer(&server.admin_token);
    let call = call.body("application/json; charset=utf-8", b"{\"client_name\":\"\xff\"}".to_vec());
    server.wire.send(call).await.fails_with(400, "invalid_request");
    still_serves(&server).await;
}

#[actix_web::test]
async fn metadata_out_of_its_range_names_the_member() {
    let server = Server::start().await;
    for (member, bad) in [
        ("access_token_lifetime_s", json!(0)),
        ("access_token_lifetime_s", json!(86_401)),
        ("access_token_lifetime_s", json!(1e30)),
        ("refresh_idle_s", json!(0)),
        ("refresh_absolute_s", json!(u64::MAX)),
        ("grace_s", json!(3601)),
        ("grace_retries_max", json!(-1)),
        ("rotation", json!("sometimes")),
        ("token_endpoint_auth_method", json!("tls_client_auth")),
        ("scope", json!("a".repeat(20_000).get(..10_000))),
        ("scope", json!((0..65).map(|i| format!("s{i}")).collect::<Vec<_>>().join(" "))),
        ("resources", json!(["relative"])),
        ("resources", json!(["https://a.example/#f"])),
        ("client_name", json!("a\nb")),
    ] {
        for (method, path) in [("POST", "/admin/clients"), ("PATCH", "/admin/clients/photos")] {
            let answer = server.administer(method, path, Some(json!({ member: bad }))).await;
            assert!(answer.text("error_description").starts_with(member), "{answer:?}");
            answer.fails_with(400, "invalid_client_metadata");
        }
    }
    for bad in ["/cb", "https://a.example/cb#f", "http://a.example/cb", "javascript:1", "a b"] {
        let mut metadata = photos("new");
        metadata["redirect_uris"] = json!([bad]);
        let answer = server.administer("POST", "/admin/clients", Some(metadata)).await;
        answer.fails_with(400, "invalid_redirect_uri");
    }
    for good in ["http://127.0.0.1/cb", "http://[::1]:9/cb", "com.example.app:/cb"] {
        let metadata = json!({ "redirect_uris": [good] });
        server.administer("POST", "/admin/clients", Some(metadata)).await.is(201);
    }
}

#[actix_web::test]
async fn garbage_tokens_of_any_length_are_garbage() {
    let server = Server::start().await;
    for garbage in ["a".repeat(8 * 1024), "tlr_".repeat(2000), ".".repeat(8000), "\u{1F980}".into()]
    {
        assert!(!server.is_active(&garbage).await);
        server.revoke(&server.photos, &garbage).await.is(200);
        server.refresh(&server.photos, &garbage).await.fails_with(400, "invalid_grant");
        server.exchange(&server.photos, &garbage).await.fails_with(400, "invalid_grant");
    }
    let too_long = "a".repeat(8 * 1024 + 1);
    server.revoke(&server.photos, &too_long).await.fails_with(400, "invalid_request");
    let call = Call::new("GET", server.admin("/admin/clients"));
    let answer = server.wire.send(call.bearer(&"a".repeat(20_000))).await;
    answer.fails_with(400, "invalid_request");
}

#[actix_web::test]
async fn forms_that_are_no_text_are_invalid_requests() {
    let server = Server::start().await;
    let many = (0..65).map(|i| format!("p{i}=1")).collect::<Vec<_>>().join("&");
    for body in ["%", "a=%zz", "a=%FF", "%C3=%A9", "a=\x01", &many, "a=1&a=2"] {
        for path in ["/t/oauth/token", "/t/oauth/revoke", "/t/oauth/introspect"] {
            let call = Call::new("POST", server.public(path)).body(FORM, body);
            server.wire.send(call).await.fails_with(400, "invalid_request");
        }
    }
    let call =
        Call::new("POST", server.public("/t/oauth/token")).body(FORM, b"a=\xff\xfe".to_vec());
    server.wire.send(call).await.fails_with(400, "invalid_request");
}

/// What a connection answers to raw bytes, until it is closed.
fn raw(address: std::net::SocketAddr, request: Vec<u8>) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    // The service may close while this is still being sent.
    let _ = stream.write_all(&request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

async fn send_raw(server: &Server, request: Vec<u8>) -> String {
    let address = server.running().public;
    actix_web::rt::task::spawn_blocking(move || raw(address, request)).await.unwrap()
}

#[actix_web::test]
async fn the_rest_of_a_body_that_is_too_long_is_never_taken_for_a_request() {
    let server = Server::start().await;
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3000);
    let head = |more: &str| {
        format!("POST /t/oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\n{more}\r\n\r\n")
    };
    let by_length = head(&format!("Content-Length: {}", smuggled.len())) + &smuggled;
    let chunk = format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
    let chunked = head("Transfer-Encoding: chunked") + &chunk;
    for request in [by_length, chunked] {
        let answer = send_raw(&server, request.into_bytes()).await;
        assert!(!answer.contains("\"ok\""), "a part of the body was answered: {answer}");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
    }
    still_serves(&server).await;
}

#[actix_web::test]
async fn heads_that_are_too_long_or_no_http_end_the_connection() {
    let server = Server::start().await;
    let long = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(300_000));
    for request in [
        long.into_bytes(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
        b"GET /healthz HTTP/1.1\r\n\r\n".to_vec(),
        b"GET /%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        b"POST /t/oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"POST /t/oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"
            .to_vec(),
    ] {
        let answer = send_raw(&server, request).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    still_serves(&server).await;
}

#[actix_web::test]
async fn a_body_in_pieces_is_read_whole() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let (id, secret) = (&server.api.id, server.api.secret.as_deref().unwrap());
    let basic = STANDARD.encode(format!("{id}:{secret}"));
    let head = format!(
        "POST /t/oauth/introspect HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\n\
         Authorization: Basic {basic}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let body = format!("token={}", tokens.access);
    for bytes in [1, 7, 200, body.len()] {
        let pieces = body.as_bytes().chunks(bytes).map(|piece| {
            let piece = std::str::from_utf8(piece).unwrap();
            format!("{:x}\r\n{piece}\r\n", piece.len())
        });
        let request = head.clone() + &pieces.collect::<String>() + "0\r\n\r\n";
        let answer = send_raw(&server, request.into_bytes()).await;
        assert!(answer.contains("\"active\":true"), "{bytes}: {answer}");
    }
}

#[actix_web::test]
async fn a_body_that_never_ends_is_408() {
    let server = Server::start_with(|raw| raw.client_request_timeout_ms = 200).await;
    let head = format!(
        "POST /t/oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 9\r\n\r\na="
    );
    let answer = send_raw(&server, head.into_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    still_serves(&server).await;
}

fn pick<T: std::fmt::Debug>(runner: &mut TestRunner, strategy: &impl Strategy<Value = T>) -> T {
    strategy.new_tree(runner).unwrap().current()
}

/// Text as attackers and typists send it.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        "[a-z_]{1,20}",
        Just("tlr_AAAA".to_owned()),
        Just("photos".to_owned()),
        Just("alice".to_owned()),
        Just("99999999999999999999".to_owned()),
        Just("-1".to_owned()),
        Just("g_AAAAAAAAAAAAAAAAAAAAAA".to_owned()),
        Just("2026-01-01T00:00:00Z".to_owned()),
    ]
}

fn name() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "grant_type",
        "code",
        "refresh_token",
        "client_id",
        "client_secret",
        "scope",
        "resource",
        "token",
        "subject",
        "target",
        "reason",
        "type",
        "id",
        "from",
        "to",
        "at",
        "limit",
        "cursor",
        "client",
        "grant",
        "digest",
        "redirect_uris",
        "grant_types",
        "legal_basis",
    ];
    prop_oneof![proptest::sample::select(KNOWN).prop_map(str::to_owned), text()]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        text().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name(), inner, 0..4)
                .prop_map(|map| Value::from(map.into_iter().collect::<serde_json::Map<_, _>>())),
        ]
    })
}

fn is_sane(answer: &Answer, what: &dyn std::fmt::Debug) {
    assert!(answer.status < 500, "{what:?}: {answer:?}");
    if 400 <= answer.status && answer.status != 401 {
        assert!(answer.json()["error"].is_string(), "{what:?}: {answer:?}");
    }
}

#[actix_web::test]
async fn whatever_is_sent_the_service_stays_up() {
    const FORMS: [&str; 3] = ["/t/oauth/token", "/t/oauth/revoke", "/t/oauth/introspect"];
    const JSON: [(&str, &str); 9] = [
        ("POST", "/admin/clients"),
        ("PATCH", "/admin/clients/photos"),
        ("POST", "/admin/clients/photos/secret"),
        ("POST", "/admin/grants"),
        ("POST", "/admin/blacklist"),
        ("POST", "/admin/subjects/erase"),
        ("DELETE", "/admin/blacklist/b_AAAAAAAAAAAA"),
        ("DELETE", "/admin/grants/g_AAAAAAAAAAAAAAAAAAAAAA"),
        ("POST", "/audit/token"),
    ];
    const QUERIES: [&str; 6] = [
        "/audit/records",
        "/audit/valid",
        "/audit/subjects/trail",
        "/admin/grants",
        "/admin/clients",
        "/admin/blacklist",
    ];
    let server = Server::start().await;
    let scopes = json!({
        "client_id": "all", "grant_types": ["client_credentials"],
        "scope": "ledger:admin ledger:grant ledger:audit",
    });
    let token = server.own_token(&server.register(scopes).await, &[]).await;
    let mut runner = TestRunner::deterministic();
    let pairs = proptest::collection::vec((name(), text()), 0..6);
    let bytes = proptest::collection::vec(any::<u8>(), 0..200);
    for _ in 0..60 {
        for path in FORMS {
            let form = pick(&mut runner, &pairs);
            let form: Vec<_> = form.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let call = server.ask(path.strip_prefix("/t").unwrap(), &server.photos, &form);
            is_sane(&server.wire.send(call).await, &form);
            let body = pick(&mut runner, &bytes);
            let call = Call::new("POST", server.public(path)).body(FORM, body.clone());
            is_sane(&server.wire.send(call).await, &body);
        }
        for (method, path) in JSON {
            let body = pick(&mut runner, &value());
            let call = Call::new(method, server.admin(path)).bearer(&token).json(&body);
            is_sane(&server.wire.send(call).await, &(path, body));
        }
        for path in QUERIES {
            let query = pick(&mut runner, &pairs);
            let query: Vec<_> = query.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let url = server.admin(&format!("{path}?{}", crate::support::wire::encode(&query)));
            is_sane(&server.wire.send(Call::new("GET", url).bearer(&token)).await, &query);
        }
    }
    server.wire.send(Call::new("GET", server.public("/readyz"))).await.is(200);
    let fresh = server.register(photos("fresh")).await;
    server.tokens_of(&fresh, "a person of whom nobody has heard").await;
}
