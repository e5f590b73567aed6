//! Decisions about grants and their tokens: what leaves the service, and what is called back.

use crate::domain::client::{AuthMethod, ClientMetadata, GrantType};
use crate::domain::command::{Command, Draft, NoDraft, Refresh, TokenRef};
use crate::domain::decide::{Decision, Fact, Granted, about_client};
use crate::domain::event::{
    AccessTokenIssued, AccessTokenRevoked, Cause, CodeIssued, CodeRedeemed, CodeRefusal,
    CodeRefused, CodeReplayed, GrantCreated, GrantRevoked, How, RefreshRefusal, RefreshTokenIssued,
    SubjectRegistered,
};
use crate::domain::grant::{Code, Grant, Standing};
use crate::domain::party::Client;
use crate::domain::record::About;
use crate::domain::refusal::Refusal;
use crate::domain::state::Key;
use crate::domain::view::View;
use crate::types::digest::Digest;
use crate::types::id::{ClientId, GrantId};
use crate::types::scope::Scope;
use crate::types::time::Timestamp;

/// The trails that the events of a grant belong to.
fn about(grant: &Grant) -> About {
    let (client, subject) = (Some(grant.client.clone()), grant.subject);
    About { client, subject, grant: Some(grant.id) }
}

fn issued(draft: &Draft, generation: Option<u32>) -> AccessTokenIssued {
    AccessTokenIssued {
        digest: draft.digest,
        jti: draft.jti.clone(),
        format: draft.format,
        key: draft.key.clone(),
        scope: draft.scope.clone(),
        audience: draft.audience.clone(),
        expires_at: draft.expires_at,
        generation,
    }
}

/// Whether the key that signed `draft` was blacklisted meanwhile: the edge signs with another one. A key
/// never comes back, though its entry is lifted.
fn is_signed_in_vain(view: &View<'_>, draft: &Draft) -> bool {
    let key = draft.key.as_ref().and_then(|kid| view.key(kid));
    key.is_some_and(Key::is_burnt)
}

/// Whether new tokens may be issued to a client at all.
fn may_issue(view: &View<'_>, client: &Client, administers: bool) -> Result<(), Refusal> {
    if client.disabled {
        return Err(Refusal::ClientDisabled);
    }
    // While everything is blacklisted, tokens for the ledger itself are still issued: without them
    // nobody could lift the entry.
    if client.ban.is_in_force() || (view.everything().is_in_force() && !administers) {
        return Err(Refusal::Blacklisted);
    }
    Ok(())
}

pub(super) fn create_grant(view: &View<'_>, at: Timestamp, command: &Command) -> Decision {
    let Command::CreateGrant {
        grant,
        client: client_id,
        owner,
        scope,
        resources,
        code,
        code_lifetime_s,
        redirect_uri,
        challenge,
    } = command
    else {
        return Decision::refused(Refusal::Stale);
    };
    let Some(client) = view.client(client_id) else {
        return Decision::refused(Refusal::UnknownClient);
    };
    let metadata = &client.metadata;
    if let Err(refusal) = may_issue(view, client, false)
        .and_then(|()| may_grant(metadata, scope, redirect_uri.as_deref(), challenge.as_ref()))
    {
        return Decision::refused(refusal);
    }
    if !metadata.resources.is_empty() && !resources.is_within(&metadata.resources) {
        return Decision::refused(Refusal::Target);
    }
    let known = view.subject(&owner.subject);
    if known.is_some_and(|subject| subject.erased) {
        return Decision::refused(Refusal::Stale);
    }
    if known.is_some_and(|subject| subject.ban().is_in_force()) {
        return Decision::refused(Refusal::Blacklisted);
    }
    if view.grant(grant).is_some() {
        return Decision::refused(Refusal::Stale);
    }
    let mut facts = Vec::with_capacity(2);
    let subject = Some(owner.subject);
    if known.is_none() {
        let about = About { subject, ..About::default() };
        facts.push(Fact::new(&about, SubjectRegistered { sub: owner.sub.clone() }));
    }
    let about = About { client: Some(client_id.clone()), subject, grant: Some(*grant) };
    let code = CodeIssued {
        digest: *code,
        expires_at: at.plus_seconds(*code_lifetime_s),
        redirect_uri: redirect_uri.clone(),
        challenge: *challenge,
    };
    let (scope, resources) = (scope.clone(), resources.clone());
    let how = How::AuthorizationCode;
    facts.push(Fact::new(&about, GrantCreated { how, scope, resources, code: Some(code) }));
    Decision::done(facts)
}

