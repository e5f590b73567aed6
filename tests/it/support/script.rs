//! The language of the stories: one line, one command. See `snapshots/README.md`.

use std::collections::BTreeMap;

use token_ledger::domain::client::{AuthMethod, ClientMetadata, GrantType, Rotation};
use token_ledger::domain::command::{BlacklistTarget, Command, NoDraft, Refresh, TokenRef};
use token_ledger::domain::event::Target;
use token_ledger::domain::record::About;
use token_ledger::types::id::Seq;
use token_ledger::types::resource::Resources;
use token_ledger::types::scope::Scope;
use token_ledger::types::time::Timestamp;

use crate::support::names::{
    blacklist_id, client_id, code, digest, draft, grant_id, key_id, owner, refresh_digest,
    resources, scope, subject_id, tag,
};
use crate::support::render;
use crate::support::world::{EPOCH_S, World, add_key};

/// What a story knows beside the ledger: what its names stand for.
pub(crate) struct Script {
    pub(crate) world: World,
    clients: BTreeMap<String, ClientMetadata>,
    grants: BTreeMap<String, (String, Scope, Resources)>,
    pub(crate) words: Vec<String>,
}

/// One command line: words, and `name=value` options.
struct Line<'a> {
    words: Vec<&'a str>,
    options: BTreeMap<&'a str, &'a str>,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Self {
        let (options, words): (Vec<&str>, Vec<&str>) =
            text.split_whitespace().partition(|word| word.contains('='));
        let options = options.iter().filter_map(|option| option.split_once('=')).collect();
        Self { words, options }
    }

    fn word(&self, i: usize) -> &'a str {
        self.words.get(i).unwrap_or_else(|| panic!("word {i} is missing in {:?}", self.words))
    }

    fn option(&self, name: &str) -> Option<&'a str> {
        self.options.get(name).copied()
    }
}

impl Script {
    pub(crate) fn new() -> Self {
        let metadata = ClientMetadata {
            grant_types: [GrantType::ClientCredentials].into(),
            scope: scope("ledger:admin"),
            ..ClientMetadata::default()
        };
        Self {
            world: World::new(),
            clients: [("root".to_owned(), metadata)].into(),
            grants: BTreeMap::new(),
            words: Vec::new(),
        }
    }

    /// Runs one batch, a line per command, at `at` seconds; answers what is to stand below it.
    pub(crate) fn run(&mut self, at: &str, lines: &[&str]) -> Vec<String> {
        self.world.set_s(at.parse().expect("a batch starts with its second"));
        self.words.extend(lines.iter().flat_map(|line| line.split([' ', '='])).map(str::to_owned));
        let first = Line::parse(lines[0]);
        match first.word(0) {
            "valid" => return vec![self.valid()],
            "kept" => {
                let kept = self.world.state.read().counts().access_tokens;
                return vec![format!("{kept} access tokens in memory")];
            }
            "accepts" => return vec![self.accepted(first.word(1), &first.words[2..])],
            "tick" => {
                let end = self.world.end();
                self.world.tick(false);
                return self.recorded(end);
            }
            "step" => {
                self.world.clock.step_s(first.word(1).parse().unwrap());
                return Vec::new();
            }
            "rotate" => return self.rotate(first.word(1), first.word(2).parse().unwrap()),
            _ => {}
        }
        let end = self.world.end();
        let (commands, shown) = self.commands(lines);
        let answers = self.world.together(commands);
        let mut out: Vec<(String, u32)> = Vec::new();
        for (answer, shown) in answers.iter().zip(shown) {
            let text = render::outcome(answer.outcome, &shown);
            match out.last_mut() {
                Some((last, times)) if *last == text => *times += 1,
                _ => out.push((text, 1)),
            }
        }
        let times = |times| if times == 1 { String::new() } else { format!(" ({times} times)") };
        let mut out: Vec<_> = out.iter().map(|(text, n)| format!("{text}{}", times(*n))).collect();
        out.extend(self.recorded(end));
        out
    }

