//! Steps 1 to 8: what every OAuth 2.0 service does, from the first token to the next one (RFC 6749
//! figure 2).

use std::time::Duration;

use serde_json::Value;

use crate::demo::Play;
use crate::demo::call::{Answer, Call};
use crate::demo::cast::{ACCESS_TOKEN_LIFETIME_S, Proof, Tokens, consent};
use crate::demo::error::DemoError;
use crate::demo::photos::{PHOTOS, PRIVATE};
use crate::demo::steps_refresh::is_active;
use crate::types::secret::Secret;
use crate::types::time::Timestamp;

/// Between two requests while the access token lives, in milliseconds.
const PAUSE_MS: u64 = 500;
/// How often the client asks at most before the token should long have expired.
const REQUESTS_MAX: u32 = 40;

/// What the eight steps leave to those after them.
pub(super) struct Refreshed {
    /// The tokens that are good now.
    pub(super) tokens: Tokens,
    /// The first refresh token, spent in step 7.
    pub(super) spent: Secret,
}

/// Runs them.
///
/// # Errors
/// [`DemoError`] at the first thing that is not as stated.
pub(super) async fn run(play: &mut Play<'_, '_>) -> Result<Refreshed, DemoError> {
    let started = play.stage.now();
    let tokens = first_tokens(play).await?;
    use_the_token(play, &tokens).await?;
    until_it_expires(play, &tokens, started).await?;
    refresh(play, tokens).await
}

/// Steps 1 and 2.
async fn first_tokens(play: &mut Play<'_, '_>) -> Result<Tokens, DemoError> {
    let Play { stage, cast, tell } = play;
    tell.part("The eight steps of OAuth 2.0")?;
    tell.say(
        "Alice wants prints of her photos. She does not give her password to the shop. She signs \
         in at the login page, which records her consent, a grant, and gets a code for it. The \
         code goes to the shop with Alice's browser.",
    )?;
    let proof = Proof::new();
    let call = consent(stage, cast, "alice", &cast.prints, &proof);
    let answer = tell.exchange(&cast.login.caller, "ledger", &call).await?;
    tell.stated().status(201, &answer)?;
    let grant = tell.stated().member("grant_id", &answer)?;
    let code = tell.stated().member("code", &answer)?;

    tell.step(1, "The client authenticates and presents its grant")?;
    tell.say(
        "prints proves who it is with its client secret, and shows the code: the grant. The \
         code_verifier proves that it is the same program for which the code was asked \
         (PKCE): a stolen code alone is of no use.",
    )?;
    let call = cast.prints.exchange_code(&stage.issuer, &code, &proof);
    tell.request("prints", "ledger", &call)?;
    let answer = tell.ask(&cast.prints.caller, "ledger", &call).await?;
    tell.ok("the client authenticates and presents its grant, a code")?;

    tell.step(2, "The ledger validates both, and issues an access token and a refresh token")?;
    tell.answer("prints", "ledger", &answer)?;
    tell.stated().status(200, &answer)?;
    let access = Secret::new(tell.stated().member("access_token", &answer)?);
    let refresh = Secret::new(tell.stated().member("refresh_token", &answer)?);
    let expires_in = answer.json().get("expires_in").and_then(Value::as_u64).unwrap_or_default();
    tell.stated().is("expires_in", ACCESS_TOKEN_LIFETIME_S, expires_in)?;
    tell.say(
        "The access token is a ticket for the photos, good for three seconds here (minutes in \
         real life). The refresh token gets the next ticket. Both were on the disk before the \
         ledger answered; it keeps digests, and could not show either again.",
    )?;
    tell.ok("access token and refresh token are issued for the grant")?;
    Ok(Tokens { grant, access, refresh })
}

/// Steps 3 and 4.
async fn use_the_token(play: &mut Play<'_, '_>, tokens: &Tokens) -> Result<(), DemoError> {
    let Play { stage, cast, tell } = play;
    tell.step(3, "The client asks the resource server for a protected resource")?;
    let bare = Call::get(&stage.api, PHOTOS);
    let call = bare.clone().bearer(&tokens.access);
    tell.request("prints", "photos", &call)?;
    let answer = tell.ask(&cast.prints.caller, "photos", &call).await?;
    tell.ok("the client asks for a resource with the access token")?;

    tell.step(4, "The resource server validates the access token and serves")?;
    tell.answer("prints", "photos", &answer)?;
    tell.stated().status(200, &answer)?;
    served_for(tell.stated(), "alice", &answer)?;
    tell.say(
        "photos checked the signature of the token by itself, with the public key that it fetched \
         once from the ledger (GET /oauth/jwks): issuer, audience, expiry and scope stand in the \
         token. Another route asks the ledger about each token instead (POST /oauth/introspect):",
    )?;
    let call = Call::get(&stage.api, PRIVATE).bearer(&tokens.access);
    let answer = tell.exchange(&cast.prints.caller, "photos", &call).await?;
    tell.stated().status(200, &answer)?;
    served_for(tell.stated(), "alice", &answer)?;
    tell.say("Without a token there is nothing to see:")?;
    let answer = tell.exchange(&cast.prints.caller, "photos", &bare).await?;
    tell.stated().status(401, &answer)?;
    tell.ok("the resource server validates it, by signature or by asking, and serves")
}

