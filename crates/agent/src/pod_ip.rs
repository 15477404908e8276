//! Addresses for pods.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use probelet_engine::input::Addresses;
use probelet_model::id::PodUid;
use probelet_runtime::{Network, Runtime};

/// A range of IPv4 addresses, `10.213.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: u32,
    bits: u8,
}

/// Text that is no usable range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not an IPv4 range with room for pods, like 10.213.0.0/16 (a prefix of 8 to 29 bits)"
)]
pub struct CidrError {
    text: String,
}

impl Default for Cidr {
    /// Beside the ranges that Docker and Podman take.
    fn default() -> Self {
        Self {
            network: u32::from(Ipv4Addr::new(10, 213, 0, 0)),
            bits: 16,
        }
    }
}

impl Cidr {
    /// Its first address, which is nobody's, and its prefix length.
    #[must_use]
    pub const fn parts(self) -> (Ipv4Addr, u8) {
        (Ipv4Addr::from_bits(self.network), self.bits)
    }

    const fn size(self) -> u32 {
        1 << (32 - self.bits)
    }

    fn contains(self, ip: Ipv4Addr) -> bool {
        u32::from(ip) & !(self.size() - 1) == self.network
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let error = || CidrError {
            text: text.to_owned(),
        };
        let (address, bits) = text.split_once('/').ok_or_else(error)?;
        let address: Ipv4Addr = address.parse().map_err(|_| error())?;
        let bits: u8 = bits.parse().map_err(|_| error())?;
        if !(8..=29).contains(&bits) {
            return Err(error());
        }
        let cidr = Self {
            network: u32::from(address) & !((1 << (32 - bits)) - 1),
            bits,
        };
        if cidr.network == u32::from(address) {
            Ok(cidr)
        } else {
            Err(error())
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.network), self.bits)
    }
}

/// Which pod has which address. The first and the last of a range are nobody's, and the second is kept
/// for the node.
#[derive(Debug)]
pub(crate) struct PodAddresses {
    cidr: Cidr,
    taken: BTreeMap<Ipv4Addr, PodUid>,
    next: u32,
}

impl PodAddresses {
    pub(crate) const fn new(cidr: Cidr) -> Self {
        Self {
            cidr,
            taken: BTreeMap::new(),
            next: 2,
        }
    }

    /// An address that a pod has already.
    pub(crate) fn keep(&mut self, pod: &PodUid, ip: IpAddr) {
        if let IpAddr::V4(ip) = ip
            && self.cidr.contains(ip)
        {
            self.taken.insert(ip, pod.clone());
            self.next = self.next.max(u32::from(ip) - self.cidr.network + 1);
        }
    }

    /// The pod's address: the one it has, else the next free one, so that one just given back is not at
    /// once somebody else's. `None` if all are taken.
    pub(crate) fn take(&mut self, pod: &PodUid) -> Option<IpAddr> {
        if let Some((ip, _)) = self.taken.iter().find(|(_, of)| *of == pod) {
            return Some(IpAddr::V4(*ip));
        }
        for _ in 0..self.cidr.size() {
            if self.next >= self.cidr.size() - 1 {
                self.next = 2;
            }
            let ip = Ipv4Addr::from(self.cidr.network + self.next);
            self.next += 1;
            if let Entry::Vacant(free) = self.taken.entry(ip) {
                free.insert(pod.clone());
                return Some(IpAddr::V4(ip));
            }
        }
        None
    }

    pub(crate) fn give_back(&mut self, pod: &PodUid) {
        self.taken.retain(|_, of| of != pod);
    }
}

/// The addresses of a pod whose main one is `ip`, in the order of its status.
///
/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, sortPodIPs.
/// Shown by: a_pod_is_told_of_both_its_addresses.
pub(crate) fn addresses(runtime: &impl Runtime, network: Network, ip: IpAddr) -> Addresses {
    let all = match network {
        Network::Own(ip) => runtime.addresses(ip),
        Network::Host => Vec::new(),
    };
    Addresses {
        ip,
        others: all.into_iter().filter(|other| *other != ip).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_strictly() {
        assert_eq!("10.213.0.0/16".parse(), Ok(Cidr::default()));
        assert_eq!(Cidr::default().to_string(), "10.213.0.0/16");
        for wrong in [
            "",
            "10.213.0.0",
            "10.213.0.1/16",
            "10.213.0.0/30",
            "10.0.0.0/7",
            "::/64",
            "10.213.0.0/x",
        ] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_are_unique_kept_and_come_round() {
        let mut addresses = PodAddresses::new("10.0.0.0/29".parse().unwrap());
        let pod = |n: u32| PodUid::from(n.to_string());
        addresses.keep(&pod(9), IpAddr::from([10, 0, 0, 3]));
        let given: Vec<_> = (0..4)
            .map(|n| addresses.take(&pod(n)).unwrap().to_string())
            .collect();
        assert_eq!(given, ["10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2"]);
        assert_eq!(addresses.take(&pod(5)), None, "full");
        assert_eq!(
            addresses.take(&pod(1)).unwrap().to_string(),
            "10.0.0.5",
            "the one it has"
        );
        addresses.give_back(&pod(0));
        assert_eq!(addresses.take(&pod(5)).unwrap().to_string(), "10.0.0.4");
    }
}
