//! What must hold after every turn, whatever it was.

use token_ledger::domain::decide::Granted;
use token_ledger::domain::grant::Refreshed;
use token_ledger::types::digest::ShortDigest;
use token_ledger::types::id::GrantId;

use crate::support::model::{Hit, Step};
use crate::support::names::{digest, grant_id, refresh_digest};
use crate::support::simulation::people::Wish;
use crate::support::simulation::{Outcome, Simulation};

/// What was told to be dead by an answer that was heard.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dead {
    Token(ShortDigest),
    Grant(GrantId),
}

impl Simulation {
    pub(super) fn remember_dead(&mut self, wish: Wish) {
        let dead = if let Wish::RevokeRefresh { grant, .. }
        | Wish::RevokeGrant { grant }
        | Wish::BanGrant { grant } = wish
        {
            Dead::Grant(grant_id(self.model.grant(grant).0))
        } else if let Wish::Step(Step::RevokeAccess { token, .. } | Step::Ban(Hit::Token(token))) =
            wish
        {
            Dead::Token(digest(self.model.token(token)).short())
        } else {
            return;
        };
        self.dead.push(dead);
    }

    /// Whoever was told of a revocation sees nothing of it alive, whatever happened since.
    pub(super) fn look(&self) {
        let now = self.machine.world.now();
        let state = self.machine.world.state.read();
        for dead in &self.dead {
            match dead {
                Dead::Token(token) => {
                    let alive = state.token(token).is_some_and(|t| state.is_active(t, now));
                    assert!(!alive, "active after its revocation was answered");
                }
                Dead::Grant(id) => {
                    let grant = state.grant(id).expect("a grant that was answered");
                    assert!(!state.is_refreshable(grant, now), "refreshable after its revocation");
                    let mut tokens = state.tokens_of(id);
                    assert!(!tokens.any(|token| state.is_active(token, now)), "active, revoked");
                }
            }
        }
    }

    /// One live refresh token per grant, and for a retry the same one as before.
    pub(super) fn look_at_successor(&self, wish: Wish, outcome: Outcome) {
        let Wish::Refresh { grant, generation, .. } = wish else { return };
        let (name, current) = self.model.grant(grant);
        let state = self.machine.world.state.read();
        // One that died in the same batch has none any more.
        let live = state.grant(&grant_id(name)).and_then(|grant| grant.refresh_token());
        let Some(live) = live else { return };
        assert_eq!(Some(live.generation), current, "the one live refresh token");
        assert_eq!(live.digest, refresh_digest(name, live.generation, ""), "the one successor");
        if outcome == Ok(Granted::Refreshed(Refreshed::Successor)) {
            assert!(generation < live.generation, "what was answered exists");
        }
    }

    pub(super) fn look_at_everything(&mut self) {
        self.machine.check();
        if self.turn.is_multiple_of(16) {
            self.machine.check_root();
        }
        let now = self.machine.world.now();
        let names = std::mem::take(&mut self.names).up_to(self.model.named());
        let valid = names.valid(&self.machine.world.state.read(), now);
        assert_eq!(valid, self.model.valid(now), "what may be used now");
        self.names = names;
        let kinds = self.machine.kinds();
        (self.tally.retries, self.tally.reuses) = kinds;
    }
}
