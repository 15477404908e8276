//! Whom a container's processes run as, looked up in the container's own `/etc`.

use std::fs;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use probelet_model::pod::User;
use rustix::fs::{FileType, fchown, fstat, major};
use rustix::io::{Errno, Result};
use rustix::process::{Gid, Uid};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::thread::{
    CapabilitySet, LinkNameSpaceType, UnshareFlags, move_into_link_name_space,
    remove_capability_from_bounding_set, set_thread_gid, set_thread_groups, set_thread_uid,
};
use serde::{Deserialize, Serialize};

use crate::sys;

/// A user, with all that the kernel and a shell want to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The groups `/etc/group` lists the user in, and `gid`.
    pub(super) groups: Vec<u32>,
    /// `HOME`.
    pub(super) home: String,
}

/// How a process comes to be somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Privilege {
    /// As root: by setuid and setgid.
    Root,
    /// In the pod's user namespace, which has one id, 0: by another user namespace inside it, in which
    /// that same id goes by another number.
    UserNamespace,
}

impl Identity {
    /// Looks `user` up in `/etc/passwd` and `/etc/group`.
    ///
    /// Upstream: containerd internal/cri/opts, WithAdditionalGIDs and pkg/oci, WithUserID.
    /// Shown by: users_come_from_passwd_and_group, environment_directory_and_user.
    pub(super) fn look_up(user: User) -> Self {
        let passwd = fs::read("/etc/passwd").unwrap_or_default();
        let group = fs::read("/etc/group").unwrap_or_default();
        Self::in_files(
            user,
            &String::from_utf8_lossy(&passwd),
            &String::from_utf8_lossy(&group),
        )
    }

    fn in_files(user: User, passwd: &str, group: &str) -> Self {
        let uid = user.uid.unwrap_or(0);
        let entry = passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.len() >= 6 && fields[2].parse() == Ok(uid));
        let primary = entry.as_ref().and_then(|fields| fields[3].parse().ok());
        let gid = user.gid.or(primary).unwrap_or(0);
        let home = entry
            .as_ref()
            .map(|fields| fields[5])
            .filter(|home| !home.is_empty())
            .unwrap_or("/");
        let mut groups = vec![gid];
        if let Some(name) = entry.as_ref().map(|fields| fields[0]) {
            groups.extend(
                group
                    .lines()
                    .filter_map(|line| listed(line, name))
                    .filter(|&listed| listed != gid),
            );
        }
        Self {
            uid,
            gid,
            groups,
            home: home.to_owned(),
        }
    }

    /// Whether a user namespace of its own is what makes this user.
    fn is_nested(&self, privilege: Privilege) -> bool {
        privilege == Privilege::UserNamespace && (self.uid, self.gid) != (0, 0)
    }

    /// Makes the calling process, which is about to execute the main program of a container, this user.
    /// Answers with the user namespace made for that, if one was.
    pub(super) fn assume(&self, privilege: Privilege) -> std::io::Result<Option<OwnedFd>> {
        if !self.is_nested(privilege) {
            self.set_ids(privilege)?;
            return Ok(None);
        }
        sys::unshare(UnshareFlags::NEWUSER)?;
        map_one_id(self.uid, 0, self.gid, 0)?;
        bound_capabilities()?;
        Ok(Some(fs::File::open("/proc/self/ns/user")?.into()))
    }

    /// The same for a command beside the main program, which is in `namespace` if it was given one.
    pub(super) fn join(
        &self,
        privilege: Privilege,
        namespace: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        match namespace {
            Some(namespace) => {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User))?;
                bound_capabilities()
            }
            None => self.set_ids(privilege),
        }
    }

    /// In a user namespace with a single id there is nothing to set, and setgroups is denied.
    fn set_ids(&self, privilege: Privilege) -> Result<()> {
        bound_capabilities()?;
        if privilege == Privilege::Root {
            // So that /dev/stdout and others can be opened by name, which for a pipe or a terminal asks its
            // owner.
            let owner = Some(Uid::from_raw(self.uid));
            for stream in [stdin(), stdout(), stderr()] {
                if is_made_for_it(stream) {
                    let _not_ours_to_give = fchown(stream, owner, None);
                }
            }
            let groups: Vec<Gid> = self.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
            set_thread_groups(&groups)?;
            set_thread_gid(Gid::from_raw(self.gid))?;
            set_thread_uid(Uid::from_raw(self.uid))?;
        }
        Ok(())
    }
}

