//! What many grants, or many tokens, have in common: kept once, however many there are.

use std::hash::Hash;
use std::sync::Arc;

use hashbrown::HashSet;
use serde::{Deserialize, Serialize};

use crate::domain::client::AccessTokenFormat;
use crate::domain::event::How;
use crate::types::id::{ClientId, KeyId};
use crate::types::resource::Resources;
use crate::types::scope::Scope;

/// On which terms a grant was given. They never change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The client it was given to.
    pub client: ClientId,
    /// How it came to be.
    pub how: How,
    /// What it covers.
    pub scope: Scope,
    /// The servers it is meant for.
    pub resources: Resources,
    /// The redirect URI of the authorization request.
    pub redirect_uri: Option<String>,
}

/// What an access token is good for, and how it was made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cover {
    /// What it covers.
    pub scope: Scope,
    /// The servers it is meant for.
    pub audience: Resources,
    /// JWT or opaque.
    pub format: AccessTokenFormat,
    /// The key that signed it.
    pub key: Option<KeyId>,
}

/// Distinct values that are looked for before another one is kept.
const KEPT_MAX: usize = 65_536;

/// The values that many share.
#[derive(Debug)]
pub(super) struct Kept<T> {
    values: HashSet<Arc<T>>,
    /// The one that was asked for last: the next one is often the same.
    last: Option<Arc<T>>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { values: HashSet::new(), last: None }
    }
}

impl<T: Eq + Hash> Kept<T> {
    /// `value`, or the equal one that is kept already.
    pub(super) fn share(&mut self, value: T) -> Arc<T> {
        if let Some(last) = self.last.as_ref().filter(|last| ***last == value) {
            return Arc::clone(last);
        }
        let kept = self.values.get(&value).cloned().unwrap_or_else(|| self.keep(value));
        self.last = Some(Arc::clone(&kept));
        kept
    }

    fn keep(&mut self, value: T) -> Arc<T> {
        // Who holds one goes on holding it; those in use are found again soon.
        if KEPT_MAX <= self.values.len() {
            self.values.clear();
        }
        let kept = Arc::new(value);
        self.values.insert(Arc::clone(&kept));
        kept
    }

    pub(super) fn clear(&mut self) {
        self.values.clear();
        self.last = None;
    }
}
