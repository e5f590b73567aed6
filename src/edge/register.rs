//! Registering clients (RFC 7591 names) and changing them.

use crate::crypto::token::new_client_secret;
use crate::domain::client::{ClientMetadata, GrantType};
use crate::domain::command::Command;
use crate::domain::party::Client;
use crate::domain::record::Actor;
use crate::domain::refusal::Refusal;
use crate::edge::authenticate::Role;
use crate::edge::fault::Fault;
use crate::edge::{Caller, Edge};
use crate::entropy::bytes;
use crate::oauth::error::ErrorCode;
use crate::oauth::registration::{self, RawRegistration, RawUpdate};
use crate::types::id::{ClientId, SubjectId};
use crate::types::secret::Secret;
use crate::types::time::Timestamp;

/// How long a replaced secret is accepted besides the new one unless the request says otherwise.
pub const PREVIOUS_SECRET_LIFETIME_S: u64 = 86_400;
/// The longest it may be accepted.
pub const PREVIOUS_SECRET_LIFETIME_S_MAX: u64 = 2_592_000;

impl Edge {
    /// Registers a client; the secret of a confidential one is shown here and never again.
    ///
    /// # Errors
    /// [`Fault`] naming the member that cannot be registered, or a conflict with a client or
    /// resource owner of the same name.
    pub async fn register_client(
        &self,
        actor: Actor,
        caller: &Caller,
        raw: RawRegistration,
    ) -> Result<(Client, Option<Secret>), Fault> {
        let (wanted, metadata) =
            registration::register(raw, true).map_err(|fault| Fault::Refused(fault.into()))?;
        let client = match wanted {
            Some(client) => client,
            None => self.fresh_client_id()?,
        };
        // RFC 9068 section 5: nobody may be taken for another by bearing the same `sub`.
        let name = client.to_string();
        if self.with_vault(move |vault, _| vault.find(&name)).await??.is_some() {
            let what = "this client_id is the name of a resource owner: choose another";
            return Err(Fault::refused(ErrorCode::Conflict, what));
        }
        let turn = self.changing.lock().await;
        let alg = metadata.access_token_signing_alg;
        self.ensure_signer(&turn, alg, actor.clone(), caller).await?;
        drop(turn);
        let secret = metadata.has_secret().then(|| new_client_secret(self.entropy.as_ref()));
        let command = Command::RegisterClient {
            client: client.clone(),
            metadata: Box::new(metadata),
            secret: secret.as_ref().map(|minted| minted.digest),
        };
        self.submit(self.asked(actor, Some(caller.in_clear()), command)).await?.outcome?;
        Ok((self.client(&client)?, secret.map(|minted| minted.token)))
    }

    fn fresh_client_id(&self) -> Result<ClientId, Fault> {
        // The random part of an identifier that exists already, under a prefix of its own.
        let random = SubjectId::from_bytes(bytes(self.entropy.as_ref())).to_string();
        let id = random.replacen("s_", "c_", 1).parse();
        id.map_err(|_| Fault::Broken("a fresh client_id is malformed"))
    }

    /// A registered client.
    ///
    /// # Errors
    /// `not_found`.
    pub fn client(&self, id: &ClientId) -> Result<Client, Fault> {
        let found = self.ledger.state().client(id).cloned();
        found.ok_or_else(|| Refusal::UnknownClient.into())
    }

    /// Replaces members of a client's metadata.
    ///
    /// # Errors
    /// [`Fault`] naming the member, `not_found`, or a conflict when an administrator would lose its
    /// own access.
    pub async fn update_client(
        &self,
        actor: Actor,
        caller: &Caller,
        id: &ClientId,
        raw: RawUpdate,
    ) -> Result<Client, Fault> {
        // What is kept of the old metadata must not be older than the last change.
        let turn = self.changing.lock().await;
        let had = self.client(id)?;
        let metadata = registration::update(&had.metadata, raw, true)
            .map_err(|fault| Fault::Refused(fault.into()))?;
        if metadata.is_public() != had.metadata.is_public() {
            let what = "a confidential client stays confidential and a public one public: \
                        register another client";
            return Err(Fault::refused(ErrorCode::InvalidClientMetadata, what));
        }
        // Who has no secret yet would need another administrator to make one.
        let is_locked_out = metadata.has_secret() && had.secrets.is_empty();
        if actor.client() == Some(id) && (is_locked_out || !self.may_administer(&metadata)) {
            return Err(Refusal::SelfLockout.into());
        }
        let alg = metadata.access_token_signing_alg;
        self.ensure_signer(&turn, alg, actor.clone(), caller).await?;
        let command = Command::UpdateClient { client: id.clone(), metadata: Box::new(metadata) };
        self.submit(self.asked(actor, Some(caller.in_clear()), command)).await?.outcome?;
        self.client(id)
    }

    /// Whether a client of this metadata can get a token that opens the administration.
    fn may_administer(&self, metadata: &ClientMetadata) -> bool {
        let resources = &metadata.resources;
        metadata.scope.contains(Role::Administrator.scope())
            && metadata.grant_types.contains(&GrantType::ClientCredentials)
            && (resources.is_empty() || resources.contains(&self.own_resource))
    }

    /// Gives a client another secret; the one before it is accepted for `previous_lifetime_s` more.
    ///
    /// # Errors
    /// `not_found`, or a conflict: for a public client, and while the secret before the present one is
    /// accepted still, which this would end; without a lifetime for the present one both end.
    pub async fn rotate_secret(
        &self,
        actor: Actor,
        caller: &Caller,
        id: &ClientId,
        previous_lifetime_s: u64,
    ) -> Result<Secret, Fault> {
        if PREVIOUS_SECRET_LIFETIME_S_MAX < previous_lifetime_s {
            let what = "previous_lifetime_s must be 0 to 2592000 seconds";
            return Err(Fault::refused(ErrorCode::InvalidRequest, what));
        }
        let _turn = self.changing.lock().await;
        if 0 < previous_lifetime_s
            && let Some(until) = self.older_secret_until(id)
        {
            let what = format!(
                "the secret before the present one is accepted until {until}, as was promised: wait for \
                 that, or end both of them with previous_lifetime_s 0"
            );
            return Err(Fault::refused(ErrorCode::Conflict, what));
        }
        let minted = new_client_secret(self.entropy.as_ref());
        let (client, secret) = (id.clone(), minted.digest);
        let command = Command::RotateSecret { client, secret, previous_lifetime_s };
        self.submit(self.asked(actor, Some(caller.in_clear()), command)).await?.outcome?;
        Ok(minted.token)
    }

    /// Until when the secret is accepted that the present one replaced; none where there is none.
    fn older_secret_until(&self, id: &ClientId) -> Option<Timestamp> {
        let now = self.ledger.now();
        let state = self.ledger.state();
        let older = state.client(id)?.secrets.get(1)?;
        older.expires_at.filter(|until| now < *until)
    }

    /// Disables or enables a client.
    ///
    /// # Errors
    /// `not_found`, or a conflict when a client would disable itself.
    pub async fn switch_client(
        &self,
        actor: Actor,
        caller: &Caller,
        id: &ClientId,
        enabled: bool,
        reason: String,
    ) -> Result<Client, Fault> {
        let command = Command::SwitchClient { client: id.clone(), enabled, reason };
        self.submit(self.asked(actor, Some(caller.in_clear()), command)).await?.outcome?;
        self.client(id)
    }
}
