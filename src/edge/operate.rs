//! What operators do: revoke grants, blacklist and lift, erase people.

use std::sync::Arc;

use crate::audit::records::first_with_digest;
use crate::crypto::leak::{TokenKind, kind_and_digest};
use crate::crypto::presented::Presented;
use crate::domain::checkpoint_keys::CHECKPOINT_PURPOSE;
use crate::domain::command::{BlacklistTarget, Command, Owner};
use crate::domain::event::{Event, Target};
use crate::domain::record::{About, Actor, Origin, Record};
use crate::domain::refusal::Refusal;
use crate::domain::state::Entry;
use crate::edge::authorize::{check_sub, check_sub_text};
use crate::edge::fault::Fault;
use crate::edge::{Caller, Edge};
use crate::entropy::{Entropy, bytes};
use crate::ledger::vault::{Person, Vault};
use crate::oauth::error::ErrorCode;
use crate::types::digest::Digest;
use crate::types::id::{BlacklistId, ClientId, GrantId, KeyId, Seq, SubjectId};
use crate::types::secret::Secret;

/// What the operator wants blacklisted, as it was asked for.
pub enum Banned {
    /// A token in full.
    Token(Secret),
    /// A token by its digest.
    Digest(Digest),
    /// A grant.
    Grant(GrantId),
    /// A resource owner, by `sub`.
    Subject(String),
    /// A client.
    Client(ClientId),
    /// A signing key.
    Key(KeyId),
    /// Everything.
    All,
}

/// A new entry.
pub struct Blacklisted {
    /// As it stands on the blacklist.
    pub entry: Entry,
    /// Of a resource owner: whether nobody of that name was known before, as after a slip of the pen.
    pub first_seen: Option<bool>,
}

impl Edge {
    /// Revokes a grant with all its tokens.
    ///
    /// # Errors
    /// `not_found`, or unavailable when it is not known to be durable.
    pub async fn revoke_grant(
        &self,
        actor: Actor,
        caller: &Caller,
        grant: GrantId,
        reason: Option<String>,
    ) -> Result<Option<Seq>, Fault> {
        let origin = self.origin_of_grant(&grant, caller)?;
        let asked = self.asked(actor, origin, Command::RevokeGrant { grant, reason });
        let answer = self.submit(asked).await?;
        answer.outcome?;
        Ok(answer.seq)
    }

    /// Blacklists; durable when it returns.
    ///
    /// # Errors
    /// `not_found`, a conflict when the operator would lock itself out, or unavailable.
    pub async fn blacklist(
        &self,
        actor: Actor,
        caller: &Caller,
        banned: Banned,
        reason: String,
    ) -> Result<Blacklisted, Fault> {
        let mut first_seen = None;
        let (target, origin) = match banned {
            Banned::Token(token) => (self.token_target(&token)?, None),
            Banned::Digest(digest) => (self.digest_target(digest).await?, None),
            Banned::Grant(grant) => (BlacklistTarget::Other(Target::Grant(grant)), None),
            Banned::Client(client) => {
                (BlacklistTarget::Other(Target::Client(client)), Some(caller.in_clear()))
            }
            Banned::Key(kid) => {
                self.check_not_checkpoint_key(&kid)?;
                self.spare_signer(actor.clone(), caller, &kid).await?;
                (BlacklistTarget::Other(Target::Key(kid)), Some(caller.in_clear()))
            }
            Banned::All => (BlacklistTarget::Other(Target::All), Some(caller.in_clear())),
            Banned::Subject(name) => {
                let (target, origin, is_new) = self.person_target(caller, name).await?;
                first_seen = is_new;
                (target, Some(origin))
            }
        };
        let id = BlacklistId::from_bytes(bytes(self.entropy.as_ref()));
        let asked = self.asked(actor, origin, Command::AddBlacklist { id, target, reason });
        self.submit(asked).await?.outcome?;
        let entry = self.ledger.state().entry(&id).cloned();
        let entry = entry.ok_or(Fault::Broken("a blacklist entry is not there"))?;
        Ok(Blacklisted { entry, first_seen })
    }

    /// A person by `sub`, and whether nobody of that name was known; or by a pseudonym that the log knows.
    async fn person_target(
        &self,
        caller: &Caller,
        name: String,
    ) -> Result<(BlacklistTarget, Origin, Option<bool>), Fault> {
        if let Some(subject) = self.pseudonym(&name) {
            let person = self.with_vault(move |vault, _| vault.person(&subject)).await??;
            let origin = self.sealed_origin(caller, &person.ok_or(Refusal::UnknownSubject)?)?;
            return Ok((BlacklistTarget::Other(Target::Subject(subject)), origin, None));
        }
        check_sub(&name)?;
        let person = self.registered(name).await?;
        let origin = self.sealed_origin(caller, &person)?;
        let is_new = self.ledger.state().subject(&person.subject).is_none();
        let owner = Owner { subject: person.subject, sub: person.sub };
        Ok((BlacklistTarget::Owner(owner), origin, Some(is_new)))
    }

    /// Whose pseudonym `name` is, if the log knows it: no `sub` has this form.
    fn pseudonym(&self, name: &str) -> Option<SubjectId> {
        let subject = name.parse::<SubjectId>().ok()?;
        self.ledger.state().subject(&subject).map(|found| found.id)
    }

    /// Nothing that it signs is a token, and checkpoints are not taken back.
    fn check_not_checkpoint_key(&self, kid: &KeyId) -> Result<(), Fault> {
        let state = self.ledger.state();
        if state.key(kid).is_some_and(|key| key.purpose == CHECKPOINT_PURPOSE) {
            let what = "a checkpoint key is not blacklisted but replaced: \
                        `keys rotate --checkpoint --compromised`";
            return Err(Fault::refused(ErrorCode::InvalidRequest, what));
        }
        Ok(())
    }

