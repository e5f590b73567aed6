//! Log lines on standard error. It never writes to standard output, which belongs to answers, and
//! never stops the service because nobody reads them.

mod lines;

use tracing::Level;

use self::lines::ToStandardError;
use crate::config::value::{LogFormat, LogLevel};

/// Why logging was not set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryFault {
    /// This process logs already; what was set up first stays.
    #[error("logging is already set up in this process")]
    AlreadySet,
}

/// Sends every event of at least `level` to standard error from here on.
///
/// # Errors
/// [`TelemetryFault::AlreadySet`] on every call but the first; the caller may go on.
pub fn init(format: LogFormat, level: LogLevel) -> Result<(), TelemetryFault> {
    let lines = tracing_subscriber::fmt()
        .with_writer(move || ToStandardError(format))
        .with_max_level(Level::from(level))
        .with_ansi(false)
        // A closed standard error would otherwise be complained about there, with a panic.
        .log_internal_errors(false);
    let set = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    set.map_err(|_| TelemetryFault::AlreadySet)
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_set_up_is_refused_and_harmless() {
        let first = init(LogFormat::Json, LogLevel::Error);
        assert!(first.is_ok());
        let second = init(LogFormat::Text, LogLevel::Info);
        assert_eq!(second, Err(TelemetryFault::AlreadySet));
    }
}
