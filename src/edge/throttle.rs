//! Slows down those who guess secrets: counts failed authentications for each address, and for each
//! client at an address, so that nobody can lock a client out from elsewhere. It knows no secrets
//! and no clients: a name that nobody registered is counted like any other.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use governor::clock::Clock as GovernorClock;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};
use parking_lot::RwLock;

use crate::clock::Clock;
use crate::types::id::ClientId;

/// The bounds of the throttle.
#[derive(Debug, Clone, Copy)]
pub struct ThrottleLimits {
    /// Failures a minute for one address.
    pub per_address_minute_max: u32,
    /// Failures a minute for one client at one address.
    pub per_client_minute_max: u32,
    /// Addresses that are remembered, and as many pairs of client and address.
    pub keys_max: usize,
}

/// An attempt to authenticate, known by what nobody can choose freely: where it comes from.
#[derive(Debug, Clone, Copy)]
pub enum Attempt<'a> {
    /// Client authentication (RFC 6749 section 2.3).
    Client {
        /// Who the caller says it is, if it says so.
        client_id: Option<&'a ClientId>,
        /// The caller's address, where the network tells one.
        address: Option<IpAddr>,
    },
    /// A bearer token at our own administration (RFC 6750), counted apart: what happens at the
    /// public listener must not shut out administrators.
    Bearer {
        /// The caller's address, where the network tells one.
        address: Option<IpAddr>,
    },
}

/// Counts failures, and says when it has been enough.
pub struct Throttle {
    addresses: Limiter<Place>,
    clients: Limiter<(ClientId, Network)>,
    time: PassedTime,
}

struct Limiter<K: Hash + Eq + Clone> {
    rate: RateLimiter<Look<K>, Failures<K>, PassedTime>,
    /// The failures that `rate` looks at.
    failures: Failures<K>,
}

/// Whoever has one address of an IPv6 network of 64 bits can have all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Network(IpAddr);

impl Network {
    fn of(address: Option<IpAddr>) -> Self {
        let address = address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let mask = u128::MAX << 64;
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    Clients(Network),
    Bearers(Network),
}

impl Throttle {
    /// A throttle that has seen no failure yet.
    pub fn new(limits: ThrottleLimits, clock: Arc<dyn Clock>) -> Self {
        let time = PassedTime(clock);
        let ThrottleLimits { per_address_minute_max, per_client_minute_max, keys_max } = limits;
        Self {
            addresses: limiter(per_address_minute_max, keys_max, &time),
            clients: limiter(per_client_minute_max, keys_max, &time),
            time,
        }
    }

    /// Whether `attempt` may be judged: nothing that it presents may be looked at before.
    ///
    /// # Errors
    /// How many seconds the caller has to wait, at least 1.
    pub fn admit(&self, attempt: Attempt<'_>) -> Result<(), u64> {
        let (addresses, clients) = (&self.addresses, &self.clients);
        if addresses.failures.are_none() && clients.failures.are_none() {
            return Ok(());
        }
        let (place, client) = attempt.keys();
        self.ask(addresses, place, false)?;
        client.map_or(Ok(()), |client| self.ask(clients, client, false))
    }

    /// Counts `attempt`, which failed.
    pub fn count(&self, attempt: Attempt<'_>) {
        let (place, client) = attempt.keys();
        // Others may have failed since this one was admitted; then it is enough already.
        let _ = self.ask(&self.addresses, place, true);
        if let Some(client) = client {
            let _ = self.ask(&self.clients, client, true);
        }
    }

    fn ask<K: Hash + Eq + Clone>(
        &self,
        limiter: &Limiter<K>,
        key: K,
        is_failure: bool,
    ) -> Result<(), u64> {
        // Who has not failed may always come; the clock is not even read.
        if !is_failure && !limiter.failures.hold(&key) {
            return Ok(());
        }
        limiter.rate.check_key(&Look { key, is_failure }).map_err(|until| {
            let wait = until.wait_time_from(self.time.now());
            wait.as_secs() + u64::from(0 < wait.subsec_nanos()).max(u64::from(wait.is_zero()))
        })
    }
}

fn limiter<K: Hash + Eq + Clone>(
    per_minute: u32,
    keys_max: usize,
    time: &PassedTime,
) -> Limiter<K> {
    let held = Arc::new(Held { over_at: RwLock::default(), count: AtomicUsize::new(0) });
    let failures = Failures { held, keys_max: keys_max.max(1), time: time.clone() };
    let quota = Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN));
    Limiter { rate: RateLimiter::new(quota, failures.clone(), time.clone()), failures }
}

impl Attempt<'_> {
    fn keys(self) -> (Place, Option<(ClientId, Network)>) {
        match self {
            Self::Client { client_id, address } => {
                let network = Network::of(address);
                (Place::Clients(network), client_id.map(|id| (id.clone(), network)))
            }
            Self::Bearer { address } => (Place::Bearers(Network::of(address)), None),
        }
    }
}

/// Time as it passes, whatever the wall clock is set to.
#[derive(Clone)]
struct PassedTime(Arc<dyn Clock>);

impl GovernorClock for PassedTime {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.uptime())
    }
}

/// A look at one counter, which counts only where there was a failure.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Look<K> {
    key: K,
    is_failure: bool,
}

/// For each key the instant at which its last failure is forgotten; never more than `keys_max`.
#[derive(Clone)]
struct Failures<K> {
    held: Arc<Held<K>>,
    keys_max: usize,
    time: PassedTime,
}

