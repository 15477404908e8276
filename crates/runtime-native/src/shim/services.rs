//! The network namespace beside the pod's, in which Services are answered.
//!
//! Services have addresses of 127.213.0.0/16. In the pod's own namespace nobody could listen on them: a
//! socket on 127.213.4.5:80 keeps every program of the pod from listening on port 80 of all addresses, which
//! is what servers do. So that range leads, by one route and a pair of virtual interfaces, into a second
//! namespace where only the agent has sockets. What is not answered there is refused at once. No address is
//! translated and no connection tracked.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use probelet_runtime::Transport;
use rustix::io::Result;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::network;
use super::rtnetlink::{CREATE_EXCL, LOOPBACK, Netlink, attribute, family, interface, message, up};
use crate::sys;

/// Services are in its first /16.
const RANGE: [u8; 2] = [127, 213];

/// Both ends of the pair are called so, and have this index.
const NAME: &[u8] = b"services\0";
const INDEX: u32 = 213;

/// What each end sends its packets to. Nobody has this address, and nobody asks whose it is.
const PEER: Ipv4Addr = Ipv4Addr::new(169, 254, 213, 1);

/// Both ends have the same, so that a packet is for whoever gets it.
const HARDWARE_ADDRESS: [u8; 6] = [2, 0, 127, 213, 0, 0];

const MTU: u32 = 65535;

/// Its parts of linux/if_link.h, linux/veth.h, linux/ip.h and linux/rtnetlink.h.
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_INET_CONF: u16 = 1;
const IPV4_DEVCONF_ROUTE_LOCALNET: u16 = 26;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTNH_F_ONLINK: u32 = 4;

/// The namespace beside the pod's.
#[derive(Debug)]
pub(super) struct Services {
    pod: OwnedFd,
    beside: OwnedFd,
}

impl Services {
    /// Whether an address is answered there.
    pub(super) fn has(address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(address) if address.octets()[..2] == RANGE)
    }

    /// The calling process, which has one thread and a fresh network namespace, leaves that for another, the
    /// pod's, and the first is the one beside. The pod's loopback interface is still to be set up; then
    /// follows [`Self::connect`].
    pub(super) fn leave() -> std::io::Result<Self> {
        let beside = own_namespace()?;
        sys::unshare(UnshareFlags::NEWNET)?;
        let pod = own_namespace()?;
        Ok(Self { pod, beside })
    }

    /// Makes the pair of interfaces and the routes. The pod has `address` already.
    pub(super) fn connect(&self, address: Ipv4Addr) -> Result<()> {
        let pod = Netlink::open()?;
        let beside = self.inside(Netlink::open)?;
        pod.ask(&veth(&self.beside))?;
        beside.ask(&up(LOOPBACK, 0))?;
        for (netlink, route) in [
            (
                &pod,
                route(
                    &[RANGE[0], RANGE[1], 0, 0],
                    16,
                    libc::RT_TABLE_LOCAL,
                    Some(address),
                ),
            ),
            (
                &beside,
                route(&address.octets(), 32, libc::RT_TABLE_MAIN, None),
            ),
        ] {
            netlink.ask(&loopback_addresses_may_pass())?;
            // A kernel without IPv6 has nothing to be told.
            let _no_ipv6 = netlink.ask(&no_link_local_address());
            netlink.ask(&up(INDEX, libc::IFF_NOARP))?;
            netlink.ask(&route)?;
        }
        Ok(())
    }

    /// A socket there.
    pub(super) fn bind(&self, address: SocketAddr, transport: Transport) -> Result<OwnedFd> {
        self.inside(|| network::bind(address, transport))
    }

    fn inside<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        move_into_link_name_space(self.beside.as_fd(), Some(LinkNameSpaceType::Network))?;
        let done = work();
        self.go_back();
        done
    }

    fn go_back(&self) {
        move_into_link_name_space(self.pod.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("a process may go back to where it was");
    }
}

