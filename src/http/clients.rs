//! The admin listener: clients and grants.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload, ServiceConfig, delete, get, patch, post};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::party::Client;
use crate::edge::authenticate::Role;
use crate::edge::authorize::GrantRequest;
use crate::edge::fault::Fault;
use crate::edge::register::PREVIOUS_SECRET_LIFETIME_S;
use crate::http::app::App;
use crate::http::evidence::{add_receipt, wants_receipt};
use crate::http::operations::Reason;
use crate::http::request::{Unread, actor, caller, json, json_bytes, query};
use crate::http::respond::{answer, json as json_answer, uncached};
use crate::http::server::{route, routes};
use crate::oauth::error::{ErrorCode, ErrorResponse};
use crate::oauth::pkce::CodeChallenge;
use crate::oauth::registration::{RawRegistration, RawUpdate};
use crate::types::id::{ClientId, GrantId};
use crate::types::resource::Resources;
use crate::types::scope::Scope;
use crate::types::secret::Secret;

/// Puts the addresses of clients and grants in place.
pub fn configure(config: &mut ServiceConfig) {
    routes(config, "/admin/clients", "GET, POST", vec![get().to(list), post().to(register)]);
    routes(config, "/admin/clients/{id}", "GET, PATCH", vec![get().to(show), patch().to(update)]);
    route(config, "/admin/clients/{id}/secret", "POST", post().to(rotate_secret));
    route(config, "/admin/clients/{id}/disable", "POST", post().to(disable));
    route(config, "/admin/clients/{id}/enable", "POST", post().to(enable));
    routes(config, "/admin/grants", "GET, POST", vec![get().to(grants), post().to(authorize)]);
    let one = vec![get().to(grant), delete().to(revoke_grant)];
    routes(config, "/admin/grants/{id}", "GET, DELETE", one);
}

/// The identifier in a path.
///
/// # Errors
/// `not_found` for what is none.
pub fn id<T: std::str::FromStr>(text: &str) -> Result<T, Fault> {
    let unknown = |_| Fault::refused(ErrorCode::NotFound, "there is nothing of this name");
    text.parse().map_err(unknown)
}

fn client_json(client: &Client, secret: Option<&Secret>) -> Value {
    let mut body = serde_json::to_value(client.metadata.as_ref()).unwrap_or_default();
    if let Some(members) = body.as_object_mut() {
        members.insert("client_id".to_owned(), json!(client.id));
        members.insert("client_id_issued_at".to_owned(), json!(client.registered_at.seconds()));
        // Said also where it is the default and not stored.
        let alg = client.metadata.access_token_signing_alg;
        members.insert("access_token_signing_alg".to_owned(), json!(alg));
        let alg = client.metadata.introspection_signed_response_alg;
        members.insert("introspection_signed_response_alg".to_owned(), json!(alg));
        members.insert("disabled".to_owned(), json!(client.disabled));
        members.insert("blacklisted".to_owned(), json!(client.ban.is_in_force()));
        if let Some(secret) = secret {
            members.insert("client_secret".to_owned(), json!(secret.expose()));
            // RFC 7591 section 3.2.1: 0 means that it does not expire.
            members.insert("client_secret_expires_at".to_owned(), json!(0));
        }
    }
    body
}

