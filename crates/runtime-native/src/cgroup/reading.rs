//! What the kernel counts in cgroups.

use std::fs;
use std::time::Duration;

use super::Place;
use super::place::Controller;

/// What is used in a set of cgroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Time on CPUs since they were made.
    pub(crate) cpu: Duration,
    /// The working set, in bytes.
    pub(crate) memory: u64,
    /// Threads.
    pub(crate) tasks: u64,
}

/// Time on CPUs and the working set, as the kernel counts them; `None` where it counts neither.
///
/// Upstream: cadvisor container/libcontainer/handler.go, setMemoryStats.
/// Shown by: a_working_set_leaves_out_what_can_be_given_back_at_once, usage_grows_with_what_is_used.
pub(super) fn read(places: &[Place]) -> Option<Reading> {
    let (mut cpu, mut memory, mut tasks) = (None, None, 0);
    for place in places {
        let read = |file: &str| fs::read_to_string(place.dir.join(file)).unwrap_or_default();
        let threads = if place.hierarchy.unified {
            "cgroup.threads"
        } else {
            "tasks"
        };
        tasks = tasks.max(read(threads).lines().count());
        let number = |file: &str| read(file).trim().parse::<u64>().ok();
        if place.hierarchy.unified {
            let used = field(&read("cpu.stat"), "usage_usec").map(Duration::from_micros);
            cpu = cpu.or(used);
        } else if place.hierarchy.has(Controller::Cpuacct) {
            cpu = number("cpuacct.usage").map(Duration::from_nanos);
        }
        if place.hierarchy.has(Controller::Memory) {
            let (usage, inactive) = if place.hierarchy.unified {
                ("memory.current", "inactive_file")
            } else {
                ("memory.usage_in_bytes", "total_inactive_file")
            };
            memory = number(usage).map(|usage| working_set(usage, &read("memory.stat"), inactive));
        }
    }
    (cpu.is_some() || memory.is_some()).then(|| Reading {
        cpu: cpu.unwrap_or_default(),
        memory: memory.unwrap_or_default(),
        tasks: tasks as u64,
    })
}

/// How many processes the kernel has killed in them for memory.
pub(super) fn oom_kills(places: &[Place]) -> u64 {
    let memory = places
        .iter()
        .find(|place| place.hierarchy.has(Controller::Memory));
    let Some(place) = memory else { return 0 };
    let file = if place.hierarchy.unified {
        "memory.events"
    } else {
        "memory.oom_control"
    };
    let counts = fs::read_to_string(place.dir.join(file)).unwrap_or_default();
    field(&counts, "oom_kill").unwrap_or(0)
}

fn working_set(usage: u64, stat: &str, inactive: &str) -> u64 {
    usage.saturating_sub(field(stat, inactive).unwrap_or(0))
}

/// The number behind a word at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (word, value) = line.split_once(' ')?;
        (word == name).then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_working_set_leaves_out_what_can_be_given_back_at_once() {
        let stat = "inactive_file 7\nactive_file 3\ntotal_inactive_file 30\n";
        assert_eq!(working_set(100, stat, "total_inactive_file"), 70);
        assert_eq!(working_set(5, stat, "inactive_file"), 0);
        assert_eq!(working_set(100, "", "inactive_file"), 100);
    }

    #[test]
    fn a_count_is_found_by_its_whole_name() {
        let events = "oom 4\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(field(events, "oom_kill"), Some(2));
        assert_eq!(field(events, "none"), None);
        assert_eq!(
            field("oom_kill_disable 0\nunder_oom 0\noom_kill 3", "oom_kill"),
            Some(3)
        );
    }
}
