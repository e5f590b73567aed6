//! What an examination finds: how bad it is, what it is, and what to do about it.

use serde::Serialize;

/// What a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// There is nothing.
    Missing,
    /// A ledger's data directory, perhaps an incomplete one.
    Ledger,
    /// A log as tiles: a backup, a mirror or an export.
    Tiles,
    /// What a witness remembers.
    Witness,
    /// Something else.
    Foreign,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// As it should be.
    Good,
    /// Nothing stops, but somebody should know.
    Notice,
    /// It cannot be used as it is.
    Broken,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub weight: Weight,
    /// What was found.
    pub what: String,
    /// What to do about it; empty where there is nothing to do.
    #[serde(rename = "do")]
    pub remedy: String,
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Examined {
    /// What the directory is.
    pub kind: Kind,
    /// The findings, in the order of the examination.
    pub findings: Vec<Finding>,
}

impl Examined {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, findings: Vec::new() }
    }

    pub(super) fn add(
        &mut self,
        weight: Weight,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.findings.push(Finding { weight, what: what.into(), remedy: remedy.into() });
    }

    pub(super) fn good(&mut self, what: impl Into<String>) {
        self.add(Weight::Good, what, "");
    }

    pub(super) fn notice(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(Weight::Notice, what, remedy);
    }

    pub(super) fn broken(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(Weight::Broken, what, remedy);
    }

    /// Whether it can be used as it is.
    pub fn is_usable(&self) -> bool {
        self.findings.iter().all(|finding| finding.weight < Weight::Broken)
    }
}
