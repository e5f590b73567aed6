//! From a directory to a service and back: what refuses to start says why and changes nothing, and
//! a clean stop loses no answer.

use std::fs;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use token_ledger::clock::Clock;
use token_ledger::entropy::OsEntropy;
use token_ledger::ledger::open::{Beginning, OpenError, create, open_log};
use token_ledger::log::directory::DirectoryError;
use token_ledger::log::sled::{SledDatabase, SledStore};
use token_ledger::log::store::Store;
use token_ledger::run::error::RunError;
use token_ledger::types::id::Seq;

use crate::support::server::{CACHE_BYTES, Server, administrator, config};

async fn refused(server: &Server) -> String {
    match server.run().await {
        Ok(_) => panic!("it runs"),
        Err(error) => error.to_string(),
    }
}

fn is_marked_clean(server: &Server) -> bool {
    let names = fs::read_dir(server.data()).unwrap().map(|entry| entry.unwrap().file_name());
    names.into_iter().any(|name| name.to_string_lossy().contains("clean"))
}

#[actix_web::test]
async fn a_directory_that_is_missing_or_foreign_is_not_touched() {
    let mut server = Server::start().await;
    server.stop().await;
    let good = server.data();
    let away = server.directory.path().join("away");
    fs::rename(&good, &away).unwrap();
    assert!(refused(&server).await.contains("there is no data directory"));
    assert!(!good.exists());
    fs::create_dir(&good).unwrap();
    fs::write(good.join("holiday.txt"), "x").unwrap();
    assert!(refused(&server).await.contains("is not a ledger's directory"));
    assert_eq!(fs::read_dir(&good).unwrap().count(), 1);
}

#[actix_web::test]
async fn a_directory_in_use_or_of_a_newer_format_is_refused() {
    let mut server = Server::start().await;
    assert!(refused(&server).await.contains("is in use by another process"));
    server.stop().await;
    let marker = fs::read_dir(server.data())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| fs::read_to_string(path).is_ok_and(|text| text.contains("\"format\"")))
        .unwrap();
    let text = fs::read_to_string(&marker).unwrap();
    fs::write(&marker, text.replace("\"format\":2", "\"format\":99")).unwrap();
    assert!(refused(&server).await.contains("run a newer token-ledger"));
    fs::write(&marker, text.replace("https://ledger.example/t", "https://other.example")).unwrap();
    let said = refused(&server).await;
    assert!(said.contains("token-ledger.json") && said.contains("put it back"), "{said}");
    assert!(is_marked_clean(&server));
    fs::write(&marker, text).unwrap();
    server.resume().await;
}

#[actix_web::test]
async fn missing_or_damaged_keys_are_named_and_the_clean_stop_is_not_forgotten() {
    let mut server = Server::start().await;
    let tokens = server.tokens("alice").await;
    server.stop().await;
    let (keys, away) = (server.data().join("keys.json"), server.directory.path().join("keys"));
    fs::rename(&keys, &away).unwrap();
    let message = refused(&server).await;
    assert!(message.contains("keys.json is missing: put it back"), "{message}");
    assert!(is_marked_clean(&server));
    fs::write(&keys, "{}").unwrap();
    let message = refused(&server).await;
    assert!(message.contains("keys.json cannot be used"), "{message}");
    assert!(is_marked_clean(&server));
    fs::rename(&away, &keys).unwrap();
    server.resume().await;
    server.refreshed(&tokens).await;
    let opened = server.audit("/audit/records?type=ledger.opened").await.records();
    assert!(opened.iter().all(|record| record["data"]["clean"] == json!(true)), "{opened:?}");
}

#[actix_web::test]
async fn a_port_in_use_is_named_and_the_ledger_stays_as_it_is() {
    let mut server = Server::start().await;
    server.stop().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for public in [true, false] {
        server.config = config(|raw| {
            let listen = if public { &mut raw.listen } else { &mut raw.admin_listen };
            listen.clone_from(&address);
        });
        let error = server.run().await.err();
        let Some(RunError::Bind { address: named, .. }) = error else { panic!("{error:?}") };
        assert_eq!(named, address);
        assert!(is_marked_clean(&server));
    }
    server.config = config(|_| {});
    server.resume().await;
}

