//! Signed notes (C2SP signed-note v1.0.0): a text and the signatures over it. A text is worth
//! nothing before [`Note::open`]; what does not re-encode to the same bytes is no note.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::note_key::{KeyName, NoteKeyId, NoteVerifier, Verified};

/// How many bytes a note may take, signatures included.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;
/// How many signatures a note may carry.
pub const NOTE_SIGNATURES_MAX: usize = 100;

/// Why bytes are not a note, or a note is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// More than [`NOTE_BYTES_MAX`].
    #[error("a note has at most 65536 bytes")]
    TooLong,
    /// More than [`NOTE_SIGNATURES_MAX`].
    #[error("a note has at most 100 signatures")]
    TooManySignatures,
    /// Not UTF-8, a control character other than newline, or no newline at the end.
    #[error("the text of a note is UTF-8 lines, each ended by a newline")]
    Text,
    /// No empty line with signature lines below it.
    #[error("a note ends with an empty line and its signatures")]
    Unsigned,
    /// A line below the last empty one that is no signature.
    #[error("not a signature line: em dash, space, key name, space, base64")]
    SignatureLine,
    /// A known key's signature is wrong: the whole note is rejected.
    #[error("the signature of {name} (key {id}) is not over this text")]
    BadSignature {
        /// The name of the known key.
        name: KeyName,
        /// The identifier of the known key.
        id: NoteKeyId,
    },
    /// No signature is by a key that the reader knows.
    #[error("no signature is by a known key")]
    NoKnownSignature,
}

/// One signature of a note, not yet checked. Its text (`Display`, `FromStr`) is the line without
/// its newline: em dash, space, key name, space, base64 of key id and payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: KeyName,
    id: NoteKeyId,
    payload: Vec<u8>,
}

impl NoteSignature {
    pub(crate) fn new(name: KeyName, id: NoteKeyId, payload: Vec<u8>) -> Self {
        Self { name, id, payload }
    }

    /// The name of the key that is claimed to have signed.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The identifier of that key.
    pub fn id(&self) -> NoteKeyId {
        self.id
    }

    /// What follows the key id: the signature, as its type lays it out.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.id.to_bytes().as_slice(), &self.payload].concat();
        write!(f, "\u{2014} {} {}", self.name, STANDARD.encode(bytes))
    }
}

impl FromStr for NoteSignature {
    type Err = NoteError;

    fn from_str(line: &str) -> Result<Self, NoteError> {
        let rest = line.strip_prefix("\u{2014} ").ok_or(NoteError::SignatureLine)?;
        let (name, signature) = rest.split_once(' ').ok_or(NoteError::SignatureLine)?;
        let name = name.parse().map_err(|_| NoteError::SignatureLine)?;
        let bytes = STANDARD.decode(signature).map_err(|_| NoteError::SignatureLine)?;
        match bytes.split_first_chunk() {
            Some((id, payload)) if !payload.is_empty() => {
                Ok(Self::new(name, NoteKeyId::from_bytes(*id), payload.to_vec()))
            }
            Some(_) | None => Err(NoteError::SignatureLine),
        }
    }
}

