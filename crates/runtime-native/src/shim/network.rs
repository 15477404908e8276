//! The pod's network namespace: its loopback interface up, with the pod's address on it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use probelet_runtime::Transport;
use rustix::io::Result;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, listen, socket_with, sockopt::set_socket_reuseaddr,
};

use super::rtnetlink::{CREATE_EXCL, LOOPBACK, Netlink, attribute, family, message, up};

/// Brings the loopback interface up and gives it `address`, as a network of one.
pub(super) fn set_up_loopback(address: IpAddr) -> Result<()> {
    ask(&[up(LOOPBACK, 0), address_add(address)])
}

fn ask(messages: &[Vec<u8>]) -> Result<()> {
    let netlink = Netlink::open()?;
    messages.iter().try_for_each(|message| netlink.ask(message))
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

fn address_add(address: IpAddr) -> Vec<u8> {
    let (of, octets) = match address {
        IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
    };
    let prefix = if address.is_ipv4() { 32 } else { 128 };
    // Without it an IPv6 address is tentative, and cannot be bound, for the first seconds.
    let no_duplicate_detection = if address.is_ipv6() { 0x02 } else { 0 };
    let mut body = vec![family(of), prefix, no_duplicate_detection, 0]; // ifa_family .. ifa_scope
    body.extend(LOOPBACK.to_ne_bytes()); // ifa_index
    for kind in [libc::IFA_LOCAL, libc::IFA_ADDRESS] {
        body.extend(attribute(kind, &octets));
    }
    message(libc::RTM_NEWADDR, CREATE_EXCL, &body)
}

fn unreachable(network: Ipv4Addr, bits: u8) -> Vec<u8> {
    // rtm_family .. rtm_type, then rtm_flags.
    let mut body = vec![family(libc::AF_INET), bits, 0, 0];
    body.extend([
        libc::RT_TABLE_MAIN,
        libc::RTPROT_STATIC,
        libc::RT_SCOPE_UNIVERSE,
        libc::RTN_UNREACHABLE,
    ]);
    body.extend([0; 4]);
    body.extend(attribute(libc::RTA_DST, &network.octets()));
    message(libc::RTM_NEWROUTE, CREATE_EXCL, &body)
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
}
