//! Clients under load, and what each of them was promised: what an answer said is remembered, so
//! that it can be asked for after a crash. Each client has one request in flight at the most.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

use crate::random::Random;
use crate::service::{Administrator, Service};
use crate::wire::{Answer, Wire, basic, form, get, json as post};

const CHAINS_MAX: usize = 6;
const TOKENS_MAX: usize = 40;

/// A refresh token's owner.
#[derive(Debug, Clone)]
pub struct Chain {
    subject: String,
    grant: String,
    client: usize,
    held: String,
    /// The token that `held` came for.
    previous: Option<String>,
    spent: Option<String>,
    /// The token that a refresh brought last.
    access: String,
}

/// A request whose answer has not come.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Doubt {
    Refresh {
        grant: String,
    },
    RevokeChain {
        grant: String,
    },
    RevokeAccess {
        token: String,
    },
    Exchange,
    /// Nothing that was promised depends on it.
    Other,
}

/// All that one client was promised.
#[derive(Debug, Clone, Default)]
pub struct Promised {
    chains: Vec<Chain>,
    /// Refresh tokens of grants whose end was acknowledged.
    ended: Vec<(usize, String)>,
    /// Access tokens, with the client that they belong to.
    live: Vec<(usize, String)>,
    revoked: Vec<(usize, String)>,
    /// Grants that were acknowledged, and have no token yet: subject, code, client.
    code: Option<(String, String, usize)>,
    doubt: Option<Doubt>,
}

/// Who the clients are to the service.
#[derive(Debug, Clone)]
pub struct Parties {
    /// The value of the `Authorization` header of each.
    pub basics: Vec<String>,
    pub ids: Vec<String>,
    pub bearer: String,
}

/// What the checks found, summed up.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Promises that were checked.
    pub acknowledged: u64,
    pub lost: u64,
    pub forked: u64,
    /// What went wrong, in words.
    pub wrong: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.forked += other.forked;
        self.wrong.extend(other.wrong);
    }

    fn expect(&mut self, holds: bool, lost: impl FnOnce() -> String) {
        self.acknowledged += 1;
        if !holds {
            self.lost += 1;
            self.wrong.push(lost());
        }
    }

    fn fork(&mut self, said: String) {
        self.forked += 1;
        self.wrong.push(said);
    }
}

impl Parties {
    /// Registers the clients.
    pub fn register(service: &Service, administrator: &Administrator) -> Result<Self, String> {
        let mut public = Wire::to(service.public);
        let mut admin = Wire::to(service.admin);
        let own = basic(&administrator.id, &administrator.secret);
        let mut parties =
            Self { basics: Vec::new(), ids: Vec::new(), bearer: bearer(&mut public, &own)? };
        for format in ["jwt", "opaque"] {
            let metadata = json!({
                "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
                "redirect_uris": ["https://app.example/cb"],
                "scope": "photos.read",
                "resources": ["https://api.example"],
                "access_token_format": format,
                "access_token_lifetime_s": 86_400,
                "grace_s": 3600,
            });
            let made = admin.ask(&post("/admin/clients", &parties.bearer, &metadata));
            let made = made.map_err(|error| error.to_string())?;
            let (Some(id), Some(secret)) = (made.text("client_id"), made.text("client_secret"))
            else {
                return Err(format!("no client was registered: {made:?}"));
            };
            parties.basics.push(basic(&id, &secret));
            parties.ids.push(id);
        }
        Ok(parties)
    }
}

/// A bearer token of the administrator.
pub fn bearer(public: &mut Wire, basic: &str) -> Result<String, String> {
    let asked = public.ask(&form("/oauth/token", basic, &[("grant_type", "client_credentials")]));
    let answer = asked.map_err(|error| error.to_string())?;
    answer.text("access_token").ok_or_else(|| format!("no token for the administrator: {answer:?}"))
}

/// Clients that run until they are told to stop or get no answer.
pub struct Load {
    promised: Vec<Arc<Mutex<Promised>>>,
    threads: Vec<JoinHandle<Vec<String>>>,
    over: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
}

