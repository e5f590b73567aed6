//! A log written out as a directory of tiles: complete, immutable, extended and never half-written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;
use token_ledger::crypto::note::Note;
use token_ledger::crypto::note_signer::NoteSigner;
use token_ledger::evidence::builder::TileBuilder;
use token_ledger::evidence::directory::DirectorySource;
use token_ledger::evidence::source::{LogSource, SourceError, entries, hashes, newest_note};
use token_ledger::evidence::stored::StoredSource;
use token_ledger::evidence::writer::{TileDirectory, WriteError, Written};
use token_ledger::log::checkpoint::{Checkpoint, Origin};
use token_ledger::log::leaf::leaf_hash;
use token_ledger::log::memory::MemoryStore;
use token_ledger::log::store::Store;
use token_ledger::log::tile::{TileId, TileKind, tiles_between};
use token_ledger::log::tree::{Frontier, TreeHead};
use token_ledger::types::id::Seq;

fn record(seq: u64) -> Vec<u8> {
    format!("record {seq}").into_bytes()
}

fn store(size: u64) -> MemoryStore {
    let store = MemoryStore::new();
    let records: Vec<_> = (0..size).map(record).collect();
    for (i, batch) in records.chunks(100).enumerate() {
        store.append(Seq(i as u64 * 100), batch).unwrap();
    }
    store
}

fn head(size: u64) -> TreeHead {
    let mut frontier = Frontier::default();
    (0..size).for_each(|seq| frontier.append(leaf_hash(&record(seq))));
    frontier.head()
}

fn signer() -> NoteSigner {
    NoteSigner::new("log.example".parse().unwrap(), &[7; 32])
}

fn note_over(origin: &str, head: TreeHead) -> Note {
    let origin: Origin = origin.parse().unwrap();
    Checkpoint { origin, head }.sign(&signer())
}

fn note(size: u64) -> Note {
    note_over("log.example", head(size))
}

fn extend(directory: &Path, store: &MemoryStore, size: u64) -> Result<Written, WriteError> {
    let source = StoredSource::new(store, None);
    TileDirectory::open(directory)?.extend(&source, &note(size))
}

fn tiles() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// All that a reader of the checkpoint needs is there, and is what the records give.
fn check(directory: &Path, size: u64) {
    let store = store(size);
    let (expected, found) = (StoredSource::new(&store, None), DirectorySource::new(directory));
    for tile in tiles_between(0, size) {
        match tile.kind() {
            TileKind::Entries => {
                assert_eq!(entries(&found, tile).unwrap(), entries(&expected, tile).unwrap());
            }
            TileKind::Hashes(_) => {
                assert_eq!(hashes(&found, tile).unwrap(), hashes(&expected, tile).unwrap());
            }
        }
    }
    assert_eq!(newest_note(&found).unwrap(), note(size));
    assert_eq!(TileBuilder::resume(&found, size).unwrap().head(), head(size));
}

#[test]
fn a_directory_holds_the_tiles_of_its_checkpoint_at_every_size() {
    for size in [0, 1, 2, 255, 256, 257, 513, 66_000] {
        let directory = tiles();
        let written = extend(directory.path(), &store(size), size).unwrap();
        assert_eq!(written.records, size);
        check(directory.path(), size);
    }
}

#[test]
fn a_directory_is_extended_and_what_is_there_is_not_written_again() {
    let (directory, store) = (tiles(), store(66_000));
    let mut before = 0;
    for size in [1, 1, 3, 256, 300, 511, 512, 65_536, 65_537, 66_000] {
        let written = extend(directory.path(), &store, size).unwrap();
        assert_eq!(written.records, size - before);
        check(directory.path(), size);
        before = size;
    }
    // Narrow tiles are dropped once their full one is there.
    assert!(!directory.path().join("tile/0/000.p").exists());
    assert!(directory.path().join("tile/entries/257.p/208").exists());
    let again = extend(directory.path(), &store, 66_000).unwrap();
    assert_eq!(again, Written { records: 0, files: 1 });
}

#[test]
fn an_interrupted_extension_is_finished_by_the_next_one() {
    let (directory, whole, store) = (tiles(), tiles(), store(600));
    extend(directory.path(), &store, 300).unwrap();
    extend(whole.path(), &store, 600).unwrap();
    // As if it had been killed before its last tile and the checkpoint, with a file half written.
    let killed = ["tile/entries/001", "tile/0/001", "tile/entries/002.p/88"];
    for file in killed {
        fs::create_dir_all(directory.path().join(file).parent().unwrap()).unwrap();
        fs::copy(whole.path().join(file), directory.path().join(file)).unwrap();
    }
    fs::create_dir_all(directory.path().join("tile/0/002.p")).unwrap();
    fs::write(directory.path().join("tile/0/002.p/88.tmp"), b"half").unwrap();
    let mut held = TileDirectory::open(directory.path()).unwrap();
    assert_eq!(held.head(), head(300));
    let written = held.extend(&StoredSource::new(&store, None), &note(600)).unwrap();
    // The tile that was missing, that of level 1, and the checkpoint.
    assert_eq!(written, Written { records: 300, files: 3 });
    check(directory.path(), 600);
    assert!(!directory.path().join("tile/0/002.p/88.tmp").exists());
}

