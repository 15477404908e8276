//! What a container of an image sees of control groups: its own, as the root of each hierarchy, so that a
//! program that sizes itself by its limits finds them.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, mkdirat, openat, symlinkat};
use rustix::io::{Errno, Result};
use rustix::mount::{MountAttrFlags, fsconfig_set_flag, fsconfig_set_string};
use rustix::thread::UnshareFlags;

use super::file_system::{self, NO_PROGRAMS};
use super::mount_point::Root;
use crate::sys;

/// Where hierarchies are.
const PLACE: &str = "sys/fs/cgroup";

/// Hierarchies that hang nowhere yet, each by name: `memory`, `cpu,cpuacct`, `systemd`, `unified`.
#[derive(Debug)]
pub(super) struct View(Vec<(String, OwnedFd)>);

/// One line of `/proc/self/cgroup`.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy<'a> {
    /// Nothing for version 2.
    controllers: &'a str,
    path: &'a str,
}

/// Those of the calling process, which is in its control groups already, and moves into a namespace of them.
///
/// A hierarchy in which it has no group of its own is left out: it would be the whole host's. So is one that
/// cannot be mounted.
///
/// Upstream: containerd internal/cri/server/container_create.go, buildContainerSpec (a cgroup mount, read-only
/// unless privileged).
/// Shown by: a_container_sees_its_own_control_groups.
pub(super) fn take(writable: bool) -> View {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = hierarchies(&own);
    if own.is_empty() || sys::unshare(UnshareFlags::NEWCGROUP).is_err() {
        return View(Vec::new());
    }
    let attributes = if writable {
        NO_PROGRAMS
    } else {
        NO_PROGRAMS | MountAttrFlags::MOUNT_ATTR_RDONLY
    };
    let mounts = own
        .into_iter()
        .filter_map(|of| Some((of.name(), of.mount(attributes).ok()?)));
    View(mounts.collect())
}

fn hierarchies(text: &str) -> Vec<Hierarchy<'_>> {
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        (path != "/").then_some(Hierarchy { controllers, path })
    });
    lines.collect()
}

impl Hierarchy<'_> {
    fn name(&self) -> String {
        match self.controllers.strip_prefix("name=") {
            Some(name) => name.to_owned(),
            None if self.controllers.is_empty() => "unified".to_owned(),
            None => self.controllers.to_owned(),
        }
    }

    fn mount(&self, attributes: MountAttrFlags) -> Result<OwnedFd> {
        if self.controllers.is_empty() {
            return file_system::make("cgroup2", &[], attributes);
        }
        let context = file_system::begin("cgroup")?;
        for controller in self.controllers.split(',') {
            match controller.strip_prefix("name=") {
                Some(name) => {
                    fsconfig_set_flag(&context, "none")?;
                    fsconfig_set_string(&context, "name", name)?;
                }
                None => fsconfig_set_flag(&context, controller)?,
            }
        }
        file_system::finish(&context, attributes)
    }
}

impl View {
    /// Puts them where programs look, in a root whose `/sys` is the kernel's.
    pub(super) fn put(&self, root: &Root) -> Result<()> {
        let place = match root.open(Path::new(PLACE)) {
            Err(Errno::NOENT) => return Ok(()),
            place => place?,
        };
        match &self.0[..] {
            [] => Ok(()),
            [(name, tree)] if name == "unified" => file_system::attach(tree, place),
            several => {
                let options = [("mode", "0755"), ("size", "64k")];
                let dir = file_system::make("tmpfs", &options, NO_PROGRAMS)?;
                file_system::attach(&dir, place)?;
                for (name, tree) in several {
                    mkdirat(&dir, name.as_str(), Mode::from_raw_mode(0o755))?;
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    file_system::attach(tree, openat(&dir, name.as_str(), flags, Mode::empty())?)?;
                    for one in name.split(',').filter(|one| one != name) {
                        symlinkat(name.as_str(), &dir, one)?;
                    }
                }
                sys::set_read_only(dir.as_fd(), false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_whole_hosts_is_left_out() {
        let text = "5:cpu,cpuacct:/pods/a:b\n4:memory:/\n1:name=systemd:/x\n0::/pods/a\n";
        let found = hierarchies(text);
        let names: Vec<String> = found.iter().map(Hierarchy::name).collect();
        assert_eq!(names, ["cpu,cpuacct", "systemd", "unified"]);
        assert_eq!(found[0].path, "/pods/a:b");
    }
}
