//! The header blocks of a response: headers, trailers, or both in one.

use crate::go;
use crate::grpc::hpack::Field;
use crate::grpc::status::{self, Code, Status};

/// What matters of a header block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Headers {
    /// `grpc-encoding`, empty if there is none.
    pub(super) encoding: String,
    /// `grpc-status`.
    code: Code,
    /// `grpc-message`, unescaped.
    message: String,
}

impl Headers {
    /// Reads a block of header fields, the response's first or its trailers.
    ///
    /// Errors: how it ends the call, as no response of gRPC.
    ///
    /// Upstream: grpc-go internal/transport/http2_client.go, http2Client.operateHeaders.
    /// Shown by: headers_of_grpc, responses_that_are_not_grpc, a_status_that_is_no_number.
    /// Differs: metadata is passed over, so that a malformed binary value does no harm and details of
    /// a status are not compared with the status.
    pub(super) fn read(fields: &[Field], is_first: bool) -> Result<Self, Status> {
        let mut headers = Self {
            encoding: String::new(),
            // What a server means that ends a stream without a word.
            code: Code::UNKNOWN,
            message: String::new(),
        };
        let mut is_grpc = !is_first;
        let mut content_type_error = Some("malformed header: missing HTTP content-type".to_owned());
        let mut http_code = None;
        let mut http_error = is_first.then(|| "malformed header: missing HTTP status".to_owned());
        for Field { name, value } in fields {
            match &**name {
                b"content-type" if is_grpc_type(value) => {
                    is_grpc = true;
                    content_type_error = None;
                }
                b"content-type" => {
                    content_type_error = Some(format!(
                        "transport: received unexpected content-type {}",
                        go::quote(value)
                    ));
                }
                b"grpc-encoding" => headers.encoding = go::text(value),
                b"grpc-status" => headers.code = code(value)?,
                b"grpc-message" => headers.message = status::message(value),
                b":status" => {
                    let number = integer("http-status", value)?;
                    http_code = Some(number);
                    http_error = (number != 200).then(|| {
                        format!(
                            "unexpected HTTP status code received from server: {number} ({})",
                            u32::try_from(number).map_or("", status::http_text)
                        )
                    });
                }
                _ => {}
            }
        }
        if is_grpc && http_error.is_none() {
            return Ok(headers);
        }
        let code = match http_code {
            Some(number) => u32::try_from(number).map_or(Code::UNKNOWN, Code::of_http),
            None => Code::INTERNAL,
        };
        let errors = [http_error, content_type_error];
        let errors: Vec<String> = errors.into_iter().flatten().collect();
        Err(Status::new(code, errors.join("; ")))
    }

    /// How a stream ends whose last block this is; `None` if all is well.
    pub(super) fn status(self) -> Option<Status> {
        (self.code != Code::OK).then(|| Status::new(self.code, self.message))
    }
}

/// Whether a content type is gRPC's, with or without a subtype.
///
/// Upstream: grpc-go internal/grpcutil/method.go, ContentSubtype.
/// Shown by: headers_of_grpc, responses_that_are_not_grpc.
fn is_grpc_type(value: &[u8]) -> bool {
    match value.strip_prefix(b"application/grpc") {
        Some(rest) => matches!(rest.first(), None | Some(b'+' | b';')),
        None => false,
    }
}

fn code(value: &[u8]) -> Result<Code, Status> {
    let number = integer("grpc-status", value)?;
    Ok(Code(u32::from_le_bytes(number.to_le_bytes())))
}

/// The number in field `name`.
///
/// Errors: how a text that is none ends the call.
///
/// Upstream: Go src/strconv/atoi.go, ParseInt and NumError.Error.
/// Shown by: a_status_that_is_no_number.
fn integer(name: &str, value: &[u8]) -> Result<i32, Status> {
    let parsed = std::str::from_utf8(value).ok().map(str::parse::<i32>);
    let reason = match parsed {
        Some(Ok(number)) => return Ok(number),
        Some(Err(error))
            if matches!(
                error.kind(),
                std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow
            ) =>
        {
            "value out of range"
        }
        _ => "invalid syntax",
    };
    Err(Status::new(
        Code::INTERNAL,
        format!(
            "transport: malformed {name}: strconv.ParseInt: parsing {}: {reason}",
            go::quote(value)
        ),
    ))
}

