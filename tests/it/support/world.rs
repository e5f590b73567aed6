//! A ledger in memory on one thread, with a clock that moves when told to: the same commands
//! always give the same bytes. After every step `check` looks at everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::RwLock;
use token_ledger::clock::{Clock, ManualClock};
use token_ledger::domain::client::{ClientMetadata, GrantType};
use token_ledger::domain::command::{Asked, Command};
use token_ledger::domain::grant::Grant;
use token_ledger::domain::record::{Actor, Origin, Record};
use token_ledger::domain::state::State;
use token_ledger::evidence::verifier::{End, Fault, Verifier, read};
use token_ledger::ledger::replay::{LogError, replay, replay_onto};
use token_ledger::ledger::tree::Tree;
use token_ledger::ledger::writer::{Answer, Writer};
use token_ledger::log::leaf::leaf_hash;
use token_ledger::log::memory::MemoryStore;
use token_ledger::log::side_table::MemoryTable;
use token_ledger::log::store::{Store, records_from};
use token_ledger::types::id::{RequestId, Seq};
use token_ledger::types::time::Timestamp;

use crate::merkle::mth;
use crate::support::auditor::Auditor;
use crate::support::names::{client_id, digest, key_id, scope, sealed};

/// The story time 0, so that a clock may also step back.
pub(crate) const EPOCH_S: u64 = 1_000_000;
const COALESCE_KEYS_MAX: usize = 64;
pub(crate) const CLOCK_STEP_MS: u64 = 5000;

pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) tree: Arc<Tree>,
    pub(crate) state: Arc<RwLock<State>>,
    pub(crate) clock: Arc<ManualClock>,
    writer: Writer,
    asked: u64,
}

impl World {
    /// A ledger without any record.
    pub(crate) fn empty() -> Self {
        Self::over(MemoryStore::new(), Timestamp::from_seconds(EPOCH_S), 0)
    }

    /// A ledger with its first record, the signing key `k1` and the administrator `root`.
    pub(crate) fn new() -> Self {
        let mut world = Self::empty();
        world.ask(Command::CreateLedger {
            version: "0".to_owned(),
            issuer: "https://ledger.example".to_owned(),
            origin: "ledger.example".to_owned(),
        });
        world.ask(add_key("k1"));
        let metadata = ClientMetadata {
            grant_types: [GrantType::ClientCredentials].into(),
            scope: scope("ledger:admin"),
            ..ClientMetadata::default()
        };
        world.ask(Command::RegisterClient {
            client: client_id("root"),
            metadata: Box::new(metadata),
            secret: Some(digest("root-secret")),
        });
        world
    }

    /// What a restart makes of `store`. `asked` keeps the request ids apart.
    pub(crate) fn over(store: MemoryStore, now: Timestamp, asked: u64) -> Self {
        Self::onto(State::default(), store, now, asked)
    }

    /// The same, going on from the fold of its first records.
    fn onto(mut folded: State, store: MemoryStore, now: Timestamp, asked: u64) -> Self {
        let store = Arc::new(store);
        replay_onto(&mut folded, store.as_ref(), |_, _| Ok(())).expect("an untouched log replays");
        let state = Arc::new(RwLock::new(folded));
        let clock = Arc::new(ManualClock::at(now));
        let tiles = Arc::new(MemoryTable::default());
        let tree = Tree::over(Arc::clone(&store) as Arc<dyn Store>, tiles).expect("memory is read");
        let tree = Arc::new(tree);
        let writer = Writer::new(
            Arc::clone(&store) as Arc<dyn Store>,
            Arc::clone(&tree),
            Arc::clone(&state),
            Arc::clone(&clock) as Arc<dyn Clock>,
            COALESCE_KEYS_MAX,
        )
        .recording_steps(CLOCK_STEP_MS);
        Self { store, tree, state, clock, writer, asked }
    }

    /// A restart after whatever happened.
    pub(crate) fn reopened(&self) -> Self {
        Self::over(self.store.reopen(), self.clock.now(), self.asked)
    }

    /// A restart that begins with a snapshot.
    pub(crate) fn reopened_onto(&self, snapshot: State) -> Self {
        Self::onto(snapshot, self.store.reopen(), self.clock.now(), self.asked)
    }

