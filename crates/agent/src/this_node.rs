//! The Node object: what this host is, and that it is ready; and its lease.
//!
//! Both are written when the agent starts. The lease is renewed every 150 seconds: nobody but a client reads it,
//! and a heartbeat is not worth a write to a small device's flash every ten.
//!
//! Upstream: kubelet pkg/kubelet/nodestatus/setters.go; pkg/kubelet/kubelet_node_status.go, initialNode.
//! Differs: `leaseDurationSeconds` is 600, where upstream has 40 and renews every 10. The pressure conditions are
//! always False, as no pod is evicted for the node's sake.
//! Shown by: the_node_tells_what_the_host_is, what_others_wrote_into_the_node_stays.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use probelet_model::id::{Kind, ObjectKey};
use probelet_model::resources::Amounts;
use probelet_model::time::Wall;
use probelet_runtime::{Image, Images};
use probelet_runtime_native::NetworkState;
use probelet_store::{Durability, Store, WriteError};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use crate::clock;
use crate::objects;

/// The namespace of nodes' leases.
pub(crate) const LEASES: &str = "kube-node-lease";
/// How long a lease holds.
const LEASE: Duration = Duration::from_secs(600);
/// The version of Kubernetes whose behaviour this is, and whose it is.
pub const KUBELET_VERSION: &str = concat!("v1.35.0-probelet.", env!("CARGO_PKG_VERSION"));

/// What a host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    name: String,
    ip: IpAddr,
    cpus: usize,
    memory_kib: u64,
    disk_bytes: u64,
    kernel: String,
    machine: String,
    os_image: String,
    machine_id: String,
    boot_id: String,
}

impl Host {
    /// This one. What cannot be read is left empty.
    pub(crate) fn this(name: &str, ip: IpAddr, data_dir: &Path) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let uname = rustix::system::uname();
        let disk = rustix::fs::statvfs(data_dir);
        Self {
            name: name.to_owned(),
            ip,
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_kib: field(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0),
            disk_bytes: disk.map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize)),
            kernel: uname.release().to_string_lossy().into_owned(),
            machine: architecture(&uname.machine().to_string_lossy()).to_owned(),
            os_image: pretty_name(&read("/etc/os-release")),
            machine_id: read("/etc/machine-id").trim().to_owned(),
            boot_id: read("/proc/sys/kernel/random/boot_id").trim().to_owned(),
        }
    }

    fn key(&self) -> ObjectKey {
        ObjectKey::new(Kind::Node, "", &self.name)
    }

    /// The Node: what is there already, with what is known put over it.
    fn node(
        &self,
        there: Option<&Value>,
        images: Option<&Value>,
        network: &NetworkState,
        now: Wall,
    ) -> Value {
        let key = self.key();
        let mut value = there.map_or_else(
            || objects::made(&key, now, &json!({"spec": {}})),
            Value::clone,
        );
        let labels = json!({"metadata": {"labels": {
            "beta.kubernetes.io/arch": self.machine,
            "beta.kubernetes.io/os": "linux",
            "kubernetes.io/arch": self.machine,
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
        }}});
        objects::merge(&mut value, &labels);
        let resources = json!({
            "cpu": self.cpus.to_string(),
            "ephemeral-storage": format!("{}Ki", self.disk_bytes / 1024),
            "memory": format!("{}Ki", self.memory_kib),
            "pods": "110",
        });
        let before = value["status"].take();
        value["status"] = json!({
            "addresses": [
                { "type": "InternalIP", "address": self.ip },
                { "type": "Hostname", "address": self.name },
            ],
            "allocatable": resources,
            "capacity": resources,
            "conditions": conditions(&before["conditions"], network, now),
            "images": images.unwrap_or(&before["images"]),
            "nodeInfo": {
                "architecture": self.machine,
                "bootID": self.boot_id,
                "containerRuntimeVersion": concat!("probelet://", env!("CARGO_PKG_VERSION")),
                "kernelVersion": self.kernel,
                "kubeProxyVersion": "",
                "kubeletVersion": KUBELET_VERSION,
                "machineID": self.machine_id,
                "operatingSystem": "linux",
                "osImage": self.os_image,
                "systemUUID": self.machine_id,
            },
        });
        value
    }
}

/// What the containers of this host may share.
pub(crate) fn allocatable() -> Amounts {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Amounts {
        cpu_milli: u64::try_from(cpus).ok().map(|cpus| cpus * 1000),
        memory: field(&memory, "MemTotal:").map(|kib| kib * 1024),
        ephemeral_storage: None,
    }
}

