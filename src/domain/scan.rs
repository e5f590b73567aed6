//! Records in one pass: members in the order in which they are written, no escapes, no spaces.
//! JSON knows other ways to say the same; what is written in one of those, and all that is wrong, is
//! left to the general reader. So each text that is scanned is one that the general reader takes,
//! with the same meaning, and nothing is refused here.

use std::str::FromStr;

use memchr::memchr;
use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, Error as Unknown};

use crate::crypto::seal::Sealed;
use crate::domain::client::{AccessTokenFormat, ClientMetadata};
use crate::domain::event::{Cause, CodeRefusal, How, RefreshRefusal, Reuse, Target};
use crate::domain::record::{Actor, Back, Origin};
use crate::types::digest::{Digest, LeafHash};
use crate::types::id::{
    BlacklistId, ClientId, GrantId, KeyId, OriginTag, RequestId, Seq, SubjectId,
};
use crate::types::resource::Resources;
use crate::types::scope::Scope;
use crate::types::time::Timestamp;

/// How many texts of one kind are remembered.
const SHARED_MAX: usize = 256;

/// What many records share, by the text that stands for it: a second time it is neither parsed nor
/// allocated. Remembers the newest of those that fall on one place.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Origins are looked at, and not kept.
    drops_origins: bool,
    clients: Known<ClientId>,
    actors: Known<Actor>,
    keys: Known<KeyId>,
    scopes: Known<Scope>,
    resources: Known<Resources>,
}

#[derive(Debug)]
struct Known<T>(Vec<Option<(Box<[u8]>, T)>>);

impl<T> Default for Known<T> {
    /// For a single record: nothing is remembered.
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone> Known<T> {
    fn with_places() -> Self {
        Self(vec![None; SHARED_MAX])
    }

    fn of(&mut self, text: &[u8], read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let read = |text| read(std::str::from_utf8(text).ok()?);
        let place = usize::try_from(mixed(text) >> 32).unwrap_or(0) % self.0.len().max(1);
        let Some(place) = self.0.get_mut(place) else { return read(text) };
        match place {
            Some((known, value)) if **known == *text => Some(value.clone()),
            Some(_) | None => {
                let value = read(text)?;
                *place = Some((text.into(), value.clone()));
                Some(value)
            }
        }
    }
}

/// Length, beginning and end of a text, mixed: it chooses a place, no more.
fn mixed(text: &[u8]) -> u64 {
    let part = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let (first, last) = (text.first_chunk(), text.last_chunk());
    let short = text.iter().take(8).fold(text.len() as u64, |sum, c| sum << 8 | u64::from(*c));
    let sum = part(first).rotate_left(29) ^ part(last) ^ short;
    sum.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Shared {
    /// For many records.
    pub(super) fn with_places() -> Self {
        Self {
            drops_origins: false,
            clients: Known::with_places(),
            actors: Known::with_places(),
            keys: Known::with_places(),
            scopes: Known::with_places(),
            resources: Known::with_places(),
        }
    }

    /// As [`Shared::with_places`], for who has no use for where requests came from.
    pub(super) fn without_origins() -> Self {
        Self { drops_origins: true, ..Self::with_places() }
    }
}

/// A record's text, read from the front. Nothing looks at all of it beforehand: whoever reads a text
/// takes no character that JSON would escape.
pub(super) struct Scan<'a> {
    rest: &'a [u8],
    /// Whether a member of the innermost object was read, so that a comma comes before the next.
    begun: bool,
    shared: &'a mut Shared,
}

/// A value that can be read in passing.
pub(super) trait Scanned: Sized {
    /// The value that comes next; `None` where it is written in another way, or not there.
    fn scanned(from: &mut Scan<'_>) -> Option<Self>;
}

impl<'a> Scan<'a> {
    pub(super) fn of(bytes: &'a [u8], shared: &'a mut Shared) -> Self {
        Self { rest: bytes, begun: false, shared }
    }

