//! Questions of auditors and investigators. Each is recorded before it is answered, and the answer
//! is as of that record.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::audit::leak::{Above, Known, judge};
use crate::audit::past::{Extent, ValidToken, fold, valid};
use crate::audit::records::{Filter, Page, first_with_digest, page};
use crate::audit::trail::{Reader, Step, Trail, walk};
use crate::crypto::jwt::{decode_part, grant_of_jti};
use crate::crypto::leak::kind_and_digest;
use crate::crypto::presented::Presented;
use crate::domain::command::Command;
use crate::domain::event::Event;
use crate::domain::grant::Grant;
use crate::domain::record::{About, Actor};
use crate::domain::refusal::Refusal;
use crate::domain::state::State;
use crate::edge::fault::Fault;
use crate::edge::{Caller, Edge};
use crate::ledger::replay::LogError;
use crate::log::store::Store;
use crate::log::tree::TreeHead;
use crate::oauth::error::ErrorCode;
use crate::types::digest::Digest;
use crate::types::id::{ClientId, GrantId, Seq, SubjectId};
use crate::types::secret::Secret;
use crate::types::time::Timestamp;

/// What an answer rests on: the record of the reading itself, and everything before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AsOf {
    /// The newest record.
    pub seq: Seq,
    /// Its time.
    pub at: Timestamp,
    /// The root of the Merkle tree that ends with that record, as a checkpoint of size `seq + 1`
    /// writes it.
    pub root: String,
}

/// Whose tokens are asked for.
#[derive(Debug, Clone)]
pub enum Whose {
    /// A resource owner's.
    Subject(SubjectId),
    /// A client's.
    Client(ClientId),
    /// A grant's.
    Grant(GrantId),
}

/// What is known of a token that was found.
#[derive(Debug)]
pub struct Found {
    /// What it is and how it stands.
    pub known: Known,
    /// Its grant.
    pub grant: GrantId,
    /// Its client.
    pub client: ClientId,
    /// Its resource owner.
    pub subject: Option<SubjectId>,
    /// The exact bytes of the records that made it so.
    pub why: Vec<Vec<u8>>,
}

impl Edge {
    /// The pseudonym of a resource owner, named by `sub` or by the pseudonym itself. One that the log
    /// knows is never taken for somebody's `sub`: who is erased has no other name.
    ///
    /// # Errors
    /// `not_found` where neither is known.
    pub async fn subject_named(&self, name: String) -> Result<SubjectId, Fault> {
        let known = |id: &SubjectId| self.ledger.state().subject(id).is_some();
        if let Some(pseudonym) = name.parse().ok().filter(known) {
            return Ok(pseudonym);
        }
        let found = self.with_vault(move |vault, _| vault.find(&name)).await??;
        found.map(|person| person.subject).ok_or_else(|| Refusal::UnknownSubject.into())
    }

    /// Records that `what` is read, before it is.
    pub(super) async fn note_reading(
        &self,
        actor: Actor,
        caller: &Caller,
        what: &str,
        parameters: Map<String, Value>,
        about: About,
    ) -> Result<AsOf, Fault> {
        // Whoever reads is an operator; the address is not that of the resource owner.
        let origin = about.subject.is_none().then(|| caller.in_clear());
        let command = Command::ReadAudit { what: what.to_owned(), parameters, about };
        let answer = self.submit(self.asked(actor, origin, command)).await?;
        answer.outcome?;
        let seq = answer.seq.ok_or(Fault::Broken("a reading left no record"))?;
        self.as_of_record(seq, answer.at)
    }

    fn as_of_record(&self, seq: Seq, at: Timestamp) -> Result<AsOf, Fault> {
        let size = seq.next().0;
        let head = TreeHead { size, root: self.ledger.tree().root(size)? };
        Ok(AsOf { seq, at, root: head.root_text() })
    }

