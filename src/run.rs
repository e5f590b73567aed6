//! From a data directory and a configuration to a running service, and back to a closed ledger.

pub mod administrator;
mod closing;
mod copy_places;
pub mod error;
mod fitness;
mod limits;
mod notary;
mod transport;
mod witnesses;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::rt::task::JoinHandle;
use actix_web::web::Data;

use crate::clock::Clock;
use crate::config::settings::Config;
use crate::config::value::YesNo;
use crate::domain::command::{Asked, Command};
use crate::domain::record::Actor;
use crate::edge::Edge;
use crate::edge::client_keys::ClientKeys;
use crate::edge::keyring::Keyring;
use crate::edge::throttle::Throttle;
use crate::entropy::{Entropy, bytes};
use crate::http::app::App;
use crate::http::cors::Origins;
use crate::http::server::{Listening, listen};
use crate::http::tls::Certificate;
use crate::ledger::handle::Ledger;
use crate::ledger::open::{OpenError, Opened, leave_clean_mark, open};
use crate::ledger::snapshot::Snapshotter;
use crate::log::directory::DataDirectory;
use crate::log::sled::SledDatabase;
use crate::oauth::issuer::Issuer;
use crate::run::closing::{close, cover_the_end, keep_snapshot};
use crate::run::error::RunError;
use crate::run::fitness::{
    check_vault, forget_before_stop, keep_free, keep_vault_in_time, warn_of_open_keys,
};
use crate::run::limits::{
    assertion_limits, client_key_limits, copy_places, edge_limits, ledger_limits, server_limits,
    throttle_limits,
};
use crate::run::notary::{keep_covered, keep_covered_in_time, notary_of};
use crate::run::transport::{certificates, proxies, tls_of, warn_of_another_port};
use crate::run::witnesses::{ask, show_the_end, submitters};
use crate::types::id::{RequestId, Seq};
use crate::types::resource::Resource;
use crate::witness::submit::Submitter;

/// How often the signing keys are looked after at least, in seconds.
const KEY_LOOK_S_MAX: u64 = 60;

/// A service that runs.
pub struct Running {
    /// Where clients reach it.
    pub public: SocketAddr,
    /// Where administrators and auditors reach it.
    pub admin: SocketAddr,
    /// The edge, for those who embed the service.
    pub edge: Arc<Edge>,
    directory: Arc<DataDirectory>,
    database: Arc<SledDatabase>,
    snapshotter: Option<Snapshotter>,
    /// Of the public listener, then of the other.
    certificates: [Option<Arc<Certificate>>; 2],
    handles: [ServerHandle; 2],
    serving: JoinHandle<std::io::Result<()>>,
    tasks: Vec<JoinHandle<()>>,
    witnesses: Vec<Arc<Submitter>>,
    witness_timeout: Duration,
}

/// Binds `address`.
///
/// # Errors
/// [`RunError::Bind`].
pub fn bind(address: &str) -> Result<TcpListener, RunError> {
    TcpListener::bind(address)
        .map_err(|source| RunError::Bind { address: address.to_owned(), source })
}

/// Opens the ledger in `path` and serves it. Call it inside an actix runtime.
///
/// # Errors
/// [`RunError`]: nothing is served; the message says what to do.
pub async fn start(
    path: &Path,
    config: &Config,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    progress: impl FnMut(Seq),
) -> Result<Running, RunError> {
    // The sockets first: a port in use is found before the ledger is touched.
    let public = bind(config.listen.as_str())?;
    let admin = bind(config.admin_listen.as_str())?;
    start_on([public, admin], path, config, clock, entropy, progress).await
}

