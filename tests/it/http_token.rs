//! The token endpoint over HTTP: its wire rules, codes, client credentials (RFC 6749).

use crate::support::server::{API, Server};

#[actix_web::test]
async fn tokens_come_refresh_and_stop() {
    let mut server = Server::start().await;
    let tokens = server.tokens("alice").await;
    assert!(server.is_active(&tokens.access).await);
    let next = server.refreshed(&tokens).await;
    assert_ne!(next.refresh, tokens.refresh);
    server.restart().await;
    server.refreshed(&next).await;
    server.stop().await;
    let _ = API;
}
