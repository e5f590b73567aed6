//! Honest metadata (RFC 8414): what it lists works, what it does not list does not, and nothing else
//! stands in it. Rows as in the conformance table.

use serde_json::{Value, json};

use crate::guard::issuer::Key;
use crate::support::server::{ISSUER, Server, asking};
use crate::support::wire::Call;

async fn metadata(server: &Server) -> Value {
    let path = "/.well-known/oauth-authorization-server/t";
    server.wire.send(Call::new("GET", server.public(path))).await.is(200).json()
}

fn list(metadata: &Value, member: &str) -> Vec<String> {
    let all = metadata[member].as_array().unwrap_or_else(|| panic!("no {member}"));
    all.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

#[actix_web::test]
async fn d3_d4_d7_every_member_is_known_and_no_list_is_empty() {
    let server = Server::start().await;
    let metadata = metadata(&server).await;
    let mut names: Vec<&str> = metadata.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "code_challenge_methods_supported",
            "grant_types_supported",
            "introspection_endpoint",
            "introspection_endpoint_auth_methods_supported",
            "introspection_endpoint_auth_signing_alg_values_supported",
            "introspection_signing_alg_values_supported",
            "issuer",
            "jwks_uri",
            "response_types_supported",
            "revocation_endpoint",
            "revocation_endpoint_auth_methods_supported",
            "revocation_endpoint_auth_signing_alg_values_supported",
            "token_endpoint",
            "token_endpoint_auth_methods_supported",
            "token_endpoint_auth_signing_alg_values_supported",
        ]
    );
    for (name, value) in metadata.as_object().unwrap() {
        assert!(value.as_array().is_none_or(|list| !list.is_empty()), "{name}");
    }
}

#[actix_web::test]
async fn w15_d2_d6_every_published_address_is_https_below_the_issuer_and_answers() {
    let server = Server::start().await;
    let metadata = metadata(&server).await;
    let addresses = metadata.as_object().unwrap().iter().filter(|(name, _)| {
        name.ends_with("_endpoint") || name.ends_with("_uri") || *name == "issuer"
    });
    for (name, url) in addresses {
        let url = url.as_str().unwrap();
        assert!(url.starts_with("https://") && url.starts_with(ISSUER), "{name}: {url}");
        assert!(!url.contains(['?', '#']), "{name}: {url}");
        let Some(path) = url.strip_prefix("https://ledger.example").filter(|path| *path != "/t")
        else {
            continue;
        };
        let answer = server.wire.send(Call::new("GET", server.public(path))).await;
        assert!(matches!(answer.status, 200 | 405), "{name}: {answer:?}");
    }
}

#[actix_web::test]
async fn d4_d7_the_grant_types_that_are_listed_are_served_and_no_other_is() {
    let server = Server::start().await;
    let listed = list(&metadata(&server).await, "grant_types_supported");
    let known = [
        "authorization_code",
        "client_credentials",
        "refresh_token",
        "implicit",
        "password",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    ];
    assert!(listed.iter().all(|listed| known.contains(&listed.as_str())));
    for grant_type in known {
        let form = [("grant_type", grant_type), ("code", "x"), ("refresh_token", "x")];
        let answer = server.token(&server.photos, &form).await;
        let is_served = answer.text("error") != "unsupported_grant_type";
        assert_eq!(is_served, listed.iter().any(|listed| listed == grant_type), "{grant_type}");
        let metadata = json!({ "grant_types": ["authorization_code", grant_type] });
        let answer = server.administer("POST", "/admin/clients", Some(metadata)).await;
        assert_eq!(answer.status == 201, is_served, "{grant_type}: {answer:?}");
    }
}

#[actix_web::test]
async fn d4_d5_d7_the_methods_and_algorithms_that_are_listed_can_be_registered_and_no_other() {
    let server = Server::start().await;
    let metadata = metadata(&server).await;
    let keys = [Key::eddsa("ed"), Key::es256("es"), Key::rs256("rs")];
    let jwks = json!({ "keys": keys.each_ref().map(Key::jwk) });
    for endpoint in ["token", "revocation"] {
        let listed = list(&metadata, &format!("{endpoint}_endpoint_auth_methods_supported"));
        for method in [
            "client_secret_basic",
            "client_secret_post",
            "client_secret_jwt",
            "private_key_jwt",
            "tls_client_auth",
            "self_signed_tls_client_auth",
            "none",
        ] {
            let mut body = json!({ "token_endpoint_auth_method": method });
            if method.ends_with("private_key_jwt") {
                body["jwks"] = jwks.clone();
            }
            let answer = server.administer("POST", "/admin/clients", Some(body)).await;
            let is_listed = listed.iter().any(|listed| listed == method);
            assert_eq!(answer.status == 201, is_listed, "{method}: {answer:?}");
        }
    }
    let introspection = list(&metadata, "introspection_endpoint_auth_methods_supported");
    assert!(!introspection.contains(&"none".to_owned()));
    for member in ["access_token_signing_alg", "introspection_signed_response_alg"] {
        let listed = list(&metadata, "introspection_signing_alg_values_supported");
        for alg in ["EdDSA", "ES256", "RS256", "PS256", "ES384", "HS256", "none"] {
            let body = json!({ member: alg });
            let answer = server.administer("PATCH", "/admin/clients/photos", Some(body)).await;
            let is_listed = listed.iter().any(|listed| listed == alg);
            assert_eq!(answer.status == 200, is_listed, "{member} {alg}: {answer:?}");
        }
    }
}

#[actix_web::test]
async fn a10_d7_the_challenge_methods_that_are_listed_are_taken_and_no_other() {
    let server = Server::start().await;
    let listed = list(&metadata(&server).await, "code_challenge_methods_supported");
    for method in ["S256", "plain", "S512"] {
        let mut body = asking("photos", "alice");
        body["code_challenge_method"] = json!(method);
        let is_listed = listed.iter().any(|listed| listed == method);
        assert_eq!(server.grant(body).await.status == 201, is_listed, "{method}");
    }
}
