//! Commands as the edge sends them, each following from the number of its grant.

use token_ledger::domain::client::{AccessTokenFormat, ClientMetadata, GrantType};
use token_ledger::domain::command::{Asked, Command, Draft, Owner, Refresh};
use token_ledger::domain::record::{Actor, Origin};
use token_ledger::types::digest::Digest;
use token_ledger::types::id::{ClientId, GrantId, KeyId, OriginTag, RequestId, SubjectId};
use token_ledger::types::resource::Resources;
use token_ledger::types::scope::Scope;
use token_ledger::types::time::Timestamp;

const REDIRECT_URI: &str = "https://photos.example/callback";

/// 32 bytes that follow from three numbers.
fn noise(kind: u8, a: u64, b: u64) -> [u8; 32] {
    let mut bytes = [0; 17];
    bytes[0] = kind;
    bytes[1..9].copy_from_slice(&a.to_le_bytes());
    bytes[9..].copy_from_slice(&b.to_le_bytes());
    *blake3::hash(&bytes).as_bytes()
}

pub fn grant_id(number: u64) -> GrantId {
    GrantId::from_bytes(*noise(1, number, 0).first_chunk().unwrap())
}

pub fn subject_id(number: u64) -> SubjectId {
    SubjectId::from_bytes(*noise(2, number, 0).first_chunk().unwrap())
}

fn refresh_digest(number: u64, generation: u32) -> Digest {
    Digest::from_bytes(noise(3, number, u64::from(generation)))
}

/// What all commands share.
pub struct Commands {
    client: ClientId,
    scope: Scope,
    audience: Resources,
    key: KeyId,
    sub: String,
    origin: Origin,
    lifetime_s: u64,
    issued: u64,
    /// Makes the tokens of two processes differ.
    run: u64,
}

impl Commands {
    /// Those that issue access tokens of `lifetime_s` seconds.
    pub fn new(lifetime_s: u64, run: u64) -> Self {
        // As long as a real sealed address and user agent.
        let sealed = format!("x1.{}", "A".repeat(118));
        Self {
            client: "photos".parse().unwrap(),
            scope: "read write".parse().unwrap(),
            audience: Resources::new(vec!["https://api.example".parse().unwrap()]).unwrap(),
            key: "k0123456789abcdef".parse().unwrap(),
            sub: format!("x1.{}", "A".repeat(64)),
            origin: Origin::Sealed(sealed.parse().unwrap()),
            lifetime_s,
            issued: 0,
            run,
        }
    }

    fn asked(&mut self, actor: Actor, command: Command) -> Asked {
        self.issued += 1;
        let noise = noise(4, self.run, self.issued);
        let request = RequestId::from_bytes(*noise.first_chunk().unwrap());
        Asked { request, actor, origin: Some(self.origin.clone()), command }
    }

    fn draft(&mut self, at: Timestamp) -> Box<Draft> {
        self.issued += 1;
        Box::new(Draft {
            digest: Digest::from_bytes(noise(5, self.run, self.issued)),
            jti: Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned()),
            format: AccessTokenFormat::Jwt,
            key: Some(self.key.clone()),
            scope: self.scope.clone(),
            audience: self.audience.clone(),
            expires_at: at.plus_seconds(self.lifetime_s),
        })
    }

    /// The client that all grants are of.
    pub fn register(&mut self) -> Asked {
        let metadata = ClientMetadata {
            grant_types: [GrantType::AuthorizationCode, GrantType::RefreshToken].into(),
            redirect_uris: vec![REDIRECT_URI.parse().unwrap()],
            scope: self.scope.clone(),
            resources: self.audience.clone(),
            ..ClientMetadata::default()
        };
        let secret = Some(Digest::from_bytes(noise(6, 0, 0)));
        let (client, metadata) = (self.client.clone(), Box::new(metadata));
        self.asked(Actor::Ledger, Command::RegisterClient { client, metadata, secret })
    }

    /// A grant of a person of its own, and its exchange: five records.
    pub fn session(&mut self, number: u64, at: Timestamp) -> [Asked; 2] {
        let owner = Owner { subject: subject_id(number), sub: self.sub.parse().unwrap() };
        let challenge = Some(Digest::from_bytes(noise(7, number, 0)));
        let code = Digest::from_bytes(noise(8, number, 0));
        let redirect_uri = Some(REDIRECT_URI.to_owned());
        let create = Command::CreateGrant {
            grant: grant_id(number),
            client: self.client.clone(),
            owner,
            scope: self.scope.clone(),
            resources: self.audience.clone(),
            code,
            code_lifetime_s: 60,
            redirect_uri: redirect_uri.clone(),
            challenge,
        };
        let redeem = Command::RedeemCode {
            grant: grant_id(number),
            client: self.client.clone(),
            code,
            challenge,
            redirect_uri,
            refresh: refresh_digest(number, 0),
            access: Ok(self.draft(at)),
        };
        let create = self.asked(Actor::Login("login".parse().unwrap()), create);
        [create, self.asked(Actor::Client(self.client.clone()), redeem)]
    }

    /// The refresh of a grant from `generation` to the next: two records.
    pub fn refresh(&mut self, number: u64, generation: u32, at: Timestamp) -> Asked {
        let refresh = Refresh {
            grant: grant_id(number),
            generation,
            digest: refresh_digest(number, generation),
            successor: refresh_digest(number, generation + 1),
            client: self.client.clone(),
            tag: Some(OriginTag::from_bytes([7; 8])),
            access: Ok(self.draft(at)),
        };
        self.asked(Actor::Client(self.client.clone()), Command::Refresh(refresh))
    }

    /// The end of a grant: one record.
    pub fn revoke(&mut self, number: u64) -> Asked {
        let command = Command::RevokeGrant { grant: grant_id(number), reason: None };
        self.asked(Actor::Administrator("root".parse().unwrap()), command)
    }
}
