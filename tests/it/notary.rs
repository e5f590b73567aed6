//! Who signs checkpoints, and when nothing is signed: fences that are lost, foreign or older, logs
//! that are shorter or others than what was signed, disks that fail between any two steps.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use token_ledger::crypto::note::NoteError;
use token_ledger::crypto::note_signer::{Cosigner, NoteSigner};
use token_ledger::ledger::checkpoints::{Checkpoints, Published};
use token_ledger::ledger::lost_fence::restore_fence;
use token_ledger::ledger::notary::{Heartbeat, Notary};
use token_ledger::ledger::tree::Tree;
use token_ledger::ledger::unsigned::Unsigned;
use token_ledger::log::checkpoint::{Checkpoint, Origin};
use token_ledger::log::fence::{Advance, Fence, FenceError, FenceFile, MemoryFence};
use token_ledger::log::file::FileError;
use token_ledger::log::leaf::leaf_hash;
use token_ledger::log::memory::MemoryStore;
use token_ledger::log::side_table::{MemoryTable, SideTable};
use token_ledger::log::store::Store;
use token_ledger::types::id::Seq;
use token_ledger::types::time::Timestamp;

const NAME: &str = "log.example";

/// A fence that several notaries share, as on another disk.
#[derive(Clone, Default)]
struct Shared(Arc<MemoryFence>);

impl Fence for Shared {
    fn newest(&self) -> Result<Option<Checkpoint>, FenceError> {
        self.0.newest()
    }

    fn advance(
        &self,
        expected: Option<&Checkpoint>,
        new: &Checkpoint,
    ) -> Result<Advance, FenceError> {
        self.0.advance(expected, new)
    }

    fn mend(&self, new: &Checkpoint) -> Result<Advance, FenceError> {
        self.0.mend(new)
    }

    fn place(&self) -> String {
        "/other/fence".to_owned()
    }
}

/// A log with everything around it.
#[derive(Clone)]
struct Desk {
    salt: &'static str,
    tree: Arc<Tree>,
    store: Arc<dyn Store>,
    table: Arc<MemoryTable>,
    fence: Shared,
}

impl Desk {
    fn new(salt: &'static str, size: u64) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let tree = Arc::new(Tree::empty(Arc::clone(&store), Arc::new(MemoryTable::default())));
        let (table, fence) = (Arc::new(MemoryTable::default()), Shared::default());
        let desk = Self { salt, tree, store, table, fence };
        desk.grow(size);
        desk
    }

    fn grow(&self, count: u64) {
        let first = self.tree.size();
        let records = first..first + count;
        let records: Vec<_> =
            records.map(|seq| format!("{} {seq}", self.salt).into_bytes()).collect();
        if !records.is_empty() {
            self.store.append(Seq(first), &records).unwrap();
            self.tree.grow(records.iter().map(|record| leaf_hash(record))).unwrap();
        }
    }

    /// Another log, beside the same table and fence.
    fn with_log(&self, salt: &'static str, size: u64) -> Self {
        let other = Self::new(salt, size);
        Self { table: Arc::clone(&self.table), fence: self.fence.clone(), ..other }
    }

    fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(Arc::clone(&self.table) as Arc<dyn SideTable>)
    }

    fn open(&self) -> Result<Notary, Unsigned> {
        self.open_as(NAME)
    }

    fn open_as(&self, origin: &str) -> Result<Notary, Unsigned> {
        self.open_with(origin, Box::new(self.fence.clone()))
    }

    fn open_with(&self, origin: &str, fence: Box<dyn Fence>) -> Result<Notary, Unsigned> {
        let signer = NoteSigner::new(NAME.parse().unwrap(), &[1; 32]);
        let heartbeat = Heartbeat { heartbeat_s: 600 };
        let origin = origin.parse().unwrap();
        Notary::open(
            Arc::clone(&self.tree),
            origin,
            self.checkpoints(),
            fence,
            heartbeat,
            vec![signer],
        )
    }

    fn fenced(&self) -> Option<u64> {
        self.fence.newest().unwrap().map(|fenced| fenced.head.size)
    }

    fn sizes(&self) -> Vec<(u64, u64)> {
        let kept = self.checkpoints().from_size(0, 100).unwrap();
        kept.iter().map(|kept| (kept.head.size, kept.at.seconds())).collect()
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn opens(published: &Published) {
    let signer = NoteSigner::new(NAME.parse().unwrap(), &[1; 32]);
    let origin: Origin = NAME.parse().unwrap();
    let opened = Checkpoint::open(&published.note, &origin, signer.verifier(), &[]).unwrap();
    assert_eq!(opened.checkpoint.head, published.head);
    assert_eq!(opened.at.map(Timestamp::seconds), Some(published.at.seconds()));
}

#[test]
fn a_checkpoint_is_signed_when_the_log_grew_and_at_a_heartbeat_and_all_are_kept() {
    let desk = Desk::new("a", 3);
    let notary = desk.open().unwrap();
    assert!(notary.newest().is_none(), "nothing was signed yet");
    notary.keep_up(at(100)).unwrap();
    notary.keep_up(at(101)).unwrap();
    assert_eq!(desk.sizes(), [(3, 100)], "nothing happened");
    desk.grow(2);
    notary.keep_up(at(102)).unwrap();
    notary.keep_up(at(701)).unwrap();
    assert_eq!(desk.sizes(), [(3, 100), (5, 102)], "not silent for long enough");
    notary.keep_up(at(702)).unwrap();
    assert_eq!(desk.sizes(), [(3, 100), (5, 102), (5, 702)], "silence is told, too");
    let newest = notary.newest().unwrap();
    opens(&newest);
    assert_eq!((newest.head, desk.fenced()), (desk.tree.head(), Some(5)));
    assert_eq!((notary.signed(), notary.failure()), (3, None));
    desk.checkpoints().from_size(0, 100).unwrap().iter().for_each(opens);

    // After a restart, what was signed last is published until there is more.
    drop(notary);
    let again = desk.open().unwrap();
    assert_eq!(again.newest(), Some(newest));
    again.keep_up(at(703)).unwrap();
    assert_eq!(desk.sizes().len(), 3);
}

#[test]
fn whatever_fails_on_the_way_the_fence_is_never_behind_what_was_given_away() {
    let desk = Desk::new("a", 3);
    let notary = desk.open().unwrap();
    notary.sign(at(1)).unwrap();
    desk.grow(1);

    // The fence cannot be written: nothing is published, stored or signed any more.
    desk.fence.0.fail(true);
    let failed = notary.keep_up(at(2)).unwrap_err();
    assert!(matches!(failed, Unsigned::Fence(_)), "{failed}");
    assert_eq!((desk.sizes(), notary.newest().unwrap().head.size), (vec![(3, 1)], 3));
    desk.fence.0.fail(false);
    assert!(notary.keep_up(at(3)).is_ok(), "and nothing is tried again");
    assert!(matches!(notary.sign(at(3)), Err(Unsigned::Stopped(_))));
    assert!(notary.failure().unwrap().contains("fault was injected"));
    assert_eq!(desk.fenced(), Some(3));

    // The table cannot be written: the fence is ahead, which the next start takes as it is.
    let notary = desk.open().unwrap();
    desk.table.fail(true);
    let failed = notary.sign(at(4)).unwrap_err();
    assert!(matches!(failed, Unsigned::Store(_)), "{failed}");
    assert_eq!((desk.fenced(), notary.newest().unwrap().head.size), (Some(4), 3));
    desk.table.fail(false);
    let notary = desk.open().unwrap();
    notary.keep_up(at(5)).unwrap();
    notary.keep_up(at(700)).unwrap();
    assert_eq!(desk.sizes().last(), Some(&(4, 700)));
}

#[test]
fn a_log_that_was_put_back_is_not_signed_and_not_served() {
    let desk = Desk::new("a", 5);
    desk.open().unwrap().sign(at(1)).unwrap();

    // The backup is older than the fence, and knows nothing of later checkpoints.
    let mut restored = desk.with_log("a", 4);
    restored.table = Arc::default();
    let error = restored.open().err().unwrap();
    assert!(matches!(error, Unsigned::Shorter { signed: 5, found: 4 }), "{error}");
    assert!(error.to_string().contains("old backup was restored"), "{error}");

    // It was written on: as long, or longer, and another one.
    for size in [5, 9] {
        let mut forked = desk.with_log("b", size);
        forked.table = Arc::default();
        let error = forked.open().err().unwrap();
        assert!(matches!(error, Unsigned::Forked { size: 5 }), "{error}");
        let error = desk.with_log("b", size).open().err().unwrap();
        assert!(matches!(error, Unsigned::Forked { size: 5 }), "{error}");
    }
    // Records were lost, and the log's own checkpoints were not.
    assert!(matches!(desk.with_log("a", 2).open(), Err(Unsigned::Shorter { .. })));
    assert!(desk.with_log("a", 6).open().is_ok(), "it may have grown");
}

#[test]
fn a_fence_that_is_lost_foreign_or_old_stops_the_start_and_says_what_to_do() {
    let desk = Desk::new("a", 5);
    assert!(desk.open().is_ok(), "nothing was signed, so nothing is remembered");
    desk.open().unwrap().sign(at(1)).unwrap();
    let kept = desk.fence.newest().unwrap();

    desk.fence.0.set(None);
    let error = desk.open().err().unwrap();
    assert!(matches!(error, Unsigned::FenceMissing { size: 5, .. }), "{error}");
    assert!(error.to_string().contains("token-ledger fence --help"), "{error}");
    assert!(error.to_string().contains("/other/fence"), "{error}");

    let older = Desk::new("a", 3).tree.head();
    desk.fence.0.set(Some(Checkpoint { origin: NAME.parse().unwrap(), head: older }));
    let error = desk.open().err().unwrap();
    assert!(matches!(error, Unsigned::FenceBehind { fenced: 3, stored: 5, .. }), "{error}");

    desk.fence.0.set(kept);
    let error = desk.open_as("other.example").err().unwrap();
    assert!(matches!(error, Unsigned::ForeignFence { .. }), "{error}");
    assert!(error.to_string().contains("correct fence_file"), "{error}");
    assert!(desk.open().is_ok());
}

#[test]
fn two_processes_that_sign_for_one_log_stop_each_other() {
    let desk = Desk::new("a", 3);
    let first = desk.open().unwrap();
    first.sign(at(1)).unwrap();
    // A copy of the directory runs elsewhere, with the same fence.
    let mut copy = desk.with_log("a", 3);
    copy.table = Arc::default();
    let second = copy.open().unwrap();
    copy.grow(1);
    second.sign(at(2)).unwrap();
    desk.grow(2);
    let error = first.keep_up(at(3)).unwrap_err();
    assert!(matches!(error, Unsigned::Moved { .. }), "{error}");
    assert_eq!(desk.fenced(), Some(4));
}

/// Copies of a ledger that share a fence and are written on apart, each signing from threads of its
/// own: whatever the order, no size has two roots.
#[test]
fn copies_that_share_a_fence_never_sign_two_roots_of_one_size() {
    for round in 0..60 {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("fence");
        // Every other round begins with nothing signed, as at the first start.
        let common = 3 * (round % 2);
        let start = Desk::new("common", common);
        if 0 < common {
            let notary = start.open_with(NAME, Box::new(FenceFile::new(&path))).unwrap();
            notary.sign(at(1)).unwrap();
        }
        let copies = ["a", "b", "c"].map(|salt| {
            let mut copy = Desk::new("common", common);
            copy.salt = salt;
            let notary = copy.open_with(NAME, Box::new(FenceFile::new(&path))).unwrap();
            copy.grow(1);
            (copy, notary)
        });
        let go = std::sync::Barrier::new(copies.len() * 2);
        std::thread::scope(|scope| {
            for (_, notary) in copies.iter().chain(&copies) {
                scope.spawn(|| {
                    go.wait();
                    // Who comes too late is told so; what is published is looked at below.
                    while let Err(Unsigned::Unread(_)) = notary.sign(at(2)) {
                        std::thread::yield_now();
                    }
                });
            }
        });
        let signed: Vec<_> = copies.iter().filter(|(_, notary)| 0 < notary.signed()).collect();
        let [(copy, notary)] = signed[..] else { panic!("{} histories", signed.len()) };
        assert_eq!(FenceFile::new(&path).newest().unwrap().unwrap().head, copy.tree.head());
        assert_eq!(notary.failure(), None);
        for (other, notary) in copies.iter().filter(|(other, _)| other.salt != copy.salt) {
            assert!(notary.failure().unwrap().contains("another process signs"), "{}", other.salt);
            assert!(notary.newest().is_none());
        }
    }
}

#[test]
fn a_fence_that_another_process_holds_ends_nothing() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("fence");
    let desk = Desk::new("a", 3);
    let notary = desk.open_with(NAME, Box::new(FenceFile::new(&path))).unwrap();
    let held = token_ledger::log::file::lock(&root.path().join("fence.lock")).unwrap().unwrap();
    let busy = notary.sign(at(1)).unwrap_err();
    assert!(matches!(busy, Unsigned::Unread(FenceError::Busy { .. })), "{busy}");
    assert!(busy.to_string().contains("a second copy of this ledger is running"), "{busy}");
    assert_eq!((notary.failure(), notary.newest()), (None, None));
    drop(held);
    assert_eq!(notary.sign(at(2)).unwrap().head.size, 3);
}

