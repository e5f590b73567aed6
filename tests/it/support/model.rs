//! What the ledger is to do, told a second time and as plainly as possible: vectors, flags, and
//! an entry of the blacklist strikes each token one by one. Shares no rule with the crate.

mod issue;

use std::collections::BTreeSet;

use token_ledger::domain::command::{BlacklistTarget, Command, TokenRef};
use token_ledger::domain::decide::Granted;
use token_ledger::domain::event::{RefreshRefusal, Target};
use token_ledger::domain::refusal::Refusal;
use token_ledger::types::time::Timestamp;

use crate::support::names::{blacklist_id, client_id, digest, grant_id, owner, subject_id};
use crate::support::policies::{POLICIES, Policy};

pub(crate) const CLIENTS: [&str; 3] = ["photos", "mail", "robot"];
const SUBJECTS: [&str; 3] = ["ann", "bob", "eve"];
const HOSTS: [&str; 2] = ["home", "cafe"];

/// One thing to do; numbers choose among what there is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Grant { client: usize, subject: usize, wide: bool, challenge: bool },
    Redeem { grant: usize, foreign: bool, verifier: bool, widens: bool },
    Refresh { grant: usize, back: u32, forged: bool, foreign: bool, host: usize, widens: bool },
    Credentials { client: usize, fresh: bool },
    RevokeAccess { token: usize, foreign: bool },
    RevokeRefresh { grant: usize, foreign: bool },
    RevokeGrant { grant: usize },
    Ban(Hit),
    Lift { entry: usize },
    Erase { subject: usize },
    Switch { client: usize, enabled: bool },
    Update { client: usize, policy: usize },
    FailAuthentication { client: usize },
}

/// What an entry of the blacklist is to hit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hit {
    Token(usize),
    Grant(usize),
    Subject(usize),
    Client(usize),
    All,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Standing {
    Live,
    Revoked,
    Blacklisted,
}

#[derive(Debug)]
struct Grant {
    name: String,
    client: usize,
    subject: Option<usize>,
    scope: &'static str,
    challenge: bool,
    created_at: Timestamp,
    standing: Standing,
    /// By an entry on its client, or on everything.
    struck: bool,
    struck_by_subject: bool,
    redeemed: bool,
    generation: Option<u32>,
    used_at: Timestamp,
    /// Since when, from which host, and how often from another one.
    window: Option<(Timestamp, usize, u32)>,
    row: u32,
}

