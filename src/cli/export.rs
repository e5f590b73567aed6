//! `token-ledger export`: evidence written out, with no server running.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use crate::cli::arguments::ExportArgs;
use crate::cli::local::{
    LocalError, OFFLINE_CACHE_BYTES, RECOVERY_COPY_BYTES_MAX, checkpoint_signer,
    log_to_standard_error, progress, say,
};
use crate::evidence::stored::StoredSource;
use crate::evidence::writer::TileDirectory;
use crate::ledger::checkpoints::Checkpoints;
use crate::ledger::open::{OpenError, Replayed, open_log};
use crate::log::checkpoint::Checkpoint;
use crate::log::sled::{SledDatabase, SledRows};
use crate::log::store::records_from;
use crate::oauth::issuer::Issuer;
use crate::types::id::Seq;

/// Writes the records to standard output, or the log as tiles.
pub(super) fn export(args: &ExportArgs) -> Result<(), LocalError> {
    log_to_standard_error();
    let replayed =
        open_log(&args.data, OFFLINE_CACHE_BYTES, RECOVERY_COPY_BYTES_MAX, progress("reading"))?;
    match &args.tiles {
        Some(tiles) => export_tiles(&replayed, tiles),
        None => export_records(&replayed),
    }
}

fn export_tiles(replayed: &Replayed, path: &Path) -> Result<(), LocalError> {
    let checkpoints = checkpoints_of(&replayed.database)?;
    // What was signed behind the fence; nothing is signed here that the fence does not know of. A
    // ledger that was never served has signed nothing, and nothing to contradict.
    let stored = checkpoints.newest().map_err(|error| OpenError::Notary(error.into()))?;
    let note = match stored {
        Some(stored) => stored.note,
        None => {
            let issuer: Issuer = replayed.directory.marker().issuer.parse()?;
            let origin = issuer.origin_name().parse().map_err(LocalError::Origin)?;
            let checkpoint = Checkpoint { origin, head: replayed.tree.head() };
            checkpoint.sign(&checkpoint_signer(&replayed.directory)?)
        }
    };
    let mut directory = TileDirectory::open(path)?;
    let source = StoredSource::new(replayed.store.as_ref(), None);
    let written = directory.extend(&source, &note)?;
    let (records, files, size) = (written.records, written.files, directory.head().size);
    say(&format!(
        "{} holds {size} records ({records} new, {files} files written), and a checkpoint over \
         them\nNext: token-ledger verify --tiles {0} --vkey KEY, on any machine",
        path.display()
    ))
}

/// The checkpoints that the ledger signed.
pub(super) fn checkpoints_of(database: &Arc<SledDatabase>) -> Result<Checkpoints, LocalError> {
    let table = SledRows::within(Arc::clone(database), "checkpoints").map_err(OpenError::from)?;
    Ok(Checkpoints::new(Arc::new(table)))
}

fn export_records(replayed: &Replayed) -> Result<(), LocalError> {
    let stdout = io::stdout().lock();
    if stdout.is_terminal() {
        tracing::info!("to keep the export, send it to a file: token-ledger export ... > FILE");
    }
    let mut out = BufWriter::with_capacity(1 << 20, stdout);
    for block in records_from(replayed.store.as_ref(), Seq(0)) {
        let block = block.map_err(|error| LocalError::Log(error.into()))?;
        for (_, bytes) in block.iter() {
            let written = out.write_all(bytes).and_then(|()| out.write_all(b"\n"));
            written.map_err(LocalError::Output)?;
        }
    }
    out.flush().map_err(LocalError::Output)
}
