//! Logs that are dense, chained and back-linked, written anew by one who has the program, the keys
//! and the time, and that tell what could not have happened. The judge names the record.

use token_ledger::domain::client::{AuthMethod, Rotation};
use token_ledger::domain::event::{Cause, Event, GrantRevoked, How};
use token_ledger::domain::record::{Actor, Record};
use token_ledger::domain::state::State;
use token_ledger::evidence::verifier::{End, Fault, Verifier, read};
use token_ledger::ledger::replay::{back, verify_next};
use token_ledger::log::leaf::leaf_hash;
use token_ledger::types::id::{RequestId, Seq};

use crate::support::names::{client_id, digest, grant_id, key_id, scope};
use crate::support::recorded::everything;
use crate::support::world::verify;

fn history() -> Vec<Record> {
    everything().world.bytes().iter().map(|bytes| Record::decode(bytes).unwrap()).collect()
}

/// The log of these records, with places, chain and back links made right.
fn written(history: &[Record]) -> Vec<Vec<u8>> {
    let mut state = State::default();
    let mut log = Vec::new();
    for record in history {
        let mut record = record.clone();
        record.seq = state.next_seq();
        record.prev = state.head().map(|head| head.leaf);
        record.back = back(&state, &record.about);
        if let Event::LedgerOpened(data) = &mut record.event
            && data.records == u64::MAX
        {
            data.records = record.seq.0;
        }
        let bytes = record.encode().unwrap();
        state.apply(&record, leaf_hash(&bytes));
        log.push(bytes);
    }
    log
}

/// The place of the `n`th record of a kind.
fn place(history: &[Record], kind: &str, n: usize) -> usize {
    let mut places = history.iter().enumerate().filter(|(_, r)| r.event.kind() == kind);
    places.nth(n).unwrap_or_else(|| panic!("no {kind} {n}")).0
}

/// The records of the command that the record at `at` belongs to, as a command of its own.
fn command_again(history: &[Record], at: usize) -> Vec<Record> {
    let of = history[at].request;
    let mut again: Vec<_> = history.iter().filter(|r| r.request == of).cloned().collect();
    again.iter_mut().for_each(|record| record.request = RequestId::from_bytes(*b"forgery!"));
    again
}

fn at_time_of(mut records: Vec<Record>, other: &Record) -> Vec<Record> {
    records.iter_mut().for_each(|record| record.at = other.at);
    records
}

/// Changes a history, and answers where the forgery is.
type Forge = fn(&mut Vec<Record>) -> usize;

fn insert(history: &mut Vec<Record>, at: usize, records: Vec<Record>) -> usize {
    let records = at_time_of(records, &history[at - 1]);
    history.splice(at..at, records);
    at
}

fn change(history: &mut [Record], kind: &str, n: usize, f: impl FnOnce(&mut Record)) -> usize {
    let at = place(history, kind, n);
    f(&mut history[at]);
    at
}

