//! The grant: the authorization that all its tokens descend from, and the rules of refresh.
//! Pure: `apply` folds what happened and judges nothing, `refresh` judges and changes nothing.

use std::ops::Deref;
use std::sync::Arc;

use crate::domain::client::{ClientMetadata, Rotation};
use crate::domain::command::{Draft, NoDraft, Refresh};
use crate::domain::event::{
    Cause, Event, GrantRevoked, RefreshRefusal, RefreshRefused, RefreshTokenReused,
    RefreshTokenRotated, RefreshTokenUsed, Reuse, Target,
};
use crate::domain::pauses::Pauses;
use crate::domain::refusal::Refusal;
use crate::domain::terms::Terms;
use crate::types::digest::Digest;
use crate::types::id::{GrantId, OriginTag, Seq, SubjectId};
use crate::types::resource::Resources;
use crate::types::scope::Scope;
use crate::types::time::Timestamp;

/// Where a grant stands. Expiry is not in here: it is arithmetic, judged at each use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its tokens may be used.
    Live,
    /// Dead with all its tokens, since this record.
    Revoked(Seq),
    /// Blacklisted with all its tokens, since this record. Lifting the entry revives nothing.
    Blacklisted(Seq),
}

/// The one live refresh token of a grant. Nothing is kept of the generations before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshToken {
    /// How many rotations there were.
    pub generation: u32,
    /// The digest of the current token.
    pub digest: Digest,
    /// The newest first use or issuance: the idle time counts from here, and the window, too.
    pub used_at: Timestamp,
    /// The seq of the record that issued the current generation.
    pub issued: Seq,
    /// The grace window of the generation before; none once the current one was used.
    pub window: Option<Window>,
    /// How many generations in a row were retried from another origin.
    pub shadowed: u16,
}

/// What is left of a rotation while its answer may still be asked for again. It counts from the
/// rotation, the current token's `used_at`, and is never extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Who used it first.
    pub tag: Option<OriginTag>,
    /// Retries so far.
    pub retries: u32,
    /// Those of them from another origin than the first use.
    pub foreign_retries: u16,
}

/// A code, and whether it was exchanged. Its redirect URI is one of the terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The digest of the code.
    pub digest: Digest,
    /// The S256 code challenge (RFC 7636 section 4.3), as the 32 bytes it encodes.
    pub challenge: Option<Digest>,
    /// Not accepted from this instant on.
    pub expires_at: Timestamp,
    /// Whether it was exchanged.
    pub redeemed: bool,
}

/// What only a live grant needs. In one place, so that a dead one can let go of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Held {
    pub(super) code: Option<Code>,
    pub(super) refresh: Option<RefreshToken>,
}

/// A grant. It reads as its terms, too: `grant.client`, `grant.scope`.
///
/// A dead one stays, so that its tokens are known for dead and its trail goes on, but nothing is
/// kept of its code and its refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its identifier.
    pub id: GrantId,
    /// On which terms it was given.
    pub terms: Arc<Terms>,
    /// Who gave it; none when the client asked on its own behalf.
    pub subject: Option<SubjectId>,
    /// When it was given: the absolute expiry counts from here.
    pub created_at: Timestamp,
    /// The record that created it.
    pub created: Seq,
    /// Where it stands.
    pub standing: Standing,
    /// The newest record of its trail.
    pub head: Seq,
    pub(super) held: Option<Box<Held>>,
}

impl Deref for Grant {
    type Target = Terms;

    fn deref(&self) -> &Terms {
        &self.terms
    }
}

/// What a decision says: the events that follow, and the answer.
pub type Judgement<T> = (Vec<Event>, Result<T, Refusal>);

/// How a refresh was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    /// The answer is the successor, whether for the first time or again.
    Successor,
    /// The answer is the presented token: the policy keeps it.
    Same,
}

impl Grant {
    /// Its code; a dead grant has none.
    pub fn code(&self) -> Option<&Code> {
        self.held.as_ref()?.code.as_ref()
    }

    /// Its refresh token; a dead grant has none.
    pub fn refresh_token(&self) -> Option<&RefreshToken> {
        self.held.as_ref()?.refresh.as_ref()
    }

    fn refresh_token_mut(&mut self) -> Option<&mut RefreshToken> {
        self.held.as_mut()?.refresh.as_mut()
    }

