//! `token-ledger demo`: the whole story between real servers, narrated. Every step checks what it
//! says, and the first that does not come out as stated ends it.

pub mod error;
mod shorten;
mod call;
mod narrate;
mod stage;
mod photos;
mod cast;
mod steps_protocol;
mod steps_refresh;
mod steps_operator;
mod steps_audit;
mod steps_proof;
mod by_hand;

use std::io::Write;
use std::path::PathBuf;

use crate::clock::Stopwatch;
use crate::types::id::Seq;

use cast::Cast;
use error::DemoError;
use narrate::Narrator;
use stage::Stage;

/// How many steps there are.
const STEPS: usize = 15;

/// What the demonstration is to leave behind.
#[derive(Debug, Clone, Default)]
pub struct DemoOptions {
    /// Where to make the ledger, which stays there; in a temporary directory otherwise, which goes.
    /// The directory is missing or empty.
    pub data: Option<PathBuf>,
    /// Whether the servers go on until Ctrl-C, with what is needed to try them by hand.
    pub keep: bool,
}

/// Everything that a step needs.
struct Play<'a, 'o> {
    stage: &'a Stage,
    cast: &'a Cast,
    tell: &'a mut Narrator<'o>,
}

/// Runs the demonstration and tells it to `out`. Call it inside an actix runtime. Takes about five
/// seconds, most of them to wait for an expiry.
///
/// # Errors
/// [`DemoError`]: the message says which step, and the process should end with a failure. The
/// servers are stopped and a temporary ledger is removed in each case.
pub async fn run(options: DemoOptions, out: &mut dyn Write) -> Result<(), DemoError> {
    let watch = Stopwatch::start();
    let mut tell = Narrator::new(out);
    let mut stage = Stage::raise(options.data.as_deref()).await?;
    let played = tokio::select! {
        played = play(&mut stage, &mut tell, watch) => played,
        () = interrupted() => Err(DemoError::Interrupted),
    };
    let ended = match &played {
        Ok(()) => leave(&mut tell, &stage, options.keep).await,
        // A ledger that stays must not be without its administrator.
        Err(_) if stage.kept().is_some() => by_hand::credentials(&mut tell, &stage),
        Err(_) => Ok(()),
    };
    let kept = stage.kept().map(|path| path.display().to_string());
    let listen = stage.issuer.trim_start_matches("http://").to_owned();
    let closed = stage.close().await;
    // The first fault is the cause of the others.
    played.and(ended).and(closed)?;
    match kept {
        Some(path) => tell.say(&format!(
            "The servers are stopped and the ledger is closed. It is in {path}; to serve it again: \
             token-ledger serve --data {path} --listen {listen}"
        )),
        None => tell.say("The servers are stopped, and the temporary ledger is removed."),
    }?;
    tell.flush()
}

/// The steps in their order.
async fn play(
    stage: &mut Stage,
    tell: &mut Narrator<'_>,
    watch: Stopwatch,
) -> Result<(), DemoError> {
    introduce(tell, stage)?;
    let cast = &cast::gather(stage, tell).await?;
    let mut play = Play { stage, cast, tell };
    let refreshed = steps_protocol::run(&mut play).await?;
    steps_refresh::run(&mut play, refreshed).await?;
    let blacklisted = steps_operator::run(&mut play).await?;
    steps_audit::run(&mut play, &blacklisted).await?;
    let verified = steps_proof::run(&mut play, Seq(blacklisted.client_entry))?;
    summarise(play.tell, verified, watch)
}

fn introduce(tell: &mut Narrator<'_>, stage: &Stage) -> Result<(), DemoError> {
    tell.part("Token Ledger: the demonstration")?;
    tell.say(
        "Everything below happens now, over HTTP, between real servers of this machine. Tokens are \
         shown by their prefix and their last four characters.",
    )?;
    tell.line("")?;
    for (name, what) in [
        ("alice, bob", "people who have photos (resource owners)".to_owned()),
        ("photos", format!("an API that keeps them (resource server)    {}", stage.api)),
        ("prints", "a shop that prints photos (client)".to_owned()),
        ("slideshow", "an app for the television (another client)".to_owned()),
        ("login", "the page at which people sign in and say yes".to_owned()),
        ("ledger", format!("Token Ledger (authorization server)         {}", stage.issuer)),
        ("", format!("  its admin interface                       {}", stage.admin)),
        ("operator", "runs the ledger".to_owned()),
        ("auditor", "may read everything and change nothing".to_owned()),
    ] {
        tell.line(&format!("  {name:>10}  {what}"))?;
    }
    tell.line("")?;
    tell.say("The operator registers the programs, and two of them get tokens for the ledger:")
}

/// What was shown, in one table.
fn summarise(tell: &mut Narrator<'_>, verified: u64, watch: Stopwatch) -> Result<(), DemoError> {
    let shown = tell.shown().to_vec();
    tell.stated().is("steps:", STEPS, shown.len())?;
    tell.part("Summary")?;
    for (step, what) in shown {
        tell.line(&format!("  {step:>4}  {what:<76} ok"))?;
    }
    tell.line("")?;
    tell.line(&format!("  {STEPS} of {STEPS} steps came out as stated"))?;
    tell.line(&format!("  {verified} records, every hash, time and back link verified: ok"))?;
    tell.line(&format!("  {:.1} seconds", watch.seconds()))
}

/// What stays: the servers until Ctrl-C, the ledger with its administrator.
async fn leave(tell: &mut Narrator<'_>, stage: &Stage, keep: bool) -> Result<(), DemoError> {
    if keep {
        by_hand::show(tell, stage)?;
        tell.flush()?;
        interrupted().await;
    } else if stage.kept().is_some() {
        tell.part("The first administrator of the ledger that stays, shown once")?;
        by_hand::credentials(tell, stage)?;
    }
    Ok(())
}

/// Waits for Ctrl-C; for ever, where the system does not tell.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
