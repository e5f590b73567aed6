//! The token endpoint (RFC 6749 section 3.2): code, client credentials, refresh.

use crate::crypto::presented::{Presented, PresentedRefresh};
use crate::crypto::token::Minted;
use crate::domain::client::{ClientMetadata, GrantType};
use crate::domain::command::{Command, NoDraft, Refresh};
use crate::domain::decide::Granted;
use crate::domain::grant::{Grant, Refreshed, Standing};
use crate::domain::issue::own_grant;
use crate::domain::record::Actor;
use crate::domain::refusal::Refusal;
use crate::domain::view::View;
use crate::edge::draft::{Prepared, Wanted};
use crate::edge::fault::{Fault, INVALID_CODE, INVALID_REFRESH_TOKEN};
use crate::edge::{Caller, Edge};
use crate::entropy::bytes;
use crate::ledger::handle::SubmitError;
use crate::ledger::vault::Person;
use crate::oauth::error::ErrorCode;
use crate::oauth::pkce::CodeChallenge;
use crate::oauth::token_request::{PresentedGrant, TokenRequest};
use crate::types::digest::Digest;
use crate::types::id::{ClientId, GrantId};
use crate::types::scope::Scope;
use crate::types::secret::Secret;
use crate::types::time::Timestamp;

/// A successful token response (RFC 6749 section 5.1).
pub struct Tokens {
    /// The access token.
    pub access_token: Secret,
    /// Seconds until it expires.
    pub expires_in: u64,
    /// The refresh token to use from now on.
    pub refresh_token: Option<Secret>,
    /// What the access token covers.
    pub scope: Scope,
}

/// How often a request is prepared again because the state changed under it.
const PREPARED_MAX: usize = 4;

impl Edge {
    /// Answers a token request of an authenticated client.
    ///
    /// # Errors
    /// [`Fault`]: what RFC 6749 section 5.2 says, or unavailable. In the latter case the client may
    /// repeat the request as it is.
    pub async fn token(
        &self,
        client: &ClientId,
        request: &TokenRequest,
        caller: &Caller,
    ) -> Result<Tokens, Fault> {
        self.require_grant_type(client, request.grant.grant_type())?;
        for _ in 1..PREPARED_MAX {
            match self.token_once(client, request, caller).await {
                Err(Asking::Again) => {}
                Err(Asking::Not(fault)) => return Err(fault),
                Ok(tokens) => return Ok(tokens),
            }
        }
        match self.token_once(client, request, caller).await {
            Ok(tokens) => Ok(tokens),
            Err(Asking::Not(fault)) => Err(fault),
            Err(Asking::Again) => Err(SubmitError::Overloaded.into()),
        }
    }

    /// A refresh token may be of a grant whose client lost the grant type since: that is for the
    /// decision to refuse and record. Everything else is refused here.
    fn require_grant_type(&self, client: &ClientId, wanted: GrantType) -> Result<(), Fault> {
        let state = self.ledger.state();
        let metadata = state.client(client).map(|client| client.metadata.clone());
        let allowed = metadata.is_some_and(|metadata| metadata.grant_types.contains(&wanted));
        if allowed { Ok(()) } else { Err(Refusal::GrantType.into()) }
    }

    async fn token_once(
        &self,
        client: &ClientId,
        request: &TokenRequest,
        caller: &Caller,
    ) -> Result<Tokens, Asking> {
        match &request.grant {
            PresentedGrant::AuthorizationCode { code, redirect_uri, code_verifier } => {
                let exchange = Exchange { code, redirect_uri, code_verifier };
                self.exchange(client, request, &exchange, caller).await
            }
            PresentedGrant::ClientCredentials => self.issue_to(client, request, caller).await,
            PresentedGrant::RefreshToken { token } => {
                let invalid =
                    || Fault::refused(ErrorCode::InvalidGrant, INVALID_REFRESH_TOKEN).into();
                match self.keyring.tokens().parse(token.expose()) {
                    Presented::Refresh(presented) => {
                        self.refresh(client, request, token, &presented, caller).await
                    }
                    // What was never a refresh token of this ledger leaves no record.
                    Presented::Code(_) | Presented::Access(_) | Presented::Unknown => {
                        Err(invalid())
                    }
                }
            }
        }
    }