fn own_namespace() -> std::io::Result<OwnedFd> {
    File::open("/proc/self/ns/net").map(OwnedFd::from)
}

/// The pair: one end here, the other in the namespace `beside`.
fn veth(beside: &OwnedFd) -> Vec<u8> {
    let beside = beside.as_raw_fd().cast_unsigned();
    let of_both = [
        attribute(IFLA_IFNAME, NAME),
        attribute(IFLA_ADDRESS, &HARDWARE_ADDRESS),
        attribute(IFLA_MTU, &MTU.to_ne_bytes()),
    ]
    .concat();
    let peer = [
        interface(INDEX, 0),
        of_both.clone(),
        attribute(IFLA_NET_NS_FD, &beside.to_ne_bytes()),
    ]
    .concat();
    let data = attribute(VETH_INFO_PEER, &peer);
    let info = [
        attribute(IFLA_INFO_KIND, b"veth"),
        attribute(IFLA_INFO_DATA, &data),
    ]
    .concat();
    let body = [
        interface(INDEX, 0),
        of_both,
        attribute(IFLA_LINKINFO, &info),
    ]
    .concat();
    message(libc::RTM_NEWLINK, CREATE_EXCL, &body)
}

/// Packets from and to 127.0.0.0/8 are let through, which the kernel else drops on all interfaces but `lo`.
fn loopback_addresses_may_pass() -> Vec<u8> {
    let setting = attribute(IPV4_DEVCONF_ROUTE_LOCALNET, &1_u32.to_ne_bytes());
    of_family(libc::AF_INET, &attribute(IFLA_INET_CONF, &setting))
}

fn no_link_local_address() -> Vec<u8> {
    let mode = attribute(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
    of_family(libc::AF_INET6, &mode)
}

fn of_family(of: i32, settings: &[u8]) -> Vec<u8> {
    let specific = attribute(IFLA_AF_SPEC, &attribute(family(of).into(), settings));
    let body = [interface(INDEX, 0), specific].concat();
    message(libc::RTM_SETLINK, 0, &body)
}

fn route(to: &[u8; 4], bits: u8, table: u8, source: Option<Ipv4Addr>) -> Vec<u8> {
    // rtm_family, rtm_dst_len, rtm_src_len, rtm_tos, rtm_table, rtm_protocol, rtm_scope, rtm_type
    let mut body = vec![
        family(libc::AF_INET),
        bits,
        0,
        0,
        table,
        libc::RTPROT_STATIC,
        libc::RT_SCOPE_UNIVERSE,
        libc::RTN_UNICAST,
    ];
    body.extend(RTNH_F_ONLINK.to_ne_bytes());
    body.extend(attribute(RTA_DST, to));
    body.extend(attribute(RTA_GATEWAY, &PEER.octets()));
    body.extend(attribute(RTA_OIF, &INDEX.to_ne_bytes()));
    if let Some(source) = source {
        body.extend(attribute(RTA_PREFSRC, &source.octets()));
    }
    message(libc::RTM_NEWROUTE, CREATE_EXCL, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_the_kernels_shape() {
        let message = route(
            &[127, 213, 0, 0],
            16,
            255,
            Some(Ipv4Addr::new(10, 213, 0, 7)),
        );
        assert_eq!(message.len(), 16 + 12 + 4 * 8);
        assert_eq!(message[..4], 60_u32.to_ne_bytes());
        assert_eq!(message[16..24], [2, 16, 0, 0, 255, 4, 0, 1]);
    }

    #[test]
    fn only_the_range_of_services_is_answered_beside_the_pod() {
        assert!(Services::has("127.213.255.1".parse().unwrap()));
        for other in ["127.0.0.1", "127.214.0.1", "10.213.0.1", "::1"] {
            assert!(!Services::has(other.parse().unwrap()), "{other}");
        }
    }
}
