//! Frames that are torn, damaged or moved, the ring at its ends, and a file that is cut at any write.

use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use proptest::{prop_assert, prop_assert_eq};

use super::super::leaf::leaf_hash;
use super::super::memory::MemoryStore;
use super::super::store::Store;
use super::*;

fn records(from: u64, count: u64) -> Vec<Vec<u8>> {
    (from..from + count).map(|n| format!("{{\"n\":{n}}}").into_bytes()).collect()
}

fn block(first: u64, count: u64) -> Block {
    Block::framed(Seq(first), &records(first, count)).unwrap()
}

fn before(first: u64) -> LeafHash {
    records(0, first).last().map_or_else(no_record, |record| leaf_hash(record))
}

fn frame(blocks: &[Block]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&before(blocks[0].first().0), blocks, &mut bytes);
    bytes
}

fn log(count: u64) -> MemoryStore {
    let log = MemoryStore::new();
    if 0 < count {
        log.append(Seq(0), &records(0, count)).unwrap();
    }
    log
}

fn lacking(log: &MemoryStore, file: &[u8]) -> Result<Vec<Vec<u8>>, JournalDamage> {
    match missing(&frames(file), log, Path::new("journal")) {
        Ok(records) => Ok(records),
        Err(StoreError::Journal { what, .. }) => Err(what),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_frame_is_read_as_it_was_written_and_fills_its_sectors() {
    let blocks = [block(7, 100), block(107, 300)];
    let bytes = frame(&blocks);
    assert_eq!(bytes.len() as u64, frame_bytes(&blocks));
    assert_eq!(bytes.len() % ALIGNMENT, 0);
    let read = decode(&bytes).unwrap();
    assert_eq!((read.first(), read.after), (Seq(7), before(7)));
    for (read, block) in read.blocks.iter().zip(&blocks) {
        assert_eq!((read.first(), read.bytes()), (block.first(), block.bytes()));
    }
}

#[test]
fn a_frame_with_any_bit_flipped_or_cut_anywhere_is_none() {
    let bytes = frame(&[block(0, 2), block(2, 1)]);
    let length = HEAD_BYTES + 2 * LENGTH_BYTES + CHECKSUM_BYTES;
    let length = length + block(0, 2).bytes().len() + block(2, 1).bytes().len();
    for bit in 0..length * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&flipped).is_none(), "bit {bit}");
    }
    for cut in 0..length {
        assert!(decode(&bytes[..cut]).is_none(), "cut at {cut}");
        let torn = [&bytes[..cut], &vec![0; bytes.len() - cut]].concat();
        assert!(decode(&torn).is_none(), "torn at {cut}");
    }
}

#[test]
fn what_the_log_has_is_not_missing_and_what_follows_it_is() {
    let file = [frame(&[block(0, 3)]), frame(&[block(3, 2)]), frame(&[block(5, 4)])].concat();
    for moved in [0, 3, 5, 9, 4] {
        assert_eq!(lacking(&log(moved), &file).unwrap(), records(moved, 9 - moved));
    }
    // Where the ring begins does not matter.
    let turned = [frame(&[block(5, 4)]), frame(&[block(0, 3)]), frame(&[block(3, 2)])].concat();
    assert_eq!(lacking(&log(3), &turned).unwrap(), records(3, 6));
    assert_eq!(lacking(&log(20), &[]).unwrap(), records(0, 0));
}

#[test]
fn a_torn_last_frame_was_never_acknowledged_and_one_before_a_whole_one_is_damage() {
    let file = [frame(&[block(0, 3)]), frame(&[block(3, 2)]), frame(&[block(5, 4)])].concat();
    let broken = |place: usize| {
        let mut broken = file.clone();
        broken[place * ALIGNMENT + HEAD_BYTES + 60] ^= 1;
        broken
    };
    assert_eq!(lacking(&log(0), &broken(2)).unwrap(), records(0, 5));
    let gap = JournalDamage::Gap { from: Seq(3), until: Seq(5) };
    assert_eq!(lacking(&log(0), &broken(1)), Err(gap));
    // Not needed any more.
    assert_eq!(lacking(&log(5), &broken(1)).unwrap(), records(5, 4));
}

