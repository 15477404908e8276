//! What pods come to and go from: the bridge stands as long as a pod is linked to it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use probelet_model::id::PodUid;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::task::spawn_blocking;

use super::bridge::{self, Bridge};
use super::netlink::Netlink;
use super::plan::Plan;
use super::veth::{self, End};
use super::{Egress, NetworkOptions, NetworkState, Way, firewall, forwarding};
use crate::layout::{self, PodDir};
use crate::process::{self, ProcessId};
use crate::protocol::Pasta;
use crate::text;

/// The pods of one data directory, on their way out.
///
/// A pod is linked under the pod's own lock; what is shared, the bridge, under the lock here. So pods are linked
/// side by side, and the bridge never goes while one comes.
#[derive(Debug)]
pub(crate) struct Links {
    egress: Egress,
    way: Way,
    plan: Plan,
    /// Pods have an IPv6 address too: as it is to be expected, then as it came out.
    v6: AtomicBool,
    shared: Mutex<Shared>,
    state: watch::Sender<NetworkState>,
}

#[derive(Debug, Default)]
struct Shared {
    netlink: Option<Netlink>,
    stands: Option<Stands>,
    linked: BTreeSet<PodUid>,
}

#[derive(Clone, Copy, Debug)]
struct Stands {
    bridge: Bridge,
    /// IPv6 is passed on.
    v6: bool,
}

/// A pod that was there before.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) dir: PodDir,
    pub(crate) pod: PodUid,
    pub(crate) ip: IpAddr,
}

impl Links {
    /// Finds out what can be had, and makes nothing yet.
    pub(crate) fn new(options: &NetworkOptions, data_dir: &Path) -> Self {
        let (way, plan) = (Way::find(options.egress), Plan::new(options, data_dir));
        let state = match &way {
            Way::None(why) => NetworkState {
                egress: false,
                message: why.clone(),
            },
            Way::Pasta(program) => NetworkState {
                egress: true,
                message: format!("pods reach the outside by {}", program.display()),
            },
            Way::Bridge => bridged(&plan, Vec::new()),
        };
        if !state.egress && options.egress != Egress::None {
            tracing::warn!("{}", state.message);
        }
        Self {
            egress: options.egress,
            v6: (way == Way::Bridge && forwarding::has_v6("default")).into(),
            way,
            plan,
            shared: Mutex::default(),
            state: watch::Sender::new(state),
        }
    }

    /// What pods can reach, now and whenever that changes.
    pub(crate) fn state(&self) -> watch::Receiver<NetworkState> {
        self.state.subscribe()
    }

    /// At which addresses other pods reach a pod.
    pub(crate) fn addresses(&self, ip: IpAddr) -> Vec<IpAddr> {
        let v6 = self.v4(ip).ok().filter(|_| self.v6.load(Ordering::Relaxed));
        let v6 = v6.map(|ip| self.plan.v6(ip).into());
        [ip].into_iter().chain(v6).collect()
    }

    /// What a shim is to run beside a new pod.
    ///
    /// # Errors
    /// In words, if what was asked for by name cannot be had.
    pub(crate) fn pasta(&self) -> Result<Option<Pasta>, String> {
        match &self.way {
            Way::Pasta(program) => Ok(Some(Pasta {
                program: program.clone(),
                network: (self.plan.network, self.plan.bits),
                required: self.egress == Egress::Pasta,
            })),
            Way::None(why) if matches!(self.egress, Egress::Bridge | Egress::Pasta) => {
                Err(why.clone())
            }
            Way::Bridge | Way::None(_) => Ok(None),
        }
    }

    /// Says that a pod's `pasta` has failed.
    pub(crate) fn pasta_failed(&self, why: &str) {
        self.tell(NetworkState {
            egress: false,
            message: format!("pods have no way out: {why}"),
        });
    }

