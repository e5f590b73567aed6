//! JSON of administrators and clients, and records and blocks of the log.

use std::sync::OnceLock;

use token_ledger::crypto::jwk_set::PublicJwkSet;
use token_ledger::domain::client::ClientMetadata;
use token_ledger::domain::record::Record;
use token_ledger::evidence::feed::from_export;
use token_ledger::evidence::verifier::{End, Verifier};
use token_ledger::log::block::Block;
use token_ledger::oauth::registration::{RawRegistration, RawUpdate, register, update};
use token_ledger::types::id::Seq;

use crate::edits;

/// Metadata that is accepted is written and read again as the same, keeps its own rules, and is changed
/// by nothing that changes nothing.
pub(crate) fn registration(data: &[u8]) {
    for may_administer in [false, true] {
        let Ok(raw) = RawRegistration::parse(data) else { return };
        let Ok((_, metadata)) = register(raw, may_administer) else { continue };
        assert_eq!(metadata.check(may_administer), Ok(()));
        let written = serde_json::to_vec(&metadata).expect("metadata is JSON");
        let read: ClientMetadata =
            serde_json::from_slice(&written).expect("what is written is read");
        assert_eq!(read, metadata);
        let nothing = RawUpdate::parse(b"{}").ok().expect("an empty change");
        assert_eq!(update(&metadata, nothing, may_administer).as_ref(), Ok(&metadata));
        let text = String::from_utf8_lossy(&written);
        assert!(!text.contains("\"d\":"), "a private key is kept: {text}");
    }
}

/// A set of keys that is accepted holds 1 to 8 public ones, and is the same when it is read again.
pub(crate) fn jwks(data: &[u8]) {
    // Administrators send text; only then is every member read, also those that have no meaning.
    let text = std::str::from_utf8(data).unwrap_or_default();
    if let Ok(set) = serde_json::from_str::<PublicJwkSet>(text) {
        assert!((1..=8).contains(&set.keys().len()));
        let fetched = PublicJwkSet::decode(data).expect("what may be registered may be fetched");
        assert_eq!(fetched, set);
    }
    let Ok(set) = PublicJwkSet::decode(data) else { return };
    assert!((1..=8).contains(&set.keys().len()));
    let written = serde_json::to_vec(&set).expect("a set is JSON");
    assert!(!String::from_utf8_lossy(&written).contains("\"d\":"));
    assert_eq!(serde_json::from_slice::<PublicJwkSet>(&written).ok(), Some(set.clone()));
    assert_eq!(PublicJwkSet::decode(&written), Ok(set));
}

fn recorded() -> &'static [Vec<u8>] {
    static RECORDED: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    RECORDED.get_or_init(|| {
        let text = include_str!("../../../snapshots/ledger-1.jsonl");
        text.lines().map(|line| line.as_bytes().to_vec()).collect()
    })
}

/// A record that is read is written in one way, from which it is read the same; and an export with an
/// edited line is whole only if the edit changed nothing.
pub(crate) fn record(data: &[u8]) {
    let all = recorded();
    let bytes = edits::input(data, all);
    if let Ok(record) = Record::decode(&bytes) {
        let written = record.encode().expect("it was short enough");
        let again = Record::decode(&written).expect("what is written is read");
        assert_eq!(again.encode().expect("it was short enough"), written);
        assert_eq!(format!("{again:?}"), format!("{record:?}"));
    }
    let Some(first) = data.first().filter(|first| **first < 128) else { return };
    let edited = usize::from(*first) % all.len();
    // The line after it names its hash.
    let lines = all.iter().enumerate().take(edited + 2);
    let export: Vec<u8> = lines
        .flat_map(|(i, line)| {
            [if i == edited { bytes.clone() } else { line.clone() }, b"\n".to_vec()]
        })
        .flatten()
        .collect();
    let mut verifier = Verifier::default();
    let is_read = from_export(export.as_slice(), &mut verifier, |_| {}).is_ok();
    let is_whole = is_read && verifier.finish(End::Anywhere).is_ok();
    let is_last = all.len() == edited + 1;
    assert!(!is_whole || is_last || bytes == all[edited], "an edit was not noticed");
}

/// A block is read only as it is written; the checksum finds every edit.
pub(crate) fn block(data: &[u8]) {
    static BLOCKS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let blocks = BLOCKS.get_or_init(|| {
        let of = |records: &[Vec<u8>]| Block::encode(Seq(40), records).expect("a block");
        vec![
            of(&[b"{}".to_vec()]),
            of(&recorded()[..2]),
            of(&[vec![7; 40], Vec::new(), vec![8; 3]]),
        ]
    });
    let bytes = edits::input(data, blocks);
    let first = Seq(if data.last().is_some_and(|last| last % 16 == 0) { 41 } else { 40 });
    let Ok(block) = Block::decode(first, bytes.clone()) else { return };
    let records: Vec<Vec<u8>> = block.iter().map(|(_, record)| record.to_vec()).collect();
    assert_eq!(block.end().0 - block.first().0, records.len() as u64);
    assert_eq!(Block::encode(first, &records).expect("it was a block"), bytes);
}
