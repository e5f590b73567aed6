//! A ledger with many grants in memory, and the commands that refresh them, in the shape in which
//! the edge hands them over.

use std::sync::Arc;

use parking_lot::RwLock;
use token_ledger::clock::ManualClock;
use token_ledger::crypto::seal::{Sealed, SubjectKey, seal};
use token_ledger::domain::client::{AccessTokenFormat, ClientMetadata, GrantType};
use token_ledger::domain::command::{Asked, Command, Draft, Owner, Refresh};
use token_ledger::domain::record::{Actor, Origin};
use token_ledger::domain::state::State;
use token_ledger::entropy::SeededEntropy;
use token_ledger::ledger::tree::Tree;
use token_ledger::ledger::writer::Writer;
use token_ledger::log::memory::MemoryStore;
use token_ledger::log::side_table::MemoryTable;
use token_ledger::log::store::Store;
use token_ledger::types::digest::Digest;
use token_ledger::types::id::{ClientId, GrantId, KeyId, OriginTag, RequestId, SubjectId};
use token_ledger::types::resource::Resources;
use token_ledger::types::scope::Scope;
use token_ledger::types::time::Timestamp;

pub const START_S: u64 = 1_790_000_000;
/// As many commands as 64 connections bring together for one sync.
pub const BATCH: usize = 32;

/// A writer over a store, with grants that can be refreshed.
pub struct Book {
    pub state: Arc<RwLock<State>>,
    pub writer: Writer,
    grants: Vec<GrantId>,
    generation: u32,
    asked: u64,
    origin: Sealed,
}

fn hash<const N: usize>(kind: &str, number: u64, generation: u32) -> [u8; N] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(kind.as_bytes()).update(&number.to_le_bytes()).update(&generation.to_le_bytes());
    let mut bytes = [0; N];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

fn client() -> ClientId {
    "c_9aB8cD7eF6gH5iJ4kL3mN2".parse().unwrap()
}

fn resources() -> Resources {
    Resources::new(vec!["https://photos.example".parse().unwrap()]).unwrap()
}

fn scope() -> Scope {
    "photos.read photos.write".parse().unwrap()
}

pub fn access_digest(grant: u64, generation: u32) -> Digest {
    Digest::from_bytes(hash("access", grant, generation))
}

fn refresh_digest(grant: u64, generation: u32) -> Digest {
    Digest::from_bytes(hash("refresh", grant, generation))
}

fn draft(grant: u64, generation: u32) -> Box<Draft> {
    let key: KeyId = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k".parse().unwrap();
    Box::new(Draft {
        digest: access_digest(grant, generation),
        jti: Some("BwcHBwcHBwcHBwcHBwcHB0mZrWPmyd0V".to_owned()),
        format: AccessTokenFormat::Jwt,
        key: Some(key),
        scope: scope(),
        audience: resources(),
        expires_at: Timestamp::from_seconds(START_S + 3600),
    })
}

impl Book {
    /// A ledger of `grants` grants over `store`, each of a person of its own.
    pub fn new(store: Arc<dyn Store>, grants: u64) -> Self {
        let tree = Arc::new(Tree::empty(Arc::clone(&store), Arc::new(MemoryTable::default())));
        let state = Arc::new(RwLock::new(State::default()));
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(START_S)));
        let writer = Writer::new(store, tree, Arc::clone(&state), clock, 1024);
        let key = SubjectKey::from_bytes(&[7; 32]);
        let origin = br#"{"address":"192.0.2.44","user_agent":"photos/4.2 (linux)"}"#;
        let origin = seal(&key, b"origin", origin, &SeededEntropy::new(1)).unwrap();
        let ids = (0..grants).map(|i| GrantId::from_bytes(hash("grant", i, 0))).collect();
        let mut book = Self { state, writer, grants: ids, generation: 0, asked: 0, origin };
        book.begin();
        book
    }

    fn begin(&mut self) {
        let (version, issuer, origin) = ("0".to_owned(), "https://as.example".to_owned(), "as");
        let create = Command::CreateLedger { version, issuer, origin: origin.to_owned() };
        let metadata = ClientMetadata {
            grant_types: [GrantType::AuthorizationCode, GrantType::RefreshToken].into(),
            scope: scope(),
            resources: resources(),
            ..ClientMetadata::default()
        };
        let (client, metadata) = (client(), Box::new(metadata));
        let register = Command::RegisterClient { client, metadata, secret: None };
        let first = [create, register].map(|command| self.asked(command));
        self.commit(&first);
        let made = (0..self.grants.len() as u64).flat_map(|i| [self.create(i), self.redeem(i)]);
        let made: Vec<Command> = made.collect();
        let made: Vec<Asked> = made.into_iter().map(|command| self.asked(command)).collect();
        for batch in made.chunks(BATCH) {
            self.commit(batch);
        }
    }

    fn create(&self, i: u64) -> Command {
        let subject = SubjectId::from_bytes(hash("subject", i, 0));
        Command::CreateGrant {
            grant: self.grants[i as usize],
            client: client(),
            owner: Owner { subject, sub: self.origin.clone() },
            scope: scope(),
            resources: resources(),
            code: Digest::from_bytes(hash("code", i, 0)),
            code_lifetime_s: 60,
            redirect_uri: None,
            challenge: None,
        }
    }

    fn redeem(&self, i: u64) -> Command {
        Command::RedeemCode {
            grant: self.grants[i as usize],
            client: client(),
            code: Digest::from_bytes(hash("code", i, 0)),
            challenge: None,
            redirect_uri: None,
            refresh: refresh_digest(i, 0),
            access: Ok(draft(i, 0)),
        }
    }

    fn asked(&mut self, command: Command) -> Asked {
        self.asked += 1;
        let request = RequestId::from_bytes(self.asked.to_be_bytes());
        let origin = Some(Origin::Sealed(self.origin.clone()));
        Asked { request, actor: Actor::Client(client()), origin, command }
    }

    /// One refresh of every grant, each time of the next generation.
    pub fn refreshes(&mut self) -> Vec<Asked> {
        let generation = self.generation;
        self.generation += 1;
        let refresh = |(i, grant): (u64, &GrantId)| {
            Command::Refresh(Refresh {
                grant: *grant,
                generation,
                digest: refresh_digest(i, generation),
                successor: refresh_digest(i, generation + 1),
                client: client(),
                tag: Some(OriginTag::from_bytes([3; 8])),
                access: Ok(draft(i, generation + 1)),
            })
        };
        let commands: Vec<Command> = (0..).zip(&self.grants).map(refresh).collect();
        commands.into_iter().map(|command| self.asked(command)).collect()
    }

    /// One batch, all of which must be granted.
    pub fn commit(&mut self, batch: &[Asked]) {
        let answers = self.writer.commit(batch.iter()).unwrap();
        for answer in answers {
            assert!(answer.outcome.is_ok(), "{answer:?}");
        }
    }
}

/// A log of `grants` grants with a refresh each.
pub fn log_of(grants: u64) -> (Arc<MemoryStore>, Book) {
    let store = Arc::new(MemoryStore::new());
    let mut book = Book::new(Arc::clone(&store) as Arc<dyn Store>, grants);
    let refreshes = book.refreshes();
    for batch in refreshes.chunks(BATCH) {
        book.commit(batch);
    }
    (store, book)
}
