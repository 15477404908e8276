//! The members of a tar archive, as they come.
//!
//! Headers are read by the `tar` crate. What follows from several of them is put together here, because a
//! layer may be hostile: what is read into memory is bounded, and the values of pax records may be any bytes,
//! as those of `security.capability` are.

use std::collections::BTreeMap;
use std::io::{self, Read};

use tar::{EntryType, Header};

const BLOCK: u64 = 512;
/// What describes a member is no longer than this, as in Go's archive/tar.
const MOST_OF_AN_EXTENSION: u64 = 1 << 20;
/// The pieces of a sparse file are no more than this.
const MOST_PIECES: usize = 1 << 16;

/// A file, directory or other thing in an archive.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permissions with the set-id and sticky bits.
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Seconds and nanoseconds since 1970.
    pub(crate) modified: (i64, u32),
    /// Extended attributes.
    pub(crate) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file of that many bytes. If it is sparse, those pieces of it (offset, length) come one after the
    /// other, and the rest is zero.
    File {
        size: u64,
        pieces: Option<Vec<(u64, u64)>>,
    },
    Directory,
    /// A symbolic link to that.
    Symlink(Vec<u8>),
    /// Another name of that member.
    Link(Vec<u8>),
    CharacterDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// Reads members one by one. The content of a file is what is read from here after [`Members::next`].
#[derive(Debug)]
pub(crate) struct Members<R> {
    reader: R,
    /// Bytes of the present member that were not read, and the zeros after them.
    left: u64,
    padding: u64,
}