#[test]
fn a_fence_file_survives_what_an_interrupted_write_leaves() {
    let root = tempfile::tempdir().unwrap();
    let (path, desk) = (root.path().join("fence"), Desk::new("a", 3));
    let open = || {
        let signer = NoteSigner::new(NAME.parse().unwrap(), &[1; 32]);
        let (heartbeat, fence) = (Heartbeat { heartbeat_s: 600 }, FenceFile::new(&path));
        let (tree, origin) = (Arc::clone(&desk.tree), NAME.parse().unwrap());
        Notary::open(tree, origin, desk.checkpoints(), Box::new(fence), heartbeat, vec![signer])
    };
    open().unwrap().sign(at(1)).unwrap();
    // A kill between the writing of the new file and its renaming.
    std::fs::write(root.path().join("fence.tmp"), "log.example\n4\n").unwrap();
    desk.grow(1);
    open().unwrap().sign(at(2)).unwrap();
    assert_eq!(FenceFile::new(&path).newest().unwrap().unwrap().head.size, 4);
    // A directory that is gone: nothing is signed, and the old fence stays where it is.
    std::fs::write(&path, "log.exam").unwrap();
    assert!(matches!(open(), Err(Unsigned::Fence(FenceError::Damaged { .. }))));
}

#[test]
fn cosignatures_are_added_to_what_was_published_and_renewed() {
    let desk = Desk::new("a", 3);
    let notary = desk.open().unwrap();
    let first = notary.sign(at(1)).unwrap();
    let witness = Cosigner::new("witness.example".parse().unwrap(), &[2; 32]);
    let cosign =
        |published: &Published, seconds| witness.cosign(published.note.text(), at(seconds));
    let watch = notary.watch();
    let cosigned = notary.add_cosignatures(&first, vec![cosign(&first, 10)]).unwrap();
    assert!(watch.has_changed().unwrap());
    assert_eq!(cosigned.note.signatures().len(), 3, "the log's, its date, the witness's");
    assert_eq!(notary.newest(), Some(Arc::clone(&cosigned)));
    assert_eq!(desk.checkpoints().newest().unwrap(), Some((*cosigned).clone()));
    let renewed = notary.add_cosignatures(&first, vec![cosign(&first, 20)]).unwrap();
    assert_eq!(renewed.note.signatures().len(), 3, "the newer one takes the place");
    assert_ne!(renewed.note, cosigned.note);
    // The heartbeat publishes the same tree again, with a date of its own and what was cosigned.
    let again = notary.sign(at(700)).unwrap();
    let by = |published: &Published, line: usize| published.note.signatures()[line].clone();
    assert_eq!((by(&again, 0), by(&again, 2)), (by(&renewed, 0), by(&renewed, 2)));
    assert_ne!(by(&again, 1), by(&renewed, 1));
    assert_eq!(again.note.signatures().len(), 3);
    // A cosignature that comes late does not displace the newest checkpoint.
    desk.grow(1);
    let second = notary.sign(at(701)).unwrap();
    notary.add_cosignatures(&first, vec![cosign(&first, 30)]).unwrap();
    assert_eq!(notary.newest(), Some(second));
    let too_many = vec![cosign(&first, 40); 200];
    let refused = notary.add_cosignatures(&first, too_many);
    assert!(matches!(refused, Err(Unsigned::Note(NoteError::TooManySignatures))));
}

