//! Which devices a container may make and open.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::io::Errno;

use super::limits::Setting;
use crate::{sys, text};

/// What every container may use: make any node, and open `null`, `zero`, `full`, `random`, `urandom`, `tty`,
/// `console`, `ptmx` and the terminals of `devpts`.
///
/// Upstream: runc libcontainer/specconv/spec_linux.go, AllowedDevices.
/// Shown by: a_device_that_is_not_a_usual_one_cannot_be_opened.
const USUAL: [Rule; 11] = [
    Rule::make(Kind::Character),
    Rule::make(Kind::Block),
    Rule::all(1, Some(3)),
    Rule::all(1, Some(5)),
    Rule::all(1, Some(7)),
    Rule::all(1, Some(8)),
    Rule::all(1, Some(9)),
    Rule::all(5, Some(0)),
    Rule::all(5, Some(1)),
    Rule::all(5, Some(2)),
    Rule::all(136, None),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Block = 1,
    Character = 2,
}

/// What may be done with a device, as bits of what a program is asked about.
const MAKE: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;

/// What may be done with one device, or with several: `None` is any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    kind: Kind,
    major: Option<u32>,
    minor: Option<u32>,
    access: u32,
}

impl Rule {
    const fn make(kind: Kind) -> Self {
        Self {
            kind,
            major: None,
            minor: None,
            access: MAKE,
        }
    }

    const fn all(major: u32, minor: Option<u32>) -> Self {
        Self {
            kind: Kind::Character,
            major: Some(major),
            minor,
            access: MAKE | READ | WRITE,
        }
    }

    /// As the controller of version 1 reads it.
    fn text(self) -> String {
        let kind = match self.kind {
            Kind::Block => 'b',
            Kind::Character => 'c',
        };
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |it| it.to_string());
        let access: String = [(READ, 'r'), (WRITE, 'w'), (MAKE, 'm')]
            .iter()
            .filter(|(bit, _)| self.access & bit != 0)
            .map(|(_, letter)| letter)
            .collect();
        format!(
            "{kind} {}:{} {access}",
            number(self.major),
            number(self.minor)
        )
    }
}

/// For a cgroup of version 1.
pub(super) fn settings() -> impl Iterator<Item = Setting> {
    let deny = ("devices.deny", "a".to_owned());
    let allow = USUAL.iter().map(|rule| ("devices.allow", rule.text()));
    std::iter::once(deny).chain(allow)
}

