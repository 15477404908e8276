//! Which system calls a container may make: a profile, in the form that the OCI and Docker have for it, and the
//! part of it that holds for one set of capabilities. [`program`] makes of that what the kernel runs.

mod architecture;
mod program;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use probelet_model::security::Seccomp;
use rustix::thread::CapabilitySet;
use serde::Deserialize;

use self::architecture::Architecture;
use self::program::Compare;
use super::capabilities;
use crate::sys::Filter;
use crate::text;

/// The profile for all who name no other, which is Docker's of 2026.
///
/// Upstream: moby/profiles seccomp/default_linux.go, DefaultProfile (containerd's contrib/seccomp has the same
/// but for what is newest).
/// Shown by: the_default_profile_is_dockers, the_default_profile_is_on.
const DEFAULT: &str = include_str!("seccomp/default.json");

/// The filters that a pod's containers have; each is made once.
pub(super) struct Profiles {
    /// Where those of the node are.
    dir: PathBuf,
    made: Vec<(CapabilitySet, Rc<Filter>)>,
}

impl Profiles {
    /// With those of the node in `seccomp` below the data directory.
    pub(super) fn below(data_dir: &Path) -> Self {
        Self {
            dir: data_dir.join("seccomp"),
            made: Vec::new(),
        }
    }

    /// The filter for a container with these capabilities; `None`: it may make every call.
    pub(super) fn filter(
        &mut self,
        seccomp: &Seccomp,
        capabilities: CapabilitySet,
    ) -> Result<Option<Rc<Filter>>, String> {
        let path = match seccomp {
            Seccomp::Unconfined => return Ok(None),
            Seccomp::RuntimeDefault => return self.own(capabilities).map(Some),
            Seccomp::Localhost(path) => path,
        };
        node_profile(&self.dir.join(path), capabilities).map(|filter| Some(Rc::new(filter)))
    }

    fn own(&mut self, capabilities: CapabilitySet) -> Result<Rc<Filter>, String> {
        let made = self.made.iter().find(|(of, _)| *of == capabilities);
        if let Some((_, filter)) = made {
            return Ok(Rc::clone(filter));
        }
        let filter = Rc::new(filter_of(DEFAULT, capabilities)?);
        self.made.push((capabilities, Rc::clone(&filter)));
        Ok(filter)
    }
}

/// A profile of the node, read anew for every container.
///
/// Upstream: containerd contrib/seccomp/seccomp.go, WithProfile.
/// Shown by: a_profile_of_the_node_is_used.
fn node_profile(file: &Path, capabilities: CapabilitySet) -> Result<Filter, String> {
    let file_name = file.display();
    let json = std::fs::read_to_string(file).map_err(|error| {
        let reason = text::of_io(&error);
        format!("cannot load seccomp profile \"{file_name}\": open {file_name}: {reason}")
    })?;
    filter_of(&json, capabilities)
        .map_err(|error| format!("decoding seccomp profile failed \"{file_name}\": {error}"))
}

fn filter_of(json: &str, capabilities: CapabilitySet) -> Result<Filter, String> {
    let profile: Profile<'_> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    profile.filter(capabilities)
}

/// The form of the OCI, and what Docker's has beyond it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile<'a> {
    default_action: Action,
    default_errno_ret: Option<u16>,
    #[serde(borrow, default)]
    architectures: Vec<&'a str>,
    #[serde(default)]
    arch_map: Vec<ArchitectureAndKin<'a>>,
    #[serde(default)]
    flags: Vec<&'a str>,
    #[serde(default)]
    syscalls: Vec<Rule<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchitectureAndKin<'a> {
    architecture: &'a str,
    #[serde(borrow, default)]
    sub_architectures: Option<Vec<&'a str>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule<'a> {
    #[serde(borrow)]
    names: Vec<&'a str>,
    action: Action,
    errno_ret: Option<u16>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Option<Condition<'a>>,
    #[serde(default)]
    excludes: Option<Condition<'a>>,
}

/// One that is not known here is refused: passed over, it would make a rule hold for those it is not for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Condition<'a> {
    #[serde(borrow, default)]
    arches: Vec<&'a str>,
    #[serde(borrow, default)]
    caps: Vec<&'a str>,
    #[serde(default)]
    min_kernel: Option<Kernel>,
}

