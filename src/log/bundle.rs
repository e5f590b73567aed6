//! Entry bundles (C2SP tlog-tiles v0.1.0): up to 256 records, each behind its length. The bytes
//! of a record pass through unchanged.

use super::tile::TILE_WIDTH;

/// How many bytes one record may take in a bundle: its length stands in two bytes.
pub const ENTRY_BYTES_MAX: usize = u16::MAX as usize;

/// Why records are no bundle, or bytes are not the bundle that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// A record is longer than [`ENTRY_BYTES_MAX`]. It can never be published.
    #[error("a record in a bundle has at most 65535 bytes")]
    TooLong,
    /// None, or more than 256.
    #[error("a bundle has 1 to 256 records")]
    Count,
    /// The bytes end inside a record, or before the last one.
    #[error("the bundle ends too early")]
    Truncated,
    /// There are bytes after the last record.
    #[error("the bundle has bytes after its last record")]
    TrailingBytes,
}

/// The bundle of these records.
///
/// # Errors
/// [`BundleError::TooLong`] and [`BundleError::Count`].
pub fn encode_bundle<'a>(
    records: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, BundleError> {
    let (mut bytes, mut count) = (Vec::new(), 0);
    for record in records {
        let length = u16::try_from(record.len()).map_err(|_| BundleError::TooLong)?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(record);
        count += 1;
        check_count(count)?;
    }
    check_count(count)?;
    Ok(bytes)
}

/// The `width` records of a bundle.
///
/// # Errors
/// [`BundleError`], when the bytes are not exactly those of `width` records: fetch them again.
pub fn decode_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    check_count(width)?;
    let (mut records, mut rest) = (Vec::with_capacity(usize::from(width)), bytes);
    for _ in 0..width {
        let (length, after) = rest.split_first_chunk().ok_or(BundleError::Truncated)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (record, after) = after.split_at_checked(length).ok_or(BundleError::Truncated)?;
        records.push(record);
        rest = after;
    }
    if rest.is_empty() { Ok(records) } else { Err(BundleError::TrailingBytes) }
}

fn check_count(count: u16) -> Result<(), BundleError> {
    if 0 < count && count <= TILE_WIDTH { Ok(()) } else { Err(BundleError::Count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_round_trips() {
        let long = vec![7; ENTRY_BYTES_MAX];
        let records: [&[u8]; 3] = [b"one", b"", &long];
        let bytes = encode_bundle(records).expect("a bundle");
        assert_eq!(bytes[..7], *b"\x00\x03one\x00\x00");
        assert_eq!(decode_bundle(&bytes, 3), Ok(records.to_vec()));
        assert_eq!(decode_bundle(&bytes, 2), Err(BundleError::TrailingBytes));
        assert_eq!(decode_bundle(&bytes, 4), Err(BundleError::Truncated));
        assert_eq!(decode_bundle(&bytes[..8], 3), Err(BundleError::Truncated));
        assert_eq!(decode_bundle(&bytes, 0), Err(BundleError::Count));
        assert_eq!(decode_bundle(&bytes, 257), Err(BundleError::Count));
    }

    #[test]
    fn a_bundle_has_1_to_256_records_of_bounded_length() {
        let long = vec![7; ENTRY_BYTES_MAX + 1];
        assert_eq!(encode_bundle([long.as_slice()]), Err(BundleError::TooLong));
        assert_eq!(encode_bundle([]), Err(BundleError::Count));
        assert_eq!(encode_bundle([b"x".as_slice(); 257]), Err(BundleError::Count));
        assert!(encode_bundle([b"x".as_slice(); 256]).is_ok());
    }
}
