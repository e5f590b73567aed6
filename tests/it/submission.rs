//! The ledger asks witnesses: honest ones, absent ones, and every kind of liar.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use parking_lot::Mutex;
use token_ledger::clock::{Clock, ManualClock};
use token_ledger::crypto::note::NoteSignature;
use token_ledger::crypto::note_key::NoteVerifier;
use token_ledger::crypto::note_signer::Cosigner;
use token_ledger::ledger::checkpoints::Published;
use token_ledger::log::leaf::NodeHash;
use token_ledger::types::time::Timestamp;
use token_ledger::witness::ask::{Unwitnessed, WitnessClient};
use token_ledger::witness::submit::{Submitter, Witnessed};

use crate::support::notary::{COSIGNED_AT_S, Log, Served, make_witness};

/// A log that remembers who cosigned what.
struct Asking {
    log: Log,
    lines: Mutex<Vec<(u64, NoteSignature)>>,
}

impl Asking {
    fn new(salt: &str) -> Arc<Self> {
        Arc::new(Self { log: Log::new("log.example", salt, 300), lines: Mutex::default() })
    }

    fn offer(&self, size: u64, at_s: u64) -> Arc<Published> {
        let (head, note) = (self.log.head(size), self.log.checkpoint(size));
        Arc::new(Published { head, note, at: Timestamp::from_seconds(at_s) })
    }

    fn cosigned(&self) -> Vec<u64> {
        self.lines.lock().iter().map(|(size, _)| *size).collect()
    }
}

impl Witnessed for Asking {
    fn growth(&self, old: u64, new: u64) -> Result<Vec<NodeHash>, String> {
        Ok(self.log.proof(old, new))
    }

    fn cosigned(&self, checkpoint: &Published, line: NoteSignature) -> Result<(), String> {
        self.lines.lock().push((checkpoint.head.size, line));
        Ok(())
    }
}

fn submitter(verifier: &NoteVerifier, url: &str) -> (Arc<Submitter>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(COSIGNED_AT_S)));
    let client = WitnessClient::new(verifier.clone(), url, 300).unwrap();
    let time: Arc<dyn Clock> = clock.clone();
    (Arc::new(Submitter::new(client, time, 5)), clock)
}

#[actix_web::test]
async fn each_checkpoint_is_cosigned_and_after_a_restart_the_first_conflict_tells_where() {
    let folder = tempfile::tempdir().unwrap();
    let asking = Asking::new("leaf");
    make_witness(&folder.path().join("w"), "witness.example", &[&asking.log]);
    let witness = Served::start(&folder.path().join("w"));
    let log: Arc<dyn Witnessed> = asking.clone();
    let (first, _) = submitter(&witness.verifier, &witness.url);
    let (again, _) = submitter(&witness.verifier, &format!("{}/", witness.url));
    for (submitter, size) in [(&first, 3), (&again, 5), (&first, 64), (&again, 64), (&again, 300)] {
        submitter.submit(&asking.offer(size, 0), &log).await.unwrap();
    }
    assert_eq!(asking.cosigned(), [3, 5, 64, 64, 300]);
    for (size, line) in asking.lines.lock().iter() {
        let text = asking.log.checkpoint(*size).text().to_owned();
        assert!(witness.verifier.verify(&text, line).is_some());
    }
    // An old copy of the log, and another log under the same key.
    let behind = again.submit(&asking.offer(200, 0), &log).await;
    assert_eq!(behind, Err(Unwitnessed::Ahead { cosigned: 300, size: 200 }));
    let forked = Asking::new("fork");
    let log: Arc<dyn Witnessed> = forked.clone();
    let (of_fork, _) = submitter(&witness.verifier, &witness.url);
    let same = of_fork.submit(&forked.offer(300, 0), &log).await;
    assert_eq!(same, Err(Unwitnessed::Forked { size: 300 }));
    assert!(same.unwrap_err().is_alarm() && behind.unwrap_err().is_alarm());
    assert_eq!(forked.cosigned(), [0; 0]);
}

/// Answers every request with what `answer` makes of its body, as raw bytes; `None`: never.
fn liar(answer: impl Fn(&str) -> Option<String> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut bytes = Vec::new();
            let mut chunk = [0; 4096];
            while let Ok(read) = stream.read(&mut chunk) {
                bytes.extend_from_slice(&chunk[..read]);
                let text = String::from_utf8_lossy(&bytes);
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if read == 0 || length.is_some_and(|length| length == body.len().to_string()) {
                    break;
                }
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            match answer(body) {
                Some(answer) => drop(stream.write_all(answer.as_bytes())),
                None => silent.push(stream),
            }
        }
    });
    url
}

fn raw(status: &str, kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\
         \r\n{body}",
        body.len()
    )
}

