//! Decisions of the operator: blacklist entries, and the erasure of a resource owner.
//! One record each, whatever it hits.

use crate::domain::command::{BlacklistTarget, Owner};
use crate::domain::decide::{Decision, Fact, about_client};
use crate::domain::event::{
    BlacklistAdded, BlacklistLifted, SubjectErased, SubjectRegistered, Target,
};
use crate::domain::record::{About, Actor};
use crate::domain::refusal::Refusal;
use crate::domain::view::View;
use crate::types::id::{BlacklistId, GrantId};
use crate::types::time::Timestamp;

pub(super) fn add(
    view: &View<'_>,
    at: Timestamp,
    actor: &Actor,
    (id, asked, reason): (BlacklistId, &BlacklistTarget, &str),
) -> Decision {
    if view.entry(&id).is_some() {
        return Decision::refused(Refusal::Stale);
    }
    let mut facts = Vec::with_capacity(2);
    let (target, about, whole_grant) = match asked {
        BlacklistTarget::Owner(owner) => {
            let about = About { subject: Some(owner.subject), ..About::default() };
            match view.subject(&owner.subject) {
                Some(subject) if subject.erased => {
                    return Decision::refused(Refusal::UnknownSubject);
                }
                Some(_) => {}
                None => facts.push(Fact::new(&about, SubjectRegistered { sub: owner.sub.clone() })),
            }
            (Target::Subject(owner.subject), about, false)
        }
        BlacklistTarget::TokenOfGrant(digest, grant) => match about_grant(view, grant) {
            Ok(about) => (Target::Token(*digest), about, true),
            Err(refusal) => return Decision::refused(refusal),
        },
        BlacklistTarget::Other(target) => match about_target(view, at, actor, target) {
            Ok(about) => (target.clone(), about, false),
            Err(refusal) => return Decision::refused(refusal),
        },
    };
    let watermark = match target {
        Target::Token(_) | Target::Grant(_) => None,
        Target::Subject(_) | Target::Client(_) | Target::Key(_) | Target::All => {
            // The entry's own record: everything up to and with it.
            Some(facts.iter().fold(view.next_seq(), |seq, _| seq.next()))
        }
    };
    let reason = reason.to_owned();
    let added = BlacklistAdded { id, target, whole_grant, reason, watermark };
    facts.push(Fact::new(&about, added));
    Decision::done(facts)
}

fn about_grant(view: &View<'_>, grant: &GrantId) -> Result<About, Refusal> {
    let grant = view.grant(grant).ok_or(Refusal::UnknownGrant)?;
    let (client, subject) = (Some(grant.client.clone()), grant.subject);
    Ok(About { client, subject, grant: Some(grant.id) })
}

fn about_target(
    view: &View<'_>,
    at: Timestamp,
    actor: &Actor,
    target: &Target,
) -> Result<About, Refusal> {
    match target {
        Target::Token(digest) => Ok(match view.token(digest, at) {
            Some((_, grant)) => about_grant(view, &grant.id)?,
            None => About::default(),
        }),
        Target::Grant(grant) => about_grant(view, grant),
        Target::Subject(subject) => match view.subject(subject) {
            Some(found) if !found.erased => {
                Ok(About { subject: Some(*subject), ..About::default() })
            }
            Some(_) | None => Err(Refusal::UnknownSubject),
        },
        Target::Client(client) => {
            if actor.client() == Some(client) {
                return Err(Refusal::SelfLockout);
            }
            view.client(client).ok_or(Refusal::UnknownClient)?;
            Ok(about_client(client))
        }
        Target::Key(kid) => {
            view.key(kid).ok_or(Refusal::UnknownKey)?;
            Ok(About::default())
        }
        Target::All => Ok(About::default()),
    }
}

pub(super) fn lift(view: &View<'_>, id: BlacklistId, reason: &str) -> Decision {
    let Some(entry) = view.entry(&id).filter(|entry| entry.lifted.is_none()) else {
        return Decision::refused(Refusal::UnknownEntry);
    };
    let about = match &entry.target {
        Target::Grant(grant) => about_grant(view, grant).unwrap_or_default(),
        Target::Subject(subject) => About { subject: Some(*subject), ..About::default() },
        Target::Client(client) => about_client(client),
        Target::Token(_) | Target::Key(_) | Target::All => About::default(),
    };
    let lifted = BlacklistLifted { id, reason: reason.to_owned() };
    Decision::done(vec![Fact::new(&about, lifted)])
}

pub(super) fn erase(view: &View<'_>, owner: &Owner, reason: &str, legal_basis: &str) -> Decision {
    let about = About { subject: Some(owner.subject), ..About::default() };
    let mut facts = Vec::with_capacity(2);
    match view.subject(&owner.subject) {
        Some(subject) if subject.erased => return Decision::refused(Refusal::UnknownSubject),
        Some(_) => {}
        // Or the grant that comes after would be of somebody whom nobody knows any more.
        None => facts.push(Fact::new(&about, SubjectRegistered { sub: owner.sub.clone() })),
    }
    let (reason, legal_basis) = (reason.to_owned(), legal_basis.to_owned());
    facts.push(Fact::new(&about, SubjectErased { reason, legal_basis }));
    Decision::done(facts)
}