#[test]
fn a_lost_fence_is_made_anew_from_what_others_vouch_for_and_never_moved_back() {
    let desk = Desk::new("a", 5);
    let origin: Origin = NAME.parse().unwrap();
    let restore = |desk: &Desk, vouched| {
        restore_fence(&desk.tree, &origin, &desk.checkpoints(), &desk.fence, vouched)
    };
    let head_of = |salt, size| Desk::new(salt, size).tree.head();
    assert!(matches!(restore(&desk, None), Err(Unsigned::Unknown(0))), "nothing is known");
    desk.open().unwrap().sign(at(1)).unwrap();
    desk.fence.0.set(None);

    // A witness saw more than is there, or another log.
    let error = restore(&desk, Some(head_of("a", 6))).unwrap_err();
    assert!(matches!(error, Unsigned::Shorter { signed: 6, found: 5 }), "{error}");
    let error = restore(&desk, Some(head_of("b", 4))).unwrap_err();
    assert!(matches!(error, Unsigned::Forked { size: 4 }), "{error}");
    assert_eq!(desk.fenced(), None);

    assert_eq!(restore(&desk, Some(head_of("a", 4))).unwrap().head.size, 5);
    desk.grow(2);
    assert_eq!(restore(&desk, Some(head_of("a", 6))).unwrap().head.size, 6);
    let error = restore(&desk, None).unwrap_err();
    assert!(matches!(error, Unsigned::FenceAhead { fenced: 6, newest: 5, .. }), "{error}");
    desk.open().unwrap().sign(at(2)).unwrap();
    assert_eq!(desk.fenced(), Some(7));
}

