//! The Huffman code of header strings.
//!
//! The code is canonical: among codes of one length, and from one length to the next, codes are
//! numbered in the order of their symbols. So the lengths alone say all, and decoding compares numbers.
//!
//! Specification: RFC 7541, section 5.2 and appendix B.

/// How many bits each byte takes; the last is the end-of-string symbol, which is never sent.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

const END_OF_STRING: u16 = 256;
const LONGEST: usize = 30;

/// The codes of one length.
#[derive(Clone, Copy)]
struct Row {
    /// The lowest.
    first: u32,
    /// How many there are.
    count: u32,
    /// Where their symbols begin in [`SYMBOLS`].
    offset: u32,
}

/// By length.
const ROWS: [Row; LONGEST + 1] = rows();
/// All symbols, in the order of their codes.
const SYMBOLS: [u16; 257] = symbols();

const fn rows() -> [Row; LONGEST + 1] {
    let mut rows = [Row {
        first: 0,
        count: 0,
        offset: 0,
    }; LONGEST + 1];
    let mut symbol = 0;
    while symbol < LENGTHS.len() {
        rows[LENGTHS[symbol] as usize].count += 1;
        symbol += 1;
    }
    let mut length = 1;
    while length <= LONGEST {
        let shorter = rows[length - 1];
        rows[length].first = (shorter.first + shorter.count) << 1;
        rows[length].offset = shorter.offset + shorter.count;
        length += 1;
    }
    rows
}

const fn symbols() -> [u16; 257] {
    let mut symbols = [0; 257];
    let mut next = [0; LONGEST + 1];
    let mut symbol: u16 = 0;
    while (symbol as usize) < LENGTHS.len() {
        let length = LENGTHS[symbol as usize] as usize;
        symbols[ROWS[length].offset as usize + next[length]] = symbol;
        next[length] += 1;
        symbol += 1;
    }
    symbols
}

/// The string that `bytes` encode; `None` if they encode none.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(bytes.len() * 8 / 5);
    let (mut code, mut length) = (0_u32, 0);
    for byte in bytes {
        for bit in (0..8).rev() {
            code = code << 1 | u32::from(byte >> bit & 1);
            length += 1;
            let row = ROWS.get(length)?;
            // A code below the first of its length belongs to a shorter one and was taken there.
            let at = code.wrapping_sub(row.first);
            if at < row.count {
                match SYMBOLS[(row.offset + at) as usize] {
                    END_OF_STRING => return None,
                    symbol => text.push(u8::try_from(symbol).ok()?),
                }
                (code, length) = (0, 0);
            }
        }
    }
    // What is left is padding: less than a byte, the beginning of the end-of-string symbol, all ones.
    let padding = (1 << length) - 1;
    (length < 8 && code == padding).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_complete() {
        let filled: u32 = LENGTHS
            .iter()
            .map(|length| 1 << (LONGEST - usize::from(*length)))
            .sum();
        assert_eq!(filled, 1 << LONGEST);
    }

    /// The strings of RFC 7541, appendix C.4 and C.6.
    #[test]
    fn the_examples_of_the_specification() {
        for (bytes, text) in [
            (
                &b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..],
                "www.example.com",
            ),
            (b"\xa8\xeb\x10\x64\x9c\xbf", "no-cache"),
            (b"\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f", "custom-key"),
            (b"\x64\x02", "302"),
            (b"\xae\xc3\x77\x1a\x4b", "private"),
            (b"", ""),
        ] {
            assert_eq!(decode(bytes).as_deref(), Some(text.as_bytes()));
        }
    }

    #[test]
    fn padding_that_is_wrong() {
        // '0' is five zeros; then zeros, a whole byte of ones, the end of the string.
        for bytes in [&b"\x00"[..], b"\x07\xff", b"\xff\xff\xff\xff", b"\x06"] {
            assert_eq!(decode(bytes), None, "{bytes:x?}");
        }
        assert_eq!(decode(b"\x07").as_deref(), Some(&b"0"[..]));
    }
}
