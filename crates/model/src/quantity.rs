//! Kubernetes' quantities: `1Gi`, `0.5M`, `1e3`.

/// What is said of a text that is no quantity.
///
/// Upstream: apimachinery pkg/api/resource/quantity.go, ErrFormatWrong.
/// Shown by: volumes_are_validated.
pub(crate) const FORMAT: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// The value of a quantity, rounded up to a whole number; `None` if `text` is none or does not fit.
///
/// Upstream: apimachinery pkg/api/resource/quantity.go, ParseQuantity and Value (both away from zero).
/// Shown by: quantities_are_read_as_upstream_does.
pub(crate) fn whole(text: &str) -> Option<i64> {
    scaled(text, 0)
}

/// The value of a quantity in thousandths, rounded up; `None` if `text` is none or does not fit.
///
/// Upstream: apimachinery pkg/api/resource/quantity.go, MilliValue.
/// Shown by: quantities_are_read_as_upstream_does.
pub(crate) fn thousandths(text: &str) -> Option<i64> {
    scaled(text, 3)
}

/// The value of a quantity times a power of ten, rounded up.
fn scaled(text: &str, by: i32) -> Option<i64> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned
        .find(|letter: char| letter != '.' && !letter.is_ascii_digit())
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (integer.is_empty() && fraction.is_empty()) {
        return None;
    }
    let digits: u128 = match format!("{integer}{fraction}").trim_start_matches('0') {
        "" => 0,
        digits => digits.parse().ok()?,
    };
    let (multiplier, exponent) = scale(suffix)?;
    let shift = exponent
        .checked_add(by)?
        .checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let scaled = digits.checked_mul(multiplier)?;
    let power = 10_u128.checked_pow(shift.unsigned_abs());
    let magnitude = match (shift >= 0, power) {
        (true, Some(power)) => scaled.checked_mul(power)?,
        (true, None) => (digits == 0).then_some(0)?,
        (false, Some(power)) => scaled.div_ceil(power),
        (false, None) => u128::from(digits != 0),
    };
    let value = i64::try_from(magnitude).ok()?;
    Some(if negative { -value } else { value })
}

/// What a suffix multiplies by: a number, and a power of ten.
fn scale(suffix: &str) -> Option<(u128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (1, exponent)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_upstream_does() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1", Some(1)),
            ("128Mi", Some(128 << 20)),
            ("1.5Gi", Some(3 << 29)),
            ("1e3", Some(1000)),
            ("1E3", Some(1000)),
            ("1E", Some(1_000_000_000_000_000_000)),
            ("100m", Some(1)),
            (".5", Some(1)),
            ("5.", Some(5)),
            ("-1Ki", Some(-1024)),
            ("+2k", Some(2000)),
            ("0e99", Some(0)),
            ("1e-99", Some(1)),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("1 Mi", None),
            ("Mi", None),
            ("1KiB", None),
            ("1n", Some(1)),
            ("1500000000n", Some(2)),
            ("2000001u", Some(3)),
            ("2M", Some(2_000_000)),
            ("2G", Some(2_000_000_000)),
            ("2T", Some(2_000_000_000_000)),
            ("2P", Some(2_000_000_000_000_000)),
            ("3Ti", Some(3 << 40)),
            ("3Pi", Some(3 << 50)),
            ("3Ei", Some(3 << 60)),
            ("99Ei", None),
            ("1e99", None),
            ("ten", None),
        ] {
            assert_eq!(whole(text), expected, "{text:?}");
        }
        for (text, expected) in [
            ("1", Some(1000)),
            ("100m", Some(100)),
            ("0.25", Some(250)),
            ("1u", Some(1)),
            ("2Ki", Some(2_048_000)),
            ("8Ei", None),
            ("x", None),
        ] {
            assert_eq!(thousandths(text), expected, "{text:?}");
        }
    }
}
