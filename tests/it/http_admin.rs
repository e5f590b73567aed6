//! The admin listener over HTTP: who may do what, clients, grants, keys (RFC 6750 section 3).

use serde_json::{Value, json};

use crate::support::server::{Server, asking, photos};
use crate::support::wire::{Answer, Call, together};

/// Every address of the admin listener with the scope that opens it; `{id}` is a client.
const ADDRESSES: [(&str, &str, &str); 24] = [
    ("GET", "/admin/clients", "ledger:admin"),
    ("POST", "/admin/clients", "ledger:admin"),
    ("GET", "/admin/clients/photos", "ledger:admin"),
    ("PATCH", "/admin/clients/photos", "ledger:admin"),
    ("POST", "/admin/clients/photos/secret", "ledger:admin"),
    ("POST", "/admin/clients/photos/disable", "ledger:admin"),
    ("POST", "/admin/clients/photos/enable", "ledger:admin"),
    ("GET", "/admin/grants?client=photos", "ledger:admin"),
    ("POST", "/admin/grants", "ledger:grant"),
    ("GET", "/admin/grants/g_AAAAAAAAAAAAAAAAAAAAAA", "ledger:admin"),
    ("DELETE", "/admin/grants/g_AAAAAAAAAAAAAAAAAAAAAA", "ledger:admin"),
    ("GET", "/admin/blacklist", "ledger:admin"),
    ("POST", "/admin/blacklist", "ledger:admin"),
    ("DELETE", "/admin/blacklist/b_AAAAAAAAAAAA", "ledger:admin"),
    ("POST", "/admin/subjects/erase", "ledger:admin"),
    ("GET", "/admin/keys", "ledger:admin"),
    ("POST", "/admin/keys/rotate", "ledger:admin"),
    ("GET", "/audit/records", "ledger:audit"),
    ("GET", "/audit/grants/g_AAAAAAAAAAAAAAAAAAAAAA/trail", "ledger:audit"),
    ("GET", "/audit/subjects/trail?subject=alice", "ledger:audit"),
    ("GET", "/audit/clients/photos/trail", "ledger:audit"),
    ("POST", "/audit/token", "ledger:audit"),
    ("GET", "/audit/valid?client=photos", "ledger:audit"),
    ("GET", "/audit/records?limit=1", "ledger:audit"),
];

async fn send(server: &Server, method: &str, path: &str, token: Option<&str>) -> Answer {
    let call = Call::new(method, server.admin(path));
    server.wire.send(token.map_or(call.clone(), |token| call.bearer(token))).await
}

#[actix_web::test]
async fn b2_b3_each_scope_opens_its_own_addresses_and_no_other() {
    // As many addresses as there are, each with a token that is none: more than one may guess.
    let server = Server::start_with(|raw| raw.auth_failures_per_minute_max = 1000).await;
    let tokens = [
        ("ledger:admin", server.admin_token.as_str()),
        ("ledger:grant", &server.login_token),
        ("ledger:audit", &server.audit_token),
    ];
    for (method, path, scope) in ADDRESSES {
        let answer = send(&server, method, path, None).await.is(401).uncached();
        let challenge = format!("Bearer realm=\"token-ledger\", scope=\"{scope}\"");
        assert_eq!(answer.header("www-authenticate"), challenge, "{method} {path}");
        let answer = send(&server, method, path, Some("garbage")).await;
        assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
        answer.fails_with(401, "invalid_token");
        for (has, token) in tokens {
            let answer = send(&server, method, path, Some(token)).await;
            if has == scope {
                assert!(!matches!(answer.status, 401 | 403 | 405 | 500..), "{path} {answer:?}");
            } else {
                let needs = format!("scope=\"{scope}\"");
                assert!(answer.header("www-authenticate").contains(&needs), "{answer:?}");
                answer.fails_with(403, "insufficient_scope");
            }
        }
    }
}

