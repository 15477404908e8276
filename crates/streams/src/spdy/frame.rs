//! Frames: read from whatever pieces of bytes come, written into a buffer.
//!
//! A data frame is handed on in the pieces it comes in, and so needs no room of its own; a control frame is
//! kept until it is whole, and may therefore not be long.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Length of every frame's head.
const HEAD: usize = 8;
/// How long a control frame may be. The longest that Kubernetes' clients send, a SYN_STREAM, has about a hundred
/// bytes.
const MAX_CONTROL: usize = 16 * 1024;
/// The protocol's version, in every control frame.
const VERSION: u16 = 3;
/// FLAG_FIN: the last frame of a stream, from its sender.
const FIN: u8 = 1;
/// A stream id is 31 bits long.
const ID: u32 = 0x7fff_ffff;

/// The status of a RST_STREAM.
pub(crate) const PROTOCOL_ERROR: u32 = 1;
/// The same, for a stream that was not begun.
pub(crate) const REFUSED_STREAM: u32 = 3;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;

/// What has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The client opens a stream; its header block is still compressed.
    Open {
        stream: u32,
        fin: bool,
        block: Bytes,
    },
    /// A piece of a stream; `fin` with the last piece of its last frame.
    Data {
        stream: u32,
        fin: bool,
        data: Bytes,
    },
    Reset {
        stream: u32,
    },
    Ping(u32),
    GoAway,
    /// Nothing that matters here: SETTINGS, WINDOW_UPDATE, a type that is not known; and with them a
    /// SYN_REPLY or HEADERS, whose block has to be decompressed all the same.
    Other {
        block: Option<Bytes>,
    },
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a control frame of version {0}")]
    Version(u16),
    #[error("a control frame of {0} bytes")]
    TooLong(usize),
    #[error("a control frame of type {kind} that is cut short")]
    Short { kind: u16 },
}

/// Makes frames of bytes.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    /// The data frame that is being handed on.
    open: Option<OpenData>,
}

#[derive(Clone, Copy, Debug)]
struct OpenData {
    stream: u32,
    fin: bool,
    left: usize,
}

impl FrameReader {
    /// Takes the next frame, or the next piece of one, off the front; `None` if that takes more bytes.
    pub(crate) fn next(&mut self, bytes: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        if let Some(open) = self.open.take() {
            return Ok(self.more(open, bytes));
        }
        let Some(head) = bytes.first_chunk::<HEAD>().copied() else {
            return Ok(None);
        };
        let mut head = &head[..];
        let first = head.get_u32();
        let (flags, length) = {
            let word = head.get_u32();
            let [flags, length @ ..] = word.to_be_bytes();
            let [a, b, c] = length;
            (
                flags,
                usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX),
            )
        };
        if first & !ID == 0 {
            bytes.advance(HEAD);
            let open = OpenData {
                stream: first,
                fin: flags & FIN != 0,
                left: length,
            };
            return Ok(self.more(open, bytes));
        }
        let [a, b, c, d] = first.to_be_bytes();
        let version = u16::from_be_bytes([a & 0x7f, b]);
        let kind = u16::from_be_bytes([c, d]);
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        if length > MAX_CONTROL {
            return Err(FrameError::TooLong(length));
        }
        if bytes.len() < HEAD + length {
            return Ok(None);
        }
        bytes.advance(HEAD);
        let body = bytes.split_to(length).freeze();
        control(kind, flags & FIN != 0, body)
            .ok_or(FrameError::Short { kind })
            .map(Some)
    }

    fn more(&mut self, open: OpenData, bytes: &mut BytesMut) -> Option<Frame> {
        let OpenData { stream, fin, left } = open;
        if bytes.is_empty() && left > 0 {
            self.open = Some(open);
            return None;
        }
        let data = bytes.split_to(left.min(bytes.len())).freeze();
        let left = left - data.len();
        if left > 0 {
            self.open = Some(OpenData { left, ..open });
        }
        Some(Frame::Data {
            stream,
            fin: fin && left == 0,
            data,
        })
    }
}

fn control(kind: u16, fin: bool, mut body: Bytes) -> Option<Frame> {
    let frame = match kind {
        SYN_STREAM => {
            let stream = body.try_get_u32().ok()? & ID;
            // The stream it belongs to, and its priority.
            if body.len() < 6 {
                return None;
            }
            body.advance(6);
            Frame::Open {
                stream,
                fin,
                block: body,
            }
        }
        // HEADERS is type 8.
        SYN_REPLY | 8 => {
            body.try_get_u32().ok()?;
            Frame::Other { block: Some(body) }
        }
        RST_STREAM => Frame::Reset {
            stream: body.try_get_u32().ok()? & ID,
        },
        PING => Frame::Ping(body.try_get_u32().ok()?),
        GOAWAY => Frame::GoAway,
        _ => Frame::Other { block: None },
    };
    Some(frame)
}

/// Writes the head of a data frame; `length` bytes follow.
pub(crate) fn put_data(out: &mut BytesMut, stream: u32, fin: bool, length: usize) {
    out.put_u32(stream & ID);
    put_length(out, fin, length);
}

/// Writes the answer to a SYN_STREAM.
pub(crate) fn put_reply(out: &mut BytesMut, stream: u32, block: &[u8]) {
    put_control(out, SYN_REPLY, 4 + block.len());
    out.put_u32(stream & ID);
    out.put_slice(block);
}

pub(crate) fn put_reset(out: &mut BytesMut, stream: u32, status: u32) {
    put_control(out, RST_STREAM, 8);
    out.put_u32(stream & ID);
    out.put_u32(status);
}

