//! Connections are open files, and most systems allow a process few of them until it asks for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::settings::Config;

/// Files that are open besides connections: the databases, the sockets, what workers wait on.
const OTHER_FILES: u64 = 256;

/// Asks for as many open files as the system lets this process have, and says so where they are
/// fewer than one worker may have connections: further callers wait until others have gone.
pub(super) fn allow_as_many_as_possible(config: &Config) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let allowed = match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    let wanted = OTHER_FILES + config.connections_max as u64;
    // None is as many as there are.
    if let Some(allowed) = allowed.filter(|allowed| *allowed < wanted) {
        tracing::warn!(
            allowed,
            wanted,
            "fewer open files than connections_max: raise the hard limit (ulimit -Hn, LimitNOFILE)"
        );
    }
}