fn may_grant(
    metadata: &ClientMetadata,
    scope: &Scope,
    redirect_uri: Option<&str>,
    challenge: Option<&Digest>,
) -> Result<(), Refusal> {
    if !metadata.grant_types.contains(&GrantType::AuthorizationCode) {
        return Err(Refusal::GrantType);
    }
    if !scope.is_within(&metadata.scope) {
        return Err(Refusal::Scope);
    }
    let is_public = metadata.token_endpoint_auth_method == AuthMethod::None;
    if is_public && challenge.is_none() {
        return Err(Refusal::NoChallenge);
    }
    match redirect_uri {
        Some(uri) if !metadata.redirect_uris.iter().any(|have| have.matches(uri)) => {
            Err(Refusal::RedirectUri)
        }
        Some(_) | None => Ok(()),
    }
}

pub(super) fn redeem_code(view: &View<'_>, at: Timestamp, command: &Command) -> Decision {
    let Command::RedeemCode { grant, client, code, challenge, redirect_uri, refresh, access } =
        command
    else {
        return Decision::refused(Refusal::Stale);
    };
    let (Some(grant), Some(asking)) = (view.grant(grant), view.client(client)) else {
        return Decision::refused(Refusal::UnknownGrant);
    };
    let about = about(grant);
    let refused = |reason| Decision {
        facts: vec![Fact::new(&about, CodeRefused { reason, count: 1 })],
        outcome: Err(Refusal::Code(reason)),
    };
    // Nothing is kept of a dead grant's code: that it is the one its tag has proven.
    if grant.how == How::AuthorizationCode && grant.standing != Standing::Live {
        let of_owner = grant.client == *client;
        let reason = standing_refusal(grant).filter(|_| of_owner);
        return refused(reason.unwrap_or(CodeRefusal::WrongClient));
    }
    let Some(kept) = grant.code().filter(|kept| kept.digest == *code) else {
        return Decision::refused(Refusal::UnknownGrant);
    };
    if grant.client != *client {
        return refused(CodeRefusal::WrongClient);
    }
    if kept.challenge.is_none() && challenge.is_some() {
        return Decision::refused(Refusal::UnexpectedVerifier);
    }
    if let Err(reason) = is_proven(grant, kept, challenge.as_ref(), redirect_uri.as_deref()) {
        return refused(reason);
    }
    // Only a replay that is valid in all else revokes: whoever merely saw a code pass by must not
    // be able to end a session with it (OAuth 2.1 section 7.5.2).
    if kept.redeemed {
        let revoked = GrantRevoked { cause: Cause::CodeReplay, reason: None };
        return Decision {
            facts: vec![Fact::new(&about, CodeReplayed {}), Fact::new(&about, revoked)],
            outcome: Err(Refusal::CodeReplayed),
        };
    }
    if let Some(reason) = code_obstacle(view, at, grant, kept) {
        return refused(reason);
    }
    let draft = match access {
        Ok(draft) => draft,
        Err(NoDraft::Scope) => return refused(CodeRefusal::Scope),
        Err(NoDraft::Target) => return refused(CodeRefusal::Target),
        Err(NoDraft::Dead) => return Decision::refused(Refusal::Stale),
    };
    if draft.is_within(&grant.scope, &grant.resources).is_err() || is_signed_in_vain(view, draft) {
        return Decision::refused(Refusal::Stale);
    }
    let mut facts = vec![Fact::new(&about, CodeRedeemed {})];
    let refresh_token = asking.metadata.grant_types.contains(&GrantType::RefreshToken);
    if refresh_token {
        let expires_at = grant.refresh_expires_at(at, &asking.metadata);
        let first = RefreshTokenIssued { generation: 0, digest: *refresh, expires_at };
        facts.push(Fact::new(&about, first));
    }
    let generation = refresh_token.then_some(0);
    facts.push(Fact::new(&about, issued(draft, generation)));
    Decision { facts, outcome: Ok(Granted::Issued { refresh_token }) }
}

