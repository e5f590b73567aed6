//! Whoever changes the log is found, and the record is named. What cannot be found in the log
//! alone is told at the end: a cut tail, a changed last record, and a log that was written anew.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use token_ledger::clock::Clock;
use token_ledger::crypto::keys::KeyFile;
use token_ledger::domain::event::Event;
use token_ledger::domain::record::Record;
use token_ledger::domain::state::State;
use token_ledger::entropy::SeededEntropy;
use token_ledger::ledger::replay::{Broken, LogError, back, replay, verify_next};
use token_ledger::log::leaf::leaf_hash;
use token_ledger::log::store::{Damage, StoreError};
use token_ledger::types::id::Seq;
use token_ledger::types::time::Timestamp;

use crate::support::recorded::everything;
use crate::support::waits::Waits;

type Log = Vec<Vec<u8>>;

/// One in which everything happened, and then a start with a clock that had been set back, and a disk
/// that made all wait.
fn log() -> Log {
    let mut script = everything();
    script.run("9", &["open"]);
    let waits = Arc::new(Waits::default());
    script.world.measure_waits_by(Arc::clone(&waits) as Arc<dyn Clock>);
    waits.each_s.store(2, Ordering::SeqCst);
    script.run("30", &["audit g1"]);
    waits.each_s.store(0, Ordering::SeqCst);
    script.run("40", &["audit g1"]);
    script.world.bytes()
}

/// The record that the verification names, and why; `None` when it finds nothing.
fn broken(log: &[Vec<u8>]) -> Option<(u64, Broken)> {
    let mut state = State::default();
    for bytes in log {
        match verify_next(&state, bytes) {
            Ok(next) => {
                state.apply(&next.record, next.leaf);
            }
            Err(LogError::Broken { seq, what }) => return Some((seq.0, what)),
            Err(LogError::Store(error)) => panic!("there is no store here: {error}"),
        }
    }
    None
}

fn named(log: &[Vec<u8>]) -> Option<u64> {
    broken(log).map(|(seq, _)| seq)
}

fn fold(log: &[Vec<u8>]) -> State {
    let mut state = State::default();
    for bytes in log {
        let next = verify_next(&state, bytes).unwrap();
        state.apply(&next.record, next.leaf);
    }
    state
}

#[test]
fn the_log_of_these_tests_holds_every_kind_of_record() {
    let log = log();
    let records: Vec<_> = log.iter().map(|bytes| Record::decode(bytes).unwrap()).collect();
    for (kind, _) in Event::ALL {
        assert!(records.iter().any(|record| record.event.kind() == *kind), "{kind}");
    }
    assert!(40 <= log.len());
    assert_eq!(named(&log), None);
}

/// Flips one bit after another in record `i`; each time the verification names it, or the next
/// record, whose `prev` is not its hash any more.
fn flip(log: &Log, i: usize, bits: impl Iterator<Item = usize>) {
    let state = fold(&log[..i]);
    let after = log.get(i + 1).map(|bytes| Record::decode(bytes).unwrap());
    let mut replayed = 0;
    for bit in bits {
        let mut bytes = log[i].clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Ok(next) = verify_next(&state, &bytes) else { continue };
        let Some(after) = &after else {
            // The last record: only a checkpoint, or the checksum of its block, tells.
            let was = Record::decode(&log[i]).unwrap();
            let same = (next.record.seq, next.record.prev, next.record.back);
            assert_eq!(same, (was.seq, was.prev, was.back));
            continue;
        };
        assert_ne!(after.prev, Some(next.leaf), "record {i}, bit {bit}");
        if replayed < 2 {
            let mut log = log.clone();
            log[i] = bytes;
            let (seq, what) = broken(&log).unwrap();
            assert!(matches!(what, Broken::Unchained), "record {i}, bit {bit}: {what}");
            assert_eq!(seq, i as u64 + 1);
            replayed += 1;
        }
    }
}

#[test]
fn e44_a_flipped_bit_is_found_wherever_it_is() {
    let log = log();
    for i in 0..log.len() {
        flip(&log, i, (0..log[i].len()).map(|byte| byte * 8 + (i + byte) % 8));
    }
    let kinds = ["ledger.created", "refresh_token.rotated", "blacklist.added"];
    for kind in kinds {
        let of_kind = |bytes: &Vec<u8>| Record::decode(bytes).unwrap().event.kind() == kind;
        let i = log.iter().position(of_kind).unwrap();
        flip(&log, i, 0..log[i].len() * 8);
    }
}

#[test]
fn a_record_that_is_left_out_is_named_by_its_place() {
    let log = log();
    for i in 0..log.len() - 1 {
        let mut log = log.clone();
        log.remove(i);
        let (seq, what) = broken(&log).unwrap();
        assert!(matches!(what, Broken::OutOfOrder { says } if says.0 == seq + 1), "{what}");
        assert_eq!(seq, i as u64);
    }
}

