//! Leaf and node hashes of the Merkle tree (RFC 6962 section 2.1). Pure: the exact bytes go in, and
//! nothing here may decode or re-encode a record.

use sha2::{Digest as _, Sha256};

use crate::types::digest::LeafHash;

/// The hash of a node of any height: a leaf, an inner node or a root.
pub type NodeHash = LeafHash;

/// The leaf hash of a record: SHA-256 of 0x00 and its exact bytes (RFC 6962 section 2.1).
pub fn leaf_hash(record: &[u8]) -> LeafHash {
    let hash = Sha256::new().chain_update([0x00]).chain_update(record).finalize();
    LeafHash::from_bytes(hash.into())
}

/// The hash of an inner node: SHA-256 of 0x01 and its two children (RFC 6962 section 2.1).
///
/// The first byte differs from that of a leaf, so no record can pass for an inner node.
pub fn node_hash(left: &NodeHash, right: &NodeHash) -> NodeHash {
    // One contiguous message of 65 bytes: cheaper than three updates.
    let mut message = [0x01; 65];
    let (_, children) = message.split_at_mut(1);
    let (to_left, to_right) = children.split_at_mut(32);
    to_left.copy_from_slice(left.as_bytes());
    to_right.copy_from_slice(right.as_bytes());
    LeafHash::from_bytes(Sha256::digest(message).into())
}

/// The root of the tree without leaves: SHA-256 of nothing (RFC 6962 section 2.1).
pub fn empty_root() -> NodeHash {
    LeafHash::from_bytes(Sha256::digest([]).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(hash: &NodeHash) -> String {
        hash.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn leaves_and_the_empty_tree_hash_as_rfc_6962_says() {
        let cases: [(NodeHash, &str); 5] = [
            (empty_root(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (leaf_hash(b""), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (
                leaf_hash(b"L123456"),
                "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56",
            ),
            (leaf_hash(b"one"), "d0d7360ab79f58ab1e1e3fe64ad77e2ea0bc07e36b5f46ed2223edd9298df9e9"),
            (
                leaf_hash(b"three"),
                "671f146c5e471e8a1a83a3c214ce4ba907b8f3a5888d14cc8cd3ce75bb12ef94",
            ),
        ];
        for (hash, expected) in cases {
            assert_eq!(hex(&hash), expected);
        }
    }

    #[test]
    fn a_node_is_its_prefix_and_its_two_children() {
        let (left, right) = (leaf_hash(b"left"), leaf_hash(b"right"));
        let mut message = vec![0x01];
        message.extend_from_slice(left.as_bytes());
        message.extend_from_slice(right.as_bytes());
        let expected: [u8; 32] = Sha256::digest(&message).into();
        assert_eq!(node_hash(&left, &right).as_bytes(), &expected);
        assert_ne!(node_hash(&left, &right), node_hash(&right, &left));
    }
}
