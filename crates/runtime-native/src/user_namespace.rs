//! The user namespace that pods run in without root: in it the caller is user 0, and, where `/etc/subuid` and
//! `/etc/subgid` give the caller more ids and `newuidmap` is there, the ids from 1 on are those.
//!
//! Only a process outside may write such a mapping, and only `newuidmap` may for an ordinary user. So a child is
//! forked first, which stays outside, waits until the caller is in the new namespace, and has it mapped.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    WaitId, WaitIdOptions, getegid, geteuid, getpid, set_parent_process_death_signal, waitid,
};
use rustix::thread::{CapabilitySet, UnshareFlags, capabilities};

use crate::sys::{self, Fresh};
use crate::text;

/// Where `newuidmap` and `newgidmap` may be; the last is NixOS's.
const PATH: &str = "/usr/bin:/bin:/usr/local/bin:/usr/sbin:/sbin:/run/wrappers/bin";
/// Of `/etc/subuid`, so many lines of one user are mapped. The kernel takes 340.
const MAX_RANGES: usize = 100;

/// Which ids there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// The user's, as 0, and ranges of others.
    Many,
    /// The user's alone, as 0, and why.
    One(String),
}

/// Moves the calling process, which has one thread, into a new user namespace.
pub(crate) fn enter() -> io::Result<Mapping> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let mapper = Ranges::of(uid).and_then(|ranges| {
        Mapper::start(uid, gid, &ranges).map_err(|errno| format!("fork: {}", text::reason(errno)))
    });
    sys::unshare(UnshareFlags::NEWUSER)?;
    let mapped = mapper.and_then(Mapper::map);
    let Err(why) = mapped else {
        return Ok(Mapping::Many);
    };
    // One of the two may have been mapped before the other failed.
    let is_empty = |map: &str| fs::read_to_string(map).is_ok_and(|map| map.trim().is_empty());
    if is_empty("/proc/self/uid_map") {
        fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    }
    if is_empty("/proc/self/gid_map") {
        // Without privilege outside, a group may be mapped only where setgroups has been given up.
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    }
    Ok(Mapping::One(why))
}

/// Moves the calling process, which must have one thread, into a user namespace like those of the pods that it
/// could start, so that it may read, change and remove what is theirs. Where that is root's own, nothing is done.
///
/// Whether files may have any of many owners there; if not, they have the caller for their only one, whom they
/// show as user 0.
///
/// # Errors
/// If this host does not allow user namespaces, or the process has several threads.
pub fn enter_user_namespace() -> io::Result<bool> {
    if geteuid().is_root() {
        let capable = capabilities(None)?.effective;
        if capable.contains(CapabilitySet::SYS_ADMIN) {
            return Ok(true);
        }
    }
    Ok(enter()? == Mapping::Many)
}

/// What to tell people, once, who run pods without root and have a single id for them: what breaks, and what
/// helps. `None` for root, and where there are more.
#[must_use]
pub fn single_id_notice() -> Option<String> {
    single_id().map(|why| told(&why))
}

/// Why the pods of an ordinary user have a single id, if they have.
pub(crate) fn single_id() -> Option<String> {
    let uid = geteuid();
    if uid.is_root() {
        return None;
    }
    Ranges::of(uid.as_raw()).err().or_else(|| {
        let is_missing = |program: &&str| {
            let mut dirs = PATH.split(':');
            !dirs.any(|dir| std::path::Path::new(dir).join(program).exists())
        };
        let missing = ["newuidmap", "newgidmap"].into_iter().find(is_missing);
        missing.map(|program| format!("{program} is not there"))
    })
}

/// What breaks where files and processes have one owner alone.
pub(crate) fn told(why: &str) -> String {
    format!(
        "every file and process of a pod has one and the same owner outside, whatever it shows inside: {why}. \
         Changing to another user, chown to other ids, supplementalGroups and fsGroup have no effect or fail. \
         Ranges in /etc/subuid and /etc/subgid and the programs newuidmap and newgidmap change that"
    )
}

/// Ids beside the user's own: first and how many, of users and of groups.
#[derive(Debug, PartialEq, Eq)]
struct Ranges {
    users: Vec<(u32, u32)>,
    groups: Vec<(u32, u32)>,
}

impl Ranges {
    fn of(uid: u32) -> Result<Self, String> {
        let passwd = fs::read("/etc/passwd").unwrap_or_default();
        let user = name_in(&String::from_utf8_lossy(&passwd), uid);
        let ranges = |file: &str| {
            let text = fs::read(file).unwrap_or_default();
            let found = ranges_in(&String::from_utf8_lossy(&text), user.as_deref(), uid);
            if found.is_empty() {
                let user = user.as_deref().map_or_else(|| uid.to_string(), Into::into);
                return Err(format!("{file} has no range of user {user}"));
            }
            Ok(found)
        };
        Ok(Self {
            users: ranges("/etc/subuid")?,
            groups: ranges("/etc/subgid")?,
        })
    }
}