    /// What an answer about the present rests on; none in an empty ledger.
    ///
    /// # Errors
    /// When the tree cannot be read.
    pub fn as_of(&self, state: &State) -> Result<Option<AsOf>, Fault> {
        state.head().map(|head| self.as_of_record(head.seq, head.at)).transpose()
    }

    /// Records that match, as exact bytes.
    ///
    /// # Errors
    /// `not_found` or `invalid_request` for a name that the log does not know; [`Fault`] when the
    /// reading cannot be recorded or the log cannot be read.
    pub async fn records(
        &self,
        actor: Actor,
        caller: &Caller,
        filter: Filter,
        limit: Option<usize>,
        nonce: Option<String>,
    ) -> Result<(AsOf, Page), Fault> {
        self.check_filter(&filter)?;
        let mut parameters = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                parameters.insert(name.to_owned(), value);
            }
        };
        put("from", filter.from.map(|seq| json!(seq)));
        put("to", filter.to.map(|seq| json!(seq)));
        put("since", filter.since.map(|at| json!(at)));
        put("until", filter.until.map(|at| json!(at)));
        put("type", filter.kind.clone().map(Value::from));
        let about =
            About { client: filter.client.clone(), subject: filter.subject, grant: filter.grant };
        let parameters = with_nonce(parameters, nonce)?;
        let as_of = self.note_reading(actor, caller, "records", parameters, about).await?;
        let most = self.limits.page_records_max;
        let limit = limit.map_or(most, |limit| limit.clamp(1, most));
        let end = as_of.seq.next();
        let run = move |store: &dyn Store, _| page(store, &filter, limit, end);
        Ok((as_of, self.with_log(run).await??))
    }

    /// What is asked for is recorded for ever, so it must be a name that the log knows: whoever
    /// mistook one box for another must not leave a person's address there.
    fn check_filter(&self, filter: &Filter) -> Result<(), Fault> {
        let known = |kind: &str| Event::ALL.iter().any(|(name, _)| *name == kind);
        if filter.kind.as_deref().is_some_and(|kind| !known(kind)) {
            let what = "type is not the name of an event, like refresh_token.rotated";
            return Err(Fault::refused(ErrorCode::InvalidRequest, what));
        }
        let state = self.ledger.state();
        if filter.client.as_ref().is_some_and(|id| state.client(id).is_none()) {
            return Err(Refusal::UnknownClient.into());
        }
        if filter.grant.as_ref().is_some_and(|id| state.grant(id).is_none()) {
            return Err(Refusal::UnknownGrant.into());
        }
        Ok(())
    }

    /// A whole trail, oldest first; its last record is the reading itself.
    ///
    /// # Errors
    /// `not_found`, or `invalid_request` when the trail is longer than one answer may be.
    pub async fn trail(
        &self,
        actor: Actor,
        caller: &Caller,
        trail: Trail,
        nonce: Option<String>,
    ) -> Result<(AsOf, Vec<Step>), Fault> {
        let about = self.about_trail(&trail)?;
        let parameters = with_nonce(Map::new(), nonce)?;
        let as_of = self.note_reading(actor, caller, "trail", parameters, about).await?;
        let limit = self.limits.trail_records_max;
        let head = as_of.seq;
        let (steps, more) =
            self.with_log(move |store, _| walk(store, &trail, head, limit)).await??;
        if more.is_some() {
            return Err(too_long());
        }
        Ok((as_of, steps))
    }

    fn about_trail(&self, trail: &Trail) -> Result<About, Fault> {
        let state = self.ledger.state();
        let unknown = Refusal::UnknownGrant;
        match trail {
            Trail::Grant(id) => {
                state.grant(id).ok_or(unknown)?;
                Ok(About { grant: Some(*id), ..About::default() })
            }
            Trail::Subject(id) => {
                state.subject(id).ok_or(Refusal::UnknownSubject)?;
                Ok(About { subject: Some(*id), ..About::default() })
            }
            Trail::Client(id) => {
                state.client(id).ok_or(Refusal::UnknownClient)?;
                Ok(About { client: Some(id.clone()), ..About::default() })
            }
        }
    }

    /// Every token that was valid at `at`.
    ///
    /// # Errors
    /// `not_found`, or `invalid_request` for an instant in the future or a trail that is too long.
    pub async fn valid_at(
        &self,
        actor: Actor,
        caller: &Caller,
        whose: Whose,
        at: Timestamp,
    ) -> Result<(AsOf, Vec<ValidToken>), Fault> {
        let trail = match &whose {
            Whose::Subject(id) => Trail::Subject(*id),
            Whose::Client(id) => Trail::Client(id.clone()),
            Whose::Grant(id) => Trail::Grant(*id),
        };
        let about = self.about_trail(&trail)?;
        if self.ledger.now() < at {
            let what = "at lies in the future: the ledger knows what was and what is";
            return Err(Fault::refused(ErrorCode::InvalidRequest, what));
        }
        let mut parameters = Map::new();
        parameters.insert("at".to_owned(), json!(at));
        let as_of = self.note_reading(actor, caller, "valid", parameters, about).await?;
        let (control, extent) = {
            let state = self.ledger.state();
            (state.control().to_vec(), extent(&state, &whose))
        };
        let limit = self.limits.trail_records_max;
        let past =
            self.with_log(move |store, _| fold(store, &control, &extent, at, limit)).await??;
        let wanted = |grant: &Grant| match &whose {
            Whose::Subject(id) => grant.subject == Some(*id),
            Whose::Client(id) => grant.client == *id,
            Whose::Grant(id) => grant.id == *id,
        };
        let tokens = past.and_then(|past| valid(&past, at, limit, wanted));
        let tokens = tokens.ok_or_else(|| {
            let what = "the answer needs more than trail_records_max records: ask for one grant";
            Fault::refused(ErrorCode::InvalidRequest, what)
        })?;
        Ok((as_of, tokens))
    }

    /// Whose a token is, how it stands, and which records say so; none where the log does not know
    /// it.
    ///
    /// # Errors
    /// `invalid_request` for a text that is no token or digest.
    pub async fn look_up(
        &self,
        actor: Actor,
        caller: &Caller,
        token: Option<Secret>,
        digest: Option<Digest>,
    ) -> Result<(AsOf, Digest, Option<Found>), Fault> {
        let (digest, named) = match (&token, digest) {
            (Some(token), None) => {
                let known = kind_and_digest(token.expose());
                let (_, digest) = known.ok_or_else(|| {
                    let what = "token is none that this ledger could have issued";
                    Fault::refused(ErrorCode::InvalidRequest, what)
                })?;
                (digest, self.grant_named(token))
            }
            (None, Some(digest)) => (digest, None),
            (Some(_), Some(_)) | (None, None) => {
                let what = "send either token or digest";
                return Err(Fault::refused(ErrorCode::InvalidRequest, what));
            }
        };
        let grant = match named.or_else(|| self.grant_of_live(&digest)) {
            Some(grant) => Some(grant),
            // A bare digest names no grant: one pass over the log.
            None => {
                let first = move |store: &dyn Store, end| first_with_digest(store, &digest, end);
                self.with_log(first).await??.and_then(|record| record.about.grant)
            }
        };
        let mut parameters = Map::new();
        parameters.insert("digest".to_owned(), json!(digest));
        let about = About { grant, ..About::default() };
        let as_of = self.note_reading(actor, caller, "token", parameters, about).await?;
        let Some(grant) = grant else { return Ok((as_of, digest, None)) };
        let found = self.judge_token(grant, digest, &as_of).await?;
        Ok((as_of, digest, found))
    }

    async fn judge_token(
        &self,
        grant: GrantId,
        digest: Digest,
        as_of: &AsOf,
    ) -> Result<Option<Found>, Fault> {
        let (head, at) = (as_of.seq, as_of.at);
        // Neither what is read of the state nor what is read of the log is younger than the reading.
        let above = Above::look(&self.ledger.state(), &grant, digest, head);
        let Some(above) = above else { return Ok(None) };
        let limit = self.limits.trail_records_max;
        let (client, subject) = (above.client.clone(), above.subject);
        let run = move |store: &dyn Store, _| {
            let (steps, more) = walk(store, &Trail::Grant(grant), head, limit)?;
            if more.is_some() {
                return Ok(Err(too_long()));
            }
            let Some(known) = judge(store, &above, &steps, at)? else {
                return Ok(Ok(None));
            };
            let mut reader = Reader::new(store);
            let why = known.why.iter().map(|seq| Ok(reader.step(*seq)?.bytes));
            let why: Vec<Vec<u8>> = why.collect::<Result<_, LogError>>()?;
            Ok(Ok(Some((known, why))))
        };
        let found: Result<_, LogError> = self.with_log(run).await?;
        Ok(found??.map(|(known, why)| Found { known, grant, client, subject, why }))
    }

    /// The grant that a token names, if this ledger has it.
    fn grant_named(&self, token: &Secret) -> Option<GrantId> {
        let named = match self.keyring.tokens().parse(token.expose()) {
            Presented::Refresh(presented) => Some(presented.grant),
            Presented::Code(presented) => Some(presented.grant),
            Presented::Access(presented) => Some(presented.grant),
            Presented::Unknown => grant_in_jwt(token.expose()),
        };
        named.filter(|id| self.ledger.state().grant(id).is_some())
    }

    fn grant_of_live(&self, digest: &Digest) -> Option<GrantId> {
        let state = self.ledger.state();
        let token = state.token(&digest.short())?;
        state.grant_of(token).map(|grant| grant.id)
    }
}

