//! The HTTP layer over a store that fails or waits when told to: what no disk does on request.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::web::Data;
use parking_lot::{Condvar, Mutex, RwLock};
use token_ledger::clock::{Clock, SystemClock};
use token_ledger::crypto::assertion::AudienceRule;
use token_ledger::crypto::digest;
use token_ledger::crypto::keys::KeyFile;
use token_ledger::crypto::note_signer::NoteSigner;
use token_ledger::domain::client::{AccessTokenFormat, ClientMetadata, GrantType};
use token_ledger::domain::command::{Asked, Command};
use token_ledger::domain::record::Actor;
use token_ledger::domain::state::State;
use token_ledger::edge::assertion::AssertionLimits;
use token_ledger::edge::client_keys::{ClientKeyLimits, ClientKeys};
use token_ledger::edge::keyring::Keyring;
use token_ledger::edge::throttle::{Throttle, ThrottleLimits};
use token_ledger::edge::{Edge, EdgeLimits};
use token_ledger::entropy::{Entropy, OsEntropy, bytes};
use token_ledger::http::app::App;
use token_ledger::http::cors::Origins;
use token_ledger::http::forwarded::{ForwardedHeader, Proxies};
use token_ledger::http::server::{ServerLimits, listen};
use token_ledger::ledger::checkpoints::Checkpoints;
use token_ledger::ledger::handle::{Ledger, Limits};
use token_ledger::ledger::notary::{Heartbeat, Notary};
use token_ledger::ledger::tree::Tree;
use token_ledger::ledger::vault::Vault;
use token_ledger::ledger::vault_files::MemoryRows;
use token_ledger::ledger::writer::Writer;
use token_ledger::log::block::Block;
use token_ledger::log::fence::MemoryFence;
use token_ledger::log::memory::MemoryStore;
use token_ledger::log::side_table::MemoryTable;
use token_ledger::log::store::{Store, StoreError};
use token_ledger::types::id::{RequestId, Seq};
use zeroize::Zeroizing;

use crate::support::wire::{Answer, Call, Wire};

/// A store whose appends wait while the gate is shut.
#[derive(Default)]
pub(crate) struct Gate {
    inner: MemoryStore,
    shut: Mutex<bool>,
    waits: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(crate) fn store(&self) -> &MemoryStore {
        &self.inner
    }

    pub(crate) fn shut(&self) {
        *self.shut.lock() = true;
    }

    pub(crate) fn open(&self) {
        *self.shut.lock() = false;
        self.opened.notify_all();
    }

    /// Whether an append waits at the gate.
    pub(crate) fn has_waiting(&self) -> bool {
        *self.waits.lock()
    }
}

impl Store for Gate {
    fn append(&self, first: Seq, records: &[Vec<u8>]) -> Result<(), StoreError> {
        let mut shut = self.shut.lock();
        while *shut {
            *self.waits.lock() = true;
            self.opened.wait(&mut shut);
        }
        *self.waits.lock() = false;
        drop(shut);
        self.inner.append(first, records)
    }

    fn block(&self, seq: Seq) -> Result<Option<Block>, StoreError> {
        self.inner.block(seq)
    }

    fn end(&self) -> Result<Seq, StoreError> {
        self.inner.end()
    }
}

/// A service over a [`Gate`], with one client `job` whose secret is `secret`.
pub(crate) struct Frail {
    pub(crate) gate: Arc<Gate>,
    pub(crate) ledger: Ledger,
    pub(crate) wire: Wire,
    public: std::net::SocketAddr,
}

impl Frail {
    pub(crate) fn start(queue_commands_max: usize) -> Self {
        let gate = Arc::new(Gate::default());
        let store: Arc<dyn Store> = gate.clone();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let keys = KeyFile::generate(&OsEntropy).unwrap();
        let tiles = Arc::new(MemoryTable::default());
        let tree = Arc::new(Tree::empty(Arc::clone(&store), tiles));
        let state = founded(&store, &tree, &clock, &keys);
        let limits = Limits {
            queue_commands_max,
            batch_commands_max: 1,
            coalesce_keys_max: 64,
            clock_step_warn_ms: 5000,
            submit_timeout_ms: 20_000,
            snapshot_every_records: 0,
        };
        let ledger = Ledger::start(store, tree, state, clock, limits).unwrap();
        let edge = edge(ledger.clone(), keys);
        let header = ForwardedHeader::XForwardedFor;
        let app = App {
            edge,
            witnesses: Vec::new(),
            proxies: Proxies { trusted: "".parse().unwrap(), header },
            origins: Origins::default(),
            public_log: false,
            publish_entries: false,
            body_bytes_max: 16_384,
            body_timeout_ms: 5000,
        };
        let limits = ServerLimits {
            workers: 1,
            connections_max: 100,
            admin_connections_max: 100,
            backlog_connections_max: 100,
            client_request_timeout_ms: 5000,
            unread_answer_timeout_ms: 20_000,
            keep_alive_s: 5,
            shutdown_timeout_s: 1,
        };
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        let listening = listen(&Data::new(app), [bind(), bind()], [None, None], limits).unwrap();
        let public = listening.public;
        actix_web::rt::spawn(listening.serve());
        Self { gate, ledger, wire: Wire::new("127.0.0.1", "frail/1"), public }
    }

