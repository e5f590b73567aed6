//! A snapshot is the fold of the log, or it is not used: every position, every damage.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use token_ledger::domain::snapshot::{FORMAT, Restoring};
use token_ledger::domain::state::State;
use token_ledger::ledger::handle::Limits;
use token_ledger::ledger::open::open;
use token_ledger::ledger::replay::{replay, replay_onto, verify_next};
use token_ledger::ledger::snapshot::{Fold, advance, restore, write};
use token_ledger::log::memory::MemoryStore;
use token_ledger::log::snapshots::{SnapshotFile, Snapshots};
use token_ledger::log::store::Store;
use token_ledger::log::tree::Frontier;
use token_ledger::types::id::Seq;
use token_ledger::types::time::Timestamp;

use crate::support::golden;
use crate::support::recorded::everything;
use crate::support::server::{CACHE_BYTES, Server};
use crate::support::snapshots::{through_snapshot, whole};
use crate::support::world::{World, bytes_of};

const ISSUER: &str = "https://ledger.example";
static NEVER: AtomicBool = AtomicBool::new(false);

/// The recorded ledger, the snapshots of it, and where those are.
struct Kept {
    world: World,
    snapshots: Snapshots,
    directory: tempfile::TempDir,
}

impl Kept {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(directory.path().join("snapshots"));
        Self { world: everything().world, snapshots, directory }
    }

    fn restored(&self) -> Option<Seq> {
        restored_from(&self.snapshots, self.world.store.as_ref())
    }

    /// Makes one of the first `records` records.
    fn make_at(&self, records: usize) -> PathBuf {
        let store = self.prefix(records);
        advance(&self.snapshots, ISSUER, &store, &NEVER).unwrap();
        self.snapshots.newest_first().unwrap().remove(0)
    }

    fn prefix(&self, records: usize) -> MemoryStore {
        let store = MemoryStore::new();
        store.append(Seq(0), &self.world.bytes()[..records]).unwrap();
        store
    }
}

fn restored_from(snapshots: &Snapshots, store: &dyn Store) -> Option<Seq> {
    let Fold { state, frontier } = restore(snapshots, ISSUER, store);
    assert_eq!(frontier.size(), state.next_seq().0, "tree and projection end together");
    state.head().map(|head| head.seq)
}

#[test]
fn from_every_position_of_a_ledger_snapshot_and_tail_fold_to_what_the_log_folds_to() {
    let world = everything().world;
    let store = world.store.as_ref();
    let full = whole(&replay(store, |_, _| Ok(())).unwrap());
    let mut prefix = State::default();
    for bytes in world.bytes() {
        let mut state = through_snapshot(&prefix);
        assert_eq!(whole(&state), whole(&prefix));
        replay_onto(&mut state, store, |_, _| Ok(())).unwrap();
        assert_eq!(whole(&state), full, "from {:?}", prefix.head());
        let next = verify_next(&prefix, &bytes).unwrap();
        prefix.apply(&next.record, next.leaf);
    }
    assert_eq!(whole(&through_snapshot(&prefix)), full);
}

/// Whoever changes the layout sees this fail: raise the format, so that no older snapshot is taken
/// for one of the new layout, and then update the file.
#[test]
fn the_layout_of_a_format_does_not_change() {
    let sections: Vec<_> = everything().world.state.read().sections().collect();
    let lines = sections.iter().map(|(kind, bytes)| {
        format!("kind {kind} bytes {} blake3 {}\n", bytes.len(), blake3::hash(bytes))
    });
    golden::compare(
        "ledger-1.snapshot",
        &format!("format {FORMAT}\n{}", lines.collect::<String>()),
    );
}

#[test]
fn the_newest_two_are_kept_and_the_newest_is_gone_by() {
    let kept = Kept::new();
    assert_eq!(kept.restored(), None, "none yet");
    for records in [10, 20, 30] {
        kept.make_at(records);
        assert_eq!(kept.restored(), Some(Seq(records as u64 - 1)));
    }
    assert_eq!(kept.snapshots.newest_first().unwrap().len(), 2);
}

#[test]
fn a_damaged_snapshot_gives_way_to_the_one_before_it_and_then_to_the_log() {
    let kept = Kept::new();
    kept.make_at(20);
    let newest = kept.make_at(30);
    let intact = fs::read(&newest).unwrap();
    for at in (0..intact.len()).step_by(11) {
        let mut flipped = intact.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&newest, flipped).unwrap();
        assert_eq!(kept.restored(), Some(Seq(19)), "byte {at}");
    }
    for length in (0..intact.len()).step_by(29) {
        fs::write(&newest, &intact[..length]).unwrap();
        assert_eq!(kept.restored(), Some(Seq(19)), "cut at {length}");
    }
    fs::write(kept.snapshots.newest_first().unwrap().remove(1), "").unwrap();
    assert_eq!(kept.restored(), None);
    fs::write(&newest, intact).unwrap();
    assert_eq!(kept.restored(), Some(Seq(29)));
}

