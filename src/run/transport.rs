//! What the listeners speak, and whom they believe, from the configuration. Never plain HTTP where
//! others can read it.

use std::net::TcpListener;
use std::sync::Arc;

use rustls::ServerConfig;

use crate::config::settings::Config;
use crate::config::value::{FilePath, ProxyHeader};
use crate::http::forwarded::{ForwardedHeader, Proxies};
use crate::http::tls::{Certificate, TlsError, TlsFiles};
use crate::run::error::RunError;

/// The certificates of both listeners; one without has to be out of reach of others.
pub(super) fn certificates(
    sockets: &[TcpListener; 2],
    config: &Config,
) -> Result<[Option<Arc<Certificate>>; 2], RunError> {
    let read = |certificate: &FilePath, key: &FilePath| {
        let files = certificate.path().zip(key.path());
        let files = files.map(|(certificate, key)| TlsFiles {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        });
        files.map(Certificate::read).transpose()
    };
    let public = read(&config.tls_certificate_file, &config.tls_key_file)?.map(Arc::new);
    let admin = read(&config.admin_tls_certificate_file, &config.admin_tls_key_file)?;
    let admin = admin.map(Arc::new).or_else(|| public.clone());
    let [public_socket, admin_socket] = sockets;
    for (listener, socket, certificate) in
        [("public", public_socket, &public), ("admin", admin_socket, &admin)]
    {
        let address = socket.local_addr().map_err(RunError::Listen)?;
        let is_reachable = !address.ip().to_canonical().is_loopback();
        if certificate.is_none() && is_reachable && config.behind_proxy.is_empty() {
            return Err(RunError::Plain { listener, address });
        }
    }
    Ok([public, admin])
}

pub(super) fn tls_of(
    certificate: &Option<Arc<Certificate>>,
) -> Result<Option<ServerConfig>, TlsError> {
    certificate.as_ref().map(Certificate::server_config).transpose()
}

pub(super) fn proxies(config: &Config) -> Proxies {
    let header = match config.proxy_header {
        ProxyHeader::XForwardedFor => ForwardedHeader::XForwardedFor,
        ProxyHeader::Forwarded => ForwardedHeader::Forwarded,
    };
    Proxies { trusted: config.behind_proxy.clone(), header }
}
