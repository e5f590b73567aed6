//! The keys that sign checkpoints, in the key file: one, or two while one replaces the other.

use zeroize::Zeroizing;

use super::{KeyFile, KeyFileRefused};

impl KeyFile {
    /// The Ed25519 seed that signs checkpoints; the newest, where there are several.
    pub fn checkpoint_seed(&self) -> &[u8; 32] {
        self.checkpoint.last().expect("a checkpoint key is never removed last")
    }

    /// All of them, oldest first.
    pub fn checkpoint_seeds(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.checkpoint.iter().map(|seed| &**seed)
    }

    /// Adds a seed. It signs once the log holds a record of its public half.
    ///
    /// # Errors
    /// [`KeyFileRefused::CheckpointKey`] when it is there already.
    pub fn add_checkpoint_seed(&mut self, seed: Zeroizing<[u8; 32]>) -> Result<(), KeyFileRefused> {
        if self.checkpoint.contains(&seed) {
            return Err(KeyFileRefused::CheckpointKey);
        }
        self.checkpoint.push(seed);
        Ok(())
    }

    /// Removes the seeds that `is_over` names, once they sign no more.
    ///
    /// # Errors
    /// [`KeyFileRefused::CheckpointKey`] when none would be left.
    pub fn remove_checkpoint_seeds(
        &mut self,
        is_over: impl Fn(&[u8; 32]) -> bool,
    ) -> Result<(), KeyFileRefused> {
        if self.checkpoint_seeds().all(&is_over) {
            return Err(KeyFileRefused::CheckpointKey);
        }
        self.checkpoint.retain(|seed| !is_over(seed));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::OsEntropy;

    #[test]
    fn checkpoint_keys_come_and_go_but_one_stays() {
        let mut keys = KeyFile::generate(&OsEntropy).expect("keys");
        let first = *keys.checkpoint_seed();
        let alone = keys.encode();
        assert!(!String::from_utf8_lossy(&alone).contains("later"), "as it always was");
        assert_eq!(keys.add_checkpoint_seed(Zeroizing::new([7; 32])), Ok(()));
        let again = keys.add_checkpoint_seed(Zeroizing::new([7; 32]));
        assert_eq!(again, Err(KeyFileRefused::CheckpointKey));
        let mut keys = KeyFile::decode(&keys.encode()).expect("what was written");
        assert_eq!(keys.checkpoint_seeds().collect::<Vec<_>>(), [&first, &[7; 32]]);
        assert_eq!(keys.checkpoint_seed(), &[7; 32]);
        assert_eq!(keys.remove_checkpoint_seeds(|_| true), Err(KeyFileRefused::CheckpointKey));
        assert_eq!(keys.remove_checkpoint_seeds(|seed| *seed == first), Ok(()));
        assert_eq!(keys.checkpoint_seeds().collect::<Vec<_>>(), [&[7; 32]]);
    }
}
