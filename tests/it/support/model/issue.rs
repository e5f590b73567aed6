//! The model's own telling of what is issued, exchanged, refreshed and revoked.

use token_ledger::domain::command::{Command, Draft, NoDraft, Refresh, TokenRef};
use token_ledger::domain::decide::Granted;
use token_ledger::domain::event::{CodeRefusal, RefreshRefusal};
use token_ledger::domain::grant::Refreshed;
use token_ledger::domain::refusal::Refusal;
use token_ledger::types::time::Timestamp;

use crate::support::model::{
    CLIENTS, Grant, HOSTS, Model, Outcome, SUBJECTS, Standing, Step, Token,
};
use crate::support::names::{
    client_id, code, digest, draft, grant_id, key_id, owner, refresh_digest, resources, scope, tag,
};

type Access = (String, Timestamp, Result<Box<Draft>, NoDraft>);

impl Model {
    pub(super) fn create_grant(
        &mut self,
        at: Timestamp,
        client: usize,
        subject: usize,
        wide: bool,
        challenge: bool,
    ) -> (Command, Outcome) {
        let name = self.name("g");
        let scope_text = if wide { "read write" } else { "read" };
        let command = Command::CreateGrant {
            grant: grant_id(&name),
            client: client_id(CLIENTS[client]),
            owner: owner(SUBJECTS[subject]),
            scope: scope(scope_text),
            resources: resources(""),
            code: code(&name),
            code_lifetime_s: 60,
            redirect_uri: None,
            challenge: challenge.then(|| digest("challenge")),
        };
        let (of_client, of_subject) = (self.clients[client], self.subjects[subject]);
        let refusal = if of_client.disabled {
            Some(Refusal::ClientDisabled)
        } else if 0 < of_client.entries || 0 < self.everything {
            Some(Refusal::Blacklisted)
        } else if wide && self.policy(client).scope == "read" {
            Some(Refusal::Scope)
        } else if of_subject.erased {
            Some(Refusal::Stale)
        } else {
            (0 < of_subject.entries).then_some(Refusal::Blacklisted)
        };
        if let Some(refusal) = refusal {
            return (command, Err(refusal));
        }
        self.subjects[subject].known = true;
        self.add_grant(at, name, (client, Some(subject)), scope_text, challenge);
        (command, Ok(Granted::Done))
    }

    fn add_grant(
        &mut self,
        at: Timestamp,
        name: String,
        (client, subject): (usize, Option<usize>),
        scope: &'static str,
        challenge: bool,
    ) {
        let standing = Standing::Live;
        self.grants.push(Grant {
            name,
            client,
            subject,
            scope,
            challenge,
            created_at: at,
            standing,
            struck: false,
            struck_by_subject: false,
            redeemed: false,
            generation: None,
            used_at: at,
            window: None,
            row: 0,
        });
    }

    /// A fresh access token of `grant`; `None` for one that would cover more than was granted.
    fn access(&mut self, at: Timestamp, scope_text: &str, client: usize, widens: bool) -> Access {
        let name = self.name("t");
        if widens {
            return (name, at, Err(NoDraft::Scope));
        }
        let expires_at = at.plus_seconds(u64::from(self.policy(client).lifetime_s));
        let mut draft = draft(&name, scope(scope_text), resources(""), expires_at);
        draft.key = Some(key_id(&Self::key_name(self.keys.len() - 1)));
        (name, expires_at, Ok(Box::new(draft)))
    }

    fn issue(&mut self, grant: usize, name: String, expires_at: Timestamp) {
        let key = self.keys.len() - 1;
        self.tokens.push(Token { name, grant, key, expires_at, gone: false, struck: false });
    }

