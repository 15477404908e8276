//! A layer's bytes as they were before they were compressed, and no more of them than is sane.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// What is compressed with gzip or zstd starts like this; anything else is taken as it is.
///
/// Upstream: github.com/moby/moby pkg/archive, DetectCompression (the content decides, not the media type).
/// Shown by: layers_may_be_plain_gzip_or_zstd.
pub(crate) fn decompressed<'a>(reader: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut reader = BufReader::with_capacity(64 << 10, reader);
    let mut start = Vec::new();
    while start.len() < 4 {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            break;
        }
        let more = bytes.len().min(4 - start.len());
        start.extend_from_slice(&bytes[..more]);
        reader.consume(more);
    }
    let kind: [u8; 4] = std::array::from_fn(|at| start.get(at).copied().unwrap_or(0));
    let reader = BufReader::with_capacity(64 << 10, io::Cursor::new(start).chain(reader));
    Ok(match kind {
        [0x1f, 0x8b, 8, _] => Box::new(MultiGzDecoder::new(reader)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(Frames::new(reader)),
        [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Box::new(Frames::new(reader)),
        _ => Box::new(reader),
    })
}

/// The frames of a zstd stream, one after the other.
struct Frames<R> {
    reader: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            decoder: FrameDecoder::new(),
            in_frame: false,
        }
    }

    /// Whether there is another frame.
    fn start(&mut self) -> io::Result<bool> {
        while !self.reader.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.reader) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let skipped = io::copy(&mut (&mut self.reader).take(length), &mut io::sink())?;
                    if skipped < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame {
                if !self.start()? {
                    return Ok(0);
                }
                self.in_frame = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                let decoded = self.decoder.decode_blocks(&mut self.reader, one);
                decoded.map_err(io::Error::other)?;
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            self.in_frame = false;
        }
    }
}

/// Ends with an error where more comes than `limit` bytes.
pub(crate) struct Bounded<R> {
    reader: R,
    left: u64,
}

impl<R> Bounded<R> {
    pub(crate) fn new(reader: R, limit: u64) -> Self {
        Self {
            reader,
            left: limit,
        }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        let left = self
            .left
            .checked_sub(u64::try_from(read).unwrap_or(u64::MAX));
        self.left = left.ok_or_else(|| {
            io::Error::other("it unpacks to far more than it is: a decompression bomb")
        })?;
        Ok(read)
    }
}