/// Whether a stream is a pipe or a terminal, and not the whole host's `/dev/null`.
fn is_made_for_it(stream: BorrowedFd<'_>) -> bool {
    /// Of the far ends of pseudo terminals, devices.txt of the kernel.
    const TERMINALS: RangeInclusive<u32> = 136..=143;
    fstat(stream).is_ok_and(|stat| match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => true,
        FileType::CharacterDevice => TERMINALS.contains(&major(stat.st_rdev)),
        _ => false,
    })
}

/// Leaves a container's root the capabilities that containerd and Docker leave it, from its execve on; above
/// all not SYS_ADMIN, with which it could make the host's directories writable again. MKNOD is not among
/// them, as no device cgroup stands behind it. A new user namespace begins with all of them anew.
fn bound_capabilities() -> Result<()> {
    const KEPT: CapabilitySet = CapabilitySet::CHOWN
        .union(CapabilitySet::DAC_OVERRIDE)
        .union(CapabilitySet::FOWNER)
        .union(CapabilitySet::FSETID)
        .union(CapabilitySet::KILL)
        .union(CapabilitySet::SETGID)
        .union(CapabilitySet::SETUID)
        .union(CapabilitySet::SETPCAP)
        .union(CapabilitySet::NET_BIND_SERVICE)
        .union(CapabilitySet::NET_RAW)
        .union(CapabilitySet::SYS_CHROOT)
        .union(CapabilitySet::AUDIT_WRITE)
        .union(CapabilitySet::SETFCAP);
    for capability in CapabilitySet::all().difference(KEPT).iter() {
        match remove_capability_from_bounding_set(capability) {
            // One that this kernel does not know cannot be had either.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// In the user namespace just entered, makes the outer ids appear as the inner ones, and no other.
pub(super) fn map_one_id(
    uid: u32,
    outer_uid: u32,
    gid: u32,
    outer_gid: u32,
) -> std::io::Result<()> {
    // Without privilege outside, a group may be mapped only where setgroups has been given up.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {outer_uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {outer_gid} 1"))
}

/// The group of one line of `/etc/group`, if `user` is among its members.
fn listed(line: &str, user: &str) -> Option<u32> {
    let fields: Vec<&str> = line.split(':').collect();
    let [_, _, gid, members] = fields[..] else {
        return None;
    };
    members
        .split(',')
        .any(|member| member == user)
        .then(|| gid.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:www:/var/www:/bin/false\nbroken\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:web,root\nlog:x:5:other,web\nweb:x:44:web\n";

    #[track_caller]
    fn check(uid: Option<u32>, gid: Option<u32>, expect: (u32, u32, &[u32], &str)) {
        let found = Identity::in_files(User { uid, gid }, PASSWD, GROUP);
        assert_eq!(
            (found.uid, found.gid, &found.groups[..], &found.home[..]),
            expect
        );
    }

    #[test]
    fn users_come_from_passwd_and_group() {
        check(None, None, (0, 0, &[0, 4], "/root"));
        check(Some(33), None, (33, 44, &[44, 4, 5], "/var/www"));
        check(Some(33), Some(7), (33, 7, &[7, 4, 5, 44], "/var/www"));
        check(Some(4000), None, (4000, 0, &[0], "/"));
        check(Some(4000), Some(4001), (4000, 4001, &[4001], "/"));
    }
}
