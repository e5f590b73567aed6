//! What the listeners speak, and whom they believe, from the configuration. Never plain HTTP where
//! others can read it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rustls::ServerConfig;

use crate::config::settings::Config;
use crate::config::value::{FilePath, ProxyHeader};
use crate::http::forwarded::{ForwardedHeader, Proxies};
use crate::http::tls::{Certificate, TlsError, TlsFiles};
use crate::oauth::issuer::Issuer;
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

/// Warns where the issuer names a port of this machine and another one is listened on, unless a proxy
/// stands between them: who goes by the metadata, or by a token's `iss`, finds nobody there.
pub(super) fn warn_of_another_port(issuer: &Issuer, public: SocketAddr, config: &Config) {
    let is_found = issuer.loopback_port().is_none_or(|port| port == public.port());
    if !is_found && config.behind_proxy.is_empty() {
        tracing::warn!(
            %issuer,
            listen = %public,
            "the issuer names another port than is listened on, so clients that go by the metadata find \
             nobody: listen on the issuer's port (--listen), or name the proxy between them \
             (--behind-proxy)"
        );
    }
}
