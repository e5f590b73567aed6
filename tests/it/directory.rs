//! The data directory: what it refuses, what it keeps, and what a kill leaves.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use token_ledger::backup::doctor::examine;
use token_ledger::backup::findings::Finding;
use token_ledger::clock::ManualClock;
use token_ledger::entropy::{Entropy, OsEntropy};
use token_ledger::ledger::open::{Beginning, create};
use token_ledger::log::directory::{CleanMark, DataDirectory, DirectoryError, Marker};
use token_ledger::log::file::write_durably;
use token_ledger::log::rescue::LogCopy;
use token_ledger::log::sled::SledRows;
use token_ledger::types::digest::LeafHash;
use token_ledger::types::id::Seq;
use token_ledger::types::time::Timestamp;

use crate::support::server::administrator;

const CACHE: u64 = 1 << 20;

fn marker() -> Marker {
    Marker::new("https://as.example".to_owned(), Timestamp::from_seconds(1_795_407_153))
}

fn created() -> (TempDir, PathBuf, DataDirectory) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("ledger");
    let directory = DataDirectory::create(&path, &marker()).unwrap();
    directory.complete().unwrap();
    (root, path, directory)
}

/// The error's text, which must name the path and be of the expected variant.
macro_rules! refused {
    ($result:expr, $variant:pat) => {{
        let error = $result.err().unwrap();
        assert!(matches!(error, $variant), "{error:?}");
        error.to_string()
    }};
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_created_directory_is_private_and_opens_again() {
    let (_root, path, directory) = created();
    drop(directory);
    let text = fs::read_to_string(path.join("token-ledger.json")).unwrap();
    assert_eq!(
        text,
        r#"{"format":2,"issuer":"https://as.example","created_at":"2026-11-23T04:12:33.000000Z"}"#
    );
    assert_eq!(mode(&path), 0o700);
    for name in names(&path) {
        assert_eq!(mode(&path.join(&name)), 0o600, "{name}");
    }
    let directory = DataDirectory::open(&path).unwrap();
    assert_eq!(directory.marker(), &marker());
    assert_eq!(directory.log_dir(), path.join("log"));
    assert_eq!(directory.keys_file(), path.join("keys.json"));
    assert_eq!(directory.vault_dir(), path.join("vault-000001"));
}

#[test]
fn only_an_empty_directory_becomes_a_ledger() {
    let (_root, path, directory) = created();
    drop(directory);
    let before = names(&path);
    let text = refused!(DataDirectory::create(&path, &marker()), DirectoryError::NotEmpty { .. });
    assert!(text.contains("choose a new or empty directory"), "{text}");
    assert_eq!(names(&path), before);

    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("lost+found")).unwrap();
    DataDirectory::create(root.path(), &marker()).unwrap();
}

#[test]
fn a_missing_or_foreign_directory_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("ledger");
    let text = refused!(DataDirectory::open(&path), DirectoryError::Missing { .. });
    let shown = path.display().to_string();
    assert!(text.contains(&format!("`token-ledger init --data {shown} ")), "{text}");
    assert!(!path.exists());

    let text = refused!(DataDirectory::open(root.path()), DirectoryError::Foreign { .. });
    assert!(text.contains("token-ledger.json"), "{text}");
    assert_eq!(names(root.path()), [""; 0]);
}

/// Asks the system so many times and then fails, as everything does when a process is killed.
struct Fading {
    left: AtomicUsize,
}

impl Entropy for Fading {
    fn fill(&self, bytes: &mut [u8]) {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        left.expect("no more");
        OsEntropy.fill(bytes);
    }
}

#[test]
fn a_ledger_is_whole_or_told_to_be_what_an_interrupted_init_left() {
    let root = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_795_407_153)));
    let made = (0..).position(|times| {
        let path = root.path().join(times.to_string());
        let beginning = Beginning {
            issuer: "https://as.example",
            origin: "as.example",
            administrator: administrator(),
        };
        let entropy = Fading { left: AtomicUsize::new(times) };
        let making = || create(&path, beginning, CACHE, clock.clone(), &entropy).is_ok();
        if catch_unwind(AssertUnwindSafe(making)).is_ok_and(|is_made| is_made) {
            return true;
        }
        let before = names(&path);
        let text = refused!(DataDirectory::open(&path), DirectoryError::Unfinished { .. });
        assert!(text.contains("remove it and run init again"), "{text}");
        refused!(DataDirectory::create(&path, &marker()), DirectoryError::Unfinished { .. });
        let found = examine(&path, None);
        assert!(!found.is_usable(), "{found:?}");
        let told = |finding: &Finding| finding.what.contains("an init that was interrupted");
        assert!(found.findings.iter().all(told), "and nothing else: {found:?}");
        assert_eq!(names(&path), before);
        false
    });
    // Keys, administrator, and a request for each record: it did fail at many places.
    assert!(made.unwrap() > 8, "{made:?}");
}