/// A text with at least one signature. The signatures are claims until [`Note::open`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// The note of `text` and its first signature.
    ///
    /// # Errors
    /// [`NoteError::Text`] and [`NoteError::TooLong`]: the text cannot be a note.
    pub fn new(text: String, signature: NoteSignature) -> Result<Self, NoteError> {
        check_text(&text)?;
        let note = Self { text, signatures: vec![signature] };
        if NOTE_BYTES_MAX < note.encode().len() { Err(NoteError::TooLong) } else { Ok(note) }
    }

    /// Adds a signature, as a witness's cosignature to a checkpoint.
    ///
    /// # Errors
    /// [`NoteError::TooManySignatures`] and [`NoteError::TooLong`]: the note stays as it was.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        if NOTE_SIGNATURES_MAX <= self.signatures.len() {
            return Err(NoteError::TooManySignatures);
        }
        if NOTE_BYTES_MAX < self.encode().len() + signature.to_string().len() + 1 {
            return Err(NoteError::TooLong);
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// What is signed, with its last newline. Not to be believed before [`Note::open`].
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in the order of the lines.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The bytes of the note.
    pub fn encode(&self) -> String {
        let mut note = format!("{}\n", self.text);
        for signature in &self.signatures {
            note.push_str(&signature.to_string());
            note.push('\n');
        }
        note
    }

    /// Reads a note. It checks no signature.
    ///
    /// # Errors
    /// [`NoteError`], when these bytes are not what [`Note::encode`] would write.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if NOTE_BYTES_MAX < bytes.len() {
            return Err(NoteError::TooLong);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Text)?;
        // The last empty line: the text may have empty lines of its own.
        let end = note.rfind("\n\n").ok_or(NoteError::Unsigned)?;
        let (text, rest) = note.split_at_checked(end + 1).ok_or(NoteError::Unsigned)?;
        check_text(text)?;
        let lines = rest.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n'));
        let mut signatures = Vec::new();
        for line in lines.ok_or(NoteError::Unsigned)?.split('\n') {
            if NOTE_SIGNATURES_MAX <= signatures.len() {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(line.parse()?);
        }
        let parsed = Self { text: text.to_owned(), signatures };
        // The parser is strict enough as it stands; this keeps it so when it changes.
        if parsed.encode() != note { Err(NoteError::SignatureLine) } else { Ok(parsed) }
    }

    /// Checks the signatures by the keys in `known`. Signatures by other keys are ignored. The
    /// answer holds each known key that signed once, in the order of the lines, and is not empty.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] for a known key's wrong signature, even beside good ones, and
    /// [`NoteError::NoKnownSignature`]. The text must not be used then.
    pub fn open(&self, known: &[NoteVerifier]) -> Result<Vec<Verified>, NoteError> {
        let mut verified: Vec<Verified> = Vec::new();
        for signature in &self.signatures {
            let mut keys = known.iter().filter(|key| key.is_named_by(signature)).peekable();
            if keys.peek().is_none() {
                continue;
            }
            let Some(good) = keys.find_map(|key| key.verify(&self.text, signature)) else {
                let (name, id) = (signature.name.clone(), signature.id);
                return Err(NoteError::BadSignature { name, id });
            };
            // One key counts once, or a repeated line would make a quorum of one witness.
            if !verified.iter().any(|seen| seen.id == good.id && seen.name == good.name) {
                verified.push(good);
            }
        }
        if verified.is_empty() { Err(NoteError::NoKnownSignature) } else { Ok(verified) }
    }
}