    /// Links a pod whose shim stands.
    ///
    /// # Errors
    /// In words, if the pod must not be without.
    pub(crate) async fn attach(
        &self,
        dir: &PodDir,
        pod: &PodUid,
        ip: IpAddr,
        is_new: bool,
    ) -> Result<(), String> {
        if self.way != Way::Bridge {
            return Ok(());
        }
        let attached = match self.v4(ip) {
            Ok(ip) => self.link(dir, pod, ip, is_new).await,
            Err(why) => Err(why),
        };
        let Err(why) = attached else {
            return Ok(());
        };
        self.v6.store(false, Ordering::Relaxed);
        self.detach(pod).await;
        if self.egress == Egress::Bridge {
            return Err(why);
        }
        self.tell(NetworkState {
            egress: false,
            message: format!("pods do not reach each other or the outside: {why}"),
        });
        Ok(())
    }

    fn v4(&self, ip: IpAddr) -> Result<Ipv4Addr, String> {
        match ip {
            IpAddr::V4(v4) if self.plan.contains(v4) => Ok(v4),
            other => Err(format!(
                "the pod's address {other} is not of {}/{}, as it is from before that was changed",
                self.plan.network, self.plan.bits
            )),
        }
    }

    async fn link(
        &self,
        dir: &PodDir,
        pod: &PodUid,
        ip: Ipv4Addr,
        is_new: bool,
    ) -> Result<(), String> {
        let namespace = || {
            network_namespace(dir)
                .map_err(|error| format!("the pod's network namespace: {}", text::of_io(&error)))
        };
        let mut is_second_try = false;
        loop {
            let (netlink, stands) = {
                let mut shared = self.shared.lock().await;
                let stood = self.stand(&mut shared).await?;
                shared.linked.insert(pod.clone());
                stood
            };
            let end = End {
                pod: pod.clone(),
                ip,
                namespace: namespace()?,
                is_new,
            };
            match veth::attach(&netlink, &self.plan, stands.bridge, stands.v6, end).await {
                Ok(()) => {
                    self.v6.store(stands.bridge.v6, Ordering::Relaxed);
                    return Ok(());
                }
                Err(error) if is_second_try => return Err(error.to_string()),
                // Somebody may have taken the bridge away.
                Err(error) => {
                    tracing::debug!(%pod, "{error}; once more");
                    self.shared.lock().await.stands = None;
                    is_second_try = true;
                }
            }
        }
    }

    /// The bridge and its table, made if they do not stand.
    async fn stand(&self, shared: &mut Shared) -> Result<(Netlink, Stands), String> {
        let netlink = connected(shared)?;
        if let Some(stands) = shared.stands {
            return Ok((netlink, stands));
        }
        let bridge = bridge::set_up(&netlink, &self.plan).await;
        let bridge = bridge.map_err(|error| error.to_string())?;
        let plan = self.plan.clone();
        let set_up = spawn_blocking(move || {
            let mut lacks = Vec::new();
            lacks.extend(forwarding::turn_on_v4().err());
            lacks.extend(firewall::set_up(&plan).err().map(|error| error.to_string()));
            let v6 = if bridge.v6 && bridge.v6_outside {
                forwarding::turn_on_v6(bridge.v6_advertised)
            } else {
                Err(String::new())
            };
            (lacks, v6)
        });
        let (lacks, v6) = set_up.await.map_err(|panic| panic.to_string())?;
        let mut state = bridged(&self.plan, lacks);
        let stands = Stands {
            bridge,
            v6: v6.is_ok(),
        };
        if let Err(why) = v6
            && !why.is_empty()
        {
            state.message = format!("{}. {why}", state.message);
        }
        self.look_at_others(state);
        shared.stands = Some(stands);
        Ok((netlink, stands))
    }

    /// Tells the state when others' rules have been looked at, for which no pod waits. A task of its own, which
    /// ends with that.
    fn look_at_others(&self, mut state: NetworkState) {
        let (plan, sender) = (self.plan.clone(), self.state.clone());
        spawn_blocking(move || {
            if let Some(why) = firewall::in_the_way(&plan) {
                tracing::warn!("{why}");
                state.message = format!("{}. But {why}", state.message);
            }
            publish(&sender, state);
        });
    }

