//! The witnesses of a ledger, as the configuration names them.

use std::str::FromStr;

use crate::crypto::note_key::{NoteKeyKind, NoteVerifier};

/// How many witnesses a ledger may have.
pub const WITNESSES_MAX: usize = 16;

/// One witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessSetting {
    /// The key that checks its cosignatures, as `witness vkey` prints it.
    pub verifier: NoteVerifier,
    /// Where it is reached: the URL before `/add-checkpoint`.
    pub url: url::Url,
}

/// The witnesses, in the order of the setting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WitnessList(Vec<WitnessSetting>);

/// Why a text is not a list of witnesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotWitnesses {
    /// An entry is not a key and a URL.
    #[error("not a list of entries like name+0a1b2c3d+BASE64 https://witness.example")]
    Entry,
    /// A key signs something else.
    #[error("a list with a key that does not cosign (type 0x04)")]
    Kind,
    /// One key stands twice: it would count for one.
    #[error("a list in which one witness stands twice")]
    Twice,
    /// More than [`WITNESSES_MAX`].
    #[error("a list of more than 16 witnesses")]
    TooMany,
}

impl WitnessList {
    /// The witnesses.
    pub fn witnesses(&self) -> &[WitnessSetting] {
        &self.0
    }
}

impl FromStr for WitnessList {
    type Err = NotWitnesses;

    fn from_str(text: &str) -> Result<Self, NotWitnesses> {
        let mut list: Vec<WitnessSetting> = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (key, url) = entry.split_once(' ').ok_or(NotWitnesses::Entry)?;
            let verifier: NoteVerifier = key.parse().map_err(|_| NotWitnesses::Entry)?;
            let url: url::Url = url.trim().parse().map_err(|_| NotWitnesses::Entry)?;
            if !matches!(url.scheme(), "http" | "https") || url.query().is_some() {
                return Err(NotWitnesses::Entry);
            }
            if verifier.kind() != NoteKeyKind::Cosignature {
                return Err(NotWitnesses::Kind);
            }
            if list.iter().any(|known| known.verifier == verifier) {
                return Err(NotWitnesses::Twice);
            }
            list.push(WitnessSetting { verifier, url });
        }
        if WITNESSES_MAX < list.len() { Err(NotWitnesses::TooMany) } else { Ok(Self(list)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "witness+24b37851+BNYV1Ztajd9BvyjP2HgpwrqYL6TjOwIjGMOq8Bu42xbN";
    const LOG: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn witnesses_are_keys_and_addresses() {
        let one = |text: &str| text.parse::<WitnessList>();
        assert_eq!(one(""), Ok(WitnessList::default()));
        let read = one(&format!(" {A}  https://w.example/x , ")).expect("one witness");
        let [witness] = read.witnesses() else { panic!("one witness") };
        assert_eq!(
            (witness.verifier.to_string(), witness.url.as_str()),
            (A.into(), "https://w.example/x")
        );
        for (text, fault) in [
            (A.to_owned(), NotWitnesses::Entry),
            (format!("https://w.example {A}"), NotWitnesses::Entry),
            (format!("{A} ftp://w.example"), NotWitnesses::Entry),
            (format!("{LOG} https://w.example"), NotWitnesses::Kind),
            (format!("{A} https://w.example,{A} https://v.example"), NotWitnesses::Twice),
        ] {
            assert_eq!(one(&text), Err(fault), "{text}");
        }
    }
}