#[test]
fn a_directory_that_is_being_made_is_in_use() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("ledger");
    let directory = DataDirectory::create(&path, &marker()).unwrap();
    refused!(DataDirectory::open(&path), DirectoryError::InUse { .. });
    refused!(DataDirectory::create(&path, &marker()), DirectoryError::InUse { .. });
    directory.complete().unwrap();
    drop(directory);
    DataDirectory::open(&path).unwrap();
}

#[test]
fn a_served_ledger_that_lost_its_marker_is_not_taken_for_an_interrupted_init() {
    for of_others in ["reached", "snapshots", "notes.txt"] {
        let (_root, path, directory) = created();
        drop(directory);
        fs::remove_file(path.join("token-ledger.json")).unwrap();
        refused!(DataDirectory::open(&path), DirectoryError::Unfinished { .. });
        fs::write(path.join(of_others), "").unwrap();
        let text = refused!(DataDirectory::open(&path), DirectoryError::Foreign { .. });
        assert!(text.contains("put that file back"), "{text}");
        refused!(DataDirectory::create(&path, &marker()), DirectoryError::NotEmpty { .. });
    }
}

#[test]
fn a_directory_has_one_owner_at_a_time() {
    let (_root, path, directory) = created();
    let text = refused!(DataDirectory::open(&path), DirectoryError::InUse { .. });
    assert!(text.contains(&format!("fuser {}/lock", path.display())), "{text}");
    drop(directory);
    DataDirectory::open(&path).unwrap();
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let (_root, path, directory) = created();
    drop(directory);
    fs::write(path.join("token-ledger.json"), r#"{"format":7,"more":[]}"#).unwrap();
    let refused = DataDirectory::open(&path).unwrap_err();
    let DirectoryError::NewerFormat { found, supported, .. } = refused else { panic!("{refused}") };
    assert_eq!((found, supported), (7, 2));
    assert!(refused.to_string().contains("run a newer token-ledger"));
}

#[test]
fn a_damaged_marker_is_refused() {
    let (_root, path, directory) = created();
    drop(directory);
    for text in ["", "{", r#"{"format":1}"#, r#"{"format":0.5}"#] {
        fs::write(path.join("token-ledger.json"), text).unwrap();
        refused!(DataDirectory::open(&path), DirectoryError::Marker { .. });
    }
}

#[test]
fn a_path_that_is_a_file_is_an_error_with_its_name() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("ledger");
    fs::write(&path, "").unwrap();
    let text = refused!(DataDirectory::open(&path), DirectoryError::Io(_));
    assert!(text.contains("ledger/token-ledger.json"), "{text}");
    refused!(DataDirectory::create(&path, &marker()), DirectoryError::Io(_));
    let nowhere = root.path().join("no/such/parent");
    refused!(DataDirectory::create(&nowhere, &marker()), DirectoryError::Io(_));
}

#[test]
fn a_clean_mark_is_taken_once() {
    let (_root, path, directory) = created();
    assert_eq!(directory.take_clean_mark().unwrap(), None);
    let mark = CleanMark { seq: Seq(41), leaf: LeafHash::from_bytes([7; 32]) };
    directory.leave_clean_mark(&mark).unwrap();
    assert_eq!(mode(&path.join("clean")), 0o600);
    for _ in 0..2 {
        assert_eq!(directory.clean_mark().unwrap().as_ref(), Some(&mark), "who looks leaves it");
    }
    assert_eq!(directory.take_clean_mark().unwrap(), Some(mark));
    assert_eq!(directory.take_clean_mark().unwrap(), None);

    fs::write(path.join("clean"), "{").unwrap();
    for _ in 0..2 {
        refused!(directory.clean_mark(), DirectoryError::CleanMark { .. });
        refused!(directory.take_clean_mark(), DirectoryError::CleanMark { .. });
    }
}

