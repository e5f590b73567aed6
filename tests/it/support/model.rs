//! What the ledger is to do, told a second time and as plainly as possible: vectors, flags, and
//! an entry of the blacklist strikes each token one by one. Shares no rule with the crate.

mod issue;

use std::collections::{BTreeMap, BTreeSet};

use token_ledger::domain::command::{BlacklistTarget, Command, TokenRef};
use token_ledger::domain::decide::Granted;
use token_ledger::domain::event::{RefreshRefusal, Target};
use token_ledger::domain::refusal::Refusal;
use token_ledger::domain::state::State;
use token_ledger::types::digest::ShortDigest;
use token_ledger::types::id::GrantId;
use token_ledger::types::time::Timestamp;

use crate::support::names::{blacklist_id, client_id, digest, grant_id, key_id, owner, subject_id};
use crate::support::policies::{POLICIES, Policy};
use crate::support::world::add_key;

pub(crate) const CLIENTS: [&str; 3] = ["photos", "mail", "robot"];
pub(crate) const SUBJECTS: [&str; 6] = ["ann", "bob", "eve", "joe", "kim", "lea"];
const HOSTS: [&str; 2] = ["home", "cafe"];

/// One thing to do; numbers choose among what there is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Grant {
        client: usize,
        subject: usize,
        wide: bool,
        challenge: bool,
    },
    Redeem {
        grant: usize,
        foreign: bool,
        verifier: bool,
        widens: bool,
    },
    /// `back` is 0 for the current token, 1 for the one before, and so on; -1 was never issued.
    Refresh {
        grant: usize,
        back: i32,
        forged: bool,
        foreign: bool,
        host: usize,
        widens: bool,
    },
    Credentials {
        client: usize,
        fresh: bool,
    },
    RevokeAccess {
        token: usize,
        foreign: bool,
    },
    RevokeRefresh {
        grant: usize,
        foreign: bool,
    },
    RevokeGrant {
        grant: usize,
    },
    Ban(Hit),
    Lift {
        entry: usize,
    },
    Erase {
        subject: usize,
    },
    Switch {
        client: usize,
        enabled: bool,
    },
    Update {
        client: usize,
        policy: usize,
    },
    FailAuthentication {
        client: usize,
    },
    AddKey,
    RetireKey {
        key: usize,
    },
}

/// What an entry of the blacklist is to hit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hit {
    Token(usize),
    Grant(usize),
    Subject(usize),
    Client(usize),
    /// The newest key and those before it.
    Key(usize),
    All,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Standing {
    Live,
    Revoked,
    Blacklisted,
}

#[derive(Debug, Clone)]
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

#[derive(Debug, Clone)]
struct Token {
    name: String,
    grant: usize,
    key: usize,
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
    Key(usize),
    All,
}

/// A signing key: how many entries are in force on it, and whether it is retired.
#[derive(Debug, Default, Clone, Copy)]
struct Key {
    /// Whether it was ever on the blacklist.
    burnt: bool,
    retired: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Model {
    grants: Vec<Grant>,
    tokens: Vec<Token>,
    clients: [Party; CLIENTS.len()],
    subjects: [Party; SUBJECTS.len()],
    /// The newest one signs.
    keys: Vec<Key>,
    everything: u32,
    entries: Vec<(Struck, bool)>,
    named: usize,
    /// When nobody could be answered: the time of the record that says so, and how long.
    pauses: Vec<(Timestamp, u64)>,
}

type Outcome = Result<Granted, Refusal>;

impl Default for Model {
    /// Nothing but the three clients and the key `k1`.
    fn default() -> Self {
        Self {
            grants: Vec::new(),
            tokens: Vec::new(),
            clients: Default::default(),
            subjects: Default::default(),
            keys: vec![Key::default()],
            everything: 0,
            entries: Vec::new(),
            named: 0,
            pauses: Vec::new(),
        }
    }
}

/// All names that the model can give, to read a projection in its words.
#[derive(Default)]
pub(crate) struct Names {
    tokens: BTreeMap<ShortDigest, String>,
    grants: BTreeMap<GrantId, String>,
    known: usize,
}

impl Names {
    /// Makes the first `count` names known.
    pub(crate) fn up_to(mut self, count: usize) -> Self {
        for i in self.known..=count {
            self.tokens.insert(digest(&format!("t{i}")).short(), format!("t{i}"));
            for kind in ["g", "c"] {
                self.grants.insert(grant_id(&format!("{kind}{i}")), format!("{kind}{i}"));
            }
        }
        self.known = self.known.max(count + 1);
        self
    }