/// As [`start`], on sockets that are bound already, the public one first: for who needs to know
/// the address, as part of the issuer, before there is a ledger.
///
/// # Errors
/// As [`start`], but for [`RunError::Bind`].
pub async fn start_on(
    sockets: [TcpListener; 2],
    path: &Path,
    config: &Config,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    progress: impl FnMut(Seq),
) -> Result<Running, RunError> {
    let (cache, copy) = (config.sled_cache_bytes_max, config.recovery_copy_bytes_max);
    copy_places::check_copy_places(path, config)?;
    let certificates = certificates(&sockets, config)?;
    let throttle = Throttle::new(throttle_limits(config), Arc::clone(&clock));
    let witnesses = submitters(config, &clock)?;
    let prepared = Prepared { sockets, certificates, throttle, witnesses };
    let opened = open(path, ledger_limits(config), cache, copy, clock, progress)?;
    let (ledger, directory) = (opened.ledger.clone(), Arc::clone(&opened.directory));
    let clean = opened.clean;
    keep_free(&opened, path, config);
    warn_of_open_keys(&directory);
    match serve(opened, prepared, config, entropy).await {
        Ok(running) => {
            warn_of_another_port(&running.edge.issuer, running.public, config);
            Ok(running)
        }
        Err(error) => {
            // Or the writer would keep the directory locked for as long as the process lives.
            close(&ledger).await?;
            // A crash before this start has no record yet if the mark says that there was none.
            if clean {
                leave_clean_mark(&directory, &ledger.state())?;
            }
            Err(error)
        }
    }
}

/// What is made before the ledger is touched.
struct Prepared {
    sockets: [TcpListener; 2],
    certificates: [Option<Arc<Certificate>>; 2],
    throttle: Throttle,
    witnesses: Vec<Arc<Submitter>>,
}

async fn serve(
    opened: Opened,
    prepared: Prepared,
    config: &Config,
    entropy: Arc<dyn Entropy>,
) -> Result<Running, RunError> {
    check_vault(&opened, config)?;
    let Opened { directory, ledger, database, vault, keys, snapshotter, clean } = opened;
    let Prepared { sockets, certificates, throttle, witnesses } = prepared;
    let unusable = |why: &dyn std::fmt::Display| RunError::Issuer(why.to_string());
    let issuer = directory.marker().issuer.parse::<Issuer>().map_err(|why| unusable(&why))?;
    let own_resource = issuer.as_str().parse::<Resource>().map_err(|why| unusable(&why))?;
    let keyring = Keyring::new(keys);
    let notary = notary_of(&directory, &ledger, &database, &keyring, &issuer, config)?;
    // Only now: until log, vault and fence agree, the copy from before a recovery may be needed.
    directory.confirm_recovery().map_err(OpenError::from)?;
    let client_keys = ClientKeys::new(client_key_limits(config)).map_err(RunError::HttpClient)?;
    let edge = Arc::new(Edge {
        ledger,
        keyring,
        vault,
        issuer,
        own_resource,
        entropy,
        client_keys,
        assertion_limits: assertion_limits(config),
        keys_file: Some(directory.keys_file()),
        copies: copy_places(config),
        changing: tokio::sync::Mutex::default(),
        notary: Arc::new(notary),
        readers: parking_lot::Mutex::default(),
        scans: tokio::sync::Semaphore::new(config.audit_scans_max),
        throttle,
        limits: edge_limits(config),
    });
    let version = env!("CARGO_PKG_VERSION").to_owned();
    note(&edge.ledger, edge.entropy.as_ref(), Command::OpenLedger { version, clean }).await?;
    // What fell due while nothing ran, before the first token is signed.
    keep_keys(&edge).await;
    keep_covered(&edge).await;
    let app = Data::new(App {
        edge: Arc::clone(&edge),
        witnesses: witnesses.clone(),
        proxies: proxies(config),
        origins: Origins::default(),
        public_log: config.public_log == YesNo::Yes,
        publish_entries: config.publish_entries == YesNo::Yes,
        body_bytes_max: config.body_bytes_max,
        body_timeout_ms: config.client_request_timeout_ms,
    });
    let [public, admin] = &certificates;
    let tls = [tls_of(public)?, tls_of(admin)?];
    let listening = listen(&app, sockets, tls, server_limits(config)).map_err(RunError::Listen)?;
    let handles = listening.handles();
    let Listening { public, admin, .. } = listening;
    let serving = actix_web::rt::spawn(listening.serve());
    let every_s = u64::from(config.vault_rewrite_s_max);
    let (vault, ledger) = (Arc::clone(&edge.vault), edge.ledger.clone());
    let forgetting = actix_web::rt::spawn(keep_vault_in_time(vault, ledger, every_s));
    let rotating = actix_web::rt::spawn(keep_keys_in_time(Arc::clone(&edge)));
    let interval_ms = config.checkpoint_interval_ms;
    let mut tasks = ask(&witnesses, &edge);
    let signing = actix_web::rt::spawn(keep_covered_in_time(Arc::clone(&edge), interval_ms));
    tasks.extend([forgetting, rotating, signing]);
    Ok(Running {
        public,
        admin,
        edge,
        directory,
        database,
        snapshotter,
        certificates,
        handles,
        serving,
        tasks,
        witnesses,
        witness_timeout: Duration::from_millis(config.witness_timeout_ms),
    })
}