    /// Steps over `literal`. Inlined, as its caller is: then it is compared as a number or two.
    #[inline(always)]
    pub(super) fn literal(&mut self, literal: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(literal.as_bytes())?;
        Some(())
    }

    pub(super) fn open(&mut self) -> Option<()> {
        self.begun = false;
        self.literal("{")
    }

    pub(super) fn close(&mut self) -> Option<()> {
        self.begun = true;
        self.literal("}")
    }

    /// The value of the next member, which must be the one whose name, quotes and colon `name` is.
    #[inline(always)]
    pub(super) fn member<T: Scanned>(&mut self, name: &str) -> Option<T> {
        if self.begun {
            self.literal(",")?;
        }
        self.literal(name)?;
        let value = T::scanned(self)?;
        self.begun = true;
        Some(value)
    }

    /// As [`Scan::member`] for one that is left out where there is no value.
    #[inline(always)]
    pub(super) fn maybe<T: Scanned>(&mut self, name: &str) -> Option<Option<T>> {
        let rest = if self.begun { self.rest.strip_prefix(b",") } else { Some(self.rest) };
        match rest.is_some_and(|rest| rest.starts_with(name.as_bytes())) {
            true => self.member(name).map(Some),
            false => Some(None),
        }
    }

    /// Whether nothing is left.
    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// What stands between the quotes that come next, which may end too early: at an escaped one.
    fn quoted(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.strip_prefix(b"\"")?;
        self.quoted_of(memchr(b'"', rest)?)
    }

    /// As [`Scan::quoted`], for texts that have one length.
    #[inline(always)]
    fn quoted_of(&mut self, length: usize) -> Option<&'a [u8]> {
        let rest = self.rest.strip_prefix(b"\"")?;
        let (text, rest) = rest.split_at_checked(length)?;
        self.rest = rest.strip_prefix(b"\"")?;
        Some(text)
    }

    /// Any text that is written without an escape.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let text = self.quoted()?;
        // Without an early end, so that many bytes are looked at in one step.
        let is_plain = |all: bool, c: &u8| all & (c.wrapping_sub(b' ') < 0x5F) & (*c != b'\\');
        match text.iter().fold(true, is_plain) {
            true => std::str::from_utf8(text).ok(),
            false => None,
        }
    }

    /// A value that no text with an escape stands for.
    fn parsed<T: FromStr>(&mut self) -> Option<T> {
        std::str::from_utf8(self.quoted()?).ok()?.parse().ok()
    }

    /// A value whose `Deserialize` asks for a text.
    fn named<T: Deserialize<'a>>(&mut self) -> Option<T> {
        T::deserialize(BorrowedStrDeserializer::<Unknown>::new(self.text()?)).ok()
    }

    fn number(&mut self) -> Option<u64> {
        let (mut number, mut digits) = (0_u64, 0);
        for digit in self.rest.iter().map(|c| c.wrapping_sub(b'0')).take_while(|digit| *digit < 10)
        {
            number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
            digits += 1;
        }
        let (text, rest) = self.rest.split_at_checked(digits)?;
        // JSON has no number with a 0 before it.
        if digits == 0 || digits != 1 && text.starts_with(b"0") {
            return None;
        }
        self.rest = rest;
        Some(number)
    }
}