#[actix_web::test]
async fn a_log_that_was_cut_after_a_clean_stop_is_refused_again_and_again() {
    let server = with_the_log_of_an_earlier_stop().await;
    for _ in 0..2 {
        let message = refused(&server).await;
        assert!(message.contains("but the last clean stop left it at"), "{message}");
    }
}

#[actix_web::test]
async fn after_a_crash_a_log_that_ends_before_what_was_durable_is_refused_again_and_again() {
    let server = with_the_log_of_an_earlier_stop().await;
    fs::remove_file(server.data().join("clean")).unwrap();
    for _ in 0..2 {
        let message = refused(&server).await;
        assert!(message.contains("was on the disk before the crash"), "{message}");
        assert!(message.contains("log.before-recovery"), "{message}");
    }
}

#[actix_web::test]
async fn after_a_crash_a_log_that_ends_before_what_was_signed_keeps_its_copy_from_before_the_recovery()
 {
    let server = with_the_log_of_an_earlier_stop().await;
    // As a power cut leaves it: only the fence still tells how long the log was.
    fs::remove_file(server.data().join("clean")).unwrap();
    fs::remove_file(server.data().join("reached")).unwrap();
    let evidence = server.data().join("log/evidence");
    fs::write(&evidence, "what a recovery would overwrite").unwrap();
    for _ in 0..2 {
        let message = refused(&server).await;
        assert!(message.contains("but a checkpoint of"), "{message}");
        let kept = server.data().join("log.before-recovery/evidence");
        assert!(kept.exists(), "the copy was replaced by what the recovery left");
        let _ = fs::remove_file(&evidence);
    }
}

#[actix_web::test]
async fn a_vault_that_has_lost_somebody_is_refused_until_the_operator_says_so() {
    let mut server = Server::start().await;
    let vault = server.data().join("vault-000001");
    let old = server.directory.path().join("old");
    server.tokens("alice").await;
    server.stop().await;
    copy(&vault, &old);
    server.resume().await;
    server.tokens("bob").await;
    server.stop().await;
    fs::remove_dir_all(&vault).unwrap();
    fs::rename(&old, &vault).unwrap();
    for _ in 0..2 {
        let message = refused(&server).await;
        assert!(message.contains("vault-000001: the vault has lost s_"), "{message}");
        assert!(is_marked_clean(&server));
    }
    server.config = config(|raw| raw.vault_incomplete_ok = 1);
    server.resume().await;
    server.tokens("bob").await;
}

/// Stopped cleanly, with the log as an earlier clean stop left it.
async fn with_the_log_of_an_earlier_stop() -> Server {
    let mut server = Server::start().await;
    let old = server.directory.path().join("old");
    server.stop().await;
    copy(&server.data().join("log"), &old);
    server.resume().await;
    server.tokens("alice").await;
    server.stop().await;
    fs::remove_dir_all(server.data().join("log")).unwrap();
    fs::rename(&old, server.data().join("log")).unwrap();
    server
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        match entry.is_dir() {
            true => copy(&entry, &to.join(name)),
            false => drop(fs::copy(&entry, to.join(name)).unwrap()),
        }
    }
}

#[actix_web::test]
async fn a_record_that_was_altered_is_named() {
    let mut server = Server::start().await;
    server.stop().await;
    // Somebody who knows the format writes one more record, with a `prev` of their own.
    let database = Arc::new(SledDatabase::open(&server.data().join("log"), CACHE_BYTES).unwrap());
    let store = SledStore::open(Arc::clone(&database)).unwrap();
    let end = store.end().unwrap();
    let last = store.block(Seq(end.0 - 1)).unwrap().unwrap();
    let mut record: Value = serde_json::from_slice(last.record(Seq(end.0 - 1)).unwrap()).unwrap();
    record["seq"] = json!(end);
    store.append(end, &[record.to_string().into_bytes()]).unwrap();
    drop((store, database));
    let message = refused(&server).await;
    assert!(message.contains(&format!("record {end} is broken")), "{message}");
    assert!(is_marked_clean(&server));
}

