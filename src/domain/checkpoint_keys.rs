//! Which keys sign checkpoints: told by their records, so that an auditor finds the answer that the
//! service has.

use crate::crypto::note_key::NoteVerifier;
use crate::crypto::note_signer::NoteSigner;
use crate::domain::command::Command;
use crate::domain::state::{Key, State};
use crate::types::id::KeyId;

/// The purpose of keys that sign checkpoints, and nothing else.
pub const CHECKPOINT_PURPOSE: &str = "checkpoint";

/// The member of a key's record that says why it was made: the keys before it may be in other hands.
const OLDER_COMPROMISED: &str = "older_compromised";

/// The identifier of a checkpoint key in the log.
pub fn checkpoint_kid(key: &NoteVerifier) -> KeyId {
    let kid = format!("checkpoint-{}", key.id());
    kid.parse().expect("letters, digits and a dash are a kid")
}

/// What makes the log speak of a checkpoint key. Where the keys before it are compromised, the record
/// says so, and whoever reads it completes what a crash cut short.
pub fn checkpoint_key_record(key: &NoteVerifier, older_compromised: bool) -> Command {
    let mut public = serde_json::json!({ "vkey": key.to_string() });
    if let (true, Some(members)) = (older_compromised, public.as_object_mut()) {
        members.insert(OLDER_COMPROMISED.to_owned(), true.into());
    }
    Command::AddKey {
        kid: checkpoint_kid(key),
        purpose: CHECKPOINT_PURPOSE.to_owned(),
        alg: "EdDSA".to_owned(),
        public,
    }
}

/// Whether the keys before this one sign nothing more once a checkpoint covers its record.
pub fn ends_older_keys(key: &Key) -> bool {
    key.public.get(OLDER_COMPROMISED).and_then(serde_json::Value::as_bool) == Some(true)
}

/// The checkpoint keys that the log knows, oldest first.
pub fn checkpoint_keys(state: &State) -> Vec<&Key> {
    let mut keys: Vec<_> = state.keys().filter(|key| key.purpose == CHECKPOINT_PURPOSE).collect();
    keys.sort_unstable_by_key(|key| key.added);
    keys
}

/// The verifier keys that ever signed checkpoints, oldest first, as auditors write them.
pub fn verifier_keys(state: &State) -> Vec<String> {
    let vkey = |key: &Key| key.public.get("vkey")?.as_str().map(str::to_owned);
    checkpoint_keys(state).into_iter().filter_map(vkey).collect()
}

/// Those of `signers` that sign now: the log knows them and has not retired them. Before the log
/// knows any, as in ledgers of earlier versions, the oldest.
pub fn signing_now(state: &State, mut signers: Vec<NoteSigner>) -> Vec<NoteSigner> {
    let known = |signer: &NoteSigner| state.key(&checkpoint_kid(signer.verifier()));
    if signers.iter().all(|signer| known(signer).is_none()) {
        signers.truncate(1);
        return signers;
    }
    signers.retain(|signer| known(signer).is_some_and(|key| key.retired_at.is_none()));
    signers
}
