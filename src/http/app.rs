//! What every handler is given.

use std::sync::Arc;

use crate::edge::Edge;
use crate::http::cors::Origins;
use crate::http::forwarded::Proxies;
use crate::witness::submit::Submitter;

/// What every handler is given.
pub struct App {
    /// Where requests become commands.
    pub edge: Arc<Edge>,
    /// Whether the public listener serves the log, too.
    pub public_log: bool,
    /// Whether records are served to everybody.
    pub publish_entries: bool,
    /// Those who ask the witnesses.
    pub witnesses: Vec<Arc<Submitter>>,
    /// Who is believed about where a request came from.
    pub proxies: Proxies,
    /// Which pages may read answers.
    pub origins: Origins,
    /// The longest request body, in bytes.
    pub body_bytes_max: usize,
    /// How long a body may take to arrive, in milliseconds.
    pub body_timeout_ms: u64,
}
