//! The vault under pressure: a row that shows and is not durable is nobody's yet, a write that failed
//! is final, and an erasure that was begun is finished, whoever hangs up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::json;
use token_ledger::domain::command::{Asked, Command, Owner};
use token_ledger::domain::record::Actor;
use token_ledger::entropy::SeededEntropy;
use token_ledger::ledger::vault::{Rows, Vault, VaultError, Visit};
use token_ledger::ledger::vault_files::{MemoryRows, REWRITE_DUE};
use token_ledger::log::store::StoreError;
use token_ledger::types::id::RequestId;
use zeroize::Zeroizing;

use crate::support::server::{Server, asking};

/// Rows that show before they are durable, as those of the engine do: each write says that it shows,
/// and waits until it is told how it ends.
struct Slow {
    rows: MemoryRows,
    shows: Sender<()>,
    ends: parking_lot::Mutex<Receiver<bool>>,
    is_sound: AtomicBool,
}

impl Rows for Slow {
    fn row(&self, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.rows.row(key)
    }

    fn put(&self, rows: &[(&[u8], &[u8])]) -> Result<(), StoreError> {
        self.rows.put(rows)?;
        self.shows.send(()).unwrap();
        if self.ends.lock().recv().unwrap() {
            return Ok(());
        }
        self.is_sound.store(false, Ordering::SeqCst);
        Err(StoreError::Poisoned)
    }

    fn remove(&self, keys: &[&[u8]]) -> Result<(), StoreError> {
        self.rows.remove(keys)
    }

    fn each(&self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.rows.each(visit)
    }

