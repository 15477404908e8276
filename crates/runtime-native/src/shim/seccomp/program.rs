//! A filter as the kernel runs it: a program of the classic BPF machine, which looks a call's number up in a tree
//! of ranges.
//!
//! A list of comparisons would be as right, but the kernel runs a new filter once for every number there is, to
//! know beforehand which calls need not be looked at: 1 ms for a list, a tenth of that for a tree.

use std::collections::BTreeMap;

use libc::sock_filter;
use serde::Deserialize;

use super::Argument;
use super::architecture::Architecture;

/// How an argument is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Compare {
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    /// Of the bits of the value, those are set that the second value has.
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    Masked,
}

/// What is to come of each call of one architecture. All actions as a filter returns them.
pub(super) struct Calls {
    default: u32,
    by_number: BTreeMap<u32, Call>,
    /// The highest number that the profile names, whatever it says of it.
    newest: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Call {
    /// The first that matches.
    conditional: Vec<(Vec<Argument>, u32)>,
    otherwise: Option<u32>,
}

impl Calls {
    /// `default` for all.
    pub(super) const fn new(default: u32) -> Self {
        Self {
            default,
            by_number: BTreeMap::new(),
            newest: None,
        }
    }

    /// The profile names this call.
    pub(super) fn speak_of(&mut self, number: u32) {
        self.newest = self.newest.max(Some(number));
    }

    /// Another action for one call if its arguments match. What was said first stays.
    pub(super) fn add(&mut self, number: u32, arguments: Vec<Argument>, action: u32) {
        let call = self.by_number.entry(number).or_default();
        if arguments.is_empty() {
            call.otherwise.get_or_insert(action);
        } else {
            call.conditional.push((arguments, action));
        }
    }

