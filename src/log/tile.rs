//! Where the tree is stored: the coordinates and paths of C2SP tlog-tiles v0.1.0, and which tiles a
//! tree of a given size has. It reads and writes nothing.

use std::fmt;
use std::str::FromStr;

use super::tree::NodeAt;

/// How many hashes, or entries, a full tile has.
pub const TILE_WIDTH: u16 = 256;
/// The highest level that a path may name.
pub const TILE_LEVEL_MAX: u8 = 63;

/// A tree of 2^64 leaves has no tiles above this level.
const LEVEL_MAX: u8 = 7;
/// Each level of tiles stands for this many levels of the tree.
const LEVELS_PER_TILE: u8 = 8;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// The entries themselves: a bundle.
    Entries,
    /// The hashes of the nodes at eight times this level: 0 for the leaf hashes.
    Hashes(u8),
}

/// One tile. Its text (`Display`, `FromStr`) is its path below the prefix of the log, such as
/// `tile/0/x001/067` or, for a partial tile of 8 hashes, `tile/0/x001/067.p/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    kind: TileKind,
    index: u64,
    width: u16,
}

/// Why a text is not the path of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the path of a tile, like tile/0/x001/067 or tile/entries/000.p/8")]
pub struct NotATile;

impl TileId {
    /// The tile of this kind at this position; `None` when the level is above [`TILE_LEVEL_MAX`] or
    /// `width` is not in 1 to [`TILE_WIDTH`].
    pub fn new(kind: TileKind, index: u64, width: u16) -> Option<Self> {
        let level_exists = match kind {
            TileKind::Entries => true,
            TileKind::Hashes(level) => level <= TILE_LEVEL_MAX,
        };
        let width_exists = 0 < width && width <= TILE_WIDTH;
        (level_exists && width_exists).then_some(Self { kind, index, width })
    }

    /// What the tile holds.
    pub fn kind(self) -> TileKind {
        self.kind
    }

    /// The position among the tiles of its kind, from 0.
    pub fn index(self) -> u64 {
        self.index
    }

    /// How many hashes or entries it has: 1 to [`TILE_WIDTH`].
    pub fn width(self) -> u16 {
        self.width
    }

    /// Whether it has all its hashes or entries, and so will never be followed by a wider one.
    pub fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The position of its first hash or entry among all of its level.
    pub fn start(self) -> u64 {
        self.index.saturating_mul(u64::from(TILE_WIDTH))
    }

    /// Whether a tree of `size` has this tile, whole or as the beginning of a wider one.
    pub fn exists_in(self, size: u64) -> bool {
        let width = u64::from(self.width);
        self.index
            .checked_mul(u64::from(TILE_WIDTH))
            .and_then(|start| start.checked_add(width))
            .is_some_and(|end| end <= nodes_at(self.kind, size))
    }

    /// The tile that holds `node`, or what it is made of, as wide as a tree of `size` has it; and
    /// how many hashes of the tile come before. `None` when that tree has no such node.
    pub fn of_node(node: NodeAt, size: u64) -> Option<(Self, u16)> {
        let kind = TileKind::Hashes(node.level / LEVELS_PER_TILE);
        let height = u32::from(node.level % LEVELS_PER_TILE);
        let first = node.index.checked_mul(1 << height)?;
        let end = first.checked_add(1 << height)?;
        if nodes_at(kind, size) < end {
            return None;
        }
        let offset = u16::try_from(first % u64::from(TILE_WIDTH)).ok()?;
        Some((Self::at(kind, first / u64::from(TILE_WIDTH), size)?, offset))
    }

    /// The bundle that holds the entry at `index` of a tree of `size`, and its place in it.
    pub fn of_entry(index: u64, size: u64) -> Option<(Self, u16)> {
        if size <= index {
            return None;
        }
        let offset = u16::try_from(index % u64::from(TILE_WIDTH)).ok()?;
        Some((Self::at(TileKind::Entries, index / u64::from(TILE_WIDTH), size)?, offset))
    }

