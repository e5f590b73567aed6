//! The log's own time never goes back, whatever the clock on the wall does: what that means for
//! answers that left no record, for the records of steps, and for refusals that are counted.

use std::time::Duration;

use token_ledger::domain::command::Command;

use crate::support::names::{client_id, digest};
use crate::support::script::Script;
use crate::support::world::{World, verify};

const HOUR_S: f64 = 3600.0;

fn prepared() -> Script {
    let mut script = Script::new();
    script.run("0", &["client photos", "client robot", "grant g1 photos ann", "redeem g1 a1"]);
    script
}

#[test]
fn a_revocation_of_an_expired_token_outlives_a_crash_and_a_clock_that_steps_back() {
    let mut script = prepared();
    let is_kept = |world: &World| world.state.read().token(&digest("a1").short()).is_some();
    // No record was written since it was issued: by the log alone it has not expired.
    script.run("4000", &["revoke a1"]);
    let reopened = script.world.reopened();
    reopened.set_s(10.0);
    assert!(!is_kept(&reopened), "its revocation was answered");
    verify(&reopened.bytes()).expect("a lawful log");
}

#[test]
fn a_step_back_after_an_answer_without_a_record_is_lawful() {
    let mut script = prepared();
    script.world.set_s(20.7);
    // Whoever only reads judges by this time, and leaves no record of it.
    script.world.now();
    script.run("-3600", &["refresh g1.0 a2"]);
    verify(&script.world.bytes()).expect("a lawful log");
}

#[test]
fn refusals_are_counted_by_the_second_while_the_time_of_the_log_stands() {
    let mut world = prepared().world;
    world.set_s(-HOUR_S);
    let failed = || Command::FailAuthentication {
        client: client_id("robot"),
        method: "client_secret_basic".to_owned(),
    };
    for round in 0..3 {
        let answers = world.together(vec![failed(), failed()]);
        assert!(answers[0].seq.is_some(), "the first one of a second, round {round}");
        assert!(answers[1].seq.is_none(), "the second one is counted only");
        let before = world.end();
        world.clock.pass(Duration::from_secs(1));
        world.tick(false);
        assert_eq!(world.end(), before.next(), "what was counted has its record");
        world.clock.pass(Duration::from_secs(1));
    }
}