fn standing_refusal(grant: &Grant) -> Option<CodeRefusal> {
    match grant.standing {
        Standing::Revoked(_) => Some(CodeRefusal::Revoked),
        Standing::Blacklisted(_) => Some(CodeRefusal::Blacklisted),
        Standing::Live => None,
    }
}

fn code_obstacle(
    view: &View<'_>,
    at: Timestamp,
    grant: &Grant,
    code: &Code,
) -> Option<CodeRefusal> {
    if code.expires_at <= at {
        return Some(CodeRefusal::Expired);
    }
    match view.standing_block(grant)? {
        RefreshRefusal::ClientDisabled => Some(CodeRefusal::ClientDisabled),
        RefreshRefusal::Revoked => Some(CodeRefusal::Revoked),
        RefreshRefusal::Expired
        | RefreshRefusal::Blacklisted
        | RefreshRefusal::GrantType
        | RefreshRefusal::WrongClient
        | RefreshRefusal::Scope
        | RefreshRefusal::Target
        | RefreshRefusal::Ahead => Some(CodeRefusal::Blacklisted),
    }
}

/// Whether the exchange proves what the authorization request promised
/// (RFC 7636 section 4.6, RFC 6749 section 4.1.3).
fn is_proven(
    grant: &Grant,
    code: &Code,
    challenge: Option<&Digest>,
    redirect_uri: Option<&str>,
) -> Result<(), CodeRefusal> {
    if code.challenge.as_ref() != challenge {
        return Err(CodeRefusal::WrongVerifier);
    }
    match (grant.redirect_uri.as_deref(), redirect_uri) {
        (Some(had), Some(has)) if had == has => Ok(()),
        // OAuth 2.1 section 10.2: PKCE makes the parameter superfluous, but it must not lie.
        (Some(_), None) if challenge.is_some() => Ok(()),
        (None, None) => Ok(()),
        (Some(_) | None, Some(_)) | (Some(_), None) => Err(CodeRefusal::WrongRedirectUri),
    }
}

pub(super) fn issue_to_client(
    view: &View<'_>,
    grant_id: &GrantId,
    client_id: &ClientId,
    access: &Result<Box<Draft>, NoDraft>,
) -> Decision {
    let Some(client) = view.client(client_id) else {
        return Decision::refused(Refusal::UnknownClient);
    };
    let metadata = &client.metadata;
    let is_public = metadata.token_endpoint_auth_method == AuthMethod::None;
    if is_public || !metadata.grant_types.contains(&GrantType::ClientCredentials) {
        return Decision::refused(Refusal::GrantType);
    }
    let draft = match access {
        Ok(draft) => draft,
        Err(NoDraft::Scope) => return Decision::refused(Refusal::Scope),
        Err(NoDraft::Target) => return Decision::refused(Refusal::Target),
        Err(NoDraft::Dead) => return Decision::refused(Refusal::Stale),
    };
    if let Err(refusal) = may_issue(view, client, administers(&draft.scope)) {
        return Decision::refused(refusal);
    }
    if let Err(fault) = draft.is_within(&metadata.scope, &metadata.resources) {
        return Decision::refused(match fault {
            NoDraft::Scope => Refusal::Scope,
            NoDraft::Target | NoDraft::Dead => Refusal::Target,
        });
    }
    if is_signed_in_vain(view, draft) {
        return Decision::refused(Refusal::Stale);
    }
    let about = About { grant: Some(*grant_id), ..about_client(client_id) };
    let mut facts = Vec::with_capacity(2);
    match view.grant(grant_id) {
        // The client's registration may have grown since, or the grant died: ask for a fresh one.
        Some(grant) if !is_own_grant_usable(grant, client, view) => {
            return Decision::refused(Refusal::Stale);
        }
        Some(_) => {}
        // A request that was prepared at the same time made one: that is the one to use.
        None if own_grant(view, client).is_some() => return Decision::refused(Refusal::Stale),
        None => {
            let (scope, resources) = (metadata.scope.clone(), metadata.resources.clone());
            let how = How::ClientCredentials;
            facts.push(Fact::new(&about, GrantCreated { how, scope, resources, code: None }));
        }
    }
    facts.push(Fact::new(&about, issued(draft, None)));
    Decision { facts, outcome: Ok(Granted::Issued { refresh_token: false }) }
}