#[test]
fn a_journal_of_another_log_is_refused() {
    let file = frame(&[block(5, 4)]);
    assert_eq!(lacking(&log(5), &file).unwrap(), records(5, 4));
    let other = log(5).with_record(Seq(4), b"{}");
    assert_eq!(lacking(&other, &file), Err(JournalDamage::Unchained { seq: Seq(5) }));
    let other = log(9).with_record(Seq(6), b"{}");
    assert_eq!(lacking(&other, &file), Err(JournalDamage::Differs { seq: Seq(6) }));
    let twice = Block::framed(Seq(5), &[b"{}"]).unwrap();
    let twice = [file, frame(&[twice])].concat();
    assert_eq!(lacking(&log(5), &twice), Err(JournalDamage::Differs { seq: Seq(5) }));
}

#[test]
fn a_ring_gives_no_place_twice_and_uses_both_its_ends() {
    let mut ring = Ring::new(10);
    assert_eq!(ring.place(10), Some(0));
    assert_eq!(ring.place(11), None);
    ring.hold(0, 6, Seq(1));
    assert_eq!((ring.place(4), ring.place(5)), (Some(6), None));
    ring.hold(6, 4, Seq(2));
    assert_eq!((ring.place(1), ring.held_bytes()), (None, 10));
    ring.release(Seq(1));
    assert_eq!((ring.place(6), ring.place(7)), (Some(0), None));
    ring.hold(0, 6, Seq(3));
    assert_eq!(ring.place(1), None);
    ring.release(Seq(2));
    assert_eq!((ring.place(4), ring.place(5)), (Some(6), None));
    ring.release(Seq(3));
    assert_eq!((ring.place(4), ring.place(5), ring.held_bytes()), (Some(6), Some(0), 0));
}

proptest! {
    #[test]
    fn a_cut_at_any_write_loses_no_batch_that_was_answered(
        batches in vec((1_u64..40, 1_u64..4), 1..60),
        cut in any::<usize>(),
        garbled in any::<bool>(),
    ) {
        let length = 16 * ALIGNMENT;
        let (log, mut file, mut ring) = (MemoryStore::new(), vec![0; length], Ring::new(length as u64));
        let (mut end, mut kept, mut moved) = (0, Vec::new(), 0);
        let mut last = (0, 0, 0);
        for (count, keeps) in batches {
            let blocks = [block(end, count)];
            let frame = frame(&blocks);
            let at = loop {
                // Moved when it must be, and sometimes earlier.
                match ring.place(frame.len() as u64).filter(|_| kept.len() < keeps as usize * 4) {
                    Some(at) => break at,
                    None => {
                        let next: Block = kept.remove(0);
                        let records: Vec<_> = next.iter().map(|(_, record)| record.to_vec()).collect();
                        log.append(next.first(), &records).unwrap();
                        ring.release(next.end());
                        moved = next.end().0;
                    }
                }
            };
            file[at as usize..][..frame.len()].copy_from_slice(&frame);
            ring.hold(at, frame.len() as u64, Seq(end + count));
            kept.extend(blocks);
            last = (at as usize, frame.len(), end);
            end += count;
        }
        prop_assert_eq!(lacking(&log, &file).unwrap(), records(moved, end - moved));
        // The power fails in the last write: only a part of it is there.
        let (at, bytes, answered) = last;
        let from = at + cut % bytes;
        file[from..at + bytes].fill(if garbled { 0xA5 } else { 0 });
        let found = lacking(&log, &file).unwrap();
        let whole = found == records(moved, end - moved);
        prop_assert!(whole || found == records(moved, answered - moved));
    }
}

#[test]
fn a_file_of_another_length_is_made_anew_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    assert!(read(&path).unwrap().is_empty());
    let journal = Journal::open(path.clone()).unwrap();
    let bytes = frame(&[block(0, 3)]);
    journal.write(8192, &bytes).unwrap();
    // Opened again, it is as it was.
    drop(Journal::open(path.clone()).unwrap());
    assert_eq!(read(&path).unwrap().len(), 1);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(8192).unwrap();
    assert!(read(&path).unwrap().is_empty());
    drop(Journal::open(path.clone()).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().len(), JOURNAL_BYTES);
    file.set_len(1).unwrap();
    drop(Journal::open(path.clone()).unwrap());
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(JOURNAL_BYTES + 1).unwrap();
    let refused = read(&path).unwrap_err().to_string();
    assert!(refused.contains("restore") && refused.contains(path.to_str().unwrap()), "{refused}");
}
