//! Frames of HTTP/2, as far as a client with one stream has to do with them.
//!
//! Specification: RFC 9113, sections 4 and 6.

use std::fmt;

/// How much comes before a frame's payload.
const HEAD: usize = 9;

/// The largest payload that a peer may send unless it is granted more; nobody is here.
pub(super) const PAYLOAD_LIMIT: usize = 16_384;

/// What a client begins with.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The type of a frame.
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PUSH_PROMISE: u8 = 5;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;
}

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Identifiers of settings.
const ENABLE_PUSH: u16 = 2;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// A frame as it was received.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Data {
        stream: u32,
        data: &'a [u8],
        /// What it takes from the windows, padding included.
        size: u32,
        is_last: bool,
    },
    /// The beginning of a header block.
    Headers {
        stream: u32,
        fragment: &'a [u8],
        is_last: bool,
        is_whole: bool,
    },
    /// More of it.
    Continuation {
        stream: u32,
        fragment: &'a [u8],
        is_whole: bool,
    },
    Reset {
        stream: u32,
        code: ErrorCode,
    },
    Settings {
        /// The window that streams begin with, if the frame says.
        window: Option<u32>,
    },
    SettingsAck,
    Ping([u8; 8]),
    GoAway {
        /// The last stream that the server has taken up or will.
        last: u32,
        code: ErrorCode,
        debug: &'a [u8],
    },
    WindowUpdate {
        stream: u32,
        /// 0 is an error of the stream, on stream 0 of the connection.
        increment: u32,
    },
    /// Nothing that concerns us.
    Other,
}

/// Why the bytes are no frame; none can be told apart after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("http2: frame too large")]
    TooLarge,
    #[error("connection error: {0}")]
    Connection(ErrorCode),
}

/// The code of RST_STREAM and GOAWAY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ErrorCode(pub(super) u32);

impl ErrorCode {
    const PROTOCOL_ERROR: Self = Self(1);
    const FLOW_CONTROL_ERROR: Self = Self(3);
    const FRAME_SIZE_ERROR: Self = Self(6);
    pub(super) const REFUSED_STREAM: Self = Self(7);
    pub(super) const COMPRESSION_ERROR: Self = Self(9);
}

impl FrameError {
    pub(super) const PROTOCOL: Self = Self::Connection(ErrorCode::PROTOCOL_ERROR);
    pub(super) const COMPRESSION: Self = Self::Connection(ErrorCode::COMPRESSION_ERROR);
    const SIZE: Self = Self::Connection(ErrorCode::FRAME_SIZE_ERROR);
}

/// The name that HTTP/2 gives an error code, or its number.
///
/// Upstream: golang.org/x/net/http2/errors.go, ErrCode.String.
/// Shown by: what_is_no_frame.
impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 14] = [
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
            "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        ];
        match usize::try_from(self.0).ok().and_then(|at| NAMES.get(at)) {
            Some(name) => f.write_str(name),
            None => write!(f, "unknown error code 0x{:x}", self.0),
        }
    }
}

/// The first frame of `bytes` and how many of them it takes; `None` if it is not all there.
///
/// Errors: as Go's framer sees them; a payload that is too long is one before it is there.
///
/// Upstream: golang.org/x/net/http2/frame.go, Framer.ReadFrame.
/// Shown by: a_frame_is_waited_for_until_it_is_whole, what_is_no_frame.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *head;
    let length = usize::from(l0) << 16 | usize::from(l1) << 8 | usize::from(l2);
    if length > PAYLOAD_LIMIT {
        return Err(FrameError::TooLarge);
    }
    let Some(payload) = rest.get(..length) else {
        return Ok(None);
    };
    let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
    let frame = typed(kind, flags, stream, payload)?;
    Ok(Some((frame, HEAD + length)))
}