#[actix_web::test]
async fn b1_b3_b5_a_bearer_token_comes_once_and_in_the_header() {
    let server = Server::start().await;
    let url = server.admin("/admin/clients");
    let token = &server.admin_token;
    let call = Call::new("GET", &url).header("authorization", format!("bEaReR {token}"));
    server.wire.send(call).await.is(200);
    for header in ["Bearer", "Bearer a b", "Bearer \u{e9}"] {
        let answer = server.wire.send(Call::new("GET", &url).header("authorization", header)).await;
        assert!(answer.header("www-authenticate").contains("error=\"invalid_request\""));
        answer.fails_with(400, "invalid_request");
    }
    let twice = Call::new("GET", &url).bearer(token).bearer(token);
    server.wire.send(twice).await.fails_with(400, "invalid_request");
    let query = format!("{url}?access_token={token}");
    server.wire.send(Call::new("GET", query)).await.is(401);
    server.wire.send(Call::new("GET", &url).basic("photos", "x")).await.is(401);
}

#[actix_web::test]
async fn a_token_for_another_server_opens_nothing_here() {
    let server = Server::start().await;
    let elsewhere = json!({
        "client_id": "elsewhere", "grant_types": ["client_credentials"],
        "scope": "ledger:admin", "resources": ["https://other.example"],
    });
    let elsewhere = server.register(elsewhere).await;
    let token = server.own_token(&elsewhere, &[]).await;
    let answer = send(&server, "GET", "/admin/clients", Some(&token)).await;
    answer.fails_with(401, "invalid_token");
}

#[actix_web::test]
async fn every_address_names_the_methods_that_it_takes() {
    let server = Server::start().await;
    for (method, path, _) in ADDRESSES {
        let answer = send(&server, "PUT", path, Some(&server.admin_token)).await;
        assert!(answer.header("allow").split(", ").any(|allowed| allowed == method), "{path}");
        answer.fails_with(405, "invalid_request");
    }
}

#[actix_web::test]
async fn a_client_is_shown_as_registered_and_its_secret_once() {
    let server = Server::start().await;
    let metadata = json!({
        "client_id": "odd/id:%25?&#", "client_name": "Odd", "scope": "read",
        "grant_types": ["client_credentials"], "access_token_format": "opaque",
        "refresh_idle_s": null, "grace_s": 5,
    });
    let made = server.administer("POST", "/admin/clients", Some(metadata.clone())).await.is(201);
    let made = made.uncached().json();
    assert!(made["client_secret"].as_str().unwrap().starts_with("tls_"));
    assert_eq!(made["client_secret_expires_at"], json!(0));
    for (member, value) in metadata.as_object().unwrap() {
        assert_eq!(&made[member], value, "{member}");
    }
    let path = "/admin/clients/odd%2Fid:%2525%3F&%23";
    let shown = server.administer("GET", path, None).await.is(200).json();
    assert_eq!((shown.get("client_secret"), &shown["client_name"]), (None, &json!("Odd")));
    let change = json!({ "client_name": "Even" });
    let changed = server.administer("PATCH", path, Some(change)).await.is(200).json();
    assert_eq!((&changed["client_name"], &changed["grace_s"]), (&json!("Even"), &json!(5)));
    let again = json!({ "client_id": "photos" });
    server.administer("POST", "/admin/clients", Some(again)).await.fails_with(409, "conflict");
    server.administer("GET", "/admin/clients/nobody", None).await.fails_with(404, "not_found");
    server.administer("GET", "/admin/clients/%FF", None).await.fails_with(404, "not_found");
}

