//! Messages, JSON but for [`crate::attempt`]'s, and descriptors over a Unix `SOCK_SEQPACKET` socket.
//!
//! One packet is one byte, [`LAST`] or [`MORE`], and a piece of a message; a message larger than a
//! socket buffer takes may travel is cut into several. Descriptors ride on the last packet. Both sides
//! are non-blocking and poll for themselves: tokio in the agent, poll(2) in the shim.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;

/// The most descriptors one message carries; below the kernel's 253.
pub(crate) const MAX_FDS: usize = 64;

/// The first byte of the last, or only, packet of a message.
pub(crate) const LAST: u8 = 0;
const MORE: u8 = 1;
const PIECE: usize = 32 * 1024;

/// Messages on their way out.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    packets: VecDeque<Packet>,
    bytes: usize,
}

#[derive(Debug)]
struct Packet {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Outbox {
    /// Adds a message and the descriptors that go with it.
    pub(crate) fn push(&mut self, message: &impl Serialize, fds: Vec<OwnedFd>) {
        let json =
            serde_json::to_vec(message).expect("messages have string keys and no fallible parts");
        self.push_bytes(&json, fds);
    }

    /// The same of one that is more than JSON; never empty.
    pub(crate) fn push_bytes(&mut self, message: &[u8], fds: Vec<OwnedFd>) {
        debug_assert!(fds.len() <= MAX_FDS, "too many descriptors for one message");
        let mut fds = Some(fds);
        let mut pieces = message.chunks(PIECE).peekable();
        while let Some(piece) = pieces.next() {
            let last = pieces.peek().is_none();
            let mut bytes = Vec::with_capacity(1 + piece.len());
            bytes.push(if last { LAST } else { MORE });
            bytes.extend_from_slice(piece);
            self.bytes += bytes.len();
            let fds = if last { fds.take() } else { None };
            self.packets.push_back(Packet {
                bytes,
                fds: fds.unwrap_or_default(),
            });
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// How much waits for a peer that does not read, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Sends until all is sent, or says `WOULDBLOCK`, or that the peer is gone.
    pub(crate) fn flush(&mut self, socket: BorrowedFd<'_>) -> Result<()> {
        while let Some(packet) = self.packets.front() {
            send(socket, &packet.bytes, &packet.fds)?;
            self.bytes -= packet.bytes.len();
            self.packets.pop_front();
        }
        Ok(())
    }
}

/// Sends one packet.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[OwnedFd]) -> Result<()> {
    let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Errno::TOOBIG);
    }
    loop {
        match sendmsg(
            socket,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        ) {
            Err(Errno::INTR) => {}
            sent => return sent.map(drop),
        }
    }
}

/// Messages on their way in.
#[derive(Debug)]
pub(crate) struct Inbox {
    partial: Vec<u8>,
    fds: Vec<OwnedFd>,
    buffer: Vec<u8>,
    limit: usize,
}

/// What [`Inbox::receive`] found.
#[derive(Debug)]
pub(crate) enum Received {
    /// A whole message, and its descriptors.
    Message(Vec<u8>, Vec<OwnedFd>),
    /// The peer has closed the connection.
    End,
}

impl Inbox {
    /// One that takes messages of up to `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            partial: Vec::new(),
            fds: Vec::new(),
            buffer: Vec::new(),
            limit,
        }
    }

    /// Takes the next message, or says `WOULDBLOCK`; any other error means that the connection is of no
    /// more use.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> Result<Received> {
        loop {
            self.buffer.resize(1 + PIECE, 0);
            let length = receive_packet(socket, &mut self.buffer, &mut self.fds)?;
            let Some((&kind, piece)) = self.buffer[..length].split_first() else {
                return Ok(Received::End);
            };
            if self.partial.len() + piece.len() > self.limit || self.fds.len() > MAX_FDS {
                return Err(Errno::MSGSIZE);
            }
            self.partial.extend_from_slice(piece);
            match kind {
                LAST => {
                    let message = std::mem::take(&mut self.partial);
                    return Ok(Received::Message(message, std::mem::take(&mut self.fds)));
                }
                MORE => {}
                _ => return Err(Errno::PROTO),
            }
        }
    }
}

/// Takes one packet into `buffer`, its descriptors into `fds`, and says how long it was.
pub(crate) fn receive_packet(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
            Err(Errno::INTR) => {}
            received => break received?,
        }
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if received
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(Errno::MSGSIZE);
    }
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
    }

    #[test]
    fn a_large_message_arrives_whole_with_its_descriptors() {
        let (left, right) = pair();
        let text = "x".repeat(3 * PIECE + 17);
        let mut outbox = Outbox::default();
        outbox.push(
            &text,
            vec![left.try_clone().unwrap(), right.try_clone().unwrap()],
        );
        let mut inbox = Inbox::new(1 << 20);
        let (json, fds) = loop {
            let sent = outbox.flush(left.as_fd());
            assert!(matches!(sent, Ok(()) | Err(Errno::AGAIN)), "{sent:?}");
            match inbox.receive(right.as_fd()) {
                Ok(Received::Message(json, fds)) => break (json, fds),
                Err(Errno::AGAIN) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
        assert_eq!(fds.len(), 2);
        assert!(outbox.is_empty());
        assert_eq!(outbox.bytes, 0);
    }

    #[test]
    fn a_message_over_the_limit_or_of_an_unknown_kind_is_an_error() {
        let (left, right) = pair();
        let mut outbox = Outbox::default();
        outbox.push(&"y".repeat(100), Vec::new());
        outbox.flush(left.as_fd()).unwrap();
        assert_eq!(
            Inbox::new(50).receive(right.as_fd()).unwrap_err(),
            Errno::MSGSIZE
        );
        send(left.as_fd(), b"?what", &[]).unwrap();
        assert_eq!(
            Inbox::new(50).receive(right.as_fd()).unwrap_err(),
            Errno::PROTO
        );
    }

    #[test]
    fn a_closed_peer_is_the_end() {
        let (left, right) = pair();
        drop(left);
        assert!(matches!(
            Inbox::new(50).receive(right.as_fd()),
            Ok(Received::End)
        ));
    }
}