fn typed(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<Frame<'_>, FrameError> {
    let of_stream = |is_right: bool| {
        if is_right {
            Ok(())
        } else {
            Err(FrameError::PROTOCOL)
        }
    };
    Ok(match kind {
        kind::DATA => {
            of_stream(stream != 0)?;
            Frame::Data {
                stream,
                data: unpadded(flags, payload)?,
                size: u32::try_from(payload.len()).map_err(|_| FrameError::TooLarge)?,
                is_last: flags & END_STREAM != 0,
            }
        }
        kind::HEADERS => {
            of_stream(stream != 0)?;
            let mut fragment = unpadded(flags, payload)?;
            if flags & PRIORITY != 0 {
                fragment = fragment.get(5..).ok_or(FrameError::PROTOCOL)?;
            }
            Frame::Headers {
                stream,
                fragment,
                is_last: flags & END_STREAM != 0,
                is_whole: flags & END_HEADERS != 0,
            }
        }
        kind::CONTINUATION => {
            of_stream(stream != 0)?;
            Frame::Continuation {
                stream,
                fragment: payload,
                is_whole: flags & END_HEADERS != 0,
            }
        }
        kind::RST_STREAM => {
            let code = exactly(payload)?;
            of_stream(stream != 0)?;
            Frame::Reset {
                stream,
                code: ErrorCode(u32::from_be_bytes(code)),
            }
        }
        kind::SETTINGS => {
            if flags & ACK != 0 && !payload.is_empty() {
                return Err(FrameError::SIZE);
            }
            of_stream(stream == 0)?;
            if flags & ACK != 0 {
                Frame::SettingsAck
            } else {
                Frame::Settings {
                    window: initial_window(payload)?,
                }
            }
        }
        kind::PING => {
            let data = exactly(payload)?;
            of_stream(stream == 0)?;
            if flags & ACK != 0 {
                Frame::Other
            } else {
                Frame::Ping(data)
            }
        }
        kind::GOAWAY => {
            of_stream(stream == 0)?;
            let (last, rest) = payload.split_first_chunk().ok_or(FrameError::SIZE)?;
            let (code, debug) = rest.split_first_chunk().ok_or(FrameError::SIZE)?;
            Frame::GoAway {
                last: u32::from_be_bytes(*last) & 0x7fff_ffff,
                code: ErrorCode(u32::from_be_bytes(*code)),
                debug,
            }
        }
        kind::WINDOW_UPDATE => Frame::WindowUpdate {
            stream,
            increment: match u32::from_be_bytes(exactly(payload)?) & 0x7fff_ffff {
                0 if stream == 0 => return Err(FrameError::PROTOCOL),
                increment => increment,
            },
        },
        // We have said that we take none.
        kind::PUSH_PROMISE => return Err(FrameError::PROTOCOL),
        _ => Frame::Other,
    })
}

fn exactly<const N: usize>(payload: &[u8]) -> Result<[u8; N], FrameError> {
    payload.try_into().map_err(|_| FrameError::SIZE)
}