    /// The commands of `lines`, each with the tokens that its answer would show.
    pub(crate) fn commands(&mut self, lines: &[&str]) -> (Vec<Command>, Vec<Shown>) {
        let (mut commands, mut shown) = (Vec::new(), Vec::new());
        for text in lines {
            let line = Line::parse(text);
            let times: u32 = line.option("times").map_or(1, |times| times.parse().unwrap());
            for i in 1..=times {
                let suffix = if times == 1 { String::new() } else { format!("#{i}") };
                commands.push(self.command(&line, &suffix));
                shown.push(render::subject_of(commands.last().unwrap(), line.words.as_slice()));
            }
        }
        (commands, shown)
    }

    fn recorded(&self, from: Seq) -> Vec<String> {
        let names = render::Names::new(&self.words);
        self.world.records_from(from).iter().map(|record| names.record(record)).collect()
    }

    /// What may be used now.
    fn valid(&self) -> String {
        let (state, now) = (self.world.state.read(), self.world.now());
        let names = render::Names::new(&self.words);
        let tokens = state.tokens().filter(|token| state.is_active(token, now));
        let mut tokens: Vec<_> = tokens.map(|token| names.short(&token.digest)).collect();
        let grants = state.grants().filter(|grant| state.is_refreshable(grant, now));
        tokens.extend(grants.map(|grant| {
            let generation = grant.refresh_token().unwrap().generation;
            format!("{}.{generation}", names.grant(&grant.id))
        }));
        tokens.sort_unstable();
        if tokens.is_empty() { "nothing".to_owned() } else { tokens.join(" ") }
    }

    /// Which of the secrets the client may use now.
    fn accepted(&self, client: &str, secrets: &[&str]) -> String {
        let (state, now) = (self.world.state.read(), self.world.now());
        let client = state.client(&client_id(client)).expect("a client of the story");
        let is_accepted = |secret: &&&str| client.accepts(&digest(secret), now);
        let accepted: Vec<&str> = secrets.iter().filter(is_accepted).copied().collect();
        if accepted.is_empty() { "none".to_owned() } else { accepted.join(" ") }
    }

    /// Rotates many times, each in a batch of its own, and looks at everything only in the end.
    fn rotate(&mut self, grant: &str, times: u32) -> Vec<String> {
        let end = self.world.end();
        let first = self
            .world
            .state
            .read()
            .grant(&grant_id(grant))
            .unwrap()
            .refresh_token()
            .copied()
            .unwrap();
        for generation in first.generation..first.generation + times {
            let text = format!("refresh {grant}.{generation} r{generation}");
            let command = self.command(&Line::parse(&text), "");
            let answers = self.world.try_together(vec![command]).unwrap();
            assert!(answers[0].outcome.is_ok(), "{answers:?}");
        }
        self.world.check();
        let records = self.world.end().0 - end.0;
        vec![format!("now {grant}.{} ({records} records)", first.generation + times)]
    }

