//! The log as strangers read it: C2SP tlog-tiles v0.1.0, proofs, and receipts. On the admin listener,
//! and on the public one if that is configured. Only records need a token.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use actix_web::web::{Data, Path, ServiceConfig, get, post};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;

use crate::domain::checkpoint_keys::verifier_keys;
use crate::edge::authenticate::Role;
use crate::edge::fault::Fault;
use crate::http::app::App;
use crate::http::request::{Unread, actor, caller, query};
use crate::http::respond::{answer, json as json_answer, uncached};
use crate::http::server::route;
use crate::ledger::checkpoints::Published;
use crate::log::leaf::NodeHash;
use crate::log::tile::{TileId, TileKind};
use crate::log::tree::hash_text;
use crate::oauth::error::ErrorCode;
use crate::types::id::Seq;

/// Checkpoints are at most a second old, and so are copies of them.
const CHECKPOINT_CACHE: &str = "public, max-age=1";
/// A tile never changes.
const TILE_CACHE: &str = "public, max-age=31536000, immutable";
/// As a tile, but only for who was allowed to have it.
const PRIVATE_TILE_CACHE: &str = "private, max-age=31536000, immutable";
const TEXT: &str = "text/plain; charset=utf-8";

/// Puts the log in place on the admin listener.
pub fn configure(config: &mut ServiceConfig) {
    configure_public(config, "");
    route(config, "/admin/checkpoint", "POST", post().to(fresh_checkpoint));
}

/// Puts the log in place below `prefix`.
pub fn configure_public(config: &mut ServiceConfig, prefix: &str) {
    let under = |path: &str| format!("{prefix}/log/{path}");
    route(config, &under("checkpoint"), "GET", get().to(checkpoint));
    route(config, &under("vkeys"), "GET", get().to(vkeys));
    route(config, &under("proof/inclusion"), "GET", get().to(inclusion));
    route(config, &under("proof/consistency"), "GET", get().to(consistency));
    route(config, &under("proof/receipt"), "GET", get().to(receipt));
    route(config, &under("tile/{rest:.*}"), "GET", get().to(tile));
}

fn not_there(what: &'static str) -> Fault {
    Fault::refused(ErrorCode::NotFound, what)
}

fn cached(cache: &'static str, kind: &'static str, body: Vec<u8>) -> HttpResponse {
    let mut builder = HttpResponse::Ok();
    builder
        .insert_header((CACHE_CONTROL, HeaderValue::from_static(cache)))
        .insert_header((CONTENT_TYPE, HeaderValue::from_static(kind)));
    builder.body(body)
}

fn note(published: &Published) -> HttpResponse {
    cached(CHECKPOINT_CACHE, TEXT, published.note.encode().into_bytes())
}

async fn checkpoint(app: Data<App>) -> HttpResponse {
    answer(async {
        let newest = app.edge.notary.newest();
        Ok(note(&*newest.ok_or_else(|| not_there("no checkpoint was signed yet"))?))
    })
    .await
}

async fn fresh_checkpoint(app: Data<App>, request: HttpRequest) -> HttpResponse {
    answer(async {
        // Whoever may read the records may have them covered.
        actor(&app, &request, Role::Auditor)?;
        let published = app.edge.fresh_checkpoint().await?;
        let body = published.note.encode();
        Ok(uncached(StatusCode::OK).insert_header((CONTENT_TYPE, TEXT)).body(body))
    })
    .await
}

async fn vkeys(app: Data<App>) -> HttpResponse {
    let keys = verifier_keys(&app.edge.ledger.state());
    let lines: String = keys.into_iter().map(|key| key + "\n").collect();
    uncached(StatusCode::OK).insert_header((CONTENT_TYPE, TEXT)).body(lines)
}

