//! Time as an argument: code that needs the time takes a [`Clock`].

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Datelike, SecondsFormat, Timelike, Utc};
use serde::{Deserialize, Serialize};

/// A moment, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// The years 0 to 9999.
const YEARS: RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

impl Timestamp {
    /// Reads an `xsd:dateTime` as clients send it: any number of fraction digits, `Z`, an offset or neither (then UTC).
    /// The year in UTC must have four digits, so that the displayed form can be parsed again.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        DateTime::parse_from_rfc3339(text)
            .or_else(|_| DateTime::parse_from_rfc3339(&format!("{text}Z")))
            .ok()
            .map(|moment| moment.timestamp_millis())
            .filter(|millis| YEARS.contains(millis))
            .map(Self)
    }

    /// Whole seconds since 1970, as JWT claims want them (RFC 7519 §2).
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Returns the span from an earlier time to this one; zero if it is not earlier.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This moment plus `span`; the greatest possible moment if that overflows.
    pub fn plus(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// This moment minus `span`.
    pub(crate) fn minus(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

impl fmt::Display for Timestamp {
    /// `2026-01-31T08:00:00.000Z`, as `meta.created` shows it (RFC 7643 §2.3.5).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = DateTime::<Utc>::from_timestamp_millis(self.0).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let Some(year) = u32::try_from(moment.year()).ok().filter(|year| *year <= 9999) else {
            return f.write_str(&moment.to_rfc3339_opts(SecondsFormat::Millis, true));
        };
        // Written digit by digit: each resource of a page shows two timestamps, and general formatting costs much more.
        let mut text = *b"0000-00-00T00:00:00.000Z";
        put(&mut text[0..4], year);
        put(&mut text[5..7], moment.month());
        put(&mut text[8..10], moment.day());
        put(&mut text[11..13], moment.hour());
        put(&mut text[14..16], moment.minute());
        put(&mut text[17..19], moment.second());
        put(&mut text[20..23], moment.timestamp_subsec_millis());
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// Writes a number into as many digits as there is room for.
fn put(digits: &mut [u8], mut number: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789"[(number % 10) as usize];
        number /= 10;
    }
}

/// Tells the time: the system's, or one that a test sets.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until [`Clock::advance`] moves it; its clones move with it.
    pub fn fixed(at: Timestamp) -> Self {
        Self(Some(Arc::new(AtomicI64::new(at.0))))
    }

    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Some(fixed) => Timestamp(fixed.load(Ordering::SeqCst)),
            None => Timestamp(Utc::now().timestamp_millis()),
        }
    }

    /// Moves a fixed clock; does nothing to the system's clock.
    pub fn advance(&self, span: Duration) {
        if let Some(fixed) = &self.0 {
            fixed.fetch_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_shown_in_utc_with_milliseconds() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        for millis in [
            *YEARS.start(),
            -1,
            951_782_400_007,
            1_769_846_400_123,
            *YEARS.end(),
            *YEARS.end() + 1,
        ] {
            let moment = DateTime::<Utc>::from_timestamp_millis(millis).expect("within chrono's years");
            let expected = moment.to_rfc3339_opts(SecondsFormat::Millis, true);
            assert_eq!(Timestamp(millis).to_string(), expected);
        }
    }

    #[test]
    fn dates_with_seven_digits_offsets_or_year_one_are_read() {
        assert_eq!(Timestamp::parse("1970-01-01T00:00:00.0010000Z"), Some(Timestamp(1)));
        assert_eq!(Timestamp::parse("1970-01-01T01:00:00+01:00"), Some(Timestamp(0)));
        assert_eq!(Timestamp::parse("1970-01-01T00:00:00"), Some(Timestamp(0)));
        assert!(Timestamp::parse("0001-01-03T00:00:00.0000000Z").is_some_and(|early| early < Timestamp(0)));
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    #[test]
    fn a_displayed_timestamp_can_be_parsed_again() {
        for text in [
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999",
            "2016-12-31T23:59:60Z",
        ] {
            let moment = Timestamp::parse(text).expect(text);
            assert_eq!(Timestamp::parse(&moment.to_string()), Some(moment), "{text}");
        }
        for text in [
            "-013-02-01T01:0:00",
            "+12026-01-01T00:00:00Z",
            "0000-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "2026-1-1T0:0:0",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn clones_of_a_fixed_clock_move_together() {
        let clock = Clock::fixed(Timestamp(5));
        let other = clock.clone();
        clock.advance(Duration::from_millis(7));
        assert_eq!(other.now(), Timestamp(12));
    }
}