    pub(super) fn redeem(
        &mut self,
        at: Timestamp,
        index: usize,
        foreign: bool,
        verifier: bool,
        widens: bool,
    ) -> (Command, Outcome) {
        let (client, scope) = (self.grants[index].client, self.grants[index].scope);
        let (name, expires_at, access) = self.access(at, scope, client, widens);
        let by = if foreign { (client + 1) % 3 } else { client };
        let grant = &self.grants[index];
        let command = Command::RedeemCode {
            grant: grant_id(&grant.name),
            client: client_id(CLIENTS[by]),
            code: code(&grant.name),
            challenge: verifier.then(|| digest("challenge")),
            redirect_uri: None,
            refresh: refresh_digest(&grant.name, 0, ""),
            access,
        };
        let above = self.obstacle_above(grant);
        let refusal = if grant.subject.is_none() {
            Some(Refusal::UnknownGrant)
        } else if foreign {
            Some(Refusal::Code(CodeRefusal::WrongClient))
        } else if grant.standing == Standing::Revoked {
            Some(Refusal::Code(CodeRefusal::Revoked))
        } else if grant.standing == Standing::Blacklisted {
            Some(Refusal::Code(CodeRefusal::Blacklisted))
        } else if verifier && !grant.challenge {
            Some(Refusal::UnexpectedVerifier)
        } else if verifier != grant.challenge {
            Some(Refusal::Code(CodeRefusal::WrongVerifier))
        } else if grant.redeemed {
            Some(Refusal::CodeReplayed)
        } else if grant.created_at.plus_seconds(60) <= at {
            Some(Refusal::Code(CodeRefusal::Expired))
        } else if let Some(above) = above {
            let disabled = above == RefreshRefusal::ClientDisabled;
            let revoked = above == RefreshRefusal::Revoked;
            Some(Refusal::Code(if disabled {
                CodeRefusal::ClientDisabled
            } else if revoked {
                CodeRefusal::Revoked
            } else {
                CodeRefusal::Blacklisted
            }))
        } else {
            let vain = self.signs_in_vain().then_some(Refusal::Stale);
            if widens { Some(Refusal::Code(CodeRefusal::Scope)) } else { vain }
        };
        match refusal {
            Some(Refusal::CodeReplayed) => self.die(index, Standing::Revoked),
            Some(_) => {}
            None => {
                let refresh_token = self.policy(client).may_refresh;
                let grant = &mut self.grants[index];
                grant.redeemed = true;
                if refresh_token {
                    (grant.generation, grant.used_at) = (Some(0), at);
                }
                self.issue(index, name, expires_at);
                return (command, Ok(Granted::Issued { refresh_token }));
            }
        }
        (command, Err(refusal.expect("the other arm returned")))
    }

    pub(super) fn refresh(
        &mut self,
        at: Timestamp,
        index: usize,
        step: Step,
    ) -> (Command, Outcome) {
        let Step::Refresh { back, forged, foreign, host, widens, .. } = step else {
            unreachable!("the caller matched it")
        };
        let (client, scope) = (self.grants[index].client, self.grants[index].scope);
        let (name, expires_at, access) = self.access(at, scope, client, widens);
        let grant = &self.grants[index];
        let current = grant.generation.unwrap_or_default();
        let generation = current.saturating_add_signed(-back);
        let secret = if forged { "x" } else { "" };
        let by = if foreign { (client + 1) % 3 } else { client };
        let command = Command::Refresh(Refresh {
            grant: grant_id(&grant.name),
            generation,
            digest: refresh_digest(&grant.name, generation, secret),
            successor: refresh_digest(&grant.name, generation + 1, secret),
            client: client_id(CLIENTS[by]),
            tag: Some(tag(HOSTS[host])),
            access,
        });
        let outcome = self.judge(at, index, (generation, forged, foreign, host, widens));
        match outcome {
            Ok(_) => self.issue(index, name, expires_at),
            Err(Refusal::Reused) => self.die(index, Standing::Revoked),
            Err(_) => {}
        }
        (command, outcome)
    }

