//! The witnesses of a service: each is asked by a task of its own, and nothing waits for any but the
//! stop, and that not for long.

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::task::JoinHandle;

use crate::clock::Clock;
use crate::config::settings::Config;
use crate::crypto::note::NoteSignature;
use crate::edge::Edge;
use crate::ledger::checkpoints::Published;
use crate::log::leaf::NodeHash;
use crate::run::error::RunError;
use crate::witness::ask::WitnessClient;
use crate::witness::submit::{Submitter, Witnessed};

/// The served ledger, as its witnesses see it.
struct Served(Arc<Edge>);

impl Witnessed for Served {
    fn growth(&self, old: u64, new: u64) -> Result<Vec<NodeHash>, String> {
        self.0.ledger.tree().consistency(old, new).map_err(|error| error.to_string())
    }

    fn cosigned(&self, checkpoint: &Published, line: NoteSignature) -> Result<(), String> {
        let added = self.0.notary.add_cosignatures(checkpoint, vec![line]);
        added.map(drop).map_err(|error| error.to_string())
    }
}

/// Those who ask the configured witnesses; none is asked yet.
pub(super) fn submitters(
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<Arc<Submitter>>, RunError> {
    let client = |setting: &crate::config::witnesses::WitnessSetting| {
        let verifier = setting.verifier.clone();
        WitnessClient::new(verifier, setting.url.as_str(), config.witness_timeout_ms)
    };
    let pause_ms_max = config.witness_pause_ms_max;
    let settings = config.witnesses.witnesses().iter();
    let clients = settings.map(client).collect::<Result<Vec<_>, _>>()?;
    let submitter = |client| Arc::new(Submitter::new(client, Arc::clone(clock), pause_ms_max));
    Ok(clients.into_iter().map(submitter).collect())
}

/// Asks each of them from now on.
pub(super) fn ask(submitters: &[Arc<Submitter>], edge: &Arc<Edge>) -> Vec<JoinHandle<()>> {
    let task = |submitter: &Arc<Submitter>| {
        let (submitter, checkpoints) = (Arc::clone(submitter), edge.notary.watch());
        let log: Arc<dyn Witnessed> = Arc::new(Served(Arc::clone(edge)));
        actix_web::rt::spawn(async move { submitter.run(checkpoints, log).await })
    };
    submitters.iter().map(task).collect()
}

/// Has the checkpoint of a stop cosigned, for nobody will ask later. Witnesses that failed last time
/// are not waited for, and the others not for longer than `timeout`.
pub(super) async fn show_the_end(
    submitters: &[Arc<Submitter>],
    edge: &Arc<Edge>,
    last: &Arc<Published>,
    timeout: Duration,
) {
    let log: Arc<dyn Witnessed> = Arc::new(Served(Arc::clone(edge)));
    let task = |submitter: &Arc<Submitter>| {
        let (submitter, last, log) = (Arc::clone(submitter), Arc::clone(last), Arc::clone(&log));
        actix_web::rt::spawn(async move {
            let fault = match submitter.standing().fault {
                Some(fault) => fault.to_string(),
                None => match tokio::time::timeout(timeout, submitter.submit(&last, &log)).await {
                    Ok(Ok(_)) => return,
                    Ok(Err(fault)) => fault.to_string(),
                    Err(_) => "it took too long".to_owned(),
                },
            };
            let witness = submitter.name();
            tracing::warn!(witness, fault, "the last checkpoint of this stop is not cosigned");
        })
    };
    for asked in submitters.iter().map(task).collect::<Vec<_>>() {
        if asked.await.is_err() {
            tracing::error!("the asking of a witness ended early");
        }
    }
}