impl Load {
    pub fn start(service: &Service, parties: &Parties, before: Vec<Promised>, seed: u64) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(AtomicU64::new(0));
        let promised: Vec<_> = before.into_iter().map(Mutex::new).map(Arc::new).collect();
        let threads = promised.iter().enumerate().map(|(number, promised)| {
            let mut client = Client {
                public: Wire::to(service.public),
                admin: Wire::to(service.admin),
                parties: parties.clone(),
                promised: Arc::clone(promised),
                random: Random::new(seed ^ ((number as u64 + 1) << 32)),
                wrong: Vec::new(),
                number,
            };
            let (over, answers) = (Arc::clone(&over), Arc::clone(&answers));
            std::thread::spawn(move || {
                while !over.load(Ordering::SeqCst) && client.act().is_some() {
                    answers.fetch_add(1, Ordering::SeqCst);
                }
                client.wrong
            })
        });
        let threads = threads.collect();
        Self { promised, threads, over, answers }
    }

    /// What all clients were promised, and `then` before any of them hears or asks more.
    pub fn meanwhile<T>(&self, then: impl FnOnce() -> T) -> (Vec<Promised>, T) {
        let held: Vec<MutexGuard<'_, Promised>> =
            self.promised.iter().map(|promised| promised.lock()).collect();
        let done = then();
        (held.iter().map(|promised| (**promised).clone()).collect(), done)
    }

    /// Waits until so many requests were answered, or no client asks any more.
    pub fn until(&self, answers: u64) {
        self.until_or(answers, Duration::from_secs(60));
    }

    /// The same, but no longer than that.
    pub fn until_or(&self, answers: u64, at_most: Duration) {
        let until = Instant::now() + at_most;
        let goes_on = || self.answers.load(Ordering::SeqCst) < answers && Instant::now() < until;
        while goes_on() && !self.threads.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether every client ends by itself, as there is no answer any more, within that time.
    pub fn ended_by_itself(&self, at_most: Duration) -> bool {
        let until = Instant::now() + at_most;
        while Instant::now() < until {
            if self.threads.iter().all(JoinHandle::is_finished) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }

    /// Ends the load; what was promised, and what was answered that never should be.
    pub fn end(self) -> (Vec<Promised>, Vec<String>) {
        self.over.store(true, Ordering::SeqCst);
        let wrong = self.threads.into_iter().flat_map(|thread| thread.join().unwrap());
        let wrong = wrong.collect();
        (self.promised.iter().map(|promised| promised.lock().clone()).collect(), wrong)
    }
}

struct Client {
    public: Wire,
    admin: Wire,
    parties: Parties,
    promised: Arc<Mutex<Promised>>,
    random: Random,
    wrong: Vec<String>,
    number: usize,
}

impl Client {
    /// One request with its answer; nothing once there was none, or a 503.
    fn act(&mut self) -> Option<()> {
        let chance = self.random.below(100);
        let (chains, has_code) = {
            let promised = self.promised.lock();
            (promised.chains.len(), promised.code.is_some())
        };
        if has_code {
            return self.exchange();
        }
        if chains == 0 || (chains < CHAINS_MAX && chance < 12) {
            return self.grant();
        }
        match chance {
            0..70 => self.refresh(),
            70..80 => self.revoke_access(),
            80..84 => self.revoke_chain(),
            84..92 => self.introspect(),
            _ => self.credentials(),
        }
    }

    fn doubt(&self, doubt: Doubt) {
        self.promised.lock().doubt = Some(doubt);
    }

    /// An answer that is not 503 and has the `status` that it must have.
    fn answered(&mut self, asked: std::io::Result<Answer>, status: u16) -> Option<Answer> {
        let answer = asked.ok()?;
        if answer.status == 503 {
            return None;
        }
        if answer.status != status {
            self.wrong.push(format!("answered {} in place of {status}: {answer:?}", answer.status));
            return None;
        }
        Some(answer)
    }

    fn grant(&mut self) -> Option<()> {
        let client = self.random.below(2) as usize;
        let subject = format!("s{}-{}", self.number, self.random.next());
        let body = json!({ "client_id": self.parties.ids[client], "subject": subject });
        self.doubt(Doubt::Other);
        let asked = self.admin.ask(&post("/admin/grants", &self.parties.bearer, &body));
        let code = self.answered(asked, 201)?.text("code")?;
        let mut promised = self.promised.lock();
        promised.code = Some((subject, code, client));
        promised.doubt = None;
        Some(())
    }

    fn exchange(&mut self) -> Option<()> {
        let (subject, code, client) = self.promised.lock().code.clone()?;
        self.doubt(Doubt::Exchange);
        let pairs = [("grant_type", "authorization_code"), ("code", code.as_str())];
        let asked = self.public.ask(&form("/oauth/token", &self.parties.basics[client], &pairs));
        let answer = self.answered(asked, 200)?;
        let (held, access) = (answer.text("refresh_token")?, answer.text("access_token")?);
        let mut promised = self.promised.lock();
        promised.live.push((client, access.clone()));
        let (previous, spent) = (None, None);
        // The code is as unique as the grant, and no answer names that one.
        promised.chains.push(Chain { subject, grant: code, client, held, previous, spent, access });
        (promised.code, promised.doubt) = (None, None);
        Some(())
    }

    fn pick(&mut self) -> Option<(usize, Chain)> {
        let promised = self.promised.lock();
        let place = self.random.below(promised.chains.len() as u64) as usize;
        Some((place, promised.chains.get(place)?.clone()))
    }

    fn refresh(&mut self) -> Option<()> {
        let (place, chain) = self.pick()?;
        self.doubt(Doubt::Refresh { grant: chain.grant });
        let asked = self.public.ask(&refresh(&self.parties.basics[chain.client], &chain.held));
        let answer = self.answered(asked, 200)?;
        let (held, access) = (answer.text("refresh_token")?, answer.text("access_token")?);
        let mut promised = self.promised.lock();
        promised.live.push((chain.client, access.clone()));
        if TOKENS_MAX < promised.live.len() {
            promised.live.remove(0);
        }
        let chain = promised.chains.get_mut(place)?;
        chain.spent = chain.previous.replace(std::mem::replace(&mut chain.held, held));
        chain.access = access;
        promised.doubt = None;
        Some(())
    }

    fn revoke_access(&mut self) -> Option<()> {
        let live = self.promised.lock().live.last().cloned();
        let Some((client, token)) = live else { return Some(()) };
        self.doubt(Doubt::RevokeAccess { token: token.clone() });
        let pairs = [("token", token.as_str())];
        let asked = self.public.ask(&form("/oauth/revoke", &self.parties.basics[client], &pairs));
        self.answered(asked, 200)?;
        let mut promised = self.promised.lock();
        promised.live.retain(|(_, live)| *live != token);
        promised.revoked.push((client, token));
        if TOKENS_MAX < promised.revoked.len() {
            promised.revoked.remove(0);
        }
        promised.doubt = None;
        Some(())
    }

    fn revoke_chain(&mut self) -> Option<()> {
        let (place, chain) = self.pick()?;
        self.doubt(Doubt::RevokeChain { grant: chain.grant });
        let pairs = [("token", chain.held.as_str())];
        let basic = &self.parties.basics[chain.client];
        let asked = self.public.ask(&form("/oauth/revoke", basic, &pairs));
        self.answered(asked, 200)?;
        let mut promised = self.promised.lock();
        promised.chains.remove(place);
        // They died with it; which ones, its last token stands for.
        promised.live.clear();
        promised.revoked.push((chain.client, chain.access));
        promised.ended.push((chain.client, chain.held));
        if TOKENS_MAX < promised.ended.len() {
            promised.ended.remove(0);
        }
        promised.doubt = None;
        Some(())
    }

    fn introspect(&mut self) -> Option<()> {
        let live = self.promised.lock().live.first().cloned();
        let Some((client, token)) = live else { return Some(()) };
        self.doubt(Doubt::Other);
        let asked = self.public.ask(&introspection(&self.parties.basics[client], &token));
        let answer = self.answered(asked, 200)?;
        if answer.body["active"] != Value::Bool(true) {
            self.wrong.push("a token that was just issued is not active".to_owned());
        }
        self.promised.lock().doubt = None;
        Some(())
    }

    fn credentials(&mut self) -> Option<()> {
        let client = self.random.below(2) as usize;
        self.doubt(Doubt::Other);
        let pairs = [("grant_type", "client_credentials")];
        let asked = self.public.ask(&form("/oauth/token", &self.parties.basics[client], &pairs));
        let access = self.answered(asked, 200)?.text("access_token")?;
        let mut promised = self.promised.lock();
        promised.live.push((client, access));
        promised.doubt = None;
        Some(())
    }
}

fn refresh(basic: &str, token: &str) -> Vec<u8> {
    form("/oauth/token", basic, &[("grant_type", "refresh_token"), ("refresh_token", token)])
}

fn introspection(basic: &str, token: &str) -> Vec<u8> {
    form("/oauth/introspect", basic, &[("token", token)])
}

/// Asks a service that was started after a crash for all that the clients were promised before, and
/// lets each of them retry and go on. `promised` is brought up to date, for the next crash.
pub fn check(service: &Service, parties: &Parties, promised: &mut [Promised]) -> Tally {
    let mut public = Wire::to(service.public);
    let mut admin = Wire::to(service.admin);
    let mut tally = Tally::default();
    for promised in promised {
        let checked =
            Checked { public: &mut public, admin: &mut admin, parties, tally: &mut tally };
        if let Err(error) = checked.client(promised) {
            tally.wrong.push(format!("no answer after the restart: {error}"));
            tally.lost += 1;
            return tally;
        }
    }
    tally
}

struct Checked<'a> {
    public: &'a mut Wire,
    admin: &'a mut Wire,
    parties: &'a Parties,
    tally: &'a mut Tally,
}

