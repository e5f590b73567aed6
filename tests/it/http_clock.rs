//! The wall clock is set an hour forward and an hour back while the service runs: the log's time
//! never goes back, nothing lives longer than it should by more than the step, and a record says so.

use serde_json::Value;
use token_ledger::types::time::Timestamp;

use crate::support::server::{NOW_S, Server, Tokens};

const HOUR_S: u64 = 3600;

/// The payload of a JWT.
fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap();
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

fn expires_s(token: &str) -> u64 {
    claims(token)["exp"].as_u64().unwrap()
}

async fn refreshed(server: &Server, tokens: &Tokens) -> Tokens {
    let answer = server.refresh(&server.photos, &tokens.refresh).await.is(200);
    let (access, refresh) = (answer.text("access_token"), answer.text("refresh_token"));
    Tokens { access, refresh, grant: tokens.grant.clone() }
}

/// Every step in the log, as seconds from and to, and whether the log's time never goes back.
async fn steps(server: &Server) -> Vec<(u64, u64)> {
    let all = server.audit("/audit/records").await.is(200).records();
    let times: Vec<&str> = all.iter().map(|record| record["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    let second = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap().seconds();
    let stepped = all.iter().filter(|record| record["type"] == "clock.stepped");
    stepped.map(|record| (second(&record["data"]["from"]), second(&record["data"]["to"]))).collect()
}

#[actix_web::test]
async fn a_clock_set_back_by_an_hour_is_recorded_and_no_token_gains_more_than_that_hour() {
    let mut server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let lifetime_s = expires_s(&tokens.access) - NOW_S;
    server.clock.step_s(-(HOUR_S as i64));
    let after = refreshed(&server, &tokens).await;
    assert_eq!(steps(&server).await, [(NOW_S, NOW_S - HOUR_S)]);
    // By its own words it lives as long as any other, and by the clock on the wall an hour more.
    assert_eq!(expires_s(&after.access), NOW_S + lifetime_s);
    server.clock.advance_s(HOUR_S);
    assert!(server.is_active(&after.access).await);
    server.clock.advance_s(lifetime_s - 1);
    assert!(server.is_active(&after.access).await);
    server.clock.advance_s(1);
    assert!(!server.is_active(&after.access).await, "an hour more, and not a second");
    server.renew().await;
    assert_eq!(steps(&server).await, [(NOW_S, NOW_S - HOUR_S)], "one step is one record");
}

#[actix_web::test]
async fn a_clock_set_forward_by_an_hour_and_right_again_is_recorded_twice() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let lifetime_s = expires_s(&tokens.access) - NOW_S;
    assert!(lifetime_s <= HOUR_S, "so that an hour is enough to see it expire");
    server.clock.step_s(HOUR_S as i64);
    assert!(!server.is_active(&tokens.access).await, "it has expired by the clock that counts");
    let during = refreshed(&server, &tokens).await;
    server.clock.advance_s(10);
    server.clock.step_s(-(HOUR_S as i64));
    let after = refreshed(&server, &during).await;
    let (ahead_s, right_s) = (NOW_S + HOUR_S, NOW_S + 10);
    assert_eq!(steps(&server).await, [(NOW_S, ahead_s), (ahead_s + 10, right_s)]);
    // The log stands at its newest record until the clock has caught up.
    assert_eq!(expires_s(&after.access), ahead_s + lifetime_s);
    assert!(server.is_active(&after.access).await);
    assert!(expires_s(&after.access) <= right_s + lifetime_s + HOUR_S, "no more than the step");
}

#[actix_web::test]
async fn a_clock_that_was_set_back_while_the_service_was_down_is_recorded_at_its_start() {
    let mut server = Server::start().await;
    server.stop().await;
    server.clock.step_s(-(HOUR_S as i64));
    server.resume().await;
    assert_eq!(steps(&server).await, [(NOW_S, NOW_S - HOUR_S)]);
}

#[actix_web::test]
async fn what_was_answered_as_expired_stays_so_when_the_clock_is_set_back() {
    let server = Server::start().await;
    let [asked, revoked] = [server.tokens("alice").await, server.tokens("bob").await];
    server.clock.set(Timestamp::from_seconds(expires_s(&revoked.access)));
    // Neither answer leaves a record of a later time behind.
    assert!(!server.is_active(&asked.access).await);
    server.revoke(&server.photos, &revoked.access).await.is(200);
    server.clock.step_s(-(HOUR_S as i64));
    assert!(!server.is_active(&asked.access).await, "it had expired");
    assert!(!server.is_active(&revoked.access).await, "it was revoked");
}