/// What the auditor chose, so that nobody can pass an older reading off as this one. It is recorded
/// for ever, so it is short, and says nothing about anybody.
fn with_nonce(
    mut parameters: Map<String, Value>,
    nonce: Option<String>,
) -> Result<Map<String, Value>, Fault> {
    let Some(nonce) = nonce else { return Ok(parameters) };
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    if !(16..=64).contains(&nonce.len()) || !nonce.bytes().all(plain) {
        let what = "nonce must be 16 to 64 random characters of base64url";
        return Err(Fault::refused(ErrorCode::InvalidRequest, what));
    }
    parameters.insert("nonce".to_owned(), Value::from(nonce));
    Ok(parameters)
}

/// A part of a trail would be a wrong answer.
fn too_long() -> Fault {
    let what = "the trail is longer than trail_records_max: let the operator raise it, or ask for the \
                records of a time, /audit/records with since and until, part by part";
    Fault::refused(ErrorCode::InvalidRequest, what)
}

fn extent(state: &State, whose: &Whose) -> Extent {
    let along = |trail: Trail| match trail.head(state) {
        Some(head) => Extent::Along(trail, head),
        None => Extent::Nothing,
    };
    match whose {
        Whose::Subject(id) => along(Trail::Subject(*id)),
        Whose::Client(id) => Extent::OfClient(id.clone()),
        // What befell the owner bears on the grant: the owner's trail has both.
        Whose::Grant(id) => match state.grant(id).and_then(|grant| grant.subject) {
            Some(subject) => along(Trail::Subject(subject)),
            None => along(Trail::Grant(*id)),
        },
    }
}

/// The grant that the `jti` of a JWT names, whoever signed it: the trail decides.
fn grant_in_jwt(jwt: &str) -> Option<GrantId> {
    #[derive(serde::Deserialize)]
    struct Named {
        jti: String,
    }
    let payload = decode_part(jwt.split('.').nth(1)?)?;
    let named: Named = serde_json::from_slice(&payload).ok()?;
    grant_of_jti(&named.jti)
}