pub(crate) fn put_ping(out: &mut BytesMut, id: u32) {
    put_control(out, PING, 4);
    out.put_u32(id);
}

/// Says that no stream after `last` has been or will be looked at.
pub(crate) fn put_go_away(out: &mut BytesMut, last: u32) {
    put_control(out, GOAWAY, 8);
    out.put_u32(last & ID);
    out.put_u32(0);
}

#[cfg(test)]
pub(crate) fn put_open(out: &mut BytesMut, stream: u32, fin: bool, block: &[u8]) {
    out.put_u16(VERSION | 0x8000);
    out.put_u16(SYN_STREAM);
    put_length(out, fin, 10 + block.len());
    out.put_u32(stream);
    out.put_u32(0);
    out.put_u16(0);
    out.put_slice(block);
}

fn put_control(out: &mut BytesMut, kind: u16, length: usize) {
    out.put_u16(VERSION | 0x8000);
    out.put_u16(kind);
    put_length(out, false, length);
}

fn put_length(out: &mut BytesMut, fin: bool, length: usize) {
    let length = u32::try_from(length).unwrap_or(u32::MAX).min(0x00ff_ffff);
    out.put_u32(length | u32::from(if fin { FIN } else { 0 }) << 24);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn all(pieces: &[Vec<u8>]) -> Result<Vec<Frame>, FrameError> {
        let (mut reader, mut bytes) = (FrameReader::default(), BytesMut::new());
        let mut frames = Vec::new();
        for piece in pieces {
            bytes.extend_from_slice(piece);
            while let Some(frame) = reader.next(&mut bytes)? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    /// The same with the pieces of a data frame put together again.
    fn whole(frames: Vec<Frame>) -> Vec<Frame> {
        let mut whole: Vec<Frame> = Vec::new();
        for frame in frames {
            if let Frame::Data { stream, fin, data } = &frame
                && let Some(Frame::Data {
                    stream: before,
                    fin: ended,
                    data: first,
                }) = whole.last_mut()
                && before == stream
                && !*ended
            {
                let joined = [&first[..], &data[..]].concat();
                *first = Bytes::from(joined);
                *ended = *fin;
                continue;
            }
            whole.push(frame);
        }
        whole
    }

    #[test]
    fn frames_of_a_real_client_are_read() {
        let bytes: &[&[u8]] = &[
            &[
                0x80, 3, 0, 4, 0, 0, 0, 12, 0, 0, 0, 1, 1, 0, 0, 4, 0, 0, 0, 9,
            ],
            &[
                0x80, 3, 0, 1, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x78, 0xbb,
            ],
            &[0, 0, 0, 1, 0, 0, 0, 2, b'o', b'k'],
            &[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 5],
            &[0, 0, 0, 1, 1, 0, 0, 0],
            &[0x80, 3, 0, 9, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 1, 0],
            &[0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 5],
            &[0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0],
        ];
        let data = |fin, data: &'static [u8]| Frame::Data {
            stream: 1,
            fin,
            data: Bytes::from_static(data),
        };
        let expected = [
            Frame::Other { block: None },
            Frame::Open {
                stream: 1,
                fin: false,
                block: Bytes::from_static(&[0x78, 0xbb]),
            },
            data(false, b"ok"),
            Frame::Ping(5),
            data(true, b""),
            Frame::Other { block: None },
            Frame::Reset { stream: 1 },
            Frame::GoAway,
        ];
        let together = [bytes.concat()];
        assert_eq!(all(&together).unwrap(), expected);
        let apart: Vec<Vec<u8>> = bytes.concat().iter().map(|&byte| vec![byte]).collect();
        assert_eq!(whole(all(&apart).unwrap()), expected);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let check = |bytes: &[u8], expected| {
            assert_eq!(all(&[bytes.to_vec()]), Err(expected));
        };
        check(b"\x80\x02\0\x01\0\0\0\x0a", FrameError::Version(2));
        check(
            b"\x80\x03\0\x01\0\x10\0\0",
            FrameError::TooLong(1024 * 1024),
        );
        check(
            b"\x80\x03\0\x01\0\0\0\x05\0\0\0\x01\0",
            FrameError::Short { kind: 1 },
        );
        check(b"\x80\x03\0\x06\0\0\0\x01\0", FrameError::Short { kind: 6 });
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(pieces in vec(vec(any::<u8>(), 0..64), 0..8)) {
            let _any = all(&pieces);
        }

        /// The same behind heads that are right, where random bytes seldom come.
        #[test]
        fn no_body_makes_the_reader_panic(
            bodies in vec((0u16..12, any::<u8>(), vec(any::<u8>(), 0..40)), 0..8)
        ) {
            let mut bytes = BytesMut::new();
            for (kind, flags, body) in bodies {
                bytes.put_slice(&[0x80, 3]);
                bytes.put_u16(kind);
                bytes.put_u32(u32::from(flags) << 24 | u32::try_from(body.len()).unwrap());
                bytes.put_slice(&body);
            }
            let _any = all(&[bytes.to_vec()]);
        }

        #[test]
        fn data_comes_through_however_it_is_cut(
            data in vec(any::<u8>(), 0..300), cut in 1usize..50, fin in any::<bool>()
        ) {
            let mut bytes = BytesMut::new();
            put_data(&mut bytes, 7, fin, data.len());
            bytes.put_slice(&data);
            put_ping(&mut bytes, 9);
            let pieces: Vec<Vec<u8>> = bytes.chunks(cut).map(<[u8]>::to_vec).collect();
            let expected = vec![
                Frame::Data { stream: 7, fin, data: Bytes::from(data) },
                Frame::Ping(9),
            ];
            prop_assert_eq!(whole(all(&pieces).unwrap()), expected);
        }
    }
}