fn check_text(text: &str) -> Result<(), NoteError> {
    let control = |c: char| c < ' ' && c != '\n';
    if !text.ends_with('\n') || text.contains(control) { Err(NoteError::Text) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::note_signer::{Cosigner, NoteSigner};
    use crate::types::secret::Secret;
    use crate::types::time::Timestamp;

    const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                        then you don't know what your problem is.\n";
    const LINE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN\
                        1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";

    fn peter() -> NoteSigner {
        let skey = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
        NoteSigner::decode(&Secret::new(skey.into())).expect("a private key")
    }

    fn signer(name: &str, seed: u8) -> NoteSigner {
        NoteSigner::new(name.parse().expect("a name"), &[seed; 32])
    }

    fn note() -> Note {
        Note::new(TEXT.to_owned(), peter().sign(TEXT)).expect("a note")
    }

    #[test]
    fn the_published_signature_is_reproduced_byte_for_byte() {
        assert_eq!(note().encode(), format!("{TEXT}\n{LINE}\n"));
        let parsed = Note::parse(note().encode().as_bytes()).expect("a note");
        let opened = parsed.open(&[peter().verifier().clone()]).expect("a known key");
        assert_eq!(opened.len(), 1);
        assert_eq!(opened[0].at, None);
    }

    #[test]
    fn unknown_keys_are_ignored_and_none_known_is_an_error() {
        let (peter, other) = (peter(), signer("other.example", 1));
        let namesake = signer("PeterNeumann", 2);
        let mut note = note();
        note.add(other.sign("another text\n")).expect("room");
        note.add(namesake.sign("another text\n")).expect("room");
        assert_eq!(note.open(&[peter.verifier().clone()]).map(|v| v.len()), Ok(1));
        let stranger = signer("stranger.example", 3);
        assert_eq!(note.open(&[stranger.verifier().clone()]), Err(NoteError::NoKnownSignature));
    }

    #[test]
    fn a_known_key_with_a_wrong_signature_rejects_the_whole_note() {
        let (peter, other) = (peter(), signer("other.example", 1));
        let mut note = note();
        note.add(other.sign("another text\n")).expect("room");
        let known = [peter.verifier().clone(), other.verifier().clone()];
        let error = note.open(&known).expect_err("one signature is wrong");
        assert!(
            matches!(error, NoteError::BadSignature { name, .. } if name == *other.verifier().name())
        );
    }

    #[test]
    fn a_cosignature_proves_its_time_and_no_other() {
        let witness = Cosigner::new("witness.example".parse().expect("a name"), &[9; 32]);
        let line = witness.cosign(TEXT, Timestamp::from_micros(1_679_315_147_999_999));
        let known = [witness.verifier().clone()];
        let note = Note::new(TEXT.to_owned(), line.clone()).expect("a note");
        let verified = note.open(&known).expect("a cosignature");
        assert_eq!(verified[0].at, Some(Timestamp::from_seconds(1_679_315_147)));

        let mut payload = line.payload().to_vec();
        payload[7] ^= 1;
        let later = NoteSignature::new(line.name().clone(), line.id(), payload);
        let forged = Note::new(TEXT.to_owned(), later).expect("a note");
        assert!(matches!(forged.open(&known), Err(NoteError::BadSignature { .. })));
    }

    #[test]
    fn one_key_that_signs_twice_counts_once() {
        let witness = Cosigner::new("witness.example".parse().expect("a name"), &[9; 32]);
        let mut note = Note::new(TEXT.to_owned(), witness.cosign(TEXT, Timestamp::from_seconds(1)))
            .expect("a note");
        note.add(witness.cosign(TEXT, Timestamp::from_seconds(2))).expect("room");
        let verified = note.open(&[witness.verifier().clone()]).expect("cosignatures");
        assert_eq!(verified.len(), 1);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (good, known) = (note().encode().into_bytes(), [peter().verifier().clone()]);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let opened = Note::parse(&bad).and_then(|note| note.open(&known));
            assert!(opened.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_text_ends_at_the_last_empty_line() {
        let text = "a\n\n\u{2014} not a signature\n\n";
        let note = Note::new(text.to_owned(), peter().sign(text)).expect("a note");
        assert_eq!(Note::parse(note.encode().as_bytes()), Ok(note));
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let cases = [
            (String::new(), NoteError::Unsigned),
            (TEXT.to_owned(), NoteError::Unsigned),
            (format!("{TEXT}\n"), NoteError::Unsigned),
            (format!("{TEXT}\n{LINE}"), NoteError::Unsigned),
            (format!("a\tb\n\n{LINE}\n"), NoteError::Text),
            (format!("a\r\n\n{LINE}\n"), NoteError::Text),
            (format!("{TEXT}\n{LINE} \n"), NoteError::SignatureLine),
            (format!("{TEXT}\n-{LINE}\n"), NoteError::SignatureLine),
            (format!("{TEXT}\n\u{2014} PeterNeumann x08gow==\n"), NoteError::SignatureLine),
            (format!("{TEXT}\n\u{2014} Peter\u{a0}Neumann x08go/Y=\n"), NoteError::SignatureLine),
            (format!("{TEXT}\n{}", format!("{LINE}\n").repeat(101)), NoteError::TooManySignatures),
            (format!("{}\n{LINE}\n", "a\n".repeat(NOTE_BYTES_MAX / 2)), NoteError::TooLong),
        ];
        for (bytes, error) in cases {
            assert_eq!(Note::parse(bytes.as_bytes()), Err(error), "{bytes:.80}");
        }
        assert_eq!(Note::parse(b"\xff\n\n"), Err(NoteError::Text));
        let hundred = format!("{TEXT}\n{}", format!("{LINE}\n").repeat(100));
        assert_eq!(Note::parse(hundred.as_bytes()).map(|note| note.signatures().len()), Ok(100));
    }
}
