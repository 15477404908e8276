//! Which address of the host stands for which Service.
//!
//! Each Service has a loopback IP of its own, 127.213.x.y, found by a hash of its name: the same on every
//! run and every host, so that it can be written into a script. All of 127.0.0.0/8 is the host's own
//! loopback interface, and binding there takes no privilege and no set-up.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use crate::plan::ServiceKey;

/// The annotation of a Service that says where the host reaches it.
pub const HOST_ADDRESS: &str = "probelet.dev/host-address";

/// Ports below this may need a privilege; what stands for them without it is 8000 more.
const UNPRIVILEGED: u16 = 1024;
const INSTEAD: u16 = 8000;

/// Where pods ask for names; no Service has this address.
pub const NAMES: Ipv4Addr = Ipv4Addr::new(127, 213, 0, 10);

/// y of 127.213.x.y goes from 1 to 254: .0 and .255 would do, and look wrong to people.
const LAST: u64 = 254;
const SIZE: u64 = 256 * LAST;

/// The value of [`HOST_ADDRESS`]: one address for each TCP port, in the order of the Service's ports.
///
/// On the wire `IP:PORT`, several with commas between. Only loopback addresses are read: what a manifest
/// brings along must not open a Service to the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAddresses(pub Vec<SocketAddr>);

/// A text that is no list of loopback addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a loopback IP:PORT, or several with commas between")]
pub struct ParseHostAddressesError(String);

impl FromStr for HostAddresses {
    type Err = ParseHostAddressesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = |part: &str| {
            let address: Option<SocketAddr> = part.trim().parse().ok();
            address.filter(|address| address.ip().is_loopback() && address.port() != 0)
        };
        let addresses: Option<Vec<_>> = text.split(',').map(address).collect();
        addresses
            .map(Self)
            .ok_or_else(|| ParseHostAddressesError(text.to_owned()))
    }
}

impl fmt::Display for HostAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, address) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma}{address}")?;
        }
        Ok(())
    }
}

/// An IP for each Service, no two the same as long as there are fewer than 65,023. A Service keeps the
/// one it has; the others get the one of their hash, or the next that is free.
pub(crate) fn assign(services: &[(ServiceKey, HostAddresses)]) -> Vec<Ipv4Addr> {
    let mut taken = BTreeSet::from([NAMES]);
    let kept: Vec<Option<Ipv4Addr>> = services
        .iter()
        .map(|(_, had)| {
            had.0
                .first()
                .and_then(|address| ours(address.ip()))
                .filter(|ip| taken.insert(*ip))
        })
        .collect();
    services
        .iter()
        .zip(kept)
        .map(|((key, _), kept)| {
            kept.unwrap_or_else(|| {
                let first = hash(key) % SIZE;
                let mut probes = (0..SIZE).map(|step| ip((first + step) % SIZE));
                // When all are taken two Services share one, and the ports decide.
                probes
                    .find(|ip| taken.insert(*ip))
                    .unwrap_or_else(|| ip(first))
            })
        })
        .collect()
}

/// For each port of a Service the addresses to try, in order: the one it had, its own number at `ip`, a
/// number that needs no privilege, and any.
pub(crate) fn wishes(had: &HostAddresses, ports: &[u16], ip: Ipv4Addr) -> Vec<Vec<SocketAddr>> {
    let at = |port| SocketAddr::from((ip, port));
    // An annotation written for other ports says nothing about these.
    let had = if had.0.len() == ports.len() {
        &*had.0
    } else {
        &[]
    };
    let wishes = ports.iter().enumerate().map(|(number, &port)| {
        let instead = (port < UNPRIVILEGED)
            .then_some(port + INSTEAD)
            .filter(|instead| !ports.contains(instead));
        let mut wishes: Vec<SocketAddr> = Vec::new();
        for wish in had
            .get(number)
            .copied()
            .into_iter()
            .chain([at(port)])
            .chain(instead.map(at))
            .chain([at(0)])
        {
            if !wishes.contains(&wish) {
                wishes.push(wish);
            }
        }
        wishes
    });
    wishes.collect()
}

fn ip(number: u64) -> Ipv4Addr {
    let byte =
        |number: u64| u8::try_from(number).expect("SIZE is 256 times LAST, which is below 256");
    Ipv4Addr::new(127, 213, byte(number / LAST), byte(number % LAST + 1))
}