fn name_in(passwd: &str, uid: u32) -> Option<String> {
    let lines = passwd.lines().map(|line| line.split(':'));
    let mut names = lines.filter_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    names.next()
}

/// Of lines `user:first:count`, those of one user, by name or number.
fn ranges_in(text: &str, name: Option<&str>, uid: u32) -> Vec<(u32, u32)> {
    let uid = uid.to_string();
    let ranges = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let user = fields.next()?;
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (count > 0 && (Some(user) == name || user == uid)).then_some((first, count))
    });
    ranges.take(MAX_RANGES).collect()
}

/// As `newuidmap` takes it: inner id, outer id and count, again and again.
fn words(own: u32, ranges: &[(u32, u32)]) -> Vec<String> {
    let mut words = vec!["0".to_owned(), own.to_string(), "1".to_owned()];
    let mut inner: u32 = 1;
    for &(first, count) in ranges {
        words.extend([inner, first, count].map(|number| number.to_string()));
        let Some(next) = inner.checked_add(count) else {
            break;
        };
        inner = next;
    }
    words
}

/// The child that stays outside.
struct Mapper {
    child: sys::Child,
    /// A byte: the caller is in its namespace.
    go: OwnedFd,
    /// `ok`, or why not.
    answer: OwnedFd,
}

const OK: &str = "ok";

impl Mapper {
    fn start(uid: u32, gid: u32, ranges: &Ranges) -> Result<Self, Errno> {
        let pid = getpid().as_raw_nonzero().to_string();
        let (users, groups) = (words(uid, &ranges.users), words(gid, &ranges.groups));
        let pipe = || pipe_with(PipeFlags::CLOEXEC);
        let ((go_in, go), (answer, answer_in)) = (pipe()?, pipe()?);
        let child = sys::fork(Fresh::Nothing, || {
            let alone = sys::close_all_but(&[go_in.as_fd(), answer_in.as_fd()]);
            let dies = set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
            if alone.is_err() || dies.is_err() {
                return 1;
            }
            // Nothing, if the caller is gone.
            if !matches!(rustix::io::read(&go_in, &mut [0; 1]), Ok(1)) {
                return 1;
            }
            // Both at once, as each takes some milliseconds.
            let users = start("newuidmap", &pid, &users);
            let groups = start("newgidmap", &pid, &groups);
            let (users, groups) = (finish(users), finish(groups));
            let mapped = users.and(groups);
            let answer = mapped.err().unwrap_or_else(|| OK.to_owned());
            let copy = answer_in.try_clone();
            i32::from(copy.is_ok_and(|pipe| File::from(pipe).write_all(answer.as_bytes()).is_err()))
        })?;
        Ok(Self { child, go, answer })
    }

    fn map(self) -> Result<(), String> {
        let failed = |error: io::Error| format!("map ids: {}", text::of_io(&error));
        File::from(self.go).write_all(b"!").map_err(failed)?;
        let mut answer = String::new();
        let read = File::from(self.answer).read_to_string(&mut answer);
        let pidfd = WaitId::PidFd(self.child.pidfd.as_fd());
        while matches!(
            waitid(pidfd.clone(), WaitIdOptions::EXITED),
            Err(Errno::INTR)
        ) {}
        read.map_err(failed)?;
        match answer.as_str() {
            OK => Ok(()),
            "" => Err("map ids: killed".to_owned()),
            why => Err(why.to_owned()),
        }
    }
}

type Started = (&'static str, io::Result<std::process::Child>);

fn start(program: &'static str, pid: &str, words: &[String]) -> Started {
    let child = Command::new(OsStr::new(program))
        .arg(pid)
        .args(words)
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    (program, child)
}

fn finish((program, child): Started) -> Result<(), String> {
    let output = child.and_then(std::process::Child::wait_with_output);
    let output = output.map_err(|error| format!("{program}: {}", text::of_io(&error)))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or_default();
    Err(format!("{program} failed: {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_number() {
        let subuid =
            "web:100000:65536\n# a comment\n33:300000:10\nother:1:1\nweb:0x:5\nweb:7:0\nweb\n";
        assert_eq!(
            ranges_in(subuid, Some("web"), 33),
            [(100_000, 65536), (300_000, 10)]
        );
        assert_eq!(ranges_in(subuid, None, 33), [(300_000, 10)]);
        let passwd = "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/:/bin/sh\n";
        assert_eq!(name_in(passwd, 33).as_deref(), Some("web"));
        assert_eq!(name_in(passwd, 34), None);
    }

    #[test]
    fn inner_ids_follow_one_another() {
        let expect = [
            "0", "1000", "1", "1", "100000", "65536", "65537", "300000", "10",
        ];
        assert_eq!(words(1000, &[(100_000, 65536), (300_000, 10)]), expect);
        let too_many = words(1000, &[(1, u32::MAX), (5, 5)]);
        assert_eq!(too_many.len(), 6, "what cannot be numbered is left out");
    }
}
