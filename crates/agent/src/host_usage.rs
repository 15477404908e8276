//! What the host as a whole uses, for `kubectl top node`.

use std::time::Duration;

use probelet_runtime::Usage;

/// Everything on it: the time its CPUs have not been idle since it was started, and its memory's working set.
///
/// Upstream: cadvisor container/libcontainer/handler.go, setCPUStats and setMemoryStats, of the root cgroup, which
/// are these sums.
/// Shown by: a_hosts_usage_leaves_out_what_is_idle, the_host_uses_something.
pub(crate) fn read() -> Option<Usage> {
    let read = |path| std::fs::read_to_string(path).ok();
    Some(Usage {
        cpu: busy(
            &read("/proc/stat")?,
            rustix::param::clock_ticks_per_second(),
        )?,
        memory: working_set(&read("/proc/meminfo")?)?,
        ..Usage::default()
    })
}

/// The first line: user, nice, system, idle, iowait, irq, softirq, steal; what guests have used is in `user`.
fn busy(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line
        .split_ascii_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let ticks: u64 = fields.get(..3)?.iter().chain(fields.get(5..7)?).sum();
    let millis = ticks.saturating_mul(1000) / ticks_per_second.max(1);
    Some(Duration::from_millis(millis))
}

fn working_set(meminfo: &str) -> Option<u64> {
    let field = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    };
    let used = field("MemTotal:")?.saturating_sub(field("MemFree:")?);
    Some(used.saturating_sub(field("Inactive(file):")?) * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_usage_leaves_out_what_is_idle() {
        let stat = "cpu  100 20 30 4000 500 6 7 800 90 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(busy(stat, 100), Some(Duration::from_millis(1630)));
        let meminfo = "MemTotal:  1000 kB\nMemFree:  300 kB\nInactive(file):  200 kB\n";
        assert_eq!(working_set(meminfo), Some(500 * 1024));
        assert_eq!((busy("", 100), working_set("")), (None, None));
    }

    #[test]
    fn the_host_uses_something() {
        let used = read().unwrap();
        assert!(
            used.cpu > Duration::ZERO && used.memory > 1 << 20,
            "{used:?}"
        );
    }
}
