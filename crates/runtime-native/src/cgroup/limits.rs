//! What is written into a cgroup, of what was asked for: upstream's sums.

use probelet_model::resources::{Amounts, Qos, Resources};

use super::devices;
use super::place::{Controller, Hierarchy};

/// One file of a cgroup and what is to be written to it.
pub(crate) type Setting = (&'static str, String);

/// The period in which a limit of CPU time is kept, in microseconds.
///
/// Upstream: kubelet pkg/kubelet/cm/helpers_linux.go, QuotaPeriod.
/// Shown by: amounts_are_written_as_upstream_writes_them.
const PERIOD: u64 = 100_000;

/// What is written into one cgroup, of what a container asks for and may use.
///
/// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container_linux.go, calculateLinuxResources (a container
/// that asks for no CPU gets shares for its limit), getMemoryLimit, ConfigureNoSwap.
/// Shown by: amounts_are_written_as_upstream_writes_them, limits_are_in_the_containers_own_cgroups.
pub(crate) fn settings(hierarchy: &Hierarchy, resources: &Resources) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut set = |file, value: String| settings.push((file, value));
    if hierarchy.has(Controller::Cpu) {
        let asked = resources.requests.cpu_milli.filter(|milli| *milli > 0);
        let shares = shares(asked.or(resources.limits.cpu_milli).unwrap_or(0));
        let quota = resources
            .limits
            .cpu_milli
            .filter(|milli| *milli > 0)
            .map(quota);
        if hierarchy.unified {
            set("cpu.weight", weight(shares).to_string());
            if let Some(quota) = quota {
                set("cpu.max", format!("{quota} {PERIOD}"));
            }
        } else {
            set("cpu.shares", shares.to_string());
            if let Some(quota) = quota {
                set("cpu.cfs_period_us", PERIOD.to_string());
                set("cpu.cfs_quota_us", quota.to_string());
            }
        }
    }
    if hierarchy.has(Controller::Memory)
        && let Some(limit) = resources.limits.memory.filter(|bytes| *bytes > 0)
    {
        if hierarchy.unified {
            set("memory.max", limit.to_string());
            set("memory.swap.max", "0".to_owned());
        } else {
            set("memory.limit_in_bytes", limit.to_string());
            // Memory and swap together, so no swap.
            set("memory.memsw.limit_in_bytes", limit.to_string());
        }
    }
    settings
}

/// What goes into the cgroup of all pods together: as much of the CPUs as there is, as against what runs beside pods.
///
/// Upstream: kubelet pkg/kubelet/cm/node_container_manager_linux.go, getCgroupConfig.
/// Shown by: amounts_are_written_as_upstream_writes_them, limits_are_in_the_containers_own_cgroups.
pub(crate) fn of_all(hierarchy: &Hierarchy, cpus: u64) -> Vec<Setting> {
    let all = Amounts {
        cpu_milli: Some(cpus.saturating_mul(1000)),
        ..Amounts::default()
    };
    let all = Resources {
        requests: all,
        ..Resources::default()
    };
    settings(hierarchy, &all)
}

/// What goes into the cgroup of one container beside its limits.
///
/// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container_linux.go, generateLinuxContainerResources
/// (`memory.oom.group` on version 2, as `singleProcessOOMKill` is false).
/// Shown by: amounts_are_written_as_upstream_writes_them.
pub(crate) fn of_container(hierarchy: &Hierarchy, privileged: bool) -> Vec<Setting> {
    let mut settings = Vec::new();
    if hierarchy.unified && hierarchy.has(Controller::Memory) {
        settings.push(("memory.oom.group", "1".to_owned()));
    }
    if hierarchy.has(Controller::Devices) && !privileged {
        settings.extend(devices::settings());
    }
    settings
}

/// The weight of a request, in thousandths of a CPU.
///
/// Upstream: kubelet pkg/kubelet/cm/helpers_linux.go, MilliCPUToShares.
/// Shown by: shares_and_quotas_are_upstreams.
fn shares(milli: u64) -> u64 {
    (milli.saturating_mul(1024) / 1000).clamp(2, 262_144)
}

/// The microseconds of CPU time in each [`PERIOD`] that a limit leaves.
///
/// Upstream: kubelet pkg/kubelet/cm/helpers_linux.go, MilliCPUToQuota.
/// Shown by: shares_and_quotas_are_upstreams.
fn quota(milli: u64) -> u64 {
    (milli.saturating_mul(PERIOD) / 1000).max(1000)
}

/// The weight in version 2 of shares in version 1.
///
/// Upstream: opencontainers/cgroups utils.go, ConvertCPUSharesToCgroupV2Value.
/// Shown by: shares_and_quotas_are_upstreams.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 1 and 10,000"
)]
fn weight(shares: u64) -> u64 {
    let log = f64::from(u32::try_from(shares.clamp(2, 262_144)).unwrap_or(2)).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    // A sum that ought to be whole may come out a hair above it.
    (10_f64.powf(exponent) - 1e-9).ceil() as u64
}