    /// A form endpoint, asked by `job`.
    pub(crate) async fn ask(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let call = Call::new("POST", format!("http://{}/oauth/{path}", self.public));
        self.wire.send(call.form(form).basic("job", "secret")).await
    }

    pub(crate) async fn token(&self) -> Answer {
        self.ask("token", &[("grant_type", "client_credentials")]).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.wire.send(Call::new("GET", format!("http://{}{path}", self.public))).await
    }
}

fn founded(
    store: &Arc<dyn Store>,
    tree: &Arc<Tree>,
    clock: &Arc<dyn Clock>,
    keys: &KeyFile,
) -> State {
    let state = Arc::new(RwLock::new(State::default()));
    let (store, tree, clock) = (Arc::clone(store), Arc::clone(tree), Arc::clone(clock));
    let mut writer = Writer::new(store, tree, Arc::clone(&state), clock, 1);
    let (issuer, signer) = ("https://ledger.example".to_owned(), keys.current_signing_key());
    let metadata = ClientMetadata {
        grant_types: [GrantType::ClientCredentials].into(),
        access_token_format: AccessTokenFormat::Opaque,
        ..ClientMetadata::default()
    };
    for command in [
        Command::CreateLedger { version: "t".to_owned(), issuer, origin: "t".to_owned() },
        Command::AddKey {
            kid: signer.kid().clone(),
            purpose: "access_token".to_owned(),
            alg: signer.algorithm().as_str().to_owned(),
            public: serde_json::to_value(signer.public_jwk()).unwrap(),
        },
        Command::RegisterClient {
            client: "job".parse().unwrap(),
            metadata: Box::new(metadata),
            secret: Some(digest::client_secret("secret")),
        },
    ] {
        let request = RequestId::from_bytes(bytes(&OsEntropy));
        let asked = Asked { request, actor: Actor::Ledger, origin: None, command };
        assert!(writer.commit(std::iter::once(&asked)).unwrap()[0].outcome.is_ok());
    }
    drop(writer);
    Arc::try_unwrap(state).unwrap().into_inner()
}

fn edge(ledger: Ledger, keys: KeyFile) -> Arc<Edge> {
    let rows = Box::new(MemoryRows::default());
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let client_keys =
        ClientKeyLimits { max_age_s: 300, refetch_min_s: 10, timeout_ms: 1000, clients_max: 8 };
    let throttle =
        ThrottleLimits { per_address_minute_max: 1000, per_client_minute_max: 1000, keys_max: 64 };
    let notary = Notary::open(
        Arc::clone(ledger.tree()),
        "ledger.example".parse().unwrap(),
        Checkpoints::new(Arc::new(MemoryTable::default())),
        Box::new(MemoryFence::default()),
        Heartbeat { heartbeat_s: 600 },
        vec![NoteSigner::new("ledger.example".parse().unwrap(), keys.checkpoint_seed())],
    )
    .unwrap();
    Arc::new(Edge {
        ledger,
        vault: Arc::new(Vault::new(rows, Zeroizing::new(*keys.vault_key()))),
        keyring: Keyring::new(keys),
        issuer: "https://ledger.example".parse().unwrap(),
        own_resource: "https://ledger.example".parse().unwrap(),
        entropy,
        client_keys: ClientKeys::new(client_keys).unwrap(),
        assertion_limits: AssertionLimits {
            audience: AudienceRule::Rfc7523,
            lifetime_s_max: 300,
            leeway_s: 10,
            kept_max: 10,
        },
        throttle: Throttle::new(throttle, Arc::new(SystemClock)),
        keys_file: None,
        copies: token_ledger::edge::back_up::CopyPlaces::default(),
        changing: tokio::sync::Mutex::default(),
        notary: Arc::new(notary),
        readers: Mutex::default(),
        scans: tokio::sync::Semaphore::new(1),
        limits: EdgeLimits {
            code_lifetime_s: 60,
            page_grants_max: 10,
            page_records_max: 10,
            trail_records_max: 10,
            scan_wait_ms: 1000,
            key_published_before_use_s: 600,
            checkpoint_key_overlap_s: 600,
            key_rotation_s: 0,
        },
    })
}
