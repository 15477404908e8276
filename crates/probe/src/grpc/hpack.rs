//! Header blocks: all of HPACK for reading, and as little as will do for writing.
//!
//! Reading needs the dynamic table and the Huffman code, as servers use both in their first response.
//! Written fields are literals: a request is sent once, so nothing would be gained by remembering it.
//!
//! Specification: RFC 7541.

mod huffman;

use std::borrow::Cow;
use std::collections::VecDeque;

/// What HTTP/2 grants a peer's dynamic table unless told otherwise, in octets.
const TABLE_LIMIT: usize = 4096;

/// What a field counts for beside its name and value, in the table and in a list's size.
const OVERHEAD: usize = 32;

/// Name and value of a header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Cow<'static, [u8]>,
    pub(super) value: Cow<'static, [u8]>,
}

impl Field {
    fn size(&self) -> usize {
        self.name.len() + self.value.len() + OVERHEAD
    }
}

/// What a header block held.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// In order, as many as fit the limit.
    pub(super) fields: Vec<Field>,
    /// Whether there were more.
    pub(super) is_cut: bool,
}

/// The block is no header block, and no later one can be read either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads the header blocks of one connection, in order.
#[derive(Debug)]
pub(super) struct Decoder {
    /// Newest first.
    table: VecDeque<Field>,
    /// Of all fields in `table`; never more than `limit`.
    size: usize,
    /// As the peer last set it.
    limit: usize,
}

impl Decoder {
    pub(super) const fn new() -> Self {
        Self {
            table: VecDeque::new(),
            size: 0,
            limit: TABLE_LIMIT,
        }
    }

    /// Reads one whole block, or as many of its fields as are no larger than `most` together. After a
    /// block that was cut no other can be read.
    pub(super) fn decode(&mut self, block: &[u8], most: usize) -> Result<Block, Malformed> {
        let mut input = Input(block);
        let mut decoded = Block {
            fields: Vec::new(),
            is_cut: false,
        };
        let mut left = most;
        let mut is_first = true;
        while let Some(first) = input.0.first().copied() {
            let field = match first {
                0x80.. => self.field(input.integer(7)?)?,
                0x40.. => {
                    let field = self.literal(&mut input, 6)?;
                    self.insert(field.clone());
                    field
                }
                0x20.. if is_first => {
                    self.resize(input.integer(5)?)?;
                    continue;
                }
                0x20.. => return Err(Malformed),
                _ => self.literal(&mut input, 4)?,
            };
            is_first = false;
            let Some(rest) = left.checked_sub(field.size()) else {
                decoded.is_cut = true;
                break;
            };
            left = rest;
            decoded.fields.push(field);
        }
        Ok(decoded)
    }

    fn literal(&self, input: &mut Input<'_>, bits: u32) -> Result<Field, Malformed> {
        let name = match input.integer(bits)? {
            0 => input.string()?,
            index => self.field(index)?.name,
        };
        let value = input.string()?;
        Ok(Field { name, value })
    }

    /// The field at `index` of both tables; there is none at 0.
    fn field(&self, index: usize) -> Result<Field, Malformed> {
        let at = index.checked_sub(1).ok_or(Malformed)?;
        if let Some((name, value)) = STATIC_TABLE.get(at) {
            return Ok(Field {
                name: Cow::Borrowed(name.as_bytes()),
                value: Cow::Borrowed(value.as_bytes()),
            });
        }
        let field = self.table.get(at - STATIC_TABLE.len());
        field.cloned().ok_or(Malformed)
    }

    /// A field that is larger than the whole table empties it.
    fn insert(&mut self, field: Field) {
        self.size += field.size();
        self.table.push_front(field);
        self.evict();
    }

    fn resize(&mut self, limit: usize) -> Result<(), Malformed> {
        if limit > TABLE_LIMIT {
            return Err(Malformed);
        }
        self.limit = limit;
        self.evict();
        Ok(())
    }

    fn evict(&mut self) {
        while self.size > self.limit
            && let Some(oldest) = self.table.pop_back()
        {
            self.size -= oldest.size();
        }
    }
}

/// The rest of a block.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*byte)
    }

    /// An integer that begins in the low `bits` of the next byte. Four more bytes are all that any
    /// length or index here can need.
    fn integer(&mut self, bits: u32) -> Result<usize, Malformed> {
        let mask = (1 << bits) - 1;
        let prefix = usize::from(self.byte()?) & mask;
        if prefix < mask {
            return Ok(prefix);
        }
        let mut value = mask;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn string(&mut self) -> Result<Cow<'static, [u8]>, Malformed> {
        let is_huffman = self.0.first().is_some_and(|byte| byte & 0x80 != 0);
        let length = self.integer(7)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        let text = if is_huffman {
            huffman::decode(text).ok_or(Malformed)?
        } else {
            text.to_vec()
        };
        Ok(Cow::Owned(text))
    }
}

/// Writes the field that the static table has at `index`, name and value.
pub(super) fn put_indexed(block: &mut Vec<u8>, index: u8) {
    block.push(0x80 | index);
}

/// Writes a field whose name the static table has at `index`, never to be remembered.
pub(super) fn put_value(block: &mut Vec<u8>, index: u8, value: &[u8]) {
    put_integer(block, 0, 4, usize::from(index));
    put_string(block, value);
}

/// Writes a field, never to be remembered.
pub(super) fn put_field(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    block.push(0);
    put_string(block, name);
    put_string(block, value);
}

fn put_string(block: &mut Vec<u8>, text: &[u8]) {
    put_integer(block, 0, 7, text.len());
    block.extend_from_slice(text);
}

/// Writes `value` into the low `bits` of a byte whose other bits are `pattern`, and on from there.
fn put_integer(block: &mut Vec<u8>, pattern: u8, bits: u32, value: usize) {
    let mask = u8::MAX >> (8 - bits);
    match u8::try_from(value) {
        Ok(value) if value < mask => return block.push(pattern | value),
        _ => block.push(pattern | mask),
    }
    let mut rest = value - usize::from(mask);
    while rest >= 0x80 {
        block.push(0x80 | (rest & 0x7f).to_le_bytes()[0]);
        rest >>= 7;
    }
    block.push(rest.to_le_bytes()[0]);
}

/// Specification: RFC 7541, appendix A; the first is at index 1.
const STATIC_TABLE: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests;
