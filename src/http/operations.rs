//! The admin listener: blacklist, erasure, signing keys.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload, ServiceConfig, delete, get, post};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::crypto::signing::SigningAlgorithm;
use crate::domain::checkpoint_keys::CHECKPOINT_PURPOSE;
use crate::domain::keys::KeyStanding;
use crate::domain::state::Entry;
use crate::edge::authenticate::Role;
use crate::edge::checkpoint_keys::RotatedCheckpointKey;
use crate::edge::fault::Fault;
use crate::edge::operate::{Banned, Blacklisted};
use crate::edge::rotate::{Rotated, ShownKey};
use crate::http::app::App;
use crate::http::clients::{id, optional_json, page_limit};
use crate::http::evidence::{add_receipt, wants_receipt};
use crate::http::request::{actor, caller, json, query};
use crate::http::respond::{answer, json as json_answer};
use crate::http::server::{route, routes};
use crate::oauth::error::{ErrorCode, ErrorResponse};
use crate::types::digest::Digest;
use crate::types::id::{ClientId, GrantId, KeyId, Seq};
use crate::types::secret::Secret;

/// The longest reason, in bytes.
const REASON_BYTES_MAX: usize = 1000;

/// Puts the operator's addresses in place.
pub fn configure(config: &mut ServiceConfig) {
    let both = vec![get().to(list), post().to(add)];
    routes(config, "/admin/blacklist", "GET, POST", both);
    route(config, "/admin/blacklist/{id}", "DELETE", delete().to(lift));
    route(config, "/admin/subjects/erase", "POST", post().to(erase));
    route(config, "/admin/backup", "POST", post().to(back_up));
    route(config, "/admin/keys", "GET", get().to(keys));
    route(config, "/admin/keys/rotate", "POST", post().to(rotate_key));
    let rotate = post().to(rotate_checkpoint_key);
    route(config, "/admin/keys/checkpoint/rotate", "POST", rotate);
}

/// A body that holds nothing but a reason.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Reason {
    reason: Option<String>,
}

impl Reason {
    /// The reason, empty where there is none.
    ///
    /// # Errors
    /// `invalid_request` where it is too long.
    pub fn optional(self) -> Result<String, Fault> {
        checked("reason", self.reason.unwrap_or_default())
    }
}

fn checked(member: &str, text: String) -> Result<String, Fault> {
    if text.len() <= REASON_BYTES_MAX {
        return Ok(text);
    }
    let what = format!("{member} must be at most {REASON_BYTES_MAX} bytes");
    Err(Fault::refused(ErrorCode::InvalidRequest, what))
}