const FORGERIES: &[(&str, Forge, &str)] = &[
    (
        "a rotation of a generation that is not the current one",
        |h| {
            change(h, "refresh_token.rotated", 1, |r| {
                let Event::RefreshTokenRotated(data) = &mut r.event else {
                    panic!("another event")
                };
                (data.from, data.to) = (3, 4);
            })
        },
        "the rules refuse it",
    ),
    (
        "a refresh after the grant was revoked",
        |h| {
            let again = command_again(h, place(h, "refresh_token.rotated", 1));
            let at = place(h, "grant.revoked", 1) + 1;
            insert(h, at, again)
        },
        "the rules refuse it",
    ),
    (
        "tokens for a blacklisted client",
        |h| {
            let again = command_again(h, place(h, "access_token.issued", 5));
            let at = place(h, "blacklist.added", 0) + 1;
            insert(h, at, again)
        },
        "the rules refuse it",
    ),
    (
        "a code that is redeemed twice",
        |h| {
            let at = place(h, "code.redeemed", 0);
            let again = command_again(h, at);
            insert(h, at + again.len(), again)
        },
        "the rules refuse it: the code was exchanged before",
    ),
    (
        "a refresh after its expiry",
        |h| {
            let at = place(h, "refresh_token.rotated", 1);
            for record in &mut h[at..] {
                record.at = record.at.plus_seconds(40 * 86_400);
            }
            at
        },
        "the rules refuse it",
    ),
    (
        "a retry that is counted wrongly",
        |h| {
            change(h, "refresh_token.retried", 1, |r| {
                let Event::RefreshTokenRetried(data) = &mut r.event else {
                    panic!("another event")
                };
                data.count = 1;
            })
        },
        "with other data",
    ),
    (
        "a retry that hides its other origin",
        |h| {
            change(h, "refresh_token.retried", 1, |r| {
                let Event::RefreshTokenRetried(data) = &mut r.event else {
                    panic!("another event")
                };
                data.other_origin = false;
            })
        },
        "with other data",
    ),
    (
        "a use without rotation where the client rotates",
        |h| {
            let at = place(h, "client.updated", 0);
            {
                let Event::ClientUpdated(data) = &mut h[at].event else { panic!("another event") };
                data.metadata.rotation = Rotation::Always;
            }
            place(h, "refresh_token.used", 0)
        },
        "the rules lead to refresh_token.rotated here",
    ),
    (
        "a token of a key that was not added",
        |h| {
            change(h, "access_token.issued", 5, |r| {
                let Event::AccessTokenIssued(data) = &mut r.event else { panic!("another event") };
                data.key = Some(key_id("k9"));
            })
        },
        "a signing key that was not added before",
    ),
    (
        "a token of a key before it was added",
        |h| {
            let at = place(h, "key.added", 0);
            let key = h.remove(at);
            let last = h.len();
            insert(h, last - 1, vec![key]);
            change(h, "ledger.opened", 0, |r| {
                let Event::LedgerOpened(data) = &mut r.event else { panic!("another event") };
                data.records = u64::MAX;
            });
            place(h, "access_token.issued", 5)
        },
        "a signing key that was not added before",
    ),
    (
        "a token with more scope than was granted",
        |h| {
            change(h, "access_token.issued", 0, |r| {
                let Event::AccessTokenIssued(data) = &mut r.event else { panic!("another event") };
                data.scope = scope("read+write+admin");
            });
            place(h, "code.redeemed", 0)
        },
        "the rules refuse it",
    ),
    (
        "a refresh token that lives longer than its policy",
        |h| {
            change(h, "refresh_token.rotated", 0, |r| {
                let Event::RefreshTokenRotated(data) = &mut r.event else {
                    panic!("another event")
                };
                data.expires_at = None;
            })
        },
        "with other data",
    ),
    (
        "a refresh without the access token that it gave",
        |h| {
            let at = place(h, "refresh_token.rotated", 0);
            h.remove(at + 1);
            at
        },
        "the rules lead to access_token.issued after it",
    ),
    (
        "a reuse without its consequence",
        |h| {
            let at = place(h, "refresh_token.reused", 0);
            h.remove(at + 1);
            at
        },
        "the rules lead to grant.revoked after it",
    ),
    (
        "a revocation for a reuse that is not there",
        |h| {
            let at = place(h, "refresh_token.reused", 0);
            h.remove(at);
            at
        },
        "no command leads to grant.revoked here",
    ),
    (
        "a revocation for another reason than there was",
        |h| {
            let at = place(h, "refresh_token.reused", 0) + 1;
            h[at].event = GrantRevoked { cause: Cause::Client, reason: None }.into();
            at
        },
        "the rules lead to grant.revoked here, but with other data",
    ),
    (
        "something after the ledger was closed",
        |h| {
            let again = command_again(h, place(h, "audit.read", 0));
            let at = place(h, "ledger.closed", 0) + 1;
            insert(h, at, again)
        },
        "the ledger was not opened again",
    ),
    (
        "a start that found another number of records",
        |h| {
            change(h, "ledger.opened", 0, |r| {
                let Event::LedgerOpened(data) = &mut r.event else { panic!("another event") };
                data.records += 1;
            })
        },
        "with other data",
    ),
    (
        "one command at two times",
        |h| {
            let at = place(h, "refresh_token.rotated", 0) + 1;
            for record in &mut h[at..] {
                let later = record.at.micros() + 1;
                record.at = token_ledger::types::time::Timestamp::from_micros(later);
            }
            at
        },
        "of the same command as the record before, with another time",
    ),
    (
        "one command by two actors",
        |h| {
            let at = place(h, "refresh_token.rotated", 0) + 1;
            h[at].actor = Actor::Ledger;
            at
        },
        "of the same command as the record before, with another actor",
    ),
    (
        "a refresh by somebody else's client",
        |h| {
            let at = place(h, "refresh_token.rotated", 0);
            h[at].actor = Actor::Client(client_id("robot"));
            h[at + 1].actor = Actor::Client(client_id("robot"));
            at
        },
        "the rules refuse it",
    ),
    (
        "a ledger that is created twice",
        |h| {
            let again = command_again(h, 0);
            insert(h, 4, again)
        },
        "a ledger begins with ledger.created",
    ),
    (
        "a ledger that was never created",
        |h| {
            h.remove(0);
            0
        },
        "a ledger begins with ledger.created",
    ),
    (
        "a client that is registered twice",
        |h| {
            let again = command_again(h, place(h, "client.registered", 1));
            let at = place(h, "subject.registered", 0);
            insert(h, at, again)
        },
        "registered already",
    ),
    (
        "a client that is disabled twice",
        |h| {
            let at = place(h, "client.disabled", 0);
            let again = command_again(h, at);
            insert(h, at + 1, again)
        },
        "no command leads to client.disabled here",
    ),
    (
        "a grant to a client that is disabled",
        |h| {
            let again = command_again(h, place(h, "access_token.issued", 5));
            let at = place(h, "client.disabled", 0) + 1;
            insert(h, at, again)
        },
        "the rules refuse it: the client is disabled",
    ),
    (
        "an entry that is lifted twice",
        |h| {
            let at = place(h, "blacklist.lifted", 0);
            let again = command_again(h, at);
            insert(h, at + 1, again)
        },
        "no such blacklist entry in force",
    ),
    (
        "an entry that spares what came just before it",
        |h| {
            change(h, "blacklist.added", 0, |r| {
                let Event::BlacklistAdded(data) = &mut r.event else { panic!("another event") };
                data.watermark = Some(Seq(3));
            })
        },
        "with other data",
    ),
    (
        "an access token that is revoked twice",
        |h| {
            let at = place(h, "access_token.revoked", 0);
            let again = command_again(h, at);
            insert(h, at + 1, again)
        },
        "no command leads to access_token.revoked here",
    ),
    (
        "a person who is erased twice",
        |h| {
            let at = place(h, "subject.erased", 0);
            let again = command_again(h, at);
            insert(h, at + 1, again)
        },
        "no such subject",
    ),
    (
        "an assertion that proves twice",
        |h| {
            let at = place(h, "client.assertion_used", 0);
            let again = command_again(h, at);
            insert(h, at + 1, again)
        },
        "the assertion was used before",
    ),
    (
        "a code of a grant that nobody gave",
        |h| change(h, "grant.created", 0, |r| r.about.grant = Some(grant_id("g9"))) + 1,
        "counts refusals that could not have happened",
    ),
    (
        "refusals that were counted zero times",
        |h| {
            change(h, "refresh.refused", 0, |r| {
                let Event::RefreshRefused(data) = &mut r.event else { panic!("another event") };
                data.count = 0;
            })
        },
        "counts refusals that could not have happened",
    ),
    (
        "a refusal of the owner for being a stranger",
        |h| {
            change(h, "refresh.refused", 0, |r| {
                r.actor = Actor::Client(client_id("photos"));
            })
        },
        "counts refusals that could not have happened",
    ),
    (
        "a client's own token for a client that proves nothing",
        |h| {
            change(h, "client.registered", 2, |r| {
                let Event::ClientRegistered(data) = &mut r.event else { panic!("another event") };
                data.metadata.token_endpoint_auth_method = AuthMethod::None;
            });
            place(h, "grant.created", 1)
        },
        "the rules refuse it: the client is not registered for this grant type",
    ),
    (
        "a retired key that is retired again",
        |h| {
            let at = place(h, "key.retired", 0);
            let again = command_again(h, at);
            insert(h, at + 1, again)
        },
        "no such key in use",
    ),
    (
        "a token that lives for years",
        |h| {
            change(h, "access_token.issued", 1, |r| {
                let Event::AccessTokenIssued(data) = &mut r.event else { panic!("another event") };
                data.expires_at = r.at.plus_seconds(3 * 365 * 86_400);
            })
        },
        "it lives longer than an access token may",
    ),
    (
        "a code with another digest than its refresh token's first",
        |h| {
            change(h, "refresh_token.issued", 0, |r| {
                let Event::RefreshTokenIssued(data) = &mut r.event else { panic!("another event") };
                (data.generation, data.digest) = (1, digest("x"));
            })
        },
        "with other data",
    ),
];

