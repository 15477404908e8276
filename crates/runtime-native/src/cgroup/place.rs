//! Where on this host cgroups can be made: which hierarchies are mounted, and where in them this user may.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};

/// What a cgroup is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Controller {
    /// Shares of the CPUs, and limits.
    Cpu,
    /// What was used of them. Of version 2, where it is there without being a controller, it is left out.
    Cpuacct,
    /// Memory.
    Memory,
    /// How many processes and threads.
    Pids,
    /// Which devices may be opened. Version 1 only: in version 2 that is a program, and no controller.
    Devices,
}

impl Controller {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Cpu, "cpu"),
        (Self::Cpuacct, "cpuacct"),
        (Self::Memory, "memory"),
        (Self::Pids, "pids"),
        (Self::Devices, "devices"),
    ];

    fn named(name: &str) -> Option<Self> {
        let row = Self::ALL.iter().find(|(_, known)| *known == name);
        row.map(|(controller, _)| *controller)
    }

    pub(crate) fn name(self) -> &'static str {
        let row = Self::ALL.iter().find(|(known, _)| *known == self);
        row.map_or("", |(_, name)| name)
    }
}

/// One tree of cgroups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hierarchy {
    /// The cgroup below which cgroups are made.
    pub(crate) root: PathBuf,
    /// What it is for.
    pub(crate) controllers: Vec<Controller>,
    /// It is of version 2.
    pub(crate) unified: bool,
}

impl Hierarchy {
    pub(crate) fn has(&self, controller: Controller) -> bool {
        self.controllers.contains(&controller)
    }
}

/// The cgroup that processes are moved to, out of one that is to have controllers for those below it: in version 2
/// no cgroup but the root has both.
pub(crate) const LEAF: &str = "probelet.own";

/// What there is for the calling process, or why there is nothing.
pub(crate) fn find(is_root: bool) -> Result<Vec<Hierarchy>, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let mounts = mounts(&read("/proc/self/mountinfo")?);
    if mounts.is_empty() {
        return Err("no cgroup file system is mounted".to_owned());
    }
    let own = own_of_version_2(&read("/proc/self/cgroup")?).unwrap_or_default();
    let mut found: Vec<Hierarchy> = Vec::new();
    for mount in mounts {
        let hierarchy = match mount.controllers {
            Some(controllers) => Hierarchy {
                root: mount.place,
                controllers,
                unified: false,
            },
            None => Hierarchy {
                root: if is_root {
                    mount.place
                } else {
                    delegated(&mount.place, mount.root.as_str(), &own)
                },
                controllers: Vec::new(),
                unified: true,
            },
        };
        found.extend(usable(hierarchy, is_root));
    }
    if found.is_empty() && is_root {
        return Err("the cgroup file systems are mounted read-only".to_owned());
    }
    if found.is_empty() {
        return Err(
            "this user has no cgroup of its own: run as root, or in a delegated one, as by `systemd-run --user --scope \
             -p Delegate=yes`"
                .to_owned(),
        );
    }
    Ok(found)
}

/// The same with the controllers that are there, if any are and this user may use them.
fn usable(mut hierarchy: Hierarchy, is_root: bool) -> Option<Hierarchy> {
    if hierarchy.unified {
        let there = fs::read_to_string(hierarchy.root.join("cgroup.controllers")).ok()?;
        hierarchy.controllers = there
            .split_whitespace()
            .filter_map(Controller::named)
            .collect();
        access(
            hierarchy.root.join("cgroup.subtree_control"),
            Access::WRITE_OK,
        )
        .ok()?;
    } else if !is_root {
        return None;
    }
    access(&hierarchy.root, Access::WRITE_OK).ok()?;
    (!hierarchy.controllers.is_empty()).then_some(hierarchy)
}

/// The cgroup of version 2 that this process is in; its parent if it was moved into a leaf by us.
fn delegated(mount: &Path, mount_root: &str, own: &str) -> PathBuf {
    let below = own.strip_prefix(mount_root.trim_end_matches('/'));
    let own = mount.join(below.unwrap_or(own).trim_start_matches('/'));
    match own.file_name() {
        Some(name) if name == LEAF => own.parent().map_or(own.clone(), Path::to_owned),
        _ => own,
    }
}

