//! Five hundred pods are started, probed and deleted, twice: of what the host lists, nothing more is there
//! afterwards than was before.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use rustix::net::{getpeername, getsockname, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::image;
use crate::node::{Node, Sort};

const PODS: usize = 500;
const ROUNDS: usize = 2;
/// For a command about all of the pods, in seconds.
const LONG: u32 = 120;
/// How often is looked whether all of the pods are up, or gone: for some minutes.
const MOST_LOOKS: u32 = 100;

/// A pod of each sort in turn; between them they have what a pod can have.
fn pods() -> String {
    let mut text = String::from("apiVersion: v1\nkind: List\nitems:\n");
    for index in 0..PODS {
        let host_class = "runtimeClassName: host, terminationGracePeriodSeconds: 1";
        let (spec, container) = match index % 4 {
            0 => (
                host_class,
                "image: none, command: [sleep, '100000'], readinessProbe: {exec: {command: ['true']}, periodSeconds: 10}",
            ),
            1 => (
                "terminationGracePeriodSeconds: 1",
                "image: probelet.test/busybox:1, imagePullPolicy: Never, command: [httpd, -f, -p, '8080', -h, /etc], \
                 resources: {limits: {memory: 32Mi, cpu: 100m}}, \
                 readinessProbe: {httpGet: {port: 8080, path: /passwd}, periodSeconds: 10}",
            ),
            2 => (
                "terminationGracePeriodSeconds: 1, volumes: [{name: a, emptyDir: {}}, {name: b, emptyDir: \
                 {medium: Memory}}, {name: c, downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}]",
                "image: probelet.test/busybox:1, imagePullPolicy: Never, command: [httpd, -f, -p, '9000'], \
                 volumeMounts: [{name: a, mountPath: /a}, {name: b, mountPath: /b}, {name: c, mountPath: /c}], \
                 readinessProbe: {tcpSocket: {port: 9000}, periodSeconds: 10}, \
                 livenessProbe: {exec: {command: [cat, /c/name]}, periodSeconds: 10}",
            ),
            _ => (
                host_class,
                "image: none, command: [sh, -c, 'sleep 100000 & (setsid sleep 100000 &); wait'], tty: true, \
                 readinessProbe: {exec: {command: [sh, -c, 'true']}, periodSeconds: 10}",
            ),
        };
        // Each of its pods that comes or goes is a new list of all of them.
        let app = if index % 4 == 1 { "web" } else { "other" };
        writeln!(
            text,
            "- {{apiVersion: v1, kind: Pod, metadata: {{name: pod-{index}, labels: {{app: {app}}}}}, spec: {{{spec}, \
             containers: [{{name: main, {container}}}]}}}}"
        )
        .unwrap();
    }
    text.push_str(
        "- {apiVersion: v1, kind: Service, metadata: {name: many}, spec: {selector: {app: web}, ports: [{port: 80, \
         targetPort: 8080}]}}\n",
    );
    text
}

#[test]
fn of_five_hundred_pods_nothing_is_left() {
    let node = Node::start_as(Sort::Images);
    let archive = node.work().join("busybox.tar");
    image::busybox(&archive);
    let loaded = node.shell(&format!("$PROBELET image load -i {}", archive.display()));
    assert_eq!(loaded.code, Some(0), "{}", loaded.text);
    let manifest = node.work().join("pods.yaml");
    std::fs::write(&manifest, pods()).unwrap();
    // What is made once, for all pods, is there before the first look.
    let warm = "kubectl run first --image=probelet.test/busybox:1 --image-pull-policy=Never -- sleep 1000 && kubectl \
                wait pod first --for=condition=Ready --timeout=50s";
    let said = node.shell(warm);
    assert_eq!(said.code, Some(0), "{}\n{}", said.text, node.log());
    let cgroups = cgroup_of_pods(&node);
    let said = node.shell("kubectl delete pod first --now");
    assert_eq!(said.code, Some(0), "{}\n{}", said.text, node.log());
    let before = Listing::of(&node, &cgroups);
    for round in 0..ROUNDS {
        let create = format!("kubectl create -f {} | wc -l", manifest.display());
        let said = node.shell_within(&create, LONG);
        assert_eq!(said.text.trim(), (PODS + 1).to_string(), "{}", node.log());
        until(&node, &format!("round {round}: pods are ready"), || {
            let rows = node.shell("kubectl get pods --no-headers").text;
            rows.lines().filter(|row| row.contains(" 1/1 ")).count() == PODS
        });
        let during = Listing::of(&node, &cgroups);
        assert!(during.processes.len() >= before.processes.len() + 3 * PODS);
        let delete =
            "kubectl delete --raw /api/v1/namespaces/default/pods && kubectl delete service many";
        let said = node.shell_within(delete, LONG);
        assert_eq!(said.code, Some(0), "{}\n{}", said.text, node.log());
        until(&node, &format!("round {round}: pods are gone"), || {
            node.shell("kubectl get pods --no-headers -o name 2>&1")
                .text
                .is_empty()
        });
        let after = Listing::after(&node, &cgroups, &before);
        let more = after.more_than(&before);
        // The sets are long.
        assert!(after == before, "round {round}: {more:#?}");
    }
    node.finish();
}

