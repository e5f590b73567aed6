//! Live access tokens in the projection: found by digest, listed by grant, gone when they expire.

use std::ops::Deref;
use std::sync::Arc;

use crate::domain::event::AccessTokenIssued;
use crate::domain::record::Record;
use crate::domain::state::State;
use crate::domain::table::{Keyed, Slot};
use crate::domain::terms::Cover;
use crate::types::digest::ShortDigest;
use crate::types::id::Seq;
use crate::types::time::Timestamp;

/// Expired tokens dropped per record: twice what a record can add, so the backlog shrinks, and no
/// record waits for a long sweep.
const EXPIRED_PER_RECORD_MAX: usize = 4;

/// A live access token. It leaves memory when it expires or is revoked. It reads as what it covers,
/// too: `token.scope`, `token.audience`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The first 16 bytes of its digest.
    pub digest: ShortDigest,
    pub(super) grant: Slot,
    /// The record that issued it.
    pub issued: Seq,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// What it is good for.
    pub cover: Arc<Cover>,
    /// The generation of the refresh token that asked for it.
    pub generation: Option<u32>,
    pub(super) previous: Option<Slot>,
    pub(super) next: Option<Slot>,
}

impl Deref for Token {
    type Target = Cover;

    fn deref(&self) -> &Cover {
        &self.cover
    }
}

impl Keyed for Token {
    fn key(&self) -> &[u8; 16] {
        self.digest.as_bytes()
    }
}

impl State {
    pub(super) fn issue(&mut self, record: &Record, data: &AccessTokenIssued) {
        let slot = record.about.grant.and_then(|id| self.grants.slot(id.as_bytes()));
        let Some(grant) = slot else { return };
        // Nobody draws 256 bits twice, but a log that was made up may say so: without this the
        // list would run in a circle.
        self.forget_token(data.digest.short());
        let next = self.grants.at(grant).and_then(|entry| entry.tokens);
        let digest = data.digest.short();
        let slot = self.tokens.add(Token {
            digest,
            grant,
            issued: record.seq,
            issued_at: record.at,
            expires_at: data.expires_at,
            cover: self.covers.share(Cover {
                scope: data.scope.clone(),
                audience: data.audience.clone(),
                format: data.format,
                key: data.key.clone(),
            }),
            generation: data.generation,
            previous: None,
            next,
        });
        if let Some(next) = next.and_then(|slot| self.tokens.at_mut(slot)) {
            next.previous = Some(slot);
        }
        if let Some(entry) = self.grants.at_mut(grant) {
            entry.tokens = Some(slot);
        }
        self.expiring.entry(data.expires_at.seconds()).or_default().push(slot);
    }

    pub(super) fn forget_token(&mut self, digest: ShortDigest) {
        let Some(token) = self.tokens.remove(digest.as_bytes()) else { return };
        if let Some(next) = token.next.and_then(|slot| self.tokens.at_mut(slot)) {
            next.previous = token.previous;
        }
        if let Some(previous) = token.previous {
            if let Some(previous) = self.tokens.at_mut(previous) {
                previous.next = token.next;
            }
        } else if let Some(entry) = self.grants.at_mut(token.grant) {
            entry.tokens = token.next;
        }
    }

    /// Drops some of the tokens that expired before `at`: driven by the records, so that every
    /// replay drops the same ones at the same place.
    pub(super) fn forget_expired(&mut self, at: Timestamp) {
        for _ in 0..EXPIRED_PER_RECORD_MAX {
            let Some(mut bucket) = self.expiring.first_entry() else { return };
            if at.seconds() <= *bucket.key() {
                return;
            }
            let expired = bucket.get_mut().pop();
            if bucket.get().is_empty() {
                bucket.remove();
            }
            // Its place may have been left early and taken by another token since.
            let token = expired.and_then(|slot| self.tokens.at(slot));
            if let Some(token) = token.filter(|token| token.expires_at < at) {
                self.forget_token(token.digest);
            }
        }
    }

    /// Notes when each token expires: for a projection that was put together again.
    pub(super) fn expect_expiries(&mut self) {
        for (slot, token) in self.tokens.slots() {
            self.expiring.entry(token.expires_at.seconds()).or_default().push(slot);
        }
    }

    /// The first token in the list of the grant at `slot`, and the one after each.
    pub(super) fn tokens_from(&self, first: Option<Slot>) -> impl Iterator<Item = &Token> {
        let at = move |slot: Option<Slot>| slot.and_then(|slot| self.tokens.at(slot));
        std::iter::successors(at(first), move |token| at(token.next))
    }
}