const SIZE: &str = "text/x.tlog.size";

#[actix_web::test]
async fn what_a_witness_says_counts_only_as_far_as_its_signature_goes() {
    let asking = Asking::new("leaf");
    let witness = || Cosigner::new("witness.example".parse().unwrap(), &[1; 32]);
    let at = Timestamp::from_seconds(COSIGNED_AT_S);
    let other = Cosigner::new("witness.example".parse().unwrap(), &[2; 32]);
    let over_another = witness().cosign(asking.log.checkpoint(8).text(), at).to_string();
    let by_another = other.cosign(asking.log.checkpoint(9).text(), at).to_string();
    let good = witness().cosign(asking.log.checkpoint(9).text(), at).to_string();
    let fixed = |status: &'static str, kind: &'static str, body: String| {
        liar(move |_| Some(raw(status, kind, &body)))
    };
    let no_key = Unwitnessed::Worthless("no cosignature by its key");
    let no_lines = Unwitnessed::Worthless("no signature lines");
    let no_size = Unwitnessed::Worthless("a conflict without a size");
    let cases = [
        ("unknown", fixed("404 Not Found", "text/plain", String::new()), Unwitnessed::UnknownLog),
        ("forbidden", fixed("403 Forbidden", "text/plain", String::new()), Unwitnessed::NotTrusted),
        ("broken", fixed("500 Oh", "text/plain", String::new()), Unwitnessed::Status(500)),
        ("bad", fixed("400 Bad", "text/plain", String::new()), Unwitnessed::Status(400)),
        ("elsewhere", fixed("302 Found", "text/plain", String::new()), Unwitnessed::Status(302)),
        ("no proof", fixed("422 No", "text/plain", String::new()), Unwitnessed::Status(422)),
        ("nothing", fixed("200 OK", "text/plain", String::new()), no_lines.clone()),
        ("garbage", fixed("200 OK", "text/plain", "<html>\n".into()), no_lines.clone()),
        ("no newline", fixed("200 OK", "text/plain", good.clone()), no_lines),
        (
            "over another text",
            fixed("200 OK", "text/plain", format!("{over_another}\n")),
            Unwitnessed::Worthless("a cosignature that is not over this text"),
        ),
        ("by another", fixed("200 OK", "text/plain", format!("{by_another}\n")), no_key),
        ("endless", fixed("200 OK", "text/plain", "a".repeat(70_000)), Unwitnessed::TooLong),
        ("no size", fixed("409 Conflict", SIZE, "five\n".into()), no_size.clone()),
        ("padded size", fixed("409 Conflict", SIZE, "05\n".into()), no_size.clone()),
        ("size without its type", fixed("409 Conflict", "text/plain", "5\n".into()), no_size),
        (
            "the same size for ever",
            fixed("409 Conflict", SIZE, "0\n".into()),
            Unwitnessed::Worthless("a conflict with the size that it named before"),
        ),
        (
            "more than there is",
            fixed("409 Conflict", SIZE, "10\n".into()),
            Unwitnessed::Ahead { cosigned: 10, size: 9 },
        ),
        (
            "our own size, another root",
            fixed("409 Conflict", SIZE, "9\n".into()),
            Unwitnessed::Forked { size: 9 },
        ),
        (
            "another size each time",
            liar(|body| {
                let old = body.strip_prefix("old ").and_then(|rest| rest.lines().next());
                let next = (old.unwrap().parse::<u64>().unwrap() + 1) % 9;
                Some(raw("409 Conflict", SIZE, &format!("{next}\n")))
            }),
            Unwitnessed::Unsettled,
        ),
    ];
    let log: Arc<dyn Witnessed> = asking.clone();
    for (what, url, fault) in cases {
        let (submitter, _) = submitter(witness().verifier(), &url);
        assert_eq!(submitter.submit(&asking.offer(9, 0), &log).await, Err(fault), "{what}");
    }
    for (what, url) in [
        ("never answers", liar(|_| None)),
        ("is not there", {
            let closed = TcpListener::bind("127.0.0.1:0").unwrap();
            format!("http://{}", closed.local_addr().unwrap())
        }),
    ] {
        let (submitter, _) = submitter(witness().verifier(), &url);
        let fault = submitter.submit(&asking.offer(9, 0), &log).await.unwrap_err();
        assert!(matches!(fault, Unwitnessed::Unreachable(_)), "{what}: {fault}");
    }
    assert_eq!(asking.cosigned(), [0; 0]);
    // Lines of others beside its own are passed over.
    let lines = format!("{by_another}\n{good}\n");
    let (submitter, _) = submitter(witness().verifier(), &fixed("200 OK", "text/plain", lines));
    assert_eq!(submitter.submit(&asking.offer(9, 0), &log).await, Ok(at));
}

