//! Every kind of damage to evidence, where it was done, what finds it, and what is said: generated
//! into `snapshots/tamper-matrix.txt`, and compared with it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use token_ledger::domain::event::Event;
use token_ledger::domain::record::Record;
use token_ledger::evidence::directory::DirectorySource;
use token_ledger::evidence::feed::{Unverified, from_export, from_source};
use token_ledger::evidence::keys::Keys;
use token_ledger::evidence::source::newest_note;
use token_ledger::evidence::stored::StoredSource;
use token_ledger::evidence::verifier::{End, Signed, Verifier};
use token_ledger::evidence::writer::TileDirectory;
use token_ledger::log::checkpoint::Checkpoint;
use token_ledger::log::leaf::leaf_hash;
use token_ledger::log::receipt::Receipt;
use token_ledger::types::id::Seq;

use crate::support::golden;
use crate::support::recorded::everything;
use crate::verify_cli::{head, signer};

type Log = Vec<Vec<u8>>;

fn lines(log: &[Vec<u8>]) -> Vec<u8> {
    log.iter().flat_map(|record| [record.as_slice(), b"\n"].concat()).collect()
}

fn keys(seed: u8) -> Keys {
    Keys::new(vec![signer(seed).verifier().clone()], Vec::new()).unwrap()
}

/// What `verify --export` says, with a checkpoint that the auditor kept or without.
fn of_export(export: &[u8], kept: Option<&[Vec<u8>]>) -> String {
    let place = "the kept checkpoint".to_owned();
    let signed = kept.map(|log| Signed { head: head(log), place });
    let mut verifier = Verifier::new(signed.into_iter().collect());
    let judged = from_export(export, &mut verifier, |_| {})
        .and_then(|()| Ok(verifier.finish(End::Anywhere)?));
    judged.map_or_else(|error| error.to_string(), |_| "NOT FOUND".to_owned())
}

/// What `verify --tiles` says of a directory.
fn of_tiles(path: &Path, keys: &Keys) -> String {
    let judge = || -> Result<(), Box<dyn std::error::Error>> {
        let source = DirectorySource::new(path);
        let opened = keys.open(&newest_note(&source)?, "checkpoint")?;
        let head = opened.checkpoint.head;
        let place = "its checkpoint".to_owned();
        let mut verifier = Verifier::new(vec![Signed { head, place }]);
        from_source(&source, head.size, &mut verifier, |_| {})?;
        verifier.finish(End::Whole).map_err(Unverified::from)?;
        Ok(())
    };
    let said = judge().map_or_else(|error| error.to_string(), |()| "NOT FOUND".to_owned());
    said.replace(&format!("{}/", path.display()), "")
}

fn chained_anew(log: &Log, change: impl Fn(&mut Record)) -> Log {
    let mut forged: Log = Vec::new();
    for bytes in log {
        let mut record = Record::decode(bytes).unwrap();
        change(&mut record);
        record.prev = forged.last().map(|before| leaf_hash(before));
        forged.push(record.encode().unwrap());
    }
    forged
}