#[test]
fn a_history_that_could_not_have_happened_is_named_though_all_links_are_right() {
    let original = history();
    assert!(verify(&written(&original)).is_ok(), "the true history is written as it was");
    let mut wrong = Vec::new();
    for (what, forge, says) in FORGERIES {
        let mut history = original.clone();
        let at = forge(&mut history);
        let log = written(&history);
        // Whoever looks at places, chain and links only finds nothing.
        let mut state = State::default();
        for bytes in &log {
            let next = verify_next(&state, bytes).unwrap_or_else(|fault| panic!("{what}: {fault}"));
            state.apply(&next.record, next.leaf);
        }
        match verify(&log) {
            Err(Fault::Unlawful(found))
                if found.seq == Seq(at as u64) && found.to_string().contains(says) => {}
            Err(fault) => wrong.push(format!("{what}, at {at}: {fault}")),
            Ok(_) => wrong.push(format!("{what}, at {at}: nothing was found")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(30 <= FORGERIES.len());
}

#[test]
fn a_log_that_ends_inside_a_command_is_found_where_it_must_be_whole() {
    let history = history();
    for kind in ["refresh_token.rotated", "code.redeemed", "refresh_token.reused"] {
        let cut = written(&history[..=place(&history, kind, 0)]);
        let fault = verify(&cut).err().unwrap_or_else(|| panic!("{kind}: nothing was found"));
        assert!(fault.to_string().contains("in the same command, which is not there"), "{fault}");
    }
}

/// Whether a log verifies that somebody asked for up to a number, and what is wrong with it.
fn cut_anywhere(log: &[Vec<u8>]) -> Result<(), Fault> {
    let mut verifier = Verifier::default();
    log.iter().try_for_each(|bytes| verifier.take(read(bytes)))?;
    verifier.finish(End::Anywhere).map(drop)
}

#[test]
fn evidence_may_end_anywhere_but_not_with_what_the_rules_cannot_begin() {
    let mut history = history();
    let log = written(&history);
    for end in 1..=log.len() {
        assert!(cut_anywhere(&log[..end]).is_ok(), "cut at {end}");
    }
    // While grants are live, and one is dead.
    history.truncate(place(&history, "subject.erased", 0));
    let end = history.len();
    let last = |kind: &str, change: &dyn Fn(&mut Record)| {
        let mut record = history[place(&history, kind, 0)].clone();
        record.request = RequestId::from_bytes(*b"forgery!");
        record.at = history[end - 1].at;
        change(&mut record);
        let mut forged = history.clone();
        forged.push(record);
        cut_anywhere(&written(&forged))
    };
    let rotated = |from: u32, to: u32| {
        move |record: &mut Record| {
            let Event::RefreshTokenRotated(data) = &mut record.event else { panic!() };
            (data.from, data.to) = (from, to);
        }
    };
    let live = history.iter().rposition(|r| r.event.kind() == "refresh_token.issued").unwrap();
    let of_live = |record: &mut Record| {
        record.about = history[live].about.clone();
        record.actor = history[live].actor.clone();
    };
    let lawful = last("refresh_token.rotated", &|record| {
        of_live(record);
        rotated(0, 1)(record);
        let Event::RefreshTokenRotated(data) = &mut record.event else { panic!() };
        data.expires_at = Some(record.at.plus_seconds(30 * 24 * 3600));
    });
    lawful.unwrap_or_else(|fault| panic!("the beginning of a refresh: {fault}"));
    let forged = [
        ("a refresh of a dead grant", last("refresh_token.rotated", &|_| {})),
        (
            "generations that were skipped",
            last("refresh_token.rotated", &|record| {
                of_live(record);
                rotated(7, 99)(record);
            }),
        ),
        ("a code of a dead grant", last("code.redeemed", &|_| {})),
        (
            "a grant of nobody",
            last("grant.created", &|record| {
                record.about.subject = None;
                record.about.client = Some(client_id("ghost"));
                record.about.grant = Some(grant_id("ghost"));
                record.actor = Actor::Client(client_id("ghost"));
                let Event::GrantCreated(data) = &mut record.event else { panic!() };
                (data.how, data.code) = (How::ClientCredentials, None);
            }),
        ),
    ];
    for (what, told) in forged {
        match told {
            Err(Fault::Unlawful(found)) => assert_eq!(found.seq, Seq(end as u64), "{what}"),
            Err(fault) => panic!("{what}: {fault}"),
            Ok(()) => panic!("{what}: nothing was found"),
        }
    }
}
