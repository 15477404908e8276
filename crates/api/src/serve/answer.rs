//! Answers, once it is known what is in them.

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
    LOCATION, RETRY_AFTER, WARNING,
};
use http::{Response as HttpResponse, StatusCode};
use serde_json::{Value, json};

use crate::body::{Response, full};
use crate::failure::Failure;
use crate::negotiate::Media;

/// What has more bytes than this is long.
const LONG: usize = 128 * 1024;
const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// An answer of some bytes.
pub(super) fn bytes(code: StatusCode, content_type: &'static str, content: Vec<u8>) -> Response {
    let length = content.len();
    let mut response = HttpResponse::new(full(content));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// An answer of plain text.
pub(super) fn text(code: StatusCode, content: impl Into<String>) -> Response {
    bytes(
        code,
        "text/plain; charset=utf-8",
        content.into().into_bytes(),
    )
}

/// What Go's server says of a path that nobody answers.
pub(super) fn nowhere() -> Response {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// What is answered to whoever has the content already. It says nothing of the content's type: kubectl's cache would
/// take that for news.
pub(super) fn not_modified() -> Response {
    let mut response = HttpResponse::new(full(""));
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

/// What is answered to whoever asks at a place of old.
pub(super) fn moved(to: &str) -> Response {
    let mut response = HttpResponse::new(full(""));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

/// A `Status` that says why something was not done.
pub(super) fn failure(failure: &Failure, media: Media) -> Response {
    let code = StatusCode::from_u16(failure.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let status = failure.to_status();
    let content = media
        .write(&status)
        .unwrap_or_else(|_| status.to_string().into_bytes());
    let mut response = bytes(code, media.content_type(), content);
    if let Some(seconds) = failure.details["retryAfterSeconds"].as_u64() {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A `Status` that says that something was done.
pub(super) fn success(details: Value) -> Arc<Value> {
    Arc::new(json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }))
}

/// Adds warnings, a header each.
///
/// Upstream: apimachinery pkg/util/net/http.go, NewWarningHeader.
/// Shown by: an_object_is_made_read_changed_and_deleted.
pub(super) fn with_warnings(mut response: Response, warnings: &[String]) -> Response {
    for warning in warnings {
        let quoted = warning
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace(|letter: char| letter.is_control(), " ");
        // What no header can hold is better left out than not answered.
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(WARNING, value);
        }
    }
    response
}

/// The same content in fewer bytes, if it is long and the client can undo it.
///
/// Upstream: apiserver pkg/endpoints/handlers/responsewriters/writers.go, SerializeObject, deferredResponseWriter.
/// Shown by: long_answers_are_made_shorter.
pub(super) fn compressed(content: Vec<u8>, headers: &HeaderMap) -> (Vec<u8>, bool) {
    let accepted = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|encoding| {
            encoding
                .split(';')
                .next()
                .is_some_and(|name| name.trim() == "gzip")
        });
    if content.len() <= LONG || !accepted {
        return (content, false);
    }
    // The fastest, which takes most of it away already.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    match encoder.write_all(&content).and_then(|()| encoder.finish()) {
        Ok(compressed) => (compressed, true),
        // Writing to a Vec cannot fail.
        Err(_) => (content, false),
    }
}

/// Adds what every answer has.
pub(super) fn with_common_headers(mut response: Response, audit_id: &str) -> Response {
    let headers = response.headers_mut();
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-cache, private"));
    if let Ok(id) = HeaderValue::from_str(audit_id) {
        headers.insert(AUDIT_ID, id);
    }
    response
}