fn other_reason(record: &mut Record) {
    if let Event::BlacklistAdded(data) = &mut record.event {
        data.reason = "another".to_owned();
    }
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

#[derive(Default)]
struct Matrix(String);

impl Matrix {
    fn row(&mut self, damage: &str, place: &str, by: &str, said: &str) {
        writeln!(self.0, "{damage}\n  where     {place}\n  found by  {by}\n  said      {said}\n")
            .unwrap();
    }
}

fn exports(matrix: &mut Matrix, log: &Log) {
    let export = lines(log);
    let by = "verify --export";
    let mut row = |damage: &str, place: &str, export: &[u8]| {
        matrix.row(damage, place, by, &of_export(export, None));
    };
    let at = export.len() / 2;
    row("one bit flipped", "an export, in the middle", &flipped(&export, at));
    row("truncated", "an export, inside a line", &export[..at]);
    row("the beginning cut off", "an export", &lines(&log[10..]));
    row("a record left out", "an export", &lines(&[&log[..20], &log[21..]].concat()));
    let mut swapped = log.clone();
    swapped.swap(30, 31);
    row("reordered", "an export", &lines(&swapped));
    row("a record repeated", "an export", &lines(&[&log[..20], &log[19..]].concat()));
    let other = chained_anew(log, |record| {
        if let Event::LedgerCreated(created) = &mut record.event {
            created.issuer = "https://other.example".to_owned();
        }
    });
    row("spliced with another ledger", "an export", &lines(&[&log[..40], &other[40..]].concat()));
    let long = [&export[..], &[b'x'; 20_000]].concat();
    row("a line longer than any record", "an export", &long);
    let forged = chained_anew(log, |record| {
        if let Event::RefreshTokenRetried(data) = &mut record.event {
            data.count = 7;
        }
    });
    row(
        "a record altered, all after it chained anew",
        "an export, refresh_token.retried",
        &lines(&forged),
    );
    let by = "verify --export --checkpoint KEPT";
    let mut row = |damage: &str, place: &str, log: &[Vec<u8>], kept: &[Vec<u8>]| {
        matrix.row(damage, place, by, &of_export(&lines(log), Some(kept)));
    };
    row("whole records cut off at the end", "an export", &log[..60], log);
    let forged = chained_anew(log, other_reason);
    row("a reason altered, all after it chained anew", "an export, blacklist.added", &forged, log);
    row("rolled back and grown again", "an export", &forged, &log[..60]);
}

/// Rewrites one file of a directory.
fn edit(name: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) -> impl Fn(&Path) {
    let name = name.to_owned();
    move |path| {
        let file = path.join(&name);
        fs::write(&file, change(fs::read(&file).unwrap())).unwrap();
    }
}

fn tiles(matrix: &mut Matrix, log: &Log, write: impl Fn(&Path)) {
    let by = "verify --tiles --vkey";
    let mut row = |damage: &str, place: &str, change: &dyn Fn(&Path), key: u8| {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        change(folder.path());
        matrix.row(damage, place, by, &of_tiles(folder.path(), &keys(key)));
    };
    let size = log.len();
    let bundle = format!("tile/entries/000.p/{size}");
    let tile = format!("tile/0/000.p/{size}");
    let flip = |bytes: Vec<u8>| flipped(&bytes, bytes.len() / 2);
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 5].to_vec();
    let more = |bytes: Vec<u8>| [bytes, vec![0; 7]].concat();
    row("one bit flipped", "a bundle of records", &edit(&bundle, flip), 1);
    row("truncated", "a bundle of records", &edit(&bundle, cut), 1);
    row("bytes added", "a bundle of records", &edit(&bundle, more), 1);
    row("missing", "a bundle of records", &|path| fs::remove_file(path.join(&bundle)).unwrap(), 1);
    row("one bit flipped", "a tile of hashes", &edit(&tile, flip), 1);
    row("truncated", "a tile of hashes", &edit(&tile, cut), 1);
    row("missing", "a tile of hashes", &|path| fs::remove_file(path.join(&tile)).unwrap(), 1);
    row(
        "one bit flipped",
        "the signature of the checkpoint",
        &edit("checkpoint", |bytes| {
            let text = String::from_utf8(bytes).unwrap();
            let at = text.len() - 20;
            let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            [&text[..at], other, &text[at + 1..]].concat().into_bytes()
        }),
        1,
    );
    row(
        "malformed",
        "the checkpoint, no empty line",
        &edit("checkpoint", |bytes| {
            String::from_utf8(bytes).unwrap().replace("\n\n", "\n").into_bytes()
        }),
        1,
    );
    row(
        "another size",
        "the checkpoint",
        &edit("checkpoint", |bytes| {
            String::from_utf8(bytes)
                .unwrap()
                .replacen(&format!("\n{size}\n"), "\n60\n", 1)
                .into_bytes()
        }),
        1,
    );
    row(
        "another origin",
        "the checkpoint",
        &edit("checkpoint", |bytes| {
            String::from_utf8(bytes).unwrap().replacen("ledger", "lodger", 1).into_bytes()
        }),
        1,
    );
    row("signed by another key", "the checkpoint", &|_| {}, 2);
    let other = head(&log[..size - 1]).root;
    row(
        "a root of another tree, signed by the log itself",
        "the checkpoint",
        &|path: &Path| {
            let (size, root) = (size as u64, other);
            let head = token_ledger::log::tree::TreeHead { size, root };
            let origin = "ledger.example".parse().unwrap();
            let note = Checkpoint { origin, head }.sign(&signer(1));
            fs::write(path.join("checkpoint"), note.encode()).unwrap();
        },
        1,
    );
}

fn receipts(matrix: &mut Matrix, log: &Log) {
    let origin: token_ledger::log::checkpoint::Origin = "ledger.example".parse().unwrap();
    let two = &log[..2];
    let checkpoint = Checkpoint { origin: origin.clone(), head: head(two) }.sign(&signer(1));
    let (index, proof) = (Seq(1), vec![leaf_hash(&two[0])]);
    let receipt = Receipt { extra: Vec::new(), index, proof, checkpoint };
    let key = signer(1);
    let mut row = |damage: &str, text: String, record: &[u8]| {
        let said = Receipt::parse(text.as_bytes())
            .and_then(|receipt| receipt.verify(record, &origin, key.verifier(), &[]));
        let said = said.map_or_else(|error| error.to_string(), |_| "NOT FOUND".to_owned());
        matrix.row(damage, "a receipt", "verify --receipt --record --vkey", &said);
    };
    let hash = receipt.encode().lines().nth(2).unwrap().to_owned();
    row("for another record", receipt.encode(), &two[0]);
    row("its index changed", receipt.encode().replacen("index 1", "index 0", 1), &two[1]);
    row("a hash left out", receipt.encode().replacen(&format!("{hash}\n"), "", 1), &two[1]);
    let many = vec![hash.as_str(); 65].join("\n");
    row("an oversized proof", receipt.encode().replacen(&hash, &many, 1), &two[1]);
    let twice = [hash.as_str(); 2].join("\n");
    row("a hash too many", receipt.encode().replacen(&hash, &twice, 1), &two[1]);
    row("oversized as a whole", receipt.encode().repeat(1000), &two[1]);
}

#[test]
fn every_damage_in_the_matrix_is_found_as_it_says() {
    let world = everything().world;
    let log = world.bytes();
    let source = StoredSource::new(world.store.as_ref(), None);
    let origin = || "ledger.example".parse().unwrap();
    let note = Checkpoint { origin: origin(), head: head(&log) }.sign(&signer(1));
    let write = |path: &Path| {
        TileDirectory::open(path).unwrap().extend(&source, &note).unwrap();
    };
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    assert_eq!(of_tiles(folder.path(), &keys(1)), "NOT FOUND", "undamaged");
    assert_eq!(of_export(&lines(&log), Some(&log)), "NOT FOUND", "undamaged");
    let mut matrix = Matrix::default();
    exports(&mut matrix, &log);
    tiles(&mut matrix, &log, write);
    receipts(&mut matrix, &log);
    assert!(!matrix.0.contains("NOT FOUND"), "{}", matrix.0);
    golden::compare("tamper-matrix.txt", &matrix.0);
}
