//! What of root's power a container's processes have.

use std::collections::BTreeSet;

use probelet_model::security::{CAPABILITIES, Security};
use rustix::io::{Errno, Result};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
    set_capabilities,
};

/// What a container has that asks for nothing.
///
/// Upstream: containerd pkg/oci/spec.go, defaultUnixCaps.
/// Differs: MKNOD is not among them, as a device of the host could be made with it where no cgroup bounds
/// devices.
/// Shown by: capabilities_are_those_of_containerd.
const DEFAULT: CapabilitySet = CapabilitySet::CHOWN
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

/// The capability of this name, which may begin with `CAP_`.
pub(super) fn named(name: &str) -> Option<CapabilitySet> {
    let name = name.strip_prefix("CAP_").unwrap_or(name);
    let number = CAPABILITIES.iter().position(|known| *known == name)?;
    CapabilitySet::from_bits(1 << number)
}

/// What a container may do that asks for this; `available` is what there is to give.
///
/// Upstream: containerd internal/cri/opts/spec_linux_opts.go, WithCapabilities: `ALL` comes first, then what is
/// added, then what is dropped.
/// Differs: one that is asked for by name and cannot be given is an error, where runc starts the container
/// without it.
/// Shown by: all_comes_before_what_is_named, capabilities_are_added_and_dropped.
pub(super) fn of(
    security: &Security,
    available: CapabilitySet,
) -> std::result::Result<CapabilitySet, String> {
    if security.privileged {
        return Ok(available);
    }
    let has_all = |names: &[String]| names.iter().any(|name| name == "ALL");
    let sets = |names: &[String]| {
        let named_ones = names.iter().filter(|name| *name != "ALL").map(|name| {
            named(name)
                .map(|set| (name.clone(), set))
                .ok_or_else(|| format!("capability \"{name}\": there is none of that name"))
        });
        named_ones.collect::<std::result::Result<Vec<_>, String>>()
    };
    let mut given = DEFAULT.intersection(available);
    if has_all(&security.add) {
        given = available;
    }
    if has_all(&security.drop) {
        given = CapabilitySet::empty();
    }
    let dropped = sets(&security.drop)?;
    let dropped: BTreeSet<u64> = dropped.iter().map(|(_, set)| set.bits()).collect();
    for (name, set) in sets(&security.add)? {
        if dropped.contains(&set.bits()) {
            continue;
        }
        if !available.contains(set) {
            return Err(format!(
                "securityContext.capabilities.add: {name} cannot be given, as this host does not leave it to Probelet"
            ));
        }
        given |= set;
    }
    for bits in dropped {
        given.remove(CapabilitySet::from_bits_retain(bits));
    }
    Ok(given)
}

/// What the calling process has to give.
pub(super) fn available() -> Result<CapabilitySet> {
    Ok(capabilities(None)?.permitted)
}

/// Leaves the calling process, from its next execve on, no more than these, whoever it is then. A new user
/// namespace begins with all of them anew.
pub(super) fn bound(kept: CapabilitySet) -> Result<()> {
    for capability in CapabilitySet::all().difference(kept).iter() {
        match remove_capability_from_bounding_set(capability) {
            // One that this kernel does not know cannot be had either.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Leaves it no more than these right away. Nothing is inheritable, nothing ambient.
///
/// Upstream: containerd pkg/oci/spec_opts.go, WithCapabilities (bounding, effective and permitted alike, and
/// since CVE-2022-24769 none inheritable), and internal/cri/server, which gives none as ambient.
/// Shown by: capabilities_are_those_of_containerd, another_user_has_none_but_could_get_them.
pub(super) fn limit(kept: CapabilitySet) -> Result<()> {
    let left = capabilities(None)?.permitted.intersection(kept);
    let sets = CapabilitySets {
        effective: left,
        permitted: left,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        add: &[&str],
        drop: &[&str],
        expect: std::result::Result<CapabilitySet, &'static str>,
    ) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let security = Security {
            add: owned(add),
            drop: owned(drop),
            ..Security::default()
        };
        let available = CapabilitySet::all().difference(CapabilitySet::SYS_RESOURCE);
        match (of(&security, available), expect) {
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (found, expect) => assert_eq!(found, expect.map_err(str::to_owned)),
        }
    }

    #[test]
    fn all_comes_before_what_is_named() {
        let all = CapabilitySet::all().difference(CapabilitySet::SYS_RESOURCE);
        let none = CapabilitySet::empty();
        check(&[], &[], Ok(DEFAULT));
        check(
            &["NET_ADMIN"],
            &["KILL"],
            Ok((DEFAULT | CapabilitySet::NET_ADMIN).difference(CapabilitySet::KILL)),
        );
        check(&["NET_ADMIN"], &["ALL"], Ok(CapabilitySet::NET_ADMIN));
        check(
            &["ALL"],
            &["SYS_ADMIN"],
            Ok(all.difference(CapabilitySet::SYS_ADMIN)),
        );
        check(&["ALL"], &["ALL"], Ok(none));
        check(&["CHOWN"], &["CHOWN", "ALL"], Ok(none));
        check(&["CAP_SYS_TIME"], &["ALL"], Ok(CapabilitySet::SYS_TIME));
    }

    #[test]
    fn what_cannot_be_given_is_named() {
        check(&["SYS_RESOURCE"], &[], Err("SYS_RESOURCE cannot be given"));
        check(&["FLY"], &[], Err("\"FLY\""));
        check(&[], &["FLY"], Err("\"FLY\""));
    }

    #[test]
    fn names_have_the_kernels_numbers() {
        for (name, set) in [
            ("CHOWN", CapabilitySet::CHOWN),
            ("SYS_ADMIN", CapabilitySet::SYS_ADMIN),
            ("SETFCAP", CapabilitySet::SETFCAP),
            ("CAP_CHECKPOINT_RESTORE", CapabilitySet::CHECKPOINT_RESTORE),
        ] {
            assert_eq!(named(name), Some(set), "{name}");
        }
    }
}