/// One `kubectl wait` asks for pod after pod, and for more than this test's time.
fn until(node: &Node, what: &str, is_so: impl Fn() -> bool) {
    let mut looks = 0;
    while !is_so() {
        looks += 1;
        assert!(looks < MOST_LOOKS, "not so: {what}\n{}", node.log());
        std::thread::park_timeout(Duration::from_secs(2));
    }
}

/// What there is of this node's on the host.
#[derive(Debug, PartialEq, Eq)]
struct Listing {
    /// The agent, and what it and its shims have started.
    processes: BTreeSet<String>,
    /// Mounts that name the data directory, of every process.
    mounts: BTreeSet<String>,
    /// Namespaces of all of these.
    namespaces: BTreeSet<String>,
    /// Those of this node's pods.
    cgroups: BTreeSet<String>,
    /// What the agent holds open, by kind and number.
    descriptors: Vec<String>,
    /// All below the data directory but the store and the logs of the agent.
    files: BTreeSet<String>,
    /// Network interfaces of the host.
    interfaces: BTreeSet<String>,
}

impl Listing {
    fn of(node: &Node, cgroup: &str) -> Self {
        let data_dir = node.data_dir();
        let family = family(node);
        Self {
            processes: processes(&family),
            mounts: mounts(&data_dir),
            namespaces: namespaces(&family),
            cgroups: cgroups(cgroup),
            descriptors: descriptors(node.agent()),
            files: files(&data_dir),
            interfaces: names("/sys/class/net"),
        }
    }

    /// The same, as soon as it is as it was; the kernel takes some things apart on its own time. What the
    /// last look saw, if that never comes.
    fn after(node: &Node, cgroup: &str, before: &Self) -> Self {
        let mut looks = 0;
        loop {
            let now = Self::of(node, cgroup);
            looks += 1;
            if now == *before || looks > 200 {
                return now;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// For people.
    fn more_than(&self, before: &Self) -> Vec<String> {
        let sets = [
            (&self.processes, &before.processes),
            (&self.mounts, &before.mounts),
            (&self.namespaces, &before.namespaces),
            (&self.cgroups, &before.cgroups),
            (&self.files, &before.files),
            (&self.interfaces, &before.interfaces),
        ];
        let more = sets
            .into_iter()
            .flat_map(|(now, before)| now.symmetric_difference(before));
        more.cloned()
            .chain([format!(
                "{:?}, before {:?}",
                self.descriptors, before.descriptors
            )])
            .collect()
    }
}

/// The numbers in `/proc`.
fn pids() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The agent, the shims, which are told the data directory but may have lost their parent, and all that come of
/// them.
fn family(node: &Node) -> BTreeSet<u32> {
    let stat = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    let parents: Vec<(u32, u32)> = pids()
        .into_iter()
        .filter_map(|pid| {
            let stat = stat(pid)?;
            let (_, rest) = stat.rsplit_once(')')?;
            Some((pid, rest.split_whitespace().nth(1)?.parse().ok()?))
        })
        .collect();
    let data_dir = node.data_dir().display().to_string();
    let told = parents
        .iter()
        .map(|(pid, _)| *pid)
        .filter(|pid| command_line(*pid).contains(&data_dir));
    let mut family: BTreeSet<u32> = told.chain([node.agent()]).collect();
    loop {
        let before = family.len();
        for (pid, parent) in &parents {
            if family.contains(parent) {
                family.insert(*pid);
            }
        }
        if family.len() == before {
            return family;
        }
    }
}

fn command_line(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

fn processes(family: &BTreeSet<u32>) -> BTreeSet<String> {
    family
        .iter()
        .map(|pid| format!("{pid} {}", command_line(*pid)))
        .collect()
}

fn mounts(data_dir: &Path) -> BTreeSet<String> {
    let data_dir = data_dir.display().to_string();
    let all = pids()
        .into_iter()
        .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok());
    all.flat_map(|text| {
        let own = text.lines().filter(|line| line.contains(&data_dir));
        own.map(str::to_owned).collect::<Vec<_>>()
    })
    .collect()
}

fn namespaces(family: &BTreeSet<u32>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for pid in family {
        for kind in ["mnt", "net", "pid", "uts", "ipc", "user", "cgroup"] {
            let namespace = std::fs::read_link(format!("/proc/{pid}/ns/{kind}"));
            all.extend(namespace.map(|name| name.display().to_string()));
        }
    }
    all
}

/// The directory that the cgroups of this node's pods are in, in every hierarchy: `/probelet/` and a name of its own;
/// empty where there are none.
fn cgroup_of_pods(node: &Node) -> String {
    let texts = family(node)
        .into_iter()
        .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok());
    let found = texts.into_iter().find_map(|text| {
        let (_, after) = text.split_once("/probelet/")?;
        Some(format!("/probelet/{}", after.split_once('/')?.0))
    });
    if found.is_none() {
        println!("cgroups: none are to be had here");
    }
    found.unwrap_or_default()
}

/// Those below that directory, and itself.
fn cgroups(parent: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = vec![Path::new("/sys/fs/cgroup").to_owned()];
    while let Some(dir) = rest.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = entry.path();
                if !parent.is_empty() && path.to_string_lossy().contains(parent) {
                    found.insert(path.display().to_string());
                }
                rest.push(path);
            }
        }
    }
    found
}