impl<R: Read> Members<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            left: 0,
            padding: 0,
        }
    }

    pub(crate) fn into_inner(self) -> R {
        self.reader
    }

    pub(crate) fn reader(&self) -> &R {
        &self.reader
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<Member>> {
        let mut records = BTreeMap::new();
        let (mut long_name, mut long_link) = (None, None);
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                let described = long_name.is_some() || long_link.is_some() || !records.is_empty();
                return if described {
                    Err(invalid("a member is described that does not come"))
                } else {
                    Ok(None)
                };
            };
            let size = header
                .entry_size()
                .map_err(|_any_text| invalid("invalid tar header"))?;
            self.content(size);
            match header.entry_type() {
                EntryType::GNULongName => long_name = Some(until_zero(self.extension()?)),
                EntryType::GNULongLink => long_link = Some(until_zero(self.extension()?)),
                EntryType::XHeader => records = pax_records(&self.extension()?)?,
                // About all members; what upstream's archive/tar passes over as well.
                EntryType::XGlobalHeader => {}
                _ => {
                    return self
                        .member(&header, records, long_name, long_link)
                        .map(Some);
                }
            }
        }
    }

    fn member(
        &mut self,
        header: &Header,
        mut records: BTreeMap<Vec<u8>, Vec<u8>>,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> io::Result<Member> {
        let mut take = |key: &[u8]| records.remove(key);
        let path = take(b"path").or(long_name);
        let mut path = path.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = take(b"linkpath").or(long_link);
        let link = link.or_else(|| header.link_name_bytes().map(|link| link.into_owned()));
        let number = |value: Option<Vec<u8>>, otherwise: io::Result<u64>| match value {
            Some(value) => decimal(&value),
            None => otherwise,
        };
        let size = number(take(b"size"), header.entry_size())?;
        let uid = number(take(b"uid"), header.uid())?;
        let gid = number(take(b"gid"), header.gid())?;
        let modified = match take(b"mtime") {
            Some(value) => seconds(&value)?,
            None => (i64::try_from(header.mtime()?).unwrap_or(i64::MAX), 0),
        };
        self.content(size);
        let mut pieces = None;
        let mut real_size = size;
        if records.keys().any(|key| key.starts_with(b"GNU.sparse.")) {
            let sparse = self.pax_sparse(&mut records)?;
            path = sparse.name.unwrap_or(path);
            real_size = sparse.size;
            pieces = Some(sparse.pieces);
        }
        let device = || -> io::Result<(u32, u32)> {
            let part = |part: Option<u32>| part.ok_or_else(|| invalid("a device without number"));
            Ok((part(header.device_major()?)?, part(header.device_minor()?)?))
        };
        let target = || link.clone().ok_or_else(|| invalid("a link without target"));
        let is_directory_by_name = path.ends_with(b"/");
        let kind = match header.entry_type() {
            EntryType::Regular if is_directory_by_name && header.as_bytes()[156] == 0 => {
                Kind::Directory
            }
            EntryType::Regular | EntryType::Continuous => Kind::File {
                size: real_size,
                pieces,
            },
            EntryType::GNUSparse => {
                let (size, pieces) = self.gnu_sparse(header)?;
                let pieces = Some(pieces);
                Kind::File { size, pieces }
            }
            EntryType::Link => Kind::Link(target()?),
            EntryType::Symlink => Kind::Symlink(target()?),
            EntryType::Char => {
                device().map(|(major, minor)| Kind::CharacterDevice(major, minor))?
            }
            EntryType::Block => device().map(|(major, minor)| Kind::BlockDevice(major, minor))?,
            EntryType::Directory => Kind::Directory,
            EntryType::Fifo => Kind::Fifo,
            other => {
                let type_flag = char::from(other.as_byte());
                return Err(invalid(format!("unhandled tar header type {type_flag:?}")));
            }
        };
        if !matches!(kind, Kind::File { .. }) {
            // Whatever size they claim, nothing comes: so it is in upstream's archive/tar.
            self.content(0);
        }
        let mut attributes = Vec::new();
        for (key, value) in records {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                attributes.push((name.to_vec(), value));
            }
        }
        Ok(Member {
            path,
            kind,
            mode: header.mode()? & 0o7777,
            uid,
            gid,
            modified,
            attributes,
        })
    }

    fn content(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK;
    }

    /// The next header, if this is not the end.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        if !self.block(header.as_mut_bytes())? {
            return Ok(None);
        }
        if is_zero(header.as_bytes()) {
            let mut second = [0; 512];
            if self.block(&mut second)? && !is_zero(&second) {
                return Err(invalid("invalid tar header"));
            }
            return Ok(None);
        }
        let bytes = header.as_bytes();
        let others = bytes[..148].iter().chain(&bytes[156..]);
        let sum: u32 = others.map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
        // What the field says instead of a number may be anything, and long.
        if header.cksum().ok() != Some(sum) {
            return Err(invalid("invalid tar header"));
        }
        Ok(Some(header))
    }

    /// Whether there was a block.
    fn block(&mut self, block: &mut [u8; 512]) -> io::Result<bool> {
        let mut read = 0;
        while read < block.len() {
            match self.reader.read(&mut block[read..])? {
                0 if read == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => read += more,
            }
        }
        Ok(true)
    }

    /// Passes over what was not read of the present member.
    fn skip(&mut self) -> io::Result<()> {
        let rest = self
            .left
            .checked_add(self.padding)
            .ok_or_else(|| invalid("a member of absurd size"))?;
        let skipped = io::copy(&mut (&mut self.reader).take(rest), &mut io::sink())?;
        if skipped < rest {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.content(0);
        Ok(())
    }

    /// All of the present content, which describes another member.
    fn extension(&mut self) -> io::Result<Vec<u8>> {
        if self.left > MOST_OF_AN_EXTENSION {
            return Err(invalid("a header of absurd size"));
        }
        let mut content = Vec::new();
        self.read_to_end(&mut content)?;
        Ok(content)
    }

    /// The map of a sparse file in the old format of GNU: in its header, and in blocks after that.
    fn gnu_sparse(&mut self, header: &Header) -> io::Result<(u64, Vec<(u64, u64)>)> {
        let gnu = header
            .as_gnu()
            .ok_or_else(|| invalid("a sparse file in an unknown format"))?;
        let mut pieces = Vec::new();
        let mut add = |piece: &tar::GnuSparseHeader| {
            if !piece.is_empty() {
                pieces.push((piece.offset()?, piece.length()?));
            }
            if pieces.len() > MOST_PIECES {
                return Err(invalid("a sparse file of too many pieces"));
            }
            Ok(())
        };
        gnu.sparse.iter().try_for_each(&mut add)?;
        let mut extended = gnu.is_extended();
        while extended {
            let mut block = tar::GnuExtSparseHeader::new();
            let mut bytes = [0; 512];
            if !self.block(&mut bytes)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            block.as_mut_bytes().copy_from_slice(&bytes);
            block.sparse().iter().try_for_each(&mut add)?;
            extended = block.is_extended();
        }
        let size = gnu.real_size()?;
        check_pieces(&pieces, size, self.left)?;
        Ok((size, pieces))
    }

    /// The map of a sparse file in one of the formats of pax that GNU tar writes.
    fn pax_sparse(&mut self, records: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> io::Result<Sparse> {
        let mut take = |key: &str| records.remove(format!("GNU.sparse.{key}").as_bytes());
        let name = take("name");
        let (real_size, size) = (take("realsize"), take("size"));
        let size = real_size.or(size);
        let size = size.ok_or_else(|| invalid("GNU.sparse.realsize is missing"))?;
        let size = decimal(&size)?;
        let mut numbers = Vec::new();
        if let Some(map) = take("map") {
            for number in map.split(|byte| *byte == b',') {
                numbers.push(decimal(number)?);
            }
        } else if take("major").as_deref() == Some(b"1") {
            let count = self.map_number()?;
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            if count > MOST_PIECES {
                return Err(invalid("a sparse file of too many pieces"));
            }
            for _ in 0..count * 2 {
                numbers.push(self.map_number()?);
            }
            // The map fills whole blocks.
            let rest = self.left % BLOCK;
            let rest = (rest + self.padding) % BLOCK;
            let skipped = io::copy(&mut self.by_ref().take(rest), &mut io::sink())?;
            if skipped < rest {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        } else {
            return Err(invalid("a sparse file in format 0.0 of GNU.sparse"));
        }
        let mut pieces = Vec::new();
        for pair in numbers.chunks(2) {
            let [offset, length] = pair else {
                return Err(invalid("GNU.sparse.map is not made of pairs"));
            };
            pieces.push((*offset, *length));
        }
        check_pieces(&pieces, size, self.left)?;
        Ok(Sparse { name, size, pieces })
    }

    /// A line with a number, at the start of a sparse file's content.
    fn map_number(&mut self) -> io::Result<u64> {
        let mut digits = Vec::new();
        loop {
            let mut byte = [0];
            self.read_exact(&mut byte)?;
            match byte {
                [b'\n'] => return decimal(&digits),
                [digit] if digits.len() < 20 => digits.push(digit),
                _ => return Err(invalid("a sparse file with a broken map")),
            }
        }
    }
}

/// The content of the present member; it ends where that ends.
impl<R: Read> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let read = (&mut self.reader).take(self.left).read(buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= u64::try_from(read).unwrap_or(0);
        Ok(read)
    }
}

struct Sparse {
    name: Option<Vec<u8>>,
    size: u64,
    pieces: Vec<(u64, u64)>,
}

/// Pieces are in order, within the file, and as long as what comes.
fn check_pieces(pieces: &[(u64, u64)], size: u64, content: u64) -> io::Result<()> {
    let (mut end, mut sum) = (0, 0_u64);
    for (offset, length) in pieces {
        let stop = offset.checked_add(*length);
        let stop = stop.filter(|stop| *offset >= end && *stop <= size);
        end = stop.ok_or_else(|| invalid("a sparse file with a broken map"))?;
        sum += length;
    }
    if sum != content {
        return Err(invalid("a sparse file with a broken map"));
    }
    Ok(())
}

/// `LENGTH KEY=VALUE\n`, again and again.
fn pax_records(mut bytes: &[u8]) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let broken = || invalid("invalid pax record");
    let mut records = BTreeMap::new();
    while !bytes.is_empty() {
        let space = bytes
            .iter()
            .position(|byte| *byte == b' ')
            .ok_or_else(broken)?;
        let length = usize::try_from(decimal(&bytes[..space])?).map_err(|_| broken())?;
        if length <= space + 1 || length > bytes.len() {
            return Err(broken());
        }
        let record = bytes[space + 1..length]
            .strip_suffix(b"\n")
            .ok_or_else(broken)?;
        let equals = record
            .iter()
            .position(|byte| *byte == b'=')
            .ok_or_else(broken)?;
        let (key, value) = (record[..equals].to_vec(), record[equals + 1..].to_vec());
        if value.is_empty() {
            records.remove(&key);
        } else {
            records.insert(key, value);
        }
        bytes = &bytes[length..];
    }
    Ok(records)
}

fn decimal(bytes: &[u8]) -> io::Result<u64> {
    let text = std::str::from_utf8(bytes).ok();
    let text = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = text.and_then(|text| text.parse().ok());
    number.ok_or_else(|| invalid("a number in a pax record is none"))
}

/// `SECONDS` or `SECONDS.FRACTION`, perhaps negative.
fn seconds(bytes: &[u8]) -> io::Result<(i64, u32)> {
    let broken = || invalid("a time in a pax record is none");
    let text = std::str::from_utf8(bytes).map_err(|_| broken())?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let whole: i64 = whole.parse().map_err(|_| broken())?;
    let mut nanoseconds = 0;
    for place in 0..9 {
        let digit = fraction.as_bytes().get(place).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return Err(broken());
        }
        nanoseconds = nanoseconds * 10 + u32::from(digit - b'0');
    }
    if negative && nanoseconds > 0 {
        return Ok((whole.saturating_sub(1), 1_000_000_000 - nanoseconds));
    }
    Ok((whole, nanoseconds))
}

fn until_zero(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