/// The version of a kernel, as far as it counts: `6.12`.
///
/// Upstream: moby/profiles seccomp/kernel_linux.go, parseRelease and kernelGreaterEqualThan.
/// Shown by: a_rule_may_be_for_newer_kernels_only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kernel(u32, u32);

impl Kernel {
    fn here() -> Result<Self, String> {
        let uname = rustix::system::uname();
        let release = uname.release().to_string_lossy();
        Self::in_release(&release).ok_or_else(|| format!("cannot tell the kernel of \"{release}\""))
    }

    /// What follows the second number is passed over: `3.12-1-amd64`.
    fn in_release(release: &str) -> Option<Self> {
        let mut parts = release.splitn(2, '.');
        let (first, rest) = (parts.next()?, parts.next()?);
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        Some(Self(first.parse().ok()?, rest[..digits].parse().ok()?))
    }
}

impl<'de> Deserialize<'de> for Kernel {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let version = text
            .split_once('.')
            .and_then(|(kernel, major)| Some(Self(kernel.parse().ok()?, major.parse().ok()?)));
        version.ok_or_else(|| {
            let expected = "expected \"<kernel>.<major>\"";
            serde::de::Error::custom(format!("invalid kernel version: \"{text}\", {expected}"))
        })
    }
}

/// What the kernel does about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Action {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
}

impl Action {
    /// As a filter returns it; without a number of its own, an error is EPERM.
    const fn code(self, errno: Option<u16>) -> u32 {
        let data = match errno {
            Some(errno) => errno as u32,
            None => libc::EPERM.cast_unsigned(),
        };
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Log => libc::SECCOMP_RET_LOG,
            Self::Errno => libc::SECCOMP_RET_ERRNO | data,
            Self::Trace => libc::SECCOMP_RET_TRACE | data,
            Self::Trap => libc::SECCOMP_RET_TRAP,
            Self::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            Self::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: Compare,
}

impl Profile<'_> {
    fn filter(&self, capabilities: CapabilitySet) -> Result<Filter, String> {
        let default = self.default_action.code(self.default_errno_ret);
        let kernel = Kernel::here()?;
        let mut architectures = Vec::new();
        for architecture in self.architectures()? {
            let mut calls = program::Calls::new(default);
            let known = architecture.calls();
            for rule in &self.syscalls {
                if rule.is_for(Architecture::NATIVE, capabilities, kernel)? {
                    rule.add_to(&mut calls, &known, default)?;
                }
            }
            architectures.push((architecture, calls));
        }
        Ok(Filter::new(
            program::assemble(&architectures),
            self.flags()?,
        ))
    }

    /// This machine's own, and of what else it can run what the profile speaks of.
    fn architectures(&self) -> Result<Vec<Architecture>, String> {
        let native = Architecture::NATIVE;
        let map = self
            .arch_map
            .iter()
            .find(|entry| entry.architecture == native.name());
        let kin = map.and_then(|entry| entry.sub_architectures.as_ref());
        let named = self
            .architectures
            .iter()
            .chain(kin.into_iter().flatten())
            .filter_map(|name| Architecture::named(name));
        if !self.arch_map.is_empty() && !self.architectures.is_empty() {
            return Err("both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'".into());
        }
        let mut architectures = vec![native];
        for architecture in named {
            if !architectures.contains(&architecture) {
                architectures.push(architecture);
            }
        }
        Ok(architectures)
    }

    fn flags(&self) -> Result<u64, String> {
        let mut flags = 0;
        for flag in &self.flags {
            flags |= match *flag {
                "SECCOMP_FILTER_FLAG_LOG" => libc::SECCOMP_FILTER_FLAG_LOG,
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
                // Of a process with one thread it says nothing.
                "SECCOMP_FILTER_FLAG_TSYNC" => 0,
                other => return Err(format!("flags: {other} is not supported")),
            };
        }
        Ok(flags)
    }
}