/// Whether all that the scope covers is the ledger itself.
fn administers(scope: &Scope) -> bool {
    !scope.is_empty() && scope.iter().all(|token| token.starts_with("ledger:"))
}

/// Whether a client's own grant can carry another `client_credentials` token: one grant a client,
/// so that a client that asks a thousand times a second does not fill the ledger with grants.
fn is_own_grant_usable(grant: &Grant, client: &Client, view: &View<'_>) -> bool {
    grant.client == client.id
        && grant.subject.is_none()
        && grant.standing == Standing::Live
        && grant.scope == client.metadata.scope
        && grant.resources == client.metadata.resources
        && !client.ban.covers(grant.created)
        && !view.everything().covers(grant.created)
}

/// The client's own grant, if another `client_credentials` token can descend from it.
pub fn own_grant(view: &View<'_>, client: &Client) -> Option<GrantId> {
    let grant = view.grant(client.own_grant.as_ref()?)?;
    is_own_grant_usable(grant, client, view).then_some(grant.id)
}

pub(super) fn refresh(view: &View<'_>, at: Timestamp, asked: &Refresh) -> Decision {
    let Some(grant) = view.grant(&asked.grant) else {
        return Decision::refused(Refusal::UnknownGrant);
    };
    let Some(owner) = view.client(&grant.client) else {
        return Decision::refused(Refusal::UnknownClient);
    };
    let mut blocked = view.standing_block(grant);
    if !owner.metadata.grant_types.contains(&GrantType::RefreshToken) {
        blocked = blocked.or(Some(RefreshRefusal::GrantType));
    }
    let (events, outcome) = grant.refresh(at, asked, &owner.metadata, blocked, view.pauses());
    let about = about(grant);
    let mut facts = Vec::with_capacity(events.len() + 1);
    facts.extend(events.into_iter().map(|event| Fact::new(&about, event)));
    let outcome = match (outcome, &asked.access) {
        (Err(refusal), _) => Err(refusal),
        (Ok(_), Err(fault)) => Err(Refusal::Refresh((*fault).into())),
        (Ok(granted), Ok(draft)) => {
            let is_within = draft.is_within(&grant.scope, &grant.resources).is_ok();
            if !is_within || is_signed_in_vain(view, draft) {
                return Decision::refused(Refusal::Stale);
            }
            facts.push(Fact::new(&about, issued(draft, Some(asked.generation))));
            Ok(Granted::Refreshed(granted))
        }
    };
    Decision { facts, outcome }
}

pub(super) fn revoke_token(
    view: &View<'_>,
    at: Timestamp,
    client: &ClientId,
    token: TokenRef,
) -> Decision {
    let found = match token {
        TokenRef::OfGrant(grant) => view.grant(&grant).map(|grant| (grant, false)),
        // One that expired by the clock alone too: after a crash, a step back would revive it.
        TokenRef::Access(digest) => view
            .token(&digest, view.newest_at())
            .map(|(token, grant)| (grant, token.expires_at <= at)),
    };
    // Unknown, expired or revoked before: nothing is left to do (RFC 7009 section 2.2).
    let Some((grant, has_expired)) = found else { return Decision::done(Vec::new()) };
    let (is_own, cause) = (grant.client == *client, Cause::Client);
    if !is_own && !has_expired {
        return Decision::refused(Refusal::ForeignToken);
    }
    if !is_own || grant.standing != Standing::Live {
        return Decision::done(Vec::new());
    }
    let fact = match token {
        TokenRef::OfGrant(_) => Fact::new(&about(grant), GrantRevoked { cause, reason: None }),
        TokenRef::Access(digest) => Fact::new(&about(grant), AccessTokenRevoked { digest, cause }),
    };
    Decision::done(vec![fact])
}

pub(super) fn revoke_grant(view: &View<'_>, grant: &GrantId, reason: &Option<String>) -> Decision {
    let Some(grant) = view.grant(grant) else {
        return Decision::refused(Refusal::UnknownGrant);
    };
    if grant.standing != Standing::Live {
        return Decision::done(Vec::new());
    }
    let revoked = GrantRevoked { cause: Cause::Administrator, reason: reason.clone() };
    Decision::done(vec![Fact::new(&about(grant), revoked)])
}
