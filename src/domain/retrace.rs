//! From the records of a command back to the command. What no record holds, such as a verifier, was
//! right where the records say that it was: it is taken from the fold.

use crate::domain::client::AccessTokenFormat;
use crate::domain::command::{BlacklistTarget, Command, Draft, Owner, Refresh, TokenRef};
use crate::domain::event::{
    AccessTokenIssued, Cause, Event, GrantRevoked, How, RefreshTokenReused, Target,
};
use crate::domain::grant::Grant;
use crate::domain::record::{Actor, Record};
use crate::domain::state::State;
use crate::types::digest::Digest;
use crate::types::id::{ClientId, GrantId, OriginTag, SubjectId};
use crate::types::time::Timestamp;

/// Stands for a digest that the decision does not look at, or that equals no other.
const ANY: Digest = Digest::from_bytes([0; 32]);
/// A sealed field of the least length, which no key opens.
const NOBODY: &str = "x1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The commands that may have led to `records`, at most two; none where no command can.
pub(super) fn retrace(state: &State, records: &[Record]) -> Vec<Command> {
    let Some(first) = records.first() else { return Vec::new() };
    if let Event::RefreshTokenReused(data) = &first.event {
        return reuse(state, first, data);
    }
    let rest = records.get(1..).unwrap_or_default();
    command(state, first, rest).into_iter().collect()
}

/// The command whose first record is `record`, with what its further records add.
fn command(state: &State, record: &Record, rest: &[Record]) -> Option<Command> {
    Some(match &record.event {
        Event::LedgerCreated(data) => Command::CreateLedger {
            version: data.version.clone(),
            issuer: data.issuer.clone(),
            origin: data.origin.clone(),
        },
        Event::LedgerOpened(data) => {
            Command::OpenLedger { version: data.version.clone(), clean: data.clean }
        }
        Event::LedgerClosed(_) => Command::CloseLedger,
        Event::ClientRegistered(_)
        | Event::ClientUpdated(_)
        | Event::ClientSecretRotated(_)
        | Event::ClientDisabled(_)
        | Event::ClientEnabled(_)
        | Event::ClientAssertionUsed(_) => of_client(record)?,
        Event::SubjectRegistered(data) => {
            let owner = Owner { subject: record.about.subject?, sub: data.sub.clone() };
            of_owner(rest.first()?, owner)?
        }
        Event::SubjectErased(data) => Command::EraseSubject {
            owner: known_owner(record.about.subject?)?,
            reason: data.reason.clone(),
            legal_basis: data.legal_basis.clone(),
        },
        Event::GrantCreated(data) if data.how == How::AuthorizationCode => {
            create_grant(record, known_owner(record.about.subject?)?)?
        }
        Event::GrantCreated(_) => issue_to_client(record, issued(rest.first()?)?)?,
        Event::AccessTokenIssued(data) => issue_to_client(record, data)?,
        Event::CodeRedeemed(_) => {
            let first = rest.first().map_or(ANY, first_refresh_token);
            redeem(state, record, first, draft(rest.iter().find_map(issued)?))?
        }
        // What the access token would have been no longer matters.
        Event::CodeReplayed(_) => redeem(state, record, ANY, no_draft(record.at))?,
        Event::RefreshTokenRotated(_)
        | Event::RefreshTokenUsed(_)
        | Event::RefreshTokenRetried(_) => first_or_again(state, record, issued(rest.first()?)?)?,
        Event::AccessTokenRevoked(data) if data.cause == Cause::Client => {
            let (client, token) = (asking(record)?, TokenRef::Access(data.digest));
            Command::RevokeToken { client, token }
        }
        Event::GrantRevoked(data) => revoke_grant(record, data)?,
        Event::BlacklistAdded(data) => Command::AddBlacklist {
            id: data.id,
            target: match (&data.target, data.whole_grant) {
                (Target::Token(digest), true) => {
                    BlacklistTarget::TokenOfGrant(*digest, record.about.grant?)
                }
                (target, _) => BlacklistTarget::Other(target.clone()),
            },
            reason: data.reason.clone(),
        },
        Event::BlacklistLifted(data) => {
            Command::LiftBlacklist { id: data.id, reason: data.reason.clone() }
        }
        Event::KeyAdded(data) => Command::AddKey {
            kid: data.kid.clone(),
            purpose: data.purpose.clone(),
            alg: data.alg.clone(),
            public: data.public.clone(),
        },
        Event::KeyRetired(data) => Command::RetireKey { kid: data.kid.clone() },
        Event::AuditRead(data) => Command::ReadAudit {
            what: data.what.clone(),
            parameters: data.parameters.clone(),
            about: record.about.clone(),
        },
        // None of these is the first record of a command, or can be retraced.
        Event::AccessTokenRevoked(_)
        | Event::RefreshTokenIssued(_)
        | Event::RefreshTokenReused(_)
        | Event::RefreshRefused(_)
        | Event::CodeRefused(_)
        | Event::ClientAuthenticationFailed(_)
        | Event::ClockStepped(_)
        | Event::LedgerStalled(_) => return None,
    })
}

