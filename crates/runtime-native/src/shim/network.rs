//! The pod's network namespace: its loopback interface up, with the pod's address on it.
//!
//! Two messages of rtnetlink(7), written by hand: a library for them would be larger than the shim.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use probelet_runtime::Transport;
use rustix::io::{Errno, Result};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, listen, recv, send, socket_with,
    sockopt::set_socket_reuseaddr,
};

/// The first interface of every namespace.
const LOOPBACK: u32 = 1;
/// What both bodies, `ifinfomsg` and `ifaddrmsg`, start after.
const HEADER: usize = 16;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_CREATE_EXCL: u16 = 0x600;

/// Brings the loopback interface up and gives it `address`, as a network of one.
pub(super) fn set_up_loopback(address: IpAddr) -> Result<()> {
    ask(&[link_up(), address_add(address)])
}

fn ask(messages: &[Vec<u8>]) -> Result<()> {
    let flags = SocketFlags::CLOEXEC;
    // Protocol 0 of the family, the default, is the one for routes and addresses.
    let netlink = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    for message in messages {
        send(&netlink, message, SendFlags::empty())?;
        let mut answer = [0; 256];
        let (length, _) = recv(&netlink, answer.as_mut_slice(), RecvFlags::empty())?;
        acknowledged(&answer[..length])?;
    }
    Ok(())
}

/// Has a network of other pods refused at once, where nothing leads to it: else it would be looked for outside.
/// As its two halves, which are narrower than the interface's own route to all of it.
pub(super) fn refuse((network, bits): (Ipv4Addr, u8)) -> Result<()> {
    let upper = Ipv4Addr::from(u32::from(network) | 1 << (31 - bits));
    ask(&[network, upper].map(|half| unreachable(half, bits + 1)))
}

/// A socket of this process's, and that is the pod's, network namespace, bound there.
pub(super) fn bind(address: SocketAddr, transport: Transport) -> Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let kind = match transport {
        Transport::Tcp => SocketType::STREAM,
        Transport::Udp => SocketType::DGRAM,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, kind, flags, None)?;
    if transport == Transport::Tcp {
        // Connections of an agent that has ended may linger.
        set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    if transport == Transport::Tcp {
        listen(&socket, 1024)?;
    }
    Ok(socket)
}

fn link_up() -> Vec<u8> {
    let up = libc::IFF_UP.cast_unsigned();
    let mut body = vec![0; 4]; // ifi_family, padding, ifi_type
    body.extend(LOOPBACK.to_ne_bytes()); // ifi_index
    body.extend(up.to_ne_bytes()); // ifi_flags
    body.extend(up.to_ne_bytes()); // ifi_change
    message(libc::RTM_NEWLINK, 0, &body)
}

fn address_add(address: IpAddr) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
    };
    let prefix = if address.is_ipv4() { 32 } else { 128 };
    // Without it an IPv6 address is tentative, and cannot be bound, for the first seconds.
    let no_duplicate_detection = if address.is_ipv6() { 0x02 } else { 0 };
    let family = u8::try_from(family).expect("both families are small numbers");
    let mut body = vec![family, prefix, no_duplicate_detection, 0]; // ifa_family .. ifa_scope
    body.extend(LOOPBACK.to_ne_bytes()); // ifa_index
    for attribute in [libc::IFA_LOCAL, libc::IFA_ADDRESS] {
        let length = u16::try_from(4 + octets.len()).expect("an address is short");
        body.extend(length.to_ne_bytes());
        body.extend(attribute.to_ne_bytes());
        body.extend(&octets);
    }
    message(libc::RTM_NEWADDR, NLM_F_CREATE_EXCL, &body)
}

fn unreachable(network: Ipv4Addr, bits: u8) -> Vec<u8> {
    let family = u8::try_from(libc::AF_INET).expect("a small number");
    // rtm_family .. rtm_type, then rtm_flags.
    let mut body = vec![family, bits, 0, 0];
    body.extend([
        libc::RT_TABLE_MAIN,
        libc::RTPROT_STATIC,
        libc::RT_SCOPE_UNIVERSE,
        libc::RTN_UNREACHABLE,
    ]);
    body.extend([0; 4]);
    body.extend(8_u16.to_ne_bytes());
    body.extend(libc::RTA_DST.to_ne_bytes());
    body.extend(network.octets());
    message(libc::RTM_NEWROUTE, NLM_F_CREATE_EXCL, &body)
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).expect("a message is short");
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
    message.extend([0; 8]); // sequence and sender, of no use to a single question
    message.extend(body);
    message
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
    fn an_address_message_has_the_kernels_shape() {
        let message = address_add("10.213.0.7".parse().unwrap());
        assert_eq!(message.len(), 16 + 8 + 2 * 8);
        assert_eq!(message[..4], 40_u32.to_ne_bytes());
        assert_eq!(message[4..6], 20_u16.to_ne_bytes());
        assert_eq!(message[16..20], [2, 32, 0, 0]);
        assert_eq!(message[28..32], [10, 213, 0, 7]);
    }

    #[test]
    fn a_route_message_has_the_kernels_shape() {
        let message = unreachable("10.213.128.0".parse().unwrap(), 17);
        assert_eq!(message.len(), 16 + 12 + 8);
        assert_eq!(message[16..24], [2, 17, 0, 0, 254, 4, 0, 7]);
        assert_eq!(message[32..36], [10, 213, 128, 0]);
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
