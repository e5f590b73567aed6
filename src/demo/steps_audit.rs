//! Step 14: who held what at an instant, and why not any more; whose a leaked token is; and what
//! happened in a person's name.

use std::time::Duration;

use serde_json::{Value, json};

use crate::demo::Play;
use crate::demo::call::{Answer, Call};
use crate::demo::error::DemoError;
use crate::demo::narrate::Narrator;
use crate::demo::steps_operator::Blacklisted;
use crate::demo::steps_protocol::seconds_between;
use crate::types::secret::Secret;

/// How long after the operator the auditor comes, in seconds.
const PAUSE_S: u64 = 10;
/// Kinds of records that are counted instead of shown where they follow each other.
const ROUTINE: [&str; 2] = ["access_token.issued", "refresh_token.retried"];

/// Step 14.
///
/// # Errors
/// [`DemoError`] at the first thing that is not as stated.
pub(super) async fn run(play: &mut Play<'_, '_>, known: &Blacklisted) -> Result<(), DemoError> {
    play.tell.part("The auditor")?;
    play.tell.step(14, "The auditor asks who held what, when, and why not any more")?;
    play.tell.say("Ten seconds pass, so that there is a past to ask for.")?;
    tokio::time::sleep(Duration::from_secs(PAUSE_S)).await;
    then_and_now(play, known).await?;
    leaked(play, known).await?;
    trail(play).await?;
    play.tell.ok("the auditor learns what was valid then, what is now, and why")
}

async fn then_and_now(play: &mut Play<'_, '_>, known: &Blacklisted) -> Result<(), DemoError> {
    let Play { stage, cast, tell } = play;
    let ago_s = seconds_between(known.noted, stage.now());
    let noted = known.noted;
    tell.say(&format!("What was valid for Alice {ago_s:.1} seconds ago, at {noted}?"))?;
    let valid = |at: &str| {
        let path = format!("/audit/valid?subject=alice{at}");
        Call::get(&stage.admin, path).bearer(&cast.auditor.bearer)
    };
    let call = valid(&format!("&at={noted}"));
    tell.request("auditor", "ledger", &call)?;
    let answer = tell.ask(&cast.auditor.caller, "ledger", &call).await?;
    let then = valid_tokens(tell, &answer)?;
    let held = |client: &str, kind: &str| {
        let is = |token: &&Value, member, value| text(token, member) == Some(value);
        then.iter().filter(|t| is(t, "client_id", client) && is(t, "kind", kind)).count()
    };
    for client in ["prints", "slideshow"] {
        for kind in ["access_token", "refresh_token"] {
            let what = format!("tokens of kind {kind} for {client} then:");
            tell.stated().is(&what, 1, held(client, kind))?;
        }
    }
    tell.stated().is("tokens then:", 4, then.len())?;
    tell.say("And now?")?;
    let call = valid("");
    tell.request("auditor", "ledger", &call)?;
    let answer = tell.ask(&cast.auditor.caller, "ledger", &call).await?;
    let now = valid_tokens(tell, &answer)?;
    tell.stated().is("tokens now:", 0, now.len())
}

/// Shows the tokens of an answer, one in a line.
fn valid_tokens(tell: &mut Narrator<'_>, answer: &Answer) -> Result<Vec<Value>, DemoError> {
    tell.stated().status(200, answer)?;
    let body = answer.json();
    let tokens = body.get("tokens").and_then(Value::as_array).cloned();
    tell.stated().holds("a list of tokens", "none", tokens.is_some())?;
    let tokens = tokens.unwrap_or_default();
    let as_of = body.pointer("/as_of/seq").and_then(Value::as_u64).unwrap_or_default();
    let (count, reason) = (tokens.len(), answer.reason);
    tell.line(&format!(
        "  {:>9} <-- {:<9} {} {reason}: {count} tokens, as of record {as_of}",
        "auditor", "ledger", answer.status
    ))?;
    for token in &tokens {
        let [kind, client, scope, issued] =
            ["kind", "client_id", "scope", "issued_at"].map(|name| text(token, name));
        let seq = token.get("seq").and_then(Value::as_u64).unwrap_or_default();
        tell.line(&format!(
            "      {:<14} {:<10} {:<12} issued {} by record {seq}",
            kind.unwrap_or_default(),
            client.unwrap_or_default(),
            scope.unwrap_or_default(),
            issued.unwrap_or_default()
        ))?;
    }
    Ok(tokens)
}

