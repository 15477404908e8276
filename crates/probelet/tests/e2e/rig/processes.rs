//! What of a data directory is to be found among the processes and mounts of this host.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// A process, told from one that gets its number later. Two are the same by number and start alone: state
/// and parent change.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// In clock ticks since boot.
    start: u64,
    /// `Z` is one that nobody has reaped.
    pub(crate) state: char,
    parent: i32,
    /// Its arguments; its name if there are none to be had.
    pub(crate) words: Vec<String>,
}

impl PartialEq for Process {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Process {}

impl PartialOrd for Process {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Process {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.pid, self.start).cmp(&(other.pid, other.start))
    }
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (number_and_name, rest) = stat.rsplit_once(')')?;
        let (_, name) = number_and_name.split_once('(')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let arguments = String::from_utf8_lossy(&arguments);
        Some(Self {
            pid,
            start: fields.get(19)?.parse().ok()?,
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            words: if arguments.is_empty() {
                vec![name.to_owned()]
            } else {
                arguments
                    .split_terminator('\0')
                    .map(str::to_owned)
                    .collect()
            },
        })
    }

    /// Whether it is there, if only as a zombie.
    pub(crate) fn exists(&self) -> bool {
        Self::read(self.pid).is_some_and(|now| now.start == self.start)
    }

    pub(crate) fn kill(&self) {
        if let Some(pid) = Pid::from_raw(self.pid)
            && self.exists()
        {
            let _gone = kill_process(pid, Signal::KILL);
        }
    }
}

/// All processes that name `needle` in their arguments, environment or mounts, with all that descend from
/// them.
///
/// Containers carry the name of their data directory in their environment: see [`super::Rig::pod`].
pub(crate) fn naming(needle: &Path) -> Vec<Process> {
    let needle = needle.as_os_str().as_encoded_bytes();
    let names = |pid: i32| {
        ["cmdline", "environ", "mountinfo"].iter().any(|file| {
            fs::read(format!("/proc/{pid}/{file}"))
                .is_ok_and(|text| text.windows(needle.len()).any(|part| part == needle))
        })
    };
    let all = all();
    let mut found: BTreeMap<i32, Process> = BTreeMap::new();
    let own = i32::try_from(std::process::id()).expect("process numbers are below 2^22");
    for process in all.values() {
        if process.pid != own && names(process.pid) {
            found.insert(process.pid, process.clone());
        }
    }
    loop {
        let more: Vec<Process> = all
            .values()
            .filter(|process| {
                found.contains_key(&process.parent) && !found.contains_key(&process.pid)
            })
            .cloned()
            .collect();
        if more.is_empty() {
            return found.into_values().collect();
        }
        found.extend(more.into_iter().map(|process| (process.pid, process)));
    }
}

/// The processes that have `word` among their arguments.
pub(crate) fn with_argument(word: &str) -> Vec<Process> {
    let has = |process: &Process| process.words.iter().any(|argument| argument == word);
    all().into_values().filter(has).collect()
}

/// The mounts of this process's own namespace that name `needle`.
pub(crate) fn mounts(needle: &Path) -> Vec<String> {
    let needle = needle.display().to_string();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts
        .lines()
        .filter(|line| line.contains(&needle))
        .map(str::to_owned)
        .collect()
}

fn all() -> BTreeMap<i32, Process> {
    let numbers = fs::read_dir("/proc").unwrap().flatten();
    numbers
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, Process::read(pid)?)))
        .collect()
}
