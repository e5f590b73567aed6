//! TLS 1.2 and 1.3 on the listeners (RFC 6749 section 3.2, RFC 9325): a certificate that can be read
//! anew while the service runs. Key material stays in rustls; nothing here prints it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The files of one certificate, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, then those that signed it, up to but without the root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not what it must be.
    #[error("{}: no {what} in PEM can be read from it: {why}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What should stand in it.
        what: &'static str,
        /// What the reader says.
        why: String,
    },
    /// The key is not the certificate's, or of a kind that cannot be used.
    #[error("{} and {} cannot be used together: {why}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        why: rustls::Error,
    },
    /// The protocol versions cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// A certificate that is served, and where it comes from.
#[derive(Debug)]
pub struct Certificate {
    files: TlsFiles,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    /// [`TlsError`] names the file; correct it and start again.
    pub fn read(files: TlsFiles) -> Result<Self, TlsError> {
        let current = RwLock::new(Arc::new(read_pair(&files)?));
        Ok(Self { files, current })
    }

    /// Reads the files again: connections from now on get what stands in them.
    ///
    /// # Errors
    /// [`TlsError`]: what was served before is still served; correct the file and ask again.
    pub fn reload(&self) -> Result<(), TlsError> {
        let read = Arc::new(read_pair(&self.files)?);
        *self.current.write() = read;
        Ok(())
    }

    /// The file of the certificate, for messages.
    pub fn path(&self) -> &Path {
        &self.files.certificate
    }

    /// What a listener needs to serve it: TLS 1.2 and 1.3 and nothing older.
    ///
    /// # Errors
    /// [`TlsError::Setup`].
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig, TlsError> {
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let builder =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(&versions)?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(self) as _;
        Ok(builder.with_no_client_auth().with_cert_resolver(resolver))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn read_pair(files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
    let fault = |path: &Path, what, why: &dyn std::fmt::Display| {
        Err(TlsError::File { path: path.to_owned(), what, why: why.to_string() })
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(|found| found.collect::<Result<Vec<_>, _>>());
    let chain = match chain {
        Ok(chain) if chain.is_empty() => {
            return fault(&files.certificate, "certificate", &"there is none");
        }
        Ok(chain) => chain,
        Err(error) => return fault(&files.certificate, "certificate", &error),
    };
    let key = match PrivateKeyDer::from_pem_file(&files.key) {
        Ok(key) => key,
        Err(error) => return fault(&files.key, "private key", &error),
    };
    CertifiedKey::from_der(chain, key, &provider()).map_err(|why| TlsError::Pair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        why,
    })
}