    /// Adjacent ranges, each from its first number on, with what to do.
    ///
    /// A call that is newer than all the profile speaks of does not exist, so that a program tries an older one:
    /// with EPERM it would give up.
    ///
    /// Upstream: runc libcontainer/seccomp/patchbpf/enosys_linux.go, findLastSyscalls and generateEnosysStub.
    /// Shown by: calls_newer_than_the_profile_do_not_exist.
    fn ranges(&self, wide: bool, from: u32) -> Vec<(u32, Vec<sock_filter>)> {
        let mut ranges: Vec<(u32, Vec<sock_filter>)> = Vec::new();
        let mut next = from;
        let mut push = |start: u32, code: Vec<sock_filter>| {
            if ranges.last().is_none_or(|(_, last)| !same(last, &code)) {
                ranges.push((start, code));
            }
        };
        for (&number, call) in &self.by_number {
            if next < number {
                push(next, vec![give(self.default)]);
            }
            push(number, call.code(self.default, wide));
            next = number + 1;
        }
        let beyond = match self.default & libc::SECCOMP_RET_ACTION_FULL {
            libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG => self.default,
            _ if self.newest.is_none() => self.default,
            _ => libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned(),
        };
        if let Some(newest) = self.newest.filter(|newest| next <= *newest) {
            push(next, vec![give(self.default)]);
            next = newest + 1;
        }
        push(next, vec![give(beyond)]);
        ranges
    }
}

impl Call {
    fn code(&self, default: u32, wide: bool) -> Vec<sock_filter> {
        let mut code = Vec::new();
        for (arguments, action) in &self.conditional {
            // Last first, as each has to know how far it is to the end of them all.
            let mut rest = vec![give(*action)];
            for argument in arguments.iter().rev() {
                let mut test = argument.code(wide, rest.len());
                test.append(&mut rest);
                rest = test;
            }
            code.append(&mut rest);
        }
        code.push(give(self.otherwise.unwrap_or(default)));
        code
    }
}

/// Where a comparison goes on.
#[derive(Clone, Copy)]
enum Then {
    Next,
    /// The argument matches.
    Yes,
    /// It does not.
    No,
}

impl Argument {
    /// Falls through if the argument matches, and skips `rest` more instructions if not.
    fn code(self, wide: bool, rest: usize) -> Vec<sock_filter> {
        use Then::{Next, No, Yes};
        let low = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap_or(u32::MAX);
        let high = |value: u64| u32::try_from(value >> 32).unwrap_or(u32::MAX);
        // Little end first, as on all that `Architecture` knows.
        let place = 16 + 8 * u32::from(self.index);
        let mut steps: Vec<(u16, u32, Then, Then)> = Vec::new();
        let load = |steps: &mut Vec<_>, half: u32| {
            steps.push((LOAD, place + 4 * half, Next, Next));
        };
        let (value, two) = (self.value, self.value_two);
        match self.op {
            Compare::Equal | Compare::NotEqual => {
                let (equal, not) = if self.op == Compare::Equal {
                    (Next, No)
                } else {
                    (No, Yes)
                };
                if wide {
                    load(&mut steps, 1);
                    steps.push((JUMP_EQUAL, high(value), Next, not));
                }
                load(&mut steps, 0);
                steps.push((JUMP_EQUAL, low(value), equal, not));
            }
            Compare::Masked => {
                if wide {
                    load(&mut steps, 1);
                    steps.push((AND, high(value), Next, Next));
                    steps.push((JUMP_EQUAL, high(two), Next, No));
                }
                load(&mut steps, 0);
                steps.push((AND, low(value), Next, Next));
                steps.push((JUMP_EQUAL, low(two), Next, No));
            }
            Compare::Greater | Compare::GreaterOrEqual | Compare::Less | Compare::LessOrEqual => {
                let (above, below) = match self.op {
                    Compare::Greater | Compare::GreaterOrEqual => (Yes, No),
                    _ => (No, Yes),
                };
                let last = match self.op {
                    Compare::Greater | Compare::LessOrEqual => JUMP_GREATER,
                    _ => JUMP_GREATER_OR_EQUAL,
                };
                if wide {
                    load(&mut steps, 1);
                    steps.push((JUMP_GREATER, high(value), above, Next));
                    steps.push((JUMP_EQUAL, high(value), Next, below));
                }
                load(&mut steps, 0);
                steps.push((last, low(value), above, below));
            }
        }
        let count = steps.len();
        let resolved = steps.iter().enumerate().map(|(at, &(code, k, yes, no))| {
            let distance = |then| {
                let to = match then {
                    Next => 0,
                    Yes => count - at - 1,
                    No => count - at - 1 + rest,
                };
                u8::try_from(to).unwrap_or(u8::MAX)
            };
            sock_filter {
                code,
                jt: distance(yes),
                jf: distance(no),
                k,
            }
        });
        resolved.collect()
    }
}

/// A word of `seccomp_data` by its offset.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

const fn give(action: u32) -> sock_filter {
    step(RETURN, action, 0, 0)
}

const fn step(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

fn same(one: &[sock_filter], other: &[sock_filter]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| {
            (one.code, one.jt, one.jf, one.k) == (other.code, other.jt, other.jf, other.k)
        })
}

/// The whole program. A call of an architecture that is not among these ends its process.
pub(super) fn assemble(architectures: &[(Architecture, Calls)]) -> Vec<sock_filter> {
    const X32_BIT: u32 = 0x4000_0000;
    let kill = give(libc::SECCOMP_RET_KILL_PROCESS);
    let mut program = vec![step(LOAD, 4, 0, 0)];
    let short = architectures
        .iter()
        .find(|(architecture, _)| *architecture == Architecture::X32);
    for (architecture, calls) in architectures {
        if *architecture == Architecture::X32 {
            continue;
        }
        let mut ranges = calls.ranges(architecture.is_wide(), 0);
        if *architecture == Architecture::X86_64 {
            match short {
                Some((_, calls)) => ranges.extend(calls.ranges(true, X32_BIT)),
                None => ranges.push((X32_BIT, vec![kill])),
            }
        }
        let mut block = vec![step(LOAD, 0, 0, 0)];
        block.extend(tree(&ranges));
        let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
        program.push(step(JUMP_EQUAL, architecture.audit(), 1, 0));
        program.push(step(JUMP, length, 0, 0));
        program.extend(block);
    }
    program.push(kill);
    program
}

/// Halves the ranges until there is one.
fn tree(ranges: &[(u32, Vec<sock_filter>)]) -> Vec<sock_filter> {
    let [_, .., _] = ranges else {
        return ranges
            .first()
            .map(|(_, code)| code.clone())
            .unwrap_or_default();
    };
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let (left, right) = (tree(lower), tree(upper));
    let pivot = upper[0].0;
    let mut code = match u8::try_from(left.len()) {
        Ok(length) => vec![step(JUMP_GREATER_OR_EQUAL, pivot, length, 0)],
        Err(_) => vec![
            step(JUMP_GREATER_OR_EQUAL, pivot, 0, 1),
            step(JUMP, u32::try_from(left.len()).unwrap_or(u32::MAX), 0, 0),
        ],
    };
    code.extend(left);
    code.extend(right);
    code
}

#[cfg(test)]
mod tests {
    use rustix::thread::CapabilitySet;

