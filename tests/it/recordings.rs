//! Bytes that were written once are read for ever: each event in each version, and a whole
//! ledger with the projection that it must fold to.

use token_ledger::domain::event::Event;
use token_ledger::domain::record::Record;
use token_ledger::domain::state::State;
use token_ledger::ledger::replay::verify_next;

use crate::support::golden;
use crate::support::recorded::everything;
use crate::support::samples::samples;

fn file_of(kind: &str, version: u32) -> String {
    format!("events/{kind}.v{version}.jsonl")
}

/// Bytes on disks everywhere do not change, so an update only adds what is missing.
fn write_if_missing(name: &str, text: &str) {
    if golden::may_update() && !golden::path(name).exists() {
        golden::write(name, text);
    }
}

#[test]
fn every_event_has_the_bytes_that_it_always_had() {
    let samples = samples();
    for (kind, version) in Event::ALL {
        let of_kind = samples.iter().filter(|record| record.event.kind() == *kind);
        let records: Vec<&Record> = of_kind.collect();
        assert!(!records.is_empty(), "{kind} has no sample: add one to support/samples.rs");
        let lines =
            records.iter().map(|record| String::from_utf8(record.encode().unwrap()).unwrap());
        let text: String = lines.map(|line| line + "\n").collect();
        let name = file_of(kind, *version);
        write_if_missing(&name, &text);
        let recorded = golden::read(&name);
        for (recorded, written) in recorded.lines().zip(text.lines()) {
            assert_eq!(
                written, recorded,
                "{name}: an event on disk is for ever; raise its version instead of changing it"
            );
        }
        assert_eq!(recorded, text, "{name}: one line a sample");
    }
}

#[test]
fn every_event_ever_written_is_read() {
    let names = golden::files("events");
    assert!(Event::ALL.len() <= names.len());
    let samples = samples();
    for name in names {
        for line in golden::read(&format!("events/{name}")).lines() {
            let record = Record::decode(line.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
            let current = file_of(record.event.kind(), record.event.version());
            if current.ends_with(&format!("/{name}")) {
                assert!(samples.contains(&record), "{name}: it means what it meant");
            }
        }
    }
}

#[test]
fn e42_a_recorded_ledger_folds_to_what_it_folded_to() {
    if golden::may_update() {
        let lines = everything().world.bytes().into_iter().map(|b| String::from_utf8(b).unwrap());
        write_if_missing("ledger-1.jsonl", &lines.map(|line| line + "\n").collect::<String>());
    }
    let mut state = State::default();
    for line in golden::read("ledger-1.jsonl").lines() {
        let next = verify_next(&state, line.as_bytes()).unwrap();
        state.apply(&next.record, next.leaf);
    }
    let fold: String = state.canonical().into_iter().map(|line| line + "\n").collect();
    golden::compare("ledger-1.fold", &fold);
}

#[test]
fn an_event_of_a_type_or_version_that_nobody_wrote_is_refused() {
    let lines = golden::read(&file_of("ledger.closed", 1));
    let line = lines.lines().next().unwrap();
    for (was, is) in [(r#""v":1"#, r#""v":2"#), ("ledger.closed", "ledger.burnt")] {
        let changed = line.replace(was, is);
        let error = Record::decode(changed.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("does not know"), "{error}");
    }
    let more = line.replace(r#""data":{"#, r#""data":{"more":1"#);
    assert!(Record::decode(more.as_bytes()).is_err(), "an unknown member is no member of it");
}
