//! Traffic out of pods and between them.
//!
//! A pod always has a network namespace with its address on the loopback interface; the shim makes it, and
//! probes and the proxy enter it by sockets made there. That needs nothing of what is here, and is not touched
//! by it. What is here adds the other direction, by one of three [`Way`]s: a bridge (as root), `pasta` (without),
//! or none.
//!
//! `plan` has the names and addresses, as functions; `links` is what pods come to and go from; `bridge`, `veth`,
//! `firewall` and `forwarding` carry out; `pasta` only finds the program, which the shim runs.

mod bridge;
mod firewall;
mod forwarding;
mod links;
mod netlink;
mod pasta;
mod plan;
mod veth;

use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub(crate) use self::links::{Links, Standing};

/// How pods are to reach the outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Egress {
    /// As well as can be: by a bridge if this is root, by `pasta` if not, else not at all; what cannot be had is
    /// said, and pods start without it.
    #[default]
    Auto,
    /// By a bridge of this host; a pod that cannot be linked to it does not start.
    Bridge,
    /// By one `pasta` a pod; a pod that has none does not start.
    Pasta,
    /// Not at all.
    None,
}

/// Text that names no way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of auto, bridge, pasta, none")]
pub struct EgressError(String);

impl FromStr for Egress {
    type Err = EgressError;

    fn from_str(text: &str) -> Result<Self, EgressError> {
        let all = [Self::Auto, Self::Bridge, Self::Pasta, Self::None];
        all.into_iter()
            .find(|egress| egress.to_string() == text)
            .ok_or_else(|| EgressError(text.to_owned()))
    }
}

impl fmt::Display for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Bridge => "bridge",
            Self::Pasta => "pasta",
            Self::None => "none",
        })
    }
}

/// How pods meet each other and the outside.
///
/// The default touches nothing of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkOptions {
    /// By what.
    pub egress: Egress,
    /// The network that pods have their addresses in; its first address is the host's end.
    pub cidr: (Ipv4Addr, u8),
    /// What bridge and nftables table are called, at most 15 letters, digits and underscores. If `None`, a name
    /// made from the data directory's, which no other data directory has.
    pub name: Option<String>,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            egress: Egress::None,
            cidr: (Ipv4Addr::new(10, 213, 0, 0), 16),
            name: None,
        }
    }
}

/// What pods can reach, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkState {
    /// Whether they reach the outside, as far as this host is to decide it.
    pub egress: bool,
    /// How, or why not and what helps.
    pub message: String,
}

/// What [`Egress`] comes to here.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    Bridge,
    Pasta(PathBuf),
    None(String),
}

impl Way {
    fn find(egress: Egress) -> Self {
        let no_root = || {
            "a bridge needs root with CAP_NET_ADMIN and CAP_SYS_ADMIN, which this is not".to_owned()
        };
        let root = rustix::process::geteuid().is_root();
        match egress {
            Egress::None => {
                Self::None("pods have no way out, as --egress none wants it".to_owned())
            }
            Egress::Bridge if may_administer() => Self::Bridge,
            Egress::Bridge => Self::None(no_root()),
            Egress::Auto if may_administer() => Self::Bridge,
            Egress::Pasta if root => Self::None(
                "pasta leaves root and then may not enter a pod; as root, use --egress bridge"
                    .to_owned(),
            ),
            Egress::Auto if root => Self::None(no_root()),
            Egress::Auto | Egress::Pasta => match pasta::find() {
                Ok(program) => Self::Pasta(program),
                Err(why) => Self::None(why),
            },
        }
    }
}

/// Whether this process is root as far as networks go, in its own user namespace at least.
fn may_administer() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    let wanted = CapabilitySet::NET_ADMIN | CapabilitySet::SYS_ADMIN;
    capabilities(None).is_ok_and(|sets| sets.effective.contains(wanted))
}

/// A program of this name: on `PATH`, or where those for administrators are, which an ordinary `PATH` lacks.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .chain(usual)
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file)
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_out_are_read_by_name() {
        for egress in [Egress::Auto, Egress::Bridge, Egress::Pasta, Egress::None] {
            assert_eq!(egress.to_string().parse(), Ok(egress));
        }
        let wrong = "nat".parse::<Egress>().unwrap_err().to_string();
        assert_eq!(wrong, "\"nat\" is none of auto, bridge, pasta, none");
    }

    #[test]
    fn programs_are_found_where_administrators_have_them() {
        assert!(program("sh").is_some());
        assert_eq!(program("no-such-program"), None);
    }
}
