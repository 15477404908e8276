//! Whom a container's processes run as, and how one becomes that.

use std::fs;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, fchown, fstat, major};
use rustix::io::Result;
use rustix::process::{Gid, Uid};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::thread::{
    LinkNameSpaceType, UnshareFlags, move_into_link_name_space, set_thread_gid, set_thread_groups,
    set_thread_uid,
};
use serde::{Deserialize, Serialize};

use crate::sys;

/// A user, with all that the kernel and a shell want to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// `gid`, and further ones.
    pub(super) groups: Vec<u32>,
    /// `HOME`.
    pub(super) home: String,
}

/// How a process comes to be somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Privilege {
    /// As root: by setuid and setgid.
    Root,
    /// In the pod's user namespace, which has many ids: by setuid and setgid.
    ManyIds,
    /// In the pod's user namespace, which has one id, 0: by another user namespace inside it, in which
    /// that same id goes by another number.
    UserNamespace,
}

impl Identity {
    /// Whether a user namespace of its own is what makes this user.
    fn is_nested(&self, privilege: Privilege) -> bool {
        privilege == Privilege::UserNamespace && (self.uid, self.gid) != (0, 0)
    }

    /// Moves the calling process, which is about to execute the main program of a container, into the user
    /// namespace that makes it this user, if that is what does. Answers with that namespace.
    pub(super) fn enter(&self, privilege: Privilege) -> std::io::Result<Option<OwnedFd>> {
        self.check_mapped(privilege)?;
        if !self.is_nested(privilege) {
            return Ok(None);
        }
        sys::unshare(UnshareFlags::NEWUSER)?;
        map_one_id(self.uid, 0, self.gid, 0)?;
        Ok(Some(fs::File::open("/proc/self/ns/user")?.into()))
    }

    /// The same for a command beside the main program, which is in `namespace` if it was given one.
    pub(super) fn join(namespace: Option<BorrowedFd<'_>>) -> Result<()> {
        namespace.map_or(Ok(()), |namespace| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User))
        })
    }

    /// Said here, as the kernel would only call an id invalid that its user namespace does not have.
    fn check_mapped(&self, privilege: Privilege) -> std::io::Result<()> {
        if privilege != Privilege::ManyIds {
            return Ok(());
        }
        let groups = self.groups.iter().chain([&self.gid]).copied();
        for (what, map, ids) in [
            ("user", "/proc/self/uid_map", vec![self.uid]),
            ("group", "/proc/self/gid_map", groups.collect()),
        ] {
            let map = fs::read_to_string(map)?;
            if let Some(id) = ids.into_iter().find(|&id| !is_mapped(&map, id)) {
                let text = format!("{what} {id} is beyond the ids of /etc/subuid and /etc/subgid");
                return Err(std::io::Error::other(text));
            }
        }
        Ok(())
    }

    /// Makes the calling process this user, with its standard streams. In a user namespace with a single id there
    /// is nothing to set, and setgroups is denied.
    pub(super) fn set_ids(&self, privilege: Privilege) -> Result<()> {
        for stream in [stdin(), stdout(), stderr()] {
            self.give(privilege, stream);
        }
        if privilege != Privilege::UserNamespace {
            let groups: Vec<Gid> = self.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
            set_thread_groups(&groups)?;
            set_thread_gid(Gid::from_raw(self.gid))?;
            set_thread_uid(Uid::from_raw(self.uid))?;
        }
        Ok(())
    }

    /// Makes a stream the user's, so that /dev/stdout and others can be opened by name, which for a pipe or a
    /// terminal asks its owner.
    pub(super) fn give(&self, privilege: Privilege, stream: BorrowedFd<'_>) {
        // Root's they are already.
        if privilege != Privilege::UserNamespace && self.uid != 0 && is_made_for_it(stream) {
            let _not_ours_to_give = fchown(stream, Some(Uid::from_raw(self.uid)), None);
        }
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

/// Whether a mapping as the kernel tells it has this inner id.
pub(super) fn is_mapped(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut fields = line.split_whitespace().map(str::parse::<u32>);
        match (fields.next(), fields.next(), fields.next()) {
            (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) => {
                id.checked_sub(first).is_some_and(|index| index < count)
            }
            _ => false,
        }
    })
}

/// In the user namespace just entered, makes the outer ids appear as the inner ones, and no other.
fn map_one_id(uid: u32, outer_uid: u32, gid: u32, outer_gid: u32) -> std::io::Result<()> {
    // Without privilege outside, a group may be mapped only where setgroups has been given up.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {outer_uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {outer_gid} 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_ids_are_those_of_a_range() {
        let map = "         0       1000          1\n         1     100000      65536\n";
        assert!([0, 1, 65536].iter().all(|&id| is_mapped(map, id)));
        assert!(!is_mapped(map, 65537) && !is_mapped("", 0));
    }
}
