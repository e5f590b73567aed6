//! One bounded question to the issuer: it ends in time, takes no more than was allowed, and goes
//! nowhere else: neither by a redirect nor by a proxy that the environment names.

use std::time::Duration;

use reqwest::header::CONTENT_LENGTH;
use reqwest::{ClientBuilder, RequestBuilder, Response, redirect};

use super::options::{GuardFault, GuardOptions};

/// Shorter than servers keep an idle connection, so that none is used just as it is closed.
const POOL_IDLE_TIMEOUT_S: u64 = 4;

/// Why the issuer gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no whole answer came")]
    Transport(#[source] reqwest::Error),
    #[error("the answer was {0}")]
    Status(reqwest::StatusCode),
    #[error("the answer is longer than {bytes_max} bytes")]
    TooLong { bytes_max: usize },
}

/// A client with the time limits of `options`.
pub(super) fn client(options: &GuardOptions) -> Result<ClientBuilder, GuardFault> {
    for (name, limit) in [
        ("connect_timeout_ms", options.connect_timeout_ms),
        ("answer_timeout_ms", options.answer_timeout_ms),
    ] {
        if limit == 0 {
            return Err(GuardFault::Zero(name));
        }
    }
    Ok(reqwest::Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .connect_timeout(Duration::from_millis(options.connect_timeout_ms))
        .timeout(Duration::from_millis(options.answer_timeout_ms))
        .pool_idle_timeout(Duration::from_secs(POOL_IDLE_TIMEOUT_S)))
}

/// Sends `request`; only 200 is an answer.
pub(super) async fn send(request: RequestBuilder) -> Result<Response, FetchError> {
    let answer = request.send().await.map_err(transport)?;
    if answer.status() == reqwest::StatusCode::OK {
        Ok(answer)
    } else {
        Err(FetchError::Status(answer.status()))
    }
}

/// The body of `answer`, of at most `bytes_max` bytes.
pub(super) async fn body(mut answer: Response, bytes_max: usize) -> Result<Vec<u8>, FetchError> {
    let announced =
        answer.headers().get(CONTENT_LENGTH).and_then(|n| n.to_str().ok()?.parse().ok());
    if announced.is_some_and(|announced: usize| bytes_max < announced) {
        return Err(FetchError::TooLong { bytes_max });
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(transport)? {
        if bytes_max < bytes.len() + chunk.len() {
            return Err(FetchError::TooLong { bytes_max });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn transport(error: reqwest::Error) -> FetchError {
    FetchError::Transport(error.without_url())
}
