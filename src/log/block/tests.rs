//! Any records, every flipped bit, every cut.

use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use proptest::{prop_assert, prop_assert_eq};

use super::*;

fn records() -> impl proptest::strategy::Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 0..300), 1..40)
}

fn owned(block: &Block) -> Vec<Vec<u8>> {
    block.iter().map(|(_, record)| record.to_vec()).collect()
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(first in 0..u64::MAX - 40, records in records()) {
        let block = Block::decode(Seq(first), Block::encode(Seq(first), &records).unwrap()).unwrap();
        prop_assert_eq!(owned(&block), records.clone());
        let framed = Block::framed(Seq(first), &records).unwrap();
        prop_assert_eq!(owned(&framed), records.clone());
        prop_assert_eq!(framed.bytes(), block.bytes());
        for cut in 0..=records.len() {
            let later = framed.clone().since(Seq(first + cut as u64));
            prop_assert_eq!(owned(&later), &records[cut..]);
            prop_assert_eq!(later.record(Seq((first + cut as u64).wrapping_sub(1))), None);
        }
        prop_assert_eq!(block.first(), Seq(first));
        prop_assert_eq!(block.end(), Seq(first + records.len() as u64));
        prop_assert_eq!(block.record(block.end()), None);
        prop_assert_eq!(block.record(Seq(first.wrapping_sub(1))), None);
    }

    #[test]
    fn no_bytes_make_decode_panic(first in any::<u64>(), bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(Block::decode(Seq(first), [&[VERSION, 0], &bytes[..]].concat()).is_err());
    }

    #[test]
    fn a_split_batch_keeps_its_records_and_fits(
        lengths in vec(0..=RECORD_BYTES_MAX, 1..60),
    ) {
        let batch: Vec<Vec<u8>> = lengths.into_iter().map(|n| vec![7; n]).collect();
        let parts: Vec<_> = split(&batch).collect();
        prop_assert_eq!(parts.concat(), batch.clone());
        for part in parts {
            prop_assert!(Block::encode(Seq(0), part).unwrap().len() <= BLOCK_BYTES_MAX);
        }
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_detected() {
    let bytes = Block::encode(Seq(9), &[b"{}".to_vec(), vec![], vec![0; 100]]).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Block::decode(Seq(9), flipped).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        let cut = Block::decode(Seq(9), &bytes[..length]).unwrap_err();
        assert!(matches!(cut, BlockError::Length { found, .. } if found == length), "{cut}");
    }
}

#[test]
fn a_block_in_another_place_is_detected() {
    let bytes = Block::encode(Seq(9), &[b"{}".to_vec()]).unwrap();
    for bit in 0..64 {
        let moved = Block::decode(Seq(9 ^ (1 << bit)), &bytes[..]);
        assert_eq!(moved.unwrap_err(), BlockError::Checksum);
    }
}

#[test]
fn decode_names_what_is_wrong() {
    let bytes = Block::encode(Seq(0), &[b"{}".to_vec()]).unwrap();
    let changed = |at: usize, to: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = to;
        Block::decode(Seq(0), bytes).unwrap_err()
    };
    assert_eq!(changed(0, 2), BlockError::Version { found: 2 });
    assert_eq!(changed(4, 3), BlockError::Length { expected: 40, found: 39 });
    assert_eq!(changed(5, b'['), BlockError::Checksum);
    let mut bare = vec![VERSION, 0, 0];
    bare.extend(checksum(&[&[0; ROOM_BYTES], &bare[..]].concat()).as_bytes());
    assert_eq!(Block::decode(Seq(0), bare).unwrap_err(), FrameError::Empty.into());
}

#[test]
fn a_block_is_filled_to_the_last_byte() {
    let exact = [4_096, 4_096, 4_096, 4_053].map(|n| vec![7; n]);
    assert_eq!(split(&exact).count(), 1);
    assert_eq!(Block::encode(Seq(0), &exact).unwrap().len(), BLOCK_BYTES_AIM);
    let over = [4_096, 4_096, 4_096, 4_054].map(|n| vec![7; n]);
    assert_eq!(split(&over).map(<[_]>::len).collect::<Vec<_>>(), [3, 1]);
    let most = [16_384, 16_384, 16_384, 16_340].map(|n| vec![7; n]);
    assert_eq!(Block::encode(Seq(0), &most).unwrap().len(), BLOCK_BYTES_MAX);
}

#[test]
fn what_does_not_fit_is_refused() {
    let long = vec![0; RECORD_BYTES_MAX + 1];
    let bytes = long.len();
    assert_eq!(Block::encode::<&[u8]>(Seq(0), &[]), Err(FrameError::Empty));
    let refused = Block::encode(Seq(3), &[vec![], long.clone()]);
    assert_eq!(refused, Err(FrameError::RecordTooLong { seq: Seq(4), bytes }));
    let refused = Block::encode(Seq(0), &vec![vec![0; RECORD_BYTES_MAX]; 4]);
    assert!(matches!(refused, Err(FrameError::BlockTooLong { .. })));
    let refused = Block::encode(Seq(u64::MAX), &[vec![]]);
    assert_eq!(refused, Err(FrameError::SeqsExhausted { first: Seq(u64::MAX) }));
}