    use super::super::{DEFAULT, filter_of};
    use super::*;

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const NO_PERMISSION: u32 = libc::SECCOMP_RET_ERRNO | 1;
    const NO_CALL: u32 = libc::SECCOMP_RET_ERRNO | 38;

    /// What the kernel would do about a call: its machine, as far as filters here use it.
    fn run(program: &[sock_filter], audit: u32, number: u32, arguments: &[u64]) -> u32 {
        let mut data = vec![number, audit, 0, 0];
        for index in 0..6 {
            let argument = arguments.get(index).copied().unwrap_or(0);
            let half = |half: u64| u32::try_from(half & 0xffff_ffff).unwrap();
            data.extend([half(argument), half(argument >> 32)]);
        }
        let (mut at, mut word) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            let jump = match step.code {
                LOAD => {
                    word = data[step.k as usize / 4];
                    continue;
                }
                AND => {
                    word &= step.k;
                    continue;
                }
                JUMP => {
                    at += step.k as usize;
                    continue;
                }
                RETURN => return step.k,
                JUMP_EQUAL => word == step.k,
                JUMP_GREATER => word > step.k,
                JUMP_GREATER_OR_EQUAL => word >= step.k,
                other => panic!("{other:#x}"),
            };
            at += usize::from(if jump { step.jt } else { step.jf });
        }
    }

    struct Machine {
        program: Vec<sock_filter>,
        architecture: Architecture,
    }

    impl Machine {
        fn of(json: &str, capabilities: CapabilitySet) -> Self {
            Self {
                program: filter_of(json, capabilities).unwrap().steps().to_vec(),
                architecture: Architecture::NATIVE,
            }
        }

        fn call(&self, name: &str, arguments: &[u64]) -> u32 {
            let calls = self.architecture.calls();
            let (_, number) = calls.iter().find(|(known, _)| *known == name).unwrap();
            run(&self.program, self.architecture.audit(), *number, arguments)
        }
    }