#[test]
fn a_head_that_is_cut_off_is_found() {
    let log = log();
    for cut in 1..log.len() {
        assert_eq!(named(&log[cut..]), Some(0));
    }
}

#[test]
fn swapped_and_repeated_records_are_named() {
    let log = log();
    for i in 0..log.len() - 1 {
        let mut swapped = log.clone();
        swapped.swap(i, i + 1);
        assert_eq!(named(&swapped), Some(i as u64));
        let mut repeated = log.clone();
        repeated.insert(i, log[i].clone());
        assert_eq!(named(&repeated), Some(i as u64 + 1));
    }
}

#[test]
fn records_of_another_ledger_are_found_where_they_begin() {
    let log = log();
    let other = written_anew(&log, |record| {
        if let Event::LedgerCreated(created) = &mut record.event {
            created.issuer = "https://other.example".to_owned();
        }
        true
    });
    assert_eq!(named(&other), None);
    for at in 1..log.len() {
        let spliced = [&log[..at], &other[at..]].concat();
        let (seq, what) = broken(&spliced).unwrap();
        assert!(matches!(what, Broken::Unchained), "{what}");
        assert_eq!(seq, at as u64);
    }
}

/// Changes record `i` and makes every `prev` after it right again, as one who knows the format.
fn rechained(log: &Log, i: usize, change: impl FnOnce(&mut Record)) -> Log {
    let mut log = log.clone();
    let mut record = Record::decode(&log[i]).unwrap();
    change(&mut record);
    log[i] = record.encode().unwrap();
    for after in i + 1..log.len() {
        let mut record = Record::decode(&log[after]).unwrap();
        record.prev = Some(leaf_hash(&log[after - 1]));
        log[after] = record.encode().unwrap();
    }
    log
}

const MIDDLE: Range<usize> = 5..30;

#[test]
fn a_changed_seq_is_found_even_if_the_chain_is_made_right_again() {
    let log = log();
    for i in MIDDLE {
        for seq in [i as u64 + 1, i as u64 - 1, 0, u64::MAX] {
            let (at, what) = broken(&rechained(&log, i, |record| record.seq = Seq(seq))).unwrap();
            assert!(
                matches!(what, Broken::OutOfOrder { says: Seq(says) } if says == seq),
                "{what}"
            );
            assert_eq!(at, i as u64);
        }
    }
}

#[test]
fn time_that_goes_back_is_found_even_if_the_chain_is_made_right_again() {
    let log = log();
    for i in MIDDLE {
        let early = rechained(&log, i, |record| record.at = Timestamp::from_seconds(1));
        let (seq, what) = broken(&early).unwrap();
        assert!(matches!(what, Broken::BackInTime { .. }), "{what}");
        assert_eq!(seq, i as u64);
        let late = rechained(&log, i, |record| record.at = record.at.plus_seconds(1_000_000));
        let (seq, what) = broken(&late).unwrap();
        assert!(matches!(what, Broken::BackInTime { .. }), "{what}");
        assert_eq!(seq, i as u64 + 1);
    }
}

#[test]
fn a_changed_prev_is_named() {
    let log = log();
    for i in MIDDLE {
        for prev in [None, Some(leaf_hash(b"another"))] {
            let (seq, what) = broken(&rechained(&log, i, |record| record.prev = prev)).unwrap();
            assert!(matches!(what, Broken::Unchained), "{what}");
            assert_eq!(seq, i as u64);
        }
    }
    let first = rechained(&log, 0, |record| record.prev = Some(leaf_hash(b"another")));
    assert_eq!(named(&first), Some(0));
}

#[test]
fn a_changed_back_link_is_found_even_if_the_chain_is_made_right_again() {
    let log = log();
    let mut changed = 0;
    for i in 0..log.len() {
        let was = Record::decode(&log[i]).unwrap().back;
        let earlier = |link: Option<Seq>| match link {
            Some(Seq(0)) | None => Some(Seq(0)),
            Some(Seq(seq)) => Some(Seq(seq - 1)),
        };
        for links in [
            token_ledger::domain::record::Back { grant: earlier(was.grant), ..was },
            token_ledger::domain::record::Back { subject: earlier(was.subject), ..was },
            token_ledger::domain::record::Back { client: earlier(was.client), ..was },
            token_ledger::domain::record::Back::default(),
        ] {
            if links == was {
                continue;
            }
            let (seq, what) = broken(&rechained(&log, i, |record| record.back = links)).unwrap();
            assert!(matches!(what, Broken::BackLinks { .. }), "{what}");
            assert_eq!(seq, i as u64);
            changed += 1;
        }
    }
    assert!(100 < changed);
}

