//! Who this node is.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// The node's name: the host's name in lower case, as a kubelet takes it.
///
/// Upstream: kubelet pkg/util/node/node.go, GetHostname.
/// Shown by: the_node_is_called_as_its_host_in_lower_case.
#[must_use]
pub(crate) fn node_name() -> String {
    named_after(&host_name())
}

/// The host's name as it is.
pub(crate) fn host_name() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
}

fn named_after(host: &str) -> String {
    let name = host.trim().to_lowercase();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name
    }
}

/// The address by which the host would leave for the outside, else loopback. No packet is sent to find
/// it: connecting a UDP socket only asks the routing table.
#[must_use]
pub(crate) fn host_ip() -> IpAddr {
    let found = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        // TEST-NET-1, an address that is nobody's (RFC 5737).
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    match found {
        Ok(address) if !address.ip().is_unspecified() => address.ip(),
        Ok(_) | Err(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

/// Random bytes from the kernel.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        // Fails only when interrupted before the kernel's pool is initialised, early at boot.
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
                .unwrap_or(0);
    }
    bytes
}

/// A random UUID (RFC 9562, version 4).
pub(crate) fn uuid() -> String {
    let mut bytes: [u8; 16] = random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = |range: std::ops::Range<usize>| {
        bytes[range]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    format!(
        "{}-{}-{}-{}-{}",
        hex(0..4),
        hex(4..6),
        hex(6..8),
        hex(8..10),
        hex(10..16)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_is_called_as_its_host_in_lower_case() {
        assert_eq!(named_after(" Web-1.Example\n"), "web-1.example");
        assert_eq!(named_after(""), "localhost");
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(node_name(), named_after(&host));
    }
}
