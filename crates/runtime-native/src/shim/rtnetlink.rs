//! The few messages of rtnetlink(7) that a pod's namespaces are set up with, written by hand: a library for them would
//! be larger than the shim.

use std::os::fd::OwnedFd;

use rustix::io::{Errno, Result};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// The first interface of every namespace.
pub(super) const LOOPBACK: u32 = 1;

/// Its parts of linux/netlink.h.
pub(super) const CREATE_EXCL: u16 = 0x600;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
/// Of a message, in bytes.
const HEADER: usize = 16;

/// A socket of the network namespace that it was made in.
pub(super) struct Netlink(OwnedFd);

impl Netlink {
    pub(super) fn open() -> Result<Self> {
        // Protocol 0 of the family, the default, is the one for routes and addresses.
        let flags = SocketFlags::CLOEXEC;
        socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None).map(Self)
    }

    /// Sends a message and waits until it is carried out.
    pub(super) fn ask(&self, message: &[u8]) -> Result<()> {
        send(&self.0, message, SendFlags::empty())?;
        let mut answer = [0; 1024];
        let (length, _) = recv(&self.0, answer.as_mut_slice(), RecvFlags::empty())?;
        acknowledged(&answer[..length.min(answer.len())])
    }
}

/// A message of that kind, whose answer says only whether it was carried out.
pub(super) fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).expect("a message is short");
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((REQUEST | ACK | flags).to_ne_bytes());
    message.extend([0; 8]); // sequence and sender, of no use to a single question
    message.extend(body);
    message
}

/// An attribute, filled up to whole words.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("an attribute is short");
    let mut attribute = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// An `ifinfomsg`: family, padding and type are 0; the flags are also those that are to change.
pub(super) fn interface(index: u32, flags: u32) -> Vec<u8> {
    [0, index, flags, flags].map(u32::to_ne_bytes).concat()
}

/// Brings an interface up, and sets more flags.
pub(super) fn up(index: u32, more: i32) -> Vec<u8> {
    let flags = (libc::IFF_UP | more).cast_unsigned();
    message(libc::RTM_NEWLINK, 0, &interface(index, flags))
}

/// One of both families, as messages have it.
pub(super) fn family(family: i32) -> u8 {
    u8::try_from(family).expect("both families are small numbers")
}

/// The answer is an `nlmsgerr`: after its header comes 0 or a negated errno.
fn acknowledged(answer: &[u8]) -> Result<()> {
    let error = answer
        .get(HEADER..HEADER + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map(i32::from_ne_bytes);
    match error {
        Some(0) => Ok(()),
        Some(error) => Err(Errno::from_raw_os_error(-error)),
        None => Err(Errno::PROTO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_kernels_shape() {
        let message = up(LOOPBACK, 0);
        assert_eq!(message.len(), 16 + 16);
        assert_eq!(message[..4], 32_u32.to_ne_bytes());
        assert_eq!(message[4..6], 16_u16.to_ne_bytes());
        assert_eq!(message[6..8], 5_u16.to_ne_bytes());
        assert_eq!(message[20..24], 1_u32.to_ne_bytes());
        assert_eq!(attribute(1, b"veth\0").len(), 12, "padded to four");
        assert_eq!(attribute(1, b"veth\0")[..2], 9_u16.to_ne_bytes());
    }

    #[test]
    fn an_error_answer_is_an_error() {
        let mut answer = [0; 36];
        acknowledged(&answer).unwrap();
        answer[16..20].copy_from_slice(&(-17_i32).to_ne_bytes());
        assert_eq!(acknowledged(&answer), Err(Errno::EXIST));
        assert_eq!(acknowledged(&[]), Err(Errno::PROTO));
    }
}