    /// Sets the clock to a second of the story, which may lie before its start.
    pub(crate) fn set_s(&self, seconds: f64) {
        #[expect(clippy::cast_possible_truncation)]
        let micros = (seconds * 1e6).round() as i64;
        let at = (EPOCH_S * 1_000_000).checked_add_signed(micros).expect("after 1970");
        self.clock.set(Timestamp::from_micros(at));
    }

    /// The time by which the next command is judged.
    pub(crate) fn now(&self) -> Timestamp {
        let newest = self.state.read().head().map(|head| head.at);
        self.writer.judging_time().at(self.clock.now(), newest)
    }

    /// One command in a batch of its own, and a look at everything.
    pub(crate) fn ask(&mut self, command: Command) -> Answer {
        self.together(vec![command]).pop().expect("one answer for one command")
    }

    /// One batch, and a look at everything.
    pub(crate) fn together(&mut self, commands: Vec<Command>) -> Vec<Answer> {
        let answers = self.try_together(commands).expect("the store works");
        self.check();
        answers
    }

    /// One batch, whatever comes of it.
    pub(crate) fn try_together(&mut self, commands: Vec<Command>) -> Result<Vec<Answer>, LogError> {
        let asked: Vec<Asked> = commands.into_iter().map(|command| self.asked(command)).collect();
        let answers = self.writer.commit(asked.iter())?;
        assert_eq!(answers.len(), asked.len(), "every command is answered");
        Ok(answers)
    }

    /// From now on the disk takes as long as this clock says.
    pub(crate) fn measure_waits_by(&mut self, waits: Arc<dyn Clock>) {
        self.writer.measure_waits_by(waits);
    }

    /// Lets the time pass in which refusals are only counted.
    pub(crate) fn tick(&mut self, closes: bool) {
        self.try_tick(closes).expect("the store works");
        self.check();
    }

    /// The same, whatever comes of it.
    pub(crate) fn try_tick(&mut self, closes: bool) -> Result<(), LogError> {
        self.writer.flush_counts(closes)
    }

    fn asked(&mut self, command: Command) -> Asked {
        self.asked += 1;
        let request = RequestId::from_bytes(self.asked.to_be_bytes());
        Asked { request, actor: actor(&command), origin: origin(&command), command }
    }

    pub(crate) fn end(&self) -> Seq {
        self.store.end().expect("memory is read")
    }

    /// The exact bytes of all records.
    pub(crate) fn bytes(&self) -> Vec<Vec<u8>> {
        bytes_of(self.store.as_ref())
    }

    pub(crate) fn records_from(&self, from: Seq) -> Vec<Record> {
        let bytes = self.bytes();
        let from = usize::try_from(from.0).unwrap();
        bytes[from..].iter().map(|bytes| Record::decode(bytes).unwrap()).collect()
    }

    /// All that must hold of any ledger at any moment.
    pub(crate) fn check(&self) {
        let live = self.state.read();
        let folded = replay(self.store.as_ref(), |_, _| Ok(())).expect("the log replays");
        assert_eq!(live.canonical(), folded.canonical(), "the live fold is that of the log");
        check_lists(&live);
        let leaves: Vec<_> = self.bytes().iter().map(|bytes| leaf_hash(bytes)).collect();
        assert_eq!(self.tree.head().root, mth(&leaves), "the tree is that of the records");
        let mut auditor = Auditor::default();
        let mut before: Option<Record> = None;
        for bytes in self.bytes() {
            let record = Record::decode(&bytes).expect("each record is read again");
            let again = record.encode().expect("what was read is written again");
            assert_eq!(again, bytes, "a record has one form");
            if let Some(before) = &before {
                assert!(before.at <= record.at, "time never goes back");
                assert_eq!(before.seq.next(), record.seq);
                if before.request == record.request {
                    assert_eq!(before.at, record.at, "a command has one instant");
                }
            }
            auditor.read(&record);
            before = Some(record);
        }
        auditor.compare(&live, self.now());
    }
}

/// Judges a log from its first record, as `verify` does; its fold.
pub(crate) fn verify(log: &[Vec<u8>]) -> Result<State, Fault> {
    let mut verifier = Verifier::default();
    for bytes in log {
        verifier.take(read(bytes))?;
    }
    Ok(verifier.finish(End::Whole)?.1)
}