    fn token_target(&self, token: &Secret) -> Result<BlacklistTarget, Fault> {
        match self.keyring.tokens().parse(token.expose()) {
            Presented::Refresh(presented) => {
                Ok(BlacklistTarget::TokenOfGrant(presented.digest, presented.grant))
            }
            Presented::Code(presented) => {
                Ok(BlacklistTarget::TokenOfGrant(presented.digest, presented.grant))
            }
            Presented::Access(presented) => {
                Ok(BlacklistTarget::Other(Target::Token(presented.digest)))
            }
            Presented::Unknown => match kind_and_digest(token.expose()) {
                Some((TokenKind::AccessToken, digest)) => {
                    Ok(BlacklistTarget::Other(Target::Token(digest)))
                }
                Some((
                    TokenKind::RefreshToken
                    | TokenKind::AuthorizationCode
                    | TokenKind::ClientSecret,
                    _,
                ))
                | None => {
                    let what = "this is no token of this ledger; blacklist the grant or client";
                    Err(Fault::refused(ErrorCode::NotFound, what))
                }
            },
        }
    }

    /// A bare digest: that of a live access token, or of anything that the log has issued.
    async fn digest_target(&self, digest: Digest) -> Result<BlacklistTarget, Fault> {
        if self.ledger.state().token(&digest.short()).is_some() {
            return Ok(BlacklistTarget::Other(Target::Token(digest)));
        }
        let found =
            self.with_log(move |store, end| first_with_digest(store, &digest, end)).await??;
        let issues_access_token =
            |record: &Record| matches!(record.event, Event::AccessTokenIssued(_));
        match found {
            Some(record) if issues_access_token(&record) => {
                Ok(BlacklistTarget::Other(Target::Token(digest)))
            }
            Some(Record { about: About { grant: Some(grant), .. }, .. }) => {
                Ok(BlacklistTarget::TokenOfGrant(digest, grant))
            }
            Some(_) | None => {
                let what = "the log knows no token with this digest";
                Err(Fault::refused(ErrorCode::NotFound, what))
            }
        }
    }

    /// Lifts a blacklist entry: new tokens may be issued, none comes back to life.
    ///
    /// # Errors
    /// `not_found` for an entry that is unknown or lifted already.
    pub async fn lift(
        &self,
        actor: Actor,
        caller: &Caller,
        id: BlacklistId,
        reason: String,
    ) -> Result<Entry, Fault> {
        let target = self.ledger.state().entry(&id).map(|entry| entry.target.clone());
        let personal = matches!(target, Some(Target::Subject(_) | Target::Grant(_)));
        let origin = (!personal).then(|| caller.in_clear());
        let asked = self.asked(actor, origin, Command::LiftBlacklist { id, reason });
        self.submit(asked).await?.outcome?;
        let entry = self.ledger.state().entry(&id).cloned();
        entry.ok_or(Fault::Broken("a blacklist entry is not there"))
    }

    /// Forgets a person: all that was issued dies, and the key that opens what is sealed is gone.
    /// With `rewrite_now` its bytes stand in no file when this returns. Who asked may hang up: what was
    /// begun is finished.
    ///
    /// # Errors
    /// `not_found` for a person that was never seen or is erased already; bytes of those erased before
    /// are then gone, too, where `rewrite_now` asks for it. The vault's own faults, after which the
    /// erasure is completed in time, and asking again does it at once.
    pub async fn erase(
        self: &Arc<Self>,
        actor: Actor,
        sub: String,
        reason: String,
        legal_basis: String,
        rewrite_now: bool,
    ) -> Result<(SubjectId, Option<Seq>), Fault> {
        check_sub_text(&sub)?;
        let edge = Arc::clone(self);
        let erasing = tokio::spawn(async move {
            let erased = edge.erase_person(actor, sub, reason, legal_basis).await;
            if rewrite_now && (erased.is_ok() || edge.vault.needs_rewrite()?) {
                edge.with_vault(|vault, _| vault.rewrite()).await??;
            }
            erased
        });
        erasing.await.map_err(|_| Fault::Broken("an erasure ended early"))?
    }

    async fn erase_person(
        &self,
        actor: Actor,
        sub: String,
        reason: String,
        legal_basis: String,
    ) -> Result<(SubjectId, Option<Seq>), Fault> {
        let known = self.pseudonym(&sub);
        let look = move |vault: &Vault, _: &dyn Entropy| match known {
            Some(subject) => vault.person(&subject),
            None => vault.find(&sub),
        };
        let found = self.with_vault(look).await??;
        let Person { subject, sub, .. } = found.ok_or(Refusal::UnknownSubject)?;
        self.vault.begin_erasure(subject);
        let owner = Owner { subject, sub };
        let command = Command::EraseSubject { owner, reason, legal_basis };
        // Without an answer it may be recorded all the same, by this attempt or one before it, and is
        // then completed.
        let answer = self.submit(self.asked(actor, None, command)).await?;
        match answer.outcome {
            Ok(_) => {}
            // Erased in the log, but its row is still there: the last attempt was cut short.
            Err(Refusal::UnknownSubject) => {}
            Err(refusal) => return Err(refusal.into()),
        }
        // The record first: a crash in between is made good at the next start.
        self.with_vault(move |vault, _| vault.erase(&subject)).await??;
        Ok((subject, answer.seq))
    }
}
