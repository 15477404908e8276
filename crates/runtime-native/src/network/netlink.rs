//! What is asked of rtnetlink(7), of one network namespace.

use std::fs::File;
use std::future::Future;
use std::io;
use std::net::IpAddr;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteProtocol};
use rtnetlink::{AddressMessageBuilder, LinkUnspec, RouteMessageBuilder};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::sync::oneshot;

use crate::text;

/// A question that the kernel has refused.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {}", text::of_io(.error))]
pub(super) struct NetlinkError {
    what: String,
    error: io::Error,
}

impl NetlinkError {
    pub(super) fn is(&self, errno: Errno) -> bool {
        Errno::from_io_error(&self.error) == Some(errno)
    }
}

type Result<T> = std::result::Result<T, NetlinkError>;

/// An interface, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) alias: Option<String>,
    pub(super) is_bridge: bool,
    /// The index of the bridge it belongs to.
    pub(super) bridge: Option<u32>,
    /// Of the other end, in its own network namespace.
    pub(super) peer: Option<u32>,
    pub(super) mtu: Option<u32>,
}

/// An address, and the interface that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) link: u32,
    pub(super) ip: IpAddr,
    pub(super) bits: u8,
}

/// A way to other networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) destination: Option<IpAddr>,
    pub(super) bits: u8,
    pub(super) link: Option<u32>,
    pub(super) is_advertised: bool,
}

/// A connection to the kernel. It ends with the last copy.
#[derive(Clone, Debug)]
pub(super) struct Netlink(rtnetlink::Handle);

impl Netlink {
    /// To the network namespace of the calling thread.
    pub(super) fn here() -> io::Result<Self> {
        let (connection, handle, _unasked) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    /// To another network namespace, after `first` has been run in it. A thread goes there and ends there: one
    /// that came back might not be what the rest of this process expects.
    pub(super) async fn inside<T: Send + 'static>(
        namespace: File,
        first: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<(Self, T)> {
        let (sender, answer) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new()
            .name("pod network".to_owned())
            .spawn(move || {
                let _spawns_there = runtime.enter();
                let kind = Some(LinkNameSpaceType::Network);
                let entered = move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind);
                let connected = entered
                    .map_err(io::Error::from)
                    .and_then(|()| Ok((first(), Self::here()?)))
                    .map(|(first, netlink)| (netlink, first));
                let _gave_up = sender.send(connected);
            })?;
        answer.await.map_err(io::Error::other)?
    }

    pub(super) async fn link(&self, name: &str) -> Result<Option<Link>> {
        let found = self.0.link().get().match_name(name).execute();
        let mut found = std::pin::pin!(found);
        match found.try_next().await.map_err(|error| io_error(&error)) {
            Ok(message) => Ok(message.as_ref().map(link)),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => Ok(None),
            Err(error) => Err(NetlinkError {
                what: format!("look for interface {name}"),
                error,
            }),
        }
    }

    pub(super) async fn links(&self) -> Result<Vec<Link>> {
        let all = self.0.link().get().execute();
        let all = all.map_ok(|message| link(&message)).try_collect();
        asked("list interfaces", all).await
    }

    pub(super) async fn addresses(&self) -> Result<Vec<Address>> {
        let all = self.0.address().get().execute();
        let found = all.try_filter_map(|message| async move {
            let ip = |attribute: &AddressAttribute| match attribute {
                // Of a link from point to point, the other end's: that is what the route leads to.
                AddressAttribute::Address(ip) => Some(*ip),
                _ => None,
            };
            Ok(message.attributes.iter().find_map(ip).map(|ip| Address {
                link: message.header.index,
                ip,
                bits: message.header.prefix_len,
            }))
        });
        asked("list addresses", found.try_collect()).await
    }