/// Each with its words; a condition that has not changed keeps its time.
///
/// Differs: NetworkUnavailable, which upstream leaves to a cloud or a network plugin, tells whether pods reach the
/// outside.
fn conditions(before: &Value, network: &NetworkState, now: Wall) -> Value {
    let (unavailable, reason) = if network.egress {
        ("False", "PodsReachOutside")
    } else {
        ("True", "PodsDoNotReachOutside")
    };
    let words = [
        (
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        (
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
        ),
        (
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
        ),
        (
            "Ready",
            "True",
            "KubeletReady",
            "kubelet is posting ready status",
        ),
        ("NetworkUnavailable", unavailable, reason, &*network.message),
    ];
    let made = words.map(|(kind, status, reason, message)| {
        let known = before.as_array().and_then(|conditions| {
            let same =
                |condition: &&Value| condition["type"] == kind && condition["status"] == status;
            conditions.iter().find(same)
        });
        let since = known
            .and_then(|known| known["lastTransitionTime"].as_str())
            .map_or_else(|| now.to_string(), str::to_owned);
        json!({
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": now.to_string(),
            "lastTransitionTime": since,
        })
    });
    Value::from(made.to_vec())
}

fn lease(host: &Host, there: Option<&Value>, node_uid: &Value, now: Wall) -> Value {
    let key = ObjectKey::new(Kind::Lease, LEASES, &host.name);
    let mut value = there.map_or_else(|| objects::made(&key, now, &json!({})), Value::clone);
    value["metadata"]["ownerReferences"] = json!([
        { "apiVersion": "v1", "kind": "Node", "name": host.name, "uid": node_uid },
    ]);
    value["spec"] = json!({
        "holderIdentity": host.name,
        "leaseDurationSeconds": LEASE.as_secs(),
        "renewTime": now.micros_rfc3339(),
    });
    value
}

/// `status.images`: the largest.
///
/// Upstream: kubelet pkg/kubelet/nodestatus/setters.go, Images and MaxNamesPerImageInNodeStatus; the number
/// is nodeStatusMaxImages.
/// Shown by: the_node_tells_of_its_largest_images.
fn told_images(mut images: Vec<Image>) -> Value {
    const IMAGES: usize = 50;
    const NAMES: usize = 5;
    images.sort_by(|one, other| (other.size, &one.id).cmp(&(one.size, &other.id)));
    let told = images.iter().take(IMAGES).map(|image| {
        let names: Vec<&String> = image
            .digests
            .iter()
            .chain(&image.tags)
            .take(NAMES)
            .collect();
        json!({ "names": names, "sizeBytes": image.size })
    });
    told.collect()
}

/// Writes the Node and its lease; without `images`, those stay that are told of already.
pub(crate) fn register(
    store: &Store,
    host: &Host,
    images: Option<&Value>,
    network: &NetworkState,
    now: Wall,
) -> Result<(), WriteError> {
    let written = store.transact(Durability::Derived, |transaction| {
        let key = host.key();
        let there = transaction.get(&key).map(|there| Arc::clone(&there.value));
        let node = host.node(there.as_deref(), images, network, now);
        let node = transaction.put_any(key, node)?;
        let key = ObjectKey::new(Kind::Lease, LEASES, &host.name);
        let there = transaction.get(&key).map(|there| Arc::clone(&there.value));
        let lease = lease(host, there.as_deref(), &node.value["metadata"]["uid"], now);
        transaction.put_any(key, lease).map(drop)
    });
    match written {
        Err(probelet_store::TransactError::Refused(error)) => Err(error),
        // A store that is only read or whose disk refuses says so elsewhere.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Renews the lease until dropped, and tells of images and of what pods reach when that changes; the Node is
/// registered already.
pub(crate) async fn keep(
    store: Arc<Store>,
    host: Host,
    images: Arc<impl Images>,
    images_changed: Arc<Notify>,
    mut network: watch::Receiver<NetworkState>,
) {
    let mut renewal = tokio::time::interval(LEASE / 4);
    loop {
        // The first tick is at once.
        tokio::select! {
            _ = renewal.tick() => {}
            () = images_changed.notified() => {}
            Ok(()) = network.changed() => {}
        }
        let told = match images.images().await {
            Ok(images) => Some(told_images(images)),
            Err(error) => {
                tracing::warn!("cannot tell which images are here: {error}");
                None
            }
        };
        let reach = network.borrow_and_update().clone();
        if let Err(error) = register(&store, &host, told.as_ref(), &reach, clock::now().wall) {
            tracing::warn!("cannot renew this node's lease: {error}");
        }
    }
}

/// The number behind a name in a file of names and numbers.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn pretty_name(os_release: &str) -> String {
    let name = os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or("Linux");
    name.trim_matches('"').to_owned()
}

/// Go's name of an architecture.
fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" | "armv6l" => "arm",
        "i686" | "i586" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host {
            machine: "amd64".to_owned(),
            ..Host::this("here", IpAddr::from([192, 0, 2, 7]), Path::new("/"))
        }
    }

    fn reach(egress: bool) -> NetworkState {
        NetworkState {
            egress,
            message: "by nothing".to_owned(),
        }
    }

    #[test]
    fn the_node_tells_what_the_host_is() {
        let host = host();
        let node = host.node(None, None, &reach(false), Wall::default());
        let network = &node["status"]["conditions"][4];
        assert_eq!(network["type"], "NetworkUnavailable");
        assert_eq!(
            (&network["status"], &network["message"]),
            (&json!("True"), &json!("by nothing"))
        );
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
        let kib: u64 = field(&memory, "MemTotal:").unwrap();
        assert!(kib > 0);
        assert_eq!(node["status"]["capacity"]["memory"], format!("{kib}Ki"));
        assert_eq!(node["status"]["addresses"][0]["address"], "192.0.2.7");
        assert_eq!(node["metadata"]["name"], "here");
        assert_eq!(node["metadata"].get("namespace"), None);
        assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "here");
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(node["status"]["nodeInfo"]["kernelVersion"], kernel.trim());
        let ready = &node["status"]["conditions"][3];
        assert_eq!(
            (&ready["type"], &ready["status"]),
            (&json!("Ready"), &json!("True"))
        );
        assert_eq!(pretty_name("ID=x\nPRETTY_NAME=\"X 1\"\n"), "X 1");
    }

    #[test]
    fn the_node_tells_of_its_largest_images() {
        let image = |size: u64| Image {
            id: probelet_runtime::ImageId(format!("sha256:{size}")),
            tags: (0..9).map(|tag| format!("app:{size}-{tag}")).collect(),
            digests: vec![format!("app@sha256:{size}")],
            size,
            config: probelet_runtime::ImageConfig::default(),
            root: probelet_runtime::ImageRoot {
                layers: Vec::new(),
                volumes: Vec::new(),
            },
        };
        let host = host();
        let told = told_images((1..=60).map(image).collect());
        let node = host.node(None, Some(&told), &reach(true), Wall::default());
        let images = node["status"]["images"].as_array().unwrap();
        let sizes: Vec<u64> = images
            .iter()
            .map(|image| image["sizeBytes"].as_u64().unwrap())
            .collect();
        assert_eq!(sizes, (11..=60).rev().collect::<Vec<u64>>());
        let names = [
            "app@sha256:60",
            "app:60-0",
            "app:60-1",
            "app:60-2",
            "app:60-3",
        ];
        assert_eq!(images[0]["names"], json!(names));
        let again = host.node(Some(&node), None, &reach(true), Wall::default());
        assert_eq!(again["status"]["images"], told);
    }

    #[test]
    fn what_others_wrote_into_the_node_stays() {
        let store = Store::in_memory();
        let host = host();
        register(&store, &host, None, &reach(true), Wall::default()).unwrap();
        let first = store.get(&host.key()).unwrap();
        let mut cordoned = (*first.value).clone();
        cordoned["spec"]["unschedulable"] = true.into();
        cordoned["metadata"]["labels"]["mine"] = "x".into();
        store
            .transact(Durability::Derived, |transaction| {
                transaction.update(host.key(), None, cordoned).map(drop)
            })
            .unwrap();
        let later = Wall::default() + Duration::from_secs(3600);
        register(&store, &host, None, &reach(true), later).unwrap();
        let node = store.get(&host.key()).unwrap().value;
        assert_eq!(node["spec"]["unschedulable"], true);
        assert_eq!(node["metadata"]["labels"]["mine"], "x");
        assert_eq!(node["metadata"]["uid"], first.value["metadata"]["uid"]);
        let ready = &node["status"]["conditions"][3];
        assert_eq!(ready["lastTransitionTime"], Wall::default().to_string());
        assert_eq!(ready["lastHeartbeatTime"], later.to_string());
        let lease = store
            .get(&ObjectKey::new(Kind::Lease, LEASES, "here"))
            .unwrap();
        assert_eq!(lease.value["spec"]["renewTime"], later.micros_rfc3339());
        assert_eq!(
            lease.value["metadata"]["ownerReferences"][0]["uid"],
            node["metadata"]["uid"]
        );
    }
}
