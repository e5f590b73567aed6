//! Random sequences of commands in random batches, with a clock that steps forward and back,
//! against a model that was written apart. PROPTEST_CASES asks for more of them.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use token_ledger::domain::command::Command;
use token_ledger::domain::state::State;
use token_ledger::ledger::replay::verify_next;
use token_ledger::types::id::Seq;
use token_ledger::types::time::Timestamp;

use crate::support::model::{CLIENTS, Hit, Model, Names, Step};
use crate::support::names::{client_id, digest};
use crate::support::policies::POLICIES;
use crate::support::snapshots::{through_snapshot, whole};
use crate::support::world::World;

const CASES: u32 = 64;
const BATCHES_MAX: usize = 24;
const MOVES_PER_BATCH_MAX: usize = 4;
const RETRIES_MAX: usize = 3;

fn mostly_not() -> impl Strategy<Value = bool> {
    prop_oneof![9 => Just(false), 1 => Just(true)]
}

fn step() -> impl Strategy<Value = Step> {
    let party = || 0..3_usize;
    let grant = || prop_oneof![6 => Just(0_usize), 2 => 0..5_usize];
    // The current refresh token and its predecessor are the usual ones.
    let back = prop_oneof![12 => Just(0_i32), 8 => Just(1), 1 => Just(2), 1 => Just(-1)];
    let refresh = (grant(), back, mostly_not(), mostly_not(), 0..2_usize, mostly_not());
    let refresh = refresh.prop_map(|(grant, back, forged, foreign, host, widens)| Step::Refresh {
        grant,
        back,
        forged: forged && host == 0,
        foreign,
        host,
        widens,
    });
    let redeem = (grant(), mostly_not(), any::<bool>(), mostly_not());
    let granting = (party(), party(), any::<bool>(), any::<bool>());
    prop_oneof![
        40 => refresh,
        6 => redeem.prop_map(|(grant, foreign, verifier, widens)| {
            Step::Redeem { grant, foreign, verifier, widens }
        }),
        3 => granting.prop_map(|(client, subject, wide, challenge)| {
            Step::Grant { client, subject, wide, challenge }
        }),
        4 => (party(), any::<bool>()).prop_map(|(client, fresh)| Step::Credentials { client, fresh }),
        3 => (any::<usize>(), mostly_not()).prop_map(|(token, foreign)| {
            Step::RevokeAccess { token, foreign }
        }),
        1 => (grant(), any::<bool>()).prop_map(|(grant, foreign)| {
            Step::RevokeRefresh { grant, foreign }
        }),
        1 => grant().prop_map(|grant| Step::RevokeGrant { grant }),
        1 => any::<usize>().prop_map(|token| Step::Ban(Hit::Token(token))),
        1 => grant().prop_map(|grant| Step::Ban(Hit::Grant(grant))),
        1 => party().prop_map(|subject| Step::Ban(Hit::Subject(subject))),
        1 => party().prop_map(|client| Step::Ban(Hit::Client(client))),
        1 => (0..3_usize).prop_map(|key| Step::Ban(Hit::Key(key))),
        1 => Just(Step::Ban(Hit::All)),
        2 => Just(Step::AddKey),
        1 => (0..3_usize).prop_map(|key| Step::RetireKey { key }),
        5 => any::<usize>().prop_map(|entry| Step::Lift { entry }),
        1 => party().prop_map(|subject| Step::Erase { subject }),
        3 => (party(), prop_oneof![1 => Just(false), 3 => Just(true)])
            .prop_map(|(client, enabled)| Step::Switch { client, enabled }),
        2 => (party(), 0..4_usize).prop_map(|(client, policy)| Step::Update { client, policy }),
        1 => party().prop_map(|client| Step::FailAuthentication { client }),
    ]
}

