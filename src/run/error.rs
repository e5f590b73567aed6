//! Why the service does not run, or did not stop as it should, in words that say what to do.

use std::io::ErrorKind;
use std::net::SocketAddr;

use crate::http::tls::TlsError;
use crate::ledger::handle::SubmitError;
use crate::ledger::open::OpenError;
use crate::ledger::replay::LogError;
use crate::ledger::vault::VaultError;
use crate::log::directory::DirectoryError;
use crate::run::copy_places::CopyPlaceRefused;
use crate::witness::ask::Unwitnessed;

/// Why the service does not run, or did not stop as it should.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The ledger cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The vault is not whole.
    #[error("{path}: {source}")]
    Vault {
        /// The vault's directory.
        path: String,
        /// What is wrong with it.
        source: VaultError,
    },
    /// The issuer in the directory is none.
    #[error("the directory's issuer is not usable: {0}")]
    Issuer(String),
    /// An address cannot be bound.
    #[error("cannot listen on {address}: {source}; {}", another_address(source))]
    Bind {
        /// The address.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Others could read what callers send (RFC 6749 section 3.2).
    #[error(
        "the {listener} listener would speak plain HTTP on {address}, where others can read it: set \
         tls_certificate_file and tls_key_file; or behind_proxy, if a proxy speaks TLS in front of it; \
         or listen on 127.0.0.1 or [::1]"
    )]
    Plain {
        /// Which.
        listener: &'static str,
        /// Where.
        address: SocketAddr,
    },
    /// The certificate cannot be served.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A listener failed.
    #[error("a listener failed: {0}")]
    Listen(#[source] std::io::Error),
    /// The start could not be recorded.
    #[error("the start of the service could not be recorded: {0}")]
    Record(#[from] SubmitError),
    /// A write failed while serving.
    #[error(
        "a write failed and the service has stopped: {0}. What was acknowledged is on the disk. \
         Look at the disk, then start again"
    )]
    Stopped(#[from] LogError),
    /// Copies would lie where they must not.
    #[error(transparent)]
    Copies(#[from] CopyPlaceRefused),
    /// Clients' keys could not be fetched if they were needed.
    #[error("the HTTP client for the keys of clients cannot be set up: {0}")]
    HttpClient(#[source] reqwest::Error),
    /// A witness cannot be asked as the configuration says.
    #[error("witnesses: {0}")]
    Witness(#[from] Unwitnessed),
    /// A write to the vault failed while serving.
    #[error(
        "a write to the vault failed and the service has stopped. What was acknowledged is on the disk. \
         Look at the disk, then start again"
    )]
    VaultFailed,
    /// The writer ended without saying why.
    #[error("the writer ended unexpectedly; what was acknowledged is on the disk: start again")]
    Ended,
    /// The clean stop could not be marked.
    #[error("the ledger is closed, but that could not be marked: {0}")]
    Mark(#[from] DirectoryError),
}

/// What to do about an address that cannot be listened on.
fn another_address(why: &std::io::Error) -> &'static str {
    let is = |kind| why.kind() == kind;
    if is(ErrorKind::AddrInUse) {
        "another process uses the port: stop that one, or choose another port; port 0 lets the system \
         choose"
    } else if is(ErrorKind::PermissionDenied) {
        "a port below 1024 needs the right to use it (CAP_NET_BIND_SERVICE): give it to this process, or \
         choose another port"
    } else {
        "name an address of this machine and a port, like 127.0.0.1:8080"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_listen_is_told_what_to_change() {
        let told = |kind: ErrorKind| {
            let address = "127.0.0.1:80".to_owned();
            RunError::Bind { address, source: kind.into() }.to_string()
        };
        assert!(told(ErrorKind::AddrInUse).contains("another process uses the port"));
        assert!(told(ErrorKind::PermissionDenied).contains("CAP_NET_BIND_SERVICE"));
        for other in [ErrorKind::AddrNotAvailable, ErrorKind::InvalidInput, ErrorKind::Other] {
            assert!(told(other).contains("name an address of this machine"), "{other}");
        }
    }
}
