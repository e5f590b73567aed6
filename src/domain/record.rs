//! The event as stored: one line of JSON, whose exact bytes are hashed, chained and never re-made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::crypto::seal::Sealed;
use crate::domain::event::Event;
use crate::domain::pen::Pen;
use crate::domain::scan::{Scan, Shared};
use crate::types::digest::LeafHash;
use crate::types::id::{ClientId, GrantId, RequestId, Seq, SubjectId};
use crate::types::time::Timestamp;

/// The longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 16 * 1024;

/// Who caused a record, as `role:client_id`, or `ledger` for the service itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// A client at the public listener.
    Client(ClientId),
    /// A client with `ledger:admin`.
    Administrator(ClientId),
    /// A login application with `ledger:grant`.
    Login(ClientId),
    /// A client with `ledger:audit`.
    Auditor(ClientId),
    /// The service itself, or its operator at the command line.
    Ledger,
}

impl Actor {
    /// The client behind it.
    pub fn client(&self) -> Option<&ClientId> {
        match self {
            Self::Client(id) | Self::Administrator(id) | Self::Login(id) | Self::Auditor(id) => {
                Some(id)
            }
            Self::Ledger => None,
        }
    }

    /// The two parts of its text.
    pub(super) fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Client(id) => ("client:", id.as_str()),
            Self::Administrator(id) => ("admin:", id.as_str()),
            Self::Login(id) => ("login:", id.as_str()),
            Self::Auditor(id) => ("audit:", id.as_str()),
            Self::Ledger => ("ledger", ""),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (role, id) = self.parts();
        f.write_str(role)?;
        f.write_str(id)
    }
}

/// Why a text names no actor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an actor: client:, admin:, login: or audit: and a client_id, or ledger")]
pub struct NotAnActor;

impl FromStr for Actor {
    type Err = NotAnActor;

    fn from_str(text: &str) -> Result<Self, NotAnActor> {
        if text == "ledger" {
            return Ok(Self::Ledger);
        }
        let (role, id) = text.split_once(':').ok_or(NotAnActor)?;
        let id = id.parse().map_err(|_| NotAnActor)?;
        match role {
            "client" => Ok(Self::Client(id)),
            "admin" => Ok(Self::Administrator(id)),
            "login" => Ok(Self::Login(id)),
            "audit" => Ok(Self::Auditor(id)),
            _ => Err(NotAnActor),
        }
    }
}

impl Serialize for Actor {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as Deserialize>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where a request came from. Personal when there is a subject: sealed under its key then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Origin {
    /// Readable only while the subject's key exists.
    Sealed(Sealed),
    /// A client's own doing.
    Clear {
        /// The caller's address.
        address: String,
        /// The caller's `User-Agent`, shortened.
        user_agent: String,
    },
}

/// The previous records of the same grant, subject and client: a trail is a walk along these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Back {
    /// The previous record of the same grant.
    #[serde(default)]
    pub grant: Option<Seq>,
    /// The previous record of the same subject.
    #[serde(default)]
    pub subject: Option<Seq>,
    /// The previous record of the same client.
    #[serde(default)]
    pub client: Option<Seq>,
}

/// Who and what an event is about: the trails that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// The client.
    pub client: Option<ClientId>,
    /// The resource owner's pseudonym.
    pub subject: Option<SubjectId>,
    /// The grant.
    pub grant: Option<GrantId>,
}

/// An event as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Dense from 0; the Merkle leaf index.
    pub seq: Seq,
    /// Never decreasing; shared by all records of one command.
    pub at: Timestamp,
    /// The trails it belongs to.
    pub about: About,
    /// The command it follows from.
    pub request: RequestId,
    /// Who caused it.
    pub actor: Actor,
    /// Where from.
    pub origin: Option<Origin>,
    /// The previous record of each trail.
    pub back: Back,
    /// The leaf hash of the record before; the first has none.
    pub prev: Option<LeafHash>,
    /// What happened.
    pub event: Event,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read<'a> {
    seq: Seq,
    at: Timestamp,
    #[serde(borrow)]
    r#type: std::borrow::Cow<'a, str>,
    v: u32,
    client: Option<ClientId>,
    subject: Option<SubjectId>,
    grant: Option<GrantId>,
    request: RequestId,
    actor: Actor,
    origin: Option<Origin>,
    back: Back,
    prev: Option<LeafHash>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Why bytes are not a record of this ledger.