fn served_for(
    stated: crate::demo::error::Stated,
    person: &str,
    answer: &Answer,
) -> Result<(), DemoError> {
    let found = answer.text_of("photos_of").unwrap_or_default();
    stated.is("the photos of", person, found.as_str())
}

/// Steps 5 and 6.
async fn until_it_expires(
    play: &mut Play<'_, '_>,
    tokens: &Tokens,
    started: Timestamp,
) -> Result<(), DemoError> {
    let Play { stage, cast, tell } = play;
    tell.step(5, "This repeats until the access token expires")?;
    // The ledger counts whole seconds, so this is the earliest possible expiry.
    let earliest = Timestamp::from_seconds(started.seconds() + ACCESS_TOKEN_LIFETIME_S);
    let call = Call::get(&stage.api, PHOTOS).bearer(&tokens.access);
    let mut refused = None;
    for _ in 0..REQUESTS_MAX {
        let answer = tell.ask(&cast.prints.caller, "photos", &call).await?;
        let age_s = seconds_between(started, stage.now());
        let note = format!("{} after {age_s:.1} s", answer.reason);
        tell.brief("prints", "photos", &call, &answer, &note)?;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
        tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
    }
    let answer = refused.unwrap_or_default();
    let now = stage.now();
    tell.stated().holds(format_args!("service until {earliest}"), now, earliest <= now)?;
    tell.ok("the same token serves again and again, until its time is over")?;

    tell.step(6, "The resource server answers the expired token with invalid_token")?;
    tell.answer("prints", "photos", &answer)?;
    tell.stated().refused(401, "invalid_token", &answer)?;
    let challenge = answer.header(&reqwest::header::WWW_AUTHENTICATE).unwrap_or_default();
    let names_it = challenge.contains("error=\"invalid_token\"");
    tell.stated().holds("a challenge with invalid_token", challenge, names_it)?;
    let call = Call::get(&stage.api, PRIVATE).bearer(&tokens.access);
    let answer = tell.ask(&cast.prints.caller, "photos", &call).await?;
    tell.stated().refused(401, "invalid_token", &answer)?;
    tell.brief("prints", "photos", &call, &answer, "the route that asks says the same")?;
    // The guard reads the expiry itself; the ledger must know it, too.
    let call = cast.photos.introspect(&stage.issuer, &tokens.access);
    let answer = tell.ask(&cast.photos.caller, "ledger", &call).await?;
    tell.stated().is("active", false, is_active(&answer))?;
    tell.brief("photos", "ledger", &call, &answer, "active: false")?;
    tell.say(
        "Nobody had to do anything for that: expiry is arithmetic. What is stolen today is of no \
         use tomorrow.",
    )?;
    tell.ok("the expired token is refused with invalid_token, by both routes")
}

/// Steps 7 and 8.
async fn refresh(play: &mut Play<'_, '_>, tokens: Tokens) -> Result<Refreshed, DemoError> {
    let Play { stage, cast, tell } = play;
    tell.step(7, "The client authenticates and presents the refresh token")?;
    tell.say("Alice is long gone to bed; the shop goes on without her.")?;
    let call = cast.prints.refresh(&stage.issuer, &tokens.refresh);
    tell.request("prints", "ledger", &call)?;
    let answer = tell.ask(&cast.prints.caller, "ledger", &call).await?;
    tell.ok("the client authenticates and presents the refresh token")?;

    tell.step(8, "The ledger validates it and issues a new access token")?;
    tell.answer("prints", "ledger", &answer)?;
    tell.stated().status(200, &answer)?;
    let access = Secret::new(tell.stated().member("access_token", &answer)?);
    let next = Secret::new(tell.stated().member("refresh_token", &answer)?);
    let is_new = access.expose() != tokens.access.expose();
    tell.stated().holds("another access token", "the same one", is_new)?;
    let rotated = next.expose() != tokens.refresh.expose();
    tell.stated().holds("another refresh token", "the same one", rotated)?;
    let call = Call::get(&stage.api, PHOTOS).bearer(&access);
    let answer = tell.ask(&cast.prints.caller, "photos", &call).await?;
    tell.stated().status(200, &answer)?;
    tell.brief("prints", "photos", &call, &answer, "the new ticket opens the door again")?;
    tell.say(
        "The refresh token was exchanged too (rotation): the old one is spent, and its successor \
         takes its place. That is what makes the rest of this story possible.",
    )?;
    tell.ok("a new access token is issued, and the refresh token is rotated")?;
    let Tokens { grant, refresh: spent, .. } = tokens;
    Ok(Refreshed { tokens: Tokens { grant, access, refresh: next }, spent })
}

/// How many seconds passed, with their fraction.
pub(super) fn seconds_between(earlier: Timestamp, later: Timestamp) -> f64 {
    later.micros().saturating_sub(earlier.micros()) as f64 / 1_000_000.0
}
