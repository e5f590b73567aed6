//! Decisions: what follows from a command. Pure and total; nothing changes here.

use crate::domain::command::{Asked, Command};
use crate::domain::event::{
    AuditRead, ClientAuthenticationFailed, ClientDisabled, ClientEnabled, ClientRegistered,
    ClientSecretRotated, ClientUpdated, Event, KeyAdded, KeyRetired, LedgerClosed, LedgerCreated,
    LedgerOpened,
};
use crate::domain::grant::Refreshed;
use crate::domain::record::About;
use crate::domain::refusal::Refusal;
use crate::domain::view::View;
use crate::domain::{assertions, blacklist, issue};
use crate::types::id::ClientId;
use crate::types::time::Timestamp;

/// An event with the trails that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The trails.
    pub about: About,
    /// What happened.
    pub event: Event,
}

/// What was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granted {
    /// What was asked is so now (or was so before).
    Done,
    /// The access token may be shown, and the first refresh token if so.
    Issued {
        /// Whether there is a refresh token.
        refresh_token: bool,
    },
    /// The access token may be shown, with this refresh token.
    Refreshed(Refreshed),
}

/// All that follows from a command. A refusal may carry facts too: reuse of a refresh token
/// revokes its grant and answers `invalid_grant`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What happens, in order.
    pub facts: Vec<Fact>,
    /// The answer.
    pub outcome: Result<Granted, Refusal>,
}

impl Decision {
    pub(super) fn done(facts: Vec<Fact>) -> Self {
        Self { facts, outcome: Ok(Granted::Done) }
    }

    pub(super) fn refused(refusal: Refusal) -> Self {
        Self { facts: Vec::new(), outcome: Err(refusal) }
    }
}

impl Fact {
    pub(super) fn new(about: &About, event: impl Into<Event>) -> Self {
        Self { about: about.clone(), event: event.into() }
    }
}

/// Decides what follows from `asked` at `at`, given all that happened before.
pub fn decide(view: &View<'_>, at: Timestamp, asked: &Asked) -> Decision {
    match &asked.command {
        Command::CreateLedger { version, issuer, origin } => {
            let (version, issuer) = (version.clone(), issuer.clone());
            let created = LedgerCreated { version, issuer, origin: origin.clone() };
            Decision::done(vec![Fact::new(&About::default(), created)])
        }
        Command::OpenLedger { version, clean } => {
            let records = view.next_seq().0;
            let opened = LedgerOpened { version: version.clone(), records, clean: *clean };
            Decision::done(vec![Fact::new(&About::default(), opened)])
        }
        Command::CloseLedger => Decision::done(vec![Fact::new(&About::default(), LedgerClosed {})]),
        Command::RegisterClient { client, metadata, secret } => {
            if view.client(client).is_some() {
                return Decision::refused(Refusal::ClientExists);
            }
            let event = ClientRegistered { metadata: metadata.clone(), secret: *secret };
            Decision::done(vec![Fact::new(&about_client(client), event)])
        }
        Command::UpdateClient { client, metadata } => on_client(view, client, |about| {
            Ok(vec![Fact::new(about, ClientUpdated { metadata: metadata.clone() })])
        }),
        Command::RotateSecret { client, secret, previous_lifetime_s } => {
            on_client(view, client, |about| {
                if view.client(client).is_some_and(|client| !client.metadata.has_secret()) {
                    return Err(Refusal::NoSecret);
                }
                let previous_expires_at = at.plus_seconds(*previous_lifetime_s);
                let event = ClientSecretRotated { secret: *secret, previous_expires_at };
                Ok(vec![Fact::new(about, event)])
            })
        }
        Command::SwitchClient { client, enabled, reason } => {
            if !enabled && asked.actor.client() == Some(client) {
                return Decision::refused(Refusal::SelfLockout);
            }
            switch_client(view, client, *enabled, reason)
        }
        Command::CreateGrant { .. } => issue::create_grant(view, at, &asked.command),
        Command::RedeemCode { .. } => issue::redeem_code(view, at, &asked.command),
        Command::IssueToClient { grant, client, access } => {
            issue::issue_to_client(view, grant, client, access)
        }
        Command::Refresh(refresh) => issue::refresh(view, at, refresh),
        Command::RevokeToken { client, token } => issue::revoke_token(view, at, client, *token),
        Command::RevokeGrant { grant, reason } => issue::revoke_grant(view, grant, reason),
        Command::AddBlacklist { id, target, reason } => {
            blacklist::add(view, at, &asked.actor, (*id, target, reason))
        }
        Command::LiftBlacklist { id, reason } => blacklist::lift(view, *id, reason),
        Command::EraseSubject { owner, reason, legal_basis } => {
            blacklist::erase(view, owner, reason, legal_basis)
        }
        Command::AddKey { kid, purpose, alg, public } => {
            if view.key(kid).is_some() {
                return Decision::refused(Refusal::KeyExists);
            }
            let (kid, purpose) = (kid.clone(), purpose.clone());
            let event = KeyAdded { kid, purpose, alg: alg.clone(), public: public.clone() };
            Decision::done(vec![Fact::new(&About::default(), event)])
        }
        Command::RetireKey { kid } => match view.key(kid) {
            Some(key) if key.retired_at.is_none() => {
                let event = KeyRetired { kid: kid.clone() };
                Decision::done(vec![Fact::new(&About::default(), event)])
            }
            Some(_) | None => Decision::refused(Refusal::UnknownKey),
        },
        Command::FailAuthentication { client, method } => on_client(view, client, |about| {
            let event = ClientAuthenticationFailed { method: method.clone(), count: 1 };
            Ok(vec![Fact::new(about, event)])
        }),
        Command::UseAssertion { client, digest, expires_at, kept_max } => {
            assertions::use_assertion(view, at, client, (*digest, *expires_at), *kept_max)
        }
        Command::ReadAudit { what, parameters, about } => {
            let event = AuditRead { what: what.clone(), parameters: parameters.clone() };
            Decision::done(vec![Fact::new(about, event)])
        }
    }
}

pub(super) fn about_client(client: &ClientId) -> About {
    About { client: Some(client.clone()), ..About::default() }
}

fn on_client(
    view: &View<'_>,
    client: &ClientId,
    facts: impl FnOnce(&About) -> Result<Vec<Fact>, Refusal>,
) -> Decision {
    if view.client(client).is_none() {
        return Decision::refused(Refusal::UnknownClient);
    }
    match facts(&about_client(client)) {
        Ok(facts) => Decision::done(facts),
        Err(refusal) => Decision::refused(refusal),
    }
}

fn switch_client(view: &View<'_>, client: &ClientId, enabled: bool, reason: &str) -> Decision {
    on_client(view, client, |about| {
        let disabled = view.client(client).is_some_and(|client| client.disabled);
        let reason = reason.to_owned();
        Ok(match (enabled, disabled) {
            (true, true) => vec![Fact::new(about, ClientEnabled { reason })],
            (false, false) => vec![Fact::new(about, ClientDisabled { reason })],
            // It is so already.
            (true, false) | (false, true) => Vec::new(),
        })
    })
}
