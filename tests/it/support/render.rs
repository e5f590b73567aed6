//! Outcomes and records as short text, with the names that a story uses.

use std::collections::BTreeMap;

use token_ledger::domain::command::Command;
use token_ledger::domain::decide::Granted;
use token_ledger::domain::event::{Event, Target};
use token_ledger::domain::grant::Refreshed;
use token_ledger::domain::record::Record;
use token_ledger::domain::refusal::Refusal;
use token_ledger::types::digest::{Digest, ShortDigest};
use token_ledger::types::id::{GrantId, OriginTag};
use token_ledger::types::time::Timestamp;

use crate::support::names::{blacklist_id, digest, grant_id, refresh_digest, subject_id, tag};
use crate::support::world::EPOCH_S;

/// The tokens that an answer to `command` shows: the access token, and the refresh token.
pub(crate) fn subject_of(command: &Command, words: &[&str]) -> (String, String, String) {
    let word = |i: usize| words.get(i).copied().unwrap_or_default().to_owned();
    if let Command::Refresh(asked) = command {
        let (grant, _) = words[1].split_once('.').expect("grant.generation");
        return (word(2), format!("{grant}.{}", asked.generation + 1), word(1));
    }
    if matches!(command, Command::RedeemCode { .. }) {
        return (word(2), format!("{}.0", word(1)), String::new());
    }
    (word(3), String::new(), String::new())
}

pub(crate) fn outcome(
    outcome: Result<Granted, Refusal>,
    (access, refresh, same): &(String, String, String),
) -> String {
    match outcome {
        Ok(Granted::Done) => "done".to_owned(),
        Ok(Granted::Issued { refresh_token: true }) => format!("issued {access} with {refresh}"),
        Ok(Granted::Issued { refresh_token: false }) => format!("issued {access}"),
        Ok(Granted::Refreshed(Refreshed::Successor)) => format!("issued {access} with {refresh}"),
        Ok(Granted::Refreshed(Refreshed::Same)) => format!("issued {access}, keep {same}"),
        Err(refusal) => format!("refused: {refusal:?}"),
    }
}

/// From what stands in records back to the names of the story.
pub(crate) struct Names {
    digests: BTreeMap<Digest, String>,
    words: BTreeMap<String, String>,
    grants: Vec<String>,
}

impl Names {
    pub(crate) fn new(words: &[String]) -> Self {
        let mut names =
            Self { digests: BTreeMap::new(), words: BTreeMap::new(), grants: Vec::new() };
        for word in words {
            let numbered = (1..=64).map(|i| format!("{word}#{i}"));
            for name in std::iter::once(word.clone()).chain(numbered) {
                names.digests.insert(digest(&name), name.clone());
                names.words.insert(grant_id(&name).to_string(), name);
            }
            names.words.insert(subject_id(word).to_string(), word.clone());
            names.words.insert(blacklist_id(word).to_string(), word.clone());
            names.words.insert(tag(word).to_string(), word.clone());
            names.grants.push(word.clone());
        }
        names.words.insert(tag("home").to_string(), "home".to_owned());
        names
    }

    fn of(&self, id: &impl ToString) -> String {
        let id = id.to_string();
        self.words.get(&id).unwrap_or(&id).clone()
    }

    pub(crate) fn grant(&self, id: &GrantId) -> String {
        self.of(id)
    }

    pub(crate) fn short(&self, short: &ShortDigest) -> String {
        let found = self.digests.iter().find(|(digest, _)| digest.short() == *short);
        found.map_or_else(|| format!("{short:?}"), |(_, name)| name.clone())
    }

    fn digest(&self, digest: &Digest) -> String {
        self.digests.get(digest).unwrap_or(&digest.to_string()).clone()
    }

    /// The refresh token of a generation, which is named only if it is the derived one.
    fn refresh(&self, record: &Record, generation: u32, digest: &Digest) -> String {
        let grant = record.about.grant.map(|grant| self.of(&grant)).unwrap_or_default();
        match *digest == refresh_digest(&grant, generation, "") {
            true => format!("{grant}.{generation}"),
            false => self.digest(digest),
        }
    }

    fn from(&self, tag: Option<&OriginTag>) -> String {
        tag.map_or("from nowhere".to_owned(), |tag| format!("from {}", self.of(tag)))
    }

    pub(crate) fn record(&self, record: &Record) -> String {
        let about = &record.about;
        let mut text = format!("+ {} {}", record.seq, record.event.kind());
        text.extend(about.client.iter().map(|client| format!(" {client}")));
        text.extend(about.subject.iter().map(|subject| format!(" {}", self.of(subject))));
        text.extend(about.grant.iter().map(|grant| format!(" {}", self.of(grant))));
        let data = self.data(record);
        if !data.is_empty() {
            text.push_str(&format!(": {data}"));
        }
        let asking =
            record.actor.client().filter(|id| record.actor.to_string() == format!("client:{id}"));
        if let Some(asking) = asking.filter(|id| about.client.as_ref() != Some(id)) {
            text.push_str(&format!(" (asked by {asking})"));
        }
        text
    }

