//! A table of many small entries found by random keys: dense, without a stall when it grows.
//! Ten million entries move neither when the table grows nor when one is removed.

use std::num::NonZeroU32;

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};

/// An entry that knows its own key. Keys are random bytes, so they are their own hash.
pub(crate) trait Keyed {
    /// The key, at least 16 random bytes.
    fn key(&self) -> &[u8; 16];
}

/// The place of an entry, counted from 1 so that having none takes no room; another entry may take
/// it after a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slot(NonZeroU32);

impl Slot {
    fn of(index: usize) -> Self {
        let number = u32::try_from(index + 1).expect("fewer than 2^32 entries");
        Self(NonZeroU32::new(number).expect("one more than an index is not 0"))
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }

    /// The slot as a number; 0 for none.
    pub(crate) fn number(slot: Option<Self>) -> u32 {
        slot.map_or(0, |slot| slot.0.get())
    }

    /// The slot of that number.
    pub(crate) fn of_number(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }
}

const CHUNK: usize = 4096;
/// How many places [`Table::some`] looks at.
const NEARBY: usize = 64;

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

/// The hash of the entry at `slot`, when an index grows.
fn hash_at<V: Keyed>(chunks: &[Vec<Option<V>>], slot: Slot) -> u64 {
    let i = slot.index();
    let entry = chunks.get(i / CHUNK).and_then(|chunk| chunk.get(i % CHUNK)?.as_ref());
    entry.map_or(0, |entry| hash(entry.key()))
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
        self.add(entry)
    }

    /// Puts `entry` in, whose key is not in the table: the caller has looked.
    pub(crate) fn add(&mut self, entry: V) -> Slot {
        let key = *entry.key();
        let slot = self.place(entry);
        self.list(&key, slot);
        slot
    }

    /// Makes the entry at `slot` known by its key.
    fn list(&mut self, key: &[u8; 16], slot: Slot) {
        let index = self.shard(key);
        let chunks = &self.chunks;
        let rehash = |slot: &Slot| hash_at(chunks, *slot);
        if let Some(shard) = self.shards.get_mut(index) {
            shard.insert_unique(hash(key), slot, rehash);
        }
        self.len += 1;
    }

    /// Makes room for `count` more entries at once.
    pub(crate) fn reserve(&mut self, count: usize) {
        let chunks = &self.chunks;
        let rehash = |slot: &Slot| hash_at(chunks, *slot);
        let each = count.div_ceil(self.shards.len());
        self.shards.iter_mut().for_each(|shard| shard.reserve(each, rehash));
    }

    /// Adds an entry, or a hole, at the next place: for who puts a table together again in the
    /// order of [`Table::places`], with no key twice.
    pub(crate) fn push(&mut self, entry: Option<V>) {
        let key = entry.as_ref().map(|entry| *entry.key());
        let slot = self.append(entry);
        match key {
            Some(key) => self.list(&key, slot),
            None => self.free.push(slot),
        }
    }

    /// All places in order, those without an entry too.
    pub(crate) fn places(&self) -> impl Iterator<Item = Option<&V>> {
        self.chunks.iter().flatten().map(Option::as_ref)
    }

    /// All entries with their places.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (Slot, &V)> {
        let places = self.places().enumerate();
        places.filter_map(|(index, entry)| Some((Slot::of(index), entry?)))
    }

    fn place(&mut self, entry: V) -> Slot {
        if let Some(slot) = self.free.pop() {
            let i = slot.index();
            if let Some(place) = self.chunks.get_mut(i / CHUNK).and_then(|c| c.get_mut(i % CHUNK)) {
                *place = Some(entry);
            }
            return slot;
        }
        self.append(Some(entry))
    }

    fn append(&mut self, entry: Option<V>) -> Slot {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            // The first chunk grows as needed, so that a small table stays small.
            let first = self.chunks.is_empty();
            self.chunks.push(if first { Vec::new() } else { Vec::with_capacity(CHUNK) });
        }
        let full = self.chunks.len().saturating_sub(1) * CHUNK;
        let chunk = self.chunks.last_mut().expect("a chunk with room was just made sure of");
        chunk.push(entry);
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

    /// Some entry near the newest, found in constant time; `None` where there is none nearby.
    pub(crate) fn some(&self) -> Option<&V> {
        self.chunks.last()?.iter().rev().take(NEARBY).find_map(Option::as_ref)
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
