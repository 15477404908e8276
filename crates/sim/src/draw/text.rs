//! Text inside a picture: escaped, and how wide it is at most.

use std::fmt::{self, Display, Write as _};
use std::time::Duration;

/// Text as XML and HTML carry it, in content and in attributes with double quotes.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\r' | '\t' => f.write_char(' ')?,
                // No XML document may hold these, escaped or not.
                c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                    f.write_char('\u{fffd}')?;
                }
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The most that `text` takes at `size` pixels in any of the fonts asked for, in pixels.
///
/// Which font a reader has is not known here; these are the widths of the widest usual one, rounded up.
pub(super) fn width(text: &str, size: f64) -> f64 {
    text.chars()
        .map(|c| match c {
            'i' | 'j' | 'l' | 't' | 'f' | 'r' | ' ' | '.' | ',' | ':' | ';' | '\'' | '|' | '!'
            | '(' | ')' | '[' | ']' | '/' | '-' | '·' => 0.42,
            'm' | 'w' | 'M' | 'W' | '@' | '%' | '×' => 1.0,
            'A'..='Z' => 0.78,
            c if c.is_ascii() => 0.65,
            _ => 1.1,
        })
        .sum::<f64>()
        * size
}

/// `text` cut so that it takes `room` pixels at most.
pub(super) fn cut(text: &str, size: f64, room: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if width(&kept, size) + size > room {
            kept.pop();
            break;
        }
    }
    kept + "…"
}

/// The first of `texts` that takes `room` pixels at most.
pub(super) fn fitting(
    texts: impl IntoIterator<Item = String>,
    size: f64,
    room: f64,
) -> Option<String> {
    texts
        .into_iter()
        .find(|text| !text.is_empty() && width(text, size) <= room)
}

/// A length of time as manifests and scenarios write it: `1.5s`, `2m30s`, `1h`; exact to the millisecond.
pub(super) fn duration(time: Duration) -> String {
    let (whole, millis) = (time.as_secs(), time.subsec_millis());
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    let mut text = String::new();
    if hours > 0 {
        text += &format!("{hours}h");
    }
    if minutes > 0 {
        text += &format!("{minutes}m");
    }
    if seconds > 0 || millis > 0 || text.is_empty() {
        text += &seconds.to_string();
        if millis > 0 {
            text += format!(".{millis:03}").trim_end_matches('0');
        }
        text += "s";
    }
    text
}

/// The same of seconds as a float, which is what a summary has.
pub(super) fn seconds(time: f64) -> String {
    let rounded = (time * 1000.0).round() / 1000.0;
    duration(Duration::try_from_secs_f64(rounded + 1e-7).unwrap_or_default())
}

/// `1 restart`, `2 restarts`.
pub(super) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(number))
}

/// `86,400`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_text_stays_text() {
        assert_eq!(
            Escaped("<a b=\"1\">&'\u{0}\n").to_string(),
            "&lt;a b=&quot;1&quot;&gt;&amp;&#39;\u{fffd} "
        );
    }

    #[test]
    fn durations_read_as_in_a_manifest() {
        for (millis, text) in [
            (0, "0s"),
            (250, "0.25s"),
            (1_500, "1.5s"),
            (60_000, "1m"),
            (90_000, "1m30s"),
            (3_600_000, "1h"),
            (5_405_000, "1h30m5s"),
            (86_400_000, "24h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(seconds(8.2), "8.2s");
        assert_eq!(seconds(0.1 + 0.2), "0.3s");
    }

    #[test]
    fn what_is_too_long_is_cut_and_never_in_the_middle_of_a_character() {
        assert_eq!(cut("web", 12.0, 100.0), "web");
        let cut = cut("a-very-lóng-náme-indeed", 12.0, 80.0);
        assert!(cut.ends_with('…') && width(&cut, 12.0) <= 82.0, "{cut}");
        assert_eq!(count(1, "restart"), "1 restart");
        assert_eq!(count(259_200, "attempt"), "259,200 attempts");
    }
}
