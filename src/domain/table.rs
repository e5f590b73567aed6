//! A table of many small entries found by random keys: dense, without a stall when it grows.
//! Ten million entries move neither when the table grows nor when one is removed.

use std::num::NonZeroU32;

use hashbrown::HashTable;

/// An entry that knows its own key. Keys are random bytes, so they are their own hash.
pub(crate) trait Keyed {
    /// The key, at least 16 random bytes.
    fn key(&self) -> &[u8; 16];
}

/// The place of an entry, counted from 1 so that having none takes no room; another entry may take
/// it after a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(NonZeroU32);

impl Slot {
    fn of(index: usize) -> Self {
        let number = u32::try_from(index + 1).expect("fewer than 2^32 entries");
        Self(NonZeroU32::new(number).expect("one more than an index is not 0"))
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

const CHUNK: usize = 4096;

/// Entries in chunks that never move, and an index that grows a shard at a time.
#[derive(Debug)]
pub(crate) struct Table<V> {
    chunks: Vec<Vec<Option<V>>>,
    free: Vec<Slot>,
    shards: Vec<HashTable<Slot>>,
    len: usize,
}

fn hash(key: &[u8; 16]) -> u64 {
    let (head, _) = key.split_at(8);
    u64::from_le_bytes(head.try_into().expect("eight bytes"))
}

impl<V: Keyed> Table<V> {
    /// An empty table whose index is cut into `shards` (a power of two not above 256).
    pub(crate) fn with_shards(shards: usize) -> Self {
        let shards = (0..shards.clamp(1, 256)).map(|_| HashTable::new()).collect();
        Self { chunks: Vec::new(), free: Vec::new(), shards, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn shard(&self, key: &[u8; 16]) -> usize {
        let last = key.last().copied().unwrap_or_default();
        usize::from(last) % self.shards.len()
    }

    /// The place of `key`.
    pub(crate) fn slot(&self, key: &[u8; 16]) -> Option<Slot> {
        let shard = self.shards.get(self.shard(key))?;
        shard.find(hash(key), |slot| self.at(*slot).is_some_and(|v| v.key() == key)).copied()
    }

    /// The entry at `slot`, if there is one.
    pub(crate) fn at(&self, slot: Slot) -> Option<&V> {
        let i = slot.index();
        self.chunks.get(i / CHUNK)?.get(i % CHUNK)?.as_ref()
    }

    /// The entry at `slot`, to be changed (its key may not).
    pub(crate) fn at_mut(&mut self, slot: Slot) -> Option<&mut V> {
        let i = slot.index();
        self.chunks.get_mut(i / CHUNK)?.get_mut(i % CHUNK)?.as_mut()
    }

    /// The entry of `key`.
    pub(crate) fn find(&self, key: &[u8; 16]) -> Option<&V> {
        self.at(self.slot(key)?)
    }

    /// The entry of `key`, to be changed (its key may not).
    pub(crate) fn find_mut(&mut self, key: &[u8; 16]) -> Option<&mut V> {
        self.at_mut(self.slot(key)?)
    }

    /// Puts `entry` in, in place of one with the same key.
    pub(crate) fn insert(&mut self, entry: V) -> Slot {
        if let Some(slot) = self.slot(entry.key()) {
            if let Some(old) = self.at_mut(slot) {
                *old = entry;
            }
            return slot;
        }
        let key = *entry.key();
        let slot = self.place(entry);
        let index = self.shard(&key);
        let chunks = &self.chunks;
        let rehash = |slot: &Slot| {
            let i = slot.index();
            let entry = chunks.get(i / CHUNK).and_then(|c| c.get(i % CHUNK)?.as_ref());
            entry.map_or(0, |v| hash(v.key()))
        };
        if let Some(shard) = self.shards.get_mut(index) {
            shard.insert_unique(hash(&key), slot, rehash);
        }
        self.len += 1;
        slot
    }

    fn place(&mut self, entry: V) -> Slot {
        if let Some(slot) = self.free.pop() {
            let i = slot.index();
            if let Some(place) = self.chunks.get_mut(i / CHUNK).and_then(|c| c.get_mut(i % CHUNK)) {
                *place = Some(entry);
            }
            return slot;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            // The first chunk grows as needed, so that a small table stays small.
            let first = self.chunks.is_empty();
            self.chunks.push(if first { Vec::new() } else { Vec::with_capacity(CHUNK) });
        }
        let full = self.chunks.len().saturating_sub(1) * CHUNK;
        let chunk = self.chunks.last_mut().expect("a chunk with room was just made sure of");
        chunk.push(Some(entry));
        Slot::of(full + chunk.len() - 1)
    }

    /// Takes the entry of `key` out.
    pub(crate) fn remove(&mut self, key: &[u8; 16]) -> Option<V> {
        let slot = self.slot(key)?;
        let index = self.shard(key);
        let shard = self.shards.get_mut(index)?;
        if let Ok(found) = shard.find_entry(hash(key), |have| *have == slot) {
            found.remove();
        }
        let i = slot.index();
        let taken = self.chunks.get_mut(i / CHUNK)?.get_mut(i % CHUNK)?.take();
        self.free.push(slot);
        self.len -= 1;
        taken
    }

    /// All entries, in no order that may be observed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &V> {
        self.chunks.iter().flatten().filter_map(Option::as_ref)
    }

    /// Forgets all entries, keeps the room.
    pub(crate) fn clear(&mut self) {
        self.chunks.truncate(1);
        self.chunks.iter_mut().for_each(Vec::clear);
        self.free.clear();
        self.shards.iter_mut().for_each(HashTable::clear);
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Entry([u8; 16], u32);

    impl Keyed for Entry {
        fn key(&self) -> &[u8; 16] {
            &self.0
        }
    }

    fn key(i: u32) -> [u8; 16] {
        *blake3::hash(&i.to_le_bytes()).as_bytes().first_chunk().expect("32 bytes")
    }

    #[test]
    fn entries_are_found_until_removed_and_places_are_used_again() {
        let mut table = Table::with_shards(4);
        for i in 0..20_000 {
            table.insert(Entry(key(i), i));
        }
        for i in (0..20_000).step_by(2) {
            assert_eq!(table.remove(&key(i)), Some(Entry(key(i), i)));
        }
        let places = table.chunks.len();
        for i in 20_000..30_000 {
            table.insert(Entry(key(i), i));
        }
        assert_eq!((table.len(), table.chunks.len()), (20_000, places));
        for i in 0..30_000 {
            let gone = i < 20_000 && i % 2 == 0;
            assert_eq!(table.find(&key(i)).is_none(), gone, "{i}");
        }
        assert_eq!(table.iter().count(), 20_000);
    }
}