    /// Folds one event of this grant in. Total: what the past says is not judged.
    pub fn apply(&mut self, seq: Seq, at: Timestamp, event: &Event) {
        match event {
            Event::CodeRedeemed(_) => {
                if let Some(code) = self.held.as_mut().and_then(|held| held.code.as_mut()) {
                    code.redeemed = true;
                }
            }
            Event::RefreshTokenIssued(issued) if self.standing == Standing::Live => {
                self.held.get_or_insert_default().refresh = Some(RefreshToken {
                    generation: issued.generation,
                    digest: issued.digest,
                    used_at: at,
                    issued: seq,
                    window: None,
                    shadowed: 0,
                });
            }
            Event::RefreshTokenUsed(_) => {
                if let Some(refresh) = self.refresh_token_mut() {
                    refresh.used_at = at;
                    refresh.close_window();
                }
            }
            Event::RefreshTokenRotated(rotated) => {
                if let Some(refresh) = self.refresh_token_mut() {
                    refresh.close_window();
                    refresh.generation = rotated.to;
                    refresh.digest = rotated.digest;
                    refresh.used_at = at;
                    refresh.issued = seq;
                    let (tag, retries, foreign_retries) = (rotated.tag, 0, 0);
                    refresh.window = Some(Window { tag, retries, foreign_retries });
                }
            }
            Event::RefreshTokenRetried(retried) => {
                if let Some(window) = self.refresh_token_mut().and_then(|r| r.window.as_mut()) {
                    window.retries = retried.count;
                    let foreign = u16::from(retried.other_origin);
                    window.foreign_retries = window.foreign_retries.saturating_add(foreign);
                }
            }
            Event::GrantRevoked(_) => self.die(Standing::Revoked(seq)),
            // An access token's entry names the grant too, but leaves it alone.
            Event::BlacklistAdded(added) => {
                if added.whole_grant || matches!(added.target, Target::Grant(_)) {
                    self.die(Standing::Blacklisted(seq));
                }
            }
            Event::LedgerCreated(_)
            | Event::LedgerOpened(_)
            | Event::LedgerClosed(_)
            | Event::ClockStepped(_)
            | Event::LedgerStalled(_)
            | Event::ClientRegistered(_)
            | Event::ClientUpdated(_)
            | Event::ClientSecretRotated(_)
            | Event::ClientDisabled(_)
            | Event::ClientEnabled(_)
            | Event::SubjectRegistered(_)
            | Event::SubjectErased(_)
            | Event::GrantCreated(_)
            | Event::CodeReplayed(_)
            | Event::CodeRefused(_)
            | Event::AccessTokenIssued(_)
            | Event::RefreshTokenIssued(_)
            | Event::RefreshTokenReused(_)
            | Event::RefreshRefused(_)
            | Event::AccessTokenRevoked(_)
            | Event::BlacklistLifted(_)
            | Event::ClientAuthenticationFailed(_)
            | Event::KeyAdded(_)
            | Event::KeyRetired(_)
            | Event::ClientAssertionUsed(_)
            | Event::AuditRead(_) => {}
        }
    }

    fn die(&mut self, how: Standing) {
        if self.standing == Standing::Live {
            self.standing = how;
            self.held = None;
        }
    }

    /// When the refresh token expires by `policy` if it is not used: none means never.
    pub fn refresh_expires_at(
        &self,
        used_at: Timestamp,
        policy: &ClientMetadata,
    ) -> Option<Timestamp> {
        let idle = policy.refresh_idle_s.map(|idle_s| used_at.plus_seconds(idle_s));
        let absolute = policy.refresh_absolute_s.map(|s| self.created_at.plus_seconds(s));
        match (idle, absolute) {
            (Some(idle), Some(absolute)) => Some(idle.min(absolute)),
            (idle, absolute) => idle.or(absolute),
        }
    }

    /// Whether the refresh token is past its expiry at `at`, by the client's policy of today.
    pub fn is_refresh_expired(&self, at: Timestamp, policy: &ClientMetadata) -> bool {
        let used_at = self.refresh_token().map_or(self.created_at, |refresh| refresh.used_at);
        self.refresh_expires_at(used_at, policy).is_some_and(|expires_at| expires_at <= at)
    }

