//! Keeps refusals from growing the log: at most one record per grant or client and reason a
//! second, with a count. Pure; forgets nothing that was counted.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::domain::decide::Fact;
use crate::domain::event::Event;
use crate::domain::record::{Actor, Origin};
use crate::types::id::{ClientId, GrantId, RequestId};

/// The shortest time between two records of one kind about one grant or client, by the clock that
/// only counts up: the log's own time may stand still for an hour.
const SPACING: Duration = Duration::from_secs(1);

/// A fact with what its record needs from the command.
#[derive(Debug, Clone)]
pub struct Caused {
    /// What happened, and whose trails it belongs to.
    pub fact: Fact,
    /// The command.
    pub request: RequestId,
    /// Who asked.
    pub actor: Actor,
    /// Where from.
    pub origin: Option<Origin>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Clone)]
enum Key {
    Grant(GrantId, &'static str, u8),
    Client(ClientId),
}

#[derive(Debug)]
struct Held {
    written_at: Duration,
    /// The newest refusal that has no record yet, with how many there are of it.
    waiting: Option<(Caused, u64)>,
}

/// Counts refusals that came too soon after the last record of their kind.
#[derive(Debug)]
pub struct Coalescer {
    held: HashMap<Key, Held>,
    keys_max: usize,
    /// Those with a refusal that waits, by when its second is over: a batch looks at what is due,
    /// however many are held.
    waiting: BTreeSet<(Duration, Key)>,
    /// When those whose second is over were last forgotten: all are looked at then.
    swept_at: Option<Duration>,
}

impl Coalescer {
    /// Remembers `keys_max` grants and clients at the most; past that, refusals of further ones
    /// are recorded one by one.
    pub fn new(keys_max: usize) -> Self {
        Self { held: HashMap::new(), keys_max, waiting: BTreeSet::new(), swept_at: None }
    }

    /// Whether counted refusals wait for their record.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The fact to record now, its count made up; `None` where it was only counted.
    pub fn offer(&mut self, at: Duration, caused: Caused) -> Option<Caused> {
        let Some(key) = key(&caused.fact) else { return Some(caused) };
        if self.keys_max <= self.held.len() && !self.held.contains_key(&key) {
            if self.swept_at.is_none_or(|swept_at| spaced(swept_at) <= at) {
                self.swept_at = Some(at);
                self.held.retain(|_, held| held.waiting.is_some() || at < spaced(held.written_at));
            }
            if self.keys_max <= self.held.len() {
                return Some(caused);
            }
        }
        let Some(held) = self.held.get_mut(&key) else {
            self.held.insert(key, Held { written_at: at, waiting: None });
            return Some(caused);
        };
        let before = held.waiting.take().map_or(0, |(_, count)| count);
        let over_at = spaced(held.written_at);
        if at < over_at {
            held.waiting = Some((caused, before + 1));
            if before == 0 {
                self.waiting.insert((over_at, key));
            }
            return None;
        }
        if 0 < before {
            self.waiting.remove(&(over_at, key));
        }
        held.written_at = at;
        Some(with_count(caused, before + 1))
    }

