//! Recording what a resource owner granted, on behalf of a login application.

use crate::domain::command::{Command, Owner};
use crate::domain::record::Actor;
use crate::domain::refusal::Refusal;
use crate::edge::fault::Fault;
use crate::edge::{Caller, Edge};
use crate::entropy::bytes;
use crate::ledger::vault::Person;
use crate::oauth::error::ErrorCode;
use crate::oauth::pkce::CodeChallenge;
use crate::types::digest::Digest;
use crate::types::id::{ClientId, GrantId, SubjectId};
use crate::types::resource::Resources;
use crate::types::scope::Scope;
use crate::types::secret::Secret;

/// The longest `sub`, in bytes.
pub const SUB_BYTES_MAX: usize = 255;

/// What a login application asks for.
pub struct GrantRequest {
    /// The client that the grant is for.
    pub client: ClientId,
    /// The resource owner.
    pub subject: String,
    /// What was granted; none for all that the client is registered for.
    pub scope: Option<Scope>,
    /// For which servers; none for all that the client is registered for.
    pub resources: Option<Resources>,
    /// The redirect URI of the authorization request.
    pub redirect_uri: Option<String>,
    /// The S256 code challenge.
    pub challenge: Option<CodeChallenge>,
}

/// A grant and the code that redeems it.
pub struct Authorized {
    /// The grant.
    pub grant: GrantId,
    /// The code, for the client.
    pub code: Secret,
    /// Seconds for which the code is accepted.
    pub expires_in: u64,
}

/// Checks the text of a `sub` that somebody may be registered with.
///
/// # Errors
/// As [`check_sub_text`]; and `invalid_request` for the text of a pseudonym: whoever asks for that
/// person's records would be shown another's.
pub fn check_sub(sub: &str) -> Result<(), Fault> {
    check_sub_text(sub)?;
    if sub.parse::<SubjectId>().is_err() {
        return Ok(());
    }
    let what = "subject has the form of a pseudonym of this ledger (s_ and 22 characters): name the \
                person by their sub";
    Err(Fault::refused(ErrorCode::InvalidRequest, what))
}

/// Checks the text of a `sub` that is only looked for.
///
/// # Errors
/// `invalid_request` unless it is 1 to 255 bytes without control characters.
pub fn check_sub_text(sub: &str) -> Result<(), Fault> {
    let fits = !sub.is_empty() && sub.len() <= SUB_BYTES_MAX;
    if fits && !sub.chars().any(char::is_control) {
        return Ok(());
    }
    let what = "subject must be 1 to 255 bytes of text without control characters";
    Err(Fault::refused(ErrorCode::InvalidRequest, what))
}

impl Edge {
    /// Records a grant and makes a code for it.
    ///
    /// # Errors
    /// [`Fault`] naming what cannot be granted; nothing is recorded then.
    pub async fn authorize(
        &self,
        actor: Actor,
        caller: &Caller,
        request: GrantRequest,
    ) -> Result<Authorized, Fault> {
        check_sub(&request.subject)?;
        // RFC 9068 section 5: a `sub` must not pass for a client.
        if let Ok(name) = request.subject.parse::<ClientId>()
            && self.ledger.state().client(&name).is_some()
        {
            let what = "subject is the name of a client";
            return Err(Fault::refused(ErrorCode::Conflict, what));
        }
        // As in a token request, an empty list asks for nothing in particular (RFC 8707 section 2).
        let asked = request.resources.filter(|asked| !asked.is_empty());
        let (scope, resources) = {
            let state = self.ledger.state();
            let client = state.client(&request.client).ok_or(Refusal::UnknownClient)?;
            let all = &client.metadata;
            // A client without resources has tokens for the issuer itself, and for nobody else.
            let foreign = |asked: &Resources| asked.iter().any(|one| *one != self.own_resource);
            if all.resources.is_empty() && asked.as_ref().is_some_and(foreign) {
                return Err(Refusal::Target.into());
            }
            let scope = request.scope.unwrap_or_else(|| all.scope.clone());
            (scope, asked.unwrap_or_else(|| all.resources.clone()))
        };
        let person = self.registered(request.subject).await?;
        let grant = GrantId::from_bytes(bytes(self.entropy.as_ref()));
        let code = self.keyring.tokens().mint_code(grant, self.entropy.as_ref());
        let code_lifetime_s = self.limits.code_lifetime_s;
        let command = Command::CreateGrant {
            grant,
            client: request.client,
            owner: Owner { subject: person.subject, sub: person.sub.clone() },
            scope,
            resources,
            code: code.digest,
            code_lifetime_s,
            redirect_uri: request.redirect_uri,
            challenge: request.challenge.map(|c| Digest::from_bytes(*c.as_bytes())),
        };
        let origin = self.sealed_origin(caller, &person)?;
        self.submit(self.asked(actor, Some(origin), command)).await?.outcome?;
        Ok(Authorized { grant, code: code.token, expires_in: code_lifetime_s })
    }

    /// The person of this `sub`, its row durable before the first record that needs it.
    pub(super) async fn registered(&self, sub: String) -> Result<Person, Fault> {
        Ok(self.with_vault(move |vault, entropy| vault.ensure(&sub, entropy)).await??)
    }
}