#[test]
fn what_no_checkpoint_covers_gives_way_to_what_one_does() {
    let (directory, store) = (tiles(), store(600));
    extend(directory.path(), &store, 200).unwrap();
    // Left by one who was killed before the root was known: nobody had vouched for these bytes.
    for file in ["tile/entries/000", "tile/entries/001", "tile/0/001", "tile/1/000.p/2"] {
        let file = directory.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, b"of another log").unwrap();
    }
    fs::write(directory.path().join("tile/0/000"), vec![1; 100_000]).unwrap();
    extend(directory.path(), &store, 600).unwrap();
    check(directory.path(), 600);
}

#[test]
fn a_file_that_the_checkpoint_covers_is_never_replaced() {
    let (directory, store) = (tiles(), store(600));
    extend(directory.path(), &store, 300).unwrap();
    let tile = directory.path().join("tile/1/000.p/1");
    let mut held = TileDirectory::open(directory.path()).unwrap();
    // Between its opening and the extension, which still needs this tile.
    fs::write(&tile, b"of another log").unwrap();
    let error = held.extend(&StoredSource::new(&store, None), &note(400)).unwrap_err();
    assert!(matches!(&error, WriteError::Differs { path } if *path == tile), "{error}");
    assert_eq!(fs::read(&tile).unwrap(), b"of another log");
    assert_eq!(newest_note(&DirectorySource::new(directory.path())).unwrap(), note(300));
}

/// A source that has nothing to say from some record on.
struct CutOff<'a>(StoredSource<'a>, u64);

impl LogSource for CutOff<'_> {
    fn place(&self, name: &str) -> String {
        self.0.place(name)
    }

    fn checkpoint(&self) -> Result<Option<Vec<u8>>, SourceError> {
        self.0.checkpoint()
    }

    fn tile(&self, tile: TileId) -> Result<Option<Vec<u8>>, SourceError> {
        if self.1 <= tile.start() { Ok(None) } else { self.0.tile(tile) }
    }
}

#[test]
fn an_extension_that_fails_leaves_nothing_of_its_own() {
    let (directory, store) = (tiles(), store(600));
    extend(directory.path(), &store, 100).unwrap();
    let mut held = TileDirectory::open(directory.path()).unwrap();
    let source = CutOff(StoredSource::new(&store, None), 512);
    let error = held.extend(&source, &note(600)).unwrap_err();
    assert!(matches!(error, WriteError::Source(_)), "{error}");
    for file in ["tile/entries/000", "tile/entries/001", "tile/0/000", "tile/0/001"] {
        assert!(!directory.path().join(file).exists(), "{file}");
    }
    check(directory.path(), 100);
    held.extend(&StoredSource::new(&store, None), &note(600)).unwrap();
    check(directory.path(), 600);
}

#[test]
fn a_fork_leaves_the_directory_as_it_was() {
    let (directory, store) = (tiles(), store(600));
    extend(directory.path(), &store, 100).unwrap();
    let source = StoredSource::new(&store, None);
    let mut held = TileDirectory::open(directory.path()).unwrap();
    let forked = note_over("log.example", TreeHead { size: 600, root: head(599).root });
    let error = held.extend(&source, &forked).unwrap_err();
    assert!(matches!(error, WriteError::Root { size: 600 }), "{error}");
    assert!(!directory.path().join("tile/entries/000").exists(), "nothing of the fork stays");
    assert_eq!(held.head(), head(100));
    held.extend(&source, &note(600)).unwrap();
    check(directory.path(), 600);
    let error = held.extend(&source, &note(599)).unwrap_err();
    assert!(matches!(error, WriteError::Shorter { held: 600, offered: 599, .. }), "{error}");
    let error = held.extend(&source, &note_over("other.example", head(600))).unwrap_err();
    assert!(matches!(error, WriteError::OtherLog { .. }), "{error}");
}

#[test]
fn a_directory_whose_tiles_were_changed_is_not_extended() {
    let (directory, store) = (tiles(), store(600));
    extend(directory.path(), &store, 300).unwrap();
    let tile = directory.path().join("tile/0/001.p/44");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[5] ^= 1;
    fs::write(&tile, bytes).unwrap();
    let error = extend(directory.path(), &store, 600).unwrap_err();
    assert!(matches!(error, WriteError::Damaged { size: 300, .. }), "{error}");
    fs::remove_file(&tile).unwrap();
    let error = extend(directory.path(), &store, 600).unwrap_err();
    assert!(error.to_string().ends_with("tile/0/001.p/44 is missing"), "{error}");
}

#[test]
fn what_cannot_be_written_stands_under_no_name() {
    let (directory, store) = (tiles(), store(300));
    extend(directory.path(), &store, 100).unwrap();
    let blocked = directory.path().join("tile/entries/001.p");
    // A file where a directory should be: as final as a full disk, and root meets it too.
    fs::write(&blocked, b"").unwrap();
    let error = extend(directory.path(), &store, 300).unwrap_err();
    assert!(matches!(error, WriteError::File(_)), "{error}");
    assert!(error.to_string().contains("001.p"), "{error}");
    assert_eq!(newest_note(&DirectorySource::new(directory.path())).unwrap(), note(100));
    fs::remove_file(&blocked).unwrap();
    extend(directory.path(), &store, 300).unwrap();
    check(directory.path(), 300);
    let checkpoint = fs::metadata(directory.path().join("checkpoint")).unwrap();
    assert_eq!(checkpoint.permissions().mode() & 0o777, 0o600);
}

/// What one process has not vouched for yet, another may have by now: so there is one at a time.
#[test]
fn two_do_not_write_to_one_directory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiles");
    let first = TileDirectory::open(&path).unwrap();
    assert!(matches!(TileDirectory::open(&path), Err(WriteError::InUse { .. })));
    drop(first);
    TileDirectory::open(&path).unwrap();
}
