//! Steps 9 to 11: refresh when things go wrong: a lost answer, a race, a thief.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tokio::task::JoinSet;

use crate::demo::Play;
use crate::demo::call::{Answer, Call};
use crate::demo::cast::{LATER_LIFETIME_S, Tokens};
use crate::demo::error::DemoError;
use crate::demo::photos::{PHOTOS, PRIVATE};
use crate::demo::steps_protocol::Refreshed;
use crate::types::secret::Secret;

/// How many processes refresh the same token at once.
const RACERS: usize = 32;

/// Runs them. The grant is dead in the end.
///
/// # Errors
/// [`DemoError`] at the first thing that is not as stated.
pub(super) async fn run(play: &mut Play<'_, '_>, from: Refreshed) -> Result<(), DemoError> {
    let Refreshed { tokens, spent } = from;
    lengthen_lives(play).await?;
    let tokens = lost_answer(play, tokens).await?;
    let tokens = race(play, tokens).await?;
    theft(play, &tokens, &spent).await
}

async fn lengthen_lives(play: &mut Play<'_, '_>) -> Result<(), DemoError> {
    let Play { stage, cast, tell } = play;
    tell.part("When things go wrong")?;
    tell.say(
        "From here on access tokens live ten minutes, so that those which die below die by a \
         decision and not by the clock. The operator changes the policy; it holds for grants that \
         exist already.",
    )?;
    let call = Call::new(reqwest::Method::PATCH, &stage.admin, "/admin/clients/prints")
        .bearer(&cast.operator.bearer)
        .json(json!({ "access_token_lifetime_s": LATER_LIFETIME_S }));
    tell.request("operator", "ledger", &call)?;
    let answer = tell.ask(&cast.operator.caller, "ledger", &call).await?;
    let Answer { status, reason, .. } = &answer;
    tell.line(&format!("  {:>9} <-- {:<9} {status} {reason}", "operator", "ledger"))?;
    tell.stated().status(200, &answer)
}

/// Step 9.
async fn lost_answer(play: &mut Play<'_, '_>, tokens: Tokens) -> Result<Tokens, DemoError> {
    let Play { stage, cast, tell } = play;
    tell.step(9, "The answer to a refresh is lost, and the client tries again")?;
    let call = cast.prints.refresh(&stage.issuer, &tokens.refresh);
    tell.request("prints", "ledger", &call)?;
    let lost = tell.ask(&cast.prints.caller, "ledger", &call).await?;
    tell.line(&format!("  {:>9} x-- {:<9} the answer is lost on its way", "prints", "ledger"))?;
    tell.stated().status(200, &lost)?;
    tell.say(
        "The ledger has rotated the token, but prints never learns the successor: we throw the \
         answer away. Elsewhere this client would be logged out now. It sends the same again:",
    )?;
    let answer = tell.exchange(&cast.prints.caller, "ledger", &call).await?;
    tell.stated().status(200, &answer)?;
    let in_lost = tell.stated().member("refresh_token", &lost)?;
    let refresh = tell.stated().member("refresh_token", &answer)?;
    tell.line(&format!("      successor in the lost answer    {in_lost}"))?;
    tell.line(&format!("      successor in the second answer  {refresh}"))?;
    tell.stated().is("the successor", in_lost.as_str(), refresh.as_str())?;
    let is_new = refresh != tokens.refresh.expose();
    tell.stated().holds("a successor", "the presented token", is_new)?;
    tell.say(
        "The successor is derived from the token that was presented, so the ledger gives the same \
         one again without having kept it, for half a minute, and until the successor is used.",
    )?;
    tell.ok("a lost answer is repeated: the same successor comes back")?;
    let access = Secret::new(tell.stated().member("access_token", &answer)?);
    Ok(Tokens { grant: tokens.grant, access, refresh: Secret::new(refresh) })
}