#[test]
fn the_log_is_copied_before_recovery_and_an_unconfirmed_copy_is_kept() {
    let (_root, path, directory) = created();
    let copy = path.join("log.before-recovery");
    assert_eq!(directory.keep_copy_of_log(100).unwrap(), LogCopy::NoLog);
    directory.confirm_recovery().unwrap();

    let log = directory.log_dir();
    fs::create_dir_all(log.join("blobs")).unwrap();
    fs::write(log.join("db"), [1; 60]).unwrap();
    fs::write(log.join("blobs/17"), [2; 40]).unwrap();
    // A copy that a kill interrupted.
    fs::create_dir(path.join("log.before-recovery.tmp")).unwrap();
    fs::write(path.join("log.before-recovery.tmp/db"), "half").unwrap();
    // Either kind of copy, as the file system can.
    let made = directory.keep_copy_of_log(100).unwrap();
    let reflinked = LogCopy::Reflinked { path: copy.clone() };
    assert!(made == reflinked || made == LogCopy::Copied { path: copy.clone(), bytes: 100 });
    assert_eq!(fs::read(copy.join("db")).unwrap(), [1; 60]);
    assert_eq!(fs::read(copy.join("blobs/17")).unwrap(), [2; 40]);
    assert!(!path.join("log.before-recovery.tmp").exists());
    assert_eq!((mode(&copy), mode(&copy.join("db"))), (0o700, 0o600));

    // A restart loop over a log that recovery has changed.
    fs::write(log.join("db"), [3; 60]).unwrap();
    assert_eq!(
        directory.keep_copy_of_log(100).unwrap(),
        LogCopy::EarlierKept { path: copy.clone() }
    );
    assert_eq!(fs::read(copy.join("db")).unwrap(), [1; 60]);

    directory.confirm_recovery().unwrap();
    assert_eq!(directory.keep_copy_of_log(100).unwrap(), made);
    assert_eq!(fs::read(copy.join("db")).unwrap(), [3; 60]);
}

#[test]
fn finished_files_of_records_are_linked_into_the_copy_and_the_newest_is_copied() {
    let (_root, path, directory) = created();
    let (log, copy) = (directory.log_dir(), path.join("log.before-recovery"));
    fs::create_dir(&log).unwrap();
    let segment = |first: u64| format!("records-{first:020}");
    for first in [0, 70, 1_000] {
        fs::write(log.join(segment(first)), [7; 1_000]).unwrap();
    }
    fs::write(log.join("db"), [1; 60]).unwrap();
    // Only what is copied counts.
    let made = directory.keep_copy_of_log(1_060).unwrap();
    let is_copied = made == LogCopy::Copied { path: copy.clone(), bytes: 1_060 };
    assert!(is_copied || made == LogCopy::Reflinked { path: copy.clone() });
    let file = |path: PathBuf| fs::metadata(path).unwrap().ino();
    for (first, is_linked) in [(0, true), (70, true), (1_000, false)] {
        let name = segment(first);
        assert_eq!(file(log.join(&name)) == file(copy.join(&name)), is_linked, "{name}");
        assert_eq!(fs::read(copy.join(name)).unwrap(), [7; 1_000]);
    }
}

#[test]
fn a_directory_of_an_older_format_is_raised_once() {
    let (_root, path, directory) = created();
    let marker = path.join("token-ledger.json");
    let newest = fs::read_to_string(&marker).unwrap();
    drop(directory);
    fs::write(&marker, newest.replace("\"format\":2", "\"format\":1")).unwrap();
    let directory = DataDirectory::open(&path).unwrap();
    assert!(fs::read_to_string(&marker).unwrap().contains("\"format\":1"));
    directory.raise_format().unwrap();
    assert_eq!(fs::read_to_string(&marker).unwrap(), newest);
}

#[test]
fn a_log_that_is_too_long_to_copy_is_said_to_be() {
    let (_root, path, directory) = created();
    fs::create_dir(directory.log_dir()).unwrap();
    fs::write(directory.log_dir().join("db"), [1; 60]).unwrap();
    let copy = path.join("log.before-recovery");
    let skipped = directory.keep_copy_of_log(59).unwrap();
    let reflinked = LogCopy::Reflinked { path: copy.clone() };
    assert!(skipped == LogCopy::Skipped { bytes: 60, bytes_max: 59 } || skipped == reflinked);
    assert_eq!(copy.exists(), skipped == reflinked);
    assert!(!path.join("log.before-recovery.tmp").exists());
}

#[test]
fn a_rewritten_vault_takes_the_place_of_the_old_one() {
    let (_root, path, directory) = created();
    let mut rows = SledRows::create(&directory.vault_dir(), CACHE).unwrap();
    rows.put(&[(b"a", b"1")]).unwrap();
    for number in 2..5 {
        let old = directory.vault_dir();
        let next = directory.next_vault_dir().unwrap();
        rows = rows.rewrite_into(&next).unwrap();
        directory.switch_vault(&next).unwrap();
        assert_eq!(directory.vault_dir(), path.join(format!("vault-{number:06}")));
        assert!(!old.exists());
    }
    drop(rows);
    drop(directory);
    let directory = DataDirectory::open(&path).unwrap();
    let rows = SledRows::open(&directory.vault_dir(), CACHE).unwrap();
    assert_eq!(rows.row(b"a").unwrap().as_deref(), Some(&b"1"[..]));
}

