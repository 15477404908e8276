//! A call's way over a socket.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::grpc::call::{Call, End, Stage};
use crate::grpc::status::{Code, Status};
use crate::socket::Socket;

/// How much room there has to be to read into.
const ROOM: usize = 1024;

/// One connection with its one call. Nothing runs beside it: it moves while its methods are awaited.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    call: Call,
    /// Received and not yet used: the beginning of a frame at most.
    received: Vec<u8>,
}

impl Connection {
    pub(super) const fn new(socket: Socket, call: Call) -> Self {
        Self {
            socket,
            call,
            received: Vec::new(),
        }
    }

    /// Sends the request and waits for the server's settings.
    ///
    /// Errors: why there will be none.
    pub(super) async fn begin(&mut self) -> Result<(), String> {
        loop {
            match self.call.stage() {
                Stage::Waiting => self.turn().await,
                Stage::Refused(reason) => return Err(reason.clone()),
                Stage::Begun | Stage::Ended(_) => return Ok(()),
            }
        }
    }

    /// Waits for the end of the call, and takes leave of the server.
    pub(super) async fn finish(mut self) -> End {
        let end = loop {
            match self.call.stage() {
                Stage::Waiting | Stage::Begun => self.turn().await,
                Stage::Ended(end) => break end.clone(),
                Stage::Refused(reason) => {
                    return End::Failed(Status::new(Code::UNAVAILABLE, reason));
                }
            }
        };
        self.take_leave().await;
        end
    }

    /// Says that the connection is over. Whether that is heard is of no matter, so nothing is waited for.
    ///
    /// Upstream: grpc-go internal/transport/http2_client.go, http2Client.Close.
    /// Shown by: pings_are_answered_and_windows_opened.
    async fn take_leave(&mut self) {
        self.call.say_goodbye();
        let last_words = self.call.out();
        let socket = &mut self.socket;
        poll_fn(|cx| Poll::Ready(Pin::new(&mut *socket).poll_write(cx, last_words).is_ready()))
            .await;
    }

    /// Sends what is to be sent, then waits for something to be received.
    async fn turn(&mut self) {
        // A connection that cannot be written to may still hold the answer, or will say when read.
        drop(self.socket.write_all(self.call.out()).await);
        self.call.out().clear();
        self.received.reserve(ROOM);
        match self.socket.read_buf(&mut self.received).await {
            Ok(0) if self.received.is_empty() => self.call.lost("EOF"),
            Ok(0) => self.call.lost("unexpected EOF"),
            Ok(_) => {
                let used = self.call.receive(&self.received);
                self.received.drain(..used);
            }
            Err(error) => self.call.lost(&self.socket.describe("read", &error)),
        }
    }
}