#[actix_web::test]
async fn clients_come_in_pages() {
    let server = Server::start().await;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/admin/clients?limit=2{cursor}");
        let page = server.administer("GET", &path, None).await.is(200).json();
        let clients = page["clients"].as_array().unwrap();
        assert!(clients.len() <= 2 && page["as_of"]["seq"].is_u64());
        seen.extend(clients.iter().map(|client| client["client_id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let admin = server.administrator.id.clone();
    assert_eq!(seen, [admin.as_str(), "api", "auditor", "login", "photos"]);
}

#[actix_web::test]
async fn changes_of_different_members_at_once_are_all_kept() {
    let server = Server::start().await;
    let changes = [
        json!({ "grace_s": 1 }),
        json!({ "grace_retries_max": 2 }),
        json!({ "refresh_idle_s": 3 }),
        json!({ "access_token_lifetime_s": 4 }),
        json!({ "shadow_generations_max": 5 }),
    ];
    let path = "/admin/clients/photos";
    let at_once =
        changes.iter().map(|change| server.administer("PATCH", path, Some(change.clone())));
    for answer in together(at_once).await {
        answer.is(200);
    }
    let shown = server.administer("GET", path, None).await.is(200).json();
    for change in changes {
        let (member, value) = change.as_object().unwrap().iter().next().unwrap();
        assert_eq!(&shown[member], value, "{member}");
    }
}

#[actix_web::test]
async fn an_administrator_cannot_lock_itself_out() {
    let server = Server::start().await;
    let id = server.administrator.id.clone();
    let path = format!("/admin/clients/{id}");
    for change in [
        json!({ "scope": "" }),
        json!({ "grant_types": [] }),
        json!({ "resources": ["https://other.example"] }),
    ] {
        server.administer("PATCH", &path, Some(change)).await.fails_with(409, "conflict");
    }
    let disable = format!("{path}/disable");
    server.administer("POST", &disable, None).await.fails_with(409, "conflict");
    server.blacklist(json!({ "type": "client", "id": id })).await.fails_with(409, "conflict");
    server.administer("GET", &path, None).await.is(200);
}

#[actix_web::test]
async fn live_grants_come_with_their_tokens_in_pages() {
    let server = Server::start().await;
    let other = server.register(photos("other")).await;
    let mut grants = Vec::new();
    for _ in 0..3 {
        grants.push(server.tokens("alice").await);
    }
    let foreign = server.tokens_of(&other, "bob").await;
    server.revoke(&server.photos, &grants[1].refresh).await.is(200);
    for whose in ["subject=alice", "client=photos"] {
        let path = format!("/admin/grants?{whose}&limit=1");
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = server.administer("GET", &format!("{path}{cursor}"), None).await.is(200);
            let page = page.json();
            for grant in page["grants"].as_array().unwrap() {
                seen.push(grant["grant_id"].as_str().unwrap().to_owned());
                assert_eq!(grant["tokens"].as_array().unwrap().len(), 2);
            }
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, [grants[2].grant.as_str(), &grants[0].grant], "{whose}");
        let strange = format!("{path}&cursor={}", foreign.grant);
        server.administer("GET", &strange, None).await.fails_with(400, "invalid_request");
    }
    server.administer("GET", "/admin/grants", None).await.fails_with(400, "invalid_request");
    let both = "/admin/grants?subject=alice&client=photos";
    server.administer("GET", both, None).await.fails_with(400, "invalid_request");
    let unknown = "/admin/grants?subject=nobody";
    server.administer("GET", unknown, None).await.fails_with(404, "not_found");
}

#[actix_web::test]
async fn a_grant_is_revoked_by_an_administrator() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let path = format!("/admin/grants/{}", tokens.grant);
    let shown = server.administer("GET", &path, None).await.is(200).json();
    assert_eq!((&shown["status"], &shown["more_tokens"]), (&json!("live"), &json!(false)));
    let reason = json!({ "reason": "left the company" });
    server.administer("DELETE", &path, Some(reason)).await.is(204);
    server.administer("DELETE", &path, None).await.is(204);
    assert!(!server.is_active(&tokens.access).await);
    let shown = server.administer("GET", &path, None).await.is(200).json();
    assert_eq!((&shown["status"], &shown["tokens"]), (&json!("revoked"), &json!([])));
}

#[actix_web::test]
async fn a_client_of_very_many_tokens_is_shown_in_part() {
    let server = Server::start().await;
    let job = json!({ "client_id": "job", "grant_types": ["client_credentials"] });
    let job = server.register(job).await;
    for _ in 0..101 {
        server.own_token(&job, &[]).await;
    }
    let page = server.administer("GET", "/admin/grants?client=job", None).await.is(200).json();
    let grant = &page["grants"][0];
    assert_eq!(grant["tokens"].as_array().unwrap().len(), 100);
    assert_eq!(
        (&grant["how"], &grant["more_tokens"]),
        (&json!("client_credentials"), &json!(true))
    );
}

async fn keys(server: &Server) -> Vec<Value> {
    let answer = server.administer("GET", "/admin/keys", None).await.is(200);
    answer.json()["keys"].as_array().unwrap().clone()
}

#[actix_web::test]
async fn a_rotated_key_signs_from_then_on_and_the_old_one_stays_published() {
    let mut server = Server::start().await;
    let old = server.tokens("alice").await;
    let now = || Some(json!({ "now": true }));
    let at_once = (0..3).map(|_| server.administer("POST", "/admin/keys/rotate", now()));
    for answer in together(at_once).await {
        answer.is(201);
    }
    let keys = keys(&server).await;
    let retired = keys.iter().filter(|key| !key["retired_at"].is_null()).count();
    assert_eq!((keys.len(), retired), (4, 3), "{keys:?}");
    let signer = keys.iter().find(|key| key["signs"] == json!(true)).unwrap();
    assert_eq!(signer["retired_at"], Value::Null);
    assert!(server.is_active(&old.access).await);
    let published = server.wire.send(Call::new("GET", server.public("/t/oauth/jwks"))).await.json();
    assert_eq!(published["keys"].as_array().unwrap().len(), 4);
    server.restart().await;
    assert!(server.is_active(&server.tokens("bob").await.access).await);
    server.grant(asking("photos", "carol")).await.is(201);
}

#[actix_web::test]
async fn b4_each_attribute_of_a_challenge_stands_at_most_once() {
    let server = Server::start().await;
    for (path, token) in [
        ("/admin/clients", None),
        ("/admin/clients", Some("garbage")),
        ("/audit/records", Some(server.admin_token.as_str())),
        ("/admin/clients", Some("a b")),
    ] {
        let answer = send(&server, "GET", path, token).await;
        assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 1, "{answer:?}");
        let challenge = answer.header("www-authenticate");
        assert!(challenge.starts_with("Bearer realm=\""), "{challenge}");
        for attribute in ["realm=", "scope=", "error=", "error_description=", "error_uri="] {
            assert!(challenge.matches(attribute).count() <= 1, "{attribute} in {challenge}");
        }
    }
}

