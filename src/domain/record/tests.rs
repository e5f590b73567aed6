use std::path::Path;

use super::{Decoder, Origin, Record};
use crate::domain::event::{ClientDisabled, Event, GrantCreated, How};
use crate::domain::scan::{Scan, Shared};
use crate::types::resource::{Resource, Resources};
use crate::types::scope::Scope;

/// Data of many shapes, which nobody waits for.
const LEFT_TO_THE_GENERAL_READER: [&str; 5] =
    ["client.registered", "client.updated", "blacklist.added", "key.added", "audit.read"];

/// All recorded events, with their file.
fn recorded() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots/events");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let lines = files.flat_map(|file| {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        text.lines().map(|line| (name.clone(), line.to_owned())).collect::<Vec<_>>()
    });
    let lines: Vec<_> = lines.collect();
    assert!(30 < lines.len(), "the recorded events were not found");
    lines
}

fn scan(bytes: &[u8], shared: &mut Shared) -> Option<Record> {
    Record::scan(&mut Scan::of(bytes, shared))
}

#[test]
fn what_is_written_is_scanned_and_means_what_the_general_reader_says() {
    let mut shared = Shared::with_places();
    for (name, line) in recorded() {
        let general = Record::parse(line.as_bytes()).unwrap();
        // Twice: the second time much of it is remembered.
        for _ in 0..2 {
            let scanned = scan(line.as_bytes(), &mut shared);
            let is_odd = !line.is_ascii() || line.contains('\\');
            if is_odd || LEFT_TO_THE_GENERAL_READER.contains(&general.event.kind()) {
                assert_eq!(scanned, None, "{name}: {line}");
            } else {
                assert_eq!(scanned.as_ref(), Some(&general), "{name}: {line}");
            }
        }
    }
}

#[test]
fn whatever_is_scanned_the_general_reader_takes_with_the_same_meaning() {
    let (mut shared, mut without_origins) = (Shared::with_places(), Shared::without_origins());
    let mut scanned = 0;
    let mut check = |edited: Vec<u8>| {
        let found = scan(&edited, &mut shared);
        let bare = found.clone().map(|found| Record { origin: None, ..found });
        assert_eq!(scan(&edited, &mut without_origins), bare);
        let Some(found) = found else { return };
        scanned += 1;
        let text = String::from_utf8_lossy(&edited).into_owned();
        match Record::parse(&edited) {
            Ok(general) => assert_eq!(found, general, "{text}"),
            Err(error) => panic!("{error}: {text}"),
        }
    };
    let mut lines = recorded();
    // One of each type says enough about the envelope.
    lines.sort_unstable();
    lines.dedup_by(|(this, _), (before, _)| this == before);
    for (_, line) in lines {
        let bytes = line.as_bytes();
        for at in 0..bytes.len() {
            let (before, after) = bytes.split_at(at);
            let edit = |middle: &[u8], after: &[u8]| [before, middle, after].concat();
            for c in [b'"', b'0', b',', b'A', b'}', b'\\', b'\n', 0x7F, 0xC3] {
                check(edit(&[c], &after[1..]));
            }
            check(edit(&[], &after[1..]));
            check(edit(&after[..1], after));
            check(edit(b" ", after));
        }
        // Each member twice, and each in the place of the one before.
        let members: Vec<&str> = line.split(',').collect();
        for i in 1..members.len() {
            let twice = [&members[..i], &members[i - 1..]].concat();
            check(twice.join(",").into_bytes());
            let mut swapped = members.clone();
            swapped.swap(i - 1, i);
            check(swapped.join(",").into_bytes());
        }
    }
    assert!(1000 < scanned, "{scanned}: most edits within an id or a number are another record");
}

#[test]
fn other_ways_to_write_the_same_record_are_read_by_the_general_reader() {
    let (_, line) =
        recorded().into_iter().find(|(name, _)| name.starts_with("refresh_token.rotated")).unwrap();
    let expected = Record::decode(line.as_bytes()).unwrap();
    let client = r#""client":"photos","#;
    for (was, is) in [
        (r#"{"seq""#, r#"{ "seq""#),
        (r#""photos""#, r#""\u0070hotos""#),
        (r#"{"from":3,"to":4,"#, r#"{"to":4,"from":3,"#),
        (client, ""),
        (r#""v":1,"#, r#""v":1,"subject":null,"#),
    ] {
        let mut other = line.replacen(was, is, 1);
        if is.is_empty() {
            other = other.replacen(r#""prev""#, &format!("{client}\"prev\""), 1);
        }
        if is.contains("null") {
            // Named twice: that is no record, though its parts could be scanned.
            assert!(Decoder::default().decode(other.as_bytes()).is_err(), "{other}");
            continue;
        }
        assert_eq!(scan(other.as_bytes(), &mut Shared::default()), None, "{other}");
        assert_eq!(Decoder::default().decode(other.as_bytes()).unwrap(), expected, "{other}");
    }
}

#[test]
fn a_record_is_written_again_as_it_was_recorded() {
    for (name, line) in recorded() {
        let record = Record::parse(line.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(record.encode().unwrap()).unwrap(), line, "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_written_as_serde_json_writes_it(text in "[ -~\u{0}-\u{1f}\u{7f}é\u{2028}\"\\\\]{0,40}") {
        let mut record = recorded().into_iter().find_map(|(_, line)| {
            let record = Record::parse(line.as_bytes()).unwrap();
            matches!(record.event, Event::ClientDisabled(_)).then_some(record)
        });
        let record = record.as_mut().expect("a client that was disabled");
        record.event = ClientDisabled { reason: text.clone() }.into();
        record.origin = Some(Origin::Clear { address: text.clone(), user_agent: text.clone() });
        let line = String::from_utf8(record.encode().unwrap()).unwrap();
        let json = serde_json::to_string(&text).unwrap();
        proptest::prop_assert!(line.ends_with(&format!(",\"data\":{{\"reason\":{json}}}}}")), "{line}");
        let origin = format!(",\"origin\":{{\"address\":{json},\"user_agent\":{json}}},\"back\":");
        proptest::prop_assert!(line.contains(&origin), "{line}");
        proptest::prop_assert_eq!(&Record::parse(line.as_bytes()).unwrap(), &*record);
    }

    #[test]
    fn a_list_is_written_as_serde_json_writes_it(count in 0_usize..4) {
        let resources: Vec<Resource> =
            (0..count).map(|i| format!("https://{i}.example/a?b=[c]").parse().unwrap()).collect();
        let resources = Resources::new(resources).unwrap();
        let scope: Scope = ["a", "b:c", "d/e"].into_iter().take(count).collect::<Vec<_>>().join(" ").parse().unwrap();
        let line = recorded().into_iter().map(|(_, line)| Record::parse(line.as_bytes()).unwrap());
        let mut record = line.into_iter().find(|record| matches!(record.event, Event::GrantCreated(_))).unwrap();
        let data = GrantCreated { how: How::ClientCredentials, scope, resources, code: None };
        let json = serde_json::to_string(&(&data.scope, &data.resources)).unwrap();
        let (scope, resources) = json[1..json.len() - 1].split_once(",[").unwrap();
        record.event = data.clone().into();
        let line = String::from_utf8(record.encode().unwrap()).unwrap();
        let end = format!(",\"data\":{{\"how\":\"client_credentials\",\"scope\":{scope},\"resources\":[{resources},\"code\":null}}}}");
        proptest::prop_assert!(line.ends_with(&end), "{line} {end}");
    }
}