    /// The tile of this kind and position as wide as a tree of `size` has it, if it has it.
    pub fn at(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let start = index.checked_mul(u64::from(TILE_WIDTH))?;
        let width = nodes_at(kind, size).saturating_sub(start).min(u64::from(TILE_WIDTH));
        Self::new(kind, index, u16::try_from(width).ok()?)
    }
}

/// The tiles that a tree of `new` has and one of `old` has not: full and partial ones, bundles
/// first, then the hashes level by level. With `old` 0, all tiles. Written in this order and
/// before the checkpoint of `new`, none is missing for a reader who has the checkpoint.
pub fn tiles_between(old: u64, new: u64) -> impl Iterator<Item = TileId> {
    let kinds = std::iter::once(TileKind::Entries).chain((0..=LEVEL_MAX).map(TileKind::Hashes));
    kinds.flat_map(move |kind| {
        let (from, to) = (nodes_at(kind, old), nodes_at(kind, new));
        // The tile where the old tree ended is new whenever anything was added to it.
        let first = from / u64::from(TILE_WIDTH);
        let end = if from < to { to.div_ceil(u64::from(TILE_WIDTH)) } else { first };
        (first..end).filter_map(move |index| TileId::at(kind, index, new))
    })
}

/// How many entries, or complete nodes of the level, a tree of `size` has.
fn nodes_at(kind: TileKind, size: u64) -> u64 {
    match kind {
        TileKind::Entries => size,
        TileKind::Hashes(level) => {
            size.checked_shr(u32::from(level) * u32::from(LEVELS_PER_TILE)).unwrap_or(0)
        }
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Entries => f.write_str("tile/entries/")?,
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
        }
        // Three digits a group, so that no directory has more than a thousand files.
        for place in (1..=6).rev() {
            let group = self.index / 1000_u64.pow(place);
            if 0 < group {
                write!(f, "x{:03}/", group % 1000)?;
            }
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

impl FromStr for TileId {
    type Err = NotATile;

    fn from_str(path: &str) -> Result<Self, NotATile> {
        let rest = path.strip_prefix("tile/").ok_or(NotATile)?;
        let (kind, rest) = rest.split_once('/').ok_or(NotATile)?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(level.parse().map_err(|_| NotATile)?),
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, width.parse().map_err(|_| NotATile)?),
            None => (rest, TILE_WIDTH),
        };
        let tile = Self::new(kind, parse_index(index)?, width).ok_or(NotATile)?;
        // One tile has one path: no leading zeros, signs or empty groups, no full tile as partial.
        if tile.to_string() == path { Ok(tile) } else { Err(NotATile) }
    }
}

