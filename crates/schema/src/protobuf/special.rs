//! Messages and scalars whose JSON is not their fields.

use serde_json::Value;

use super::Flaw;
use super::wire::Fields;

/// The first second of year 1, Go's zero time, and the last of year 9999, RFC 3339's.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// A `metav1.Time`, null if it is zero. Its fraction is dropped, as upstream does.
///
/// Upstream: apimachinery pkg/apis/meta/v1/time_proto.go, Time.Unmarshal.
/// Shown by: times_are_written_as_rfc_3339.
pub(super) fn time(bytes: &[u8]) -> Result<Value, Flaw> {
    let (seconds, _) = seconds_and_nanos(bytes)?;
    Ok(stamp(bytes, seconds, 0)?.map_or(Value::Null, |at| format!("{at:.0}").into()))
}

/// A `metav1.MicroTime`, null if it is zero; always with six digits.
///
/// Upstream: apimachinery pkg/apis/meta/v1/micro_time_proto.go, MicroTime.Unmarshal.
/// Shown by: times_are_written_as_rfc_3339.
pub(super) fn micro_time(bytes: &[u8]) -> Result<Value, Flaw> {
    let (seconds, nanos) = seconds_and_nanos(bytes)?;
    Ok(stamp(bytes, seconds, nanos)?.map_or(Value::Null, |at| format!("{at:.6}").into()))
}

/// An `intstr.IntOrString`.
pub(super) fn int_or_string(bytes: &[u8]) -> Result<Value, Flaw> {
    let (mut is_text, mut number, mut text) = (false, 0, "");
    for field in Fields::of(bytes) {
        match field? {
            (1, content) => is_text = content.varint()? != 0,
            (2, content) => number = int32(content.varint()?),
            (3, content) => text = content.text()?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

/// A `resource.Quantity`, in the words it was sent in.
pub(super) fn quantity(bytes: &[u8]) -> Result<Value, Flaw> {
    let mut text = "0";
    for field in Fields::of(bytes) {
        if let (1, content) = field? {
            text = content.text()?;
        }
    }
    Ok(text.into())
}

/// A message with JSON in its bytes, `FieldsV1` or `RawExtension`; null if there are none.
pub(super) fn json(bytes: &[u8]) -> Result<Value, Flaw> {
    let mut raw = &b"null"[..];
    for field in Fields::of(bytes) {
        if let (1, content) = field? {
            raw = content.bytes()?;
        }
    }
    serde_json::from_slice(raw).map_err(|_| Flaw::new("invalid JSON"))
}

/// The low half, as Go reads it: a negative `int32` is written as if it were an `int64`.
pub(super) const fn int32(varint: u64) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
    let low = varint as u32;
    low.cast_signed()
}

/// RFC 4648's standard alphabet, with padding: what JSON has for bytes.
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let [a, b, c] = three;
        let sixes = [
            a >> 2,
            (a & 3) << 4 | b >> 4,
            (b & 15) << 2 | c >> 6,
            c & 63,
        ];
        for (place, six) in sixes.into_iter().enumerate() {
            let letter = char::from(ALPHABET[usize::from(six)]);
            text.push(if place > chunk.len() { '=' } else { letter });
        }
    }
    text
}

fn seconds_and_nanos(bytes: &[u8]) -> Result<(i64, i32), Flaw> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields::of(bytes) {
        match field? {
            (1, content) => seconds = content.varint()?.cast_signed(),
            (2, content) => nanos = int32(content.varint()?),
            _ => {}
        }
    }
    Ok((seconds, nanos))
}

/// None for a message without content, and for Go's zero time.
fn stamp(bytes: &[u8], seconds: i64, nanos: i32) -> Result<Option<jiff::Timestamp>, Flaw> {
    if bytes.is_empty() || (seconds == *SECONDS.start() && nanos == 0) {
        return Ok(None);
    }
    if !SECONDS.contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return Err(Flaw::new("a time out of range"));
    }
    let at = jiff::Timestamp::new(seconds, nanos);
    at.map(Some).map_err(|_| Flaw::new("a time out of range"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        // 1700000000 s, 123456789 ns.
        let bytes = [
            0x08, 0x80, 0xe2, 0xcf, 0xaa, 0x06, 0x10, 0x95, 0x9a, 0xef, 0x3a,
        ];
        assert_eq!(time(&bytes), Ok(json!("2023-11-14T22:13:20Z")));
        assert_eq!(micro_time(&bytes), Ok(json!("2023-11-14T22:13:20.123456Z")));
        assert_eq!(
            micro_time(&bytes[..6]),
            Ok(json!("2023-11-14T22:13:20.000000Z"))
        );
        // The Unix epoch is a time, and only no content is none.
        assert_eq!(time(&[0x08, 0x00]), Ok(json!("1970-01-01T00:00:00Z")));
        assert_eq!(time(&[]), Ok(Value::Null));
        assert_eq!(micro_time(&[]), Ok(Value::Null));
        for out_of_range in [
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..],
            &[0x10, 0x80, 0x94, 0xeb, 0xdc, 0x03],
        ] {
            assert_eq!(
                micro_time(out_of_range),
                Err(Flaw::new("a time out of range"))
            );
        }
    }

    #[test]
    fn an_int_or_string_is_what_its_type_says() {
        assert_eq!(
            int_or_string(&[0x08, 0x00, 0x10, 0x50, 0x1a, 0x00]),
            Ok(json!(80))
        );
        assert_eq!(
            int_or_string(&[0x08, 0x01, 0x10, 0x00, 0x1a, 0x02, b'5', b'%']),
            Ok(json!("5%"))
        );
        assert_eq!(int_or_string(&[]), Ok(json!(0)));
    }

    #[test]
    fn raw_json_is_read_and_must_be_some() {
        assert_eq!(json(b"\x0a\x0b{\"f:a\": {}}"), Ok(json!({"f:a": {}})));
        assert_eq!(json(b""), Ok(Value::Null));
        assert_eq!(json(b"\x0a\x01{"), Err(Flaw::new("invalid JSON")));
    }

    #[test]
    fn bytes_are_written_in_base64() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
    }
}
