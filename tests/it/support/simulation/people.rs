//! Who asks: sessions that retry what they heard no answer to, a thief with copies of their
//! tokens, jobs, and an operator. Each knows what it was told, and nothing else.

use token_ledger::domain::decide::Granted;
use token_ledger::domain::event::RefreshRefusal;
use token_ledger::domain::grant::Refreshed;
use token_ledger::domain::refusal::Refusal;

use crate::support::model::{CLIENTS, Hit, Model, SUBJECTS, Step};
use crate::support::policies::POLICIES;
use crate::support::simulation::dice::Dice;

/// What somebody asks for. Grants, tokens and assertions are named by number, as they came to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wish {
    Redeem {
        grant: usize,
        foreign: bool,
        verifier: bool,
        widens: bool,
    },
    Refresh {
        grant: usize,
        generation: u32,
        foreign: bool,
        host: usize,
        widens: bool,
    },
    RevokeRefresh {
        grant: usize,
        foreign: bool,
    },
    RevokeGrant {
        grant: usize,
    },
    BanGrant {
        grant: usize,
    },
    /// All that the model has a word for.
    Step(Step),
    Prove {
        assertion: usize,
    },
    ReadAudit,
    Open {
        clean: bool,
    },
    Close,
}

impl Wish {
    /// The same in the words of the model; none for what it knows nothing about.
    pub(super) fn step(self, model: &Model) -> Option<Step> {
        Some(match self {
            Self::Redeem { grant, foreign, verifier, widens } => {
                Step::Redeem { grant: model.nth(grant), foreign, verifier, widens }
            }
            Self::Refresh { grant, generation, foreign, host, widens } => {
                let current = model.grant(grant).1.unwrap_or_default();
                let back = i32::try_from(current).unwrap() - i32::try_from(generation).unwrap();
                let (grant, forged) = (model.nth(grant), false);
                Step::Refresh { grant, back, forged, foreign, host, widens }
            }
            Self::RevokeRefresh { grant, foreign } => {
                Step::RevokeRefresh { grant: model.nth(grant), foreign }
            }
            Self::RevokeGrant { grant } => Step::RevokeGrant { grant: model.nth(grant) },
            Self::BanGrant { grant } => Step::Ban(Hit::Grant(model.nth(grant))),
            Self::Step(step) => step,
            Self::Prove { .. } | Self::ReadAudit | Self::Open { .. } | Self::Close => return None,
        })
    }
}

/// How far a session has come, as far as it knows.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Nothing,
    Code { grant: usize, challenge: bool },
    Tokens { grant: usize, held: u32 },
}

/// An application of one person on one host; its processes share what they hold.
#[derive(Debug)]
pub(crate) struct Session {
    client: usize,
    subject: usize,
    host: usize,
    stage: Stage,
    /// Requests without an answer so far.
    pub(crate) waiting: usize,
    access: Vec<usize>,
}

/// What came of a command: the number of the grant and of the access token, if there is one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Made {
    pub(crate) grant: Option<usize>,
    pub(crate) token: Option<usize>,
}

