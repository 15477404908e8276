//! How a call ends when it does not end well: status codes, their texts, and where they come from.

use std::fmt;

use crate::grpc::frame::ErrorCode;

/// A status other than OK, printed as grpc-go prints it.
///
/// Upstream: grpc-go internal/status/status.go, Status.String.
/// Shown by: a_status_reads_as_in_go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) code: Code,
    pub(super) message: String,
}

impl Status {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rpc error: code = {} desc = {}", self.code, self.message)
    }
}

/// A status code as a number, as a server may send any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code(pub(super) u32);

impl Code {
    pub(super) const OK: Self = Self(0);
    pub(super) const CANCELED: Self = Self(1);
    pub(super) const UNKNOWN: Self = Self(2);
    pub(super) const DEADLINE_EXCEEDED: Self = Self(4);
    pub(super) const PERMISSION_DENIED: Self = Self(7);
    pub(super) const RESOURCE_EXHAUSTED: Self = Self(8);
    pub(super) const UNIMPLEMENTED: Self = Self(12);
    pub(super) const INTERNAL: Self = Self(13);
    pub(super) const UNAVAILABLE: Self = Self(14);
    pub(super) const UNAUTHENTICATED: Self = Self(16);

    /// What a response that is not gRPC's means.
    ///
    /// Upstream: grpc-go internal/transport/http_util.go, HTTPStatusConvTab.
    /// Shown by: what_is_not_grpc_has_a_code.
    pub(super) const fn of_http(status: u32) -> Self {
        match status {
            400 => Self::INTERNAL,
            401 => Self::UNAUTHENTICATED,
            403 => Self::PERMISSION_DENIED,
            404 => Self::UNIMPLEMENTED,
            429 | 502 | 503 | 504 => Self::UNAVAILABLE,
            _ => Self::UNKNOWN,
        }
    }

    /// What a stream that the server has reset means.
    ///
    /// Upstream: grpc-go internal/transport/http_util.go, http2ErrConvTab.
    /// Shown by: what_is_not_grpc_has_a_code.
    pub(super) const fn of_reset(code: ErrorCode) -> Self {
        match code.0 {
            3 | 11 => Self::RESOURCE_EXHAUSTED,
            7 => Self::UNAVAILABLE,
            8 => Self::CANCELED,
            12 => Self::PERMISSION_DENIED,
            0..=13 => Self::INTERNAL,
            _ => Self::UNKNOWN,
        }
    }
}

/// The name of a gRPC status code, or its number if it has none.
///
/// Upstream: grpc-go codes/code_string.go, Code.String.
/// Shown by: a_status_reads_as_in_go.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 17] = [
            "OK",
            "Canceled",
            "Unknown",
            "InvalidArgument",
            "DeadlineExceeded",
            "NotFound",
            "AlreadyExists",
            "PermissionDenied",
            "ResourceExhausted",
            "FailedPrecondition",
            "Aborted",
            "OutOfRange",
            "Unimplemented",
            "Internal",
            "Unavailable",
            "DataLoss",
            "Unauthenticated",
        ];
        match usize::try_from(self.0).ok().and_then(|at| NAMES.get(at)) {
            Some(name) => f.write_str(name),
            None => write!(f, "Code({})", self.0),
        }
    }
}

/// The text of a `grpc-message` field: `%` and two hex digits stand for a byte, another `%` for itself.
///
/// Upstream: grpc-go internal/transport/http_util.go, decodeGrpcMessage.
/// Shown by: messages_are_unescaped.
pub(super) fn message(encoded: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((first, after)) = rest.split_first() {
        let escaped = match after {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    crate::go::text(&bytes)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The words for an HTTP status, none for a number that has none.
///
/// Upstream: Go src/net/http/status.go, StatusText.
/// Shown by: responses_that_are_not_grpc.
pub(super) const fn http_text(status: u32) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Requested Range Not Satisfiable",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Entity",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        510 => "Not Extended",
        511 => "Network Authentication Required",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_as_in_go() {
        let status = Status::new(Code::INTERNAL, "broken");
        assert_eq!(
            status.to_string(),
            "rpc error: code = Internal desc = broken"
        );
        assert_eq!(Code(16).to_string(), "Unauthenticated");
        assert_eq!(Code(17).to_string(), "Code(17)");
        assert_eq!(Code(u32::MAX).to_string(), "Code(4294967295)");
    }

    #[test]
    fn messages_are_unescaped() {
        for (encoded, expected) in [
            (&b"plain"[..], "plain"),
            (b"50%25 of %C3%A9%2", "50% of \u{e9}%2"),
            (b"%zz%+1%41", "%zz%+1A"),
            (b"%", "%"),
            (b"%ff", "\u{fffd}"),
            (b"", ""),
        ] {
            assert_eq!(message(encoded), expected);
        }
    }

    #[test]
    fn what_is_not_grpc_has_a_code() {
        assert_eq!(Code::of_http(404), Code::UNIMPLEMENTED);
        assert_eq!(Code::of_http(503), Code::UNAVAILABLE);
        assert_eq!(Code::of_http(500), Code::UNKNOWN);
        assert_eq!(Code::of_reset(ErrorCode(8)), Code::CANCELED);
        assert_eq!(Code::of_reset(ErrorCode(2)), Code::INTERNAL);
        assert_eq!(Code::of_reset(ErrorCode(0x63)), Code::UNKNOWN);
    }
}
