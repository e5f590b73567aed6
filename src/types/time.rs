//! Instants and spans. The ledger counts microseconds (UTC); the wire counts seconds.

use std::fmt;
use std::str::FromStr;

use super::text::serde_as_text;

/// An instant: microseconds since 1970-01-01T00:00:00Z, written as RFC 3339 with six decimals.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

/// The last instant with a four-digit year, so that every instant has one width as text.
const MICROS_MAX: u64 = 253_402_300_799_999_999;

impl Timestamp {
    /// The instant `micros` microseconds after the epoch, clamped to the year 9999.
    pub const fn from_micros(micros: u64) -> Self {
        Self(if micros < MICROS_MAX { micros } else { MICROS_MAX })
    }

    /// The instant `seconds` after the epoch.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self::from_micros(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down: a NumericDate of RFC 7519 section 2.
    pub const fn seconds(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The instant `seconds` later, clamped to the year 9999.
    pub const fn plus_seconds(self, seconds: u64) -> Self {
        Self::from_micros(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// Whole seconds from `earlier` to here, 0 when `earlier` is later.
    pub const fn seconds_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = i64::try_from(self.0).map_err(|_| fmt::Error)?;
        let at = jiff::Timestamp::from_microsecond(micros).map_err(|_| fmt::Error)?;
        write!(f, "{at:.6}")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not an instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 instant between 1970 and 9999, like 2026-11-23T04:12:33Z")]
pub struct NotATimestamp;

impl FromStr for Timestamp {
    type Err = NotATimestamp;

    fn from_str(text: &str) -> Result<Self, NotATimestamp> {
        let at: jiff::Timestamp = text.parse().map_err(|_| NotATimestamp)?;
        let micros = u64::try_from(at.as_microsecond()).map_err(|_| NotATimestamp)?;
        if MICROS_MAX < micros {
            return Err(NotATimestamp);
        }
        Ok(Self(micros))
    }
}

serde_as_text!(Timestamp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_round_trips_with_six_decimals() {
        let at = Timestamp::from_micros(1_795_407_153_123_456);
        assert_eq!(at.to_string(), "2026-11-23T04:12:33.123456Z");
        assert_eq!("2026-11-23T04:12:33.123456Z".parse(), Ok(at));
        assert_eq!(Timestamp::from_seconds(1).to_string(), "1970-01-01T00:00:01.000000Z");
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in ["", "now", "1969-12-31T23:59:59Z", "2026-11-23", "2026-13-01T00:00:00Z"] {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATimestamp), "{text}");
        }
    }
}