#[actix_web::test]
async fn b6_a_token_lives_an_hour_unless_registered_and_always_names_its_servers() {
    let server = Server::start().await;
    let plain = json!({ "client_id": "plain", "grant_types": ["client_credentials"] });
    let plain = server.register(plain).await;
    let form = [("grant_type", "client_credentials")];
    let answer = server.token(&plain, &form).await.is(200);
    assert_eq!(answer.json()["expires_in"], json!(3600));
    let body = server.introspect(&plain, &answer.text("access_token")).await.is(200).json();
    assert_eq!(body["aud"].as_array().unwrap().len(), 1, "for the issuer itself: {body}");
    let long = json!({ "access_token_lifetime_s": 86_401 });
    let answer = server.administer("PATCH", "/admin/clients/plain", Some(long)).await;
    answer.fails_with(400, "invalid_client_metadata");
}

#[actix_web::test]
async fn e30_nothing_redirects_and_no_answer_of_the_protocol_is_kept() {
    let server = Server::start().await;
    for (method, path, _) in ADDRESSES {
        for token in [None, Some(server.admin_token.as_str())] {
            let answer = send(&server, method, path, token).await.uncached();
            assert!(!(300..400).contains(&answer.status), "{path} {answer:?}");
            assert_eq!(answer.header("location"), "", "{path}");
        }
    }
    for path in ["/oauth/token", "/oauth/revoke", "/oauth/introspect"] {
        for client in [&server.photos, &server.administrator] {
            let answer = server.wire.send(server.ask(path, client, &[("token", "x")])).await;
            assert!(!(300..400).contains(&answer.uncached().status));
        }
    }
}
