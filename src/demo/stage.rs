//! The ledger and the servers of the demonstration: the real ones, on ports that the system gives.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix_web::dev::ServerHandle;

use crate::clock::{Clock, SystemClock};
use crate::config::settings::{Config, RawConfig};
use crate::demo::error::DemoError;
use crate::demo::photos;
use crate::domain::client::{ClientMetadata, GrantType};
use crate::entropy::{Entropy, OsEntropy, bytes};
use crate::ledger::administrator::Administrator;
use crate::ledger::handle::Ledger;
use crate::ledger::open::{Beginning, create};
use crate::oauth::issuer::{Issuer, NotAnIssuer};
use crate::run::error::RunError;
use crate::run::{Running, bind, start_on};
use crate::types::id::ClientId;
use crate::types::secret::Secret;
use crate::types::time::Timestamp;

/// Where every server of the demonstration listens.
const LOOPBACK: &str = "127.0.0.1:0";

/// The directory of the ledger. A temporary one goes when this does.
struct Home {
    path: PathBuf,
    temporary: bool,
}

impl Home {
    fn new(data: Option<&Path>) -> Self {
        match data {
            Some(path) => Self { path: path.to_owned(), temporary: false },
            None => {
                let random = u64::from_be_bytes(bytes(&OsEntropy));
                let name = format!("token-ledger-demo-{random:016x}");
                Self { path: std::env::temp_dir().join(name), temporary: true }
            }
        }
    }

    fn remove(mut self) -> Result<(), DemoError> {
        if !self.temporary {
            return Ok(());
        }
        self.temporary = false;
        let path = self.path.clone();
        fs::remove_dir_all(&path).map_err(|source| DemoError::Temporary { path, source })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Only after another fault, which is what the user must hear of.
        if self.temporary {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The running servers.
pub(super) struct Stage {
    /// The public listener, and the issuer: `http://127.0.0.1:PORT`.
    pub(super) issuer: String,
    /// The admin listener.
    pub(super) admin: String,
    /// The resource server.
    pub(super) api: String,
    /// The first administrator.
    pub(super) administrator: Administrator,
    clock: Arc<dyn Clock>,
    running: Running,
    /// Until the resource server has its credentials, its port is kept for it.
    waiting: Option<TcpListener>,
    photos: Option<ServerHandle>,
    // The last field: the directory goes after everything that has files open in it.
    home: Home,
}

impl Stage {
    /// Makes the ledger and starts the service. Call it inside an actix runtime.
    ///
    /// # Errors
    /// [`DemoError`]; a temporary directory is removed again.
    pub(super) async fn raise(data: Option<&Path>) -> Result<Self, DemoError> {
        let home = Home::new(data);
        let [public, admin, photos] = [bind(LOOPBACK)?, bind(LOOPBACK)?, bind(LOOPBACK)?];
        let url = |socket: &TcpListener| {
            let address = socket.local_addr().map_err(DemoError::Listen)?;
            Ok::<_, DemoError>(format!("http://{address}"))
        };
        // The ports come first: an issuer is the address at which it answers.
        let (issuer_url, api) = (url(&public)?, url(&photos)?);
        let issuer: Issuer =
            issuer_url.parse().map_err(|error: NotAnIssuer| RunError::Issuer(error.to_string()))?;
        let config = Config::try_from(RawConfig {
            listen: LOOPBACK.to_owned(),
            admin_listen: LOOPBACK.to_owned(),
            ..RawConfig::default()
        })?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
        let beginning = Beginning {
            issuer: issuer.as_str(),
            origin: issuer.origin_name(),
            administrator: administrator(),
        };
        let cache = config.sled_cache_bytes_max;
        let administrator =
            create(&home.path, beginning, cache, Arc::clone(&clock), entropy.as_ref())?;
        let sockets = [public, admin];
        let running =
            start_on(sockets, &home.path, &config, Arc::clone(&clock), entropy, |_| {}).await?;
        Ok(Self {
            issuer: issuer_url,
            admin: format!("http://{}", running.admin),
            api,
            administrator,
            clock,
            running,
            waiting: Some(photos),
            photos: None,
            home,
        })
    }

    /// Starts the resource server, which asks the ledger as this client.
    ///
    /// # Errors
    /// [`DemoError::Guard`] or [`DemoError::Listen`].
    pub(super) fn open_photos(&mut self, id: &ClientId, secret: Secret) -> Result<(), DemoError> {
        let Some(socket) = self.waiting.take() else { return Ok(()) };
        let clock = Arc::clone(&self.clock);
        let guards = photos::Guards::new(&self.issuer, &self.api, id, secret, clock)?;
        self.photos = Some(photos::serve(socket, guards).map_err(DemoError::Listen)?);
        Ok(())
    }

    /// The running ledger, for what is shown of it from inside: its log, and its fold.
    pub(super) fn ledger(&self) -> &Ledger {
        self.running.ledger()
    }

    /// The time by which the ledger judges.
    pub(super) fn now(&self) -> Timestamp {
        self.ledger().now()
    }

    /// Where the ledger is, if it stays.
    pub(super) fn kept(&self) -> Option<&Path> {
        (!self.home.temporary).then_some(self.home.path.as_path())
    }

    /// Stops the servers, closes the ledger, and removes it unless it is to be kept.
    ///
    /// # Errors
    /// [`DemoError`]; what could be stopped is stopped.
    pub(super) async fn close(self) -> Result<(), DemoError> {
        let Self { running, photos, home, .. } = self;
        if let Some(photos) = photos {
            photos.stop(true).await;
        }
        running.stop().await?;
        home.remove()
    }
}

/// The first administrator may do everything: there is nobody else yet.
fn administrator() -> ClientMetadata {
    ClientMetadata {
        client_name: Some("The first administrator".to_owned()),
        grant_types: [GrantType::ClientCredentials].into(),
        scope: "ledger:admin ledger:audit ledger:grant".parse().expect("three scope tokens"),
        ..ClientMetadata::default()
    }
}
