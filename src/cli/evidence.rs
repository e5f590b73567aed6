//! `token-ledger export` and `verify`: evidence written out, and judged, with no server running.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, IsTerminal, Write};
use std::path::Path;

use serde_json::json;

use crate::cli::arguments::{ExportArgs, VerifyArgs};
use crate::cli::local::{
    LocalError, OFFLINE_CACHE_BYTES, RECOVERY_COPY_BYTES_MAX, checkpoint_signer,
    log_to_standard_error, progress, say,
};
use crate::clock::Stopwatch;
use crate::domain::state::State;
use crate::evidence::builder::TileBuilder;
use crate::evidence::stored::StoredSource;
use crate::evidence::writer::TileDirectory;
use crate::ledger::open::{OpenError, Replayed, leave_clean_mark, open_log};
use crate::ledger::verify::verify_export;
use crate::log::checkpoint::Checkpoint;
use crate::log::directory::DataDirectory;
use crate::log::store::records_from;
use crate::oauth::issuer::Issuer;
use crate::types::id::Seq;

/// Writes the records to standard output, or the log as tiles.
pub(super) fn export(args: &ExportArgs) -> Result<(), LocalError> {
    log_to_standard_error();
    let replayed =
        open_log(&args.data, OFFLINE_CACHE_BYTES, RECOVERY_COPY_BYTES_MAX, progress("reading"))?;
    let written = match &args.tiles {
        Some(tiles) => export_tiles(&replayed, tiles),
        None => export_records(&replayed),
    };
    mark_as_found(&replayed.directory, &replayed.state, replayed.clean)?;
    written
}

fn export_tiles(replayed: &Replayed, path: &Path) -> Result<(), LocalError> {
    let signer = checkpoint_signer(&replayed.directory)?;
    let issuer: Issuer = replayed.directory.marker().issuer.parse()?;
    let mut built = TileBuilder::default();
    for block in records_from(replayed.store.as_ref(), Seq(0)) {
        for (_, bytes) in block.map_err(|error| LocalError::Log(error.into()))?.iter() {
            built.push(bytes);
        }
    }
    let origin = issuer.origin_name().parse().map_err(LocalError::Origin)?;
    let note = Checkpoint { origin, head: built.head() }.sign(&signer);
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

/// A ledger that was closed cleanly is left so.
fn mark_as_found(directory: &DataDirectory, state: &State, clean: bool) -> Result<(), LocalError> {
    if clean {
        leave_clean_mark(directory, state).map_err(OpenError::from)?;
    }
    Ok(())
}

/// Judges evidence.
pub(super) fn verify(args: &VerifyArgs) -> Result<(), LocalError> {
    log_to_standard_error();
    let watch = Stopwatch::start();
    let (what, head, records) = match (&args.evidence.data, &args.evidence.export) {
        (Some(data), _) => {
            let replayed = open_log(
                data,
                OFFLINE_CACHE_BYTES,
                RECOVERY_COPY_BYTES_MAX,
                progress("verifying"),
            )?;
            let state = &replayed.state;
            mark_as_found(&replayed.directory, state, replayed.clean)?;
            (data.display().to_string(), state.head(), state.next_seq().0)
        }
        (None, Some(export)) => {
            let name = export.display().to_string();
            let file: Box<dyn io::Read> = if name == "-" {
                Box::new(io::stdin())
            } else {
                let open = File::open(export);
                Box::new(open.map_err(|source| LocalError::File { path: name.clone(), source })?)
            };
            let read = BufReader::with_capacity(1 << 20, file);
            let (whole, _) =
                verify_export(read, progress("verifying")).map_err(LocalError::UnverifiedExport)?;
            (name, whole.head, whole.records)
        }
        (None, None) => return Ok(()),
    };
    let seconds = watch.seconds();
    if args.json {
        let (seq, at, leaf) = head
            .map_or((None, None, None), |head| (Some(head.seq), Some(head.at), Some(head.leaf)));
        let body = json!({ "whole": true, "records": records,
            "head": { "seq": seq, "at": at, "leaf": leaf } });
        return say(&body.to_string());
    }
    let last = head.map_or_else(String::new, |head| {
        format!("\nlast record {} of {}, leaf hash {}", head.seq, head.at, head.leaf)
    });
    say(&format!(
        "{what} is whole: {records} records, dense, chained, back links and times right \
         ({seconds:.1} s){last}"
    ))
}
