//! Names of addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address that `d.c.b.a.in-addr.arpa`, or the 32 digits of `ip6.arpa`, stand for.
pub(crate) fn address(labels: &[String]) -> Option<IpAddr> {
    let (digits, zone) = labels.split_at_checked(labels.len().checked_sub(2)?)?;
    match [zone[0].as_str(), zone[1].as_str()] {
        ["in-addr", "arpa"] => {
            let [d, c, b, a] = digits else { return None };
            let address: Ipv4Addr = format!("{a}.{b}.{c}.{d}").parse().ok()?;
            Some(address.into())
        }
        ["ip6", "arpa"] if digits.len() == 32 => {
            let mut bits = 0;
            for digit in digits.iter().rev() {
                if digit.len() != 1 {
                    return None;
                }
                bits = bits << 4 | u128::from_str_radix(digit, 16).ok()?;
            }
            Some(Ipv6Addr::from_bits(bits).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_backwards() {
        let of = |name: &str| {
            let labels: Vec<String> = name.split('.').map(str::to_owned).collect();
            address(&labels).map(|address| address.to_string())
        };
        assert_eq!(of("7.0.213.10.in-addr.arpa").as_deref(), Some("10.213.0.7"));
        let six = format!("7{}.d.f.ip6.arpa", ".0".repeat(29));
        assert_eq!(of(&six).as_deref(), Some("fd00::7"));
        for wrong in [
            "arpa",
            "in-addr.arpa",
            "0.213.10.in-addr.arpa",
            "1.7.0.213.10.in-addr.arpa",
            "x.0.213.10.in-addr.arpa",
            "7.ip6.arpa",
            "7.0.213.10.example.com",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        let signed = format!("+{}.d.f.ip6.arpa", ".0".repeat(29));
        assert_eq!(of(&signed), None);
    }
}