fn own_of_version_2(cgroups: &str) -> Option<String> {
    let line = cgroups.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(line.to_owned())
}

/// A mount of cgroups. `controllers` are those of version 1 that are wanted; `None` is version 2.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    place: PathBuf,
    root: String,
    controllers: Option<Vec<Controller>>,
}

/// Of `/proc/self/mountinfo`, those of cgroups, each controller once.
fn mounts(mountinfo: &str) -> Vec<Mount> {
    let mut found: Vec<Mount> = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let before: Vec<&str> = before.split(' ').collect();
        let after: Vec<&str> = after.split(' ').collect();
        let (Some(root), Some(place), Some(kind)) = (before.get(3), before.get(4), after.first())
        else {
            continue;
        };
        let mut mount = Mount {
            place: PathBuf::from(unescaped(place)),
            root: unescaped(root),
            controllers: None,
        };
        match *kind {
            "cgroup2" if found.iter().all(|known| known.controllers.is_some()) => {
                found.push(mount);
            }
            "cgroup" => {
                let options = after.get(2).copied().unwrap_or_default().split(',');
                let known = |wanted: &Controller| found.iter().any(|mount| mount.is_for(*wanted));
                let wanted: Vec<Controller> = options
                    .filter_map(Controller::named)
                    .filter(|wanted| !known(wanted))
                    .collect();
                if !wanted.is_empty() {
                    mount.controllers = Some(wanted);
                    found.push(mount);
                }
            }
            _ => {}
        }
    }
    found
}

impl Mount {
    fn is_for(&self, controller: Controller) -> bool {
        self.controllers
            .as_ref()
            .is_some_and(|controllers| controllers.contains(&controller))
    }
}

/// A path as mountinfo has it: blanks and backslashes are written in octal.
pub(crate) fn unescaped(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found_whatever_the_host_has_mounted() {
        let hybrid = "\
29 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
30 29 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
31 29 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 29 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset
33 29 0:28 / /mnt/memory\\040again rw - cgroup cgroup rw,memory
34 29 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
35 29 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
        let told: Vec<_> = mounts(hybrid)
            .into_iter()
            .map(|mount| (mount.place.display().to_string(), mount.controllers))
            .collect();
        assert_eq!(
            told,
            [
                (
                    "/sys/fs/cgroup/cpu,cpuacct".to_owned(),
                    Some(vec![Controller::Cpu, Controller::Cpuacct])
                ),
                (
                    "/sys/fs/cgroup/memory".to_owned(),
                    Some(vec![Controller::Memory])
                ),
                ("/sys/fs/cgroup/unified".to_owned(), None),
            ]
        );
        let unified = "30 23 0:26 /docker/a /sys/fs/cgroup ro - cgroup2 cgroup rw,nsdelegate\n";
        assert_eq!(
            mounts(unified),
            [Mount {
                place: "/sys/fs/cgroup".into(),
                root: "/docker/a".to_owned(),
                controllers: None
            }]
        );
        assert_eq!(mounts("1 2 0:3 / / rw - ext4 /dev/vda rw\nnothing\n"), []);
    }

    #[test]
    fn the_cgroup_that_was_delegated_is_ones_own() {
        let place = |own: &str| {
            delegated(Path::new("/sys/fs/cgroup"), "/", own)
                .display()
                .to_string()
        };
        assert_eq!(place("/"), "/sys/fs/cgroup/");
        assert_eq!(
            place("/user.slice/run-1.scope"),
            "/sys/fs/cgroup/user.slice/run-1.scope"
        );
        assert_eq!(
            place("/user.slice/run-1.scope/probelet.own"),
            "/sys/fs/cgroup/user.slice/run-1.scope"
        );
        let own = own_of_version_2("8:pids:/a\n0::/b\n").unwrap();
        assert_eq!(delegated(Path::new("/c"), "/b", &own), Path::new("/c/"));
    }
}