    /// What a projection says may be used at `at`.
    pub(crate) fn valid(&self, state: &State, at: Timestamp) -> BTreeSet<String> {
        let tokens = state.tokens().filter(|token| state.is_active(token, at));
        let mut valid: BTreeSet<_> =
            tokens.map(|token| self.tokens[&token.digest].clone()).collect();
        for grant in state.grants().filter(|grant| state.is_refreshable(grant, at)) {
            let generation = grant.refresh_token().unwrap().generation;
            valid.insert(format!("{}.{generation}", self.grants[&grant.id]));
        }
        valid
    }
}

impl Model {
    /// Nobody could be answered for so many microseconds before `end`.
    pub(crate) fn pause(&mut self, end: Timestamp, micros: u64) {
        self.pauses.push((end, micros));
    }

    /// What was told of at this instant.
    pub(crate) fn paused_at(&self, at: Timestamp) -> u64 {
        self.pauses.iter().filter(|(end, _)| *end == at).map(|(_, micros)| micros).sum()
    }

    /// How long nobody could be answered since `from`.
    fn paused(&self, from: Timestamp) -> u64 {
        let newest = self.pauses.iter().rev();
        newest.filter(|(end, _)| from < *end).map(|(_, micros)| micros).sum()
    }

    /// How many names were given.
    pub(crate) fn named(&self) -> usize {
        self.named
    }

    /// How many grants, access tokens, entries of the blacklist and keys there ever were.
    pub(crate) fn counts(&self) -> [usize; 4] {
        [self.grants.len(), self.tokens.len(), self.entries.len(), self.keys.len()]
    }

    /// The name of a grant, and the generation of its live refresh token.
    pub(crate) fn grant(&self, grant: usize) -> (&str, Option<u32>) {
        (&self.grants[grant].name, self.grants[grant].generation)
    }

    /// The name of an access token.
    pub(crate) fn token(&self, token: usize) -> &str {
        &self.tokens[token].name
    }

    /// What a `step` about the grant with this number calls it.
    pub(crate) fn nth(&self, grant: usize) -> usize {
        self.grants.len() - 1 - grant
    }

    /// Whether what the newest key signs would be dead at birth.
    fn signs_in_vain(&self) -> bool {
        self.keys.last().is_some_and(|key| key.burnt)
    }

    fn key(&self, nth_newest: usize) -> usize {
        self.keys.len() - 1 - nth_newest % self.keys.len()
    }

    fn key_name(key: usize) -> String {
        format!("k{}", key + 1)
    }

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
                    Struck::Key(_) => {}
                    Struck::All => self.everything -= 1,
                }
                (command, Ok(Granted::Done))
            }
            Step::Erase { subject } => {
                let (owner, legal_basis) = (owner(SUBJECTS[subject]), String::new());
                let command = Command::EraseSubject { owner, reason, legal_basis };
                let party = &mut self.subjects[subject];
                if party.erased {
                    return Some((command, Err(Refusal::UnknownSubject)));
                }
                (party.known, party.erased) = (true, true);
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
            Step::AddKey => {
                self.keys.push(Key::default());
                (add_key(&Self::key_name(self.keys.len() - 1)), Ok(Granted::Done))
            }
            Step::RetireKey { key } => {
                let key = self.key(key);
                let command = Command::RetireKey { kid: key_id(&Self::key_name(key)) };
                let was_retired = std::mem::replace(&mut self.keys[key].retired, true);
                let unknown = was_retired.then_some(Err(Refusal::UnknownKey));
                (command, unknown.unwrap_or(Ok(Granted::Done)))
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
            Hit::Key(key) => {
                let key = self.key(key);
                (Target::Key(key_id(&Self::key_name(key))), Struck::Key(key))
            }
            Hit::All => (Target::All, Struck::All),
        };
        let (id, reason) = (blacklist_id(&self.entries.len().to_string()), String::new());
        let target = match struck {
            Struck::Subject(subject) => BlacklistTarget::Owner(owner(SUBJECTS[subject])),
            Struck::Nothing | Struck::Client(_) | Struck::Key(_) | Struck::All => {
                BlacklistTarget::Other(target)
            }
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
            Struck::Key(key) => {
                self.keys[key].burnt = true;
                self.tokens.iter_mut().for_each(|token| token.struck |= token.key == key);
            }
            Struck::All => self.everything += 1,
        }
        let hits = |grant: &Grant| match struck {
            Struck::Nothing | Struck::Key(_) => false,
            Struck::Subject(subject) => grant.subject == Some(subject),
            Struck::Client(client) => grant.client == client,
            Struck::All => true,
        };
        self.strike_tokens(hits);
        for grant in &mut self.grants {
            match struck {
                Struck::Nothing | Struck::Key(_) => {}
                Struck::Subject(_) => grant.struck_by_subject |= hits(grant),
                Struck::Client(_) | Struck::All => grant.struck |= hits(grant),
            }
        }
        self.entries.push((struck, false));
        Some((command, Ok(Granted::Done)))
    }
}