/// How ready the kernel is to kill a container's processes for memory that asks for so much: between -1000 and 1000.
///
/// Upstream: kubelet pkg/kubelet/qos/policy.go, GetContainerOOMScoreAdjust; priorities of pods, by which a critical one
/// counts as guaranteed, are not known here. What a sidecar counts as asking for is the caller's to say.
/// Differs: without privilege, or without CAP_SYS_RESOURCE, it can only be raised; where it cannot be set it stays.
/// Shown by: the_kernel_is_told_whom_to_kill_first.
pub(crate) fn oom_score(qos: Qos, asked: u64, memory: u64) -> i32 {
    match qos {
        Qos::Guaranteed => GUARANTEED,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let part = u128::from(asked) * 1000 / u128::from(memory.max(1));
            let score = 1000 - i32::try_from(part).unwrap_or(1000).min(1000);
            score.clamp(1000 + GUARANTEED, 999)
        }
    }
}

const GUARANTEED: i32 = -997;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_quotas_are_upstreams() {
        // Upstream: pkg/kubelet/cm/helpers_linux_test.go, TestMilliCPUToQuota and TestMilliCPUToShares.
        let rows = [
            (0, 2),
            (1, 2),
            (100, 102),
            (250, 256),
            (1000, 1024),
            (2000, 2048),
        ];
        for (milli, expected) in rows {
            assert_eq!(shares(milli), expected, "{milli}m");
        }
        assert_eq!(shares(u64::MAX), 262_144);
        for (milli, expected) in [(1, 1000), (5, 1000), (9, 1000), (10, 1000), (200, 20_000)] {
            assert_eq!(quota(milli), expected, "{milli}m");
        }
        assert_eq!(quota(1500), 150_000);
        for (shares, expected) in [
            (2, 1),
            (102, 17),
            (1024, 100),
            (2048, 174),
            (262_144, 10_000),
        ] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }

    #[test]
    fn amounts_are_written_as_upstream_writes_them() {
        let amounts = |cpu_milli, memory| Amounts {
            cpu_milli,
            memory,
            ephemeral_storage: None,
        };
        let hierarchy = |unified| Hierarchy {
            root: "/".into(),
            controllers: vec![Controller::Cpu, Controller::Memory, Controller::Devices],
            unified,
        };
        let told = |unified, requests, limits| {
            let settings = settings(&hierarchy(unified), &Resources { requests, limits });
            let told: Vec<_> = settings
                .iter()
                .map(|(file, value)| format!("{file}={value}"))
                .collect();
            told.join(" ")
        };
        let none = amounts(None, None);
        assert_eq!(told(false, none, none), "cpu.shares=2");
        assert_eq!(told(true, none, none), "cpu.weight=1");
        assert_eq!(
            told(
                false,
                amounts(Some(250), None),
                amounts(Some(500), Some(1 << 20))
            ),
            "cpu.shares=256 cpu.cfs_period_us=100000 cpu.cfs_quota_us=50000 \
             memory.limit_in_bytes=1048576 memory.memsw.limit_in_bytes=1048576"
        );
        assert_eq!(
            told(true, none, amounts(Some(1000), Some(1 << 20))),
            "cpu.weight=100 cpu.max=100000 100000 memory.max=1048576 memory.swap.max=0"
        );
        let all = of_all(&hierarchy(false), 4);
        assert_eq!(all, [("cpu.shares", "4096".to_owned())]);
        let of = |unified, privileged| of_container(&hierarchy(unified), privileged);
        assert!(of(true, true).contains(&("memory.oom.group", "1".to_owned())));
        assert_eq!(of(false, true), []);
        let devices: Vec<_> = of(false, false)
            .into_iter()
            .map(|(_, value)| value)
            .collect();
        assert_eq!(
            devices.join(", "),
            "a, c *:* m, b *:* m, c 1:3 rwm, c 1:5 rwm, c 1:7 rwm, c 1:8 rwm, c 1:9 rwm, c 5:0 rwm, c 5:1 rwm, \
             c 5:2 rwm, c 136:* rwm"
        );
    }

    #[test]
    fn the_kernel_is_told_whom_to_kill_first() {
        let score = |qos, asked| oom_score(qos, asked, 8_000_000_000);
        assert_eq!(score(Qos::Guaranteed, 1), -997);
        assert_eq!(score(Qos::BestEffort, 0), 1000);
        assert_eq!(score(Qos::Burstable, 0), 999);
        assert_eq!(score(Qos::Burstable, 4_000_000_000), 500);
        assert_eq!(score(Qos::Burstable, 8_000_000_000), 3);
        assert_eq!(score(Qos::Burstable, u64::MAX), 3);
    }
}
