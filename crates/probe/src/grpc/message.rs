//! The messages of `grpc.health.v1.Health/Check`, and how gRPC frames them.
//!
//! Either message has one field, so the protobuf of it is written here by hand.

use std::fmt;

use crate::go;
use crate::grpc::status::{Code, Status};

/// What comes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The largest response taken, in bytes.
///
/// Upstream: grpc-go clientconn.go, defaultClientMaxReceiveMessageSize.
/// Shown by: bodies_that_end_a_call.
const MESSAGE_LIMIT: usize = 4 * 1024 * 1024;

const VARINT: u64 = 0;
const I64: u64 = 1;
const LEN: u64 = 2;
const I32: u64 = 5;

/// `ServingStatus` of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServingStatus(i32);

impl ServingStatus {
    pub(super) const SERVING: Self = Self(1);
}

/// The name in the protocol, or the number of a value that has none.
impl fmt::Display for ServingStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("UNKNOWN"),
            1 => f.write_str("SERVING"),
            2 => f.write_str("NOT_SERVING"),
            3 => f.write_str("SERVICE_UNKNOWN"),
            other => write!(f, "{other}"),
        }
    }
}

/// The request for the health of `service`, framed.
pub(super) fn request(service: &str) -> Vec<u8> {
    let mut message = vec![0; PREFIX];
    if !service.is_empty() {
        message.push(1 << 3 | LEN.to_le_bytes()[0]);
        put_varint(&mut message, service.len());
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len() - PREFIX).expect("a manifest is smaller than 4 GiB");
    message[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    message
}

fn put_varint(message: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        message.push(0x80 | (value & 0x7f).to_le_bytes()[0]);
        value >>= 7;
    }
    message.push(value.to_le_bytes()[0]);
}

/// What of a response's body has come.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// Not yet a whole message.
    bytes: Vec<u8>,
    response: Option<ServingStatus>,
}

impl Body {
    /// Takes more of a response's message; `encoding` is its `grpc-encoding`, empty if it has none.
    ///
    /// Errors: how the call ends at once.
    ///
    /// Upstream: grpc-go rpc_util.go, parser.recvMsg and checkRecvPayload; stream.go, csAttempt.recvMsg.
    /// Shown by: a_body_in_pieces, bodies_that_end_a_call.
    /// Differs: the kubelet can undo gzip. Here none is offered, so no server should use it.
    pub(super) fn push(&mut self, data: &[u8], encoding: &str) -> Result<(), Status> {
        self.bytes.extend_from_slice(data);
        while let Some((prefix, rest)) = self.bytes.split_first_chunk::<PREFIX>() {
            let [format, l0, l1, l2, l3] = *prefix;
            let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
            if length > MESSAGE_LIMIT {
                return Err(Status::new(
                    Code::RESOURCE_EXHAUSTED,
                    format!(
                        "grpc: received message larger than max ({length} vs. {MESSAGE_LIMIT})"
                    ),
                ));
            }
            let Some(message) = rest.get(..length) else {
                break;
            };
            let status = match format {
                0 => serving_status(message).ok_or_else(|| {
                    internal("grpc: failed to unmarshal the received message: proto: cannot parse invalid wire-format data")
                }),
                1 if matches!(encoding, "" | "identity") => Err(internal(
                    "grpc: compressed flag set with identity or empty encoding",
                )),
                1 => Err(internal(&format!(
                    "grpc: Decompressor is not installed for grpc-encoding {}",
                    go::quote(encoding.as_bytes())
                ))),
                other => Err(internal(&format!(
                    "grpc: received unexpected payload format {other}"
                ))),
            }?;
            if self.response.replace(status).is_some() {
                return Err(Status::new(
                    Code::UNKNOWN,
                    "grpc: client streaming protocol violation: get <nil>, want <EOF>",
                ));
            }
            self.bytes.drain(..PREFIX + length);
        }
        Ok(())
    }

    /// The response, if there was one, now that no more will come.
    ///
    /// Errors: it was cut short. A cut prefix is none yet, as upstream.
    pub(super) fn end(&self) -> Result<Option<ServingStatus>, Status> {
        if self.bytes.len() >= PREFIX {
            return Err(internal("unexpected EOF"));
        }
        Ok(self.response)
    }
}