    /// The counted refusals whose second is over, or all of them when the ledger `closes`.
    pub fn due(&mut self, at: Duration, closes: bool) -> Vec<Caused> {
        let mut due = Vec::new();
        while let Some((over_at, _)) = self.waiting.first()
            && (closes || *over_at <= at)
            && let Some((_, key)) = self.waiting.pop_first()
        {
            let Some(held) = self.held.get_mut(&key) else { continue };
            if let Some((caused, count)) = held.waiting.take() {
                held.written_at = at;
                due.push(with_count(caused, count));
            }
        }
        // In the order of the requests, not of the keys.
        due.sort_unstable_by_key(|caused| caused.request);
        due
    }
}

fn spaced(written_at: Duration) -> Duration {
    written_at.saturating_add(SPACING)
}

fn key(fact: &Fact) -> Option<Key> {
    let grant = |kind, reason| fact.about.grant.map(|grant| Key::Grant(grant, kind, reason));
    match &fact.event {
        Event::RefreshRefused(data) => grant("refresh", data.reason as u8),
        Event::CodeRefused(data) => grant("code", data.reason as u8),
        Event::ClientAuthenticationFailed(_) => fact.about.client.clone().map(Key::Client),
        Event::LedgerCreated(_)
        | Event::LedgerOpened(_)
        | Event::LedgerClosed(_)
        | Event::ClockStepped(_)
        | Event::LedgerStalled(_)
        | Event::ClientRegistered(_)
        | Event::ClientUpdated(_)
        | Event::ClientSecretRotated(_)
        | Event::ClientDisabled(_)
        | Event::ClientEnabled(_)
        | Event::SubjectRegistered(_)
        | Event::SubjectErased(_)
        | Event::GrantCreated(_)
        | Event::CodeRedeemed(_)
        | Event::CodeReplayed(_)
        | Event::AccessTokenIssued(_)
        | Event::RefreshTokenIssued(_)
        | Event::RefreshTokenUsed(_)
        | Event::RefreshTokenRotated(_)
        | Event::RefreshTokenRetried(_)
        | Event::RefreshTokenReused(_)
        | Event::AccessTokenRevoked(_)
        | Event::GrantRevoked(_)
        | Event::BlacklistAdded(_)
        | Event::BlacklistLifted(_)
        | Event::KeyAdded(_)
        | Event::KeyRetired(_)
        | Event::ClientAssertionUsed(_)
        | Event::AuditRead(_) => None,
    }
}

fn with_count(mut caused: Caused, count: u64) -> Caused {
    if let Event::RefreshRefused(data) = &mut caused.fact.event {
        data.count = count;
    }
    if let Event::CodeRefused(data) = &mut caused.fact.event {
        data.count = count;
    }
    if let Event::ClientAuthenticationFailed(data) = &mut caused.fact.event {
        data.count = count;
    }
    caused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::ClientAuthenticationFailed;
    use crate::domain::record::About;

    fn failed(client: &str, request: u8) -> Caused {
        let client = Some(client.parse().expect("a client id"));
        let method = "client_secret_basic".to_owned();
        Caused {
            fact: Fact {
                about: About { client, ..About::default() },
                event: ClientAuthenticationFailed { method, count: 1 }.into(),
            },
            request: RequestId::from_bytes([request; 8]),
            actor: Actor::Ledger,
            origin: None,
        }
    }

    fn counted(caused: Option<Caused>) -> Option<u64> {
        let Event::ClientAuthenticationFailed(data) = caused?.fact.event else {
            unreachable!("only such were offered")
        };
        Some(data.count)
    }

    #[test]
    fn one_record_a_second_carries_the_count_of_all() {
        let mut coalescer = Coalescer::new(8);
        let at = Duration::from_micros;
        assert_eq!(counted(coalescer.offer(at(0), failed("a", 1))), Some(1));
        assert_eq!(counted(coalescer.offer(at(1), failed("a", 2))), None);
        assert_eq!(counted(coalescer.offer(at(1), failed("b", 3))), Some(1));
        assert_eq!(counted(coalescer.offer(at(999_999), failed("a", 4))), None);
        assert!(coalescer.has_waiting());
        assert_eq!(counted(coalescer.offer(at(1_000_000), failed("a", 5))), Some(3));
        assert!(!coalescer.has_waiting());
    }

    #[test]
    fn what_was_counted_gets_its_record_when_its_second_is_over_or_the_ledger_closes() {
        let mut coalescer = Coalescer::new(8);
        let at = Duration::from_micros;
        for i in 0..5 {
            coalescer.offer(at(0), failed("a", i));
        }
        assert_eq!(coalescer.due(at(999_999), false).len(), 0);
        assert_eq!(counted(coalescer.due(at(1_000_000), false).pop()), Some(4));
        coalescer.offer(at(1_000_001), failed("a", 9));
        assert_eq!(counted(coalescer.due(at(1_000_002), true).pop()), Some(1));
        assert_eq!(coalescer.due(at(1_000_003), true).len(), 0);
    }

    #[test]
    fn the_table_is_bounded_and_then_records_one_by_one() {
        let mut coalescer = Coalescer::new(1);
        let at = Duration::from_micros;
        assert_eq!(counted(coalescer.offer(at(0), failed("a", 1))), Some(1));
        for i in 0..3 {
            assert_eq!(counted(coalescer.offer(at(0), failed("b", i))), Some(1));
        }
        assert_eq!(coalescer.held.len(), 1);
        assert_eq!(counted(coalescer.offer(at(2_000_000), failed("b", 7))), Some(1));
        assert_eq!(counted(coalescer.offer(at(2_000_001), failed("b", 8))), None);
    }
}
