//! `token-ledger fence`: the way out when it is lost which checkpoint was signed last.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::cli::local::{
    LocalError, OFFLINE_CACHE_BYTES, RECOVERY_COPY_BYTES_MAX, log_to_standard_error, progress, say,
};
use crate::crypto::note::Note;
use crate::crypto::note_key::NoteVerifier;
use crate::crypto::note_signer::NoteSigner;
use crate::domain::checkpoint_keys::verifier_keys;
use crate::ledger::checkpoints::Checkpoints;
use crate::ledger::lost_fence::restore_fence;
use crate::ledger::open::{OpenError, Replayed, open_log, read_keys};
use crate::log::checkpoint::{Checkpoint, CheckpointError, Origin};
use crate::log::fence::FenceFile;
use crate::log::sled::SledRows;
use crate::log::tree::TreeHead;
use crate::oauth::issuer::Issuer;

/// What can be done with the fence.
#[derive(Debug, Subcommand)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  token-ledger fence restore --data ./ledger --checkpoint newest
  token-ledger fence restore --data ./ledger --fence-file /mnt/other/fence --checkpoint newest

Next: token-ledger fence restore --help"
)]
pub enum FenceCommand {
    /// Make the fence anew after it was lost, once it is sure that this log is the newest
    #[command(after_help = "\
The fence remembers which checkpoint was signed last, so that an old backup that was put back is
recognised: a ledger never signs less than it did. Without it only others can tell. So ask them for
the newest checkpoint that they have: a witness, a mirror, an auditor. The log must hold all that
is in it.

Examples:
  curl -s https://witness.example/SHA256_OF_THE_ORIGIN/checkpoint > newest
  token-ledger fence restore --data ./ledger --checkpoint newest
  Because nobody else ever had a checkpoint, or on your own responsibility:
    token-ledger fence restore --data ./ledger --from-log

A log that is shorter than the checkpoint, or another one, is refused: restore the newest backup.
Next: token-ledger serve --data ./ledger")]
    Restore(FenceArgs),
}

/// What `fence restore` takes.
#[derive(Debug, Args)]
pub struct FenceArgs {
    /// The data directory; no server may run on it
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where the fence is, if the setting fence_file says so; else in the data directory
    #[arg(long, value_name = "PATH")]
    fence_file: Option<PathBuf>,
    #[command(flatten)]
    vouched: VouchedArgs,
}

/// Exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct VouchedArgs {
    /// The newest checkpoint that anybody else has
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Believe the log's own checkpoints: an older backup would not be recognised
    #[arg(long)]
    from_log: bool,
}

/// Does what `fence` asks.
pub(super) fn fence(command: &FenceCommand) -> Result<(), LocalError> {
    let FenceCommand::Restore(args) = command;
    log_to_standard_error();
    let replayed =
        open_log(&args.data, OFFLINE_CACHE_BYTES, RECOVERY_COPY_BYTES_MAX, progress("reading"))?;
    let (place, size) = restore(args, &replayed)?;
    say(&format!(
        "The fence {place} remembers a checkpoint of {size} records: less is never signed.\n\
         Next: token-ledger serve --data {}",
        args.data.display()
    ))
}

fn restore(args: &FenceArgs, replayed: &Replayed) -> Result<(String, u64), LocalError> {
    let issuer: Issuer = replayed.directory.marker().issuer.parse()?;
    let origin: Origin = issuer.origin_name().parse().map_err(LocalError::Origin)?;
    let vouched = match &args.vouched.checkpoint {
        Some(path) => {
            let bytes = std::fs::read(path)
                .map_err(|source| LocalError::File { path: path.display().to_string(), source })?;
            Some(vouched_head(&bytes, &origin, &known_keys(replayed, &issuer)?)?)
        }
        None => None,
    };
    let path = args.fence_file.clone().unwrap_or_else(|| replayed.directory.fence_file());
    let fence = FenceFile::new(&path);
    let rows =
        SledRows::within(Arc::clone(&replayed.database), "checkpoints").map_err(OpenError::from)?;
    let checkpoints = Checkpoints::new(Arc::new(rows));
    let fenced = restore_fence(&replayed.tree, &origin, &checkpoints, &fence, vouched);
    let fenced = fenced.map_err(OpenError::from)?;
    Ok((path.display().to_string(), fenced.head.size))
}

/// The keys that may have signed it: those that the log knows, and those of the key file.
pub(super) fn known_keys(
    replayed: &Replayed,
    issuer: &Issuer,
) -> Result<Vec<NoteVerifier>, LocalError> {
    let logged = verifier_keys(&replayed.state);
    let mut known: Vec<NoteVerifier> = logged.iter().filter_map(|key| key.parse().ok()).collect();
    let name: crate::crypto::note_key::KeyName = issuer.origin_name().parse()?;
    for seed in read_keys(&replayed.directory)?.checkpoint_seeds() {
        let own = NoteSigner::new(name.clone(), seed).verifier().clone();
        if !known.contains(&own) {
            known.push(own);
        }
    }
    Ok(known)
}

fn vouched_head(
    bytes: &[u8],
    origin: &Origin,
    known: &[NoteVerifier],
) -> Result<TreeHead, LocalError> {
    let note = Note::parse(bytes).map_err(CheckpointError::from).map_err(LocalError::Vouched)?;
    let mut refused = CheckpointError::NotSignedByLog;
    for key in known {
        match Checkpoint::open(&note, origin, key, &[]) {
            Ok(opened) => return Ok(opened.checkpoint.head),
            Err(error) => refused = error,
        }
    }
    Err(LocalError::Vouched(refused))
}