fn unpadded(flags: u8, payload: &[u8]) -> Result<&[u8], FrameError> {
    if flags & PADDED == 0 {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or(FrameError::PROTOCOL)?;
    let length = rest.len().checked_sub(usize::from(*padding));
    length
        .map(|length| &rest[..length])
        .ok_or(FrameError::PROTOCOL)
}

fn initial_window(settings: &[u8]) -> Result<Option<u32>, FrameError> {
    let (settings, rest) = settings.as_chunks::<6>();
    if !rest.is_empty() {
        return Err(FrameError::SIZE);
    }
    let mut window = None;
    for [i0, i1, v0, v1, v2, v3] in settings {
        let value = u32::from_be_bytes([*v0, *v1, *v2, *v3]);
        if u16::from_be_bytes([*i0, *i1]) == INITIAL_WINDOW_SIZE {
            if value > 0x7fff_ffff {
                return Err(FrameError::Connection(ErrorCode::FLOW_CONTROL_ERROR));
            }
            window = Some(value);
        }
    }
    Ok(window)
}

/// Writes our settings: no pushes, and all else as HTTP/2 has it by default.
pub(super) fn put_settings(out: &mut Vec<u8>) {
    put_head(out, 6, kind::SETTINGS, 0, 0);
    out.extend_from_slice(&ENABLE_PUSH.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
}

/// Acknowledges the peer's settings.
pub(super) fn put_settings_ack(out: &mut Vec<u8>) {
    put_head(out, 0, kind::SETTINGS, ACK, 0);
}

/// Answers a ping.
pub(super) fn put_pong(out: &mut Vec<u8>, data: [u8; 8]) {
    put_head(out, 8, kind::PING, ACK, 0);
    out.extend_from_slice(&data);
}

/// Writes a whole header block, at most [`PAYLOAD_LIMIT`] bytes, after which data come.
pub(super) fn put_headers(out: &mut Vec<u8>, stream: u32, block: &[u8]) {
    put_head(out, block.len(), kind::HEADERS, END_HEADERS, stream);
    out.extend_from_slice(block);
}

/// Writes data, at most [`PAYLOAD_LIMIT`] bytes.
pub(super) fn put_data(out: &mut Vec<u8>, stream: u32, data: &[u8], is_last: bool) {
    let flags = if is_last { END_STREAM } else { 0 };
    put_head(out, data.len(), kind::DATA, flags, stream);
    out.extend_from_slice(data);
}

/// Grants the peer `increment` more, on a stream or, with 0, on the connection.
pub(super) fn put_window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    put_head(out, 4, kind::WINDOW_UPDATE, 0, stream);
    out.extend_from_slice(&increment.to_be_bytes());
}

/// Says that the connection is over, without complaint.
pub(super) fn put_goaway(out: &mut Vec<u8>) {
    put_head(out, 8, kind::GOAWAY, 0, 0);
    out.extend_from_slice(&[0; 8]);
}

fn put_head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    debug_assert!(length <= PAYLOAD_LIMIT, "a payload no peer has to take");
    let [.., l0, l1, l2] = length.to_be_bytes();
    out.extend_from_slice(&[l0, l1, l2, kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: &[u8]) -> FrameError {
        parse(bytes).expect_err("a frame that is none")
    }

    #[test]
    fn a_frame_is_waited_for_until_it_is_whole() {
        let mut bytes = Vec::new();
        put_data(&mut bytes, 1, b"abc", true);
        for length in 0..bytes.len() {
            assert_eq!(parse(&bytes[..length]), Ok(None));
        }
        bytes.push(0);
        let data = Frame::Data {
            stream: 1,
            data: b"abc",
            size: 3,
            is_last: true,
        };
        assert_eq!(parse(&bytes), Ok(Some((data, 12))));
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let padded = b"\0\0\x06\0\x08\0\0\0\x01\x02abc\0\0";
        let (frame, taken) = parse(padded).unwrap().unwrap();
        let data = Frame::Data {
            stream: 1,
            data: b"abc",
            size: 6,
            is_last: false,
        };
        assert_eq!((frame, taken), (data, padded.len()));
        let headers = b"\0\0\x08\x01\x2d\0\0\0\x01\x01\0\0\0\x03\x10\x88\0";
        let (frame, _) = parse(headers).unwrap().unwrap();
        let whole = Frame::Headers {
            stream: 1,
            fragment: b"\x88",
            is_last: true,
            is_whole: true,
        };
        assert_eq!(frame, whole);
    }

    #[test]
    fn settings_tell_the_window() {
        let settings = b"\0\0\x0c\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04\0\0\0\x0a";
        let (frame, _) = parse(settings).unwrap().unwrap();
        assert_eq!(frame, Frame::Settings { window: Some(10) });
    }

    #[test]
    fn what_is_no_frame() {
        assert_eq!(error(b"HTTP/1.1 400 Bad Request"), FrameError::TooLarge);
        for (bytes, code) in [
            (&b"\0\0\0\0\0\0\0\0\0"[..], 1),                // data on no stream
            (b"\0\0\x01\0\x08\0\0\0\x01\x01", 1),           // more padding than payload
            (b"\0\0\x04\x01\x24\0\0\0\x01\0\0\0\0", 1),     // a priority cut short
            (b"\0\0\0\x04\0\0\0\0\x01", 1),                 // settings of a stream
            (b"\0\0\x01\x04\x01\0\0\0\0\0", 6),             // an acknowledgement with more
            (b"\0\0\x05\x04\0\0\0\0\0\0\0\0\0\0", 6),       // settings of odd size
            (b"\0\0\x06\x04\0\0\0\0\0\0\x04\xff\0\0\0", 3), // a window too large
            (b"\0\0\x07\x06\0\0\0\0\0\0\0\0\0\0\0\0", 6),   // a short ping
            (b"\0\0\x04\x07\0\0\0\0\0\0\0\0\0", 6),         // a goaway without code
            (b"\0\0\x04\x08\0\0\0\0\0\0\0\0\0", 1),         // no more window
            (b"\0\0\x04\x05\x04\0\0\0\x01\0\0\0\x02", 1),   // a push
            (b"\0\0\x04\x03\0\0\0\0\0\0\0\0\0", 1),         // a reset of no stream
        ] {
            let expected = FrameError::Connection(ErrorCode(code));
            assert_eq!(error(bytes), expected, "{bytes:x?}");
        }
        assert_eq!(
            FrameError::SIZE.to_string(),
            "connection error: FRAME_SIZE_ERROR"
        );
        assert_eq!(ErrorCode(0x63).to_string(), "unknown error code 0x63");
    }
}
