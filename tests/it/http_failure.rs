//! Bad days over HTTP: a write that fails, a queue that is full. Nothing is acknowledged that is
//! not durable, and who can still be answered is.

use serde_json::json;
use token_ledger::crypto::digest::access_token;
use token_ledger::domain::command::{Asked, Command, TokenRef};
use token_ledger::domain::record::Actor;
use token_ledger::log::memory::Fault;
use token_ledger::log::room::Room;
use token_ledger::log::store::Store;
use token_ledger::types::id::RequestId;

use crate::support::frail::Frail;
use crate::support::wire::{Answer, together};

fn is_unavailable(answer: Answer) {
    assert_eq!(answer.header("retry-after"), "1");
    answer.fails_with(503, "temporarily_unavailable");
}

/// Waits for an event, giving way to those who bring it about.
async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

#[actix_web::test]
async fn v8_w14_after_a_failed_write_every_waiter_and_all_who_come_later_get_503() {
    for fault in [Fault::Lost, Fault::Kept] {
        let frail = Frail::start(64);
        let first = frail.token().await.is(200).text("access_token");
        let records = frail.gate.store().end().unwrap();
        // Three appends founded the ledger, one issued the token.
        frail.gate.store().fail_append(4, fault);
        frail.gate.shut();
        let waiting = together((0..5).map(|_| frail.token()));
        let opening = async {
            until(|| frail.gate.has_waiting() && frail.ledger.queued() == 4).await;
            frail.gate.open();
            Vec::new()
        };
        let both: [std::pin::Pin<Box<dyn Future<Output = Vec<Answer>>>>; 2] =
            [Box::pin(waiting), Box::pin(opening)];
        let answers: Vec<Answer> = together(both.into_iter()).await.into_iter().flatten().collect();
        assert_eq!(answers.len(), 5);
        answers.into_iter().for_each(is_unavailable);
        assert_eq!(frail.gate.store().end().unwrap(), records, "nothing is visible");
        frail.ledger.ended().await;
        is_unavailable(frail.token().await);
        is_unavailable(frail.ask("revoke", &[("token", &first)]).await);
        assert_eq!(frail.get("/readyz").await.is(503).json()["status"], json!("stopped"));
        frail.get("/healthz").await.is(200);
        let body = frail.ask("introspect", &[("token", &first)]).await.is(200).json();
        assert_eq!(body["active"], json!(true));
        // More than the queue holds, which nobody empties any more: the stop waits for none of them.
        for number in 0..100 {
            let (request, command) = (RequestId::from_bytes([number; 8]), Command::CloseLedger);
            frail.ledger.post(Asked { request, actor: Actor::Ledger, origin: None, command });
        }
        assert_eq!(frail.ledger.queued(), 0);
        assert!(frail.ledger.stop().is_err());
    }
}

#[actix_web::test]
async fn on_a_nearly_full_disk_nobody_is_given_anything_and_reading_goes_on() {
    let frail = Frail::start(64);
    let first = frail.token().await.is(200).text("access_token");
    let records = frail.gate.store().end().unwrap();
    frail.get("/readyz").await.is(200);
    frail.ledger.keep_free(Room::new(&std::env::temp_dir(), u64::MAX));
    is_unavailable(frail.token().await);
    is_unavailable(frail.ask("revoke", &[("token", &first)]).await);
    assert_eq!(frail.get("/readyz").await.is(503).json()["status"], json!("disk_full"));
    let body = frail.ask("introspect", &[("token", &first)]).await.is(200).json();
    assert_eq!(body["active"], json!(true));
    assert_eq!(frail.gate.store().end().unwrap(), records, "nothing was written");
    assert!(frail.ledger.stop().is_ok(), "and nothing has failed");
}

#[actix_web::test]
async fn e43_a_full_queue_turns_away_and_those_who_wait_are_served() {
    let frail = Frail::start(2);
    let first = frail.token().await.is(200).text("access_token");
    frail.gate.shut();
    // The first one is with the writer before the others fill the queue.
    let waiting = together((0..3).map(async |place| {
        until(|| place == 0 || frail.gate.has_waiting()).await;
        frail.token().await
    }));
    let meanwhile = async {
        until(|| frail.gate.has_waiting() && frail.ledger.queued() == 2).await;
        let turned_away = frail.token().await;
        let body = frail.ask("introspect", &[("token", &first)]).await.is(200).json();
        assert_eq!(body["active"], json!(true), "reading waits for nobody");
        frail.gate.open();
        vec![turned_away]
    };
    let both: [std::pin::Pin<Box<dyn Future<Output = Vec<Answer>>>>; 2] =
        [Box::pin(waiting), Box::pin(meanwhile)];
    let mut answers: Vec<Answer> = together(both.into_iter()).await.into_iter().flatten().collect();
    is_unavailable(answers.pop().unwrap());
    assert_eq!(answers.len(), 3);
    for answer in answers {
        answer.is(200);
    }
    frail.token().await.is(200);
    assert!(frail.ledger.stop().is_ok());
}

/// Whoever is told to ask again finds everything as it was; what takes something away is done all the
/// same.
#[actix_web::test]
async fn what_nobody_waits_for_is_not_begun_where_the_answer_is_all_of_it() {
    let frail = Frail::start(64);
    let first = frail.token().await.is(200).text("access_token");
    let before = frail.gate.store().end().unwrap();
    frail.gate.shut();
    let waiting = async {
        frail.token().await.is(200);
    };
    let meanwhile = async {
        until(|| frail.gate.has_waiting()).await;
        // Both give up at once: the first was for a secret, the other takes a token away.
        for command in [register(), revoke(&first)] {
            let request = RequestId::from_bytes([7; 8]);
            let actor = Actor::Client("job".parse().unwrap());
            let asked = Asked { request, actor, origin: None, command };
            frail.ledger.post(asked);
        }
        frail.gate.open();
    };
    tokio::join!(waiting, meanwhile);
    frail.token().await.is(200);
    let body = frail.ask("introspect", &[("token", &first)]).await.is(200).json();
    assert_eq!(body["active"], json!(false), "it was revoked");
    // Two tokens that were waited for, and the revocation.
    assert_eq!(frail.gate.store().end().unwrap().0, before.0 + 3);
    assert!(frail.ledger.stop().is_ok());
}

fn register() -> Command {
    let client = "late".parse().unwrap();
    Command::RegisterClient { client, metadata: Box::default(), secret: None }
}

fn revoke(token: &str) -> Command {
    let token = TokenRef::Access(access_token(token));
    Command::RevokeToken { client: "job".parse().unwrap(), token }
}