    async fn exchange(
        &self,
        client: &ClientId,
        request: &TokenRequest,
        exchange: &Exchange<'_>,
        caller: &Caller,
    ) -> Result<Tokens, Asking> {
        let invalid = || Asking::from(Fault::refused(ErrorCode::InvalidGrant, INVALID_CODE));
        let Presented::Code(code) = self.keyring.tokens().parse(exchange.code.expose()) else {
            return Err(invalid());
        };
        let basis = self.basis(&code.grant).ok_or_else(invalid)?;
        let person = self.person(&basis.grant)?;
        let (access, kept) = split(self.draft_for(&basis, person.as_ref(), request)?);
        let refresh = self.keyring.tokens().mint_refresh(code.grant, self.entropy.as_ref());
        let verifier = exchange.code_verifier.as_ref();
        let command = Command::RedeemCode {
            grant: code.grant,
            client: client.clone(),
            code: code.digest,
            challenge: verifier.map(challenge_of),
            redirect_uri: exchange.redirect_uri.clone(),
            refresh: refresh.digest,
            access,
        };
        let answer = self.ask(client, person.as_ref(), caller, command).await?;
        match (answer, kept) {
            (Ok(Granted::Issued { refresh_token }), Some(kept)) => {
                Ok(kept.tokens(refresh_token.then_some(refresh.token)))
            }
            (Err(Refusal::UnknownGrant), _) => Err(invalid()),
            // Preparing again would not bring back a person whom the vault has lost.
            (Err(Refusal::Stale), _) if person.is_none() => Err(invalid()),
            (answer, _) => Err(unexpected(answer)),
        }
    }

    async fn issue_to(
        &self,
        client_id: &ClientId,
        request: &TokenRequest,
        caller: &Caller,
    ) -> Result<Tokens, Asking> {
        let now = self.ledger.now();
        let (grant, metadata) = {
            let state = self.ledger.state();
            let client = state.client(client_id).ok_or(Fault::from(Refusal::UnknownClient))?;
            let fresh = || GrantId::from_bytes(bytes(self.entropy.as_ref()));
            (own_grant(&View::of(&state), client).unwrap_or_else(fresh), client.metadata.clone())
        };
        let wanted = Wanted {
            grant,
            client: client_id,
            metadata: &metadata,
            sub: client_id.as_str(),
            granted: &metadata.scope,
            resources: &metadata.resources,
            scope: request.scope.as_ref(),
            audience: request.resources.as_ref(),
            not_after: None,
        };
        let (access, kept) = split(self.prepare(now, &wanted)?);
        let command = Command::IssueToClient { grant, client: client_id.clone(), access };
        let answer = self.ask(client_id, None, caller, command).await?;
        match (answer, kept) {
            (Ok(Granted::Issued { .. }), Some(kept)) => Ok(kept.tokens(None)),
            (answer, _) => Err(unexpected(answer)),
        }
    }

    async fn refresh(
        &self,
        client: &ClientId,
        request: &TokenRequest,
        token: &Secret,
        presented: &PresentedRefresh,
        caller: &Caller,
    ) -> Result<Tokens, Asking> {
        let invalid =
            || Asking::from(Fault::refused(ErrorCode::InvalidGrant, INVALID_REFRESH_TOKEN));
        let basis = self.basis(&presented.grant).ok_or_else(invalid)?;
        let person = self.person(&basis.grant)?;
        let (access, kept) = split(self.draft_for(&basis, person.as_ref(), request)?);
        // After the last generation there is no successor; the token stays as it is then.
        let successor = self.keyring.tokens().successor(presented).ok();
        let command = Command::Refresh(Refresh {
            grant: presented.grant,
            generation: presented.generation,
            digest: presented.digest,
            successor: successor.as_ref().map_or(presented.digest, |minted| minted.digest),
            client: client.clone(),
            tag: person.as_ref().map(|person| caller.tag(person)),
            access,
        });
        let answer = self.ask(client, person.as_ref(), caller, command).await?;
        match (answer, kept) {
            (Ok(Granted::Refreshed(Refreshed::Same)), Some(kept)) => {
                Ok(kept.tokens(Some(Secret::new(token.expose().to_owned()))))
            }
            (Ok(Granted::Refreshed(Refreshed::Successor)), Some(kept)) => {
                Ok(kept.tokens(successor.map(|Minted { token, .. }| token)))
            }
            (Err(Refusal::UnknownGrant | Refusal::UnknownClient), _) => Err(invalid()),
            (answer, _) => Err(unexpected(answer)),
        }
    }

