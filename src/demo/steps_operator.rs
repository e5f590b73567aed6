//! Steps 12 and 13: the operator blacklists a client, then a person.

use serde_json::json;

use crate::demo::Play;
use crate::demo::call::Call;
use crate::demo::cast::{Cast, Program, Tokens, sign_in};
use crate::demo::error::DemoError;
use crate::demo::narrate::Narrator;
use crate::demo::photos::PRIVATE;
use crate::demo::stage::Stage;
use crate::demo::steps_refresh::is_active;
use crate::types::time::Timestamp;

/// What the auditor will ask about.
pub(super) struct Blacklisted {
    /// Just before the operator did anything.
    pub(super) noted: Timestamp,
    /// Alice's tokens at that time.
    pub(super) prints: Tokens,
    pub(super) slideshow: Tokens,
    /// The records of the two entries.
    pub(super) client_entry: u64,
    pub(super) subject_entry: u64,
}

/// Runs them.
///
/// # Errors
/// [`DemoError`] at the first thing that is not as stated.
pub(super) async fn run(play: &mut Play<'_, '_>) -> Result<Blacklisted, DemoError> {
    let Play { stage, cast, tell } = play;
    tell.part("The operator")?;
    tell.say("Alice signs in again, Bob too, and each of them uses both apps:")?;
    let alice_prints = sign_in(stage, tell, cast, "alice", &cast.prints).await?;
    let alice_slideshow = sign_in(stage, tell, cast, "alice", &cast.slideshow).await?;
    let bob_prints = sign_in(stage, tell, cast, "bob", &cast.prints).await?;
    let bob_slideshow = sign_in(stage, tell, cast, "bob", &cast.slideshow).await?;
    let noted = stage.now();
    tell.line(&format!("      it is {noted}; the auditor will come back to this moment"))?;

    tell.step(12, "The operator blacklists a client: all its tokens die at once")?;
    tell.say("The slideshow app turns out to sell what it sees.")?;
    let reason = "sells data";
    let client_entry = blacklist(stage, tell, cast, "client", "slideshow", reason).await?;
    tell.say(&format!(
        "One record, number {client_entry}, whatever the number of tokens: everything that was \
         issued to the client up to it is dead, and nothing new is issued."
    ))?;
    for (tokens, person) in [(&alice_slideshow, "alice"), (&bob_slideshow, "bob")] {
        check_dead(stage, tell, cast, &cast.slideshow, person, tokens).await?;
    }
    check_alive(stage, tell, cast, "alice", &alice_prints).await?;
    check_alive(stage, tell, cast, "bob", &bob_prints).await?;
    tell.ok("a client is blacklisted: all its tokens are dead at once, no others")?;

    tell.step(13, "The operator blacklists a person")?;
    tell.say("Alice reports her phone stolen. Whatever was issued in her name must die.")?;
    let subject_entry = blacklist(stage, tell, cast, "subject", "alice", "phone stolen").await?;
    check_dead(stage, tell, cast, &cast.prints, "alice", &alice_prints).await?;
    check_alive(stage, tell, cast, "bob", &bob_prints).await?;
    tell.ok("a person is blacklisted: her tokens are dead, other people's are not")?;
    Ok(Blacklisted {
        noted,
        prints: alice_prints,
        slideshow: alice_slideshow,
        client_entry,
        subject_entry,
    })
}

/// Adds an entry; the record that holds it.
async fn blacklist(
    stage: &Stage,
    tell: &mut Narrator<'_>,
    cast: &Cast,
    kind: &str,
    id: &str,
    reason: &str,
) -> Result<u64, DemoError> {
    let body = json!({ "target": { "type": kind, "id": id }, "reason": reason });
    let call = Call::post(&stage.admin, "/admin/blacklist").bearer(&cast.operator.bearer);
    let call = call.json(body);
    let answer = tell.exchange(&cast.operator.caller, "ledger", &call).await?;
    tell.stated().status(201, &answer)?;
    let seq = answer.json().get("seq").and_then(serde_json::Value::as_u64);
    tell.stated().holds("an entry with the seq of its record", "none", seq.is_some())?;
    Ok(seq.unwrap_or_default())
}

/// The access token is dead for the ledger and for the guard that asks, the refresh token too.
async fn check_dead(
    stage: &Stage,
    tell: &mut Narrator<'_>,
    cast: &Cast,
    program: &Program,
    person: &str,
    tokens: &Tokens,
) -> Result<(), DemoError> {
    let call = cast.photos.introspect(&stage.issuer, &tokens.access);
    let answer = tell.ask(&cast.photos.caller, "ledger", &call).await?;
    let active = is_active(&answer);
    let name = program.caller.name;
    let note = format!("active: {active}  ({person}, {name})");
    tell.brief("photos", "ledger", &call, &answer, &note)?;
    tell.stated().is("active", false, active)?;
    let call = Call::get(&stage.api, PRIVATE).bearer(&tokens.access);
    let answer = tell.ask(&program.caller, "photos", &call).await?;
    tell.stated().refused(401, "invalid_token", &answer)?;
    tell.brief(name, "photos", &call, &answer, "invalid_token")?;
    let call = program.refresh(&stage.issuer, &tokens.refresh);
    let answer = tell.ask(&program.caller, "ledger", &call).await?;
    tell.stated().refused(400, "invalid_grant", &answer)?;
    tell.brief(name, "ledger", &call, &answer, "invalid_grant (the refresh token)")
}

/// The access token for prints is still good.
async fn check_alive(
    stage: &Stage,
    tell: &mut Narrator<'_>,
    cast: &Cast,
    person: &str,
    tokens: &Tokens,
) -> Result<(), DemoError> {
    let call = cast.photos.introspect(&stage.issuer, &tokens.access);
    let answer = tell.ask(&cast.photos.caller, "ledger", &call).await?;
    let active = is_active(&answer);
    let note = format!("active: {active}   ({person}, prints)");
    tell.brief("photos", "ledger", &call, &answer, &note)?;
    tell.stated().is("active", true, active)
}