impl Checked<'_> {
    fn client(mut self, promised: &mut Promised) -> std::io::Result<()> {
        let doubt = promised.doubt.take();
        self.tokens(promised, doubt.as_ref())?;
        if takes_tokens_along(doubt.as_ref()) {
            promised.live.clear();
        }
        if let Some(Doubt::RevokeAccess { token }) = &doubt {
            promised.live.retain(|(_, live)| live != token);
        }
        for (client, token) in &promised.ended {
            let answer = self.public.ask(&refresh(&self.parties.basics[*client], token))?;
            self.tally.expect(answer.status == 400, || format!("an ended grant lives: {answer:?}"));
        }
        let mut kept = Vec::new();
        for mut chain in std::mem::take(&mut promised.chains) {
            let is_kept = self.chain(&mut chain, doubt.as_ref())?;
            if is_kept {
                promised.live.push((chain.client, chain.access.clone()));
                kept.push(chain);
            }
        }
        promised.chains = kept;
        if let Some((_, code, client)) = promised.code.take() {
            let pairs = [("grant_type", "authorization_code"), ("code", code.as_str())];
            let basic = &self.parties.basics[client];
            let answer = self.public.ask(&form("/oauth/token", basic, &pairs))?;
            let is_right = match doubt {
                Some(Doubt::Exchange) => matches!(answer.status, 200 | 400),
                Some(_) | None => answer.status == 200,
            };
            self.tally.expect(is_right, || format!("an acknowledged code is lost: {answer:?}"));
        }
        Ok(())
    }

    fn tokens(&mut self, promised: &Promised, doubt: Option<&Doubt>) -> std::io::Result<()> {
        let is_certain = !takes_tokens_along(doubt);
        for (client, token) in promised.live.iter().filter(|_| is_certain) {
            if doubt == Some(&Doubt::RevokeAccess { token: token.clone() }) {
                continue;
            }
            let active = self.is_active(*client, token)?;
            self.tally.expect(active, || "an acknowledged access token is lost".to_owned());
        }
        for (client, token) in &promised.revoked {
            let active = self.is_active(*client, token)?;
            self.tally.expect(!active, || "an acknowledged revocation is lost".to_owned());
        }
        Ok(())
    }

    fn is_active(&mut self, client: usize, token: &str) -> std::io::Result<bool> {
        let answer = self.public.ask(&introspection(&self.parties.basics[client], token))?;
        Ok(answer.body["active"] == Value::Bool(true))
    }

    /// Whether the chain goes on.
    fn chain(&mut self, chain: &mut Chain, doubt: Option<&Doubt>) -> std::io::Result<bool> {
        let grant = &chain.grant;
        let basic = &self.parties.basics[chain.client];
        let may_be_over = doubt == Some(&Doubt::RevokeChain { grant: grant.clone() });
        let may_be_ahead = doubt == Some(&Doubt::Refresh { grant: grant.clone() });
        if !may_be_over {
            let path = format!("/admin/grants?subject={}", chain.subject);
            let listed = self.admin.ask(&get(&path, &self.parties.bearer))?;
            let count = listed.body["grants"].as_array().map_or(0, Vec::len);
            self.tally.expect(count == 1, || format!("a grant or its owner is lost: {listed:?}"));
        }
        if let (Some(previous), false, false) = (&chain.previous, may_be_over, may_be_ahead) {
            let again = self.public.ask(&refresh(basic, previous))?;
            self.tally.expect(again.status == 200, || format!("a retry is refused: {again:?}"));
            if again.status == 200 && again.text("refresh_token").as_ref() != Some(&chain.held) {
                self.tally.fork(format!("a retry gives another successor: {again:?}"));
            }
        }
        let first = self.public.ask(&refresh(basic, &chain.held))?;
        if may_be_over && first.status == 400 {
            return Ok(false);
        }
        self.tally.expect(first.status == 200, || {
            format!("an acknowledged refresh token is lost: {first:?}, {doubt:?}")
        });
        let Some(successor) = first.text("refresh_token") else { return Ok(false) };
        let again = self.public.ask(&refresh(basic, &chain.held))?;
        if again.text("refresh_token").as_ref() != Some(&successor) {
            self.tally.fork(format!("two successors of one token: {first:?} {again:?}"));
        }
        let Some(access) = again.text("access_token") else { return Ok(false) };
        chain.spent = chain.previous.replace(std::mem::replace(&mut chain.held, successor));
        chain.access = access;
        Ok(true)
    }
}

