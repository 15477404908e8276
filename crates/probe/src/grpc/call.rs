//! One call on one connection, without the connection: frames in, bytes to send and an end out.
//!
//! The request goes out with the connection's preface, as HTTP/2 allows, which spares a turn between the
//! two; the call counts as begun only once the server's settings are there, which is what grpc-go's dial
//! waits for. After that the frames are judged in the order in which they come, as grpc-go's reader does.

mod response;

use crate::go;
use crate::grpc::frame::{self, ErrorCode, Frame, FrameError};
use crate::grpc::hpack::{self, Block};
use crate::grpc::message::{Body, ServingStatus};
use crate::grpc::status::{Code, Status};

/// The one stream.
const STREAM: u32 = 1;

/// The window that HTTP/2 gives every stream and connection to begin with.
const WINDOW: i64 = 65_535;

/// How much may have come before the windows are opened again.
const WINDOW_STEP: u32 = 32_768;

/// How large a header list may be, and its encoded block.
///
/// Differs: grpc-go takes 16 MiB. A health response has a dozen short fields.
const HEADERS_LIMIT: usize = 64 * 1024;

/// How a call ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The server has answered.
    Answered(ServingStatus),
    /// It said that all was well and answered nothing.
    Nothing,
    /// The call has failed.
    Failed(Status),
    /// The server has not touched the call, so another connection may be tried.
    Unprocessed(Status),
}

/// How far a call has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// The server's settings have not come.
    Waiting,
    /// They will not come, and why.
    Refused(String),
    /// They have; there is a connection to speak of.
    Begun,
    Ended(End),
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Call {
    /// To be sent.
    out: Vec<u8>,
    stage: Stage,
    decoder: hpack::Decoder,
    /// A header block of which more is to come.
    block: Option<Partial>,
    headers: Option<response::Headers>,
    body: Body,
    /// What of the request has not been put into a frame, for lack of window.
    unsent: Vec<u8>,
    stream_window: i64,
    connection_window: i64,
    /// What of `stream_window` came from the server's settings.
    initial_window: i64,
    /// Received since the windows were opened last.
    received: u32,
    /// What the server's first GOAWAY said.
    goaway: Option<String>,
}

/// The beginning of a header block.
#[derive(Debug)]
struct Partial {
    stream: u32,
    bytes: Vec<u8>,
    is_last: bool,
}

impl Call {
    /// A call with its preface and request ready to be sent. `headers` is a header block, `message` what
    /// is to follow.
    pub(super) fn new(headers: &[u8], message: Vec<u8>) -> Self {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(frame::PREFACE);
        frame::put_settings(&mut out);
        frame::put_headers(&mut out, STREAM, headers);
        let mut call = Self {
            out,
            stage: Stage::Waiting,
            decoder: hpack::Decoder::new(),
            block: None,
            headers: None,
            body: Body::default(),
            unsent: message,
            stream_window: WINDOW,
            connection_window: WINDOW,
            initial_window: WINDOW,
            received: 0,
            goaway: None,
        };
        call.send();
        call
    }

    pub(super) const fn stage(&self) -> &Stage {
        &self.stage
    }

