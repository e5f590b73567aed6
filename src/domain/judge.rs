//! Whether the rules could have produced what the log says. A forger who re-chains and re-signs
//! everything still has to write a history that the rules allow: nothing refreshed after its expiry,
//! no token of a revoked grant, no code redeemed twice.
//!
//! Each command is retraced from its own records and decided once more over the fold of all that
//! came before; the facts must be the same. So there is one set of rules, not two that drift apart.
//! A rule that changes must keep judging what was written under the old one.

use crate::domain::client::{ACCESS_TOKEN_LIFETIME_S_MAX, AccessTokenFormat};
use crate::domain::command::Asked;
use crate::domain::decide::{Decision, Fact, decide};
use crate::domain::event::{
    AccessTokenIssued, ClockStepped, CodeRefusal, Event, LedgerStalled, RefreshRefusal,
};
use crate::domain::keys::ACCESS_TOKEN_PURPOSE;
use crate::domain::record::{About, Actor, Record};
use crate::domain::refusal::Refusal;
use crate::domain::retrace::retrace;
use crate::domain::state::State;
use crate::domain::view::View;
use crate::types::digest::Digest;
use crate::types::id::{ClientId, Seq};

/// By how many seconds a clock may have been set back between the making of a token and its record.
const CLOCK_SLACK_S: u64 = 3600;

/// The most records that one command leads to.
pub const COMMAND_RECORDS_MAX: usize = 3;

/// A record that the rules could not have produced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Unlawful {
    /// Which record.
    pub seq: Seq,
    /// Which rule it breaks.
    pub what: Breach,
}

/// In which way a record breaks the rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// A log begins with its creation, and is created once.
    #[error("a ledger begins with ledger.created, and with nothing else again")]
    Beginning,
    /// Something happened after a clean stop and before the next start.
    #[error("it follows ledger.closed, and the ledger was not opened again")]
    Closed,
    /// The records of one command have one instant, one actor and one origin.
    #[error("it is of the same command as the record before, with another {0}")]
    Torn(&'static str),
    /// Nobody can ask for this, or not on its own.
    #[error("no command leads to {kind} here")]
    Unasked {
        /// The type of the record.
        kind: &'static str,
    },
    /// The rules say no.
    #[error("the rules refuse it: {0}")]
    Refused(Refusal),
    /// The rules lead to something else.
    #[error("the rules lead to {expected} here, not to this {kind}")]
    Otherwise {
        /// What would have happened.
        expected: &'static str,
        /// The type of the record.
        kind: &'static str,
    },
    /// The rules lead to the same event, but not with this data.
    #[error("the rules lead to {kind} here, but with other data or about another party")]
    OtherData {
        /// The type of the record.
        kind: &'static str,
    },
    /// The command stops in the middle.
    #[error("the rules lead to {missing} after it, in the same command, which is not there")]
    Incomplete {
        /// The type of the record that is missing.
        missing: &'static str,
    },
    /// A token was signed by a key that the log does not know as one.
    #[error("it names a signing key that was not added before")]
    UnknownKey,
    /// A token that lives longer than any client's may.
    #[error("it lives longer than an access token may")]
    Lifetime,
    /// A refusal that is counted zero times, or is about nobody.
    #[error("it counts refusals that could not have happened")]
    Miscounted,
    /// Of a wait that was longer than the time since the record before, or was none.
    #[error("it tells of a wait that does not go with its own time, or of none")]
    Stall,
    /// A step of the wall clock that nobody could have noticed so.
    #[error("it tells of a step of the clock that does not go with its own time, or of none")]
    Clock,
}

/// Judges the commands of a log, one after the other, from the first.
#[derive(Debug, Default)]
pub struct Judge {
    /// Whether the newest record is that of a clean stop.
    closed: bool,
}

impl Judge {
    /// Whether the rules lead to exactly the records of `command`, over `state`: the fold of all
    /// records before them. The records are one command's: they share its `request`.
    ///
    /// # Errors
    /// [`Unlawful`], naming the first record that they do not lead to.
    pub fn judge(&mut self, state: &State, command: &[Record]) -> Result<(), Unlawful> {
        let Some(first) = command.first() else { return Ok(()) };
        let breach = |what| Unlawful { seq: first.seq, what };
        let creates = matches!(first.event, Event::LedgerCreated(_));
        if creates != state.head().is_none() {
            return Err(breach(Breach::Beginning));
        }
        if self.closed && !matches!(first.event, Event::LedgerOpened(_)) {
            return Err(breach(Breach::Closed));
        }
        self.closed = matches!(first.event, Event::LedgerClosed(_));
        for (before, record) in command.iter().zip(command.iter().skip(1)) {
            is_whole(before, record).map_err(|what| Unlawful { seq: record.seq, what })?;
        }
        // Nobody asks for a step of the clock: it stands alone too.
        if let ([_], Event::ClockStepped(step)) = (command, &first.event) {
            return check_step(state, first, step).map_err(breach);
        }
        if let ([_], Event::LedgerStalled(stalled)) = (command, &first.event) {
            return check_stall(state, first, stalled).map_err(breach);
        }
        // Refusals are counted, so each stands alone.
        match is_counted(&first.event) && command.len() == 1 {
            true => check_counted(state, first).map_err(breach),
            false => redecide(state, first, command),
        }
    }
}