    #[test]
    fn the_default_profile_is_dockers() {
        let mut machine = Machine::of(DEFAULT, CapabilitySet::SYS_CHROOT);
        for name in ["read", "execve", "ptrace", "chroot", "prctl"] {
            assert_eq!(machine.call(name, &[]), ALLOW, "{name}");
        }
        for name in [
            "mount",
            "umount2",
            "unshare",
            "setns",
            "bpf",
            "keyctl",
            "add_key",
            "kexec_load",
            "init_module",
            "io_uring_setup",
            "open_by_handle_at",
            "swapon",
            "userfaultfd",
            "reboot",
        ] {
            assert_eq!(machine.call(name, &[]), NO_PERMISSION, "{name}");
        }
        assert_eq!(machine.call("clone3", &[]), NO_CALL);
        assert_eq!(machine.call("clone", &[0x11]), ALLOW);
        assert_eq!(machine.call("clone", &[0x1000_0011]), NO_PERMISSION);
        // Those that no kernel has any more, the kernel's cryptography, and virtual machines are left out.
        let refused = [12, 19, 20, 23, 25, 34, 37, 38, 40, 46, 1000, 1 << 32];
        let allowed = (1..46).filter(|family| !refused.contains(family));
        let allowed = allowed.map(|family| (family, ALLOW));
        let refused = refused.map(|family| (family, NO_PERMISSION));
        for (family, action) in allowed.chain(refused) {
            assert_eq!(machine.call("socket", &[family]), action, "{family}");
        }
        assert_eq!(machine.call("personality", &[8]), ALLOW);
        assert_eq!(machine.call("personality", &[0x0004_0000]), NO_PERMISSION);
        machine.architecture = if cfg!(target_arch = "x86_64") {
            Architecture::X86
        } else {
            Architecture::Arm
        };
        assert_eq!(machine.call("read", &[]), ALLOW);
        assert_eq!(machine.call("mount", &[]), NO_PERMISSION);

        let machine = Machine::of(DEFAULT, CapabilitySet::SYS_ADMIN);
        for name in ["mount", "clone3", "setns", "unshare"] {
            assert_eq!(machine.call(name, &[]), ALLOW, "{name}");
        }
        assert_eq!(machine.call("clone", &[0x1000_0011]), ALLOW);
        assert_eq!(machine.call("chroot", &[]), NO_PERMISSION);
        assert!(machine.program.len() < 950, "{}", machine.program.len());
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn short_pointers_have_numbers_of_their_own() {
        let machine = Machine::of(DEFAULT, CapabilitySet::empty());
        let x32 = |number: u32| run(&machine.program, 0xc000_003e, 0x4000_0000 | number, &[]);
        // ioctl has another number there; 16 is nobody's.
        assert_eq!(
            (x32(514), x32(16), x32(165)),
            (ALLOW, NO_PERMISSION, NO_PERMISSION)
        );
        assert_eq!(
            run(&machine.program, 0xc000_00b7, 0, &[]),
            libc::SECCOMP_RET_KILL_PROCESS
        );
    }

    #[test]
    fn calls_newer_than_the_profile_do_not_exist() {
        let machine = Machine::of(DEFAULT, CapabilitySet::empty());
        let audit = Architecture::NATIVE.audit();
        assert_eq!(run(&machine.program, audit, 500, &[]), NO_CALL);
        let open = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["mkdirat","unheard_of"],"action":"SCMP_ACT_ERRNO","errnoRet":5}]}"#;
        let machine = Machine::of(open, CapabilitySet::empty());
        assert_eq!(run(&machine.program, audit, 500, &[]), ALLOW);
        assert_eq!(machine.call("mkdirat", &[]), libc::SECCOMP_RET_ERRNO | 5);
        assert_eq!(machine.call("read", &[]), ALLOW);
        // A call is spoken of also where the profile says what holds anyway.
        let closed = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
            {"names":["read"],"action":"SCMP_ACT_ALLOW"},
            {"names":["openat2"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}"#;
        let machine = Machine::of(closed, CapabilitySet::empty());
        assert_eq!(machine.call("read", &[]), ALLOW);
        for name in ["execve", "clone3", "openat2"] {
            assert_eq!(machine.call(name, &[]), NO_PERMISSION, "{name}");
        }
        assert_eq!(machine.call("pidfd_getfd", &[]), NO_CALL);
    }

    #[test]
    fn arguments_are_compared_in_full() {
        let large = 0x1_0000_0002_u64;
        for (op, two, yes, no) in [
            ("EQ", 0, vec![large], vec![2, large + 1, large + (1 << 32)]),
            ("NE", 0, vec![2, large + 1, large << 1], vec![large]),
            (
                "LT",
                0,
                vec![0, 5, large - 1],
                vec![large, large + 1, 2 << 32],
            ),
            ("LE", 0, vec![0, 5, large], vec![large + 1, 2 << 32]),
            (
                "GE",
                0,
                vec![large, large + 1, 2 << 32],
                vec![0, 5, large - 1],
            ),
            ("GT", 0, vec![large + 1, 2 << 32], vec![0, 5, large]),
            (
                "MASKED_EQ",
                2,
                vec![2, 3, 0xff_0000_0002 & !(1 << 32)],
                vec![0, large, 1 << 32],
            ),
        ] {
            let json = format!(
                r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":["read"],"action":"SCMP_ACT_ALLOW",
                "args":[{{"index":1,"value":{large},"valueTwo":{two},"op":"SCMP_CMP_{op}"}},
                {{"index":5,"value":7,"op":"SCMP_CMP_EQ"}}]}}]}}"#
            );
            let machine = Machine::of(&json, CapabilitySet::empty());
            for value in yes {
                let with = |last| machine.call("read", &[0, value, 0, 0, 0, last]);
                assert_eq!(
                    (with(7), with(8)),
                    (ALLOW, NO_PERMISSION),
                    "{op} {value:#x}"
                );
            }
            for value in no {
                let action = machine.call("read", &[0, value, 0, 0, 0, 7]);
                assert_eq!(action, NO_PERMISSION, "{op} {value:#x}");
            }
        }
    }

    #[test]
    fn a_profile_that_cannot_be_is_refused() {
        let refused = |json: &str| {
            filter_of(json, CapabilitySet::empty())
                .map(drop)
                .unwrap_err()
        };
        assert!(refused("{").contains("EOF"));
        assert!(refused(r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#).contains("SCMP_ACT_NOTIFY"));
        let flag = r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_NEW"]}"#;
        assert!(refused(flag).contains("SECCOMP_FILTER_FLAG_NEW"));
        let both = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],
            "archMap":[{"architecture":"SCMP_ARCH_X86_64"}]}"#;
        assert!(refused(both).contains("use either"));
    }
}
