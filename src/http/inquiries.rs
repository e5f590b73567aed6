//! The admin listener: what auditors and investigators ask.

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Path, Payload, ServiceConfig, get, post};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::audit::records::Filter;
use crate::audit::trail::Trail;
use crate::edge::authenticate::Role;
use crate::edge::fault::Fault;
use crate::edge::inquire::{AsOf, Whose};
use crate::http::app::App;
use crate::http::clients::id;
use crate::http::operations::either;
use crate::http::request::{Unread, actor, caller, json, query};
use crate::http::respond::{answer, json as json_answer, uncached};
use crate::http::server::route;
use crate::oauth::error::ErrorCode;
use crate::types::digest::Digest;
use crate::types::id::{ClientId, GrantId, Seq};
use crate::types::secret::Secret;
use crate::types::time::Timestamp;

/// Puts the auditor's addresses in place.
pub fn configure(config: &mut ServiceConfig) {
    route(config, "/audit/records", "GET", get().to(records));
    route(config, "/audit/grants/{id}/trail", "GET", get().to(grant_trail));
    route(config, "/audit/subjects/trail", "GET", get().to(subject_trail));
    route(config, "/audit/clients/{id}/trail", "GET", get().to(client_trail));
    route(config, "/audit/token", "POST", post().to(token));
    route(config, "/audit/valid", "GET", get().to(valid));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordsQuery {
    from: Option<Seq>,
    to: Option<Seq>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    r#type: Option<String>,
    client: Option<ClientId>,
    subject: Option<String>,
    grant: Option<GrantId>,
    limit: Option<usize>,
    cursor: Option<Cursor>,
    nonce: Option<String>,
}

/// Where the next page starts, and where the last one ends: each page leaves a record of its
/// reading, and without an end a reader of small pages would follow its own records for ever.
#[derive(Clone, Copy)]
struct Cursor {
    next: Seq,
    last: Seq,
}

impl std::str::FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (next, last) = text.split_once('-').ok_or(())?;
        Ok(Self { next: next.parse().map_err(drop)?, last: last.parse().map_err(drop)? })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.next, self.last)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let malformed = |()| serde::de::Error::custom("cursor is not one that was given");
        String::deserialize(from)?.parse().map_err(malformed)
    }
}

/// JSON Lines of the exact record bytes; what they are as of, and where to go on, in headers.
fn lines<'a>(
    as_of: &AsOf,
    next: Option<Cursor>,
    records: impl Iterator<Item = &'a [u8]>,
) -> HttpResponse {
    let mut body = Vec::new();
    for record in records {
        body.extend_from_slice(record);
        body.push(b'\n');
    }
    let mut builder = uncached(StatusCode::OK);
    builder
        .insert_header((CONTENT_TYPE, "application/jsonl"))
        .insert_header(("as-of-seq", as_of.seq.to_string()))
        .insert_header(("as-of-at", as_of.at.to_string()))
        .insert_header(("as-of-root", as_of.root.as_str()));
    if let Some(next) = next {
        builder.insert_header(("next-cursor", next.to_string()));
    }
    builder.body(body)
}