async fn tile(app: Data<App>, request: HttpRequest, rest: Path<String>) -> HttpResponse {
    answer(async {
        let tile: TileId = format!("tile/{rest}")
            .parse()
            .map_err(|_| not_there("this is not the path of a tile"))?;
        match tile.kind() {
            TileKind::Hashes(_) => {
                let bytes = app.edge.hash_tile(tile)?.ok_or_else(beyond)?;
                Ok(cached(TILE_CACHE, "application/octet-stream", bytes))
            }
            TileKind::Entries => entries(&app, &request, tile).await,
        }
    })
    .await
}

fn beyond() -> Fault {
    not_there("the newest checkpoint has no such tile; ask for the width that it has")
}

async fn entries(app: &App, request: &HttpRequest, tile: TileId) -> Result<HttpResponse, Unread> {
    let cache = if app.publish_entries {
        TILE_CACHE
    } else {
        let actor = actor(app, request, Role::Auditor)?;
        app.edge.note_reading_of_entries(actor, &caller(request)).await?;
        PRIVATE_TILE_CACHE
    };
    let bytes = app.edge.entries(tile).await?.ok_or_else(beyond)?;
    Ok(cached(cache, "application/octet-stream", bytes))
}

fn texts(hashes: &[NodeHash]) -> Vec<String> {
    hashes.iter().map(hash_text).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InclusionQuery {
    seq: Seq,
    size: Option<u64>,
}

async fn inclusion(app: Data<App>, request: HttpRequest) -> HttpResponse {
    answer(async {
        let asked: InclusionQuery = query(&request)?;
        let found = app.edge.inclusion(asked.seq, asked.size)?;
        let body = json!({
            "seq": asked.seq,
            "leaf": hash_text(&found.leaf),
            "size": found.head.size,
            "root": found.head.root_text(),
            "hashes": texts(&found.hashes),
        });
        Ok(json_answer(StatusCode::OK, &body))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsistencyQuery {
    old: u64,
    new: Option<u64>,
}

async fn consistency(app: Data<App>, request: HttpRequest) -> HttpResponse {
    answer(async {
        let asked: ConsistencyQuery = query(&request)?;
        let found = app.edge.consistency(asked.old, asked.new)?;
        let body = json!({
            "old_size": found.old.size,
            "old_root": found.old.root_text(),
            "new_size": found.new.size,
            "new_root": found.new.root_text(),
            "hashes": texts(&found.hashes),
        });
        Ok(json_answer(StatusCode::OK, &body))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReceiptQuery {
    seq: Seq,
}

async fn receipt(app: Data<App>, request: HttpRequest) -> HttpResponse {
    answer(async {
        let asked: ReceiptQuery = query(&request)?;
        let receipt = app.edge.receipt(asked.seq).await?;
        Ok(uncached(StatusCode::OK).insert_header((CONTENT_TYPE, TEXT)).body(receipt.encode()))
    })
    .await
}

/// The query of a request that may ask for a receipt of what it does.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WithReceipt {
    receipt: Option<u8>,
}

/// Whether the answer is to hold a receipt.
///
/// # Errors
/// `invalid_request` for another parameter, or another value than 0 and 1.
pub fn wants_receipt(request: &HttpRequest) -> Result<bool, Fault> {
    let asked: WithReceipt = query(request)?;
    match asked.receipt {
        None | Some(0) => Ok(false),
        Some(1) => Ok(true),
        Some(_) => {
            let what = "receipt is 1 for a receipt in the answer, or 0";
            Err(Fault::refused(ErrorCode::InvalidRequest, what))
        }
    }
}

/// Puts the receipt of `seq` into an answer whose effect is durable already. Where no checkpoint
/// comes in time, the receipt is null, and can be had from `/log/proof/receipt` later.
pub async fn add_receipt(app: &App, body: &mut serde_json::Value, seq: Option<Seq>) {
    let Some(members) = body.as_object_mut() else { return };
    let receipt = match seq {
        Some(seq) => app.edge.receipt(seq).await.map(|receipt| receipt.encode()),
        None => return,
    };
    if let Err(fault) = &receipt {
        tracing::warn!(%fault, "a receipt that was asked for could not be given");
    }
    members.insert("receipt".to_owned(), json!(receipt.ok()));
}