    fn needs_rewrite(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn rewrite(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn is_sound(&self) -> bool {
        self.is_sound.load(Ordering::SeqCst)
    }
}

fn slow() -> (Arc<Vault>, Receiver<()>, Sender<bool>) {
    let ((shows, shown), (end, ends)) = (channel(), channel());
    let (ends, is_sound) = (parking_lot::Mutex::new(ends), AtomicBool::new(true));
    let rows = Slow { rows: MemoryRows::default(), shows, ends, is_sound };
    (Arc::new(Vault::new(Box::new(rows), Zeroizing::new([7; 32]))), shown, end)
}

fn ensuring(vault: &Arc<Vault>, seed: u64) -> std::thread::JoinHandle<Result<String, VaultError>> {
    let vault = Arc::clone(vault);
    std::thread::spawn(move || {
        let person = vault.ensure("dave", &SeededEntropy::new(seed))?;
        Ok(person.subject.to_string())
    })
}

#[test]
fn nobody_builds_on_a_row_that_is_not_durable_yet() {
    let (vault, shown, end) = slow();
    let first = ensuring(&vault, 1);
    shown.recv().unwrap();
    assert!(vault.find("dave").unwrap().is_some(), "it shows");
    let second = ensuring(&vault, 2);
    // However much time it is given, it has no answer before the first has one.
    for _ in 0..1000 {
        std::thread::yield_now();
        assert!(!second.is_finished());
    }
    end.send(true).unwrap();
    let first = first.join().unwrap().unwrap();
    assert_eq!(second.join().unwrap().unwrap(), first);
    assert!(!*vault.failed().borrow());
    // Now it is: nobody is written again.
    assert_eq!(ensuring(&vault, 3).join().unwrap().unwrap(), first);
}

#[test]
fn after_a_write_that_failed_nobody_is_given_the_row_that_it_left() {
    let (vault, shown, end) = slow();
    let first = ensuring(&vault, 1);
    shown.recv().unwrap();
    end.send(false).unwrap();
    assert!(first.join().unwrap().is_err());
    assert!(*vault.failed().borrow(), "whoever runs it is told");
    assert!(vault.find("dave").unwrap().is_some(), "it shows all the same");
    let refused = ensuring(&vault, 2).join().unwrap();
    assert!(matches!(refused, Err(VaultError::Store(StoreError::Poisoned))), "{refused:?}");
    assert!(vault.ensure("erin", &SeededEntropy::new(3)).is_err(), "nor is anybody else written");
}

async fn erase(server: &Server, sub: &str, now: bool) -> crate::support::wire::Answer {
    let body = json!({
        "subject": sub, "reason": "asked", "legal_basis": "GDPR Art. 17", "rewrite_now": now,
    });
    server.administer("POST", "/admin/subjects/erase", Some(body)).await
}

fn seeded(server: &Server) -> Owner {
    let entropy = SeededEntropy::new(9);
    let person = server.running().edge.vault.ensure("dave", &entropy).unwrap();
    Owner { subject: person.subject, sub: person.sub }
}

async fn records(server: &Server, subject: &str) -> Vec<String> {
    let path = format!("/audit/subjects/trail?subject={subject}");
    server.audit(&path).await.is(200).types()
}

/// A first grant has made the row, and is on its way to the writer.
#[actix_web::test]
async fn who_is_erased_while_a_first_grant_is_on_its_way_is_erased_in_the_log_too() {
    let mut server = Server::start().await;
    let owner = seeded(&server);
    let answer = erase(&server, "dave", false).await.is(200).json();
    assert!(answer["seq"].is_u64(), "{answer}");
    let pseudonym = owner.subject.to_string();
    assert_eq!(answer["subject"], pseudonym);
    let trail = records(&server, &pseudonym).await;
    assert_eq!(trail[..2], ["subject.registered", "subject.erased"], "{trail:?}");
    // The grant comes too late, and is of nobody.
    let late = Command::CreateGrant {
        grant: token_ledger::types::id::GrantId::from_bytes([5; 16]),
        client: server.photos.id.parse().unwrap(),
        owner,
        scope: "read".parse().unwrap(),
        resources: Default::default(),
        code: token_ledger::types::digest::Digest::from_bytes([6; 32]),
        code_lifetime_s: 60,
        redirect_uri: None,
        challenge: None,
    };
    let request = RequestId::from_bytes([1; 8]);
    let asked = Asked { request, actor: Actor::Ledger, origin: None, command: late };
    assert!(server.running().ledger().submit(asked).await.unwrap().outcome.is_err());
    // Nobody is missing when it starts again, and who comes back is somebody new.
    server.restart().await;
    server.tokens("dave").await;
    let found = server.running().edge.vault.find("dave").unwrap().unwrap().subject.to_string();
    assert_ne!(found, pseudonym);
    // Who is known by pseudonym only can be erased by it.
    erase(&server, &pseudonym, false).await.fails_with(404, "not_found");
    assert_eq!(erase(&server, &found, false).await.is(200).json()["subject"], found);
    assert!(server.running().edge.vault.find("dave").unwrap().is_none());
}

/// The answer to the record was lost, and whoever asked is gone.
#[actix_web::test]
async fn an_erasure_that_was_recorded_is_finished_though_nobody_waits_for_it() {
    let server = Server::start_with(|raw| raw.vault_rewrite_s_max = 2).await;
    server.tokens("dave").await;
    let vault = Arc::clone(&server.running().edge.vault);
    let owner = seeded(&server);
    vault.begin_erasure(owner.subject);
    let (reason, legal_basis) = ("asked".to_owned(), "none".to_owned());
    let command = Command::EraseSubject { owner, reason, legal_basis };
    let request = RequestId::from_bytes([1; 8]);
    let asked = Asked { request, actor: Actor::Ledger, origin: None, command };
    server.running().ledger().submit(asked).await.unwrap().outcome.unwrap();
    while vault.find("dave").unwrap().is_some() || vault.needs_rewrite().unwrap() {
        tokio::task::yield_now().await;
    }
    // The person is not locked out.
    server.grant(asking("photos", "dave")).await.is(201);
}

#[actix_web::test]
async fn what_is_left_of_the_erased_goes_when_it_is_asked_for_again_and_before_a_stop() {
    let mut server = Server::start().await;
    let due = server.data().join(REWRITE_DUE);
    server.tokens("dave").await;
    erase(&server, "dave", false).await.is(200);
    assert!(due.exists());
    erase(&server, "dave", true).await.fails_with(404, "not_found");
    assert!(!due.exists(), "asked for once more, with haste");
    server.tokens("dave").await;
    erase(&server, "dave", false).await.is(200);
    assert!(due.exists());
    // A directory that could not be removed once goes with the next exchange.
    std::fs::create_dir(server.data().join("vault-000077")).unwrap();
    server.stop().await;
    assert!(!due.exists(), "while nothing runs, nobody would keep the time");
    let vaults = std::fs::read_dir(server.data()).unwrap().map(|entry| entry.unwrap().file_name());
    let vaults: Vec<_> =
        vaults.filter(|name| name.to_str().unwrap().starts_with("vault-")).collect();
    assert_eq!(vaults.len(), 1, "{vaults:?}");
}