    /// What to send; whoever has sent it clears it.
    pub(super) const fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Takes what has been received. Answers how many bytes are used up; the rest is the beginning of a
    /// frame. Nothing is used once the call has ended.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while matches!(self.stage, Stage::Waiting | Stage::Begun) {
            match frame::parse(&bytes[used..]) {
                Ok(None) => break,
                Ok(Some((frame, length))) => {
                    used += length;
                    self.accept(frame);
                }
                Err(error) => self.lost(&error.to_string()),
            }
        }
        used
    }

    /// The connection is over: it was closed, or failed as `reason` says.
    ///
    /// Upstream: grpc-go internal/transport/http2_client.go, http2Client.reader and readServerPreface.
    /// Shown by: ends_that_are_not_grpc_statuses, a_connection_reset_during_the_call.
    pub(super) fn lost(&mut self, reason: &str) {
        match self.stage {
            Stage::Waiting => {
                self.stage = Stage::Refused(format!("error reading server preface: {reason}"));
            }
            Stage::Begun => self.stage = Stage::Ended(self.disconnected(reason)),
            Stage::Refused(_) | Stage::Ended(_) => {}
        }
    }

    /// Ends politely with a server that may still be there.
    pub(super) fn say_goodbye(&mut self) {
        frame::put_goaway(&mut self.out);
    }

    fn accept(&mut self, frame: Frame<'_>) {
        if matches!(self.stage, Stage::Waiting) {
            self.stage = match frame {
                Frame::Settings { .. } | Frame::SettingsAck => Stage::Begun,
                _ => {
                    let reason = "initial http2 frame from server is not a settings frame";
                    Stage::Refused(reason.to_owned())
                }
            };
        }
        if matches!(self.stage, Stage::Begun)
            && let Err(end) = self.take(frame)
        {
            self.stage = Stage::Ended(end);
        }
    }

    fn take(&mut self, frame: Frame<'_>) -> Result<(), End> {
        if self.block.is_some() != matches!(frame, Frame::Continuation { .. }) {
            return Err(self.unreadable(FrameError::PROTOCOL));
        }
        match frame {
            Frame::Data {
                stream,
                data,
                size,
                is_last,
            } => self.data(stream, data, size, is_last),
            Frame::Headers {
                stream,
                fragment,
                is_last,
                is_whole: true,
            } => self.headers(stream, fragment, is_last),
            Frame::Headers {
                stream,
                fragment,
                is_last,
                is_whole: false,
            } => {
                self.block = Some(Partial {
                    stream,
                    bytes: fragment.to_vec(),
                    is_last,
                });
                Ok(())
            }
            Frame::Continuation {
                stream,
                fragment,
                is_whole,
            } => self.continuation(stream, fragment, is_whole),
            Frame::Reset {
                stream: STREAM,
                code,
            } => Err(reset(code)),
            Frame::Settings { window } => {
                if let Some(window) = window.map(i64::from) {
                    self.stream_window += window - self.initial_window;
                    self.initial_window = window;
                }
                frame::put_settings_ack(&mut self.out);
                self.send();
                Ok(())
            }
            Frame::Ping(data) => {
                frame::put_pong(&mut self.out, data);
                Ok(())
            }
            Frame::GoAway { last, code, debug } => self.goaway(last, code, debug),
            Frame::WindowUpdate { stream, increment } => self.window_update(stream, increment),
            Frame::Reset { .. } | Frame::SettingsAck | Frame::Other => Ok(()),
        }
    }

    /// Data are a message's, and a stream that ends with them has lost its status.
    ///
    /// Upstream: grpc-go internal/transport/http2_client.go, http2Client.handleData.
    /// Shown by: ends_that_are_not_grpc_statuses, pings_are_answered_and_windows_opened.
    fn data(&mut self, stream: u32, data: &[u8], size: u32, is_last: bool) -> Result<(), End> {
        self.received += size;
        if self.received >= WINDOW_STEP {
            frame::put_window_update(&mut self.out, 0, self.received);
            frame::put_window_update(&mut self.out, STREAM, self.received);
            self.received = 0;
        }
        if stream != STREAM {
            return Ok(());
        }
        let encoding = self
            .headers
            .as_ref()
            .map_or("", |headers| &headers.encoding);
        self.body.push(data, encoding).map_err(End::Failed)?;
        if is_last {
            let message = "server closed the stream without sending trailers";
            return Err(self.ended(Some(Status::new(Code::INTERNAL, message))));
        }
        Ok(())
    }

    fn continuation(&mut self, stream: u32, fragment: &[u8], is_whole: bool) -> Result<(), End> {
        let Some(mut block) = self.block.take() else {
            return Err(self.unreadable(FrameError::PROTOCOL));
        };
        if block.stream != stream || block.bytes.len() + fragment.len() > HEADERS_LIMIT {
            return Err(self.unreadable(FrameError::PROTOCOL));
        }
        block.bytes.extend_from_slice(fragment);
        if is_whole {
            return self.headers(stream, &block.bytes, block.is_last);
        }
        self.block = Some(block);
        Ok(())
    }

    /// A header block is the response's headers or, if the stream ends with it, its status.
    ///
    /// Upstream: grpc-go internal/transport/http2_client.go, http2Client.operateHeaders.
    /// Shown by: ends_that_are_not_grpc_statuses, a_header_list_without_end.
    fn headers(&mut self, stream: u32, block: &[u8], is_last: bool) -> Result<(), End> {
        let Ok(Block { fields, is_cut }) = self.decoder.decode(block, HEADERS_LIMIT) else {
            return Err(self.unreadable(FrameError::COMPRESSION));
        };
        if stream != STREAM {
            // It does not concern us, but unless it is whole the next cannot be read.
            return if is_cut {
                Err(self.unreadable(FrameError::COMPRESSION))
            } else {
                Ok(())
            };
        }
        response::check(&fields).map_err(End::Failed)?;
        let internal = |message: &str| End::Failed(Status::new(Code::INTERNAL, message));
        if self.headers.is_some() && !is_last {
            let message = "a HEADERS frame cannot appear in the middle of a stream";
            return Err(internal(message));
        }
        if is_cut {
            return Err(internal("peer header list size exceeded limit"));
        }
        let is_first = self.headers.is_none();
        let headers = response::Headers::read(&fields, is_first).map_err(End::Failed)?;
        if is_last {
            return Err(self.ended(headers.status()));
        }
        self.headers = Some(headers);
        Ok(())
    }

    /// How a stream that the server has ended with `status` ends the call. A message that was cut short
    /// comes before the status, and a status that is OK does not make up for a message that is missing.
    ///
    /// Upstream: grpc-go stream.go, csAttempt.recvMsg.
    /// Shown by: ends_that_are_not_grpc_statuses.
    fn ended(&self, status: Option<Status>) -> End {
        match (self.body.end(), status) {
            (Err(status), _) | (Ok(_), Some(status)) => End::Failed(status),
            (Ok(Some(response)), None) => End::Answered(response),
            (Ok(None), None) => End::Nothing,
        }
    }

    /// A server that is going may leave our stream out, or may yet answer it.
    ///
    /// Upstream: grpc-go internal/transport/http2_client.go, http2Client.handleGoAway.
    /// Shown by: a_call_that_was_not_taken_up_is_made_once_more, ends_that_are_not_grpc_statuses.
    fn goaway(&mut self, last: u32, code: ErrorCode, debug: &[u8]) -> Result<(), End> {
        // Even numbers are the server's own streams; upstream passes over such a frame.
        if last != 0 && last.is_multiple_of(2) {
            return Ok(());
        }
        self.goaway.get_or_insert_with(|| match debug {
            [] => format!("code: {code}"),
            _ => format!("code: {code}, debug data: {}", go::quote(debug)),
        });
        if last < STREAM {
            let message = "the connection is draining";
            return Err(End::Unprocessed(Status::new(Code::UNAVAILABLE, message)));
        }
        Ok(())
    }

    fn window_update(&mut self, stream: u32, increment: u32) -> Result<(), End> {
        match (stream, increment) {
            (0, _) => self.connection_window += i64::from(increment),
            (STREAM, 0) => {
                let message = "received invalid frame";
                return Err(End::Failed(Status::new(Code::INTERNAL, message)));
            }
            (STREAM, _) => self.stream_window += i64::from(increment),
            _ => return Ok(()),
        }
        self.send();
        Ok(())
    }

    /// Puts as much of the request into frames as the windows allow.
    fn send(&mut self) {
        while !self.unsent.is_empty() {
            let window = self.stream_window.min(self.connection_window).max(0);
            let room = usize::try_from(window).unwrap_or(usize::MAX);
            let size = self.unsent.len().min(room).min(frame::PAYLOAD_LIMIT);
            if size == 0 {
                return;
            }
            let rest = self.unsent.split_off(size);
            frame::put_data(&mut self.out, STREAM, &self.unsent, rest.is_empty());
            self.unsent = rest;
            let size = i64::try_from(size).expect("a payload fits 24 bits");
            self.stream_window -= size;
            self.connection_window -= size;
        }
    }

    fn unreadable(&self, error: FrameError) -> End {
        self.disconnected(&error.to_string())
    }

    /// The end of a call whose connection is lost, with what a GOAWAY before it had said.
    ///
    /// Upstream: grpc-go internal/transport/http2_client.go, http2Client.Close.
    /// Shown by: ends_that_are_not_grpc_statuses.
    fn disconnected(&self, reason: &str) -> End {
        let reason = format!("error reading from server: {reason}");
        let message = match &self.goaway {
            None => reason,
            Some(goaway) => format!(
                "closing transport due to: connection error: desc = {}, received prior goaway: {goaway}",
                go::quote(reason.as_bytes())
            ),
        };
        End::Failed(Status::new(Code::UNAVAILABLE, message))
    }
}

/// The end of a call whose stream the server has reset.
///
/// Upstream: grpc-go internal/transport/http2_client.go, http2Client.handleRSTStream.
/// Shown by: ends_that_are_not_grpc_statuses, a_call_that_was_not_taken_up_is_made_once_more.
fn reset(code: ErrorCode) -> End {
    let message = format!("stream terminated by RST_STREAM with error code: {code}");
    let status = Status::new(Code::of_reset(code), message);
    if code == ErrorCode::REFUSED_STREAM {
        End::Unprocessed(status)
    } else {
        End::Failed(status)
    }
}

#[cfg(test)]
mod tests;