fn of_client(record: &Record) -> Option<Command> {
    let client = record.about.client.clone()?;
    if let Event::ClientRegistered(data) = &record.event {
        let (metadata, secret) = (data.metadata.clone(), data.secret);
        return Some(Command::RegisterClient { client, metadata, secret });
    }
    if let Event::ClientUpdated(data) = &record.event {
        return Some(Command::UpdateClient { client, metadata: data.metadata.clone() });
    }
    if let Event::ClientSecretRotated(data) = &record.event {
        let previous_lifetime_s = data.previous_expires_at.seconds_since(record.at);
        return Some(Command::RotateSecret { client, secret: data.secret, previous_lifetime_s });
    }
    if let Event::ClientDisabled(data) = &record.event {
        let (enabled, reason) = (false, data.reason.clone());
        return Some(Command::SwitchClient { client, enabled, reason });
    }
    if let Event::ClientEnabled(data) = &record.event {
        let (enabled, reason) = (true, data.reason.clone());
        return Some(Command::SwitchClient { client, enabled, reason });
    }
    let Event::ClientAssertionUsed(data) = &record.event else { return None };
    // How many could be kept is a setting, and no record holds it.
    let (digest, expires_at, kept_max) = (data.digest, data.expires_at, usize::MAX);
    Some(Command::UseAssertion { client, digest, expires_at, kept_max })
}

/// What a resource owner is registered for: a grant, or an entry on somebody who has none yet, or the
/// erasure of somebody whose first grant is on its way.
fn of_owner(next: &Record, owner: Owner) -> Option<Command> {
    if let Event::SubjectErased(data) = &next.event {
        let (reason, legal_basis) = (data.reason.clone(), data.legal_basis.clone());
        return Some(Command::EraseSubject { owner, reason, legal_basis });
    }
    if let Event::BlacklistAdded(added) = &next.event {
        let (id, reason) = (added.id, added.reason.clone());
        return Some(Command::AddBlacklist { id, target: BlacklistTarget::Owner(owner), reason });
    }
    create_grant(next, owner)
}

fn first_refresh_token(record: &Record) -> Digest {
    if let Event::RefreshTokenIssued(data) = &record.event { data.digest } else { ANY }
}

fn first_or_again(state: &State, record: &Record, access: &AccessTokenIssued) -> Option<Command> {
    let access = draft(access);
    if let Event::RefreshTokenRotated(data) = &record.event {
        return refresh(state, record, (data.from, data.digest, data.tag), access);
    }
    if let Event::RefreshTokenUsed(data) = &record.event {
        return refresh(state, record, (data.generation, ANY, data.tag), access);
    }
    let Event::RefreshTokenRetried(data) = &record.event else { return None };
    // Only the true predecessor derives the current token.
    let current = grant_of(state, record)?.refresh_token().map_or(ANY, |current| current.digest);
    refresh(state, record, (data.generation, current, data.tag), access)
}