/// Step 10.
async fn race(play: &mut Play<'_, '_>, tokens: Tokens) -> Result<Tokens, DemoError> {
    let Play { stage, cast, tell } = play;
    tell.step(10, "Thirty-two processes refresh the same token at once")?;
    let call = cast.prints.refresh(&stage.issuer, &tokens.refresh);
    tell.request("prints", "ledger", &call)?;
    tell.line(&format!("{:26}... {RACERS} times, all at once", ""))?;
    let mut racing = JoinSet::new();
    for _ in 0..RACERS {
        let (caller, call) = (cast.prints.caller.clone(), call.clone());
        racing.spawn(async move { caller.send(&call).await });
    }
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    let (mut successors, mut accesses) = (BTreeSet::new(), BTreeSet::new());
    while let Some(raced) = racing.join_next().await {
        let Ok(answered) = raced else { continue };
        let answer =
            answered.map_err(|source| tell.no_answer(&cast.prints.caller, "ledger", source))?;
        *statuses.entry(answer.status).or_default() += 1;
        successors.extend(answer.text_of("refresh_token"));
        accesses.extend(answer.text_of("access_token"));
    }
    for (status, count) in &statuses {
        tell.line(&format!("  {:>9} <-- {:<9} {status}, {count} times", "prints", "ledger"))?;
    }
    let (distinct, tickets) = (successors.len(), accesses.len());
    tell.line(&format!("      refresh tokens in the answers: {distinct} different"))?;
    tell.line(&format!("      access tokens in the answers:  {tickets} different"))?;
    let served = statuses.get(&200).copied().unwrap_or_default();
    tell.stated().is("answers with 200:", RACERS, served)?;
    tell.stated().is("successors:", 1, distinct)?;
    tell.stated().is("access tokens:", RACERS, tickets)?;
    let path = format!("/audit/grants/{}/trail", tokens.grant);
    let call = Call::get(&stage.admin, path).bearer(&cast.auditor.bearer);
    let answer = tell.ask(&cast.auditor.caller, "ledger", &call).await?;
    tell.stated().status(200, &answer)?;
    let trail = answer.lines();
    let count = |kind: &str| {
        let kinds = trail.iter().filter_map(|record| record.get("type")?.as_str());
        kinds.filter(|found| *found == kind).count()
    };
    let (rotated, retried) = (count("refresh_token.rotated"), count("refresh_token.retried"));
    tell.say(&format!(
        "The log agrees. The grant has {rotated} rotations (steps 7, 9 and this one) and {retried} \
         retries (1 in step 9 and 31 here). There is never more than one live refresh token per \
         grant."
    ))?;
    tell.stated().is("rotations:", 3, rotated)?;
    tell.stated().is("retries:", RACERS, retried)?;
    tell.ok("32 concurrent refreshes of one token: one successor")?;
    let refresh = Secret::new(successors.pop_first().unwrap_or_default());
    let access = Secret::new(accesses.pop_first().unwrap_or_default());
    Ok(Tokens { grant: tokens.grant, access, refresh })
}

/// Step 11.
async fn theft(play: &mut Play<'_, '_>, tokens: &Tokens, spent: &Secret) -> Result<(), DemoError> {
    let Play { stage, cast, tell } = play;
    tell.step(11, "A thief presents a spent refresh token")?;
    tell.say(
        "A backup of the shop is stolen. In it: the client secret, and the refresh token of step \
         2, which was spent in step 7. Before the thief moves, all is well:",
    )?;
    let introspect = cast.prints.introspect(&stage.issuer, &tokens.access);
    let answer = tell.exchange(&cast.prints.caller, "ledger", &introspect).await?;
    tell.stated().is("active", true, is_active(&answer))?;
    let offline = Call::get(&stage.api, PHOTOS).bearer(&tokens.access);
    let online = Call::get(&stage.api, PRIVATE).bearer(&tokens.access);
    let answer = tell.ask(&cast.prints.caller, "photos", &online).await?;
    tell.brief("prints", "photos", &online, &answer, "")?;
    tell.stated().status(200, &answer)?;

    tell.say("Now the thief:")?;
    let call = cast.prints.refresh(&stage.issuer, spent);
    let answer = tell.exchange(&cast.thief, "ledger", &call).await?;
    tell.stated().refused(400, "invalid_grant", &answer)?;
    tell.say(
        "A spent token that comes back means that two parties hold the chain. The ledger cannot \
         know which of them is the thief, so both lose: the grant dies with all its tokens.",
    )?;
    let answer = tell.exchange(&cast.prints.caller, "ledger", &introspect).await?;
    tell.stated().is("active", false, is_active(&answer))?;
    let answer = tell.ask(&cast.prints.caller, "photos", &online).await?;
    tell.stated().refused(401, "invalid_token", &answer)?;
    tell.brief("prints", "photos", &online, &answer, "this route asks the ledger")?;
    let call = cast.prints.refresh(&stage.issuer, &tokens.refresh);
    let answer = tell.ask(&cast.prints.caller, "ledger", &call).await?;
    tell.stated().refused(400, "invalid_grant", &answer)?;
    tell.brief("prints", "ledger", &call, &answer, "the newest refresh token is dead, too")?;
    let answer = tell.ask(&cast.prints.caller, "photos", &offline).await?;
    tell.stated().status(200, &answer)?;
    tell.brief("prints", "photos", &offline, &answer, "checked offline: it cannot know")?;
    tell.say(
        "The last line is the price of checking a signature offline: such a token is good until \
         it expires. Keep lifetimes short, or ask, where that is too long.",
    )?;
    tell.ok("a spent token is refused, and its grant dies with all its tokens")
}

/// What an introspection answer says.
pub(super) fn is_active(answer: &Answer) -> bool {
    answer.json().get("active").and_then(serde_json::Value::as_bool).unwrap_or_default()
}