fn required(member: &str, text: String) -> Result<String, Fault> {
    if text.trim().is_empty() {
        let what = format!("{member} must say why, for those who read it later");
        return Err(Fault::refused(ErrorCode::InvalidRequest, what));
    }
    checked(member, text)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlacklistBody {
    target: TargetBody,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetBody {
    r#type: String,
    id: Option<String>,
    token: Option<String>,
}

impl TargetBody {
    fn banned(self) -> Result<Banned, Fault> {
        let Self { r#type, id, token } = self;
        let malformed = |what: &'static str| Fault::refused(ErrorCode::InvalidRequest, what);
        if r#type == "token" {
            return match (id, token) {
                (None, Some(token)) => Ok(Banned::Token(Secret::new(token))),
                (Some(digest), None) => {
                    let what = "target.id must be the digest of the token, 43 characters of \
                                base64url; or send the token itself as target.token";
                    let digest: Digest = digest.parse().map_err(|_| malformed(what))?;
                    Ok(Banned::Digest(digest))
                }
                (Some(_), Some(_)) | (None, None) => {
                    Err(malformed("a token target has either id (its digest) or token"))
                }
            };
        }
        if token.is_some() {
            return Err(malformed("target.token goes with type token only"));
        }
        match (r#type.as_str(), id) {
            ("all", None) => Ok(Banned::All),
            ("all", Some(_)) => Err(malformed("a target of type all has no id")),
            ("subject", Some(sub)) => Ok(Banned::Subject(sub)),
            ("grant", Some(id)) => {
                let what = "target.id must be a grant id, g_ and 22 characters";
                let id: GrantId = id.parse().map_err(|_| malformed(what))?;
                Ok(Banned::Grant(id))
            }
            ("client", Some(id)) => {
                let what = "target.id must be a client_id";
                let id: ClientId = id.parse().map_err(|_| malformed(what))?;
                Ok(Banned::Client(id))
            }
            ("key", Some(id)) => {
                let what = "target.id must be the kid of a signing key";
                let id: KeyId = id.parse().map_err(|_| malformed(what))?;
                Ok(Banned::Key(id))
            }
            ("subject" | "grant" | "client" | "key", None) => {
                Err(malformed("target.id is missing"))
            }
            (_, _) => {
                Err(malformed("target.type must be token, grant, subject, client, key or all"))
            }
        }
    }
}

fn entry_json(entry: &Entry) -> Value {
    let mut target = serde_json::to_value(&entry.target).unwrap_or_default();
    if let Some(target) = target.as_object_mut() {
        target.entry("id").or_insert(Value::Null);
    }
    json!({
        "id": entry.id,
        "target": target,
        "reason": entry.reason,
        "actor": entry.actor,
        "seq": entry.seq,
        "at": entry.at,
        "watermark": entry.watermark,
        "lifted": entry.lifted,
    })
}

async fn add(app: Data<App>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(async {
        let actor = actor(&app, &request, Role::Administrator)?;
        let wants_receipt = wants_receipt(&request)?;
        let body: BlacklistBody = json(&app, &request, payload).await?;
        let reason = required("reason", body.reason)?;
        let banned = body.target.banned()?;
        let added = app.edge.blacklist(actor, &caller(&request), banned, reason).await?;
        let Blacklisted { entry, first_seen } = added;
        let mut body = entry_json(&entry);
        if let (Some(first_seen), Some(members)) = (first_seen, body.as_object_mut()) {
            members.insert("first_seen".to_owned(), json!(first_seen));
        }
        if wants_receipt {
            add_receipt(&app, &mut body, Some(entry.seq)).await;
        }
        Ok(json_answer(StatusCode::CREATED, &body))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntriesQuery {
    cursor: Option<Seq>,
    limit: Option<usize>,
}

async fn list(app: Data<App>, request: HttpRequest) -> HttpResponse {
    answer(async {
        actor(&app, &request, Role::Administrator)?;
        let asked: EntriesQuery = query(&request)?;
        let limit = page_limit(&app, asked.limit);
        let state = app.edge.ledger.state();
        let is_asked = |entry: &&Entry| {
            entry.lifted.is_none() && asked.cursor.is_none_or(|after| after < entry.seq)
        };
        let mut entries: Vec<&Entry> = state.blacklist().filter(is_asked).collect();
        entries.sort_unstable_by_key(|entry| entry.seq);
        let is_last = entries.len() <= limit;
        entries.truncate(limit);
        let next = entries.last().filter(|_| !is_last).map(|entry| entry.seq.to_string());
        let entries: Vec<Value> = entries.into_iter().map(entry_json).collect();
        let body =
            json!({ "entries": entries, "next_cursor": next, "as_of": app.edge.as_of(&state)? });
        Ok(json_answer(StatusCode::OK, &body))
    })
    .await
}

async fn lift(
    app: Data<App>,
    request: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> HttpResponse {
    answer(async {
        let actor = actor(&app, &request, Role::Administrator)?;
        let wants_receipt = wants_receipt(&request)?;
        let asked: Reason = optional_json(&app, &request, payload).await?;
        let (caller, id) = (caller(&request), id(&path)?);
        let entry = app.edge.lift(actor, &caller, id, asked.optional()?).await?;
        let mut body = entry_json(&entry);
        if wants_receipt {
            add_receipt(&app, &mut body, entry.lifted).await;
        }
        Ok(json_answer(StatusCode::OK, &body))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EraseBody {
    subject: String,
    reason: String,
    legal_basis: String,
    #[serde(default)]
    rewrite_now: bool,
}

async fn erase(app: Data<App>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(async {
        let actor = actor(&app, &request, Role::Administrator)?;
        let body: EraseBody = json(&app, &request, payload).await?;
        let reason = required("reason", body.reason)?;
        let legal_basis = required("legal_basis", body.legal_basis)?;
        let now = body.rewrite_now;
        let erased = app.edge.erase(actor, body.subject, reason, legal_basis, now).await?;
        let body = json!({ "subject": erased.0, "seq": erased.1, "rewritten": now });
        Ok(json_answer(StatusCode::OK, &body))
    })
    .await
}

fn key_json(shown: ShownKey) -> Value {
    let ShownKey { key, standing, published } = shown;
    let (state, since, until) = match standing {
        KeyStanding::Published { from } => ("published", Some(key.added_at), Some(from)),
        KeyStanding::Signs { since } => ("signs", Some(since), None),
        KeyStanding::Retired { since, until } => ("retired", Some(since), until),
        KeyStanding::Blacklisted => ("blacklisted", None, None),
    };
    json!({
        "kid": key.id,
        "purpose": key.purpose,
        "alg": key.alg,
        "state": state,
        "since": since,
        "until": until,
        "published": published,
        "signs": matches!(standing, KeyStanding::Signs { .. }),
        "added_at": key.added_at,
        "retired_at": key.retired_at,
        "blacklisted": key.ban.is_in_force(),
        "public": key.public,
    })
}

async fn keys(app: Data<App>, request: HttpRequest) -> HttpResponse {
    answer(async {
        actor(&app, &request, Role::Administrator)?;
        let (keys, as_of) = app.edge.shown_keys()?;
        let (notes, tokens): (Vec<_>, Vec<_>) =
            keys.into_iter().partition(|shown| shown.key.purpose == CHECKPOINT_PURPOSE);
        let shown =
            |keys: Vec<ShownKey>| -> Vec<Value> { keys.into_iter().map(key_json).collect() };
        let body = json!({
            "keys": shown(tokens), "checkpoint_keys": shown(notes), "as_of": as_of
        });
        Ok(json_answer(StatusCode::OK, &body))
    })
    .await
}

async fn back_up(app: Data<App>, request: HttpRequest) -> HttpResponse {
    answer(async {
        let actor = actor(&app, &request, Role::Administrator)?;
        let done = app.edge.back_up(actor, &caller(&request)).await?;
        let vault = json!({ "file": done.vault, "subjects": done.people });
        let keys = json!({ "file": done.keys });
        Ok(json_answer(StatusCode::OK, &json!({ "vault": vault, "keys": keys })))
    })
    .await
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RotateBody {
    alg: SigningAlgorithm,
    now: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RotateCheckpointBody {
    compromised: bool,
}

async fn rotate_checkpoint_key(
    app: Data<App>,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    answer(async {
        let actor = actor(&app, &request, Role::Administrator)?;
        let asked: RotateCheckpointBody = optional_json(&app, &request, payload).await?;
        let caller = caller(&request);
        let rotated = app.edge.rotate_checkpoint_key(actor, &caller, asked.compromised).await?;
        let RotatedCheckpointKey { kid, vkey, both_until, made } = rotated;
        let status = if made { StatusCode::CREATED } else { StatusCode::OK };
        let body = json!({ "kid": kid, "vkey": vkey, "both_until": both_until, "made": made });
        Ok(json_answer(status, &body))
    })
    .await
}

async fn rotate_key(app: Data<App>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(async {
        let actor = actor(&app, &request, Role::Administrator)?;
        let asked: RotateBody = optional_json(&app, &request, payload).await?;
        let caller = caller(&request);
        let rotated = app.edge.rotate_signing_key(actor, &caller, asked.alg, asked.now).await?;
        let Rotated { kid, alg, signs_from, made } = rotated;
        let status = if made { StatusCode::CREATED } else { StatusCode::OK };
        let body = json!({ "kid": kid, "alg": alg, "signs_from": signs_from, "made": made });
        Ok(json_answer(status, &body))
    })
    .await
}

/// What is wrong with a body that names both or neither of two members.
pub fn either(what: &'static str) -> ErrorResponse {
    ErrorResponse::new(ErrorCode::InvalidRequest, what)
}