fn internal(message: &str) -> Status {
    Status::new(Code::INTERNAL, message)
}

/// Field 1 of a message, the last of it if there are several; fields that nobody knows are skipped.
fn serving_status(mut message: &[u8]) -> Option<ServingStatus> {
    let mut status = ServingStatus(0);
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let (field, wire_type) = (tag >> 3, tag & 7);
        if !(1..1 << 29).contains(&field) {
            return None;
        }
        match wire_type {
            VARINT => {
                let value = varint(&mut message)?;
                if field == 1 {
                    // An enum is 32 bits wide, whatever was sent.
                    let [b0, b1, b2, b3, ..] = value.to_le_bytes();
                    status = ServingStatus(i32::from_le_bytes([b0, b1, b2, b3]));
                }
            }
            I64 => message = message.get(8..)?,
            LEN => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            I32 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if *byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        assert_eq!(request(""), b"\0\0\0\0\0");
        assert_eq!(request("web"), b"\0\0\0\0\x05\x0a\x03web");
        let long = request(&"s".repeat(300));
        assert_eq!(long[..8], *b"\0\0\0\x01\x2f\x0a\xac\x02");
        assert_eq!(long.len(), 5 + 303);
    }

    #[test]
    fn responses() {
        let mut status = Vec::new();
        for message in [
            &b""[..],
            b"\x08\x01",
            b"\x08\x02",
            b"\x08\x03",
            b"\x08\x07",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            // Unknown fields of all kinds, then twice the one that counts.
            b"\x10\x96\x01\x1a\x02ab\x25\0\0\0\0\x29\0\0\0\0\0\0\0\0\x08\x02\x08\x01",
        ] {
            status.push(serving_status(message).unwrap().to_string());
        }
        let expected = [
            "UNKNOWN",
            "SERVING",
            "NOT_SERVING",
            "SERVICE_UNKNOWN",
            "7",
            "-1",
            "SERVING",
        ];
        assert_eq!(status, expected);
        for broken in [
            &b"\x08"[..],
            b"\x0a\x05a",
            b"\0\0",
            b"\x0b",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
        ] {
            assert_eq!(serving_status(broken), None, "{broken:x?}");
        }
    }

    fn pushed(pieces: &[&[u8]]) -> Result<Option<ServingStatus>, String> {
        let mut body = Body::default();
        let mut push = || {
            for piece in pieces {
                body.push(piece, "gzip")?;
            }
            body.end()
        };
        push().map_err(|status| status.to_string())
    }

    #[test]
    fn a_body_in_pieces() {
        let serving = Ok(Some(ServingStatus::SERVING));
        assert_eq!(pushed(&[b"\0\0\0\0\x02\x08\x01"]), serving);
        assert_eq!(pushed(&[b"\0\0", b"\0\0\x02\x08", b"\x01"]), serving);
        assert_eq!(pushed(&[b"\0\0\0\0\x02\x08\x01", b"\0\0"]), serving);
        assert_eq!(pushed(&[]), Ok(None));
        assert_eq!(pushed(&[b"\0\0\0\0"]), Ok(None));
    }

    #[test]
    fn bodies_that_end_a_call() {
        let internal = |text: &str| Err(format!("rpc error: code = Internal desc = {text}"));
        assert_eq!(pushed(&[b"\0\0\0\0\x02\x08"]), internal("unexpected EOF"));
        assert_eq!(
            pushed(&[b"\x01\0\0\0\0"]),
            internal("grpc: Decompressor is not installed for grpc-encoding \"gzip\"")
        );
        assert_eq!(
            pushed(&[b"\x02\0\0\0\0"]),
            internal("grpc: received unexpected payload format 2")
        );
        assert_eq!(
            pushed(&[b"\0\0\0\0\x02\x08\x01", b"\0\0\0\0\0"]),
            Err("rpc error: code = Unknown desc = grpc: client streaming protocol violation: get <nil>, want <EOF>".to_owned())
        );
        assert_eq!(
            pushed(&[b"\0\0\x40\0\x01"]),
            Err("rpc error: code = ResourceExhausted desc = grpc: received message larger than max (4194305 vs. 4194304)".to_owned())
        );
    }
}
