//! The only file that asks the system for randomness. Everything else is given its bytes.

use std::sync::atomic::{AtomicU64, Ordering};

use rand::Rng;

/// Where random bytes come from.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` with unpredictable bytes.
    ///
    /// # Panics
    /// When the system has no randomness to give: nothing secret may be made then.
    fn fill(&self, bytes: &mut [u8]);
}

/// `N` fresh bytes from `entropy`.
pub fn bytes<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

/// The operating system's generator.
#[derive(Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    #[allow(clippy::disallowed_methods)] // this is the one place
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives randomness once it has booted");
    }
}

/// A generator for each thread (ChaCha12, seeded by the system and again every 64 KiB): for what
/// every request needs, where a call to the system each time costs more than the rest of it.
#[derive(Debug, Default)]
pub struct ThreadEntropy;

impl Entropy for ThreadEntropy {
    #[allow(clippy::disallowed_methods)] // this is the one place
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// Bytes that follow from a seed: for tests and simulations, never for secrets.
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    drawn: AtomicU64,
}

impl SeededEntropy {
    /// The sequence that belongs to `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { seed, drawn: AtomicU64::new(0) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let turn = self.drawn.fetch_add(1, Ordering::SeqCst);
        let mut hasher = blake3::Hasher::new_derive_key("token-ledger 2026 seeded entropy v1");
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(&turn.to_le_bytes());
        hasher.finalize_xof().fill(bytes);
    }
}
