//! Sizes and times as people write them: `64KiB`, `7d`, `never`.

use std::{fmt, str::FromStr, time::Duration};

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

/// A time that may be without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Option<Duration>);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("not a size: write it like 65536, 64KiB, 2MiB, 1GiB or 500kB (got `{text}`)");
        let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(digits_end);
        let unit = unit.trim_start();
        let factor = match UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
            Some(&(_, factor)) => factor,
            None if unit.is_empty() => 1,
            None => return Err(wrong()),
        };
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let bytes = number.checked_mul(factor).and_then(|bytes| usize::try_from(bytes).ok());
        bytes.map(Self).ok_or_else(|| format!("more bytes than this machine can count: `{text}`"))
    }
}

impl fmt::Display for Size {
    /// In the largest binary unit that leaves no remainder, so that it can be parsed back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = UNITS.iter().filter(|(name, _)| name.contains('i'));
        for &(name, factor) in binary {
            let factor = factor as usize;
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{name}", self.0 / factor);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" {
            return Ok(Self(None));
        }
        let wrong = |error| format!("not a time: write it like 30s, 5m, 12h, 7d or never ({error})");
        humantime::parse_duration(text).map(|time| Self(Some(time))).map_err(wrong)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(time) => humantime::format_duration(time).fmt(f),
            None => f.write_str("never"),
        }
    }
}

/// A time that has an end.
pub(crate) fn finite(text: &str) -> Result<Duration, String> {
    match text.parse()? {
        Span(Some(time)) => Ok(time),
        Span(None) => Err("this time cannot be without end".to_owned()),
    }
}

/// Seconds, as mosquitto's clients take them: `5`, and parts of one besides: `0.5`.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("not a number of seconds: `{text}`");
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let table = [
            ("0", 0),
            ("65536", 65_536),
            ("64KiB", 65_536),
            ("64 kib", 65_536),
            ("1kB", 1_000),
            ("2GiB", 2 << 30),
        ];
        for (text, bytes) in table {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "KiB", "1K", "1.5MiB", "-1", "1XiB", "99999999999GiB", "99999999999999999999"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_written_so_that_they_can_be_read() {
        let table = [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1KiB"),
            (328 << 10, "328KiB"),
            (64 << 20, "64MiB"),
            (1 << 30, "1GiB"),
        ];
        for (bytes, text) in table {
            assert_eq!(Size(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(Size(bytes)));
        }
    }

    #[test]
    fn times_are_read_and_written() {
        assert_eq!("never".parse(), Ok(Span(None)));
        assert_eq!("7d".parse(), Ok(Span(Some(Duration::from_hours(7 * 24)))));
        assert_eq!(Span(Some(Duration::from_secs(90))).to_string(), "1m 30s");
        assert_eq!(Span(None).to_string(), "never");
        assert!("7".parse::<Span>().is_err());
        assert!(finite("never").is_err());
    }

    #[test]
    fn seconds_may_have_parts_and_no_sign() {
        assert_eq!(seconds("2"), Ok(Duration::from_secs(2)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for text in ["", "x", "-1", "inf", "NaN", "1e300"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
