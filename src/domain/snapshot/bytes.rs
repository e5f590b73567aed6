//! Numbers and ids as bytes of fixed width, little-endian: how a snapshot holds its long tables.

use crate::types::id::Seq;
use crate::types::time::Timestamp;

/// Why bytes are not what [`Put`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended;

/// Bytes that grow.
#[derive(Debug, Default)]
pub(super) struct Put(pub(super) Vec<u8>);

impl Put {
    pub(super) fn u8(&mut self, number: u8) {
        self.0.push(number);
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn array<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn seq(&mut self, seq: Seq) {
        self.u64(seq.0);
    }

    pub(super) fn at(&mut self, at: Timestamp) {
        self.u64(at.micros());
    }

    /// A mark whether there is one, and then itself.
    pub(super) fn option<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            put(self, value);
        }
    }
}

/// Bytes that are read from the front.
#[derive(Debug)]
pub(super) struct Take<'a>(pub(super) &'a [u8]);

impl Take<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Ended> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Ended)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Ended> {
        let [number] = self.array()?;
        Ok(number)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Ended> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Ended> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn seq(&mut self) -> Result<Seq, Ended> {
        self.u64().map(Seq)
    }

    pub(super) fn at(&mut self) -> Result<Timestamp, Ended> {
        self.u64().map(Timestamp::from_micros)
    }

    pub(super) fn option<T>(
        &mut self,
        take: impl FnOnce(&mut Self) -> Result<T, Ended>,
    ) -> Result<Option<T>, Ended> {
        match self.u8()? {
            0 => Ok(None),
            1 => take(self).map(Some),
            _ => Err(Ended),
        }
    }
}
