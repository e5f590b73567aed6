//! What excuses a spent refresh token: the grace in which the answer to its use may be asked for again.

use crate::domain::client::ClientMetadata;
use crate::domain::command::Refresh;
use crate::domain::event::{RefreshTokenRetried, Reuse};
use crate::domain::grant::RefreshToken;
use crate::domain::pauses::Pauses;
use crate::types::time::Timestamp;

impl RefreshToken {
    /// What excuses a spent token: its answer may have been lost, or a sibling process was faster.
    pub(super) fn excuse(
        &self,
        at: Timestamp,
        asked: &Refresh,
        policy: &ClientMetadata,
        pauses: &Pauses,
    ) -> Result<RefreshTokenRetried, Reuse> {
        let window = self.window.ok_or(Reuse::Spent)?;
        // Only the true predecessor derives the current token; its own digest is not kept.
        let is_predecessor = asked.generation.checked_add(1) == Some(self.generation)
            && asked.successor == self.digest;
        let grace_micros = u64::from(policy.grace_s) * 1_000_000 + pauses.since(self.used_at);
        let closes_at = self.used_at.plus_micros(grace_micros);
        if !is_predecessor || closes_at <= at {
            return Err(Reuse::Spent);
        }
        // Processes of one host race all the time; only another origin is counted.
        let other_origin = asked.tag != window.tag;
        if other_origin {
            if policy.grace_retries_max <= u32::from(window.foreign_retries) {
                return Err(Reuse::Spent);
            }
            let in_a_row = u32::from(self.shadowed) + 1;
            if 0 < policy.shadow_generations_max && policy.shadow_generations_max <= in_a_row {
                return Err(Reuse::Shadowed);
            }
        }
        let count = window.retries.saturating_add(1);
        let generation = asked.generation;
        Ok(RefreshTokenRetried { generation, count, tag: asked.tag, other_origin })
    }
}