    async fn ask(
        &self,
        client: &ClientId,
        person: Option<&Person>,
        caller: &Caller,
        command: Command,
    ) -> Result<Result<Granted, Refusal>, Asking> {
        let origin = match person {
            Some(person) => self.sealed_origin(caller, person)?,
            None => caller.in_clear(),
        };
        // A grant whose owner was erased has nobody to seal for, and nothing in clear to say.
        let erased = person.is_none() && !matches!(command, Command::IssueToClient { .. });
        let origin = (!erased).then_some(origin);
        let asked = self.asked(Actor::Client(client.clone()), origin, command);
        Ok(self.submit(asked).await?.outcome)
    }

    fn basis(&self, grant: &GrantId) -> Option<Basis> {
        let now = self.ledger.now();
        let state = self.ledger.state();
        let grant = state.grant(grant)?.clone();
        let metadata = state.client(&grant.client)?.metadata.clone();
        Some(Basis { now, grant, metadata })
    }

    fn person(&self, grant: &Grant) -> Result<Option<Person>, Fault> {
        match &grant.subject {
            Some(subject) => Ok(self.vault.person(subject)?),
            None => Ok(None),
        }
    }

    fn draft_for(
        &self,
        basis: &Basis,
        person: Option<&Person>,
        request: &TokenRequest,
    ) -> Result<Result<Prepared, NoDraft>, Fault> {
        let Basis { now, grant, metadata } = basis;
        let (Some(person), Standing::Live) = (person, grant.standing) else {
            return Ok(Err(NoDraft::Dead));
        };
        let sub = person.sub().map_err(crate::ledger::vault::VaultError::from)?;
        let absolute_s = metadata.refresh_absolute_s;
        // What the client's registration has lost since is not handed out any more; the refresh
        // token keeps the scope of the grant (RFC 6749 section 6).
        let granted = grant.scope.intersection(&metadata.scope);
        if granted.is_empty() && !grant.scope.is_empty() {
            return Ok(Err(NoDraft::Scope));
        }
        // A grant without resources is for the issuer itself, whatever its client is registered for; a
        // client without resources is registered for the issuer.
        let resources = match metadata.resources.is_empty() {
            true => grant.resources.intersection(&self.own_resources()),
            false => grant.resources.intersection(&metadata.resources),
        };
        if resources.is_empty() && !grant.resources.is_empty() {
            return Ok(Err(NoDraft::Target));
        }
        let wanted = Wanted {
            grant: grant.id,
            client: &grant.client,
            metadata,
            sub: &sub,
            granted: &granted,
            resources: &resources,
            scope: request.scope.as_ref(),
            audience: request.resources.as_ref(),
            not_after: absolute_s.map(|seconds| grant.created_at.plus_seconds(seconds)),
        };
        self.prepare(*now, &wanted)
    }
}

/// What a request for tokens of a resource owner starts from.
struct Basis {
    now: Timestamp,
    grant: Grant,
    metadata: std::sync::Arc<ClientMetadata>,
}

struct Exchange<'a> {
    code: &'a Secret,
    redirect_uri: &'a Option<String>,
    code_verifier: &'a Option<Secret>,
}

/// Why there are no tokens yet.
enum Asking {
    /// The state changed meanwhile: prepare again.
    Again,
    /// There will be none.
    Not(Fault),
}

impl From<Fault> for Asking {
    fn from(fault: Fault) -> Self {
        Self::Not(fault)
    }
}

impl Prepared {
    fn tokens(self, refresh_token: Option<Secret>) -> Tokens {
        let Self { draft, token, expires_in } = self;
        Tokens { access_token: token, expires_in, refresh_token, scope: draft.scope }
    }
}

type Access = Result<Box<crate::domain::command::Draft>, NoDraft>;

/// What goes to the ledger, and what waits for its answer.
fn split(prepared: Result<Prepared, NoDraft>) -> (Access, Option<Prepared>) {
    match prepared {
        Ok(prepared) => (Ok(prepared.draft.clone()), Some(prepared)),
        Err(fault) => (Err(fault), None),
    }
}

fn unexpected(answer: Result<Granted, Refusal>) -> Asking {
    match answer {
        Err(Refusal::Stale) => Asking::Again,
        Err(refusal) => Fault::from(refusal).into(),
        Ok(_) => Fault::Broken("the ledger granted what was not asked").into(),
    }
}

/// The challenge that a verifier answers, as records keep it.
fn challenge_of(verifier: &Secret) -> Digest {
    Digest::from_bytes(*CodeChallenge::of(verifier).as_bytes())
}
