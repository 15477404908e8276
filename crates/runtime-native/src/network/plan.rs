//! Names and addresses, all of them functions of the data directory, the pod and the host: what an agent has
//! made, another finds again without a note of it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use probelet_model::id::PodUid;

use super::NetworkOptions;

/// The prefix length of the pods' IPv6 network.
pub(super) const V6_BITS: u8 = 64;

/// What a data directory calls its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Of the bridge, and of the nftables table.
    pub(super) name: String,
    pub(super) data_dir: PathBuf,
    tag: String,
    pub(super) network: Ipv4Addr,
    pub(super) bits: u8,
    v6: [u8; 8],
}

impl Plan {
    pub(super) fn new(options: &NetworkOptions, data_dir: &Path) -> Self {
        let dir = data_dir.as_os_str().as_encoded_bytes();
        let tag = letters(hash(&[dir]), 5);
        let (network, bits) = options.cidr;
        let host = std::fs::read("/etc/machine-id").unwrap_or_default();
        // A unique local network (RFC 4193): 0xfd, then 40 bits of an own global id and 16 of a subnet's.
        let mut v6 = hash(&[&host, dir]).to_be_bytes();
        v6[0] = 0xfd;
        Self {
            name: options
                .name
                .clone()
                .unwrap_or_else(|| format!("probelet_{tag}")),
            data_dir: data_dir.to_owned(),
            tag,
            network,
            bits,
            v6,
        }
    }

    /// What the host's ends of all its pods' links begin with.
    pub(super) fn link_prefix(&self) -> String {
        format!("p{}", self.tag)
    }

    /// The host's end of a pod's link: 15 letters, which is as long as the name of an interface may be.
    pub(super) fn link(&self, pod: &PodUid) -> String {
        let pod = letters(hash(&[pod.as_str().as_bytes()]), 9);
        format!("{}{pod}", self.link_prefix())
    }

    /// What the bridge says of itself (its alias).
    pub(super) fn label(&self) -> String {
        /// What fits into an alias, with room to spare.
        const LONGEST: usize = 200;
        let label = format!("probelet: {}", self.data_dir.display());
        label.chars().take(LONGEST).collect()
    }

    /// The bridge's address: the network's first.
    pub(super) fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) + 1)
    }

    pub(super) fn contains(&self, ip: Ipv4Addr) -> bool {
        overlap((self.network, self.bits), (ip, 32))
    }

    /// The IPv6 address that goes with an IPv4 one.
    pub(super) fn v6(&self, ip: Ipv4Addr) -> Ipv6Addr {
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&self.v6);
        octets[12..].copy_from_slice(&ip.octets());
        Ipv6Addr::from(octets)
    }

    /// The pods' IPv6 network.
    pub(super) fn v6_network(&self) -> Ipv6Addr {
        self.v6(Ipv4Addr::UNSPECIFIED)
    }
}

/// The hardware address that goes with an address, so that a pod that is made anew is the same to those who
/// remember it.
///
/// Upstream: containernetworking plugins pkg/utils/hwaddr, GenerateHardwareAddr4.
/// Shown by: names_and_addresses_follow_from_directory_and_pod.
pub(super) fn hardware_address(ip: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = ip.octets();
    [0x0a, 0x58, a, b, c, d]
}

/// Whether two networks have an address in common.
pub(super) fn overlap(one: (Ipv4Addr, u8), other: (Ipv4Addr, u8)) -> bool {
    let bits = one.1.min(other.1);
    let mask = u32::MAX.checked_shl(u32::from(32 - bits)).unwrap_or(0);
    u32::from(one.0) & mask == u32::from(other.0) & mask
}

/// FNV-1a, 64 bits: the same in every build, which the standard library's is not.
fn hash(parts: &[&[u8]]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        // 0xff ends a part: it is in no text.
        for byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

/// The upper bits of a number, five to a letter.
fn letters(number: u64, count: u32) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    (0..count)
        .map(|at| usize::try_from(number >> (59 - 5 * at) & 31).unwrap_or(0))
        .map(|index| char::from(ALPHABET[index]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(dir: &str) -> Plan {
        Plan::new(&NetworkOptions::default(), Path::new(dir))
    }

    #[test]
    fn names_and_addresses_follow_from_directory_and_pod() {
        let (one, other) = (plan("/var/lib/one"), plan("/var/lib/other"));
        assert_eq!(one, plan("/var/lib/one"));
        assert_ne!(one.name, other.name);
        assert_ne!(one.v6_network(), other.v6_network());
        let pod = PodUid::from("6f2d4c1e-0000-4000-8000-000000000000");
        let next = PodUid::from("6f2d4c1e-0000-4000-8000-000000000001");
        let names = [one.link(&pod), one.link(&next), other.link(&pod)];
        assert!(names.iter().all(|name| name.len() == 15), "{names:?}");
        assert!(names[0] != names[1] && names[0] != names[2]);
        assert!(names[0].starts_with(&one.link_prefix()) && one.name.len() <= 15);
        assert_eq!(one.gateway(), Ipv4Addr::new(10, 213, 0, 1));
        let ip = Ipv4Addr::new(10, 213, 0, 7);
        assert_eq!(hardware_address(ip), [0x0a, 0x58, 10, 213, 0, 7]);
        assert!(one.v6(ip).to_string().ends_with("::ad5:7") && one.v6(ip).is_unique_local());
        assert!(one.contains(ip) && !one.contains(Ipv4Addr::new(10, 214, 0, 7)));
    }

    #[test]
    fn networks_overlap_when_one_is_in_the_other() {
        let net = |a, b, bits| (Ipv4Addr::new(10, a, b, 0), bits);
        assert!(overlap(net(213, 0, 16), net(213, 7, 24)));
        assert!(overlap(net(213, 7, 24), net(0, 0, 8)));
        assert!(overlap(net(213, 0, 16), (Ipv4Addr::UNSPECIFIED, 0)));
        assert!(!overlap(net(213, 0, 16), net(212, 0, 16)));
    }
}