macro_rules! scanned {
    ($($type:ty: $from:ident => $value:expr;)*) => {
        $(impl Scanned for $type {
            fn scanned($from: &mut Scan<'_>) -> Option<Self> { $value }
        })*
    };
}

scanned! {
    u64: from => from.number();
    u32: from => from.number()?.try_into().ok();
    Seq: from => from.number().map(Seq);
    bool: from => match from.rest.starts_with(b"t") {
        true => from.literal("true").map(|()| true),
        false => from.literal("false").map(|()| false),
    };
    String: from => from.text().map(str::to_owned);
    Timestamp: from => Timestamp::of_text(from.quoted_of(Timestamp::TEXT_LEN)?);
    Digest: from => Digest::of_text(from.quoted_of(Digest::TEXT_LEN)?);
    LeafHash: from => LeafHash::of_text(from.quoted_of(LeafHash::TEXT_LEN)?);
    GrantId: from => GrantId::of_text(from.quoted_of(GrantId::TEXT_LEN)?);
    SubjectId: from => SubjectId::of_text(from.quoted_of(SubjectId::TEXT_LEN)?);
    BlacklistId: from => BlacklistId::of_text(from.quoted_of(BlacklistId::TEXT_LEN)?);
    RequestId: from => RequestId::of_text(from.quoted_of(RequestId::TEXT_LEN)?);
    OriginTag: from => OriginTag::of_text(from.quoted_of(OriginTag::TEXT_LEN)?);
    Sealed: from => from.parsed();
    How: from => from.named();
    CodeRefusal: from => from.named();
    Reuse: from => from.named();
    RefreshRefusal: from => from.named();
    Cause: from => from.named();
    AccessTokenFormat: from => from.named();
    ClientId: from => { let text = from.quoted()?; from.shared.clients.of(text, |text| text.parse().ok()) };
    Actor: from => { let text = from.quoted()?; from.shared.actors.of(text, |text| text.parse().ok()) };
    KeyId: from => { let text = from.quoted()?; from.shared.keys.of(text, |text| text.parse().ok()) };
    Scope: from => { let text = from.quoted()?; from.shared.scopes.of(text, |text| text.parse().ok()) };
    Resources: from => from.resources();
    Origin: from => from.origin();
    Back: from => from.back();
    // Seldom, and of many shapes.
    Box<ClientMetadata>: _from => None;
    Target: _from => None;
    serde_json::Value: _from => None;
    serde_json::Map<String, serde_json::Value>: _from => None;
}

const ORIGIN: &str = "\"origin\":";

/// An origin that is well-formed, and not kept.
struct Passed;

impl Scanned for Passed {
    fn scanned(from: &mut Scan<'_>) -> Option<Self> {
        match from.rest.starts_with(b"\"") {
            true => Sealed::is_text(from.quoted()?).then_some(Self),
            false => from.origin().map(|_| Self),
        }
    }
}

impl<T: Scanned> Scanned for Option<T> {
    fn scanned(from: &mut Scan<'_>) -> Option<Self> {
        match from.rest.starts_with(b"n") {
            true => from.literal("null").map(|()| None),
            false => T::scanned(from).map(Some),
        }
    }
}

impl Scan<'_> {
    fn resources(&mut self) -> Option<Resources> {
        // Neither bracket is a character of a URI's that stands bare in one: an IPv6 address has
        // both, and ends the text early, so that it is no JSON.
        let end = memchr(b']', self.rest)?;
        let (text, rest) = self.rest.split_at_checked(end + 1)?;
        let read = |text: &str| serde_json::from_str(text).ok();
        let resources = self.shared.resources.of(text, read)?;
        self.rest = rest;
        Some(resources)
    }

    fn origin(&mut self) -> Option<Origin> {
        if self.rest.starts_with(b"\"") {
            return self.parsed().map(Origin::Sealed);
        }
        self.open()?;
        let address = self.member("\"address\":")?;
        let user_agent = self.member("\"user_agent\":")?;
        self.close()?;
        Some(Origin::Clear { address, user_agent })
    }

    /// The origin, if there is one and it is to be kept.
    pub(super) fn maybe_origin(&mut self) -> Option<Option<Origin>> {
        if !self.shared.drops_origins {
            return self.maybe(ORIGIN);
        }
        self.maybe::<Passed>(ORIGIN).map(|_| None)
    }

    fn back(&mut self) -> Option<Back> {
        self.open()?;
        let back = Back {
            grant: self.maybe("\"grant\":")?,
            subject: self.maybe("\"subject\":")?,
            client: self.maybe("\"client\":")?,
        };
        self.close()?;
        Some(back)
    }
}