    fn command(&mut self, line: &Line<'_>, suffix: &str) -> Command {
        let reason = "story".to_owned();
        match line.word(0) {
            "client" => self.register(line),
            "update" => {
                let name = line.word(1);
                let metadata = metadata(self.clients[name].clone(), line);
                self.clients.insert(name.to_owned(), metadata.clone());
                Command::UpdateClient { client: client_id(name), metadata: Box::new(metadata) }
            }
            "secret" => Command::RotateSecret {
                client: client_id(line.word(1)),
                secret: digest(line.word(2)),
                previous_lifetime_s: 60,
            },
            "disable" | "enable" => Command::SwitchClient {
                client: client_id(line.word(1)),
                enabled: line.word(0) == "enable",
                reason,
            },
            "grant" => self.grant(line),
            "redeem" => self.redeem(line),
            "credentials" => self.credentials(line, suffix),
            "refresh" => self.refresh(line, suffix),
            "revoke" => Command::RevokeToken {
                client: client_id(line.option("by").unwrap_or("photos")),
                token: match line.word(1).split_once('.') {
                    Some((grant, _)) => TokenRef::OfGrant(grant_id(grant)),
                    None => TokenRef::Access(digest(line.word(1))),
                },
            },
            "revoke-grant" => {
                Command::RevokeGrant { grant: grant_id(line.word(1)), reason: Some(reason) }
            }
            "ban" => Command::AddBlacklist {
                id: blacklist_id(line.word(1)),
                target: target(line.word(2), line.words.get(3).copied().unwrap_or_default()),
                reason: "x".repeat(line.option("reason").map_or(1, |n| n.parse().unwrap())),
            },
            "lift" => Command::LiftBlacklist { id: blacklist_id(line.word(1)), reason },
            "erase" => Command::EraseSubject {
                owner: owner(line.word(1)),
                reason,
                legal_basis: "GDPR article 17".to_owned(),
            },
            "key" => add_key(line.word(1)),
            "retire" => Command::RetireKey { kid: key_id(line.word(1)) },
            "fail-auth" => Command::FailAuthentication {
                client: client_id(line.word(1)),
                method: "client_secret_basic".to_owned(),
            },
            "prove" => Command::UseAssertion {
                client: client_id(line.word(1)),
                digest: digest(line.word(2)),
                expires_at: Timestamp::from_seconds(
                    EPOCH_S + line.option("until").map_or(300, |until| until.parse().unwrap()),
                ),
                kept_max: line.option("kept").map_or(1000, |kept| kept.parse().unwrap()),
            },
            "open" => Command::OpenLedger { version: "0".to_owned(), clean: true },
            "close" => Command::CloseLedger,
            "audit" => Command::ReadAudit {
                what: "trail".to_owned(),
                parameters: serde_json::Map::new(),
                about: About { grant: Some(grant_id(line.word(1))), ..About::default() },
            },
            verb => panic!("no such command: {verb}"),
        }
    }

    fn register(&mut self, line: &Line<'_>) -> Command {
        let grant_types = GrantType::ALL.into();
        let scope = scope("read+write");
        let base = ClientMetadata { grant_types, scope, ..ClientMetadata::default() };
        let (name, metadata) = (line.word(1), metadata(base, line));
        self.clients.entry(name.to_owned()).or_insert(metadata.clone());
        let secret = (!metadata.is_public()).then(|| digest(&format!("{name}-secret")));
        Command::RegisterClient { client: client_id(name), metadata: Box::new(metadata), secret }
    }

    fn grant(&mut self, line: &Line<'_>) -> Command {
        let (name, client, subject) = (line.word(1), line.word(2), line.word(3));
        let scope = scope(line.option("scope").unwrap_or("read+write"));
        let resources = resources(line.option("resources").unwrap_or_default());
        let entry = (client.to_owned(), scope.clone(), resources.clone());
        self.grants.entry(name.to_owned()).or_insert(entry);
        Command::CreateGrant {
            grant: grant_id(name),
            client: client_id(client),
            owner: owner(subject),
            scope,
            resources,
            code: code(name),
            code_lifetime_s: 60,
            redirect_uri: line.option("redirect").map(redirect_uri),
            challenge: line.option("challenge").map(digest),
        }
    }

    /// The access token `name` as the edge would prepare it.
    fn access(&self, line: &Line<'_>, name: &str, client: &str, of: (Scope, Resources)) -> Drafted {
        let (granted, meant) = of;
        let scope = line.option("scope").map_or(granted.clone(), scope);
        let audience = line.option("resources").map_or(meant.clone(), resources);
        if !scope.is_within(&granted) {
            return Err(NoDraft::Scope);
        }
        if !audience.is_within(&meant) {
            return Err(NoDraft::Target);
        }
        let lifetime_s = u64::from(self.clients[client].access_token_lifetime_s);
        let expires_at = self.world.now().plus_seconds(lifetime_s);
        let mut draft = draft(name, scope, audience, expires_at);
        draft.key = line.option("key").map(key_id);
        Ok(Box::new(draft))
    }

    fn of_grant(&self, line: &Line<'_>, grant: &str, name: &str) -> (String, Drafted) {
        let unknown = (line.option("by").unwrap_or("photos").to_owned(), scope(""), resources(""));
        let (client, scope, resources) = self.grants.get(grant).unwrap_or(&unknown);
        let access = self.access(line, name, client, (scope.clone(), resources.clone()));
        (line.option("by").unwrap_or(client).to_owned(), access)
    }

