//! Whoever lost an answer may ask for it again for as long as the grace says: and time in which nobody
//! could be answered does not count, be it a restart, a clock that was put forward, or a disk that hangs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use token_ledger::clock::Clock;
use token_ledger::domain::event::LedgerStalled;
use token_ledger::domain::judge::{Breach, Judge};
use token_ledger::domain::record::Record;
use token_ledger::types::id::Seq;

use crate::support::script::Script;
use crate::support::server::{Server, Tokens};
use crate::support::waits::Waits;
use crate::support::world::{EPOCH_S, verify};

/// A refresh whose answer was lost: what the client holds, and what it should have got.
async fn lost(server: &Server) -> (Tokens, String) {
    let tokens = server.tokens("alice").await;
    let answer = server.refresh(&server.photos, &tokens.refresh).await.is(200);
    (tokens, answer.text("refresh_token"))
}

async fn is_answered(server: &Server, (tokens, successor): &(Tokens, String)) {
    let again = server.refresh(&server.photos, &tokens.refresh).await.is(200);
    assert_eq!(again.text("refresh_token"), *successor);
}

#[actix_web::test]
async fn e2_an_answer_that_was_lost_in_a_stop_is_given_after_the_start_however_late_that_is() {
    let mut server = Server::start().await;
    let lost = lost(&server).await;
    server.clock.advance_s(10);
    server.stop().await;
    server.clock.advance_s(7200);
    server.resume().await;
    // Of 30 s, 10 are gone; from now on they run.
    server.clock.advance_s(19);
    is_answered(&server, &lost).await;
    server.clock.advance_s(2);
    let late = server.refresh(&server.photos, &lost.0.refresh).await;
    late.fails_with(400, "invalid_grant");
    server.stop().await;
}

#[actix_web::test]
async fn e2_a_clock_that_is_put_forward_takes_no_grace_away() {
    let server = Server::start().await;
    let lost = lost(&server).await;
    server.clock.step_s(3600);
    is_answered(&server, &lost).await;
    server.clock.advance_s(31);
    server.refresh(&server.photos, &lost.0.refresh).await.fails_with(400, "invalid_grant");
}

fn kinds(script: &Script, from: Seq) -> Vec<(&'static str, u64)> {
    let records = script.world.records_from(from);
    records.iter().map(|record| (record.event.kind(), record.at.seconds() - EPOCH_S)).collect()
}

#[test]
fn e2_while_the_disk_hangs_no_grace_runs_out() {
    for (back_s, is_excused) in [(79, true), (80, false)] {
        let mut script = Script::new();
        let waits = Arc::new(Waits::default());
        script.world.measure_waits_by(Arc::clone(&waits) as Arc<dyn Clock>);
        script.run("0", &["client photos", "grant g1 photos ann", "redeem g1 a1"]);
        waits.each_s.store(40, Ordering::SeqCst);
        script.run("10", &["refresh g1.0 a2"]);
        waits.each_s.store(0, Ordering::SeqCst);
        let end = script.world.end();
        // Of 30 s of grace, none passed in the 40 s for which nobody was answered.
        script.run(&back_s.to_string(), &["refresh g1.0 a3"]);
        let told = kinds(&script, end);
        let expected = match is_excused {
            true => ["ledger.stalled", "refresh_token.retried", "access_token.issued"],
            false => ["ledger.stalled", "refresh_token.reused", "grant.revoked"],
        };
        assert_eq!(told, expected.map(|kind| (kind, back_s)));
        verify(&script.world.bytes()).expect("a lawful log");
    }
}

#[test]
fn a_wait_has_its_record_though_nobody_asks_and_none_that_is_longer_than_the_log_allows() {
    let mut script = Script::new();
    let waits = Arc::new(Waits::default());
    script.world.measure_waits_by(Arc::clone(&waits) as Arc<dyn Clock>);
    waits.each_s.store(5, Ordering::SeqCst);
    script.run("10", &["client photos"]);
    waits.each_s.store(0, Ordering::SeqCst);
    let end = script.world.end();
    // The wall clock was set back meanwhile: by the log only two seconds passed.
    script.world.set_s(12.0);
    script.world.tick(false);
    let stalled = &script.world.records_from(end)[0];
    assert_eq!(stalled.event, LedgerStalled { for_ms: 2000 }.into());
    verify(&script.world.bytes()).expect("a lawful log");
    let state = script.world.state.read();
    let next = |for_ms: u64| Record {
        seq: stalled.seq.next(),
        at: stalled.at.plus_seconds(3),
        event: LedgerStalled { for_ms }.into(),
        ..stalled.clone()
    };
    assert!(Judge::default().judge(&state, &[next(3000)]).is_ok());
    for forged in [0, 3001, u64::MAX] {
        let told = Judge::default().judge(&state, &[next(forged)]);
        assert_eq!(told.unwrap_err().what, Breach::Stall, "{forged}");
    }
}

#[test]
fn nothing_comes_after_a_stop_and_no_wait_is_told_that_nobody_waited_for() {
    let mut script = Script::new();
    let waits = Arc::new(Waits::default());
    script.world.measure_waits_by(Arc::clone(&waits) as Arc<dyn Clock>);
    waits.each_s.store(5, Ordering::SeqCst);
    script.run("10", &["client photos"]);
    let end = script.world.end();
    // The disk stays slow: one wait that somebody waited for is one record.
    for second in [20.0, 30.0, 40.0] {
        script.world.set_s(second);
        script.world.tick(false);
    }
    assert_eq!(script.world.end(), end.next());
    // Whoever asks waits for a batch that only counts refusals, too.
    script.run("41", &["fail-auth photos times=3"]);
    script.world.set_s(45.0);
    script.world.tick(false);
    let end = script.world.end();
    script.world.set_s(50.0);
    script.world.tick(false);
    assert_eq!(script.world.records_from(end)[0].event, LedgerStalled { for_ms: 5000 }.into());
    script.run("50", &["close"]);
    let end = script.world.end();
    script.world.set_s(60.0);
    script.world.tick(false);
    assert_eq!(script.world.end(), end);
    verify(&script.world.bytes()).expect("a lawful log");
}

/// The machine is suspended, and wakes to a disk that is slow.
#[test]
fn e2_a_wait_and_a_step_of_the_clock_at_once_both_count() {
    let mut script = Script::new();
    let waits = Arc::new(Waits::default());
    script.world.measure_waits_by(Arc::clone(&waits) as Arc<dyn Clock>);
    script.run("0", &["client photos", "grant g1 photos ann", "redeem g1 a1"]);
    waits.each_s.store(2, Ordering::SeqCst);
    script.run("10", &["refresh g1.0 a2"]);
    waits.each_s.store(0, Ordering::SeqCst);
    script.world.set_s(12.0);
    script.world.clock.step_s(3600);
    let end = script.world.end();
    script.run("3613", &["refresh g1.0 a3"]);
    let told: Vec<_> = kinds(&script, end).into_iter().map(|(kind, _)| kind).collect();
    let expected =
        ["ledger.stalled", "clock.stepped", "refresh_token.retried", "access_token.issued"];
    assert_eq!(told, expected);
    verify(&script.world.bytes()).expect("a lawful log");
}