/// A grant that may have ended takes its tokens along.
fn takes_tokens_along(doubt: Option<&Doubt>) -> bool {
    matches!(doubt, Some(Doubt::RevokeChain { .. } | Doubt::Exchange))
}

/// That a token which was spent long ago is recognised, and ends its grant: at the end of a round,
/// as it costs a chain.
pub fn check_reuse(service: &Service, parties: &Parties, promised: &mut [Promised]) -> Tally {
    let mut public = Wire::to(service.public);
    let mut tally = Tally::default();
    let found = promised.iter_mut().find_map(|promised| {
        let place = promised.chains.iter().position(|chain| chain.spent.is_some())?;
        Some(promised.chains.remove(place))
    });
    let Some(chain) = found else { return tally };
    let basic = &parties.basics[chain.client];
    for token in [chain.spent.as_ref().unwrap(), &chain.held] {
        match public.ask(&refresh(basic, token)) {
            Ok(answer) if answer.status == 400 => {}
            other => {
                tally.fork(format!("a spent token, or its grant after that, lives: {other:?}"))
            }
        }
    }
    tally
}

/// Clients that were promised nothing yet.
pub fn fresh(count: usize) -> Vec<Promised> {
    vec![Promised::default(); count]
}

/// An access token that is promised, and not about to be revoked, with its client.
pub fn live_token(promised: &[Promised]) -> Option<(usize, String)> {
    let certain = promised.iter().filter(|promised| {
        matches!(promised.doubt, None | Some(Doubt::Other | Doubt::Refresh { .. }))
    });
    certain.flat_map(|promised| &promised.live).next().cloned()
}
