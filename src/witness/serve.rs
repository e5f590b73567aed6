//! A witness over HTTP: two addresses, bounded bodies. It knows no rules; the judge has them.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{self, Data, Path, Payload};
use actix_web::{App, HttpResponse, HttpServer};

use crate::log::witness::{ADD_CHECKPOINT_BYTES_MAX, SIZE_TYPE, encode_size};
use crate::witness::judge::{NotCosigned, Witness};

/// Connections that are open at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// How long the head, and then the body, of a request may take, in milliseconds.
const REQUEST_TIMEOUT_MS: u64 = 10_000;
/// How long requests in flight may take once the witness stops, in seconds.
const SHUTDOWN_TIMEOUT_S: u64 = 10;

const TEXT: &str = "text/plain; charset=utf-8";

/// A witness that serves.
pub struct ServedWitness {
    /// Where.
    pub address: SocketAddr,
    server: Server,
}

/// Serves `witness` on a bound socket. Call it inside an actix runtime. Plain HTTP gives nothing
/// away and can forge nothing: what is sent is public, and signed on both sides.
///
/// # Errors
/// When the socket cannot be served.
pub fn serve(socket: TcpListener, witness: Arc<Witness>) -> std::io::Result<ServedWitness> {
    let address = socket.local_addr()?;
    let witness = Data::from(witness);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(witness.clone())
            .route("/add-checkpoint", web::post().to(add_checkpoint))
            .route("/{log}/checkpoint", web::get().to(checkpoint))
    })
    .workers(2)
    .max_connections(CONNECTIONS_MAX)
    .client_request_timeout(Duration::from_millis(REQUEST_TIMEOUT_MS))
    .shutdown_timeout(SHUTDOWN_TIMEOUT_S)
    .disable_signals()
    .listen(socket)?
    .run();
    Ok(ServedWitness { address, server })
}

impl ServedWitness {
    /// What stops it.
    pub fn handle(&self) -> ServerHandle {
        self.server.handle()
    }

    /// Serves until it is stopped.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn run(self) -> std::io::Result<()> {
        self.server.await
    }
}

async fn add_checkpoint(witness: Data<Witness>, payload: Payload) -> HttpResponse {
    let body = payload.to_bytes_limited(ADD_CHECKPOINT_BYTES_MAX);
    let body = match tokio::time::timeout(Duration::from_millis(REQUEST_TIMEOUT_MS), body).await {
        Ok(Ok(Ok(body))) => body,
        Ok(Ok(Err(_))) => return text(StatusCode::BAD_REQUEST, "the body ended too early\n"),
        Ok(Err(_)) => return text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long\n"),
        Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time\n"),
    };
    match web::block(move || witness.add_checkpoint(&body)).await {
        Ok(Ok(cosignature)) => text(StatusCode::OK, format!("{cosignature}\n")),
        Ok(Err(refused)) => refusal(&refused),
        Err(_) => failure(),
    }
}

fn refusal(refused: &NotCosigned) -> HttpResponse {
    let status = match refused {
        NotCosigned::Malformed(_)
        | NotCosigned::NotACheckpoint(_)
        | NotCosigned::OldBeyondNew { .. } => StatusCode::BAD_REQUEST,
        NotCosigned::UnknownLog => StatusCode::NOT_FOUND,
        NotCosigned::NotSigned => StatusCode::FORBIDDEN,
        NotCosigned::Conflict { cosigned: size } | NotCosigned::Fork { size } => {
            return answer(StatusCode::CONFLICT, SIZE_TYPE, encode_size(*size));
        }
        NotCosigned::NotProven(_) => StatusCode::UNPROCESSABLE_ENTITY,
        NotCosigned::Failed(error) => {
            tracing::error!(%error, "the witness cannot cosign");
            return failure();
        }
    };
    text(status, format!("{refused}\n"))
}

async fn checkpoint(witness: Data<Witness>, log: Path<String>) -> HttpResponse {
    let Ok(id) = log.parse() else { return text(StatusCode::NOT_FOUND, "not the name of a log\n") };
    match web::block(move || witness.checkpoint(id)).await {
        Ok(Ok(Some(note))) => text(StatusCode::OK, note.encode()),
        Ok(Ok(None)) => text(StatusCode::NOT_FOUND, "nothing was cosigned of this log\n"),
        Ok(Err(error)) => {
            tracing::error!(%error, "the witness cannot tell what it cosigned");
            failure()
        }
        Err(_) => failure(),
    }
}

fn failure() -> HttpResponse {
    text(StatusCode::INTERNAL_SERVER_ERROR, "the witness cannot go on; its operator must look\n")
}

fn text(status: StatusCode, body: impl Into<String>) -> HttpResponse {
    answer(status, TEXT, body.into())
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, kind))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(body)
}