fn parse_index(text: &str) -> Result<u64, NotATile> {
    text.split('/').try_fold(0_u64, |index, group| {
        let digits = group.strip_prefix('x').unwrap_or(group);
        let group: u64 = digits.parse().map_err(|_| NotATile)?;
        index.checked_mul(1000).and_then(|index| index.checked_add(group)).ok_or(NotATile)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(tiles: impl Iterator<Item = TileId>) -> Vec<String> {
        tiles.map(|tile| tile.to_string()).collect()
    }

    #[test]
    fn a_path_round_trips() {
        let cases = [
            ("tile/0/x001/x234/067", TileKind::Hashes(0), 1_234_067, 256),
            ("tile/63/000.p/1", TileKind::Hashes(63), 0, 1),
            ("tile/entries/999.p/255", TileKind::Entries, 999, 255),
            ("tile/entries/x001/000", TileKind::Entries, 1000, 256),
            ("tile/7/x018/x446/x744/x073/x709/x551/615", TileKind::Hashes(7), u64::MAX, 256),
        ];
        for (path, kind, index, width) in cases {
            let tile = TileId::new(kind, index, width).expect("a tile");
            assert_eq!(tile.to_string(), path);
            assert_eq!(path.parse(), Ok(tile));
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in [
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "tile/0/1",
            "tile/0/0001",
            "tile/64/000",
            "tile/00/000",
            "tile/+1/000",
            "tile/0/x000/001",
            "tile/0/001/000",
            "tile/0/x001",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/x/000",
            "tile/0/000/",
            "/tile/0/000",
            "tile/data/000",
            "tile/entries/000.p/1/2",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/x1/000",
            "tile/0/..",
            "tile/0/ 00",
        ] {
            assert_eq!(path.parse::<TileId>(), Err(NotATile), "{path}");
        }
    }

    #[test]
    fn seventy_thousand_leaves_have_the_tiles_of_the_specification() {
        let tiles: Vec<TileId> = tiles_between(0, 70_000).collect();
        let count = |kind, full| {
            tiles.iter().filter(|tile| tile.kind() == kind && tile.is_full() == full).count()
        };
        assert_eq!((count(TileKind::Entries, true), count(TileKind::Entries, false)), (273, 1));
        let level =
            |level| (count(TileKind::Hashes(level), true), count(TileKind::Hashes(level), false));
        assert_eq!([level(0), level(1), level(2), level(3)], [(273, 1), (1, 1), (0, 1), (0, 0)]);
        let partial = |path: &str| tiles.iter().any(|tile| tile.to_string() == path);
        assert!(
            partial("tile/0/273.p/112") && partial("tile/1/001.p/17") && partial("tile/2/000.p/1")
        );
    }

    #[test]
    fn growing_shows_the_tiles_that_are_new() {
        assert_eq!(paths(tiles_between(0, 0)), [""; 0]);
        assert_eq!(paths(tiles_between(5, 5)), [""; 0]);
        assert_eq!(paths(tiles_between(5, 7)), ["tile/entries/000.p/7", "tile/0/000.p/7"]);
        let expected = ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"];
        assert_eq!(paths(tiles_between(255, 256)), expected);
        let expected = ["tile/entries/001.p/1", "tile/0/001.p/1"];
        assert_eq!(paths(tiles_between(256, 257)), expected);
        let expected = [
            "tile/entries/000",
            "tile/entries/001",
            "tile/entries/002.p/1",
            "tile/0/000",
            "tile/0/001",
            "tile/0/002.p/1",
            "tile/1/000.p/2",
        ];
        assert_eq!(paths(tiles_between(200, 513)), expected);
        assert_eq!(tiles_between(u64::MAX - 1, u64::MAX).count(), 2);
    }

    #[test]
    fn a_tree_has_the_tiles_that_growing_showed() {
        let of = |path: &str| path.parse::<TileId>().expect("a path");
        assert!(of("tile/0/000.p/5").exists_in(5) && of("tile/0/000.p/5").exists_in(300));
        assert!(!of("tile/0/000.p/6").exists_in(5) && !of("tile/1/000.p/1").exists_in(255));
        assert!(!of("tile/8/000.p/1").exists_in(u64::MAX));
        for size in [1, 255, 256, 257, 70_000] {
            assert!(tiles_between(0, size).all(|tile| tile.exists_in(size)));
        }
    }

    #[test]
    fn a_node_is_found_in_its_tile() {
        let of = |level, index| {
            let node = NodeAt { level, index };
            TileId::of_node(node, 70_000).map(|(tile, offset)| (tile.to_string(), offset))
        };
        assert_eq!(of(0, 69_999), Some(("tile/0/273.p/112".into(), 111)));
        assert_eq!(of(7, 1), Some(("tile/0/000".into(), 128)));
        assert_eq!(of(8, 1), Some(("tile/1/000".into(), 1)));
        assert_eq!(of(16, 0), Some(("tile/2/000.p/1".into(), 0)));
        assert_eq!((of(0, 70_000), of(17, 0), of(63, 1)), (None, None, None));
        let entry = TileId::of_entry(69_999, 70_000).map(|(tile, at)| (tile.to_string(), at));
        assert_eq!(entry, Some(("tile/entries/273.p/112".into(), 111)));
        assert_eq!(TileId::of_entry(70_000, 70_000), None);
    }
}
