//! Clients that publish their keys: what is fetched from a `jwks_uri`, when, and what comes of a
//! fetch that fails.

use serde_json::json;

use crate::guard::issuer::{Issuer, Key, Says, key_set};
use crate::http_assertions::{claims, good, header, is_refused, prove, register};
use crate::support::server::{NOW_S, Server};
use crate::support::wire::together;

async fn publishing(server: &Server, id: &str, keys: &Issuer) {
    register(server, id, json!({ "jwks_uri": keys.url })).await;
}

#[actix_web::test]
async fn c8_published_keys_are_fetched_once_and_kept_for_a_while() {
    let server = Server::start().await;
    let (old, new) = (Key::eddsa("old"), Key::rs256("new"));
    let keys = Issuer::publishing(&[&old]);
    publishing(&server, "robot", &keys).await;
    assert_eq!(keys.questions(), 0);
    let all = (0..4).map(|_| good(&old)).collect::<Vec<_>>();
    for answer in together(all.iter().map(|one| prove(&server, one))).await {
        answer.is(200);
    }
    assert_eq!(keys.questions(), 1, "one flight");

    // The client changes its keys; a moment later the new one is looked for.
    keys.now_says(key_set(&[&new]));
    is_refused(&server, prove(&server, &good(&new)).await, "fetched a moment ago").await;
    assert_eq!(keys.questions(), 1);
    server.clock.advance_s(10);
    prove(&server, &good(&new)).await.is(200);
    assert_eq!(keys.questions(), 2);
    is_refused(&server, prove(&server, &good(&old)).await, "taken back").await;
    assert_eq!(keys.questions(), 2, "not more often than every ten seconds");

    // What is known is asked for again when it is old.
    server.clock.advance_s(299);
    let later = claims(json!({ "iat": NOW_S + 309, "exp": NOW_S + 400 }));
    prove(&server, &new.sign(&header(&new), &later)).await.is(200);
    assert_eq!(keys.questions(), 2);
    server.clock.advance_s(1);
    let later = claims(json!({ "iat": NOW_S + 310, "exp": NOW_S + 400 }));
    prove(&server, &new.sign(&header(&new), &later)).await.is(200);
    assert_eq!(keys.questions(), 3);
}

#[actix_web::test]
async fn c8_keys_that_cannot_be_had_prove_nothing() {
    let server = Server::start().await;
    let (key, elsewhere) = (Key::eddsa("ed"), Key::eddsa("ed"));
    let other = Issuer::publishing(&[&elsewhere, &key]);
    let keys = Issuer::publishing(&[]);
    publishing(&server, "robot", &keys).await;
    let set = json!({ "keys": [key.jwk()] });
    let mut long = set.to_string().into_bytes();
    long.resize(64 * 1024 + 1, b' ');
    let nine: Vec<_> = (0..9).map(|_| key.jwk()).collect();
    let mut private = key.jwk();
    private["d"] = json!("AAAA");
    for (says, what) in [
        (Says::Json(json!({ "keys": [] })), "no keys"),
        (Says::Json(json!([])), "no set"),
        (Says::Json(json!({ "keys": nine })), "nine keys"),
        (Says::Json(json!({ "keys": [private] })), "a private key"),
        (Says::Status(500, set.clone()), "a failure"),
        (Says::Status(404, set.clone()), "not there"),
        (Says::Moved(other.url.clone()), "a redirect"),
        (Says::Bytes(long.clone()), "too long"),
        (Says::Chunks(long.clone()), "too long, unannounced"),
    ] {
        keys.now_says(says);
        let before = keys.questions();
        is_refused(&server, prove(&server, &good(&key)).await, what).await;
        assert_eq!(keys.questions(), before + 1, "{what}");
        is_refused(&server, prove(&server, &good(&key)).await, what).await;
        assert_eq!(keys.questions(), before + 1, "{what}: not again at once");
        server.clock.advance_s(10);
    }
    assert_eq!(other.questions(), 0, "nobody follows a redirect");
    long.pop();
    keys.now_says(Says::Bytes(long));
    let later = || claims(json!({ "exp": NOW_S + 300 }));
    prove(&server, &key.sign(&header(&key), &later())).await.is(200);
    // Down: what is kept is used as long as it may be, and then no longer.
    keys.stop().await;
    prove(&server, &key.sign(&header(&key), &later())).await.is(200);
    server.clock.advance_s(300);
    let later = claims(json!({ "exp": NOW_S + 600 }));
    let answer = prove(&server, &key.sign(&header(&key), &later)).await;
    is_refused(&server, answer, "down").await;
}

#[actix_web::test]
async fn c8_a_slow_client_keeps_nobody_else_waiting() {
    let server = Server::start_with(|raw| raw.client_jwks_timeout_ms = 1000).await;
    let (key, quick_key) = (Key::eddsa("ed"), Key::eddsa("quick"));
    let (slow, quick) = (Issuer::saying(Says::Nothing), Issuer::publishing(&[&quick_key]));
    publishing(&server, "robot", &slow).await;
    publishing(&server, "quick", &quick).await;
    let stuck = good(&key);
    let stuck = std::pin::pin!(prove(&server, &stuck));
    let theirs = claims(json!({ "iss": "quick", "sub": "quick" }));
    let theirs = quick_key.sign(&header(&quick_key), &theirs);
    let others = async {
        while slow.questions() == 0 {
            tokio::task::yield_now().await;
        }
        prove(&server, &theirs).await.is(200)
    };
    let others = std::pin::pin!(others);
    // The quick one is through while the slow one still waits.
    let answer = tokio::select! {
        answer = stuck => panic!("the slow one was first: {answer:?}"),
        answer = others => answer,
    };
    answer.is(200);
}

#[actix_web::test]
async fn c8_a_fetch_ends_in_time_and_then_the_client_is_refused() {
    let server = Server::start_with(|raw| raw.client_jwks_timeout_ms = 100).await;
    let (key, slow) = (Key::eddsa("ed"), Issuer::saying(Says::Nothing));
    publishing(&server, "robot", &slow).await;
    is_refused(&server, prove(&server, &good(&key)).await, "slow").await;
    assert_eq!(slow.questions(), 1);
}

#[actix_web::test]
async fn c8_few_clients_keys_are_kept_and_another_uri_is_another_place() {
    let server = Server::start_with(|raw| raw.client_jwks_clients_max = 1).await;
    let (one, two) = (Key::eddsa("one"), Key::eddsa("two"));
    let (ones, twos) = (Issuer::publishing(&[&one]), Issuer::publishing(&[&two]));
    publishing(&server, "robot", &ones).await;
    publishing(&server, "other", &twos).await;
    let theirs = || two.sign(&header(&two), &claims(json!({ "iss": "other", "sub": "other" })));
    prove(&server, &good(&one)).await.is(200);
    prove(&server, &theirs()).await.is(200);
    prove(&server, &good(&one)).await.is(200);
    assert_eq!((ones.questions(), twos.questions()), (2, 1));
    let moved = json!({ "jwks_uri": twos.url });
    server.administer("PATCH", "/admin/clients/robot", Some(moved)).await.is(200);
    prove(&server, &good(&two)).await.is(200);
    is_refused(&server, prove(&server, &good(&one)).await, "from where it was").await;
}