impl Session {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self {
            client: dice.below(CLIENTS.len()),
            subject: dice.below(SUBJECTS.len()),
            host: dice.below(2),
            stage: Stage::Nothing,
            waiting: 0,
            access: Vec::new(),
        }
    }

    /// The refresh token that it holds, as a grant and a generation.
    pub(super) fn held(&self) -> Option<(usize, u32, usize)> {
        match self.stage {
            Stage::Tokens { grant, held } => Some((grant, held, self.host)),
            Stage::Nothing | Stage::Code { .. } => None,
        }
    }

    /// What its processes ask for now, all at once.
    pub(super) fn act(&mut self, dice: &mut Dice) -> Vec<Wish> {
        let rarely = |dice: &mut Dice| dice.chance(30);
        match self.stage {
            Stage::Nothing => {
                self.subject = dice.below(SUBJECTS.len());
                let (client, subject, wide) = (self.client, self.subject, dice.chance(500));
                let challenge = dice.chance(500);
                vec![Wish::Step(Step::Grant { client, subject, wide, challenge })]
            }
            Stage::Code { grant, challenge } => {
                let (foreign, widens) = (rarely(dice), rarely(dice));
                let verifier = challenge != rarely(dice);
                let twice = 1 + usize::from(rarely(dice));
                vec![Wish::Redeem { grant, foreign, verifier, widens }; twice]
            }
            Stage::Tokens { grant, held } => {
                if !self.access.is_empty() && dice.chance(60) {
                    let (token, foreign) = (self.access[dice.below(self.access.len())], false);
                    let foreign = foreign || rarely(dice);
                    return vec![Wish::Step(Step::RevokeAccess { token, foreign })];
                }
                if dice.chance(15) {
                    return vec![Wish::RevokeRefresh { grant, foreign: dice.chance(300) }];
                }
                // Siblings of one host race; one may not have heard of the newest token yet.
                let processes = dice.of_these(&[1, 1, 1, 2, 3]);
                let mut wishes = Vec::new();
                for _ in 0..processes {
                    let generation = held.saturating_sub(u32::from(rarely(dice)));
                    let (foreign, widens) = (dice.chance(10), rarely(dice));
                    let host = if rarely(dice) { 1 - self.host } else { self.host };
                    wishes.push(Wish::Refresh { grant, generation, foreign, host, widens });
                }
                wishes
            }
        }
    }

    /// It hears the answer to `wish`.
    pub(super) fn hear(&mut self, wish: Wish, outcome: Result<Granted, Refusal>, made: Made) {
        self.access.extend(made.token);
        match (wish, self.stage) {
            (Wish::Step(Step::Grant { challenge, .. }), Stage::Nothing) if outcome.is_ok() => {
                let grant = made.grant.expect("a grant was made");
                self.stage = Stage::Code { grant, challenge };
            }
            (Wish::Redeem { grant, .. }, Stage::Code { grant: mine, .. }) if grant == mine => {
                match outcome {
                    Ok(Granted::Issued { refresh_token: true }) => {
                        self.stage = Stage::Tokens { grant, held: 0 };
                    }
                    Err(Refusal::Stale | Refusal::UnexpectedVerifier) => {}
                    Ok(_) | Err(_) => self.end(),
                }
            }
            (Wish::Refresh { grant, generation, .. }, Stage::Tokens { grant: mine, held })
                if grant == mine =>
            {
                match outcome {
                    Ok(Granted::Refreshed(Refreshed::Successor)) => {
                        let held = held.max(generation + 1);
                        self.stage = Stage::Tokens { grant, held };
                    }
                    Ok(_) | Err(Refusal::Stale) => {}
                    Err(Refusal::Refresh(RefreshRefusal::Scope | RefreshRefusal::WrongClient)) => {}
                    Err(_) => self.end(),
                }
            }
            (Wish::RevokeRefresh { grant, foreign: false }, Stage::Tokens { grant: mine, .. })
                if grant == mine =>
            {
                self.end();
            }
            _ => {}
        }
    }

    fn end(&mut self) {
        self.stage = Stage::Nothing;
        self.access.clear();
    }
}

/// What an operator, a job or an auditor asks for now.
pub(super) fn operate(dice: &mut Dice, model: &Model) -> Option<Wish> {
    let [grants, tokens, entries, _] = model.counts();
    let client = dice.below(CLIENTS.len());
    let token = |dice: &mut Dice| tokens.checked_sub(1 + dice.below(6));
    let grant = |dice: &mut Dice| grants.checked_sub(1 + dice.below(4));
    let step = match dice.below(100) {
        0..=3 => return Some(Wish::RevokeGrant { grant: grant(dice)? }),
        4..=6 => return Some(Wish::BanGrant { grant: grant(dice)? }),
        7..=9 => Step::Ban(Hit::Token(token(dice)?)),
        10..=12 => Step::Ban(Hit::Subject(dice.below(SUBJECTS.len()))),
        13..=15 => Step::Ban(Hit::Client(client)),
        16 => Step::Ban(Hit::All),
        17..=18 => Step::Ban(Hit::Key(dice.below(2))),
        // The newest ones, so that it does not get quiet.
        19..=44 => Step::Lift { entry: entries.checked_sub(1 + dice.below(4))? },
        45 => Step::Erase { subject: dice.below(SUBJECTS.len()) },
        46..=48 => Step::Switch { client, enabled: false },
        49..=60 => Step::Switch { client, enabled: true },
        61..=65 => Step::Update { client, policy: dice.below(POLICIES.len()) },
        66..=71 => Step::FailAuthentication { client },
        72..=75 => Step::AddKey,
        76..=77 => Step::RetireKey { key: dice.below(3) },
        78..=89 => Step::Credentials { client, fresh: dice.chance(100) },
        90..=94 => Step::RevokeAccess { token: token(dice)?, foreign: dice.chance(300) },
        95..=97 => return Some(Wish::Prove { assertion: dice.below(12) }),
        _ => return Some(Wish::ReadAudit),
    };
    Some(Wish::Step(step))
}