struct Held<K> {
    over_at: RwLock<HashMap<K, Nanos>>,
    /// How many there are, for those who need not wait for the lock.
    count: AtomicUsize,
}

impl<K: Hash + Eq> Failures<K> {
    fn are_none(&self) -> bool {
        self.held.count.load(Ordering::Acquire) == 0
    }

    fn hold(&self, key: &K) -> bool {
        self.held.over_at.read().contains_key(key)
    }
}

impl<K: Hash + Eq + Clone> StateStore for Failures<K> {
    type Key = Look<K>;

    fn measure_and_replace<T, F, E>(&self, look: &Look<K>, judge: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if !look.is_failure {
            let before = self.held.over_at.read().get(&look.key).copied();
            return judge(before).map(|(admitted, _)| admitted);
        }
        let mut held = self.held.over_at.write();
        let before = held.get(&look.key).copied();
        let (counted, after) = judge(before)?;
        if before.is_none() && self.keys_max <= held.len() {
            make_room(&mut held, self.keys_max, self.time.now());
        }
        held.insert(look.key.clone(), after);
        self.held.count.store(held.len(), Ordering::Release);
        Ok(counted)
    }
}

/// Forgets what is over; if that is not enough, the half that is over soonest, so that those who
/// fail most stay, and so that room is not made again for every failure that follows.
fn make_room<K: Hash + Eq>(held: &mut HashMap<K, Nanos>, keys_max: usize, now: Nanos) {
    held.retain(|_, over_at| now < *over_at);
    if held.len() < keys_max {
        return;
    }
    let mut all: Vec<Nanos> = held.values().copied().collect();
    let middle = all.len() / 2;
    let (_, median, _) = all.select_nth_unstable(middle);
    let median = *median;
    held.retain(|_, over_at| median < *over_at);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::types::time::Timestamp;

    fn throttle(keys_max: usize) -> (Throttle, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_000)));
        let limits =
            ThrottleLimits { per_address_minute_max: 6, per_client_minute_max: 3, keys_max };
        (Throttle::new(limits, clock.clone()), clock)
    }

    fn at(address: &str) -> Option<IpAddr> {
        Some(address.parse().unwrap())
    }

    fn from(address: &str) -> Attempt<'static> {
        Attempt::Client { client_id: None, address: at(address) }
    }

    #[test]
    fn after_so_many_failures_an_address_waits_for_its_share_of_the_minute() {
        let (throttle, clock) = throttle(8);
        for _ in 0..6 {
            assert_eq!(throttle.admit(from("192.0.2.1")), Ok(()));
            throttle.count(from("192.0.2.1"));
        }
        assert_eq!(throttle.admit(from("192.0.2.1")), Err(10));
        assert_eq!(throttle.admit(from("192.0.2.2")), Ok(()));
        assert_eq!(throttle.admit(Attempt::Bearer { address: at("192.0.2.1") }), Ok(()));
        clock.advance_s(9);
        assert_eq!(throttle.admit(from("192.0.2.1")), Err(1));
        clock.advance_s(1);
        assert_eq!(throttle.admit(from("192.0.2.1")), Ok(()));
    }

    #[test]
    fn a_client_is_counted_apart_at_each_address() {
        let (throttle, _) = throttle(8);
        let id: ClientId = "photos".parse().unwrap();
        let of = |address| Attempt::Client { client_id: Some(&id), address: at(address) };
        (0..3).for_each(|_| throttle.count(of("192.0.2.1")));
        assert_eq!(throttle.admit(of("192.0.2.1")), Err(20));
        assert_eq!(throttle.admit(of("192.0.2.2")), Ok(()));
        let other: ClientId = "prints".parse().unwrap();
        let other = Attempt::Client { client_id: Some(&other), address: at("192.0.2.1") };
        assert_eq!(throttle.admit(other), Ok(()));
    }

    #[test]
    fn all_addresses_of_one_ipv6_network_are_one() {
        let (throttle, _) = throttle(8);
        for host in 0..6 {
            throttle.count(from(&format!("2001:db8:0:1::{host}")));
        }
        assert!(throttle.admit(from("2001:db8:0:1:ffff::1")).is_err());
        assert_eq!(throttle.admit(from("2001:db8:0:2::1")), Ok(()));
        assert_eq!(Network::of(at("::ffff:192.0.2.1")), Network::of(at("192.0.2.1")));
    }

    #[test]
    fn a_clock_that_is_set_back_prolongs_no_wait() {
        let (throttle, clock) = throttle(8);
        (0..6).for_each(|_| throttle.count(from("192.0.2.1")));
        clock.set(Timestamp::from_seconds(1));
        assert_eq!(throttle.admit(from("192.0.2.1")), Err(10));
        clock.advance_s(10);
        assert_eq!(throttle.admit(from("192.0.2.1")), Ok(()));
    }

    #[test]
    fn w13_memory_is_bounded_and_those_who_fail_most_stay() {
        let (throttle, clock) = throttle(8);
        (0..6).for_each(|_| throttle.count(from("192.0.2.1")));
        for guess in 0..100 {
            clock.set(Timestamp::from_micros(clock.now().micros() + 1));
            throttle.count(from(&format!("198.51.100.{guess}")));
        }
        assert!(throttle.admit(from("192.0.2.1")).is_err());
        let addresses = throttle.addresses.failures.held.over_at.read().len();
        assert!((2..=8).contains(&addresses), "{addresses}");
    }
}