async fn records(app: Data<App>, request: HttpRequest) -> HttpResponse {
    answer(async {
        let actor = actor(&app, &request, Role::Auditor)?;
        let asked: RecordsQuery = query(&request)?;
        if asked.since.zip(asked.until).is_some_and(|(since, until)| until < since) {
            let what = "since lies after until: there is no such time, so nothing can be in it";
            return Err(Fault::refused(ErrorCode::InvalidRequest, what).into());
        }
        let subject = match asked.subject {
            Some(subject) => Some(app.edge.subject_named(subject).await?),
            None => None,
        };
        let (from, last) = asked.cursor.map(|cursor| (cursor.next, cursor.last)).unzip();
        let filter = Filter {
            from: from.max(asked.from),
            to: asked.to.into_iter().chain(last).min(),
            since: asked.since,
            until: asked.until,
            kind: asked.r#type,
            client: asked.client,
            subject,
            grant: asked.grant,
        };
        let caller = caller(&request);
        let (as_of, page) =
            app.edge.records(actor, &caller, filter, asked.limit, asked.nonce).await?;
        let last = last.unwrap_or(as_of.seq);
        let next = page.next.map(|next| Cursor { next, last });
        Ok(lines(&as_of, next, page.records.iter().map(Vec::as_slice)))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NonceQuery {
    nonce: Option<String>,
}

async fn trail_of(
    app: &App,
    request: &HttpRequest,
    trail: Trail,
    nonce: Option<String>,
) -> Result<HttpResponse, Unread> {
    let actor = actor(app, request, Role::Auditor)?;
    let (as_of, steps) = app.edge.trail(actor, &caller(request), trail, nonce).await?;
    Ok(lines(&as_of, None, steps.iter().map(|step| step.bytes.as_slice())))
}

async fn grant_trail(app: Data<App>, request: HttpRequest, path: Path<String>) -> HttpResponse {
    answer(async {
        actor(&app, &request, Role::Auditor)?;
        let asked: NonceQuery = query(&request)?;
        trail_of(&app, &request, Trail::Grant(id(&path)?), asked.nonce).await
    })
    .await
}

async fn client_trail(app: Data<App>, request: HttpRequest, path: Path<String>) -> HttpResponse {
    answer(async {
        actor(&app, &request, Role::Auditor)?;
        let asked: NonceQuery = query(&request)?;
        trail_of(&app, &request, Trail::Client(id(&path)?), asked.nonce).await
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectQuery {
    subject: String,
    nonce: Option<String>,
}

async fn subject_trail(app: Data<App>, request: HttpRequest) -> HttpResponse {
    answer(async {
        actor(&app, &request, Role::Auditor)?;
        let asked: SubjectQuery = query(&request)?;
        let subject = app.edge.subject_named(asked.subject).await?;
        trail_of(&app, &request, Trail::Subject(subject), asked.nonce).await
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenBody {
    token: Option<String>,
    digest: Option<Digest>,
}

async fn token(app: Data<App>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(async {
        let actor = actor(&app, &request, Role::Auditor)?;
        let body: TokenBody = json(&app, &request, payload).await?;
        let token = body.token.map(Secret::new);
        let caller = caller(&request);
        let (as_of, digest, found) = app.edge.look_up(actor, &caller, token, body.digest).await?;
        let Some(found) = found else {
            let body = json!({ "known": false, "digest": digest, "as_of": as_of });
            return Ok(json_answer(StatusCode::OK, &body));
        };
        let why: Result<Vec<Box<RawValue>>, _> = found.why.into_iter().map(raw).collect();
        let body = json!({
            "known": true,
            "digest": digest,
            "kind": found.known.kind,
            "status": found.known.status,
            "generation": found.known.generation,
            "grant_id": found.grant,
            "client_id": found.client,
            "subject": found.subject,
            "why": why?,
            "as_of": as_of,
        });
        Ok(json_answer(StatusCode::OK, &body))
    })
    .await
}

fn raw(bytes: Vec<u8>) -> Result<Box<RawValue>, Fault> {
    let text = String::from_utf8(bytes).map_err(|_| Fault::Broken("a record is not text"))?;
    RawValue::from_string(text).map_err(|_| Fault::Broken("a record is not JSON"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValidQuery {
    at: Option<Timestamp>,
    subject: Option<String>,
    client: Option<ClientId>,
    grant: Option<GrantId>,
}

async fn valid(app: Data<App>, request: HttpRequest) -> HttpResponse {
    answer(async {
        let actor = actor(&app, &request, Role::Auditor)?;
        let asked: ValidQuery = query(&request)?;
        let whose = match (asked.subject, asked.client, asked.grant) {
            (Some(subject), None, None) => Whose::Subject(app.edge.subject_named(subject).await?),
            (None, Some(client), None) => Whose::Client(client),
            (None, None, Some(grant)) => Whose::Grant(grant),
            _ => return Err(either("name one of subject, client and grant").into()),
        };
        let at = asked.at.unwrap_or_else(|| app.edge.ledger.now());
        let (as_of, tokens) = app.edge.valid_at(actor, &caller(&request), whose, at).await?;
        Ok(json_answer(StatusCode::OK, &json!({ "at": at, "tokens": tokens, "as_of": as_of })))
    })
    .await
}