fn revoke_grant(record: &Record, data: &GrantRevoked) -> Option<Command> {
    let grant = record.about.grant?;
    match data.cause {
        Cause::Client => {
            let (client, token) = (asking(record)?, TokenRef::OfGrant(grant));
            Some(Command::RevokeToken { client, token })
        }
        Cause::Administrator => Some(Command::RevokeGrant { grant, reason: data.reason.clone() }),
        // These follow from what came back, in the same command.
        Cause::Reuse | Cause::CodeReplay => None,
    }
}

/// A spent token either derives the current one or not; the record does not say which.
fn reuse(state: &State, record: &Record, data: &RefreshTokenReused) -> Vec<Command> {
    let current = grant_of(state, record).and_then(Grant::refresh_token).map(|r| r.digest);
    let successors = [Some(ANY), current].into_iter().flatten();
    successors
        .filter_map(|successor| {
            let token = (data.generation, successor, data.tag);
            refresh(state, record, token, no_draft(record.at))
        })
        .collect()
}

fn create_grant(record: &Record, owner: Owner) -> Option<Command> {
    let Event::GrantCreated(data) = &record.event else { return None };
    let code = data.code.as_ref()?;
    Some(Command::CreateGrant {
        grant: record.about.grant?,
        client: record.about.client.clone()?,
        owner,
        scope: data.scope.clone(),
        resources: data.resources.clone(),
        code: code.digest,
        code_lifetime_s: code.expires_at.seconds_since(record.at),
        redirect_uri: code.redirect_uri.clone(),
        challenge: code.challenge,
    })
}

/// An owner who was registered before: the sealed `sub` is not looked at again.
fn known_owner(subject: SubjectId) -> Option<Owner> {
    Some(Owner { subject, sub: NOBODY.parse().ok()? })
}

fn redeem(state: &State, record: &Record, refresh: Digest, access: Draft) -> Option<Command> {
    let grant = grant_of(state, record)?;
    let code = grant.code();
    Some(Command::RedeemCode {
        grant: grant.id,
        client: asking(record)?,
        code: code.map_or(ANY, |code| code.digest),
        challenge: code.and_then(|code| code.challenge),
        redirect_uri: grant.redirect_uri.clone(),
        refresh,
        access: Ok(Box::new(access)),
    })
}

fn issue_to_client(record: &Record, issued: &AccessTokenIssued) -> Option<Command> {
    let (grant, client) = (record.about.grant?, asking(record)?);
    Some(Command::IssueToClient { grant, client, access: Ok(Box::new(draft(issued))) })
}

type Token = (u32, Digest, Option<OriginTag>);

fn refresh(
    state: &State,
    record: &Record,
    (generation, successor, tag): Token,
    access: Draft,
) -> Option<Command> {
    let grant: GrantId = record.about.grant?;
    // A dead grant has none: the rules refuse before they look at it.
    let digest = state.grant(&grant)?.refresh_token().map_or(ANY, |current| current.digest);
    let (client, access) = (asking(record)?, Ok(Box::new(access)));
    Some(Command::Refresh(Refresh { grant, generation, digest, successor, client, tag, access }))
}

fn grant_of<'a>(state: &'a State, record: &Record) -> Option<&'a Grant> {
    state.grant(&record.about.grant?)
}

/// The client that asked at the public listener.
fn asking(record: &Record) -> Option<ClientId> {
    match &record.actor {
        Actor::Client(client) => Some(client.clone()),
        Actor::Administrator(_) | Actor::Login(_) | Actor::Auditor(_) | Actor::Ledger => None,
    }
}

fn issued(record: &Record) -> Option<&AccessTokenIssued> {
    if let Event::AccessTokenIssued(data) = &record.event { Some(data) } else { None }
}

fn draft(issued: &AccessTokenIssued) -> Draft {
    Draft {
        digest: issued.digest,
        jti: issued.jti.clone(),
        format: issued.format,
        key: issued.key.clone(),
        scope: issued.scope.clone(),
        audience: issued.audience.clone(),
        expires_at: issued.expires_at,
    }
}

fn no_draft(at: Timestamp) -> Draft {
    Draft {
        digest: ANY,
        jti: None,
        format: AccessTokenFormat::Opaque,
        key: None,
        scope: Default::default(),
        audience: Default::default(),
        expires_at: at,
    }
}