    fn data(&self, record: &Record) -> String {
        let until = |at: &Option<Timestamp>| at.map_or("for ever".to_owned(), seconds);
        match &record.event {
            Event::LedgerCreated(data) => data.issuer.clone(),
            Event::LedgerOpened(data) => format!("{} records, clean={}", data.records, data.clean),
            Event::ClientSecretRotated(data) => {
                let until = seconds(data.previous_expires_at);
                format!("{}, the one before {until}", self.digest(&data.secret))
            }
            Event::GrantCreated(data) => {
                let how = format!("{:?} {:?}", data.how, data.scope);
                match &data.code {
                    Some(code) => format!("{how}, code {}", seconds(code.expires_at)),
                    None => how,
                }
            }
            Event::CodeRefused(data) => format!("{:?}, count {}", data.reason, data.count),
            Event::AccessTokenIssued(data) => {
                let generation = data.generation.map_or(String::new(), |g| format!(" by {g}"));
                let audience: Vec<_> = data.audience.iter().map(ToString::to_string).collect();
                let (name, until) = (self.digest(&data.digest), seconds(data.expires_at));
                format!("{name}{generation} {:?} {audience:?} {until}", data.scope)
            }
            Event::RefreshTokenIssued(data) => {
                let token = self.refresh(record, data.generation, &data.digest);
                format!("{token} {}", until(&data.expires_at))
            }
            Event::RefreshTokenUsed(data) => {
                let from = self.from(data.tag.as_ref());
                format!("{} {from} {}", data.generation, until(&data.expires_at))
            }
            Event::RefreshTokenRotated(data) => {
                let token = self.refresh(record, data.to, &data.digest);
                let from = self.from(data.tag.as_ref());
                format!("{} -> {token} {from} {}", data.from, until(&data.expires_at))
            }
            Event::RefreshTokenRetried(data) => {
                let other = if data.other_origin { " (another origin)" } else { "" };
                let from = self.from(data.tag.as_ref());
                format!("{} for the {}. time {from}{other}", data.generation, data.count)
            }
            Event::RefreshTokenReused(data) => {
                let from = self.from(data.tag.as_ref());
                format!("{} when at {}, {:?} {from}", data.generation, data.current, data.how)
            }
            Event::RefreshRefused(data) => {
                format!("{:?}, generation {}, count {}", data.reason, data.generation, data.count)
            }
            Event::AccessTokenRevoked(data) => {
                format!("{} {:?}", self.digest(&data.digest), data.cause)
            }
            Event::GrantRevoked(data) => format!("{:?}", data.cause),
            Event::BlacklistAdded(data) => {
                let mark = data.watermark.map_or(String::new(), |seq| format!(" up to {seq}"));
                let whole = if data.whole_grant { " and its grant" } else { "" };
                format!("{} {}{whole}{mark}", self.of(&data.id), self.target(&data.target))
            }
            Event::BlacklistLifted(data) => self.of(&data.id),
            Event::ClientAuthenticationFailed(data) => format!("count {}", data.count),
            Event::ClientAssertionUsed(data) => {
                format!("{} {}", self.digest(&data.digest), seconds(data.expires_at))
            }
            Event::KeyAdded(data) => data.kid.to_string(),
            Event::KeyRetired(data) => data.kid.to_string(),
            Event::AuditRead(data) => data.what.clone(),
            Event::ClockStepped(data) => {
                format!("from {} to {}", second(data.from), second(data.to))
            }
            Event::LedgerStalled(data) => format!("for {} ms", data.for_ms),
            Event::LedgerClosed(_)
            | Event::ClientRegistered(_)
            | Event::ClientUpdated(_)
            | Event::ClientDisabled(_)
            | Event::ClientEnabled(_)
            | Event::SubjectRegistered(_)
            | Event::SubjectErased(_)
            | Event::CodeRedeemed(_)
            | Event::CodeReplayed(_) => String::new(),
        }
    }

    fn target(&self, target: &Target) -> String {
        match target {
            Target::Token(digest) => format!("token {}", self.digest(digest)),
            Target::Grant(id) => format!("grant {}", self.of(id)),
            Target::Subject(id) => format!("subject {}", self.of(id)),
            Target::Client(id) => format!("client {id}"),
            Target::Key(id) => format!("key {id}"),
            Target::All => "all".to_owned(),
        }
    }
}

fn seconds(at: Timestamp) -> String {
    format!("until {}", second(at))
}

/// An instant in the seconds of the story.
fn second(at: Timestamp) -> String {
    let micros = i128::from(at.micros()) - i128::from(EPOCH_S) * 1_000_000;
    match micros % 1_000_000 {
        0 => format!("{}", micros / 1_000_000),
        _ => format!("{}.{:06}", micros / 1_000_000, (micros % 1_000_000).abs()),
    }
}