pub(crate) fn bytes_of(store: &dyn Store) -> Vec<Vec<u8>> {
    let blocks = records_from(store, Seq(0)).map(|block| block.expect("memory is read"));
    blocks.flat_map(|b| b.iter().map(|(_, bytes)| bytes.to_vec()).collect::<Vec<_>>()).collect()
}

pub(crate) fn add_key(kid: &str) -> Command {
    Command::AddKey {
        kid: key_id(kid),
        purpose: "access_token".to_owned(),
        alg: "EdDSA".to_owned(),
        public: serde_json::json!({"kty": "OKP", "crv": "Ed25519", "kid": kid}),
    }
}

fn actor(command: &Command) -> Actor {
    match command {
        Command::RedeemCode { client, .. }
        | Command::IssueToClient { client, .. }
        | Command::RevokeToken { client, .. }
        | Command::UseAssertion { client, .. } => Actor::Client(client.clone()),
        Command::Refresh(refresh) => Actor::Client(refresh.client.clone()),
        Command::CreateGrant { .. } => Actor::Login(client_id("login")),
        Command::ReadAudit { .. } => Actor::Auditor(client_id("auditor")),
        Command::RegisterClient { .. }
        | Command::UpdateClient { .. }
        | Command::RotateSecret { .. }
        | Command::SwitchClient { .. }
        | Command::RevokeGrant { .. }
        | Command::AddBlacklist { .. }
        | Command::LiftBlacklist { .. }
        | Command::EraseSubject { .. } => Actor::Administrator(client_id("root")),
        Command::CreateLedger { .. }
        | Command::OpenLedger { .. }
        | Command::CloseLedger
        | Command::AddKey { .. }
        | Command::RetireKey { .. }
        | Command::FailAuthentication { .. } => Actor::Ledger,
    }
}

/// As the edge does it: sealed where there is a person, readable where there is none.
fn origin(command: &Command) -> Option<Origin> {
    if matches!(command, Command::RedeemCode { .. } | Command::Refresh(_)) {
        return Some(Origin::Sealed(sealed("origin")));
    }
    let of_client = matches!(
        command,
        Command::IssueToClient { .. }
            | Command::FailAuthentication { .. }
            | Command::UseAssertion { .. }
    );
    of_client.then(|| {
        let (address, user_agent) = ("192.0.2.7".to_owned(), "robot/1 \"x\"".to_owned());
        Origin::Clear { address, user_agent }
    })
}

/// Every list of the projection holds exactly what a search of everything finds, newest first.
pub(crate) fn check_lists(state: &State) {
    let newest_first = |mine: &dyn Fn(&Grant) -> bool| {
        let mut grants: Vec<_> = state.grants().filter(|grant| mine(grant)).collect();
        grants.sort_by_key(|grant| std::cmp::Reverse(grant.created));
        grants.iter().map(|grant| grant.id).collect::<Vec<_>>()
    };
    let ids = |grants: Vec<&Grant>| grants.iter().map(|grant| grant.id).collect::<Vec<_>>();
    for client in state.clients() {
        let listed = state.grants_of_client(&client.id, None, usize::MAX).grants;
        assert_eq!(ids(listed), newest_first(&|grant| grant.client == client.id));
    }
    let subjects: BTreeSet<_> = state.grants().filter_map(|grant| grant.subject).collect();
    for subject in subjects {
        let listed = state.grants_of_subject(&subject, None, usize::MAX).grants;
        assert_eq!(ids(listed), newest_first(&|grant| grant.subject == Some(subject)));
    }
    let mut tokens: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for token in state.tokens() {
        let grant = state.grant_of(token).expect("a token has its grant").id;
        tokens.entry(grant).or_default().insert(token.digest);
    }
    for grant in state.grants() {
        let listed: Vec<_> = state.tokens_of(&grant.id).collect();
        assert!(listed.is_sorted_by(|a, b| b.issued < a.issued), "newest first");
        let listed: BTreeSet<_> = listed.iter().map(|token| token.digest).collect();
        assert_eq!(listed, tokens.remove(&grant.id).unwrap_or_default());
        // Nothing is kept of past generations: a grant has one size, however old.
        assert!(format!("{grant:?}").len() < 2500, "{grant:?}");
    }
}