#[derive(Debug, thiserror::Error)]
pub enum NotARecord {
    /// Longer than [`RECORD_BYTES_MAX`].
    #[error("it has {0} bytes, more than a record may have (16384)")]
    TooLong(usize),
    /// Not JSON, or a member is missing, unknown or malformed.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A type or version that this program does not know.
    #[error(
        "it is of type {kind} version {version}, which this version of the program \
             does not know: use the version that wrote it, or a later one"
    )]
    UnknownType {
        /// The `type` member.
        kind: String,
        /// The `v` member.
        version: u32,
    },
}

impl Record {
    /// The record's bytes: what is stored, hashed and chained.
    ///
    /// # Errors
    /// [`NotARecord::TooLong`] when the event carries more text than a record may hold; nothing
    /// was stored, the caller refuses the command.
    pub fn encode(&self) -> Result<Vec<u8>, NotARecord> {
        let mut to = Pen::default();
        to.open();
        to.member(",\"seq\":", &self.seq);
        to.member(",\"at\":", &self.at);
        to.literal(",\"type\":");
        to.bare(self.event.kind());
        to.member(",\"v\":", &self.event.version());
        to.maybe(",\"client\":", self.about.client.as_ref());
        to.maybe(",\"subject\":", self.about.subject.as_ref());
        to.maybe(",\"grant\":", self.about.grant.as_ref());
        to.member(",\"request\":", &self.request);
        to.member(",\"actor\":", &self.actor);
        to.maybe(",\"origin\":", self.origin.as_ref());
        to.member(",\"back\":", &self.back);
        to.maybe(",\"prev\":", self.prev.as_ref());
        to.member(",\"data\":", &self.event);
        to.close();
        let bytes = to.finish()?;
        if RECORD_BYTES_MAX < bytes.len() {
            return Err(NotARecord::TooLong(bytes.len()));
        }
        Ok(bytes)
    }

    /// The record that `bytes` hold, upcast to the newest version of its type. [`Decoder`] reads many.
    ///
    /// # Errors
    /// [`NotARecord`] when they are no record that a version of this program up to this one wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotARecord> {
        Decoder { shared: Shared::default() }.decode(bytes)
    }

    /// The record, where it is written as [`Record::encode`] writes it.
    fn scan(from: &mut Scan<'_>) -> Option<Self> {
        from.open()?;
        let (seq, at) = (from.member("\"seq\":")?, from.member("\"at\":")?);
        from.literal(",\"type\":")?;
        let kind = from.text()?;
        let version = from.member("\"v\":")?;
        let about = About {
            client: from.maybe("\"client\":")?,
            subject: from.maybe("\"subject\":")?,
            grant: from.maybe("\"grant\":")?,
        };
        let (request, actor) = (from.member("\"request\":")?, from.member("\"actor\":")?);
        let (origin, back) = (from.maybe_origin()?, from.member("\"back\":")?);
        let prev = from.maybe("\"prev\":")?;
        from.literal(",\"data\":")?;
        let event = Event::scan(kind, version, from)?;
        from.close()?;
        let record = Self { seq, at, about, request, actor, origin, back, prev, event };
        from.is_at_end().then_some(record)
    }

    /// The record in any way that JSON has to write it.
    fn parse(bytes: &[u8]) -> Result<Self, NotARecord> {
        let read: Read<'_> = serde_json::from_slice(bytes)?;
        let event = Event::decode(&read.r#type, read.v, read.data.get()).ok_or_else(|| {
            NotARecord::UnknownType { kind: read.r#type.clone().into_owned(), version: read.v }
        })??;
        Ok(Self {
            seq: read.seq,
            at: read.at,
            about: About { client: read.client, subject: read.subject, grant: read.grant },
            request: read.request,
            actor: read.actor,
            origin: read.origin,
            back: read.back,
            prev: read.prev,
            event,
        })
    }
}

/// Reads one record after the other, and remembers what many of them share. Reads what
/// [`Record::decode`] reads, and refuses what that refuses.
#[derive(Debug)]
pub struct Decoder {
    shared: Shared,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { shared: Shared::with_places() }
    }
}

impl Decoder {
    /// A decoder whose records may lack their origin, which no fold looks at: an allocation less.
    pub fn for_fold() -> Self {
        Self { shared: Shared::without_origins() }
    }

    /// As [`Record::decode`].
    ///
    /// # Errors
    /// As [`Record::decode`].
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Record, NotARecord> {
        if RECORD_BYTES_MAX < bytes.len() {
            return Err(NotARecord::TooLong(bytes.len()));
        }
        match Record::scan(&mut Scan::of(bytes, &mut self.shared)) {
            Some(record) => Ok(record),
            None => Record::parse(bytes),
        }
    }
}

#[cfg(test)]
mod tests;