#[actix_web::test]
async fn a_witness_that_was_down_gets_the_newest_checkpoint_and_none_in_between() {
    let asking = Asking::new("leaf");
    let cosigner = Cosigner::new("witness.example".parse().unwrap(), &[1; 32]);
    let verifier = cosigner.verifier().clone();
    let (up, asked) = (Arc::new(Mutex::new(false)), Arc::new(Mutex::new(Vec::new())));
    let url = {
        let (up, asked) = (Arc::clone(&up), Arc::clone(&asked));
        liar(move |body| {
            let checkpoint = body.split_once("\n\n").unwrap().1;
            let text = checkpoint.split_inclusive('\n').take(3).collect::<String>();
            asked.lock().push(text.lines().nth(1).unwrap().parse::<u64>().unwrap());
            let at = Timestamp::from_seconds(COSIGNED_AT_S);
            let line = format!("{}\n", cosigner.cosign(&text, at));
            let kind = "text/plain";
            Some(if *up.lock() { raw("200 OK", kind, &line) } else { raw("503 No", kind, "") })
        })
    };
    let (submitter, clock) = submitter(&verifier, &url);
    let (offers, offered) = tokio::sync::watch::channel(None);
    let log: Arc<dyn Witnessed> = asking.clone();
    let running = {
        let submitter = Arc::clone(&submitter);
        actix_web::rt::spawn(async move { submitter.run(offered, log).await })
    };
    offers.send_replace(Some(asking.offer(5, COSIGNED_AT_S)));
    until(|| 3 < submitter.standing().failures).await;
    assert_eq!(submitter.standing().fault, Some(Unwitnessed::Status(503)));
    clock.advance_s(60);
    assert_eq!(submitter.waits_s(), 60);
    for size in 6..=200 {
        offers.send_replace(Some(asking.offer(size, COSIGNED_AT_S + 30)));
    }
    let before = submitter.standing().failures;
    until(|| before + 2 < submitter.standing().failures).await;
    *up.lock() = true;
    until(|| submitter.standing().cosigned == 200).await;
    assert_eq!(submitter.waits_s(), 0);
    assert_eq!(asking.cosigned(), [200]);
    let mut sizes = asked.lock().clone();
    sizes.dedup();
    assert_eq!(sizes, [5, 200], "none in between was submitted");
    // The same head, signed again by the heartbeat, is cosigned again; a repetition is not.
    let count = asked.lock().len();
    offers.send_replace(Some(asking.offer(200, COSIGNED_AT_S + 30)));
    offers.send_replace(Some(asking.offer(200, COSIGNED_AT_S + 600)));
    until(|| asking.cosigned() == [200, 200]).await;
    assert_eq!(asked.lock().len(), count + 1);
    drop(offers);
    running.await.unwrap();
}

#[actix_web::test]
async fn an_alarm_outlives_an_outage_and_ends_with_a_cosignature() {
    let asking = Asking::new("leaf");
    let cosigner = Cosigner::new("witness.example".parse().unwrap(), &[1; 32]);
    let verifier = cosigner.verifier().clone();
    let says = Arc::new(Mutex::new("more"));
    let url = {
        let says = Arc::clone(&says);
        liar(move |body| {
            let text = body.split_once("\n\n").unwrap().1.split_inclusive('\n').take(3);
            let text = text.collect::<String>();
            let line = cosigner.cosign(&text, Timestamp::from_seconds(COSIGNED_AT_S));
            Some(match *says.lock() {
                "more" => raw("409 Conflict", SIZE, "200\n"),
                "nothing" => raw("503 No", "text/plain", ""),
                _ => raw("200 OK", "text/plain", &format!("{line}\n")),
            })
        })
    };
    let (submitter, _) = submitter(&verifier, &url);
    let (offers, offered) = tokio::sync::watch::channel(None);
    let log: Arc<dyn Witnessed> = asking.clone();
    let running = {
        let submitter = Arc::clone(&submitter);
        actix_web::rt::spawn(async move { submitter.run(offered, log).await })
    };
    offers.send_replace(Some(asking.offer(5, COSIGNED_AT_S)));
    until(|| submitter.standing().alarm.is_some()).await;
    *says.lock() = "nothing";
    until(|| submitter.standing().fault == Some(Unwitnessed::Status(503))).await;
    let ahead = Unwitnessed::Ahead { cosigned: 200, size: 5 };
    assert_eq!(submitter.standing().alarm, Some(ahead), "nothing was taken back");
    *says.lock() = "yes";
    until(|| submitter.standing().cosigned == 5).await;
    assert_eq!((submitter.standing().alarm, submitter.standing().fault), (None, None));
    drop(offers);
    running.await.unwrap();
}

/// Lets the others work until it is so.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        actix_web::rt::task::yield_now().await;
    }
}
