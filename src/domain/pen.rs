//! Records as they are written: members in a fixed order, no spaces, texts escaped only where they must
//! be. The bytes are those that serde's derive would make for the same members; but most of a record
//! is names known beforehand and texts that cannot need an escape, and nobody searches those for one.

use serde::Serialize;

use crate::crypto::seal::Sealed;
use crate::domain::client::{AccessTokenFormat, ClientMetadata};
use crate::domain::event::{Cause, CodeRefusal, How, RefreshRefusal, Reuse, Target};
use crate::domain::record::{Actor, Back, Origin};
use crate::types::digest::{Digest, LeafHash};
use crate::types::id::{
    BlacklistId, ClientId, GrantId, KeyId, OriginTag, RequestId, Seq, SubjectId,
};
use crate::types::resource::{Resource, Resources};
use crate::types::scope::Scope;
use crate::types::time::Timestamp;

/// Room for most records, in bytes.
const USUAL_BYTES: usize = 1024;

/// A record's text, written from the front.
#[derive(Debug)]
pub(super) struct Pen {
    bytes: Vec<u8>,
    /// Whether a member of the innermost object was written, so that a comma comes before the next.
    begun: bool,
    failed: Option<serde_json::Error>,
}

/// A value that can be written into a record.
pub(super) trait Penned {
    /// Writes the value as JSON.
    fn penned(&self, to: &mut Pen);
}

impl Default for Pen {
    fn default() -> Self {
        Self { bytes: Vec::with_capacity(USUAL_BYTES), begun: false, failed: None }
    }
}

impl Pen {
    /// What was written.
    ///
    /// # Errors
    /// The first value that has no JSON.
    pub(super) fn finish(self) -> Result<Vec<u8>, serde_json::Error> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.bytes),
        }
    }

    /// Inlined, as its caller is: then a short text is a store or two.
    #[inline(always)]
    pub(super) fn literal(&mut self, literal: &str) {
        self.bytes.extend_from_slice(literal.as_bytes());
    }

    pub(super) fn open(&mut self) {
        self.literal("{");
        self.begun = false;
    }

    pub(super) fn close(&mut self) {
        self.literal("}");
        self.begun = true;
    }

    /// The next member; `name` is its name with a comma before, in quotes and with its colon.
    #[inline(always)]
    pub(super) fn member<T: Penned>(&mut self, name: &str, value: &T) {
        let name = if self.begun { name } else { name.strip_prefix(',').unwrap_or(name) };
        self.literal(name);
        value.penned(self);
        self.begun = true;
    }

    /// As [`Pen::member`] for one that is left out where there is no value.
    #[inline(always)]
    pub(super) fn maybe<T: Penned>(&mut self, name: &str, value: Option<&T>) {
        if let Some(value) = value {
            self.member(name, value);
        }
    }

    /// A text of characters that stand bare in JSON.
    #[inline(always)]
    pub(super) fn bare(&mut self, text: &str) {
        self.literal("\"");
        self.literal(text);
        self.literal("\"");
    }

    /// As [`Pen::bare`], for a text that `write` puts behind what is written.
    #[inline(always)]
    fn coded(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.literal("\"");
        write(&mut self.bytes);
        self.literal("\"");
    }

    /// Any text.
    fn text(&mut self, text: &str) {
        // Without an early end, so that many bytes are looked at in one step.
        let is_bare = |all: bool, c: &u8| all & (b' ' <= *c) & (*c != b'"') & (*c != b'\\');
        match text.as_bytes().iter().fold(true, is_bare) {
            true => self.bare(text),
            false => self.json(text),
        }
    }

    fn number(&mut self, number: u64) {
        self.literal(itoa::Buffer::new().format(number));
    }

    fn json<T: Serialize + ?Sized>(&mut self, value: &T) {
        if let Err(error) = serde_json::to_writer(&mut self.bytes, value) {
            self.failed.get_or_insert(error);
        }
    }

    fn list<'a>(&mut self, items: impl Iterator<Item = &'a str>) {
        let mut before = "[";
        for item in items {
            self.literal(before);
            self.bare(item);
            before = ",";
        }
        self.literal(if before == "[" { "[]" } else { "]" });
    }
}

macro_rules! penned {
    ($($type:ty: $value:ident, $to:ident => $write:expr;)*) => {
        $(impl Penned for $type {
            fn penned(&self, $to: &mut Pen) {
                let $value = self;
                $write
            }
        })*
    };
}

penned! {
    u64: number, to => to.number(*number);
    u32: number, to => to.number(u64::from(*number));
    Seq: seq, to => to.number(seq.0);
    bool: is, to => to.literal(if *is { "true" } else { "false" });
    String: text, to => to.text(text);
    Timestamp: at, to => to.coded(|to| to.extend_from_slice(&at.text()));
    Digest: digest, to => to.coded(|to| digest.text_onto(to));
    LeafHash: hash, to => to.coded(|to| hash.text_onto(to));
    GrantId: id, to => to.coded(|to| id.text_onto(to));
    SubjectId: id, to => to.coded(|to| id.text_onto(to));
    BlacklistId: id, to => to.coded(|to| id.text_onto(to));
    RequestId: id, to => to.coded(|to| to.extend_from_slice(&id.text()));
    OriginTag: tag, to => to.coded(|to| tag.text_onto(to));
    // None of these types allows a quotation mark or a backslash.
    Sealed: sealed, to => to.bare(sealed.as_str());
    ClientId: id, to => to.bare(id.as_str());
    KeyId: id, to => to.bare(id.as_str());
    Resources: resources, to => to.list(resources.iter().map(Resource::as_str));
    Scope: scope, to => {
        let mut before = "\"";
        for token in scope.iter() {
            to.literal(before);
            to.literal(token);
            before = " ";
        }
        to.literal(if before == "\"" { "\"\"" } else { "\"" });
    };
    Actor: actor, to => {
        let (role, id) = actor.parts();
        to.literal("\"");
        to.literal(role);
        to.literal(id);
        to.literal("\"");
    };
    Origin: origin, to => match origin {
        Origin::Sealed(sealed) => sealed.penned(to),
        Origin::Clear { address, user_agent } => {
            to.open();
            to.member(",\"address\":", address);
            to.member(",\"user_agent\":", user_agent);
            to.close();
        }
    };
    Back: back, to => {
        to.open();
        to.maybe(",\"grant\":", back.grant.as_ref());
        to.maybe(",\"subject\":", back.subject.as_ref());
        to.maybe(",\"client\":", back.client.as_ref());
        to.close();
    };
    // A word each, or seldom and of many shapes.
    How: value, to => to.json(value);
    CodeRefusal: value, to => to.json(value);
    Reuse: value, to => to.json(value);
    RefreshRefusal: value, to => to.json(value);
    Cause: value, to => to.json(value);
    AccessTokenFormat: value, to => to.json(value);
    Box<ClientMetadata>: value, to => to.json(value);
    Target: value, to => to.json(value);
    serde_json::Value: value, to => to.json(value);
    serde_json::Map<String, serde_json::Value>: value, to => to.json(value);
}

impl<T: Penned> Penned for Option<T> {
    fn penned(&self, to: &mut Pen) {
        match self {
            Some(value) => value.penned(to),
            None => to.literal("null"),
        }
    }
}
