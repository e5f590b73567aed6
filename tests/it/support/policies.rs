//! Four ways to register a client, in plain values that a test can reckon with.

use token_ledger::domain::client::{ClientMetadata, GrantType, Rotation};

use crate::support::names::scope;

#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) rotates: bool,
    pub(crate) may_refresh: bool,
    pub(crate) idle_s: Option<u64>,
    pub(crate) absolute_s: Option<u64>,
    pub(crate) grace_s: u32,
    pub(crate) retries_max: u32,
    pub(crate) shadow_max: u32,
    pub(crate) lifetime_s: u32,
    pub(crate) scope: &'static str,
}

const PLAIN: Policy = Policy {
    rotates: true,
    may_refresh: true,
    idle_s: Some(200),
    absolute_s: None,
    grace_s: 30,
    retries_max: 2,
    shadow_max: 2,
    lifetime_s: 100,
    scope: "read write",
};

pub(crate) const POLICIES: [Policy; 4] = [
    PLAIN,
    Policy { rotates: false, idle_s: Some(100), absolute_s: Some(300), ..PLAIN },
    Policy { grace_s: 0, idle_s: None, lifetime_s: 30, ..PLAIN },
    Policy { may_refresh: false, shadow_max: 0, scope: "read", ..PLAIN },
];

impl Policy {
    pub(crate) fn metadata(&self) -> ClientMetadata {
        let mut grant_types = [GrantType::AuthorizationCode, GrantType::ClientCredentials].into();
        if self.may_refresh {
            grant_types = GrantType::ALL.into();
        }
        ClientMetadata {
            grant_types,
            scope: scope(self.scope),
            access_token_lifetime_s: self.lifetime_s,
            refresh_idle_s: self.idle_s,
            refresh_absolute_s: self.absolute_s,
            rotation: if self.rotates { Rotation::Always } else { Rotation::Never },
            grace_s: self.grace_s,
            grace_retries_max: self.retries_max,
            shadow_generations_max: self.shadow_max,
            ..ClientMetadata::default()
        }
    }
}