    /// A pod is gone, and with its network namespace its link, which the kernel sees to.
    pub(crate) async fn detach(&self, pod: &PodUid) {
        let mut shared = self.shared.lock().await;
        if shared.linked.remove(pod) && shared.linked.is_empty() {
            self.fall(shared).await;
        }
    }

    /// Table first: where there is no bridge, there is no table.
    async fn fall(&self, mut shared: MutexGuard<'_, Shared>) {
        let plan = self.plan.clone();
        if firewall::is_there() {
            let removed = spawn_blocking(move || firewall::remove(&plan)).await;
            if let Ok(Err(error)) = removed {
                tracing::warn!("cannot remove table {}: {error}", self.plan.name);
            }
        }
        shared.stands = None;
        let removed = match connected(&mut shared) {
            Ok(netlink) => netlink.remove_link(&self.plan.name).await,
            Err(_) => return,
        };
        if let Err(error) = removed {
            tracing::warn!("{error}");
        }
    }

    /// Takes up what an agent before has left: links what stands, removes what belongs to nothing. Also where pods
    /// are to have no way out any more: those that have one keep it.
    pub(crate) async fn take_up(&self, standing: Vec<Standing>) {
        if !super::may_administer() {
            return;
        }
        if let Err(why) = self.put_in_order(&standing).await {
            tracing::warn!("{why}");
        }
        if self.way == Way::Bridge {
            for Standing { dir, pod, ip } in standing {
                if let Err(why) = self.attach(&dir, &pod, ip, false).await {
                    tracing::warn!(%pod, "{why}");
                }
            }
        }
    }

    async fn put_in_order(&self, standing: &[Standing]) -> Result<(), String> {
        let mut shared = self.shared.lock().await;
        let netlink = connected(&mut shared)?;
        let names: BTreeSet<String> = standing
            .iter()
            .map(|standing| self.plan.link(&standing.pod))
            .collect();
        veth::remove_strays(&netlink, &self.plan, |name| names.contains(name))
            .await
            .map_err(|error| error.to_string())?;
        let bridge = bridge::find(&netlink, &self.plan).await;
        if bridge.map_err(|error| error.to_string())?.is_none() {
            return Ok(());
        }
        shared.linked = standing
            .iter()
            .map(|standing| standing.pod.clone())
            .collect();
        if shared.linked.is_empty() {
            self.fall(shared).await;
        }
        Ok(())
    }

    fn tell(&self, state: NetworkState) {
        if publish(&self.state, state.clone()) {
            tracing::warn!("{}", state.message);
        }
    }
}

/// Says whether it is news.
fn publish(sender: &watch::Sender<NetworkState>, state: NetworkState) -> bool {
    sender.send_if_modified(|known| {
        let is_news = *known != state;
        *known = state;
        is_news
    })
}

fn bridged(plan: &Plan, mut lacks: Vec<String>) -> NetworkState {
    if !firewall::is_there() && lacks.is_empty() {
        lacks.push("the program nft (package nftables) is not there".to_owned());
    }
    let egress = lacks.is_empty();
    let message = if egress {
        format!(
            "pods reach each other and the outside by bridge {}",
            plan.name
        )
    } else {
        format!(
            "pods reach each other by bridge {}, but not the outside: {}",
            plan.name,
            lacks.join("; ")
        )
    };
    NetworkState { egress, message }
}

fn connected(shared: &mut Shared) -> Result<Netlink, String> {
    if let Some(netlink) = &shared.netlink {
        return Ok(netlink.clone());
    }
    let netlink = Netlink::here().map_err(|error| format!("netlink: {}", text::of_io(&error)))?;
    shared.netlink = Some(netlink.clone());
    Ok(netlink)
}

/// Of the pod's shim, which is certain to be that when it still lives after its file has been opened.
fn network_namespace(dir: &PodDir) -> io::Result<File> {
    let shim: ProcessId = layout::read_json(&dir.pid())?;
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let handle = shim.open().ok_or_else(gone)?;
    let namespace = File::open(format!("/proc/{}/ns/net", shim.pid))?;
    if process::has_ended(&handle) {
        return Err(gone());
    }
    Ok(namespace)
}