/// Leaves out record `i`, renumbers and re-chains what follows, but leaves the trails as they are.
#[test]
fn a_record_that_is_taken_out_of_a_trail_is_missed_by_the_trail() {
    let log = log();
    for i in 1..log.len() - 1 {
        let on_no_trail = Record::decode(&log[i]).unwrap().about == Default::default();
        let mut without = log.clone();
        without.remove(i);
        for at in i..without.len() {
            let mut record = Record::decode(&without[at]).unwrap();
            record.seq = Seq(at as u64);
            record.prev = Some(leaf_hash(&without[at - 1]));
            // The forger moves the links along with the records.
            let moved = |link: Option<Seq>| {
                link.map(|Seq(seq)| Seq(if seq > i as u64 { seq - 1 } else { seq }))
            };
            let links = record.back;
            record.back.grant = moved(links.grant);
            record.back.subject = moved(links.subject);
            record.back.client = moved(links.client);
            without[at] = record.encode().unwrap();
        }
        let is_last = |log: &Log| {
            let gone = Record::decode(&log[i]).unwrap().about;
            !log[i + 1..].iter().any(|bytes| {
                let about = Record::decode(bytes).unwrap().about;
                (about.client.is_some() && about.client == gone.client)
                    || (about.subject.is_some() && about.subject == gone.subject)
                    || (about.grant.is_some() && about.grant == gone.grant)
            })
        };
        // Nothing later points at a record that is the last of its trails: like a cut tail, only a
        // checkpoint tells that it was there.
        let expect_found = !on_no_trail && !is_last(&log);
        assert_eq!(named(&without).is_some(), expect_found, "record {i}");
    }
}

#[test]
fn the_store_names_the_record_too() {
    let world = everything().world;
    for i in [0, 7, 20] {
        let mut bytes = world.bytes()[i].clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let error =
            replay(&world.store.with_record(Seq(i as u64), &bytes), |_, _| Ok(())).unwrap_err();
        let near = [i as u64, i as u64 + 1];
        assert!(matches!(error, LogError::Broken { seq, .. } if near.contains(&seq.0)), "{error}");
    }
    for i in [0, 7, 20] {
        let error = replay(&world.store.without_block(Seq(i)), |_, _| Ok(())).unwrap_err();
        let LogError::Store(StoreError::Damaged { seq, what }) = &error else { panic!("{error}") };
        assert!(seq.0 <= i && *what == Damage::Missing, "{error}");
    }
}

/// Writes the whole log anew from its records, as one who has the program and the time.
fn written_anew(log: &Log, mut keep: impl FnMut(&mut Record) -> bool) -> Log {
    let mut state = State::default();
    let mut anew = Vec::new();
    for bytes in log {
        let mut record = Record::decode(bytes).unwrap();
        if !keep(&mut record) {
            continue;
        }
        record.seq = state.next_seq();
        record.prev = state.head().map(|head| head.leaf);
        record.back = back(&state, &record.about);
        let bytes = record.encode().unwrap();
        state.apply(&record, leaf_hash(&bytes));
        anew.push(bytes);
    }
    anew
}

#[test]
fn e44_only_a_checkpoint_finds_a_cut_tail_a_changed_end_and_a_log_written_anew() {
    let log = log();
    for end in 0..log.len() {
        assert_eq!(named(&log[..end]), None, "a cut tail");
    }
    let last = log.len() - 1;
    let later = |record: &mut Record| record.at = record.at.plus_seconds(1);
    assert_eq!(named(&rechained(&log, last, later)), None, "a changed last record");
    let reason = |record: &mut Record| {
        if let Event::BlacklistAdded(data) = &mut record.event {
            data.reason = "another".to_owned();
        }
    };
    let of_kind =
        |bytes: &Vec<u8>| Record::decode(bytes).unwrap().event.kind() == "blacklist.added";
    let entry = log.iter().position(of_kind).unwrap();
    assert_eq!(
        named(&rechained(&log, entry, reason)),
        None,
        "changed, and all after it re-chained"
    );
    let anew = written_anew(&log, |record| record.event.kind() != "refresh.refused");
    assert!(anew.len() < log.len());
    assert_eq!(named(&anew), None, "written anew without some records");
    // The leaf hashes tell, from the first change on: that is what a checkpoint signs.
    let changed = rechained(&log, entry, reason);
    for (i, (was, is)) in log.iter().zip(&changed).enumerate() {
        assert_eq!(leaf_hash(was) == leaf_hash(is), i < entry);
    }
}

#[test]
fn every_flipped_bit_of_a_key_file_is_noticed() {
    let encoded = KeyFile::generate(&SeededEntropy::new(1)).unwrap().encode();
    for bit in 0..encoded.len() * 8 {
        let mut flipped = encoded.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(KeyFile::decode(&flipped).is_err(), "bit {bit}");
    }
}