/// Whether the fields are such as HTTP/2 has, in its order.
///
/// Errors: how they end the call.
///
/// Upstream: golang.org/x/net/http2/frame.go, Framer.readMetaFrame and MetaHeadersFrame.checkPseudos.
/// Shown by: fields_that_http_2_does_not_have.
pub(super) fn check(fields: &[Field]) -> Result<(), Status> {
    let mut is_regular = false;
    let mut has_status = false;
    for Field { name, value } in fields {
        let reason = if !value.iter().all(|byte| is_value(*byte)) {
            format!("invalid header field value for {}", go::quote(name))
        } else if let Some(pseudo) = name.strip_prefix(b":") {
            match pseudo {
                _ if is_regular => "pseudo header field after regular".to_owned(),
                b"status" if has_status => "duplicate pseudo-header \":status\"".to_owned(),
                b"status" => {
                    has_status = true;
                    continue;
                }
                _ => format!("invalid pseudo-header {}", go::quote(name)),
            }
        } else if name.is_empty() || !name.iter().all(|byte| is_name(*byte)) {
            format!("invalid header field name {}", go::quote(name))
        } else {
            is_regular = true;
            continue;
        };
        return Err(Status::new(Code::INTERNAL, reason));
    }
    Ok(())
}

const fn is_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

const fn is_name(byte: u8) -> bool {
    matches!(byte,
        b'a'..=b'z' | b'0'..=b'9' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-'
        | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn fields(fields: &[(&'static str, &'static str)]) -> Vec<Field> {
        let bytes = |text: &'static str| Cow::Borrowed(text.as_bytes());
        let fields = fields.iter();
        fields
            .map(|(name, value)| Field {
                name: bytes(name),
                value: bytes(value),
            })
            .collect()
    }

    const TYPE: (&str, &str) = ("content-type", "application/grpc");

    fn error(list: &[(&'static str, &'static str)], is_first: bool) -> String {
        Headers::read(&fields(list), is_first)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn headers_of_grpc() {
        for content_type in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;x",
        ] {
            let list = fields(&[(":status", "200"), ("content-type", content_type)]);
            let headers = Headers::read(&list, true).unwrap();
            assert_eq!(headers.status().unwrap().code, Code::UNKNOWN);
        }
        let trailers = fields(&[("grpc-status", "0"), ("grpc-message", "never%20mind")]);
        assert_eq!(Headers::read(&trailers, false).unwrap().status(), None);
        let trailers = fields(&[("grpc-status", "5"), ("grpc-message", "who%3F")]);
        let status = Headers::read(&trailers, false).unwrap().status();
        assert_eq!(
            status.unwrap().to_string(),
            "rpc error: code = NotFound desc = who?"
        );
        let negative = fields(&[("grpc-status", "-1")]);
        let status = Headers::read(&negative, false).unwrap().status();
        assert_eq!(status.unwrap().code, Code(u32::MAX));
    }

    #[test]
    fn responses_that_are_not_grpc() {
        for (list, expected) in [
            (
                &[(":status", "404"), ("content-type", "text/plain")][..],
                "Unimplemented desc = unexpected HTTP status code received from server: 404 (Not Found); \
                 transport: received unexpected content-type \"text/plain\"",
            ),
            (
                &[(":status", "200"), ("content-type", "application/grpc-web")],
                "Unknown desc = transport: received unexpected content-type \"application/grpc-web\"",
            ),
            (
                &[(":status", "503"), TYPE],
                "Unavailable desc = unexpected HTTP status code received from server: 503 (Service Unavailable)",
            ),
            (
                &[(":status", "299")],
                "Unknown desc = unexpected HTTP status code received from server: 299 (); \
                 malformed header: missing HTTP content-type",
            ),
            (
                &[TYPE],
                "Internal desc = malformed header: missing HTTP status",
            ),
            (
                &[],
                "Internal desc = malformed header: missing HTTP status; \
                 malformed header: missing HTTP content-type",
            ),
            (
                &[(":status", "ok")],
                "Internal desc = transport: malformed http-status: strconv.ParseInt: parsing \"ok\": invalid syntax",
            ),
        ] {
            assert_eq!(error(list, true), format!("rpc error: code = {expected}"));
        }
    }

    #[test]
    fn a_status_that_is_no_number() {
        for (value, reason) in [
            ("x", "invalid syntax"),
            ("", "invalid syntax"),
            ("99999999999", "value out of range"),
        ] {
            let expected = format!(
                "rpc error: code = Internal desc = transport: malformed grpc-status: \
                 strconv.ParseInt: parsing {value:?}: {reason}"
            );
            assert_eq!(error(&[("grpc-status", value)], false), expected);
        }
    }

    #[test]
    fn fields_that_http_2_does_not_have() {
        for (list, expected) in [
            (
                &[("Grpc-Status", "0")][..],
                "invalid header field name \"Grpc-Status\"",
            ),
            (&[("", "0")], "invalid header field name \"\""),
            (&[("a", "b\n")], "invalid header field value for \"a\""),
            (
                &[TYPE, (":status", "200")],
                "pseudo header field after regular",
            ),
            (&[(":path", "/")], "invalid pseudo-header \":path\""),
            (
                &[(":status", "200"), (":status", "200")],
                "duplicate pseudo-header \":status\"",
            ),
        ] {
            assert_eq!(check(&fields(list)).unwrap_err().message, expected);
        }
        assert_eq!(check(&fields(&[(":status", "200"), TYPE])), Ok(()));
    }
}
