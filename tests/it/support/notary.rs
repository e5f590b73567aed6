//! A log of a few leaves that signs what it is told to, and a witness that serves.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use token_ledger::clock::{Clock, ManualClock};
use token_ledger::crypto::note::Note;
use token_ledger::crypto::note_key::NoteVerifier;
use token_ledger::crypto::note_signer::{Cosigner, NoteSigner};
use token_ledger::log::checkpoint::{Checkpoint, Origin};
use token_ledger::log::leaf::{NodeHash, leaf_hash};
use token_ledger::log::tree::{Frontier, NodeAt, TreeHead, consistency_proof, root_of};
use token_ledger::log::witness::AddCheckpoint;
use token_ledger::types::time::Timestamp;
use token_ledger::witness::directory::{KnownLog, OriginId, WitnessDirectory};
use token_ledger::witness::judge::Witness;
use token_ledger::witness::serve::serve;

use crate::support::wire::{Answer, Call, Wire};

/// When every witness begins.
pub(crate) const COSIGNED_AT_S: u64 = 1_800_000_000;

/// A log that may fork: two of one name and another salt sign different trees with one key.
pub(crate) struct Log {
    pub(crate) origin: Origin,
    signer: NoteSigner,
    nodes: BTreeMap<NodeAt, NodeHash>,
}

impl Log {
    pub(crate) fn new(name: &str, salt: &str, size: u64) -> Self {
        let signer = NoteSigner::new(name.parse().unwrap(), &[9; 32]);
        let (mut frontier, mut nodes) = (Frontier::default(), BTreeMap::new());
        for leaf in 0..size {
            frontier.append_with(leaf_hash(format!("{salt} {leaf}").as_bytes()), |at, node| {
                nodes.insert(at, node);
            });
        }
        Self { origin: name.parse().unwrap(), signer, nodes }
    }

    pub(crate) fn verifier(&self) -> &NoteVerifier {
        self.signer.verifier()
    }

    pub(crate) fn known(&self) -> KnownLog {
        KnownLog { origin: self.origin.clone(), keys: vec![self.verifier().clone()] }
    }

    fn node(&self, at: NodeAt) -> Result<NodeHash, &'static str> {
        self.nodes.get(&at).copied().ok_or("beyond the log")
    }

    pub(crate) fn head(&self, size: u64) -> TreeHead {
        TreeHead { size, root: root_of(size, |at| self.node(at)).unwrap() }
    }

    pub(crate) fn checkpoint(&self, size: u64) -> Note {
        self.sign(self.head(size))
    }

    pub(crate) fn sign(&self, head: TreeHead) -> Note {
        Checkpoint { origin: self.origin.clone(), head }.sign(&self.signer)
    }

    pub(crate) fn proof(&self, old: u64, new: u64) -> Vec<NodeHash> {
        consistency_proof(old, new, |at| self.node(at)).unwrap()
    }

    /// An honest request.
    pub(crate) fn request(&self, old: u64, new: u64) -> AddCheckpoint {
        let (proof, checkpoint) = (self.proof(old, new), self.checkpoint(new));
        AddCheckpoint { old_size: old, proof, checkpoint }
    }
}

/// A witness that serves on port 0 with a clock of its own.
pub(crate) struct Served {
    pub(crate) url: String,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) verifier: NoteVerifier,
    pub(crate) wire: Wire,
    handle: ServerHandle,
}

/// Makes a witness that knows `logs`.
pub(crate) fn make_witness(path: &Path, name: &str, logs: &[&Log]) {
    let key = Cosigner::new(name.parse().unwrap(), &[name.len() as u8; 32]);
    let directory = WitnessDirectory::create(path, &key).unwrap();
    logs.iter().for_each(|log| directory.add_log(&log.known()).unwrap());
}

impl Served {
    /// Serves the witness in `path`.
    pub(crate) fn start(path: &Path) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(COSIGNED_AT_S)));
        let time: Arc<dyn Clock> = clock.clone();
        let witness = Arc::new(Witness::open(path, time).unwrap());
        let verifier = witness.verifier().clone();
        let served = serve(TcpListener::bind("127.0.0.1:0").unwrap(), witness).unwrap();
        let url = format!("http://{}", served.address);
        let handle = served.handle();
        actix_web::rt::spawn(served.run());
        Self { url, clock, verifier, wire: Wire::new("127.0.0.1", "a log"), handle }
    }

    pub(crate) async fn submit(&self, request: &AddCheckpoint) -> Answer {
        self.send(request.encode().into_bytes()).await
    }

    pub(crate) async fn send(&self, body: Vec<u8>) -> Answer {
        let call = Call::new("POST", format!("{}/add-checkpoint", self.url));
        self.wire.send(call.body("application/octet-stream", body)).await
    }

    pub(crate) async fn monitor(&self, origin: &Origin) -> Answer {
        let url = format!("{}/{}/checkpoint", self.url, OriginId::of(origin));
        self.wire.send(Call::new("GET", url)).await
    }

    pub(crate) async fn stop(self) {
        self.handle.stop(true).await;
    }
}
