//! Instants and spans. The ledger counts microseconds (UTC); the wire counts seconds.

use std::fmt;
use std::str::FromStr;

use super::text::as_text;

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

    /// Every record holds two or three of these texts, all of one width: written by hand they cost
    /// a tenth of what formatting costs.
    fn with_text<R>(self, show: impl FnOnce(&str) -> R) -> R {
        let (second, micro) = (self.seconds(), self.0 % 1_000_000);
        let (year, month, day) = date_of(second / 86_400);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        for (place, number) in [
            (0..4, year),
            (5..7, month),
            (8..10, day),
            (11..13, second / 3_600 % 24),
            (14..16, second / 60 % 60),
            (17..19, second % 60),
            (20..26, micro),
        ] {
            let mut rest = number;
            for digit in text.get_mut(place).into_iter().flatten().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        show(std::str::from_utf8(&text).expect("digits are ASCII"))
    }
}

/// Year, month and day of a day after the epoch, in the Gregorian calendar: `civil_from_days` of
/// Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms", for days that are not negative.
const fn date_of(days: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that the leap day is the last one.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + (month <= 2) as u64;
    (year, month, day)
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

as_text!(Timestamp);

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
    fn days_of_all_years_have_the_text_that_jiff_gives_them() {
        const DAY: u64 = 86_400_000_000;
        // Eleven is prime to the length of every cycle of the calendar; jiff ends a day earlier.
        for day in (0..MICROS_MAX / DAY - 1).step_by(11) {
            let micros = day * DAY + (day * 7_919_191_919) % DAY;
            let jiff = jiff::Timestamp::from_microsecond(i64::try_from(micros).unwrap()).unwrap();
            assert_eq!(Timestamp::from_micros(micros).to_string(), format!("{jiff:.6}"));
        }
        let last = Timestamp::from_micros(u64::MAX);
        assert_eq!(last.to_string(), "9999-12-31T23:59:59.999999Z");
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in ["", "now", "1969-12-31T23:59:59Z", "2026-11-23", "2026-13-01T00:00:00Z"] {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATimestamp), "{text}");
        }
    }
}
