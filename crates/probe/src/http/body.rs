//! The body of a response, as much of it as is kept.

use crate::http::head::Framing;
use crate::http::stream::Received;
use crate::{OUTPUT_LIMIT, go};

/// Reads the first [`OUTPUT_LIMIT`] bytes of a body, or all of a shorter one, and no further: what a
/// server does after them is no matter of the probe's.
///
/// Errors: the body ends early or is not framed as it says; Go's text.
///
/// Upstream: pkg/probe/http/http.go, DoHTTPProbe (ReadAtMost).
/// Differs: the trailer behind the last chunk is not waited for.
/// Shown by: c9_a_long_body_is_cut, a_body_without_length_ends_with_the_connection.
pub(super) async fn read(received: &mut Received, framing: Framing) -> Result<Vec<u8>, String> {
    match framing {
        Framing::Length(length) => {
            let wanted = usize::try_from(length)
                .unwrap_or(usize::MAX)
                .min(OUTPUT_LIMIT);
            let body = read_plain(received, wanted).await?;
            if body.len() < wanted {
                Err("unexpected EOF".to_owned())
            } else {
                Ok(body)
            }
        }
        Framing::UntilClose => read_plain(received, OUTPUT_LIMIT).await,
        Framing::Chunked => read_chunks(received).await,
    }
}

async fn read_plain(received: &mut Received, wanted: usize) -> Result<Vec<u8>, String> {
    while received.unused().len() < wanted && received.more().await? {}
    let unused = received.unused();
    Ok(unused[..unused.len().min(wanted)].to_vec())
}

/// Reads a body that comes in chunks, up to what is kept of it.
///
/// Upstream: Go src/net/http/internal/chunked.go, chunkedReader.
/// Shown by: chunks_are_put_together, a_body_that_is_not_as_it_says_is_an_error.
async fn read_chunks(received: &mut Received) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        let mut left = chunk_length(received).await?;
        if left == 0 {
            return Ok(body);
        }
        while left > 0 {
            let unused = received.unused();
            let count = unused
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX))
                .min(OUTPUT_LIMIT - body.len());
            body.extend_from_slice(&unused[..count]);
            received.take(count);
            left -= count as u64;
            if body.len() == OUTPUT_LIMIT {
                return Ok(body);
            }
            if left > 0 && !received.more().await? {
                return Err("unexpected EOF".to_owned());
            }
        }
        if !line(received).await?.is_empty() {
            return Err("malformed chunked encoding".to_owned());
        }
    }
}

async fn chunk_length(received: &mut Received) -> Result<u64, String> {
    let line = line(received).await?;
    let digits = line
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii_end();
    match digits {
        [] => Err("empty hex number for chunk length".to_owned()),
        _ if digits.len() > 16 => Err("http chunk length too large".to_owned()),
        _ => str::from_utf8(digits)
            .ok()
            .filter(|text| !text.starts_with('+'))
            .and_then(|text| u64::from_str_radix(text, 16).ok())
            .ok_or_else(|| "invalid byte in chunk length".to_owned()),
    }
}

/// The next line, without its end, which must be a CR and a LF.
async fn line(received: &mut Received) -> Result<Vec<u8>, String> {
    const LONGEST: usize = 4096;
    loop {
        let unused = received.unused();
        if let Some(end) = unused.iter().position(|byte| *byte == b'\n') {
            let Some(line) = unused[..end].strip_suffix(b"\r") else {
                return Err(format!(
                    "chunked line ends with bare LF: {}",
                    go::quote(&unused[..end])
                ));
            };
            let line = line.to_vec();
            received.take(end + 1);
            return Ok(line);
        }
        if unused.len() >= LONGEST {
            return Err("header line too long".to_owned());
        }
        if !received.more().await? {
            return Err("unexpected EOF".to_owned());
        }
    }
}
