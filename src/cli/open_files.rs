//! Connections are open files, and most systems allow a process few of them until it asks for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for as many open files as the system lets this process have. Where those do not suffice, the
/// listeners take fewer connections.
pub(super) fn allow_as_many_as_possible() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