    /// Judges a refresh of this grant: the table of the documentation, row by row.
    ///
    /// `blocked` is what stands against the client, the subject or everything, `policy` the
    /// client's metadata of today, so that a changed policy applies to old grants, and `pauses` the times
    /// in which nobody could be answered.
    pub fn refresh(
        &self,
        at: Timestamp,
        asked: &Refresh,
        policy: &ClientMetadata,
        blocked: Option<RefreshRefusal>,
        pauses: &Pauses,
    ) -> Judgement<Refreshed> {
        // Someone else's token: whoever shows it, the owner's grant must not suffer for it.
        if asked.client != self.client {
            return refused(asked, RefreshRefusal::WrongClient);
        }
        if let Some(reason) = self.obstacle(at, policy).or(blocked) {
            return refused(asked, reason);
        }
        let Some(current) = self.refresh_token() else {
            return refused(asked, RefreshRefusal::Ahead);
        };
        if asked.generation == current.generation {
            // An authentic token of a generation that this log gave to another secret: the log
            // is older than the token (it was restored from a copy).
            if asked.digest != current.digest {
                return refused(asked, RefreshRefusal::Ahead);
            }
            return match &asked.access {
                Err(fault) => refused(asked, (*fault).into()),
                Ok(_) => self.first_use(at, asked, current, policy),
            };
        }
        if current.generation < asked.generation {
            return refused(asked, RefreshRefusal::Ahead);
        }
        match current.excuse(at, asked, policy, pauses) {
            Ok(retried) => match &asked.access {
                Err(fault) => refused(asked, (*fault).into()),
                Ok(_) => (vec![retried.into()], Ok(Refreshed::Successor)),
            },
            Err(how) => reused(asked, current, how),
        }
    }

    /// What stands against this grant itself.
    fn obstacle(&self, at: Timestamp, policy: &ClientMetadata) -> Option<RefreshRefusal> {
        match self.standing {
            Standing::Revoked(_) => Some(RefreshRefusal::Revoked),
            Standing::Blacklisted(_) => Some(RefreshRefusal::Blacklisted),
            Standing::Live => {
                self.is_refresh_expired(at, policy).then_some(RefreshRefusal::Expired)
            }
        }
    }

    fn first_use(
        &self,
        at: Timestamp,
        asked: &Refresh,
        current: &RefreshToken,
        policy: &ClientMetadata,
    ) -> Judgement<Refreshed> {
        let expires_at = self.refresh_expires_at(at, policy);
        let (generation, tag) = (current.generation, asked.tag);
        match (policy.rotation, generation.checked_add(1)) {
            (Rotation::Always, Some(to)) => {
                let digest = asked.successor;
                let rotated = RefreshTokenRotated { from: generation, to, digest, tag, expires_at };
                (vec![rotated.into()], Ok(Refreshed::Successor))
            }
            // After 2^32 rotations the token stays as it is.
            (Rotation::Always, None) | (Rotation::Never, _) => {
                let used = RefreshTokenUsed { generation, tag, expires_at };
                (vec![used.into()], Ok(Refreshed::Same))
            }
        }
    }
}

impl RefreshToken {
    /// Using the successor proves that its owner has it: nothing excuses the predecessor any more.
    fn close_window(&mut self) {
        if let Some(window) = self.window.take() {
            let shadowed = self.shadowed.saturating_add(1);
            self.shadowed = if 0 < window.foreign_retries { shadowed } else { 0 };
        }
    }
}

impl From<NoDraft> for RefreshRefusal {
    fn from(fault: NoDraft) -> Self {
        match fault {
            NoDraft::Scope => Self::Scope,
            NoDraft::Target => Self::Target,
            NoDraft::Dead => Self::Revoked,
        }
    }
}

impl Draft {
    /// Whether the token stays within what was granted.
    ///
    /// # Errors
    /// [`NoDraft::Scope`] or [`NoDraft::Target`]: the edge prepares it again.
    pub fn is_within(&self, scope: &Scope, resources: &Resources) -> Result<(), NoDraft> {
        if !self.scope.is_within(scope) {
            return Err(NoDraft::Scope);
        }
        if !resources.is_empty() && !self.audience.is_within(resources) {
            return Err(NoDraft::Target);
        }
        Ok(())
    }
}

fn refused(asked: &Refresh, reason: RefreshRefusal) -> Judgement<Refreshed> {
    let event = RefreshRefused { reason, generation: asked.generation, count: 1 };
    (vec![event.into()], Err(Refusal::Refresh(reason)))
}

/// The server cannot tell thief from owner, so both lose (RFC 9700 section 4.14.2).
fn reused(asked: &Refresh, current: &RefreshToken, how: Reuse) -> Judgement<Refreshed> {
    let (generation, tag) = (asked.generation, asked.tag);
    let reused = RefreshTokenReused { generation, current: current.generation, how, tag };
    let revoked = GrantRevoked { cause: Cause::Reuse, reason: None };
    (vec![reused.into(), revoked.into()], Err(Refusal::Reused))
}
