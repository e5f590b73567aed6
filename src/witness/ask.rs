//! Asks a witness to cosign a checkpoint. What it answers counts only as far as its own signature
//! over the very checkpoint goes; it gets little time, and little room for its answer.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, StatusCode, redirect};
use url::Url;

use crate::crypto::note::{NOTE_BYTES_MAX, NoteSignature};
use crate::crypto::note_key::{NoteKeyKind, NoteVerifier};
use crate::log::witness::{AddCheckpoint, SIZE_TYPE, parse_size};
use crate::types::time::Timestamp;

/// One witness, as the ledger that asks it knows it.
pub struct WitnessClient {
    verifier: NoteVerifier,
    url: Url,
    http: Client,
}

/// What a witness said that can be gone on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It cosigned; the signature was checked.
    Cosigned {
        /// The line for the checkpoint.
        line: NoteSignature,
        /// Its time, to the second.
        at: Timestamp,
    },
    /// It cosigned another size last: ask again from there.
    Conflict {
        /// That size; 0 for none.
        cosigned: u64,
    },
}

/// Why a checkpoint is not cosigned. The checkpoint stands without, and the next one is submitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwitnessed {
    /// The address or key cannot be used.
    #[error("a witness has an http or https URL, and a verifier key of type 0x04 ({0})")]
    Unusable(String),
    /// No whole answer came in time.
    #[error("no whole answer came: {0}")]
    Unreachable(String),
    /// 404: the log has to be added there.
    #[error("it does not know this log: add the origin and the verifier key there")]
    UnknownLog,
    /// 403: the key has to be added there.
    #[error("it does not trust this log's key: add the verifier key there")]
    NotTrusted,
    /// 400, 500 or whatever else is no answer of tlog-witness.
    #[error("it answered {0}")]
    Status(u16),
    /// The answer is longer than any answer is.
    #[error("its answer is longer than {NOTE_BYTES_MAX} bytes")]
    TooLong,
    /// A 200 without the witness's own valid cosignature, or a 409 without a size.
    #[error("its answer holds {0}")]
    Worthless(&'static str),
    /// It keeps naming other sizes.
    #[error("it names another size each time it is asked")]
    Unsettled,
    /// The proof could not be made.
    #[error("the proof for it could not be made: {0}")]
    NoProof(String),
    /// The cosignature came, and could not be kept.
    #[error("its cosignature could not be kept: {0}")]
    NotKept(String),
    /// It cosigned more records than this log has.
    #[error(
        "IT HAS COSIGNED {cosigned} RECORDS AND THIS LOG HAS {size}: records were lost, this is an \
         old copy, or the witness lies"
    )]
    Ahead {
        /// What it cosigned.
        cosigned: u64,
        /// What there is.
        size: u64,
    },
    /// It cosigned another tree.
    #[error(
        "IT HAS COSIGNED ANOTHER TREE OF {size} RECORDS: this log was forked, or the witness lies. \
         Compare its checkpoint with your own, and keep both"
    )]
    Forked {
        /// The size at which the trees differ, or before which.
        size: u64,
    },
}

impl Unwitnessed {
    /// Whether somebody must look at once: the history is in doubt, not the network.
    pub const fn is_alarm(&self) -> bool {
        match self {
            Self::Ahead { .. } | Self::Forked { .. } => true,
            Self::Unusable(_)
            | Self::Unreachable(_)
            | Self::UnknownLog
            | Self::NotTrusted
            | Self::Status(_)
            | Self::TooLong
            | Self::Worthless(_)
            | Self::Unsettled
            | Self::NoProof(_)
            | Self::NotKept(_) => false,
        }
    }
}