    pub(super) async fn routes(&self, v6: bool) -> Result<Vec<Route>> {
        let question = if v6 {
            RouteMessageBuilder::<std::net::Ipv6Addr>::new().build()
        } else {
            RouteMessageBuilder::<std::net::Ipv4Addr>::new().build()
        };
        let all = self.0.route().get(question).execute();
        let found = all.try_filter_map(|message| async move {
            // Other tables are for policies of others, and for the addresses of this host.
            let main = rtnetlink::packet_route::route::RouteHeader::RT_TABLE_MAIN;
            if message.header.table != main {
                return Ok(None);
            }
            let (mut destination, mut link) = (None, None);
            for attribute in &message.attributes {
                match attribute {
                    RouteAttribute::Destination(to) => destination = ip_of(to),
                    RouteAttribute::Oif(index) => link = Some(*index),
                    _ => {}
                }
            }
            Ok(Some(Route {
                destination,
                bits: message.header.destination_prefix_length,
                link,
                is_advertised: message.header.protocol == RouteProtocol::Ra,
            }))
        });
        asked("list routes", found.try_collect()).await
    }

    pub(super) async fn add_link(&self, message: LinkMessage) -> Result<()> {
        asked("make an interface", self.0.link().add(message).execute()).await
    }

    pub(super) async fn set_link(&self, message: LinkMessage) -> Result<()> {
        let set = self.0.link().set(message).execute();
        asked("change an interface", set).await
    }

    /// That it is gone already is no error.
    pub(super) async fn remove_link(&self, name: &str) -> Result<()> {
        let message = LinkUnspec::new_with_name(name).build();
        let removed = self.0.link().del_with_message(message).execute();
        match asked(&format!("remove interface {name}"), removed).await {
            Err(error) if error.is(Errno::NODEV) => Ok(()),
            removed => removed,
        }
    }

    /// Gives an interface an address that can be used at once; that it has it already is no error.
    pub(super) async fn add_address(&self, link: u32, ip: IpAddr, bits: u8) -> Result<()> {
        let mut request = self.0.address().add(link, ip, bits).replace();
        let message = request.message_mut();
        match ip {
            IpAddr::V4(v4) => {
                *message = AddressMessageBuilder::<std::net::Ipv4Addr>::new()
                    .index(link)
                    .address(v4, bits)
                    .build();
            }
            // Else it could not be used for the first seconds, while duplicates of it were looked for.
            IpAddr::V6(_) => message.header.flags |= AddressHeaderFlags::Nodad,
        }
        asked(&format!("set address {ip}"), request.execute()).await
    }

    pub(super) async fn add_default_route(&self, link: u32, gateway: IpAddr) -> Result<()> {
        let message = match gateway {
            IpAddr::V4(gateway) => RouteMessageBuilder::<std::net::Ipv4Addr>::new()
                .gateway(gateway)
                .output_interface(link)
                .build(),
            IpAddr::V6(gateway) => RouteMessageBuilder::<std::net::Ipv6Addr>::new()
                .gateway(gateway)
                .output_interface(link)
                .build(),
        };
        let added = self.0.route().add(message).replace().execute();
        asked(&format!("set default route by {gateway}"), added).await
    }
}

async fn asked<T>(
    what: &str,
    question: impl Future<Output = std::result::Result<T, rtnetlink::Error>>,
) -> Result<T> {
    question.await.map_err(|error| NetlinkError {
        what: what.to_owned(),
        error: io_error(&error),
    })
}

fn io_error(error: &rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other.to_string()),
    }
}

fn ip_of(address: &rtnetlink::packet_route::route::RouteAddress) -> Option<IpAddr> {
    use rtnetlink::packet_route::route::RouteAddress;
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

fn link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        alias: None,
        is_bridge: false,
        bridge: None,
        peer: None,
        mtu: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::Controller(index) => link.bridge = Some(*index),
            LinkAttribute::Link(index) => link.peer = Some(*index),
            LinkAttribute::Mtu(mtu) => link.mtu = Some(*mtu),
            LinkAttribute::LinkInfo(info) => {
                link.is_bridge = info.contains(&LinkInfo::Kind(InfoKind::Bridge));
            }
            _ => {}
        }
    }
    link
}
