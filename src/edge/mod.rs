//! Where bearer secrets stop: requests come in with tokens and secrets, commands go on with
//! digests and ids. Knows the protocol and the keys; knows nothing of HTTP.

pub mod keyring;
pub mod fault;
pub mod authenticate;
pub mod throttle;
pub mod assertion;
pub mod client_keys;
pub mod draft;
pub mod token;
pub mod introspect;
pub mod revoke;
pub mod register;
pub mod authorize;
pub mod operate;
pub mod rotate;
pub mod make_key;
pub mod back_up;
pub mod inquire;
pub mod list;
pub mod evidence;
pub mod checkpoint_keys;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::crypto::seal::{origin_tag, seal};
use crate::domain::command::{Asked, Command};
use crate::domain::record::{Actor, Origin};
use crate::edge::assertion::AssertionLimits;
use crate::edge::back_up::CopyPlaces;
use crate::edge::client_keys::ClientKeys;
use crate::edge::fault::Fault;
use crate::edge::keyring::Keyring;
use crate::edge::throttle::Throttle;
use crate::entropy::{Entropy, bytes};
use crate::ledger::handle::{Ledger, SubmitError};
use crate::ledger::notary::Notary;
use crate::ledger::vault::{Person, Vault};
use crate::ledger::writer::Answer;
use crate::log::store::Store;
use crate::oauth::issuer::Issuer;
use crate::types::id::{OriginTag, RequestId, Seq};
use crate::types::resource::Resource;
use crate::types::time::Timestamp;

/// What an origin is sealed for: nothing sealed elsewhere opens in its place.
pub const ORIGIN_PURPOSE: &[u8] = b"origin";
/// How many characters of a `User-Agent` are kept.
const USER_AGENT_CHARS_MAX: usize = 200;

/// Who sent a request, as far as the network tells.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The address, where the network tells one.
    pub address: Option<IpAddr>,
    /// The `User-Agent`, cut and without control characters.
    pub user_agent: String,
}

impl Caller {
    /// A caller at `address` that calls itself `user_agent`.
    pub fn new(address: Option<IpAddr>, user_agent: &str) -> Self {
        let kept = user_agent.chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARS_MAX);
        Self { address, user_agent: kept.collect() }
    }

    /// As records have it: nothing where there is none.
    fn address_text(&self) -> String {
        self.address.map(|address| address.to_string()).unwrap_or_default()
    }

    fn in_clear(&self) -> Origin {
        Origin::Clear { address: self.address_text(), user_agent: self.user_agent.clone() }
    }

    fn tag(&self, person: &Person) -> OriginTag {
        origin_tag(&person.key, &self.address_text(), &self.user_agent)
    }
}

/// The bounds that the edge keeps.
#[derive(Debug, Clone, Copy)]
pub struct EdgeLimits {
    /// How long an authorization code is accepted, in seconds.
    pub code_lifetime_s: u64,
    /// Grants in one page of an answer.
    pub page_grants_max: usize,
    /// Records in one page of an answer.
    pub page_records_max: usize,
    /// Records that one trail may have before the answer asks for a narrower question.
    pub trail_records_max: usize,
    /// How long a question may wait for its turn, in milliseconds.
    pub scan_wait_ms: u64,
    /// For how long a signing key is published before it is used, in seconds.
    pub key_published_before_use_s: u64,
    /// How long an old checkpoint key signs beside the next one, in seconds.
    pub checkpoint_key_overlap_s: u64,
    /// How old a signing key is when the next one is made, in seconds; 0 leaves that to operators.
    pub key_rotation_s: u64,
}

/// The edge: everything between the parsed request and the ledger.
pub struct Edge {
    /// The ledger.
    pub ledger: Ledger,
    /// The private keys.
    pub keyring: Keyring,
    /// Who is behind the pseudonyms.
    pub vault: Arc<Vault>,
    /// The issuer identifier.
    pub issuer: Issuer,
    /// The issuer as a resource: the audience of tokens for the ledger itself.
    pub own_resource: Resource,
    /// Where randomness comes from.
    pub entropy: Arc<dyn Entropy>,
    /// The keys that clients publish.
    pub client_keys: ClientKeys,
    /// What is expected of clients' assertions.
    pub assertion_limits: AssertionLimits,
    /// Where the private keys are kept; none in memory.
    pub keys_file: Option<std::path::PathBuf>,
    /// Where copies of the vault and the keys go.
    pub copies: CopyPlaces,
    /// Held by one change of a client's metadata or of the keys at a time: each rests on what it
    /// read before.
    pub changing: tokio::sync::Mutex<()>,
    /// Turns for those who read much of the log at once.
    pub scans: tokio::sync::Semaphore,
    /// Who signs checkpoints.
    pub notary: Arc<Notary>,
    /// Who reads bundles of records, and when that was recorded last.
    pub readers: parking_lot::Mutex<BTreeMap<String, Timestamp>>,
    /// Slows down those who guess.
    pub throttle: Throttle,
    /// The bounds.
    pub limits: EdgeLimits,
}

impl Edge {
    /// A command of `actor`, with a fresh request id.
    fn asked(&self, actor: Actor, origin: Option<Origin>, command: Command) -> Asked {
        let request = RequestId::from_bytes(bytes(self.entropy.as_ref()));
        Asked { request, actor, origin, command }
    }

    /// Where a request about `person` came from: sealed under the person's key.
    fn sealed_origin(&self, caller: &Caller, person: &Person) -> Result<Origin, Fault> {
        let clear = serde_json::to_vec(&caller.in_clear());
        let clear = clear.map_err(|_| Fault::Broken("an origin does not serialise"))?;
        let sealed = seal(&person.key, ORIGIN_PURPOSE, &clear, self.entropy.as_ref());
        sealed.map(Origin::Sealed).map_err(|_| Fault::Broken("an origin cannot be sealed"))
    }

    async fn submit(&self, asked: Asked) -> Result<Answer, Fault> {
        Ok(self.ledger.submit(asked).await?)
    }

    /// Runs what reads much of the log off the asynchronous threads: `run` gets the store and the
    /// end of the log at this moment. At most a few such readers run at once; the rest wait, but not
    /// for ever.
    async fn with_log<T: Send + 'static>(
        &self,
        run: impl FnOnce(&dyn Store, Seq) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let patience = Duration::from_millis(self.limits.scan_wait_ms);
        let turn = tokio::time::timeout(patience, self.scans.acquire()).await;
        let turn = turn.map_err(|_| SubmitError::Overloaded)?;
        let _turn = turn.map_err(|_| Fault::Broken("no turns are left"))?;
        let ledger = self.ledger.clone();
        let end = ledger.state().next_seq();
        let task = tokio::task::spawn_blocking(move || run(ledger.store(), end));
        task.await.map_err(|_| Fault::Broken("a reader of the log ended early"))
    }

    /// Runs what waits for the vault's disk off the asynchronous threads.
    async fn with_vault<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Vault, &dyn Entropy) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let (vault, entropy) = (Arc::clone(&self.vault), Arc::clone(&self.entropy));
        let task = tokio::task::spawn_blocking(move || run(&vault, entropy.as_ref()));
        task.await.map_err(|_| Fault::Broken("the vault's task ended early"))
    }
}