    fn redeem(&self, line: &Line<'_>) -> Command {
        let grant = line.word(1);
        let (client, access) = self.of_grant(line, grant, line.word(2));
        Command::RedeemCode {
            grant: grant_id(grant),
            client: client_id(&client),
            code: code(line.option("code").unwrap_or(grant)),
            challenge: line.option("verifier").map(digest),
            redirect_uri: line.option("redirect").map(redirect_uri),
            refresh: refresh_digest(grant, 0, ""),
            access,
        }
    }

    fn credentials(&self, line: &Line<'_>, suffix: &str) -> Command {
        let (client, grant) = (line.word(1), line.word(2));
        let metadata = &self.clients[client];
        let of = (metadata.scope.clone(), metadata.resources.clone());
        let access = self.access(line, &format!("{}{suffix}", line.word(3)), client, of);
        let grant = grant_id(&format!("{grant}{suffix}"));
        Command::IssueToClient { grant, client: client_id(client), access }
    }

    fn refresh(&self, line: &Line<'_>, suffix: &str) -> Command {
        let (grant, token) = line.word(1).split_once('.').expect("grant.generation");
        let digits = token.trim_end_matches(|c: char| !c.is_ascii_digit());
        let (generation, secret) = (digits.parse::<u32>().unwrap(), &token[digits.len()..]);
        let (client, access) = self.of_grant(line, grant, &format!("{}{suffix}", line.word(2)));
        let from = line.option("from").unwrap_or("home");
        Command::Refresh(Refresh {
            grant: grant_id(grant),
            generation,
            digest: refresh_digest(grant, generation, secret),
            successor: refresh_digest(grant, generation + 1, secret),
            client: client_id(&client),
            tag: (from != "nowhere").then(|| tag(from)),
            access,
        })
    }
}

/// Access token, refresh token, and the refresh token that was presented.
type Shown = (String, String, String);
type Drafted = Result<Box<token_ledger::domain::command::Draft>, NoDraft>;

fn redirect_uri(name: &str) -> String {
    format!("https://{name}.example/callback")
}

fn target(kind: &str, name: &str) -> BlacklistTarget {
    BlacklistTarget::Other(match kind {
        "person" => return BlacklistTarget::Owner(owner(name)),
        "refresh" => {
            let (grant, _) = name.split_once('.').expect("grant.generation");
            return BlacklistTarget::TokenOfGrant(digest(name), grant_id(grant));
        }
        "token" => Target::Token(digest(name)),
        "grant" => Target::Grant(grant_id(name)),
        "subject" => Target::Subject(subject_id(name)),
        "client" => Target::Client(client_id(name)),
        "key" => Target::Key(key_id(name)),
        "all" => Target::All,
        kind => panic!("no such target: {kind}"),
    })
}

fn metadata(mut metadata: ClientMetadata, line: &Line<'_>) -> ClientMetadata {
    let never = |value: &str| (value != "never").then(|| value.parse::<u64>().unwrap());
    for (name, value) in &line.options {
        match *name {
            "scope" => metadata.scope = scope(value),
            "resources" => metadata.resources = resources(value),
            "redirect" => {
                let uris = value.split('+').map(|name| redirect_uri(name).parse().unwrap());
                metadata.redirect_uris = uris.collect();
            }
            "auth" => {
                metadata.token_endpoint_auth_method = match *value {
                    "none" => AuthMethod::None,
                    _ => AuthMethod::ClientSecretBasic,
                };
            }
            "grants" => {
                let named = |kind: &&GrantType| value.split('+').any(|name| name == kind.as_str());
                metadata.grant_types = GrantType::ALL.iter().filter(named).copied().collect();
            }
            "lifetime" => metadata.access_token_lifetime_s = value.parse().unwrap(),
            "idle" => metadata.refresh_idle_s = never(value),
            "absolute" => metadata.refresh_absolute_s = never(value),
            "rotation" if *value == "never" => metadata.rotation = Rotation::Never,
            "rotation" => metadata.rotation = Rotation::Always,
            "grace" => metadata.grace_s = value.parse().unwrap(),
            "retries" => metadata.grace_retries_max = value.parse().unwrap(),
            "shadow" => metadata.shadow_generations_max = value.parse().unwrap(),
            name => panic!("no such metadata: {name}"),
        }
    }
    metadata
}