#[derive(Debug)]
struct Token {
    name: String,
    grant: usize,
    expires_at: Timestamp,
    /// Revoked or blacklisted by itself: nothing is known of it any more.
    gone: bool,
    /// Dead with something above it.
    struck: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Party {
    known: bool,
    erased: bool,
    disabled: bool,
    entries: u32,
    policy: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Struck {
    Nothing,
    Subject(usize),
    Client(usize),
    All,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    grants: Vec<Grant>,
    tokens: Vec<Token>,
    clients: [Party; 3],
    subjects: [Party; 3],
    everything: u32,
    entries: Vec<(Struck, bool)>,
    named: usize,
}

type Outcome = Result<Granted, Refusal>;

impl Model {
    fn name(&mut self, kind: &str) -> String {
        self.named += 1;
        format!("{kind}{}", self.named)
    }

    fn policy(&self, client: usize) -> &'static Policy {
        &POLICIES[self.clients[client].policy]
    }

    /// The names of all that may be used at `at`.
    pub(crate) fn valid(&self, at: Timestamp) -> BTreeSet<String> {
        let tokens = self.tokens.iter().filter(|token| {
            let grant = &self.grants[token.grant];
            at < token.expires_at
                && !token.gone
                && !token.struck
                && grant.standing == Standing::Live
                && !self.clients[grant.client].disabled
        });
        let mut names: BTreeSet<_> = tokens.map(|token| token.name.clone()).collect();
        for grant in &self.grants {
            if let Some(generation) = grant.generation
                && self.obstacle(at, grant).is_none()
                && self.policy(grant.client).may_refresh
            {
                names.insert(format!("{}.{generation}", grant.name));
            }
        }
        names
    }

    /// What stands against using anything that belongs to `grant` for new tokens.
    fn obstacle(&self, at: Timestamp, grant: &Grant) -> Option<RefreshRefusal> {
        let policy = self.policy(grant.client);
        let idle = policy.idle_s.is_some_and(|s| grant.used_at.plus_seconds(s) <= at);
        let absolute = policy.absolute_s.is_some_and(|s| grant.created_at.plus_seconds(s) <= at);
        match grant.standing {
            Standing::Revoked => return Some(RefreshRefusal::Revoked),
            Standing::Blacklisted => return Some(RefreshRefusal::Blacklisted),
            Standing::Live if idle || absolute => return Some(RefreshRefusal::Expired),
            Standing::Live => {}
        }
        self.obstacle_above(grant)
    }

    fn obstacle_above(&self, grant: &Grant) -> Option<RefreshRefusal> {
        let client = self.clients[grant.client];
        let subject = grant.subject.map(|subject| self.subjects[subject]).unwrap_or_default();
        if client.disabled {
            return Some(RefreshRefusal::ClientDisabled);
        }
        if grant.struck || 0 < client.entries || 0 < self.everything {
            return Some(RefreshRefusal::Blacklisted);
        }
        if subject.erased {
            return Some(RefreshRefusal::Revoked);
        }
        let struck = grant.struck_by_subject || 0 < subject.entries;
        struck.then_some(RefreshRefusal::Blacklisted)
    }

    /// What is asked for by `step`, and what must come of it at `at`. None where it makes no sense.
    pub(crate) fn step(&mut self, at: Timestamp, step: Step) -> Option<(Command, Outcome)> {
        let reason = "why".to_owned();
        Some(match step {
            Step::Grant { client, subject, wide, challenge } => {
                self.create_grant(at, client, subject, wide, challenge)
            }
            Step::Redeem { grant, foreign, verifier, widens } => {
                self.redeem(at, self.pick(grant)?, foreign, verifier, widens)
            }
            Step::Refresh { grant, .. } => self.refresh(at, self.pick(grant)?, step),
            Step::Credentials { client, fresh } => self.credentials(at, client, fresh),
            Step::RevokeAccess { token, foreign } => self.revoke(at, token, foreign)?,
            Step::RevokeRefresh { grant, foreign } => {
                let grant = self.pick(grant)?;
                let owner = self.grants[grant].client;
                let by = if foreign { (owner + 1) % 3 } else { owner };
                let token = TokenRef::OfGrant(grant_id(&self.grants[grant].name));
                let command = Command::RevokeToken { client: client_id(CLIENTS[by]), token };
                if foreign {
                    return Some((command, Err(Refusal::ForeignToken)));
                }
                self.die(grant, Standing::Revoked);
                (command, Ok(Granted::Done))
            }
            Step::RevokeGrant { grant } => {
                let grant = self.pick(grant)?;
                self.die(grant, Standing::Revoked);
                let id = grant_id(&self.grants[grant].name);
                (Command::RevokeGrant { grant: id, reason: None }, Ok(Granted::Done))
            }
            Step::Ban(hit) => self.ban(hit)?,
            Step::Lift { entry } => {
                let entry = entry.checked_rem(self.entries.len())?;
                let command =
                    Command::LiftBlacklist { id: blacklist_id(&entry.to_string()), reason };
                let (struck, lifted) = &mut self.entries[entry];
                if std::mem::replace(lifted, true) {
                    return Some((command, Err(Refusal::UnknownEntry)));
                }
                match *struck {
                    Struck::Nothing => {}
                    Struck::Subject(subject) => self.subjects[subject].entries -= 1,
                    Struck::Client(client) => self.clients[client].entries -= 1,
                    Struck::All => self.everything -= 1,
                }
                (command, Ok(Granted::Done))
            }
            Step::Erase { subject } => {
                let id = subject_id(SUBJECTS[subject]);
                let legal_basis = String::new();
                let command = Command::EraseSubject { subject: id, reason, legal_basis };
                let party = &mut self.subjects[subject];
                if !party.known || party.erased {
                    return Some((command, Err(Refusal::UnknownSubject)));
                }
                party.erased = true;
                self.strike_tokens(|grant| grant.subject == Some(subject));
                (command, Ok(Granted::Done))
            }
            Step::Switch { client, enabled } => {
                self.clients[client].disabled = !enabled;
                let client = client_id(CLIENTS[client]);
                (Command::SwitchClient { client, enabled, reason }, Ok(Granted::Done))
            }
            Step::Update { client, policy } => {
                self.clients[client].policy = policy;
                let metadata = Box::new(POLICIES[policy].metadata());
                let client = client_id(CLIENTS[client]);
                (Command::UpdateClient { client, metadata }, Ok(Granted::Done))
            }
            Step::FailAuthentication { client } => {
                let (client, method) = (client_id(CLIENTS[client]), "none".to_owned());
                (Command::FailAuthentication { client, method }, Ok(Granted::Done))
            }
        })
    }

    fn pick(&self, grant: usize) -> Option<usize> {
        // The newest ones are the interesting ones.
        let newest = self.grants.len().checked_sub(1)?;
        newest.checked_sub(grant)
    }

    fn die(&mut self, grant: usize, standing: Standing) {
        let grant = &mut self.grants[grant];
        if grant.standing == Standing::Live {
            grant.standing = standing;
        }
    }

    fn strike_tokens(&mut self, hits: impl Fn(&Grant) -> bool) {
        for token in &mut self.tokens {
            token.struck |= hits(&self.grants[token.grant]);
        }
    }

    fn ban(&mut self, hit: Hit) -> Option<(Command, Outcome)> {
        let (target, struck) = match hit {
            Hit::Token(token) => {
                let token = token.checked_rem(self.tokens.len())?;
                self.tokens[token].gone = true;
                (Target::Token(digest(&self.tokens[token].name)), Struck::Nothing)
            }
            Hit::Grant(grant) => {
                let grant = self.pick(grant)?;
                self.die(grant, Standing::Blacklisted);
                (Target::Grant(grant_id(&self.grants[grant].name)), Struck::Nothing)
            }
            Hit::Subject(subject) => {
                (Target::Subject(subject_id(SUBJECTS[subject])), Struck::Subject(subject))
            }
            Hit::Client(client) => {
                (Target::Client(client_id(CLIENTS[client])), Struck::Client(client))
            }
            Hit::All => (Target::All, Struck::All),
        };
        let (id, reason) = (blacklist_id(&self.entries.len().to_string()), String::new());
        let target = match struck {
            Struck::Subject(subject) => BlacklistTarget::Owner(owner(SUBJECTS[subject])),
            Struck::Nothing | Struck::Client(_) | Struck::All => BlacklistTarget::Other(target),
        };
        let command = Command::AddBlacklist { id, target, reason };
        match struck {
            Struck::Nothing => {}
            Struck::Subject(subject) => {
                let party = &mut self.subjects[subject];
                if party.erased {
                    return Some((command, Err(Refusal::UnknownSubject)));
                }
                party.known = true;
                party.entries += 1;
            }
            Struck::Client(client) => self.clients[client].entries += 1,
            Struck::All => self.everything += 1,
        }
        let hits = |grant: &Grant| match struck {
            Struck::Nothing => false,
            Struck::Subject(subject) => grant.subject == Some(subject),
            Struck::Client(client) => grant.client == client,
            Struck::All => true,
        };
        self.strike_tokens(hits);
        for grant in &mut self.grants {
            match struck {
                Struck::Nothing => {}
                Struck::Subject(_) => grant.struck_by_subject |= hits(grant),
                Struck::Client(_) | Struck::All => grant.struck |= hits(grant),
            }
        }
        self.entries.push((struck, false));
        Some((command, Ok(Granted::Done)))
    }
}