#[test]
fn a_fence_that_cannot_be_read_for_a_while_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, aside) = (folder.path().join("fence"), folder.path().join("aside"));
    let desk = Desk::new("a", 3);
    let notary = desk.open_with(NAME, Box::new(FenceFile::new(&path))).unwrap();
    notary.sign(at(1)).unwrap();
    // What no read can open stands in for a process with too many open files.
    std::fs::rename(&path, &aside).unwrap();
    std::fs::create_dir(&path).unwrap();
    desk.grow(2);
    assert!(matches!(notary.sign(at(2)), Err(Unsigned::Unread(_))));
    assert_eq!((notary.failure(), notary.newest().unwrap().head.size), (None, 3));
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    assert_eq!(notary.sign(at(3)).unwrap().head.size, 5);
}

/// A fence whose next move is made, and then told as cut short: as with too many open files between its new
/// name and the sync of that.
struct CutShort(FenceFile, Arc<AtomicBool>);

impl Fence for CutShort {
    fn newest(&self) -> Result<Option<Checkpoint>, FenceError> {
        self.0.newest()
    }

    fn advance(
        &self,
        expected: Option<&Checkpoint>,
        new: &Checkpoint,
    ) -> Result<Advance, FenceError> {
        let advance = self.0.advance(expected, new)?;
        if self.1.swap(false, Ordering::SeqCst) {
            let path = std::path::PathBuf::from(self.place());
            let source = std::io::Error::from_raw_os_error(24);
            return Err(FenceError::Unread(FileError { what: "fsync", path, source }));
        }
        Ok(advance)
    }

