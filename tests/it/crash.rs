//! The store fails at each append in turn, with the records lost or kept: nothing was answered,
//! nothing more is written, and after a restart everything that was answered is there.

use token_ledger::domain::command::Command;
use token_ledger::domain::grant::RefreshToken;
use token_ledger::ledger::replay::LogError;
use token_ledger::log::memory::Fault;
use token_ledger::log::store::{BATCH_BYTES_MAX, StoreError};

use crate::support::names::{client_id, digest, grant_id, refresh_digest};
use crate::support::recorded::EVERYTHING;
use crate::support::script::Script;
use crate::support::world::{World, add_key, verify};

const FAULTS: [Fault; 2] = [Fault::Lost, Fault::Kept];

/// One client's session: what it asks again when an answer is missing is safe to ask again.
const SESSION: &[(&str, &[&str])] = &[
    ("10", &["refresh g1.0 a2"]),
    ("11", &["refresh g1.1 a3 times=8", "credentials robot c1 a4"]),
    ("12", &["revoke a2", "ban b1 client robot"]),
    ("13", &["refresh g1.2 a5", "refresh g1.2 a6", "lift b1"]),
    ("14", &["refresh g1.3 a8 from=cafe", "refresh g1.3 a9"]),
    ("15", &["disable robot", "refresh g1.4 a10"]),
];

fn prepared() -> Script {
    let mut script = Script::new();
    let lines = ["client photos", "client robot", "grant g1 photos ann", "redeem g1 a1"];
    script.run("0", &lines);
    script
}

fn live_token(world: &World) -> RefreshToken {
    let state = world.state.read();
    let grant = state.grant(&grant_id("g1")).unwrap();
    assert!(state.is_refreshable(grant, world.now()));
    *grant.refresh_token().unwrap()
}

/// Runs batches until one fails; answers how many were acknowledged.
fn run_until_failure(script: &mut Script, batches: &[(&str, &[&str])]) -> usize {
    for (done, (at, lines)) in batches.iter().enumerate() {
        script.world.set_s(at.parse().unwrap());
        let (commands, _) = script.commands(lines);
        if script.world.try_together(commands).is_err() {
            return done;
        }
        script.world.check();
    }
    batches.len()
}

/// After a failure nothing is decided, written or answered, whatever is asked.
fn assert_stopped(world: &mut World) {
    let before = world.bytes();
    let unknown = Command::RevokeToken {
        client: client_id("photos"),
        token: token_ledger::domain::command::TokenRef::Access(digest("unknown")),
    };
    for commands in [vec![add_key("k9")], vec![unknown], Vec::new()] {
        let refused = world.try_together(commands);
        assert!(matches!(refused, Err(LogError::Store(StoreError::Poisoned))), "{refused:?}");
    }
    assert_eq!(world.bytes(), before, "no second append goes through");
    assert_eq!(world.state.read().next_seq(), world.end(), "and nothing of it is visible");
}

#[test]
fn whatever_append_fails_all_that_was_answered_is_there_after_a_restart() {
    for fault in FAULTS {
        for failing in 0..EVERYTHING.len() {
            let mut script = Script::new();
            script.world.store.fail_append(3 + failing as u64, fault); // 3 made the ledger
            let done = run_until_failure(&mut script, EVERYTHING);
            assert_eq!(done, failing, "the batch of the failed append was not answered");
            let acknowledged = script.world.bytes();
            assert_stopped(&mut script.world);

            let reopened = script.world.reopened();
            reopened.check();
            let found = reopened.bytes();
            assert_eq!(found[..acknowledged.len()], acknowledged, "nothing acknowledged is lost");
            let more = found.len() - acknowledged.len();
            assert_eq!(more == 0, fault == Fault::Lost, "a batch is there as a whole or not");
        }
    }
}

#[test]
fn clients_that_ask_again_come_to_the_same_refresh_token() {
    let mut undisturbed = prepared();
    assert_eq!(run_until_failure(&mut undisturbed, SESSION), SESSION.len());
    let expected = live_token(&undisturbed.world);
    assert_eq!(expected.digest, refresh_digest("g1", 5, ""));
    for fault in FAULTS {
        for failing in 0..SESSION.len() {
            let mut script = prepared();
            script.world.store.fail_append(4 + failing as u64, fault);
            assert_eq!(run_until_failure(&mut script, SESSION), failing);
            assert_stopped(&mut script.world);
            script.world = script.world.reopened();

            // The same commands again, and then what the client would have asked next.
            let again = &SESSION[failing..];
            let renamed: Vec<_> = again.iter().map(|(at, lines)| (*at, renamed(lines))).collect();
            for (at, lines) in &renamed {
                let lines: Vec<_> = lines.iter().map(String::as_str).collect();
                assert_eq!(run_until_failure(&mut script, &[(at, &lines)]), 1);
            }
            let live = live_token(&script.world);
            assert_eq!((live.generation, live.digest), (expected.generation, expected.digest));
        }
    }
}

/// An access token is made anew each time that it is asked for.
fn renamed(lines: &[&str]) -> Vec<String> {
    let rename = |word: &str| match word.strip_prefix('a') {
        Some(number) if number.parse::<u32>().is_ok() => format!("again{number}"),
        Some(_) | None => word.to_owned(),
    };
    let rename_all = |line: &&str| line.split(' ').map(rename).collect::<Vec<_>>().join(" ");
    lines.iter().map(rename_all).collect()
}

#[test]
fn a_reader_sees_nothing_of_a_batch_that_is_not_durable() {
    for fault in FAULTS {
        let mut script = prepared();
        let before = script.world.state.read().canonical();
        script.world.store.fail_append(4, fault);
        assert_eq!(run_until_failure(&mut script, SESSION), 0);
        assert_eq!(script.world.state.read().canonical(), before);
    }
}

/// More than a store takes as a whole: grants, with the first record of each resource owner.
fn long_batch() -> Vec<String> {
    let servers: Vec<_> = (0..16).map(|i| format!("r{i}/{}", "x".repeat(480))).collect();
    let servers = servers.join("+");
    (0..500).map(|i| format!("grant g{i} photos s{i} resources={servers}")).collect()
}

#[test]
fn a_batch_that_a_crash_could_cut_in_two_is_cut_between_commands() {
    let lines = long_batch();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let prepared = || {
        let mut script = Script::new();
        script.run("0", &["client photos"]);
        let before = script.world.bytes().len();
        let (commands, _) = script.commands(&lines);
        (script.world, commands, before)
    };
    let (mut world, commands, before) = prepared();
    let answers = world.try_together(commands).unwrap();
    assert!(answers.iter().all(|answer| answer.outcome.is_ok()));
    let whole = world.bytes();
    assert_eq!(world.state.read().canonical(), verify(&whole).unwrap().canonical());
    assert_eq!(whole.len() - before, 2 * lines.len());
    assert!(BATCH_BYTES_MAX < whole.iter().map(Vec::len).sum::<usize>());

    // Of a batch that fails the store may have anything: so each is no longer than it takes whole,
    // and ends with a command.
    let (mut world, commands, before) = prepared();
    world.store.fail_append(5, Fault::Lost); // 3 made the ledger, then the client, then a part
    assert!(world.try_together(commands).is_err(), "nothing was answered");
    let kept = world.reopened().bytes();
    assert!(before < kept.len() && (kept.len() - before).is_multiple_of(2), "{}", kept.len());
    assert!(kept[before..].iter().map(Vec::len).sum::<usize>() <= BATCH_BYTES_MAX);
    assert!(verify(&kept).is_ok());
}