#[test]
fn what_a_kill_left_half_written_is_passed_over_and_replaced() {
    let kept = Kept::new();
    let first = kept.make_at(20);
    let torn = kept.directory.path().join("snapshots/00000000000000000029.snapshot.tmp");
    fs::write(&torn, &fs::read(first).unwrap()[..100]).unwrap();
    assert_eq!(kept.restored(), Some(Seq(19)));
    kept.make_at(30);
    assert_eq!(kept.restored(), Some(Seq(29)));
    assert!(!torn.exists());
}

#[test]
fn a_snapshot_of_another_format_issuer_or_log_is_not_used() {
    let kept = Kept::new();
    let path = kept.make_at(30);
    let refused = |format| SnapshotFile::open(&path, format, 1 << 20).err().unwrap().to_string();
    for other in [FORMAT - 1, FORMAT + 1] {
        let told = format!("it has format {FORMAT}, and this version reads {other}");
        assert_eq!(refused(other), told);
    }
    let store = kept.world.store.as_ref();
    assert!(restore(&kept.snapshots, "https://other.example", store).state.head().is_none());
    // The log lost its end.
    assert_eq!(restored_from(&kept.snapshots, &kept.prefix(29)), None);
    assert_eq!(restored_from(&kept.snapshots, &kept.prefix(30)), Some(Seq(29)));
    // Another ledger of the same name.
    let mut other = World::new();
    other.set_s(7.0);
    while other.end() < Seq(40) {
        other.ask(token_ledger::domain::command::Command::OpenLedger {
            version: "0".to_owned(),
            clean: true,
        });
    }
    assert_eq!(restored_from(&kept.snapshots, other.store.as_ref()), None);
}

#[test]
fn a_snapshot_whose_head_lies_is_not_used() {
    let kept = Kept::new();
    let store = kept.world.store.as_ref();
    let state = replay(&kept.prefix(30), |_, _| Ok(())).unwrap();
    // A frontier of fewer records than the projection has.
    let mut frontier = Frontier::default();
    bytes_of(store)[..28]
        .iter()
        .for_each(|b| frontier.append(token_ledger::log::leaf::leaf_hash(b)));
    write(&kept.snapshots, &state, &frontier).unwrap();
    assert_eq!(kept.restored(), None);
}

#[test]
fn sections_out_of_place_unknown_or_missing_are_no_projection() {
    let sections: Vec<_> = everything().world.state.read().sections().collect();
    let taken = |sections: &[(u8, Vec<u8>)]| {
        let mut restoring = Restoring::default();
        sections.iter().try_for_each(|(kind, bytes)| restoring.take(*kind, bytes))?;
        restoring.finish()
    };
    assert!(taken(&sections).is_ok());
    for i in 0..sections.len() {
        let mut fewer = sections.clone();
        let (kind, bytes) = fewer.remove(i);
        if [1, 6, 8, 9, 10].contains(&kind) {
            assert!(taken(&fewer).is_err(), "without kind {kind}");
        }
        fewer.insert(i, (99, bytes.clone()));
        assert_eq!(
            taken(&fewer).unwrap_err().to_string(),
            "section 99 is of no kind that this version knows"
        );
        fewer[i] = (kind, bytes[..bytes.len() - 1].to_vec());
        assert!(taken(&fewer).is_err(), "kind {kind}, cut");
    }
}

#[test]
fn making_a_snapshot_ends_when_the_process_stops() {
    let kept = Kept::new();
    let stops = AtomicBool::new(true);
    let made = advance(&kept.snapshots, ISSUER, kept.world.store.as_ref(), &stops).unwrap();
    assert_eq!(made, None);
    assert!(kept.snapshots.newest_first().unwrap().is_empty());
}

/// How many records a start folds, and what it then knows.
fn opened(data: &Path, snapshot_every_records: u64) -> (u64, Vec<String>) {
    let limits = Limits {
        queue_commands_max: 16,
        batch_commands_max: 16,
        coalesce_keys_max: 16,
        submit_timeout_ms: 10_000,
        clock_step_warn_ms: 5000,
        snapshot_every_records,
    };
    let folded = Mutex::new(0);
    let clock =
        Arc::new(token_ledger::clock::ManualClock::at(Timestamp::from_seconds(2_000_000_000)));
    let opened = open(data, limits, CACHE_BYTES, 0, clock, |_| *folded.lock() += 1).unwrap();
    opened.ledger.stop().unwrap();
    let known = whole(&opened.ledger.state());
    token_ledger::ledger::open::leave_clean_mark(&opened.directory, &opened.ledger.state())
        .unwrap();
    (*folded.lock(), known)
}

#[actix_web::test]
async fn a_clean_stop_leaves_a_snapshot_and_the_next_start_reads_that_instead_of_the_log() {
    let mut server = Server::start_with(|raw| raw.snapshot_every_records = 1).await;
    server.tokens("alice").await;
    server.stop().await;
    let (all, known) = opened(&server.data(), 0);
    assert!(20 < all, "{all}");
    assert_eq!(opened(&server.data(), 1), (0, known.clone()));
    let snapshots = Snapshots::new(server.data().join("snapshots")).newest_first().unwrap();
    for path in snapshots {
        fs::write(path, "damaged").unwrap();
    }
    assert_eq!(opened(&server.data(), 1), (all, known));
}