/// Looks the four tokens up, the one that leaked first.
async fn leaked(play: &mut Play<'_, '_>, known: &Blacklisted) -> Result<(), DemoError> {
    let Play { stage, cast, tell } = play;
    tell.say(
        "Why? A text found in a leak leads to its trail, even long after it was of use. This one \
         looks like an access token:",
    )?;
    let (prints, slideshow) = (&known.prints, &known.slideshow);
    let (client, subject) = (known.client_entry, known.subject_entry);
    for (first, token, who, entry) in [
        (true, &slideshow.access, "slideshow", client),
        (false, &slideshow.refresh, "slideshow", client),
        (false, &prints.access, "prints", subject),
        (false, &prints.refresh, "prints", subject),
    ] {
        let call = look_up(&stage.admin, &cast.auditor.bearer, token);
        if first {
            tell.request("auditor", "ledger", &call)?;
        } else {
            tell.line(&format!("      and {}", token.expose()))?;
        }
        let answer = tell.ask(&cast.auditor.caller, "ledger", &call).await?;
        tell.stated().status(200, &answer)?;
        let body = answer.json();
        let (kind, status) = (text(&body, "kind"), text(&body, "status"));
        let (kind, status) = (kind.unwrap_or_default(), status.unwrap_or_default());
        let holder = text(&body, "client_id").unwrap_or_default();
        if first {
            let (code, reason) = (answer.status, answer.reason);
            tell.line(&format!("  {:>9} <-- {:<9} {code} {reason}", "auditor", "ledger"))?;
        }
        tell.line(&format!("      {kind} of {holder}: {status}, because of"))?;
        let why = body.get("why").and_then(Value::as_array).cloned().unwrap_or_default();
        for record in &why {
            tell.line(&format!("      {}", record_line(record)))?;
        }
        tell.stated().is("client", who, holder)?;
        tell.stated().is("status", "blacklisted", status)?;
        let last = why.last().and_then(|record| record.get("seq")?.as_u64());
        let found = last.map_or("none".to_owned(), |seq| seq.to_string());
        tell.stated().is("the deciding record:", entry.to_string(), found)?;
    }
    Ok(())
}

fn look_up(admin: &str, bearer: &Secret, token: &Secret) -> Call {
    let body = json!({ "token": token.expose() });
    Call::post(admin, "/audit/token").bearer(bearer).json(body)
}

/// Alice's whole trail.
async fn trail(play: &mut Play<'_, '_>) -> Result<(), DemoError> {
    let Play { stage, cast, tell } = play;
    tell.say(
        "All that ever happened in Alice's name. Each record names the one before it on her trail, \
         inside the bytes that are hashed: none can be left out unnoticed.",
    )?;
    let call = Call::get(&stage.admin, "/audit/subjects/trail?subject=alice");
    let call = call.bearer(&cast.auditor.bearer);
    tell.request("auditor", "ledger", &call)?;
    let answer = tell.ask(&cast.auditor.caller, "ledger", &call).await?;
    tell.stated().status(200, &answer)?;
    let records = answer.lines();
    let (code, reason, count) = (answer.status, answer.reason, records.len());
    tell.line(&format!("  {:>9} <-- {:<9} {code} {reason}: {count} records", "auditor", "ledger"))?;
    let mut routine = 0;
    for record in &records {
        if text(record, "type").is_some_and(|kind| ROUTINE.contains(&kind)) {
            routine += 1;
            continue;
        }
        show_routine(tell, routine)?;
        routine = 0;
        tell.line(&format!("      {}", record_line(record)))?;
    }
    show_routine(tell, routine)?;
    let kinds: Vec<_> = records.iter().filter_map(|record| text(record, "type")).collect();
    for kind in [
        "subject.registered",
        "grant.created",
        "refresh_token.rotated",
        "refresh_token.reused",
        "grant.revoked",
        "blacklist.added",
    ] {
        tell.stated().holds(format_args!("{kind} on the trail"), "none", kinds.contains(&kind))?;
    }
    let named = answer.text.to_lowercase().contains("alice");
    tell.stated().holds("a pseudonym instead of the name", "the name alice", !named)?;
    tell.say(
        "The records say s_... and never alice: the name and her address are sealed under a key \
         of her own. When that key is destroyed, nobody can read them any more, and every hash \
         still holds. That the auditor looked is on the trail, too.",
    )
}

fn show_routine(tell: &mut Narrator<'_>, count: usize) -> Result<(), DemoError> {
    match count {
        0 => Ok(()),
        1 => tell.line("           ... 1 record of access_token.issued"),
        _ => tell.line(&format!("           ... {count} records of {}", ROUTINE.join(" and "))),
    }
}

/// A record in one line.
fn record_line(record: &Value) -> String {
    let seq = record.get("seq").and_then(Value::as_u64).unwrap_or_default();
    let [at, kind, client, actor] =
        ["at", "type", "client", "actor"].map(|name| text(record, name).unwrap_or_default());
    // The date is the same all along; the time to the millisecond tells enough.
    let time = at.get(11..23).unwrap_or(at);
    let reason = record.pointer("/data/reason").and_then(Value::as_str).unwrap_or_default();
    let reason = if reason.is_empty() { String::new() } else { format!("  \"{reason}\"") };
    format!("{seq:>4}  {time}  {kind:<23} {client:<10} by {actor}{reason}")
}

fn text<'a>(value: &'a Value, member: &str) -> Option<&'a str> {
    value.get(member)?.as_str()
}
