//! The bridge that pods' links end at, with the network's first address on it.

use std::net::IpAddr;

use rtnetlink::{LinkBridge, LinkUnspec};

use super::forwarding;
use super::netlink::{Link, Netlink, NetlinkError};
use super::plan::{self, Plan, V6_BITS};

/// Why there is no bridge.
#[derive(Debug, thiserror::Error)]
pub(super) enum BridgeError {
    #[error("interface {name} is there already and is not this data directory's ({whose})")]
    Foreign { name: String, whose: String },
    #[error("{cidr} is in use already, by interface {interface} ({what}); give another --pod-cidr")]
    InUse {
        cidr: String,
        interface: String,
        what: String,
    },
    #[error("bridge {name}: {source}")]
    Netlink {
        name: String,
        #[source]
        source: NetlinkError,
    },
}

/// A bridge that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bridge {
    pub(super) index: u32,
    /// Of its pods' links: what fits through the way to the outside.
    pub(super) mtu: u32,
    /// Pods may have IPv6 addresses.
    pub(super) v6: bool,
    /// This host has IPv6 beyond itself.
    pub(super) v6_outside: bool,
    /// Some of that came from routers that advertise themselves.
    pub(super) v6_advertised: bool,
}

/// The largest frame on an Ethernet.
const MTU: u32 = 1500;

/// Makes the bridge, or what it lacks.
pub(super) async fn set_up(netlink: &Netlink, plan: &Plan) -> Result<Bridge, BridgeError> {
    let failed = |source| BridgeError::Netlink {
        name: plan.name.clone(),
        source,
    };
    let there = find(netlink, plan).await?;
    let routes = netlink.routes(true).await.map_err(failed)?;
    let mtu = mtu(netlink).await.map_err(failed)?;
    if there.is_none() {
        refuse_what_is_in_use(netlink, plan).await?;
        let message = LinkBridge::new(&plan.name)
            .down()
            .mtu(mtu)
            .address(plan::hardware_address(plan.gateway()).to_vec())
            .build();
        netlink.add_link(message).await.map_err(failed)?;
    }
    let link = netlink.link(&plan.name).await.map_err(failed)?;
    let index = link.map_or(0, |link| link.index);
    forwarding::ignore_routers(&plan.name);
    let message = LinkUnspec::new_with_index(index)
        .alias(plan.label())
        .up()
        .build();
    netlink.set_link(message).await.map_err(failed)?;
    let gateway = plan.gateway();
    netlink
        .add_address(index, gateway.into(), plan.bits)
        .await
        .map_err(failed)?;
    let v6 = forwarding::has_v6(&plan.name);
    if v6 {
        netlink
            .add_address(index, plan.v6(gateway).into(), V6_BITS)
            .await
            .map_err(failed)?;
    }
    let outside = |route: &&super::netlink::Route| route.link.is_some_and(|link| link != index);
    Ok(Bridge {
        index,
        mtu,
        v6,
        v6_outside: routes.iter().filter(outside).any(|route| route.bits == 0),
        v6_advertised: routes.iter().any(|route| route.is_advertised),
    })
}

/// The bridge, if it is there and ours.
pub(super) async fn find(netlink: &Netlink, plan: &Plan) -> Result<Option<Link>, BridgeError> {
    let name = plan.name.clone();
    let there = netlink.link(&name).await;
    let Some(link) = there.map_err(|source| BridgeError::Netlink {
        name: name.clone(),
        source,
    })?
    else {
        return Ok(None);
    };
    let foreign = |whose| Err(BridgeError::Foreign { name, whose });
    match &link.alias {
        _ if !link.is_bridge => foreign("it is no bridge".to_owned()),
        Some(alias) if *alias != plan.label() => foreign(alias.clone()),
        // One without has just been made, by an agent that was killed then.
        _ => Ok(Some(link)),
    }
}

async fn refuse_what_is_in_use(netlink: &Netlink, plan: &Plan) -> Result<(), BridgeError> {
    let failed = |source| BridgeError::Netlink {
        name: plan.name.clone(),
        source,
    };
    let own = (plan.network, plan.bits);
    let addresses = netlink.addresses().await.map_err(failed)?;
    let mut used = addresses.iter().filter_map(|address| match address.ip {
        IpAddr::V4(ip) if plan::overlap(own, (ip, address.bits)) => {
            Some((address.link, format!("address {ip}/{}", address.bits)))
        }
        _ => None,
    });
    let mut taken = used.next();
    if taken.is_none() {
        // A wider route, such as a private network's to all of 10.0.0.0/8, gives way to a narrower one.
        let routes = netlink.routes(false).await.map_err(failed)?;
        taken = routes.iter().find_map(|route| match route.destination {
            Some(IpAddr::V4(ip))
                if route.bits >= plan.bits && plan::overlap(own, (ip, route.bits)) =>
            {
                Some((route.link?, format!("route to {ip}/{}", route.bits)))
            }
            _ => None,
        });
    }
    let Some((index, what)) = taken else {
        return Ok(());
    };
    let links = netlink.links().await.map_err(failed)?;
    let interface = links.into_iter().find(|link| link.index == index);
    Err(BridgeError::InUse {
        cidr: format!("{}/{}", plan.network, plan.bits),
        interface: interface.map_or_else(|| index.to_string(), described),
        what,
    })
}

/// A bridge of another data directory says whose it is.
fn described(link: Link) -> String {
    match link.alias {
        Some(alias) => format!("{}, {alias}", link.name),
        None => link.name,
    }
}

/// What fits through the default route's interface, if that is less than usual.
async fn mtu(netlink: &Netlink) -> Result<u32, NetlinkError> {
    let routes = netlink.routes(false).await?;
    let Some(index) = routes
        .iter()
        .find(|route| route.bits == 0)
        .and_then(|route| route.link)
    else {
        return Ok(MTU);
    };
    let links = netlink.links().await?;
    let of = links.iter().find(|link| link.index == index);
    Ok(of.and_then(|link| link.mtu).unwrap_or(MTU).min(MTU))
}