impl WitnessClient {
    /// The witness whose submission prefix is `prefix`, and whose cosignatures `verifier` checks.
    ///
    /// # Errors
    /// [`Unwitnessed::Unusable`]: correct the configuration.
    pub fn new(verifier: NoteVerifier, prefix: &str, timeout_ms: u64) -> Result<Self, Unwitnessed> {
        let unusable = |why: &dyn std::fmt::Display| Unwitnessed::Unusable(why.to_string());
        let address = format!("{}/add-checkpoint", prefix.trim_end_matches('/'));
        let url: Url = address.parse().map_err(|error| unusable(&error))?;
        if !matches!(url.scheme(), "http" | "https") || verifier.kind() != NoteKeyKind::Cosignature
        {
            return Err(unusable(&prefix));
        }
        let mut builder = Client::builder();
        if url.scheme() == "http" {
            // A machine without certificates can still ask a witness in its own network.
            builder = builder.tls_certs_only([]);
        }
        let http = builder
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(Duration::from_millis(timeout_ms))
            .pool_max_idle_per_host(1)
            .build()
            .map_err(|error| unusable(&error))?;
        Ok(Self { verifier, url, http })
    }

    /// The name of the witness.
    pub fn name(&self) -> &str {
        self.verifier.name().as_str()
    }

    /// Submits one checkpoint.
    ///
    /// # Errors
    /// [`Unwitnessed`]; asking again later is always right.
    pub async fn ask(&self, request: &AddCheckpoint, size: u64) -> Result<Answer, Unwitnessed> {
        let sent = self.http.post(self.url.clone()).body(request.encode()).send().await;
        let answer = sent.map_err(unreachable)?;
        let is_same_size = request.old_size == size;
        match answer.status() {
            StatusCode::OK => self.cosigned(request, &body(answer).await?),
            // v1.0.0 says 409 to another tree of the same size, later drafts say 422.
            StatusCode::CONFLICT => match sized(answer).await? {
                cosigned if size < cosigned => Err(Unwitnessed::Ahead { cosigned, size }),
                cosigned if cosigned == request.old_size && is_same_size => {
                    Err(Unwitnessed::Forked { size })
                }
                cosigned if cosigned == request.old_size => {
                    Err(Unwitnessed::Worthless("a conflict with the size that it named before"))
                }
                cosigned => Ok(Answer::Conflict { cosigned }),
            },
            // The proof was made from the size that it named: its tree of that size is another. There
            // is only one of size 0, so then it says nothing about this log.
            StatusCode::UNPROCESSABLE_ENTITY if 0 < request.old_size => {
                Err(Unwitnessed::Forked { size: request.old_size })
            }
            StatusCode::NOT_FOUND => Err(Unwitnessed::UnknownLog),
            StatusCode::FORBIDDEN => Err(Unwitnessed::NotTrusted),
            other => Err(Unwitnessed::Status(other.as_u16())),
        }
    }

    /// The witness's own line among those of the answer.
    fn cosigned(&self, request: &AddCheckpoint, body: &[u8]) -> Result<Answer, Unwitnessed> {
        let text = std::str::from_utf8(body).unwrap_or_default();
        let text = text.strip_suffix('\n').ok_or(Unwitnessed::Worthless("no signature lines"))?;
        for line in text.split('\n') {
            let parsed = line.parse::<NoteSignature>();
            let line = parsed.map_err(|_| Unwitnessed::Worthless("no signature lines"))?;
            if !self.verifier.is_named_by(&line) {
                continue;
            }
            let verified = self.verifier.verify(request.checkpoint.text(), &line);
            return match verified.and_then(|verified| verified.at) {
                Some(at) => Ok(Answer::Cosigned { line, at }),
                None => Err(Unwitnessed::Worthless("a cosignature that is not over this text")),
            };
        }
        Err(Unwitnessed::Worthless("no cosignature by its key"))
    }
}

/// The size in a 409 (tlog-witness, "add-checkpoint").
async fn sized(answer: Response) -> Result<u64, Unwitnessed> {
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_size = kind.is_some_and(|kind| kind.split(';').next() == Some(SIZE_TYPE));
    let body = body(answer).await?;
    let size = parse_size(&body).filter(|_| is_size);
    size.ok_or(Unwitnessed::Worthless("a conflict without a size"))
}

async fn body(mut answer: Response) -> Result<Vec<u8>, Unwitnessed> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
        if NOTE_BYTES_MAX < bytes.len() + chunk.len() {
            return Err(Unwitnessed::TooLong);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The cause at the bottom, where the system speaks.
fn unreachable(error: reqwest::Error) -> Unwitnessed {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Unwitnessed::Unreachable(cause.to_string())
}
