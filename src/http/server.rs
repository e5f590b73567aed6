//! The two listeners, from bound sockets to the clean stop.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::web::{self, Data, PathConfig, ServiceConfig};
use actix_web::{App as ActixApp, HttpRequest, HttpServer, Resource, Route};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_tcp_user_timeout};
use rustls::ServerConfig;

use crate::http::app::App;
use crate::http::respond::{method_not_allowed, not_found, not_found_error};
use crate::http::unread::close_after;
use crate::http::{clients, evidence, health, inquiries, operations, public};
use crate::ledger::postbox::deliver;

/// How much of what a client sent waits in the system for each connection. The HTTP library decodes
/// every request that it can read before it answers the first, some hundred times their size in
/// memory: so this bounds what a client holds that sends on and reads no answer.
const RECEIVE_BUFFER_BYTES: usize = 16 * 1024;

/// The same bounds for both listeners, with TLS or without; their types differ.
macro_rules! served {
    ($server:expr, $limits:expr, $connections_max:expr, $socket:expr, $tls:expr) => {{
        let limits: ServerLimits = $limits;
        let server = $server
            .workers(limits.workers.max(1))
            .max_connections($connections_max)
            .client_request_timeout(Duration::from_millis(limits.client_request_timeout_ms))
            .tls_handshake_timeout(Duration::from_millis(limits.client_request_timeout_ms))
            .client_disconnect_timeout(Duration::from_secs(1))
            .shutdown_timeout(limits.shutdown_timeout_s)
            .disable_signals();
        let server = match limits.keep_alive_s {
            0 => server.keep_alive(actix_web::http::KeepAlive::Disabled),
            seconds => server.keep_alive(Duration::from_secs(seconds)),
        };
        match $tls {
            Some(tls) => server.listen_rustls_0_23($socket, tls)?,
            None => server.listen($socket)?,
        }
        .run()
    }};
}

/// One address with one method.
pub fn route(config: &mut ServiceConfig, path: &str, allowed: &'static str, route: Route) {
    routes(config, path, allowed, vec![route]);
}

/// One address with several methods; any other is answered 405 with `allowed`.
pub fn routes(config: &mut ServiceConfig, path: &str, allowed: &'static str, routes: Vec<Route>) {
    config.service(resource(path, allowed, routes));
}

/// The same before it is put in place.
pub fn resource(path: &str, allowed: &'static str, routes: Vec<Route>) -> Resource {
    let mut resource = web::resource(path);
    for route in routes {
        resource = resource.route(route);
    }
    let other = web::to(move |request: HttpRequest| method_not_allowed(request, allowed));
    resource.default_service(other)
}

/// The bounds of the listeners.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// Threads for each listener.
    pub workers: usize,
    /// Connections open at once, for each worker of the public listener.
    pub connections_max: usize,
    /// The same of the admin listener.
    pub admin_connections_max: usize,
    /// Connections that wait to be accepted.
    pub backlog_connections_max: u32,
    /// How long the head of a request may take, in milliseconds.
    pub client_request_timeout_ms: u64,
    /// How long an answer may lie unread on its way, in milliseconds.
    pub unread_answer_timeout_ms: u32,
    /// How long an idle connection is kept, in seconds; 0 closes it at once.
    pub keep_alive_s: u64,
    /// How long requests in flight may take once the service stops, in seconds.
    pub shutdown_timeout_s: u64,
}

/// Two listeners that serve.
pub struct Listening {
    /// Where clients reach the service.
    pub public: SocketAddr,
    /// Where administrators and auditors reach it.
    pub admin: SocketAddr,
    public_server: Server,
    admin_server: Server,
}

/// Starts both listeners on bound sockets, the public one first; one with a TLS configuration speaks
/// nothing else.
///
/// # Errors
/// When a socket cannot be served.
pub fn listen(
    app: &Data<App>,
    [public_socket, admin_socket]: [TcpListener; 2],
    [public_tls, admin_tls]: [Option<ServerConfig>; 2],
    limits: ServerLimits,
) -> std::io::Result<Listening> {
    for socket in [&public_socket, &admin_socket] {
        // Once more, as the standard library sets a bound of its own when it binds.
        let backlog = i32::try_from(limits.backlog_connections_max).unwrap_or(i32::MAX);
        rustix::net::listen(socket, backlog)?;
        // What is set here, each accepted connection has.
        set_socket_recv_buffer_size(socket, RECEIVE_BUFFER_BYTES)?;
        set_tcp_user_timeout(socket, limits.unread_answer_timeout_ms)?;
    }
    let (public, admin) = (public_socket.local_addr()?, admin_socket.local_addr()?);
    let issuer_path = app.edge.issuer.path().to_owned();
    let well_known = app.edge.issuer.well_known_path();
    let public_log = app.public_log;
    let public_app = app.clone();
    let public_server = served!(
        HttpServer::new(move || {
            let (path, well_known) = (issuer_path.clone(), well_known.clone());
            // This runs once on each thread that serves.
            actix_web::rt::spawn(deliver());
            ActixApp::new()
                .wrap_fn(close_after)
                .app_data(public_app.clone())
                .configure(move |config| {
                    public::configure(config, &path, &well_known);
                    if public_log {
                        evidence::configure_public(config, &path);
                    }
                })
                .configure(health::configure_checks)
                .default_service(web::to(not_found))
        }),
        limits,
        limits.connections_max,
        public_socket,
        public_tls
    );
    let admin_app = app.clone();
    let admin_server = served!(
        HttpServer::new(move || {
            actix_web::rt::spawn(deliver());
            ActixApp::new()
                .wrap_fn(close_after)
                .app_data(admin_app.clone())
                .app_data(PathConfig::default().error_handler(|_, _| not_found_error()))
                .configure(clients::configure)
                .configure(operations::configure)
                .configure(inquiries::configure)
                .configure(evidence::configure)
                .configure(health::configure)
                .default_service(web::to(not_found))
        }),
        limits,
        limits.admin_connections_max,
        admin_socket,
        admin_tls
    );
    Ok(Listening { public, admin, public_server, admin_server })
}

impl Listening {
    /// What stops both listeners.
    pub fn handles(&self) -> [ServerHandle; 2] {
        [self.public_server.handle(), self.admin_server.handle()]
    }

    /// Serves until both listeners have stopped.
    ///
    /// # Errors
    /// When a listener fails.
    pub async fn serve(self) -> std::io::Result<()> {
        let admin = actix_web::rt::spawn(self.admin_server);
        self.public_server.await?;
        admin.await.map_err(std::io::Error::other)?
    }
}