    fn mend(&self, new: &Checkpoint) -> Result<Advance, FenceError> {
        self.0.mend(new)
    }

    fn place(&self) -> String {
        self.0.place()
    }
}

#[test]
fn an_attempt_that_was_cut_short_after_it_moved_the_fence_is_gone_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fence");
    let cut = Arc::new(AtomicBool::new(false));
    let desk = Desk::new("a", 3);
    let fence = CutShort(FenceFile::new(&path), Arc::clone(&cut));
    let notary = desk.open_with(NAME, Box::new(fence)).unwrap();
    notary.sign(at(1)).unwrap();
    desk.grow(2);
    cut.store(true, Ordering::SeqCst);
    assert!(matches!(notary.sign(at(2)), Err(Unsigned::Unread(_))));
    // It is made durable before anything is built on it, also where the log does not go on.
    let renamed = std::fs::metadata(&path).unwrap().ino();
    assert_eq!(notary.sign(at(2)).unwrap().head.size, 5);
    assert_ne!(std::fs::metadata(&path).unwrap().ino(), renamed, "written and synced anew");
    desk.grow(1);
    cut.store(true, Ordering::SeqCst);
    assert!(matches!(notary.sign(at(2)), Err(Unsigned::Unread(_))));
    // The log goes on meanwhile: what the fence remembers is neither what was nor what will be signed.
    desk.grow(1);
    assert_eq!(notary.sign(at(3)).unwrap().head.size, 7);
    // One that another log has moved is still nobody's business here.
    let other = Desk::new("b", 9).open_with(NAME, Box::new(FenceFile::new(&path)));
    assert!(other.is_err());
    desk.grow(1);
    cut.store(true, Ordering::SeqCst);
    assert!(notary.sign(at(4)).is_err());
    let stranger = Desk::new("b", 20);
    let foreign = Checkpoint { origin: NAME.parse().unwrap(), head: stranger.tree.head() };
    let fence = FenceFile::new(&path);
    let found = fence.newest().unwrap();
    assert_eq!(fence.advance(found.as_ref(), &foreign).unwrap(), Advance::Done);
    desk.grow(1);
    assert!(matches!(notary.sign(at(5)), Err(Unsigned::Moved { .. })));
}

#[test]
fn a_hand_over_that_was_cut_short_is_made_by_the_next_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let cut = Arc::new(AtomicBool::new(false));
    let desk = Desk::new("a", 3);
    let fence = CutShort(FenceFile::new(&folder.path().join("fence")), Arc::clone(&cut));
    let notary = desk.open_with(NAME, Box::new(fence)).unwrap();
    notary.sign(at(1)).unwrap();
    desk.grow(1);
    let next = || NoteSigner::new(NAME.parse().unwrap(), &[2; 32]);
    cut.store(true, Ordering::SeqCst);
    assert!(matches!(notary.hand_over(Seq(3), vec![next()], at(2)), Err(Unsigned::Unread(_))));
    // The last one of the old key, and nothing of it after that.
    opens(&notary.sign(at(3)).unwrap());
    assert_eq!(notary.verifiers(), [next().verifier().clone()]);
}