impl Judge {
    /// As [`Judge::judge`] for the last command of evidence that may end anywhere: it may be cut short, but
    /// the rules must lead to the records that are there, whatever would have come behind them.
    ///
    /// # Errors
    /// As [`Judge::judge`], but for [`Breach::Incomplete`].
    pub fn judge_beginning(&mut self, state: &State, command: &[Record]) -> Result<(), Unlawful> {
        match self.judge(state, command) {
            Err(Unlawful { what: Breach::Incomplete { .. }, .. }) => begins(state, command),
            judged => judged,
        }
    }
}

/// Whether the rules lead to these records and then to an access token, if there is one to stand in.
fn begins(state: &State, command: &[Record]) -> Result<(), Unlawful> {
    let (Some(first), Some(last)) = (command.first(), command.last()) else { return Ok(()) };
    let Some(next) = stand_in(state, last) else { return Ok(()) };
    let whole: Vec<Record> = command.iter().cloned().chain([next]).collect();
    match redecide(state, first, &whole) {
        // What is wrong with the one that stands in is not said by anybody.
        Err(unlawful) if unlawful.seq <= last.seq => Err(unlawful),
        Err(_) | Ok(()) => Ok(()),
    }
}

/// An access token within what was granted, as the record behind `last`.
fn stand_in(state: &State, last: &Record) -> Option<Record> {
    let granted = state.grant(&last.about.grant?);
    let (scope, audience) = match (&last.event, granted) {
        (_, Some(grant)) => (grant.scope.clone(), grant.resources.clone()),
        (Event::GrantCreated(data), None) => (data.scope.clone(), data.resources.clone()),
        (_, None) => Default::default(),
    };
    let issued = AccessTokenIssued {
        digest: Digest::from_bytes([0; 32]),
        jti: None,
        format: AccessTokenFormat::Opaque,
        key: None,
        scope,
        audience,
        expires_at: last.at,
        generation: None,
    };
    Some(Record { seq: last.seq.next(), event: issued.into(), ..last.clone() })
}

fn is_counted(event: &Event) -> bool {
    matches!(
        event,
        Event::RefreshRefused(_) | Event::CodeRefused(_) | Event::ClientAuthenticationFailed(_)
    )
}

fn is_whole(before: &Record, record: &Record) -> Result<(), Breach> {
    if before.at != record.at {
        return Err(Breach::Torn("time"));
    }
    if before.actor != record.actor {
        return Err(Breach::Torn("actor"));
    }
    if before.origin != record.origin {
        return Err(Breach::Torn("origin"));
    }
    Ok(())
}

/// Decides the command anew, and compares.
fn redecide(state: &State, first: &Record, command: &[Record]) -> Result<(), Unlawful> {
    for record in command {
        if let Event::AccessTokenIssued(issued) = &record.event {
            let seq = record.seq;
            check_token(state, record, issued).map_err(|what| Unlawful { seq, what })?;
        }
    }
    let mut found = Err(untraced(first, command));
    for candidate in retrace(state, command) {
        let (request, actor) = (first.request, first.actor.clone());
        let asked = Asked { request, actor, origin: first.origin.clone(), command: candidate };
        found = compare(&decide(&View::of(state), first.at, &asked), command);
        if found.is_ok() {
            break;
        }
    }
    found
}

/// For records that no command leads to, but perhaps would with one more record.
fn untraced(first: &Record, command: &[Record]) -> Unlawful {
    let last = command.last().unwrap_or(first);
    match awaits(&last.event) {
        Some(missing) => Unlawful { seq: last.seq, what: Breach::Incomplete { missing } },
        None => Unlawful { seq: first.seq, what: Breach::Unasked { kind: first.event.kind() } },
    }
}

/// What always follows an event in the same command.
fn awaits(event: &Event) -> Option<&'static str> {
    let grants = matches!(event, Event::SubjectRegistered(_));
    let issues = matches!(
        event,
        Event::GrantCreated(_)
            | Event::CodeRedeemed(_)
            | Event::RefreshTokenIssued(_)
            | Event::RefreshTokenUsed(_)
            | Event::RefreshTokenRotated(_)
            | Event::RefreshTokenRetried(_)
    );
    if grants {
        return Some("grant.created, blacklist.added or subject.erased");
    }
    issues.then_some("access_token.issued")
}

