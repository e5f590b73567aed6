//! Brute force over HTTP (RFC 6749 section 2.3.1): who fails too often waits, and nobody else.

use crate::support::server::{Party, Server};
use crate::support::wire::{Answer, Call, Wire};

const OWN: (&str, &str) = ("grant_type", "client_credentials");
const ENDPOINTS: [&str; 3] = ["/t/oauth/token", "/t/oauth/revoke", "/t/oauth/introspect"];

async fn guess(server: &Server, wire: &Wire, path: &str, id: &str, secret: &str) -> Answer {
    let form = [OWN, ("token", "x")];
    wire.send(Call::new("POST", server.public(path)).form(&form).basic(id, secret)).await
}

/// Guesses until the answer is 429: how many were answered before, and that answer.
async fn until_throttled(server: &Server, wire: &Wire, path: &str, id: &str) -> (usize, Answer) {
    for guesses in 0..1_000 {
        let answer = guess(server, wire, path, id, "wrong").await;
        if answer.status == 429 {
            return (guesses, answer);
        }
        answer.fails_with(401, "invalid_client");
    }
    panic!("1000 guesses were answered");
}

fn secret(party: &Party) -> &str {
    party.secret.as_deref().unwrap()
}

#[actix_web::test]
async fn w13_v9_after_too_many_failures_a_client_waits_at_that_address_even_with_the_right_secret()
{
    let server = Server::start().await;
    for (host, path) in ["127.0.1.1", "127.0.1.2", "127.0.1.3"].into_iter().zip(ENDPOINTS) {
        let wire = Wire::new(host, "guesser/1");
        let (guesses, answer) = until_throttled(&server, &wire, path, "photos").await;
        assert_eq!((guesses, answer.header("retry-after")), (10, "6"));
        answer.fails_with(429, "temporarily_unavailable");
        let right = guess(&server, &wire, path, "photos", secret(&server.photos)).await;
        right.fails_with(429, "temporarily_unavailable");
        // Another client at the same address is not concerned yet.
        let other = guess(&server, &wire, "/t/oauth/introspect", "api", secret(&server.api)).await;
        other.is(200);
    }
    server.clock.advance_s(6);
    let wire = Wire::new("127.0.1.1", "guesser/1");
    let form = [("token", "x")];
    wire.send(server.ask("/oauth/introspect", &server.photos, &form)).await.is(200);
}

#[actix_web::test]
async fn w13_an_unknown_client_is_throttled_exactly_as_a_known_one() {
    let server = Server::start().await;
    let (known, unknown) = (Wire::new("127.0.1.1", "g/1"), Wire::new("127.0.1.2", "g/1"));
    let (known_after, known) = until_throttled(&server, &known, ENDPOINTS[0], "photos").await;
    let (unknown_after, unknown) = until_throttled(&server, &unknown, ENDPOINTS[0], "nobody").await;
    assert_eq!(known_after, unknown_after);
    assert_eq!(known.body, unknown.body);
    assert_eq!(known.header("retry-after"), unknown.header("retry-after"));
}

#[actix_web::test]
async fn w13_a_client_is_never_locked_out_by_failures_from_another_address() {
    let server = Server::start_with(|raw| raw.throttle_keys_max = 4).await;
    for host in 1..=9 {
        let wire = Wire::new(&format!("127.0.1.{host}"), "guesser/1");
        until_throttled(&server, &wire, "/t/oauth/token", &server.api.id).await;
        server.introspect(&server.api, "x").await.is(200);
    }
}

#[actix_web::test]
async fn w13_an_address_that_tries_many_names_waits_for_all_of_them() {
    let server = Server::start().await;
    let wire = Wire::new("127.0.1.1", "guesser/1");
    for name in 0..20 {
        let answer = guess(&server, &wire, ENDPOINTS[0], &format!("name-{name}"), "x").await;
        answer.fails_with(401, "invalid_client");
    }
    let answer = guess(&server, &wire, ENDPOINTS[0], "photos", secret(&server.photos)).await;
    assert_eq!(answer.header("retry-after"), "3");
    answer.fails_with(429, "temporarily_unavailable");
    // The log holds nothing of attempts that were not looked at.
    server.introspect(&server.api, "x").await.is(200);
}

#[actix_web::test]
async fn w13_guessed_bearer_tokens_are_throttled_at_the_administration_and_only_there() {
    let server = Server::start().await;
    let wire = Wire::new("127.0.1.1", "guesser/1");
    let list = |token: &str| Call::new("GET", server.admin("/admin/clients")).bearer(token);
    for _ in 0..20 {
        wire.send(list("guessed")).await.fails_with(401, "invalid_token");
    }
    let answer = wire.send(list("guessed")).await;
    assert_eq!(answer.header("retry-after"), "3");
    answer.fails_with(429, "temporarily_unavailable");
    // Who needs the emergency brake is not kept from it by who guesses beside them.
    wire.send(list(&server.admin_token)).await.is(200);
    wire.send(server.ask("/oauth/introspect", &server.api, &[("token", "x")])).await.is(200);
    server.administer("GET", "/admin/clients", None).await.is(200);
    server.clock.advance_s(3);
    wire.send(list("guessed")).await.fails_with(401, "invalid_token");
}
