//! From what an agent asks for to what a container's root is built from.

use std::path::{Path, PathBuf};

use probelet_runtime::{ContainerConfig, Network, StartContainerError};

use super::host_root::{self, Host};
use super::identity::Privilege;
use super::image_root::Image;
use super::rootfs::{Base, Mount, Plan};
use super::sub_path::SubPath;
use super::volumes;
use crate::layout::PodDir;
use crate::protocol::ShimConfig;

const HOSTS: &str = "/etc/hosts";

/// What the root of one run is built from.
pub(super) fn of(
    shim: &ShimConfig,
    dir: &PodDir,
    privilege: Privilege,
    config: &ContainerConfig,
) -> Result<Plan, StartContainerError> {
    let privileged = config.security.privileged;
    let base = match &config.image {
        Some(image) => Base::Image(Image {
            layers: image.layers.clone(),
            volumes: image.volumes.clone(),
            dir: dir.container_root(&config.id),
            copies_said: dir.copies_said(),
            privilege,
            devices: privileged,
        }),
        None => {
            let keeps_run_file =
                shim.pod.network == Network::Host && shim.pod.resolv_conf.is_none();
            Base::Host(Host {
                hidden: vec![shim.data_dir.clone()],
                kept_run_file: keeps_run_file.then(host_root::resolv_conf_in_run).flatten(),
            })
        }
    };
    let shared_memory = if shim.pod.namespaces.host_ipc {
        PathBuf::from("/dev/shm")
    } else {
        dir.shared_memory()
    };
    Ok(Plan {
        staging: dir.root(),
        base,
        mounts: mounts(shim, dir, config)?,
        working_dir: config.working_dir.as_ref().map(PathBuf::from),
        shared_memory,
        makes_devices: privilege == Privilege::Root,
        privileged,
        unmasked: config.security.unmasked_proc,
        read_only: config.security.read_only_root,
        host_processes: shim.pod.namespaces.host_pid,
    })
}

/// Volumes, then what may be in one.
fn mounts(
    shim: &ShimConfig,
    dir: &PodDir,
    config: &ContainerConfig,
) -> Result<Vec<Mount>, StartContainerError> {
    let config_error = |text: String| StartContainerError::Config(text);
    let mut mounts = Vec::new();
    for mount in &config.mounts {
        let name = &mount.volume;
        let volume = shim.pod.volumes.iter().find(|volume| volume.name == *name);
        let volume =
            volume.ok_or_else(|| config_error(format!("volume \"{name}\": the pod has none")))?;
        if mount.sub_path.is_none() && mount.sub_path_expr.is_some() {
            return Err(config_error(format!(
                "volume \"{name}\": subPathExpr has not been expanded"
            )));
        }
        let sub_path = mount.sub_path.as_ref().filter(|path| !path.is_empty());
        mounts.push(Mount {
            what: format!("volume \"{name}\""),
            source: volumes::source(dir, volume),
            sub_path: sub_path.map(|path| SubPath {
                volume: name.clone(),
                container: config.name.to_string(),
                path: path.clone(),
            }),
            target: mount.path.clone(),
            read_only: mount.read_only || volumes::is_read_only(volume),
            devices: config.security.privileged || volumes::is_of_host(volume),
        });
    }
    let of_pod = |what: &str, source: PathBuf, target: PathBuf, read_only| Mount {
        what: what.to_owned(),
        source,
        sub_path: None,
        target,
        read_only,
        devices: false,
    };
    mounts.extend(etc_files(shim, dir, config).map(|(target, source)| {
        // Which the kubelet mounts, and not the runtime, and leaves writable.
        let read_only = config.security.read_only_root && target != HOSTS;
        of_pod(target, source, target.into(), read_only)
    }));
    mounts.push(of_pod(
        "terminationMessagePath",
        dir.message(&config.id),
        config.termination_message.path.clone(),
        false,
    ));
    Ok(mounts)
}

/// The pod's own files for a container's `/etc`, but for those that a volume is mounted at.
///
/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, makeMounts and makeHostsMount (hosts); containerd
/// internal/cri/server/container_create_linux.go, containerMounts (the others).
/// Shown by: hosts_and_resolv_conf_are_the_pods, of_a_read_only_root_the_hosts_file_is_writable.
fn etc_files<'a>(
    shim: &ShimConfig,
    dir: &PodDir,
    config: &'a ContainerConfig,
) -> impl Iterator<Item = (&'static str, PathBuf)> + use<'a> {
    let etc = dir.etc();
    let files = [
        (HOSTS, shim.pod.hosts.is_some()),
        ("/etc/resolv.conf", shim.pod.resolv_conf.is_some()),
        ("/etc/hostname", config.image.is_some()),
    ];
    files.into_iter().filter_map(move |(path, has)| {
        let is_mounted = config
            .mounts
            .iter()
            .any(|mount| mount.path.components().eq(Path::new(path).components()));
        let name = path.rsplit('/').next()?;
        (has && !is_mounted).then(|| (path, etc.join(name)))
    })
}