fn compare(decision: &Decision, command: &[Record]) -> Result<(), Unlawful> {
    for (i, record) in command.iter().enumerate() {
        let kind = record.event.kind();
        let what = match decision.facts.get(i) {
            Some(fact) if is_the_same(fact, record) => continue,
            Some(fact) if fact.event.kind() == kind => Breach::OtherData { kind },
            Some(fact) => match decision.outcome {
                Err(refusal) => Breach::Refused(refusal),
                Ok(_) => Breach::Otherwise { expected: fact.event.kind(), kind },
            },
            None => match decision.outcome {
                Err(refusal) => Breach::Refused(refusal),
                Ok(_) => Breach::Unasked { kind },
            },
        };
        return Err(Unlawful { seq: record.seq, what });
    }
    match (decision.facts.get(command.len()), command.last()) {
        (Some(missing), Some(last)) => {
            let missing = missing.event.kind();
            Err(Unlawful { seq: last.seq, what: Breach::Incomplete { missing } })
        }
        (Some(_) | None, _) => Ok(()),
    }
}

fn is_the_same(fact: &Fact, record: &Record) -> bool {
    fact.about == record.about && fact.event == record.event
}

/// A token lives no longer than any may, and is signed by a key whose record is older than the token.
fn check_token(state: &State, record: &Record, issued: &AccessTokenIssued) -> Result<(), Breach> {
    let longest_s = u64::from(ACCESS_TOKEN_LIFETIME_S_MAX) + CLOCK_SLACK_S;
    if record.at.plus_seconds(longest_s) < issued.expires_at {
        return Err(Breach::Lifetime);
    }
    let Some(kid) = &issued.key else { return Ok(()) };
    match state.key(kid) {
        Some(key) if key.purpose == ACCESS_TOKEN_PURPOSE => Ok(()),
        Some(_) | None => Err(Breach::UnknownKey),
    }
}

/// Refusals are counted and recorded later, so the rules cannot be asked again: by then a client
/// may be enabled again, or an entry lifted. What cannot change must be right.
fn check_counted(state: &State, record: &Record) -> Result<(), Breach> {
    let mut right = true;
    if let Event::RefreshRefused(data) = &record.event {
        let foreign = data.reason == RefreshRefusal::WrongClient;
        right = 0 < data.count && is_about_its_grant(state, record, |own| own != foreign);
    }
    if let Event::CodeRefused(data) = &record.event {
        let foreign = data.reason == CodeRefusal::WrongClient;
        right = 0 < data.count && is_about_its_grant(state, record, |own| !(own && foreign));
    }
    if let Event::ClientAuthenticationFailed(data) = &record.event {
        let client = record.about.client.clone();
        let known = client.as_ref().is_some_and(|id| state.client(id).is_some());
        right = 0 < data.count && known && record.about == About { client, ..About::default() };
    }
    if right { Ok(()) } else { Err(Breach::Miscounted) }
}

/// The log's time is what the clock showed, but never before the newest record, nor before an answer
/// that left none.
fn check_step(state: &State, record: &Record, step: &ClockStepped) -> Result<(), Breach> {
    let newest = state.head().map_or(step.to, |head| head.at);
    let of_nobody = record.about == About::default() && record.origin.is_none();
    let right = step.from != step.to
        && newest.max(step.to) <= record.at
        && record.actor == Actor::Ledger
        && of_nobody;
    if right { Ok(()) } else { Err(Breach::Clock) }
}

/// The disk cannot have made anybody wait for longer than since the record before.
fn check_stall(state: &State, record: &Record, stalled: &LedgerStalled) -> Result<(), Breach> {
    let since = state.head().map_or(0, |head| record.at.micros().saturating_sub(head.at.micros()));
    let right = (1..=since / 1000).contains(&stalled.for_ms)
        && record.actor == Actor::Ledger
        && record.about == About::default()
        && record.origin.is_none();
    if right { Ok(()) } else { Err(Breach::Stall) }
}

/// `fits` is asked whether the one who was refused is the grant's own client.
fn is_about_its_grant(state: &State, record: &Record, fits: impl Fn(bool) -> bool) -> bool {
    let Some(grant) = record.about.grant.and_then(|id| state.grant(&id)) else { return false };
    let asking: Option<&ClientId> = match &record.actor {
        Actor::Client(client) => Some(client),
        Actor::Administrator(_) | Actor::Login(_) | Actor::Auditor(_) | Actor::Ledger => None,
    };
    record.about.client.as_ref() == Some(&grant.client)
        && record.about.subject == grant.subject
        && asking.is_some_and(|asking| fits(*asking == grant.client))
}
