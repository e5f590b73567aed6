//! What operators do: revoke grants, blacklist and lift, erase people, change keys.

use crate::audit::records::first_with_digest;
use crate::crypto::keys::{KeyFile, KeyFileRefused};
use crate::crypto::leak::{TokenKind, kind_and_digest};
use crate::crypto::presented::Presented;
use crate::crypto::signing::{SigningAlgorithm, SigningKey};
use crate::domain::client::ACCESS_TOKEN_LIFETIME_S_MAX;
use crate::domain::command::{BlacklistTarget, Command, Owner};
use crate::domain::event::{Event, Target};
use crate::domain::record::{About, Actor, Record};
use crate::domain::refusal::Refusal;
use crate::domain::state::Entry;
use crate::edge::authorize::check_sub;
use crate::edge::fault::Fault;
use crate::edge::{Caller, Edge};
use crate::entropy::bytes;
use crate::log::file::{FILE_MODE, write_durably};
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

/// Why a key could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// The key file refused.
    #[error(transparent)]
    File(#[from] KeyFileRefused),
    /// The key file could not be written.
    #[error(transparent)]
    Disk(#[from] crate::log::file::FileError),
    /// The key could not be made.
    #[error(transparent)]
    Made(#[from] crate::crypto::signing::SigningKeyRefused),
}

impl Edge {
    /// The keys whose tokens may still be alive, as a JWK set publishes them (RFC 7517 section 5).
    pub fn published_keys(&self) -> Vec<serde_json::Value> {
        let now = self.ledger.now();
        let state = self.ledger.state();
        let mut keys: Vec<_> = state
            .keys()
            .filter(|key| key.purpose == "access_token" && !key.ban.is_in_force())
            // What a retired key signed has expired by then.
            .filter(|key| {
                let longest_s = u64::from(ACCESS_TOKEN_LIFETIME_S_MAX);
                key.retired_at.is_none_or(|retired_at| now < retired_at.plus_seconds(longest_s))
            })
            .collect();
        keys.sort_unstable_by_key(|key| key.added);
        keys.into_iter().map(|key| key.public.clone()).collect()
    }

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
    ) -> Result<Entry, Fault> {
        let (target, origin) = match banned {
            Banned::Token(token) => (self.token_target(&token)?, None),
            Banned::Digest(digest) => (self.digest_target(digest).await?, None),
            Banned::Grant(grant) => (BlacklistTarget::Other(Target::Grant(grant)), None),
            Banned::Client(client) => {
                (BlacklistTarget::Other(Target::Client(client)), Some(caller.in_clear()))
            }
            Banned::Key(kid) => {
                self.spare_signer(actor.clone(), caller, &kid).await?;
                (BlacklistTarget::Other(Target::Key(kid)), Some(caller.in_clear()))
            }
            Banned::All => (BlacklistTarget::Other(Target::All), Some(caller.in_clear())),
            Banned::Subject(sub) => {
                check_sub(&sub)?;
                let person = self.registered(sub).await?;
                let origin = self.sealed_origin(caller, &person)?;
                let owner = Owner { subject: person.subject, sub: person.sub };
                (BlacklistTarget::Owner(owner), Some(origin))
            }
        };
        let id = BlacklistId::from_bytes(bytes(self.entropy.as_ref()));
        let asked = self.asked(actor, origin, Command::AddBlacklist { id, target, reason });
        self.submit(asked).await?.outcome?;
        let entry = self.ledger.state().entry(&id).cloned();
        entry.ok_or(Fault::Broken("a blacklist entry is not there"))
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
    /// With `rewrite_now` its bytes stand in no file when this returns.
    ///
    /// # Errors
    /// `not_found` for a person that was never seen or is erased already; the vault's own faults,
    /// after which asking again completes the erasure.
    pub async fn erase(
        &self,
        actor: Actor,
        sub: String,
        reason: String,
        legal_basis: String,
        rewrite_now: bool,
    ) -> Result<(SubjectId, Option<Seq>), Fault> {
        check_sub(&sub)?;
        let found = self.with_vault(move |vault, _| vault.find(&sub)).await??;
        let subject = found.map(|person| person.subject).ok_or(Refusal::UnknownSubject)?;
        let command = Command::EraseSubject { subject, reason, legal_basis };
        let answer = self.submit(self.asked(actor, None, command)).await?;
        match answer.outcome {
            Ok(_) => {}
            // Erased in the log, but its row is still there: the last attempt was cut short. A
            // subject without any record has only the row.
            Err(Refusal::UnknownSubject) => {}
            Err(refusal) => return Err(refusal.into()),
        }
        // The record first: a crash in between is made good at the next start.
        self.with_vault(move |vault, _| vault.erase(&subject)).await??;
        if rewrite_now {
            self.with_vault(|vault, _| vault.rewrite()).await??;
        }
        Ok((subject, answer.seq))
    }

    /// Makes another key and signs with it from now on; what the old one signed lives on.
    ///
    /// # Errors
    /// Unavailable when the key's record is not known to be durable, or [`Fault::Keys`] when the
    /// key file cannot be written; the old key signs on then.
    pub async fn rotate_signing_key(&self, actor: Actor, caller: &Caller) -> Result<KeyId, Fault> {
        let made = SigningKey::generate(SigningAlgorithm::EdDSA, self.entropy.as_ref());
        let key = made.map_err(KeyFault::from)?;
        let (kid, alg) = (key.kid().clone(), key.algorithm().as_str().to_owned());
        let public = serde_json::to_value(key.public_jwk())
            .map_err(|_| Fault::Broken("a public key does not serialise"))?;
        // One rotation at a time, or the key in between would never be retired.
        let _turn = self.changing.lock().await;
        let old = self.keyring.signer().kid().clone();
        // The private half is durable before the log speaks of it, and used only after.
        self.change_keys(move |file| file.add_signing_key(key)).await?;
        let purpose = "access_token".to_owned();
        let command = Command::AddKey { kid: kid.clone(), purpose, alg, public };
        let asked = self.asked(actor.clone(), Some(caller.in_clear()), command);
        self.submit(asked).await?.outcome?;
        let next = kid.clone();
        self.change_keys(move |file| file.use_signing_key(&next)).await?;
        let retire = Command::RetireKey { kid: old };
        match self.submit(self.asked(actor, Some(caller.in_clear()), retire)).await?.outcome {
            // Somebody retired it meanwhile.
            Ok(_) | Err(Refusal::UnknownKey) => Ok(kid),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Changes the keys and their file, off the asynchronous threads.
    async fn change_keys(
        &self,
        change: impl FnOnce(&mut KeyFile) -> Result<(), KeyFileRefused> + Send + 'static,
    ) -> Result<(), Fault> {
        let (keyring, path) = (self.keyring.clone(), self.keys_file.clone());
        let keep = move |file: &KeyFile| match &path {
            Some(path) => Ok(write_durably(path, &file.encode(), FILE_MODE)?),
            None => Ok(()),
        };
        let run = move || keyring.change(|file| Ok::<_, KeyFault>(change(file)?), keep);
        let done = tokio::task::spawn_blocking(run).await;
        Ok(done.map_err(|_| Fault::Broken("the change of the keys ended early"))??)
    }

    /// Before the key that signs is blacklisted, another one takes its place.
    async fn spare_signer(&self, actor: Actor, caller: &Caller, kid: &KeyId) -> Result<(), Fault> {
        if self.keyring.signer().kid() == kid {
            self.rotate_signing_key(actor, caller).await?;
        }
        Ok(())
    }
}
