//! Protobuf's encoding: a message is a row of fields, each a number and what stands there.

use super::Flaw;

const CUT_SHORT: Flaw = Flaw::new("unexpected end");

/// What stands in one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// Numbers and booleans.
    Varint(u64),
    /// Texts, bytes, messages, and packed lists of numbers.
    Bytes(&'a [u8]),
    /// Floats and fixed-width numbers, of which Kubernetes has none.
    Fixed,
}

impl<'a> Content<'a> {
    /// The number.
    pub(super) const fn varint(self) -> Result<u64, Flaw> {
        match self {
            Self::Varint(number) => Ok(number),
            Self::Bytes(_) | Self::Fixed => Err(Flaw::new("a number was expected")),
        }
    }

    /// The bytes.
    pub(super) const fn bytes(self) -> Result<&'a [u8], Flaw> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Varint(_) | Self::Fixed => Err(Flaw::new("text or a message was expected")),
        }
    }

    /// The bytes, as text.
    pub(super) fn text(self) -> Result<&'a str, Flaw> {
        let bytes = self.bytes()?;
        str::from_utf8(bytes).map_err(|_| Flaw::new("invalid UTF-8"))
    }
}

/// The fields of a message in the order of its bytes, up to the first flaw.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Of a message.
    pub(super) const fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Result<(u32, Content<'a>), Flaw> {
        let tag = varint(&mut self.rest)?;
        let number = u32::try_from(tag >> 3)
            .ok()
            .filter(|number| *number > 0)
            .ok_or(Flaw::new("illegal field number"))?;
        let content = match tag & 7 {
            0 => Content::Varint(varint(&mut self.rest)?),
            1 => self.take(8).map(|_| Content::Fixed)?,
            2 => {
                let length = varint(&mut self.rest)?;
                let length = usize::try_from(length).map_err(|_| CUT_SHORT)?;
                Content::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Content::Fixed)?,
            // 3 and 4 are groups, which Kubernetes' messages have never had.
            _ => return Err(Flaw::new("illegal wire type")),
        };
        Ok((number, content))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Flaw> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CUT_SHORT)?;
        self.rest = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Content<'a>), Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Takes a number from the front of `bytes`: seven bits a byte, the lowest first.
pub(super) fn varint(bytes: &mut &[u8]) -> Result<u64, Flaw> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(CUT_SHORT)?;
        *bytes = rest;
        // Of the tenth byte only one bit has room; as in Go, the others fall off.
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Flaw::new("a number of more than ten bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u32, Content<'_>)>, Flaw> {
        Fields::of(bytes).collect()
    }

    #[test]
    fn fields_are_told_by_number_and_wire_type() {
        let bytes = [
            0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x25, 1, 2, 3,
            4, 0x80, 0x01, 0x00,
        ];
        assert_eq!(
            read(&bytes),
            Ok(vec![
                (1, Content::Varint(150)),
                (2, Content::Bytes(b"hi")),
                (3, Content::Fixed),
                (4, Content::Fixed),
                (16, Content::Varint(0)),
            ])
        );
        assert_eq!(read(&[]), Ok(vec![]));
    }

    #[test]
    fn a_flaw_ends_the_reading() {
        for (bytes, what) in [
            (&[0x08][..], "unexpected end"),
            (&[0x08, 0x80], "unexpected end"),
            (&[0x12, 0x05, b'h'], "unexpected end"),
            (
                &[
                    0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
                ],
                "unexpected end",
            ),
            (&[0x19, 1, 2], "unexpected end"),
            (&[0x00, 0x01], "illegal field number"),
            (&[0x0b], "illegal wire type"),
            (&[0x0f], "illegal wire type"),
            (
                &[
                    0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01,
                ],
                "a number of more than ten bytes",
            ),
        ] {
            let mut fields = Fields::of(bytes);
            assert_eq!(fields.next(), Some(Err(Flaw::new(what))), "{bytes:?}");
            assert_eq!(fields.next(), None);
        }
    }

    #[test]
    fn negative_numbers_take_ten_bytes() {
        let minus_one = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(varint(&mut &minus_one[..]), Ok(u64::MAX));
    }
}
