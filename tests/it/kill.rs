//! The real binary, killed without warning while clients refresh: every acknowledged token is
//! there after the restart, and every client that retries goes on with the one successor.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::process::{BINARY, Process, init, post_form, post_json, text};

/// One client that refreshes until the server is gone.
struct Chain {
    /// The newest refresh token that an answer brought.
    held: String,
    /// Every refresh token before it, the newest last.
    spent: Vec<String>,
    /// The newest access token that an answer brought.
    access: String,
}

async fn refresh_until_dead(
    url: String,
    basic: (String, String),
    mut chain: Chain,
    answers: Arc<AtomicUsize>,
    dead: Arc<AtomicBool>,
) -> Chain {
    while !dead.load(Ordering::SeqCst) {
        let form = [("grant_type", "refresh_token"), ("refresh_token", chain.held.as_str())];
        let Some(body) = post_form(&url, &basic, &form).await else { break };
        chain.spent.push(std::mem::replace(&mut chain.held, text(&body, "refresh_token")));
        chain.access = text(&body, "access_token");
        answers.fetch_add(1, Ordering::SeqCst);
    }
    chain
}

async fn begin(server: &Process, bearer: &str, client: &Value, basic: &(String, String)) -> Chain {
    let grant = json!({ "client_id": client["client_id"], "subject": "alice" });
    let made = post_json(&format!("{}/admin/grants", server.admin), bearer, &grant).await;
    let code = text(&made, "code");
    let form = [("grant_type", "authorization_code"), ("code", code.as_str())];
    let url = format!("{}/oauth/token", server.public);
    let body = post_form(&url, basic, &form).await.unwrap();
    let (held, access) = (text(&body, "refresh_token"), text(&body, "access_token"));
    Chain { held, spent: Vec::new(), access }
}

#[actix_web::test]
async fn e09_e10_killed_under_load_every_acknowledged_token_is_there_and_every_retry_gets_its_successor()
 {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("ledger");
    let admin = init(&data);
    let mut server = Process::serve(&data);
    let form = [("grant_type", "client_credentials")];
    let token = post_form(&format!("{}/oauth/token", server.public), &admin, &form).await.unwrap();
    let bearer = text(&token, "access_token");
    let registration = json!({
        "grant_types": ["authorization_code", "refresh_token"],
        "redirect_uris": ["https://app.example/cb"],
        "scope": "photos.read",
        "grace_s": 3600,
    });
    let url = format!("{}/admin/clients", server.admin);
    let client = post_json(&url, &bearer, &registration).await;
    let basic = (text(&client, "client_id"), text(&client, "client_secret"));
    let mut chains = Vec::new();
    for _ in 0..8 {
        chains.push(begin(&server, &bearer, &client, &basic).await);
    }
    for round in 1..=3 {
        let (answers, dead) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let url = format!("{}/oauth/token", server.public);
        let running: Vec<_> = chains
            .drain(..)
            .map(|chain| {
                let (url, basic) = (url.clone(), basic.clone());
                let (answers, dead) = (Arc::clone(&answers), Arc::clone(&dead));
                actix_web::rt::spawn(refresh_until_dead(url, basic, chain, answers, dead))
            })
            .collect();
        // Not after a time, but after so many answers: the kill falls into the middle of others.
        while answers.load(Ordering::SeqCst) < 40 * round {
            actix_web::rt::task::yield_now().await;
        }
        server.kill();
        dead.store(true, Ordering::SeqCst);
        for task in running {
            chains.push(task.await.unwrap());
        }
        server = Process::serve(&data);
        let url = format!("{}/oauth/token", server.public);
        for chain in &mut chains {
            // What was acknowledged is there: the access token of the last answer is active.
            let form = [("token", chain.access.as_str())];
            let introspect = format!("{}/oauth/introspect", server.public);
            let body = post_form(&introspect, &basic, &form).await.unwrap();
            assert_eq!(body["active"], true, "an acknowledged access token is lost");
            // Whether or not the last request took effect, asking again gives the same successor
            // twice, and with it the chain goes on.
            let form = [("grant_type", "refresh_token"), ("refresh_token", chain.held.as_str())];
            let first = post_form(&url, &basic, &form).await.expect("the retry is answered");
            let again = post_form(&url, &basic, &form).await.expect("and so is another");
            assert_eq!(text(&first, "refresh_token"), text(&again, "refresh_token"));
            chain.spent.push(std::mem::replace(&mut chain.held, text(&first, "refresh_token")));
            chain.access = text(&again, "access_token");
        }
    }
    server.stop();
    let verified = Command::new(BINARY).arg("verify").arg("--data").arg(&data).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}
