//! The public listener: token, revocation, introspection, keys, metadata.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use crate::edge::introspect::{Active, Introspected};
use crate::edge::token::Tokens;
use crate::http::app::App;
use crate::http::cors::shared_route;
use crate::http::request::{Unread, form_request, prefers};
use crate::http::respond::{answer, json as json_answer, json_bytes, uncached};
use crate::http::server::route;
use crate::oauth::response::{
    INACTIVE, IntrospectionResponse, Metadata, TokenResponse, TokenType, True,
};
use crate::oauth::token_request::{TokenRequest, token_parameter};

/// A signed answer to an introspection (RFC 9701 section 4).
const INTROSPECTION_JWT: &str = "application/token-introspection+jwt";
/// For how many seconds the metadata may be kept.
const METADATA_MAX_AGE: &str = "public, max-age=300";

/// Puts the public addresses in place, under the issuer's path.
pub fn configure(config: &mut ServiceConfig, issuer_path: &str, well_known: &str) {
    let under = |path: &str| format!("{}{path}", issuer_path.trim_end_matches('/'));
    shared_route(config, &under(Metadata::TOKEN_PATH), "POST", actix_web::web::post().to(token));
    shared_route(
        config,
        &under(Metadata::REVOCATION_PATH),
        "POST",
        actix_web::web::post().to(revoke),
    );
    // Of resource servers only, which are no pages in a browser.
    let introspection = actix_web::web::post().to(introspect);
    route(config, &under(Metadata::INTROSPECTION_PATH), "POST", introspection);
    shared_route(config, &under(Metadata::JWKS_PATH), "GET", actix_web::web::get().to(jwks));
    shared_route(config, well_known, "GET", actix_web::web::get().to(metadata));
}

async fn token(app: Data<App>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(async {
        let asking = form_request(&app, &request, payload).await?;
        let client = app.edge.authenticate(asking.asking()).await?;
        let asked = TokenRequest::parse(&asking.form)?;
        let tokens = app.edge.token(&client, &asked, asking.caller()).await?;
        Ok(token_response(&tokens))
    })
    .await
}

fn token_response(tokens: &Tokens) -> HttpResponse {
    let refresh_token = tokens.refresh_token.as_ref().map(|token| token.expose());
    json_answer(
        StatusCode::OK,
        &TokenResponse {
            access_token: tokens.access_token.expose(),
            token_type: TokenType::Bearer,
            expires_in: tokens.expires_in,
            refresh_token,
            scope: &tokens.scope,
        },
    )
}

async fn revoke(app: Data<App>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(async {
        let asking = form_request(&app, &request, payload).await?;
        let client = app.edge.authenticate(asking.asking()).await?;
        let token = token_parameter(&asking.form)?;
        app.edge.revoke(&client, token, asking.caller()).await?;
        Ok(uncached(StatusCode::OK).finish())
    })
    .await
}

async fn introspect(app: Data<App>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(async {
        let asking = form_request(&app, &request, payload).await?;
        let token = token_parameter(&asking.form);
        let introspected = app.edge.introspect(asking.asking(), token).await?;
        let Introspected { caller: client, active } = introspected;
        let described = active.as_ref().map(|active| described(&app, active));
        if !prefers(&request, INTROSPECTION_JWT, "application/json") {
            return Ok(match described {
                Some(described) => json_answer(StatusCode::OK, &described),
                None => json_bytes(StatusCode::OK, INACTIVE),
            });
        }
        let signed = match described {
            Some(described) => app.edge.sign_introspection(&client, &described).await?,
            None => app.edge.sign_introspection(&client, &json!({ "active": false })).await?,
        };
        let mut response = uncached(StatusCode::OK);
        Ok(response.insert_header((CONTENT_TYPE, INTROSPECTION_JWT)).body(signed))
    })
    .await
}

fn described<'a>(app: &'a App, active: &'a Active) -> IntrospectionResponse<'a> {
    IntrospectionResponse {
        active: True,
        scope: &active.scope,
        client_id: &active.client_id,
        token_type: active.is_access_token.then_some(TokenType::Bearer),
        exp: active.exp,
        iat: active.iat,
        sub: active.sub.as_deref(),
        aud: &active.aud,
        iss: &app.edge.issuer,
        jti: active.jti.as_deref(),
    }
}

async fn jwks(app: Data<App>) -> HttpResponse {
    let keys = app.edge.published_keys();
    match serde_json::to_vec(&json!({ "keys": keys })) {
        Ok(body) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, "application/jwk-set+json"))
            .insert_header((CACHE_CONTROL, format!("public, max-age={}", app.edge.key_set_age_s())))
            .body(body),
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

async fn metadata(app: Data<App>) -> HttpResponse {
    answer(async {
        let body = serde_json::to_vec(&Metadata::of(&app.edge.issuer));
        let body =
            body.map_err(|_| Unread::Fault(crate::edge::fault::Fault::Broken("metadata")))?;
        Ok(HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, "application/json"))
            .insert_header((CACHE_CONTROL, METADATA_MAX_AGE))
            .body(body))
    })
    .await
}
