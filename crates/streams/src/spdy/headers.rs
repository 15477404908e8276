//! Header blocks: pairs of names and values, compressed by one zlib stream per direction for the whole life of
//! a connection.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::dictionary::dictionary;

/// How long a block may be, in bytes, before it was compressed. Those of a client are about a hundred.
const MAX_BLOCK: usize = 64 * 1024;
/// How much is decompressed at a time.
const STEP: usize = 1024;

/// Names and values, in the order they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers(Vec<(String, String)>);

/// A block that cannot be read. The connection is lost with it, as all later blocks depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadersError {
    #[error("a header block is not what zlib made of it")]
    Compression,
    #[error("a header block is longer than {MAX_BLOCK} bytes")]
    TooLong,
    #[error("a header block is cut short")]
    Short,
}

impl Headers {
    #[cfg(test)]
    pub(crate) fn new(pairs: &[(&str, &str)]) -> Self {
        let pair = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Self(pairs.iter().map(pair).collect())
    }

    /// The value under a name, whatever the case of its letters.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    fn read(mut block: Bytes) -> Result<Self, HeadersError> {
        let text = |block: &mut Bytes| {
            let length = block.try_get_u32().map_err(|_| HeadersError::Short)?;
            let length = usize::try_from(length).map_err(|_| HeadersError::Short)?;
            if length > block.len() {
                return Err(HeadersError::Short);
            }
            Ok(String::from_utf8_lossy(&block.split_to(length)).into_owned())
        };
        let count = block.try_get_u32().map_err(|_| HeadersError::Short)?;
        let mut pairs = Vec::new();
        for _ in 0..count {
            pairs.push((text(&mut block)?, text(&mut block)?));
        }
        Ok(Self(pairs))
    }

    fn write(&self) -> BytesMut {
        let mut block = BytesMut::new();
        let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        block.put_u32(length(self.0.len()));
        for text in self.0.iter().flat_map(|(name, value)| [name, value]) {
            block.put_u32(length(text.len()));
            block.put_slice(text.as_bytes());
        }
        block
    }
}

/// What the client compresses, in the order it does.
#[derive(Debug)]
pub(crate) struct HeaderReader(Decompress);

impl HeaderReader {
    pub(crate) fn new() -> Self {
        Self(Decompress::new(true))
    }

    pub(crate) fn read(&mut self, compressed: &[u8]) -> Result<Headers, HeadersError> {
        let mut block = BytesMut::new();
        let mut rest = compressed;
        let mut step = [0; STEP];
        loop {
            let (taken, made) = (self.0.total_in(), self.0.total_out());
            let status = match self.0.decompress(rest, &mut step, FlushDecompress::Sync) {
                Ok(status) => status,
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0
                        .set_dictionary(&dictionary())
                        .map_err(|_| HeadersError::Compression)?;
                    Status::Ok
                }
                Err(_) => return Err(HeadersError::Compression),
            };
            let taken = difference(taken, self.0.total_in());
            let made = difference(made, self.0.total_out());
            rest = &rest[taken..];
            block.put_slice(&step[..made]);
            if block.len() > MAX_BLOCK {
                return Err(HeadersError::TooLong);
            }
            match status {
                // The stream of a connection has no end.
                Status::StreamEnd => return Err(HeadersError::Compression),
                Status::Ok | Status::BufError if made == STEP || taken > 0 => {}
                Status::Ok | Status::BufError if rest.is_empty() => break,
                Status::Ok | Status::BufError => return Err(HeadersError::Compression),
            }
        }
        Headers::read(block.freeze())
    }
}

/// What we compress.
#[derive(Debug)]
pub(crate) struct HeaderWriter(Compress);

impl HeaderWriter {
    pub(crate) fn new() -> Self {
        let mut compress = Compress::new(Compression::fast(), true);
        compress
            .set_dictionary(&dictionary())
            .expect("nothing has been compressed yet");
        Self(compress)
    }

    pub(crate) fn write(&mut self, headers: &Headers) -> BytesMut {
        let block = headers.write();
        let mut rest = &block[..];
        let mut compressed = BytesMut::new();
        let mut step = [0; STEP];
        loop {
            let (taken, made) = (self.0.total_in(), self.0.total_out());
            let _status = self.0.compress(rest, &mut step, FlushCompress::Sync);
            let made = difference(made, self.0.total_out());
            rest = &rest[difference(taken, self.0.total_in())..];
            compressed.put_slice(&step[..made]);
            // What is left over would have filled the rest of the step.
            if rest.is_empty() && made < STEP {
                return compressed;
            }
        }
    }
}

fn difference(before: u64, after: u64) -> usize {
    usize::try_from(after - before).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_block_of_a_connection_is_as_go_writes_it() {
        let mut writer = HeaderWriter::new();
        let block = writer.write(&Headers::default());
        // The head of zlib with the dictionary's checksum, then a flushed block.
        assert_eq!(block[1] & 0x20, 0x20);
        assert_eq!(&block[2..6], [0xe3, 0xc6, 0xa7, 0xc2]);
        assert_eq!(&block[block.len() - 4..], [0, 0, 0xff, 0xff]);
    }

    #[test]
    fn a_block_that_grows_without_bound_is_refused() {
        let mut writer = HeaderWriter::new();
        let long = "x".repeat(MAX_BLOCK);
        let block = writer.write(&Headers::new(&[("streamtype", &long)]));
        assert!(block.len() < 1024);
        let read = HeaderReader::new().read(&block);
        assert_eq!(read, Err(HeadersError::TooLong));
    }

    proptest! {
        #[test]
        fn blocks_are_read_as_they_were_written(
            blocks in vec(vec(("[a-z]{0,20}", ".{0,200}"), 0..6), 0..6)
        ) {
            let (mut writer, mut reader) = (HeaderWriter::new(), HeaderReader::new());
            for pairs in blocks {
                let headers = Headers(pairs);
                prop_assert_eq!(reader.read(&writer.write(&headers)), Ok(headers));
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(blocks in vec(vec(any::<u8>(), 0..300), 0..4)) {
            let mut reader = HeaderReader::new();
            for block in blocks {
                let _any = reader.read(&block);
            }
        }

        /// The same behind the compression, where random bytes seldom come.
        #[test]
        fn no_block_makes_the_reader_panic(block in vec(any::<u8>(), 0..300)) {
            let _any = Headers::read(Bytes::from(block));
        }
    }
}
