//! A log of several thousand records, which many threads read at once and one folds: the same fold, and
//! the same refusals, as of one record after the other.

use token_ledger::domain::event::Event;
use token_ledger::domain::record::{Back, Record};
use token_ledger::domain::state::State;
use token_ledger::ledger::replay::{Broken, LogError, back, replay, replay_onto, verify_next};
use token_ledger::log::memory::MemoryStore;
use token_ledger::log::store::{Damage, Store, StoreError};
use token_ledger::types::digest::LeafHash;
use token_ledger::types::id::Seq;

use crate::support::script::Script;
use crate::support::world::bytes_of;

const RECORDS: u64 = 5_000;
/// At and beside the ends of what one thread takes in hand, and elsewhere.
const PLACES: [u64; 9] = [1, 511, 512, 513, 700, 2_047, 2_048, 4_000, RECORDS - 1];

/// Batches of many sizes, so that blocks end anywhere.
fn long() -> MemoryStore {
    let mut script = Script::new();
    script.run("1", &["client photos redirect=app", "client robot"]);
    let mut people = 0..;
    for size in [1, 4, 13].into_iter().cycle() {
        if RECORDS <= script.world.end().0 {
            break;
        }
        let lines = people.by_ref().take(size).flat_map(|k| {
            [
                format!("grant g{k} photos p{k}"),
                format!("redeem g{k} a{k}"),
                format!("refresh g{k}.0 b{k}"),
                format!("refresh g{k}.1 c{k}"),
                format!("credentials robot own d{k}"),
            ]
        });
        let lines: Vec<String> = lines.collect();
        let (commands, _) = script.commands(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let answers = script.world.try_together(commands).unwrap();
        assert!(answers.iter().all(|answer| answer.outcome.is_ok()), "{lines:?}: {answers:?}");
    }
    script.world.store.truncate(Seq(RECORDS));
    script.world.store.reopen()
}

fn told_by(store: &dyn Store) -> (Result<State, LogError>, Vec<LeafHash>) {
    let mut told = Vec::new();
    let folded = replay(store, |first, leaves| {
        assert_eq!(first, Seq(told.len() as u64), "each once, and in order");
        told.extend_from_slice(leaves);
        Ok(())
    });
    (folded, told)
}

#[test]
fn a_long_log_folds_as_one_record_after_the_other_does() {
    let store = long();
    let (mut one_by_one, mut leaves, mut prefixes) = (State::default(), Vec::new(), Vec::new());
    let records = bytes_of(&store);
    for (seq, bytes) in (0..).zip(&records) {
        if PLACES.contains(&seq) {
            let mut prefix = State::default();
            let first = MemoryStore::new();
            first.append(Seq(0), &records[..usize::try_from(seq).unwrap()]).unwrap();
            replay_onto(&mut prefix, &first, |_, _| Ok(())).unwrap();
            assert_eq!(prefix.canonical(), one_by_one.canonical(), "the first {seq}");
            prefixes.push(prefix);
        }
        let next = verify_next(&one_by_one, bytes).unwrap();
        one_by_one.apply(&next.record, next.leaf);
        leaves.push(next.leaf);
    }
    let expected = one_by_one.canonical();
    let (folded, told) = told_by(&store);
    assert_eq!(folded.unwrap().canonical(), expected);
    assert!(told == leaves, "the leaf hashes are those of the records");
    for mut prefix in prefixes {
        let from = prefix.next_seq();
        replay_onto(&mut prefix, &store, |_, _| Ok(())).unwrap();
        assert_eq!(prefix.canonical(), expected, "from {from}");
    }
}

#[test]
fn what_is_wrong_with_a_long_log_is_told_when_its_turn_has_come() {
    let store = long();
    for at in PLACES {
        let broken = store.with_record(Seq(at), b"{}");
        // What is missing later is not told of: the first fault is.
        let missing_too = [1, 300, 600].map(|later| broken.without_block(Seq(at + later)));
        for store in [broken].iter().chain(&missing_too) {
            let (folded, told) = told_by(store);
            // Where its own block is the one that is missing, there is nothing to read.
            let (refused, is_there) = (folded.unwrap_err(), store.block(Seq(at)).is_ok());
            let is_unreadable = matches!(refused, LogError::Broken { seq, what: Broken::Unreadable(_) } if seq == Seq(at));
            let is_damaged = matches!(refused, LogError::Store(StoreError::Damaged { seq, .. }) if seq <= Seq(at));
            assert_eq!((is_unreadable, is_damaged), (is_there, !is_there), "{refused}");
            assert!(told.len() as u64 <= at, "nothing is told of what comes after a fault");
        }
        // Without its last block a log is only shorter: who counts its records knows.
        if at == RECORDS - 1 {
            continue;
        }
        let (folded, told) = told_by(&store.without_block(Seq(at)));
        let LogError::Store(StoreError::Damaged { seq, what }) = folded.unwrap_err() else {
            panic!("a missing block is damage");
        };
        assert!(seq <= Seq(at) && what == Damage::Missing, "{what}");
        assert!(told.len() as u64 <= at);
    }
}

/// The last record, so that nothing after it says that it was altered.
#[test]
fn a_back_link_that_leads_elsewhere_is_told_of_by_replay_and_verification() {
    let records = bytes_of(&long());
    let mut state = State::default();
    for (seq, bytes) in (0..).map(Seq).zip(records.iter().take(200)) {
        let record = Record::decode(bytes).unwrap();
        let Back { grant, subject, client } = record.back;
        let first = Some(Seq(0));
        for back in [
            Back { grant: first.filter(|_| grant.is_none()), subject, client },
            Back { grant, subject: first.filter(|_| subject.is_none()), client },
            Back { grant, subject, client: first.filter(|_| client.is_none()) },
        ] {
            let forged = Record { back, ..record.clone() }.encode().unwrap();
            let store = MemoryStore::new();
            if 0 < seq.0 {
                store.append(Seq(0), &records[..usize::try_from(seq.0).unwrap()]).unwrap();
            }
            store.append(seq, std::slice::from_ref(&forged)).unwrap();
            for refused in [
                replay(&store, |_, _| Ok(())).map(drop).unwrap_err(),
                verify_next(&state, &forged).map(drop).unwrap_err(),
            ] {
                let LogError::Broken { seq: at, what } = refused else { panic!("{refused}") };
                let Broken::BackLinks { says, known } = what else { panic!("{what}") };
                assert_eq!((at, says, known), (seq, back, record.back));
            }
        }
        let next = verify_next(&state, bytes).unwrap();
        state.apply(&next.record, next.leaf);
    }
}

/// No writer does that; the links of such a log are right all the same, and its commands are not.
#[test]
fn who_is_made_twice_has_the_back_links_of_one_trail() {
    let records = bytes_of(&long());
    let (first, _) = records.split_at(60);
    let mut state = State::default();
    for bytes in first {
        let next = verify_next(&state, bytes).unwrap();
        state.apply(&next.record, next.leaf);
    }
    let made = first.iter().map(|bytes| Record::decode(bytes).unwrap());
    let made = made.filter(|record| {
        matches!(record.event, Event::GrantCreated(_) | Event::ClientRegistered(_))
    });
    let made: Vec<Record> = made.collect();
    assert!(5 < made.len());
    for record in made {
        let (head, links) = (state.head().unwrap(), back(&state, &record.about));
        let (seq, at, prev) = (state.next_seq(), head.at, Some(head.leaf));
        let again = Record { seq, at, prev, back: links, ..record }.encode().unwrap();
        let store = MemoryStore::new();
        store.append(Seq(0), first).unwrap();
        store.append(seq, std::slice::from_ref(&again)).unwrap();
        verify_next(&state, &again).unwrap();
        replay(&store, |_, _| Ok(())).unwrap();
    }
}

#[test]
fn who_is_told_of_records_may_end_the_fold() {
    let store = long();
    let mut calls = 0;
    let ended = replay(&store, |_, _| {
        calls += 1;
        if calls == 3 { Err(StoreError::Poisoned) } else { Ok(()) }
    });
    assert!(matches!(ended.unwrap_err(), LogError::Store(StoreError::Poisoned)));
    assert_eq!(calls, 3);
}
