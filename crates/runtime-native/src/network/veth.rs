//! A pod's link: a pair of interfaces, one end at the bridge and the other, `eth0`, in the pod.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use probelet_model::id::PodUid;
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth};
use rustix::io::Errno;

use super::bridge::Bridge;
use super::forwarding;
use super::netlink::{Netlink, NetlinkError};
use super::plan::{self, Plan, V6_BITS};

/// The pod's end.
const INTERFACE: &str = "eth0";

/// Why a pod has no link.
#[derive(Debug, thiserror::Error)]
pub(super) enum VethError {
    #[error("enter the pod's network namespace: {0}")]
    Enter(#[source] std::io::Error),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error("the link just made is not there")]
    Gone,
}

/// A pod to be linked.
#[derive(Debug)]
pub(super) struct End {
    pub(super) pod: PodUid,
    pub(super) ip: Ipv4Addr,
    pub(super) namespace: File,
    /// It has just been made, so a link of this name is of one before.
    pub(super) is_new: bool,
}

/// Links a pod to the bridge. The pod's end has all it needs before the host's joins the bridge, so that one that
/// has joined is whole.
///
/// `v6_route` is whether the host passes on IPv6.
pub(super) async fn attach(
    netlink: &Netlink,
    plan: &Plan,
    bridge: Bridge,
    v6_route: bool,
    end: End,
) -> Result<(), VethError> {
    let name = plan.link(&end.pod);
    if !end.is_new
        && let Some(link) = netlink.link(&name).await?
        && link.bridge == Some(bridge.index)
    {
        return Ok(());
    }
    let attached = make(netlink, plan, bridge, v6_route, &name, end).await;
    if attached.is_err()
        && let Err(error) = netlink.remove_link(&name).await
    {
        tracing::warn!("{error}");
    }
    attached
}

async fn make(
    netlink: &Netlink,
    plan: &Plan,
    bridge: Bridge,
    v6_route: bool,
    name: &str,
    end: End,
) -> Result<(), VethError> {
    let message = || {
        // Not up yet: an end that has no other end yet cannot be.
        let peer = LinkUnspec::new_with_name(INTERFACE)
            .mtu(bridge.mtu)
            .address(plan::hardware_address(end.ip).to_vec())
            .setns_by_fd(end.namespace.as_raw_fd())
            .build();
        LinkMessageBuilder::<LinkVeth>::new(name, INTERFACE)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .mtu(bridge.mtu)
            .build()
    };
    match netlink.add_link(message()).await {
        Err(error) if error.is(Errno::EXIST) => {
            netlink.remove_link(name).await?;
            netlink.add_link(message()).await?;
        }
        made => made?,
    }
    let link = netlink.link(name).await?.ok_or(VethError::Gone)?;
    let index = link.peer.ok_or(VethError::Gone)?;
    let look = || {
        forwarding::ignore_routers(INTERFACE);
        forwarding::has_v6(INTERFACE)
    };
    let entered = Netlink::inside(end.namespace, look).await;
    let (inside, v6) = entered.map_err(VethError::Enter)?;
    let up = LinkUnspec::new_with_index(index).up().build();
    inside.set_link(up).await?;
    let gateway = plan.gateway();
    inside.add_address(index, end.ip.into(), plan.bits).await?;
    inside.add_default_route(index, gateway.into()).await?;
    if bridge.v6 && v6 {
        let ip = plan.v6(end.ip);
        inside.add_address(index, ip.into(), V6_BITS).await?;
        if v6_route {
            let gateway = plan.v6(gateway);
            inside.add_default_route(index, gateway.into()).await?;
        }
    }
    let joined = LinkUnspec::new_with_index(link.index)
        .controller(bridge.index)
        .up()
        .build();
    Ok(netlink.set_link(joined).await?)
}

/// Removes the links of pods that are no more, but for those that may stay.
pub(super) async fn remove_strays(
    netlink: &Netlink,
    plan: &Plan,
    stay: impl Fn(&str) -> bool,
) -> Result<(), NetlinkError> {
    let prefix = plan.link_prefix();
    for link in netlink.links().await? {
        let is_ours =
            link.name.len() == 15 && link.name.starts_with(&prefix) && link.peer.is_some();
        if is_ours && !stay(&link.name) {
            netlink.remove_link(&link.name).await?;
        }
    }
    Ok(())
}