impl Rule<'_> {
    /// A rule may be for some architectures, kernels and capabilities only.
    ///
    /// Upstream: moby/profiles seccomp/seccomp_linux.go, setupSeccomp.
    /// Shown by: the_default_profile_is_dockers, a_rule_may_be_for_newer_kernels_only.
    fn is_for(
        &self,
        native: Architecture,
        capabilities: CapabilitySet,
        kernel: Kernel,
    ) -> Result<bool, String> {
        let any = |condition: &Condition<'_>| -> Result<(bool, bool), String> {
            let arch = condition.arches.contains(&native.go_name());
            let mut all_caps = true;
            let mut one_cap = false;
            for name in &condition.caps {
                let set = capabilities::named(name)
                    .ok_or_else(|| format!("capability \"{name}\": there is none of that name"))?;
                let has = capabilities.contains(set);
                all_caps &= has;
                one_cap |= has;
            }
            let is_new = condition.min_kernel.map(|least| kernel >= least);
            Ok((
                (condition.arches.is_empty() || arch) && all_caps && is_new.unwrap_or(true),
                arch || one_cap || is_new.unwrap_or(false),
            ))
        };
        let excluded = self.excludes.as_ref().map(any).transpose()?;
        let included = self.includes.as_ref().map(any).transpose()?;
        Ok(!excluded.is_some_and(|(_, any)| any) && included.is_none_or(|(all, _)| all))
    }

    /// A name that the architecture lacks is passed over.
    ///
    /// Upstream: runc libcontainer/seccomp/seccomp_linux.go, matchCall: arguments are all to match, but where one
    /// is spoken of twice, each stands alone.
    /// Shown by: arguments_are_compared_in_full, the_default_profile_is_dockers.
    fn add_to(
        &self,
        calls: &mut program::Calls,
        known: &[(&str, u32)],
        default: u32,
    ) -> Result<(), String> {
        let action = self.action.code(self.errno_ret);
        let args = self.args.as_deref().unwrap_or_default();
        if let Some(wrong) = args.iter().find(|arg| arg.index > 5) {
            return Err(format!("args: there is no argument {}", wrong.index));
        }
        let repeated = (0..6).any(|index| args.iter().filter(|arg| arg.index == index).count() > 1);
        for name in &self.names {
            let Some((_, number)) = known.iter().find(|(known, _)| known == name) else {
                continue;
            };
            calls.speak_of(*number);
            // Where it says what holds anyway it may stand beside another rule for the same call.
            if action == default {
                continue;
            }
            if repeated {
                for arg in args {
                    calls.add(*number, vec![*arg], action);
                }
            } else {
                calls.add(*number, args.to_vec(), action);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_may_be_for_newer_kernels_only() {
        let holds = |condition: &str, kernel| {
            let rule = format!(r#"{{"names":["read"],"action":"SCMP_ACT_ALLOW",{condition}}}"#);
            let rule: Rule<'_> = serde_json::from_str(&rule).unwrap();
            rule.is_for(Architecture::NATIVE, CapabilitySet::empty(), kernel)
                .unwrap()
        };
        let included = r#""includes":{"minKernel":"4.8"}"#;
        let excluded = r#""excludes":{"minKernel":"4.8"}"#;
        for (kernel, is_new) in [
            (Kernel(4, 7), false),
            (Kernel(4, 8), true),
            (Kernel(4, 10), true),
            (Kernel(5, 0), true),
        ] {
            assert_eq!(holds(included, kernel), is_new, "{kernel:?}");
            assert_eq!(holds(excluded, kernel), !is_new, "{kernel:?}");
        }
        let releases = [
            ("3.12.25-gentoo", (3, 12)),
            ("3.12-1-amd64", (3, 12)),
            ("6.18", (6, 18)),
        ];
        for (release, (kernel, major)) in releases {
            assert_eq!(Kernel::in_release(release), Some(Kernel(kernel, major)));
        }
        assert_eq!(Kernel::in_release("unknown"), None);
        assert!(Kernel::here().unwrap() > Kernel(4, 0));
    }

    #[test]
    fn a_condition_that_is_not_known_is_refused() {
        for (condition, expected) in [
            (r#"{"minKernel":"6"}"#, "invalid kernel version: \"6\""),
            (r#"{"minKernel":"6.1.2"}"#, "invalid kernel version"),
            (r#"{"maxKernel":"6.1"}"#, "unknown field `maxKernel`"),
        ] {
            for side in ["includes", "excludes"] {
                let json = format!(
                    r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
                        {{"names":["read"],"action":"SCMP_ACT_ALLOW","{side}":{condition}}}]}}"#
                );
                let refused = filter_of(&json, CapabilitySet::empty()).err().unwrap();
                assert!(refused.contains(expected), "{refused}");
            }
        }
    }
}