fn ours(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) if ip.octets()[..2] == [127, 213] => Some(ip),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// FNV-1a: the same in every version of Rust, unlike the standard library's.
fn hash(key: &ServiceKey) -> u64 {
    let bytes = key.namespace.bytes().chain([b'/']).chain(key.name.bytes());
    let sum: u64 = bytes.fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // Its low bits alone know little of the last letters.
    sum ^ (sum >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ServiceKey {
        ServiceKey {
            namespace: "default".to_owned(),
            name: name.to_owned(),
        }
    }

    fn wished(had: &str, ports: &[u16]) -> Vec<String> {
        let had = had.parse().unwrap_or_default();
        let wishes = wishes(&had, ports, Ipv4Addr::new(127, 213, 1, 1));
        wishes
            .iter()
            .map(|wishes| {
                wishes
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect()
    }

    #[test]
    fn every_service_gets_an_ip_of_its_own_and_always_the_same() {
        let services: Vec<_> = (0..5000)
            .map(|number| (key(&format!("service-{number}")), HostAddresses::default()))
            .collect();
        let ips = assign(&services);
        assert_eq!(ips.iter().collect::<BTreeSet<_>>().len(), 5000);
        assert!(
            ips.iter()
                .all(|ip| ip.octets()[..2] == [127, 213] && (1..=254).contains(&ip.octets()[3]))
        );
        assert_eq!(assign(&services), ips);
        assert_eq!(
            assign(&[services[0].clone()])[0],
            ips[0],
            "the others make no difference to the first"
        );
        assert_eq!(
            ips[0].to_string(),
            "127.213.152.33",
            "written into people's scripts"
        );
    }

    #[test]
    fn a_collision_goes_to_the_next_and_a_kept_ip_stays() {
        let plain = (key("a"), HostAddresses::default());
        let [wanted] = assign(std::slice::from_ref(&plain))[..] else {
            panic!("one")
        };
        let squatter = (
            key("z"),
            HostAddresses(vec![SocketAddr::from((wanted, 80))]),
        );
        let [moved, kept] = assign(&[plain.clone(), squatter.clone()])[..] else {
            panic!("two")
        };
        assert_eq!(kept, wanted);
        assert_eq!(u32::from(moved), u32::from(wanted) + 1);
        let second = (key("y"), squatter.1.clone());
        let [_, kept, other] = assign(&[plain, second, squatter])[..] else {
            panic!("three")
        };
        assert_eq!(kept, wanted, "of two that claim the same the first has it");
        assert_ne!(other, wanted);
    }

    #[test]
    fn the_address_of_names_is_no_services() {
        let squatter = HostAddresses(vec![SocketAddr::from((NAMES, 53))]);
        let [ip] = assign(&[(key("dns"), squatter)])[..] else {
            panic!("one")
        };
        assert_ne!(ip, NAMES);
    }

    #[test]
    fn the_wishes_of_a_port_go_from_best_to_any() {
        assert_eq!(wished("", &[8080]), ["127.213.1.1:8080 127.213.1.1:0"]);
        assert_eq!(
            wished("", &[80]),
            ["127.213.1.1:80 127.213.1.1:8080 127.213.1.1:0"]
        );
        let both = [
            "127.213.1.1:80 127.213.1.1:0",
            "127.213.1.1:8080 127.213.1.1:0",
        ];
        assert_eq!(
            wished("", &[80, 8080]),
            both,
            "8080 is for the port that is 8080"
        );
        let kept = "127.213.1.1:45678 127.213.1.1:80 127.213.1.1:8080 127.213.1.1:0";
        assert_eq!(wished("127.213.1.1:45678", &[80]), [kept]);
        assert_eq!(
            wished("127.213.1.1:8080", &[8080]),
            ["127.213.1.1:8080 127.213.1.1:0"]
        );
        assert_eq!(
            wished("127.0.0.1:1,127.0.0.1:2", &[8080]),
            ["127.213.1.1:8080 127.213.1.1:0"]
        );
    }

    #[test]
    fn the_annotation_is_read_as_it_is_written() {
        for text in ["127.213.1.1:8080", "127.0.0.1:80,[::1]:443"] {
            assert_eq!(text.parse::<HostAddresses>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "127.0.0.1",
            "127.0.0.1:0",
            "0.0.0.0:80",
            "192.168.1.1:80",
            "127.0.0.1:80,",
            "localhost:80",
        ] {
            assert_eq!(
                text.parse::<HostAddresses>(),
                Err(ParseHostAddressesError(text.to_owned()))
            );
        }
    }
}