#[actix_web::test]
async fn create_takes_no_directory_that_holds_something() {
    let server = Server::start().await;
    let beginning = Beginning {
        issuer: "https://a.example",
        origin: "a.example",
        administrator: administrator(),
    };
    let clock: Arc<dyn Clock> = server.clock.clone();
    let made = create(&server.data(), beginning, CACHE_BYTES, clock, &OsEntropy).err();
    let refused = matches!(made, Some(OpenError::Directory(DirectoryError::NotEmpty { .. })));
    assert!(refused, "{made:?}");
}

#[actix_web::test]
async fn start_and_stop_are_in_the_log_and_say_how_it_went() {
    let mut server = Server::start().await;
    server.restart().await;
    let running = server.take_running();
    // A stop without its mark, as after a kill.
    running.stop().await.unwrap();
    for entry in fs::read_dir(server.data()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().contains("clean") {
            fs::remove_file(path).unwrap();
        }
    }
    server.resume().await;
    let opened = server.audit("/audit/records?type=ledger.opened").await.records();
    let clean: Vec<_> = opened.iter().map(|r| r["data"]["clean"].as_bool().unwrap()).collect();
    assert_eq!(clean, [true, true, false]);
    let closed = server.audit("/audit/records?type=ledger.closed").await.records();
    assert_eq!(closed.len(), 2);
    assert!(server.data().join("log.before-recovery").is_dir());
    let vaults = fs::read_dir(server.data().join("log.before-recovery")).unwrap();
    let names = vaults.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    assert!(names.into_iter().all(|name| !name.contains("vault")));
}

#[actix_web::test]
async fn a_clean_stop_under_load_loses_no_answer() {
    let mut server = Server::start().await;
    let running = server.take_running();
    let (public, wire) = (running.public, server.wire.clone());
    let stopping = Arc::new(AtomicBool::new(false));
    let party = server.administrator.clone();
    let url = format!("http://{public}/t/oauth/token");
    let mut clients = Vec::new();
    for _ in 0..16 {
        let (wire, url, party) = (wire.clone(), url.clone(), party.clone());
        let stopping = Arc::clone(&stopping);
        clients.push(actix_web::rt::spawn(async move {
            let mut tokens = Vec::new();
            loop {
                let call = crate::support::wire::Call::new("POST", &url)
                    .form(&[("grant_type", "client_credentials")])
                    .basic(&party.id, party.secret.as_deref().unwrap());
                match wire.try_send(call).await {
                    Ok(answer) => tokens.push(answer.is(200).text("access_token")),
                    // Refused at the door, before a byte of the request was read.
                    Err(error) => {
                        assert!(stopping.load(Ordering::SeqCst), "{error:?}");
                        return tokens;
                    }
                }
            }
        }));
    }
    while running.ledger().state().counts().access_tokens < 200 {
        tokio::task::yield_now().await;
    }
    stopping.store(true, Ordering::SeqCst);
    running.stop().await.unwrap();
    let mut tokens = Vec::new();
    for client in clients {
        tokens.extend(client.await.unwrap());
    }
    let replayed = open_log(&server.data(), CACHE_BYTES, 0, |_| {}).unwrap();
    assert!(replayed.clean && 100 <= tokens.len());
    for token in &tokens {
        let digest = token_ledger::crypto::digest::access_token(token).short();
        assert!(replayed.state.token(&digest).is_some(), "an acknowledged token is lost");
    }
    // The other way round: what was recorded was answered, or a connection was cut before that.
    let kept = replayed.state.counts().access_tokens;
    assert_eq!(kept, tokens.len() + 4, "an answer was lost on its way");
}