/// For a cgroup of version 2. Where this user or this kernel can have no such program, why.
///
/// Upstream: opencontainers/cgroups devices/devicefilter.go, deviceFilter, and devices/ebpf_linux.go,
/// loadAttachCgroupDeviceFilter.
/// Shown by: version_2_holds_devices_back_and_ends_all_at_one_stroke.
pub(super) fn bound(cgroup: &Path) -> io::Result<Result<(), String>> {
    let dir = File::open(cgroup)?;
    match sys::bound_devices(dir.as_fd(), &program(&USUAL)) {
        Ok(()) => Ok(Ok(())),
        Err(errno @ (Errno::PERM | Errno::ACCESS | Errno::NOSYS | Errno::INVAL)) => {
            Ok(Err(text::reason(errno)))
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Allows what a rule allows, for the kernel's virtual machine: it is asked with a pointer, in register 1, to three
/// numbers of 32 bits: kind below access, major, minor.
fn program(rules: &[Rule]) -> Vec<u64> {
    const ASKED: u8 = 1;
    const KIND: u8 = 2;
    const ACCESS: u8 = 3;
    const MAJOR: u8 = 4;
    const MINOR: u8 = 5;
    const BEYOND: u8 = 6;
    let mut code = vec![
        load(KIND, ASKED, 0),
        copy(ACCESS, KIND),
        and(KIND, 0xffff),
        shift_right(ACCESS, 16),
        load(MAJOR, ASKED, 4),
        load(MINOR, ASKED, 8),
    ];
    for rule in rules {
        // Each skips what is left of the rule where it does not match.
        let mut tests = vec![vec![(KIND, rule.kind as u32)]];
        tests.extend(rule.major.map(|major| vec![(MAJOR, major)]));
        tests.extend(rule.minor.map(|minor| vec![(MINOR, minor)]));
        let mut rest = vec![set(0, 1), EXIT];
        let forbidden = (MAKE | READ | WRITE) & !rule.access;
        if forbidden != 0 {
            let skip = skip_unless(BEYOND, 0, rest.len());
            rest.splice(0..0, [copy(BEYOND, ACCESS), and(BEYOND, forbidden), skip]);
        }
        for (register, value) in tests.into_iter().flatten().rev() {
            rest.insert(0, skip_unless(register, value, rest.len()));
        }
        code.extend(rest);
    }
    code.extend([set(0, 0), EXIT]);
    code
}

const EXIT: u64 = 0x95;

/// A number of 32 bits, so many bytes behind a pointer.
const fn load(to: u8, from: u8, offset: u16) -> u64 {
    step(0x61, to, from, offset, 0)
}

const fn copy(to: u8, from: u8) -> u64 {
    step(0xbc, to, from, 0, 0)
}

const fn and(register: u8, value: u32) -> u64 {
    step(0x54, register, 0, 0, value)
}

const fn shift_right(register: u8, by: u32) -> u64 {
    step(0x74, register, 0, 0, by)
}

const fn set(register: u8, value: u32) -> u64 {
    step(0xb7, register, 0, 0, value)
}

fn skip_unless(register: u8, value: u32, count: usize) -> u64 {
    let count = u16::try_from(count).expect("a rule has few steps");
    step(0x55, register, 0, count, value)
}

/// As it is in memory, little end first, as on all that this crate runs on.
const fn step(code: u8, to: u8, from: u8, offset: u16, value: u32) -> u64 {
    code as u64
        | (to as u64) << 8
        | (from as u64) << 12
        | (offset as u64) << 16
        | (value as u64) << 32
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    use probelet_model::resources::{Qos, Resources};
    use probelet_runtime::conformance::world::sh;

    use rustix::fs::{Access, access};

    use super::super::place::{Hierarchy, unescaped};
    use super::super::{Cgroups, ContainerCgroup};

    /// The root of version 2, which most hosts of version 1 have beside it.
    fn version_2() -> Option<PathBuf> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
        Some(unescaped(line.split(' ').nth(4)?).into())
    }

    fn shell(cgroup: &ContainerCgroup, script: &str) -> Command {
        let mut shell = Command::new("sh");
        let script = format!("echo $$ > $0; {script}");
        shell
            .args(["-c", &script])
            .arg(cgroup.places[0].dir.join("cgroup.procs"));
        shell
    }

    #[test]
    fn version_2_holds_devices_back_and_ends_all_at_one_stroke() {
        let writes = |root: &PathBuf| access(root, Access::WRITE_OK).is_ok();
        let root = version_2().filter(writes);
        let root = root.filter(|_| rustix::process::geteuid().is_root());
        let Some(root) = root else {
            println!(
                "version_2_holds_devices_back: only root has it, where it is mounted writable"
            );
            return;
        };
        let cgroups = Cgroups {
            hierarchies: vec![Hierarchy {
                root,
                controllers: Vec::new(),
                unified: true,
            }],
            parent: PathBuf::from(format!("probelet/test-{}", std::process::id())),
            pids: None,
            why_none: None,
        };
        let uid = "u".into();
        let pod = cgroups.make_pod(&uid, &Resources::default(), Qos::Burstable);
        let pod = pod.unwrap();
        let made = |privileged| {
            let mut config = sh("c", "");
            config.security.privileged = privileged;
            pod.make(&config).unwrap()
        };
        let dir = tempfile::tempdir().unwrap();
        let others = ["kmsg", "net/tun", "loop-control", "fuse", "hwrng"];
        let open = |privileged| {
            // Any node may be made, but not opened.
            let script = "exec 2>/dev/null; cd $1; for d in null full urandom $2; do \
                (true < /dev/$d) && echo $d; done; mknod c c 10 229 && echo char; mknod b b 7 7 && echo block; \
                (true < c) && echo fuse; rm c b";
            let output = shell(&made(privileged), script)
                .arg(dir.path())
                .arg(others.join(" "))
                .output();
            let text = String::from_utf8(output.unwrap().stdout).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let usual = ["null", "full", "urandom", "char", "block"];
        let can_be_bound = super::bound(&made(false).places[0].dir).unwrap();
        match can_be_bound {
            Ok(()) => assert_eq!(open(false), usual),
            Err(why) => println!("version_2_holds_devices_back: not here, {why}"),
        }
        let all = open(true);
        assert!(usual.iter().all(|name| all.iter().any(|one| one == name)));
        let is_here = |name: &&str| Path::new("/dev").join(name).exists();
        assert!(all.len() > usual.len() || !others.iter().any(is_here));

        let container = made(false);
        let mut child = shell(&container, "sleep 1000 & echo; wait")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        assert_eq!(cgroups.processes(&uid).len(), 2);
        cgroups.kill_pod(&uid);
        assert!(!child.wait().unwrap().success());
        drop((container, pod));
        cgroups.remove_pod(&uid).unwrap();
    }
}