/// What each is of, without the number of the one it is, and how many of each. Connections to the API are its
/// clients', and go when these do.
fn descriptors(agent: u32) -> Vec<String> {
    let sockets = sockets(agent);
    let entries = std::fs::read_dir(format!("/proc/{agent}/fd"))
        .unwrap()
        .flatten();
    let mut kinds: Vec<String> = entries
        .filter_map(|entry| {
            let target = std::fs::read_link(entry.path()).ok()?;
            Some((entry, target.display().to_string()))
        })
        .filter_map(|(entry, target)| match target.split_once(":[") {
            Some(("socket", inode)) => {
                let known = sockets.get(inode.trim_end_matches(']'));
                match known {
                    Some(Socket::Connection) => None,
                    Some(Socket::Other(what)) => Some(what.clone()),
                    None => Some(look_at_socket(agent, &entry.file_name())),
                }
            }
            Some((kind, _)) => Some(kind.to_owned()),
            None => Some(target),
        })
        .collect();
    kinds.sort();
    kinds
}

/// One that no table of the host's network namespace has.
fn look_at_socket(agent: u32, number: &OsStr) -> String {
    let look = || {
        let agent = Pid::from_raw(agent.try_into().ok()?)?;
        let agent = pidfd_open(agent, PidfdFlags::empty()).ok()?;
        let number = number.to_str()?.parse().ok()?;
        let socket = pidfd_getfd(&agent, number, PidfdGetfdFlags::empty()).ok()?;
        let domain = sockopt::socket_domain(&socket).ok()?;
        let kind = sockopt::socket_type(&socket).ok()?;
        let own = getsockname(&socket).ok();
        let other = getpeername(&socket).ok();
        Some(format!("socket {domain:?} {kind:?} {own:?} {other:?}"))
    };
    look().unwrap_or_else(|| "socket".to_owned())
}

/// A socket of the host's network namespace.
enum Socket {
    /// Of TCP, connected.
    Connection,
    Other(String),
}

/// By their inodes.
fn sockets(agent: u32) -> BTreeMap<String, Socket> {
    /// Of linux/net/tcp_states.h, as `/proc` writes it.
    const LISTEN: &str = "0A";
    let mut found = BTreeMap::new();
    for table in ["tcp", "tcp6", "udp", "udp6", "unix"] {
        let text = std::fs::read_to_string(format!("/proc/{agent}/net/{table}"));
        for line in text.unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (inode, socket) = match table {
                "unix" => {
                    let path = fields.get(7).unwrap_or(&"unnamed");
                    (fields.get(6), Socket::Other(format!("unix {path}")))
                }
                "tcp" | "tcp6" if fields.get(3) != Some(&LISTEN) => {
                    (fields.get(9), Socket::Connection)
                }
                _ => (
                    fields.get(9),
                    Socket::Other(format!("{table} {}", fields[1])),
                ),
            };
            found.extend(inode.map(|inode| ((*inode).to_owned(), socket)));
        }
    }
    found
}

fn files(data_dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = vec![data_dir.to_owned()];
    while let Some(dir) = rest.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            found.insert(path.display().to_string());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                rest.push(path);
            }
        }
    }
    found
}

fn names(dir: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
