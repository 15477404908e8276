//! Go's durations, read and written: the words of Kubernetes' texts, and of scenarios.

use std::time::Duration;

/// How many nanoseconds the units are, longest names first where one begins another.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoDuration {
    /// It is not written like one.
    Unreadable,
    /// It is longer than Go can hold, some 292 years.
    TooLong,
}

/// Reads a duration as Go does: `1m30s`, `200ms`, `1.5h`, `0`. Negative ones are none here.
///
/// # Errors
/// It is no duration, or too long a one.
///
/// Upstream: Go src/time/format.go, ParseDuration.
/// Shown by: durations_are_read_as_go_does.
pub fn parse_duration(text: &str) -> Result<Duration, NoDuration> {
    use NoDuration::{TooLong, Unreadable};
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Some(0_u64);
    loop {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (whole, after) = rest.split_at(digits);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => {
                let digits =
                    after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                after.split_at(digits)
            }
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(Unreadable);
        }
        let end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let (_, nanos) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or(Unreadable)?;
        let whole = if whole.is_empty() {
            Some(0)
        } else {
            whole.parse::<u64>().ok()
        };
        // All of it is read even where it is too long, as what comes after may be no duration at all.
        total = total
            .zip(whole.and_then(|whole| whole.checked_mul(*nanos)))
            .and_then(|(total, more)| total.checked_add(more))
            .and_then(|total| total.checked_add(fraction_of(fraction, *nanos)));
        if next.is_empty() {
            let within = total.filter(|total| i64::try_from(*total).is_ok());
            return within.map(Duration::from_nanos).ok_or(TooLong);
        }
        rest = next;
    }
}

/// `0.<digits>` of a unit, cut to whole nanoseconds.
fn fraction_of(digits: &str, unit: u64) -> u64 {
    let (mut value, mut scale) = (0_u128, 1_u128);
    // Eighteen digits of an hour are finer than a nanosecond.
    for digit in digits.bytes().take(18) {
        value = value * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    u64::try_from(u128::from(unit) * value / scale).unwrap_or(unit)
}

/// As Go prints a `time.Duration`: `1s`, `1m30s`, `100ms`, `1.5s`.
///
/// Upstream: Go src/time/time.go, Duration.String.
/// Shown by: durations_are_written_as_go_does.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => decimal(nanos, 1_000, "µs"),
        1_000_000..1_000_000_000 => decimal(nanos, 1_000_000, "ms"),
        _ => {
            let minutes = duration.as_secs() / 60;
            let rest = nanos - u128::from(minutes) * 60_000_000_000;
            let seconds = decimal(rest, 1_000_000_000, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

/// `value / unit` without trailing zeros.
fn decimal(value: u128, unit: u128, suffix: &str) -> String {
    let digits = unit.ilog10() as usize;
    let fraction = format!("{:0digits$}", value % unit);
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{}{dot}{fraction}{suffix}", value / unit)
}

/// A text as Go quotes it, `%q`.
///
/// Upstream: Go src/strconv/quote.go, Quote.
/// Shown by: texts_are_quoted_as_go_does.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            letter if is_printable(letter) => quoted.push(letter),
            letter => {
                let code = u32::from(letter);
                let escaped = match code {
                    0..0x80 => format!("\\x{code:02x}"),
                    0x80..0x1_0000 => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                };
                quoted.push_str(&escaped);
            }
        }
    }
    quoted.push('"');
    quoted
}

/// Whether a letter can be seen. Marks, which Rust escapes at the beginning of a text, count as seen.
fn is_printable(letter: char) -> bool {
    letter == '\'' || format!("a{letter}").escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_does() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("200ms", 200),
            ("1.5s", 1_500),
            (".5s", 500),
            ("1.s", 1_000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("24h", 86_400_000),
            ("1h0m0.25s", 3_600_250),
            ("1000us", 1),
            ("1000µs", 1),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        assert_eq!(parse_duration("7ns"), Ok(Duration::from_nanos(7)));
        assert_eq!(
            parse_duration("0.123456789s"),
            Ok(Duration::from_nanos(123_456_789))
        );
        for text in [
            "",
            "1",
            "s",
            "-1s",
            "+1s",
            "1 s",
            "1d",
            "1s1",
            ".s",
            "1e3s",
            "99999999999h1",
            "١s",
        ] {
            assert_eq!(parse_duration(text), Err(NoDuration::Unreadable), "{text}");
        }
        for text in [
            "99999999999h",
            "2562047h47m16.854775808s",
            "99999999999999999999999s",
        ] {
            assert_eq!(parse_duration(text), Err(NoDuration::TooLong), "{text}");
        }
        let longest = Duration::from_nanos(i64::MAX.unsigned_abs());
        assert_eq!(parse_duration("2562047h47m16.854775807s"), Ok(longest));
    }

    #[test]
    fn durations_are_written_as_go_does() {
        for text in [
            "0s",
            "1ms",
            "100ms",
            "1s",
            "1.5s",
            "1m0s",
            "1m30s",
            "1h0m0s",
            "1h23m45.25s",
            "7ns",
            "1.5µs",
        ] {
            assert_eq!(duration(parse_duration(text).unwrap()), text);
        }
        for (millis, text) in [
            (100, "100ms"),
            (90_000, "1m30s"),
            (5_025_250, "1h23m45.25s"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(duration(Duration::from_nanos(1_000_001)), "1.000001ms");
    }

    #[test]
    fn texts_are_quoted_as_go_does() {
        for (text, expected) in [
            ("", r#""""#),
            ("a b'c", r#""a b'c""#),
            ("a\"b\\", r#""a\"b\\""#),
            ("\u{7}\u{8}\t\n\u{b}\u{c}\r", r#""\a\b\t\n\v\f\r""#),
            ("\u{0}\u{1f}\u{7f}", r#""\x00\x1f\x7f""#),
            ("ä→\u{301}😀", "\"ä→\u{301}😀\""),
            ("\u{a0}\u{200b}\u{feff}", r#""\u00a0\u200b\ufeff""#),
            ("\u{e0001}", r#""\U000e0001""#),
        ] {
            assert_eq!(quote(text), expected, "{text:?}");
        }
    }
}