async fn register(app: Data<App>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(async {
        let actor = actor(&app, &request, Role::Administrator)?;
        let raw = RawRegistration::parse(&json_bytes(&app, &request, payload).await?)?;
        let (client, secret) = app.edge.register_client(actor, &caller(&request), raw).await?;
        Ok(json_answer(StatusCode::CREATED, &client_json(&client, secret.as_ref())))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    cursor: Option<String>,
    limit: Option<usize>,
}

async fn list(app: Data<App>, request: HttpRequest) -> HttpResponse {
    answer(async {
        actor(&app, &request, Role::Administrator)?;
        let asked: PageQuery = query(&request)?;
        let limit = page_limit(&app, asked.limit);
        let state = app.edge.ledger.state();
        let after = asked.cursor.as_deref().unwrap_or_default();
        let mut clients = state.clients().into_iter().filter(|client| after < client.id.as_str());
        let page: Vec<&Client> = clients.by_ref().take(limit).collect();
        let next = clients.next().and(page.last()).map(|client| client.id.to_string());
        let shown: Vec<Value> = page.iter().map(|client| client_json(client, None)).collect();
        let body =
            json!({ "clients": shown, "next_cursor": next, "as_of": app.edge.as_of(&state)? });
        Ok(json_answer(StatusCode::OK, &body))
    })
    .await
}

/// How many entries a page has: 100 unless asked for otherwise.
pub fn page_limit(app: &App, asked: Option<usize>) -> usize {
    let most = app.edge.limits.page_grants_max;
    asked.map_or(most.min(100), |limit| limit.clamp(1, most))
}

async fn show(app: Data<App>, request: HttpRequest, path: Path<String>) -> HttpResponse {
    answer(async {
        actor(&app, &request, Role::Administrator)?;
        let client = app.edge.client(&id(&path)?)?;
        Ok(json_answer(StatusCode::OK, &client_json(&client, None)))
    })
    .await
}

async fn update(
    app: Data<App>,
    request: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> HttpResponse {
    answer(async {
        let actor = actor(&app, &request, Role::Administrator)?;
        let raw = RawUpdate::parse(&json_bytes(&app, &request, payload).await?)?;
        let client = app.edge.update_client(actor, &caller(&request), &id(&path)?, raw).await?;
        Ok(json_answer(StatusCode::OK, &client_json(&client, None)))
    })
    .await
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RotateBody {
    previous_lifetime_s: Option<u64>,
}

async fn rotate_secret(
    app: Data<App>,
    request: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> HttpResponse {
    answer(async {
        let actor = actor(&app, &request, Role::Administrator)?;
        let asked: RotateBody = optional_json(&app, &request, payload).await?;
        let client: ClientId = id(&path)?;
        let lifetime_s = asked.previous_lifetime_s.unwrap_or(PREVIOUS_SECRET_LIFETIME_S);
        let caller = caller(&request);
        let secret = app.edge.rotate_secret(actor, &caller, &client, lifetime_s).await?;
        let body = json!({
            "client_id": client,
            "client_secret": secret.expose(),
            "client_secret_expires_at": 0,
            "previous_lifetime_s": lifetime_s,
        });
        Ok(json_answer(StatusCode::OK, &body))
    })
    .await
}

/// A JSON body that may be left out.
///
/// # Errors
/// As [`json()`].
pub async fn optional_json<T: serde::de::DeserializeOwned + Default>(
    app: &App,
    request: &HttpRequest,
    payload: Payload,
) -> Result<T, Unread> {
    let has_type = request.headers().contains_key(actix_web::http::header::CONTENT_TYPE);
    if has_type { json(app, request, payload).await } else { Ok(T::default()) }
}

async fn disable(
    app: Data<App>,
    request: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> HttpResponse {
    switch(&app, &request, &path, payload, false).await
}

async fn enable(
    app: Data<App>,
    request: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> HttpResponse {
    switch(&app, &request, &path, payload, true).await
}

async fn switch(
    app: &App,
    request: &HttpRequest,
    path: &str,
    payload: Payload,
    enabled: bool,
) -> HttpResponse {
    answer(async {
        let actor = actor(app, request, Role::Administrator)?;
        let asked: Reason = optional_json(app, request, payload).await?;
        let (caller, id) = (caller(request), id(path)?);
        let client =
            app.edge.switch_client(actor, &caller, &id, enabled, asked.optional()?).await?;
        Ok(json_answer(StatusCode::OK, &client_json(&client, None)))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantBody {
    client_id: ClientId,
    subject: String,
    scope: Option<Scope>,
    resource: Option<Resources>,
    redirect_uri: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
}

async fn authorize(app: Data<App>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(async {
        let actor = actor(&app, &request, Role::Login)?;
        let body: GrantBody = json(&app, &request, payload).await?;
        let challenge = match (&body.code_challenge, body.code_challenge_method.as_deref()) {
            (Some(challenge), method) => Some(CodeChallenge::parse(challenge, method)?),
            (None, None) => None,
            (None, Some(_)) => {
                let what = "code_challenge_method was sent without code_challenge";
                return Err(ErrorResponse::new(ErrorCode::InvalidRequest, what).into());
            }
        };
        let asked = GrantRequest {
            client: body.client_id,
            subject: body.subject,
            scope: body.scope,
            resources: body.resource,
            redirect_uri: body.redirect_uri,
            challenge,
        };
        let authorized = app.edge.authorize(actor, &caller(&request), asked).await?;
        let body = json!({
            "grant_id": authorized.grant,
            "code": authorized.code.expose(),
            "expires_in": authorized.expires_in,
        });
        Ok(json_answer(StatusCode::CREATED, &body))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantsQuery {
    subject: Option<String>,
    client: Option<ClientId>,
    cursor: Option<GrantId>,
    limit: Option<usize>,
}

async fn grants(app: Data<App>, request: HttpRequest) -> HttpResponse {
    answer(async {
        actor(&app, &request, Role::Administrator)?;
        let asked: GrantsQuery = query(&request)?;
        let limit = page_limit(&app, asked.limit);
        let body = match (asked.subject, asked.client) {
            (Some(subject), None) => {
                let subject = app.edge.subject_named(subject).await?;
                app.edge.grants_of_subject(&subject, asked.cursor.as_ref(), limit)?
            }
            (None, Some(client)) => {
                app.edge.grants_of_client(&client, asked.cursor.as_ref(), limit)?
            }
            (Some(_), Some(_)) | (None, None) => {
                let what = "name either subject or client";
                return Err(ErrorResponse::new(ErrorCode::InvalidRequest, what).into());
            }
        };
        Ok(json_answer(StatusCode::OK, &body))
    })
    .await
}

async fn grant(app: Data<App>, request: HttpRequest, path: Path<String>) -> HttpResponse {
    answer(async {
        actor(&app, &request, Role::Administrator)?;
        Ok(json_answer(StatusCode::OK, &app.edge.grant(&id(&path)?)?))
    })
    .await
}

async fn revoke_grant(
    app: Data<App>,
    request: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> HttpResponse {
    answer(async {
        let actor = actor(&app, &request, Role::Administrator)?;
        let wants_receipt = wants_receipt(&request)?;
        let asked: Reason = optional_json(&app, &request, payload).await?;
        let reason = Some(asked.optional()?).filter(|reason| !reason.is_empty());
        let seq = app.edge.revoke_grant(actor, &caller(&request), id(&path)?, reason).await?;
        if wants_receipt {
            let mut body = json!({ "seq": seq, "receipt": null });
            add_receipt(&app, &mut body, seq).await;
            return Ok(json_answer(StatusCode::OK, &body));
        }
        Ok(uncached(StatusCode::NO_CONTENT).finish())
    })
    .await
}