#[test]
fn only_the_next_vault_can_become_current() {
    let (_root, path, directory) = created();
    fs::create_dir(directory.vault_dir()).unwrap();
    fs::create_dir(path.join("vault-000003")).unwrap();
    for name in ["vault-000001", "vault-000002", "vault-000003", "elsewhere"] {
        let switched = directory.switch_vault(&path.join(name));
        refused!(switched, DirectoryError::NotTheNextVault { .. });
    }
    assert_eq!(directory.vault_dir(), path.join("vault-000001"));
}

/// What a vault directory of these tests holds: its own name.
fn make_vault(path: &Path, name: &str) {
    fs::create_dir(path.join(name)).unwrap();
    fs::write(path.join(name).join("db"), name).unwrap();
}

#[test]
fn a_kill_at_any_point_of_a_vault_switch_leaves_one_vault() {
    // What is on the disk after each step: the pointer, a half-written pointer, the vaults.
    let steps: [(&str, Option<&str>, &[&str]); 6] = [
        ("vault-000001\n", None, &["vault-000001"]),
        ("vault-000001\n", None, &["vault-000001", "vault-000002"]),
        ("vault-000001\n", Some(""), &["vault-000001", "vault-000002"]),
        ("vault-000001\n", Some("vault-000002\n"), &["vault-000001", "vault-000002"]),
        ("vault-000002\n", None, &["vault-000001", "vault-000002"]),
        ("vault-000002\n", None, &["vault-000002"]),
    ];
    for (pointer, partial, vaults) in steps {
        let (_root, path, directory) = created();
        drop(directory);
        fs::write(path.join("vault.current"), pointer).unwrap();
        if let Some(partial) = partial {
            fs::write(path.join("vault.current.tmp"), partial).unwrap();
        }
        vaults.iter().for_each(|name| make_vault(&path, name));

        let directory = DataDirectory::open(&path).unwrap();
        let current = directory.vault_dir();
        assert_eq!(current, path.join(pointer.trim()));
        assert_eq!(fs::read_to_string(current.join("db")).unwrap(), pointer.trim());
        let left = names(&path).into_iter().filter(|name| name.starts_with("vault-"));
        assert_eq!(left.collect::<Vec<_>>(), [pointer.trim()]);

        // And the next rewrite goes through.
        let next = directory.next_vault_dir().unwrap();
        make_vault(&path, next.file_name().unwrap().to_str().unwrap());
        directory.switch_vault(&next).unwrap();
        assert!(!current.exists());
    }
}

#[test]
fn a_failed_rewrite_can_be_repeated_in_the_same_process() {
    let (_root, _path, directory) = created();
    fs::create_dir(directory.vault_dir()).unwrap();
    let next = directory.next_vault_dir().unwrap();
    fs::create_dir(&next).unwrap();
    fs::write(next.join("db"), "half").unwrap();
    assert_eq!(directory.next_vault_dir().unwrap(), next);
    assert!(!next.exists());
}

#[test]
fn no_vault_is_removed_while_it_is_unknown_which_is_current() {
    let (_root, path, directory) = created();
    drop(directory);
    make_vault(&path, "vault-000001");
    make_vault(&path, "vault-000003");
    for pointer in ["", "vault-", "vault-3", "vault-0000003", "../vault-000001", "vault-000001 x"] {
        fs::write(path.join("vault.current"), pointer).unwrap();
        refused!(DataDirectory::open(&path), DirectoryError::VaultPointer { .. });
    }
    fs::remove_file(path.join("vault.current")).unwrap();
    refused!(DataDirectory::open(&path), DirectoryError::VaultPointer { .. });
    fs::write(path.join("vault.current"), "vault-000002").unwrap();
    refused!(DataDirectory::open(&path), DirectoryError::VaultMissing { .. });
    assert!(path.join("vault-000001/db").exists() && path.join("vault-000003/db").exists());
}

#[test]
fn a_file_is_replaced_whole_with_its_mode() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("fence");
    // Left by an interrupted write, with other permissions.
    fs::write(root.path().join("fence.tmp"), "half").unwrap();
    write_durably(&path, b"first", 0o644).unwrap();
    assert_eq!(mode(&path), 0o644);
    write_durably(&path, b"second", 0o600).unwrap();
    assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"second".to_vec(), 0o600));
    assert_eq!(names(root.path()), ["fence"]);

    let error = write_durably(&root.path().join("no/such"), b"", 0o600).unwrap_err();
    assert!(error.to_string().contains("no/such"), "{error}");
}
