//! Resource owners, grants and tokens in fixed width. Each value is taken apart by name, so that who
//! adds a field must say what becomes of it.

use std::sync::Arc;

use crate::domain::grant::{Code, Grant, Held, RefreshToken, Standing, Window};
use crate::domain::party::{Ban, Subject};
use crate::domain::snapshot::bytes::{Ended, Put, Take};
use crate::domain::state::GrantEntry;
use crate::domain::table::Slot;
use crate::domain::terms::{Cover, Terms};
use crate::domain::tokens::Token;
use crate::types::digest::{Digest, ShortDigest};
use crate::types::id::{GrantId, OriginTag, Seq, SubjectId};

pub(super) fn put_subject(to: &mut Put, subject: &Subject) {
    let Subject { id, erased, head, ban, grants } = subject;
    to.array(id.as_bytes());
    to.u8(u8::from(*erased));
    to.seq(*head);
    to.option(ban.as_deref(), |to, ban| {
        to.u32(ban.in_force);
        to.option(ban.watermark, Put::seq);
    });
    to.u32(Slot::number(*grants));
}

pub(super) fn take_subject(from: &mut Take<'_>) -> Result<Subject, Ended> {
    Ok(Subject {
        id: SubjectId::from_bytes(from.array()?),
        erased: from.u8()? != 0,
        head: from.seq()?,
        ban: from.option(|from| {
            let (in_force, watermark) = (from.u32()?, from.option(Take::seq)?);
            Ok(Box::new(Ban { in_force, watermark }))
        })?,
        grants: Slot::of_number(from.u32()?),
    })
}

pub(super) fn put_grant(to: &mut Put, entry: &GrantEntry, terms: u32) {
    let GrantEntry { grant, next_of_client, next_of_subject, tokens } = entry;
    let Grant { id, terms: _, subject, created_at, created, standing, head, held } = grant;
    to.array(id.as_bytes());
    to.u32(terms);
    to.option(subject.as_ref(), |to, subject| to.array(subject.as_bytes()));
    to.at(*created_at);
    to.seq(*created);
    let (mark, since) = match standing {
        Standing::Live => (0, Seq(0)),
        Standing::Revoked(since) => (1, *since),
        Standing::Blacklisted(since) => (2, *since),
    };
    to.u8(mark);
    to.seq(since);
    to.seq(*head);
    to.option(held.as_deref(), |to, Held { code, refresh }| {
        to.option(code.as_ref(), put_code);
        to.option(refresh.as_ref(), put_refresh_token);
    });
    for slot in [next_of_client, next_of_subject, tokens] {
        to.u32(Slot::number(*slot));
    }
}

pub(super) fn take_grant(from: &mut Take<'_>, terms: &[Arc<Terms>]) -> Result<GrantEntry, Ended> {
    let grant = Grant {
        id: GrantId::from_bytes(from.array()?),
        terms: numbered(terms, from.u32()?)?,
        subject: from.option(|from| from.array().map(SubjectId::from_bytes))?,
        created_at: from.at()?,
        created: from.seq()?,
        standing: match (from.u8()?, from.seq()?) {
            (0, _) => Standing::Live,
            (1, since) => Standing::Revoked(since),
            (2, since) => Standing::Blacklisted(since),
            _ => return Err(Ended),
        },
        head: from.seq()?,
        held: from.option(|from| {
            let code = from.option(take_code)?;
            Ok(Box::new(Held { code, refresh: from.option(take_refresh_token)? }))
        })?,
    };
    let mut slot = || from.u32().map(Slot::of_number);
    let (next_of_client, next_of_subject, tokens) = (slot()?, slot()?, slot()?);
    Ok(GrantEntry { grant, next_of_client, next_of_subject, tokens })
}

fn put_code(to: &mut Put, code: &Code) {
    let Code { digest, challenge, expires_at, redeemed } = code;
    to.array(digest.as_bytes());
    to.option(challenge.as_ref(), |to, challenge| to.array(challenge.as_bytes()));
    to.at(*expires_at);
    to.u8(u8::from(*redeemed));
}

fn take_code(from: &mut Take<'_>) -> Result<Code, Ended> {
    Ok(Code {
        digest: Digest::from_bytes(from.array()?),
        challenge: from.option(|from| from.array().map(Digest::from_bytes))?,
        expires_at: from.at()?,
        redeemed: from.u8()? != 0,
    })
}

fn put_refresh_token(to: &mut Put, token: &RefreshToken) {
    let RefreshToken { generation, digest, used_at, issued, window, shadowed } = token;
    to.u32(*generation);
    to.array(digest.as_bytes());
    to.at(*used_at);
    to.seq(*issued);
    to.option(window.as_ref(), |to, Window { tag, retries, foreign_retries }| {
        to.option(tag.as_ref(), |to, tag| to.array(tag.as_bytes()));
        to.u32(*retries);
        to.u32(u32::from(*foreign_retries));
    });
    to.u32(u32::from(*shadowed));
}

fn take_refresh_token(from: &mut Take<'_>) -> Result<RefreshToken, Ended> {
    Ok(RefreshToken {
        generation: from.u32()?,
        digest: Digest::from_bytes(from.array()?),
        used_at: from.at()?,
        issued: from.seq()?,
        window: from.option(|from| {
            let tag = from.option(|from| from.array().map(OriginTag::from_bytes))?;
            let (retries, foreign_retries) = (from.u32()?, from.u32()?);
            let foreign_retries = u16::try_from(foreign_retries).map_err(|_| Ended)?;
            Ok(Window { tag, retries, foreign_retries })
        })?,
        shadowed: from.u32()?.try_into().map_err(|_| Ended)?,
    })
}

pub(super) fn put_token(to: &mut Put, token: &Token, cover: u32) {
    let Token {
        digest,
        grant,
        issued,
        issued_at,
        expires_at,
        cover: _,
        generation,
        previous,
        next,
    } = token;
    to.array(digest.as_bytes());
    to.u32(Slot::number(Some(*grant)));
    to.seq(*issued);
    to.at(*issued_at);
    to.at(*expires_at);
    to.u32(cover);
    to.option(*generation, Put::u32);
    to.u32(Slot::number(*previous));
    to.u32(Slot::number(*next));
}

pub(super) fn take_token(from: &mut Take<'_>, covers: &[Arc<Cover>]) -> Result<Token, Ended> {
    Ok(Token {
        digest: ShortDigest::from_bytes(from.array()?),
        grant: Slot::of_number(from.u32()?).ok_or(Ended)?,
        issued: from.seq()?,
        issued_at: from.at()?,
        expires_at: from.at()?,
        cover: numbered(covers, from.u32()?)?,
        generation: from.option(Take::u32)?,
        previous: Slot::of_number(from.u32()?),
        next: Slot::of_number(from.u32()?),
    })
}

fn numbered<T>(values: &[Arc<T>], number: u32) -> Result<Arc<T>, Ended> {
    values.get(number as usize).map(Arc::clone).ok_or(Ended)
}