/// A refresh, and retries of it from another host or the same: rules about what comes in a row
/// are met by chance only if the row is no chance.
fn refresh_with_retries() -> impl Strategy<Value = Vec<Step>> {
    (0..2_usize, 0..2_usize, 0..=RETRIES_MAX).prop_map(|(first, other, retries)| {
        let refresh = |back, host| {
            let (forged, foreign, widens) = (false, false, false);
            Step::Refresh { grant: 0, back, forged, foreign, host, widens }
        };
        let retries = std::iter::repeat_n(refresh(1, other), retries);
        std::iter::once(refresh(0, first)).chain(retries).collect()
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = step().prop_map(|step| vec![step]);
    vec(prop_oneof![2 => one, 1 => refresh_with_retries()], 1..=MOVES_PER_BATCH_MAX)
        .prop_map(|moves| moves.concat())
}

/// Seconds that pass before a batch, and the batch.
fn batches() -> impl Strategy<Value = Vec<(i32, Vec<Step>)>> {
    let passes = prop_oneof![
        4 => Just(0_i32),
        4 => 0..5_i32,
        2 => 10..50_i32,
        2 => prop_oneof![Just(29), Just(30), Just(31), Just(100), Just(200)],
        1 => 50..300_i32,
        1 => -60..0_i32,
    ];
    vec((passes, steps()), 1..=BATCHES_MAX)
}

fn world() -> World {
    let mut world = World::new();
    let register = |name: &str| Command::RegisterClient {
        client: client_id(name),
        metadata: Box::new(POLICIES[0].metadata()),
        secret: Some(digest(name)),
    };
    world.together(CLIENTS.map(register).to_vec());
    world
}

/// What was valid by the model once the log was this long.
type Moment = (Seq, Timestamp, BTreeSet<String>);

fn run(batches: Vec<(i32, Vec<Step>)>) {
    let (mut batched, mut single) = (world(), world());
    let mut model = Model::default();
    let commands = 2 + batches.iter().map(|(_, steps)| steps.len()).sum::<usize>();
    let names = Names::default().up_to(2 * commands);
    let mut moments: Vec<Moment> = Vec::new();
    let mut now_s = 0_i32;
    // A session to begin with: without one most commands have nothing to work on.
    let (client, subject, wide, challenge) = (0, 0, true, false);
    let (foreign, verifier, widens) = (false, false, false);
    let session = vec![
        Step::Grant { client, subject, wide, challenge },
        Step::Redeem { grant: 0, foreign, verifier, widens },
    ];
    for (passes_s, steps) in std::iter::once((0, session)).chain(batches) {
        now_s = (now_s + passes_s).max(-1000);
        for world in [&batched, &single] {
            world.set_s(f64::from(now_s));
        }
        let at = batched.now();
        assert_eq!(single.now(), at);
        let mut expected = Vec::new();
        let mut answers = Vec::new();
        for step in steps {
            let Some((command, outcome)) = model.step(at, step) else { continue };
            let answer = single.try_together(vec![command.clone()]).unwrap().remove(0);
            assert_eq!(answer.outcome, outcome, "{step:?} at {at}: the model and the ledger");
            moments.push((single.end(), at, model.valid(at)));
            answers.push(answer);
            expected.push(command);
        }
        if expected.is_empty() {
            continue; // nobody asked anything
        }
        let together = batched.together(expected);
        assert_eq!(together, answers, "the cut into batches changes no answer");
        assert_eq!(names.valid(&batched.state.read(), at), model.valid(at), "valid now");
    }
    for (batched, single) in batched.bytes().iter().zip(single.bytes()) {
        let (batched, single) =
            (String::from_utf8_lossy(batched), String::from_utf8_lossy(&single));
        assert_eq!(batched, single, "the cut into batches changes no byte");
    }
    assert_eq!(batched.end(), single.end(), "the cut into batches adds and drops nothing");
    assert_eq!(batched.state.read().canonical(), single.state.read().canonical());
    single.check();
    check_past(&single, &names, &moments);
}

/// The fold of each prefix says what the model said at that moment.
fn check_past(world: &World, names: &Names, moments: &[Moment]) {
    let mut state = State::default();
    let mut log = world.bytes().into_iter();
    for (end, at, valid) in moments {
        while state.next_seq() < *end {
            let next = verify_next(&state, &log.next().unwrap()).unwrap();
            state.apply(&next.record, next.leaf);
        }
        assert_eq!(names.valid(&state, *at), *valid, "as of {at}, record {end}");
        // From here on as a start from a snapshot would.
        let restored = through_snapshot(&state);
        assert_eq!(whole(&restored), whole(&state), "snapshot at {end}");
        state = restored;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_commands_in_any_batches_do_what_the_model_does(batches in batches()) {
        run(batches);
    }
}
