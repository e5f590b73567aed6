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
        self.plus_micros(seconds.saturating_mul(1_000_000))
    }

    /// So many microseconds later; the last instant there is where there are none left.
    pub const fn plus_micros(self, micros: u64) -> Self {
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// Whole seconds from `earlier` to here, 0 when `earlier` is later.
    pub const fn seconds_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }

    fn with_text<R>(self, show: impl FnOnce(&str) -> R) -> R {
        show(std::str::from_utf8(&self.text()).expect("digits are ASCII"))
    }

    /// Every record holds two or three of these texts, all of one width: written by hand they cost
    /// a tenth of what formatting costs.
    pub(crate) fn text(self) -> [u8; Self::TEXT_LEN] {
        let (second, micro) = (self.seconds(), self.0 % 1_000_000);
        let (year, month, day) = date_of(second / 86_400);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        for (place, number) in [
            (0, year / 100),
            (2, year % 100),
            (5, month),
            (8, day),
            (11, second / 3_600 % 24),
            (14, second / 60 % 60),
            (17, second % 60),
            (20, micro / 10_000),
            (22, micro / 100 % 100),
            (24, micro % 100),
        ] {
            // Below 100, each of them.
            let number = number as u8;
            if let Some(digits) = text.get_mut(place..).and_then(<[u8]>::first_chunk_mut) {
                *digits = [b'0' + number / 10, b'0' + number % 10];
            }
        }
        text
    }

    /// The length of the text that `text` writes.
    pub(crate) const TEXT_LEN: usize = 27;

    /// The instant of a text as `text` writes it. Other ways to write one are left to jiff, which
    /// takes four times as long.
    pub(crate) fn of_text(text: &[u8]) -> Option<Self> {
        #[rustfmt::skip]
        let [
            y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T',
            h1, h2, b':', i1, i2, b':', s1, s2, b'.', u1, u2, u3, u4, u5, u6, b'Z',
        ] = *<&[u8; 27]>::try_from(text).ok()? else { return None };
        let number = |digits: &[u8]| {
            digits.iter().try_fold(0_u64, |number, digit| {
                digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
            })
        };
        let (year, month, day) =
            (number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?);
        let (hour, minute, second) = (number(&[h1, h2])?, number(&[i1, i2])?, number(&[s1, s2])?);
        let micro = number(&[u1, u2, u3, u4, u5, u6])?;
        let of_day = (hour < 24 && minute < 60 && second < 60)
            .then_some(((hour * 60 + minute) * 60 + second) * 1_000_000 + micro)?;
        let days = day_of(year, month, day)?;
        Some(Self(days * 86_400_000_000 + of_day))
    }
}

/// The day after the epoch of a date; `None` before it, and where the calendar has no such date:
/// `days_from_civil` of the same paper as [`date_of`], and its inverse.
fn day_of(year: u64, month: u64, day: u64) -> Option<u64> {
    let days_of_month = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(400) => 29,
        2 if year.is_multiple_of(4) && !year.is_multiple_of(100) => 29,
        2 => 28,
        _ => return None,
    };
    if year < 1970 || day < 1 || days_of_month < day {
        return None;
    }
    let (march_year, march_month) =
        if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, year_of_era) = (march_year / 400, march_year % 400);
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
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
        if let Some(at) = Self::of_text(text.as_bytes()) {
            return Ok(at);
        }
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
            let (at, text) = (Timestamp::from_micros(micros), format!("{jiff:.6}"));
            assert_eq!((at.to_string(), text.parse()), (text, Ok(at)));
        }
        let last = Timestamp::from_micros(u64::MAX);
        assert_eq!(last.to_string(), "9999-12-31T23:59:59.999999Z");
        assert_eq!("9999-12-31T23:59:59.999999Z".parse(), Ok(last));
    }

    #[test]
    fn a_usual_text_is_an_instant_exactly_where_jiff_says_so() {
        for text in [
            "2024-02-29T00:00:00.000000Z",
            "2023-02-29T00:00:00.000000Z",
            "2100-02-29T00:00:00.000000Z",
            "2000-02-29T23:59:59.999999Z",
            "2026-00-10T00:00:00.000000Z",
            "2026-13-01T00:00:00.000000Z",
            "2026-04-31T00:00:00.000000Z",
            "2026-12-00T00:00:00.000000Z",
            "2026-12-32T00:00:00.000000Z",
            "2026-11-23T24:00:00.000000Z",
            "2026-11-23T23:60:00.000000Z",
            "1969-12-31T23:59:59.999999Z",
            "0000-01-01T00:00:00.000000Z",
            "1970-01-01T00:00:00.000000Z",
            "2026-11-23T04:12:33.12345xZ",
            "2026-11-23 04:12:33.123456Z",
            "+026-11-23T04:12:33.123456Z",
        ] {
            let micros = text.parse::<jiff::Timestamp>().ok().map(|at| at.as_microsecond());
            let expected = micros.and_then(|micros| u64::try_from(micros).ok()).map(Timestamp);
            let usual = Timestamp::of_text(text.as_bytes());
            assert!(usual == expected || usual.is_none(), "{text}: {usual:?}");
            assert_eq!(text.parse::<Timestamp>().ok(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in ["", "now", "1969-12-31T23:59:59Z", "2026-11-23", "2026-13-01T00:00:00Z"] {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATimestamp), "{text}");
        }
    }
}