    fn judge(
        &mut self,
        at: Timestamp,
        index: usize,
        (generation, forged, foreign, host, widens): (u32, bool, bool, usize, bool),
    ) -> Outcome {
        let refuse = |reason| Err(Refusal::Refresh(reason));
        let policy = self.policy(self.grants[index].client);
        let in_vain = self.signs_in_vain();
        if foreign {
            return refuse(RefreshRefusal::WrongClient);
        }
        if let Some(reason) = self.obstacle(at, &self.grants[index]) {
            return refuse(reason);
        }
        if !policy.may_refresh {
            return refuse(RefreshRefusal::GrantType);
        }
        let opened_at = self.grants[index].window.map(|(opened_at, ..)| opened_at);
        let paused = opened_at.map_or(0, |opened_at| self.paused(opened_at));
        let grant = &mut self.grants[index];
        let Some(current) = grant.generation else { return refuse(RefreshRefusal::Ahead) };
        if current < generation || (current == generation && forged) {
            return refuse(RefreshRefusal::Ahead);
        }
        if current == generation {
            if widens {
                return refuse(RefreshRefusal::Scope);
            }
            if in_vain {
                return Err(Refusal::Stale);
            }
            if let Some((_, _, others)) = grant.window.take() {
                grant.row = if others == 0 { 0 } else { grant.row + 1 };
            }
            grant.used_at = at;
            if !policy.rotates {
                return Ok(Granted::Refreshed(Refreshed::Same));
            }
            grant.generation = Some(current + 1);
            grant.window = Some((at, host, 0));
            return Ok(Granted::Refreshed(Refreshed::Successor));
        }
        let Some((opened_at, first, others)) = &mut grant.window else {
            return Err(Refusal::Reused);
        };
        let grace_micros = u64::from(policy.grace_s) * 1_000_000 + paused;
        let in_time = at < opened_at.plus_micros(grace_micros);
        let other = host != *first;
        let worn_out = policy.retries_max <= *others
            || (0 < policy.shadow_max && policy.shadow_max <= grant.row + 1);
        if generation + 1 != current || forged || !in_time || (other && worn_out) {
            return Err(Refusal::Reused);
        }
        if widens {
            return refuse(RefreshRefusal::Scope);
        }
        if in_vain {
            return Err(Refusal::Stale);
        }
        *others += u32::from(other);
        Ok(Granted::Refreshed(Refreshed::Successor))
    }

    pub(super) fn credentials(
        &mut self,
        at: Timestamp,
        client: usize,
        fresh: bool,
    ) -> (Command, Outcome) {
        let scope = self.policy(client).scope;
        let (name, expires_at, access) = self.access(at, scope, client, false);
        let fits = |grant: &Grant| {
            grant.standing == Standing::Live && !grant.struck && grant.scope == scope
        };
        let mine = |grant: &Grant| grant.client == client && grant.subject.is_none();
        let newest = self.grants.iter().rposition(mine);
        let usable = newest.filter(|own| fits(&self.grants[*own]));
        let fresh_name = self.name("c");
        let asked = if fresh { None } else { newest };
        let grant = asked.map_or(&fresh_name, |own| &self.grants[own].name);
        let (grant, id) = (grant_id(grant), client_id(CLIENTS[client]));
        let command = Command::IssueToClient { grant, client: id, access };
        let party = self.clients[client];
        if party.disabled {
            return (command, Err(Refusal::ClientDisabled));
        }
        if 0 < party.entries || 0 < self.everything {
            return (command, Err(Refusal::Blacklisted));
        }
        if self.signs_in_vain() || asked != usable {
            return (command, Err(Refusal::Stale));
        }
        let index = usable.unwrap_or_else(|| {
            self.add_grant(at, fresh_name, (client, None), scope, false);
            self.grants.len() - 1
        });
        self.issue(index, name, expires_at);
        (command, Ok(Granted::Issued { refresh_token: false }))
    }

    pub(super) fn revoke(
        &mut self,
        at: Timestamp,
        token: usize,
        foreign: bool,
    ) -> Option<(Command, Outcome)> {
        let index = token.checked_rem(self.tokens.len())?;
        let token = &mut self.tokens[index];
        let grant = &self.grants[token.grant];
        let by = if foreign { (grant.client + 1) % 3 } else { grant.client };
        let reference = TokenRef::Access(digest(&token.name));
        let command = Command::RevokeToken { client: client_id(CLIENTS[by]), token: reference };
        if token.gone {
            return Some((command, Ok(Granted::Done)));
        }
        if foreign {
            let has_expired = token.expires_at <= at;
            let foreign = Err(Refusal::ForeignToken);
            return Some((command, if has_expired { Ok(Granted::Done) } else { foreign }));
        }
        token.gone = grant.standing == Standing::Live;
        Some((command, Ok(Granted::Done)))
    }
}