/// Has the ledger record what it did itself.
async fn note(ledger: &Ledger, entropy: &dyn Entropy, command: Command) -> Result<(), RunError> {
    let request = RequestId::from_bytes(bytes(entropy));
    let asked = Asked { request, actor: Actor::Ledger, origin: None, command };
    let answer = ledger.submit(asked).await?;
    answer.outcome.map(drop).map_err(|refusal| OpenError::Refused(refusal).into())
}

/// The signing keys change in time. The change itself needs no help: it is told by the time.
async fn keep_keys_in_time(edge: Arc<Edge>) {
    let every_s = (edge.limits.key_published_before_use_s / 4).clamp(1, KEY_LOOK_S_MAX);
    let mut turns = tokio::time::interval(Duration::from_secs(every_s));
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first one is due at once, and was done at the start.
    turns.tick().await;
    loop {
        turns.tick().await;
        keep_keys(&edge).await;
    }
}

async fn keep_keys(edge: &Edge) {
    if let Err(error) = edge.keep_keys().await {
        tracing::error!(%error, "the signing keys could not be looked after; trying again later");
    }
    if let Err(error) = edge.keep_checkpoint_keys().await {
        tracing::error!(%error, "the checkpoint keys could not be looked after; trying again later");
    }
}

impl Running {
    /// The running ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.edge.ledger
    }

    /// The addresses of both listeners as URLs, the public one first.
    pub fn urls(&self) -> [String; 2] {
        let [public, admin] = &self.certificates;
        [(public, self.public), (admin, self.admin)].map(|(certificate, address)| {
            let scheme = if certificate.is_some() { "https" } else { "http" };
            format!("{scheme}://{address}")
        })
    }

    /// Reads the certificates again. One that cannot be read is an error in the log, and what was
    /// served before stays.
    pub fn reload_certificates(&self) {
        for certificate in self.certificates.iter().flatten() {
            let path = certificate.path().display();
            match certificate.reload() {
                Ok(()) => tracing::info!(%path, "the certificate was read again"),
                Err(error) => {
                    tracing::error!(%error, "the old certificate is still served: correct the file");
                }
            }
        }
    }

    /// Waits until the writer has stopped by itself, or a write to the vault failed: something is wrong
    /// then.
    pub async fn failed(&self) {
        let mut vault = self.edge.vault.failed();
        tokio::select! {
            () = self.edge.ledger.ended() => {}
            _ = vault.wait_for(|failed| *failed) => {}
        }
    }

    /// Stops: no new connections, what is in flight is answered, the ledger is closed.
    ///
    /// # Errors
    /// [`RunError::Stopped`] when a write had failed; the next start replays what is on the disk.
    pub async fn stop(self) -> Result<(), RunError> {
        let Self { edge, directory, database, snapshotter, handles, serving, .. } = self;
        let Self { tasks, witnesses, witness_timeout, .. } = self;
        tasks.iter().for_each(JoinHandle::abort);
        let failed = edge.ledger.has_stopped();
        let [public, admin] = handles;
        // After a failure there is nothing to wait for: every waiter was told.
        tokio::join!(public.stop(!failed), admin.stop(!failed));
        match serving.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a listener did not stop cleanly"),
            Err(_) => tracing::warn!("a listener ended early"),
        }
        let closed = match failed {
            true => Ok(()),
            false => note(&edge.ledger, edge.entropy.as_ref(), Command::CloseLedger).await,
        };
        // The reason of a failure comes first: it says more than that the writer has stopped.
        close(&edge.ledger).await?;
        closed?;
        if failed {
            return Err(RunError::Ended);
        }
        forget_before_stop(&edge.vault, &edge.ledger).await;
        if let Some(last) = cover_the_end(&edge).await {
            show_the_end(&witnesses, &edge, &last, witness_timeout).await;
        }
        keep_snapshot(snapshotter, &edge.ledger).await;
        leave_clean_mark(&directory, &edge.ledger.state())?;
        drop(database);
        match *edge.vault.failed().borrow() {
            true => Err(RunError::VaultFailed),
            false => Ok(()),
        }
    }
}
