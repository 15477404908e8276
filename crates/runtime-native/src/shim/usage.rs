//! What a pod uses: told by the cgroups, and where there are none by the processes themselves.
//!
//! Measuring may take long, a volume may hold a million files; so a forked child does it, and answers by a pipe.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use probelet_model::pod::{Volume, VolumeSource};
use probelet_runtime::{PodUsage, Usage};
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat, statvfs};
use rustix::io::Errno;
use rustix::param::clock_ticks_per_second;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitId, WaitIdOptions, set_parent_process_death_signal, waitid};

use super::container::Container;
use super::running::read_to_end;
use super::{Asker, Shim, descendants, image_root, note};
use crate::cgroup::Reading;
use crate::layout::PodDir;
use crate::protocol::{Answer, Message};
use crate::sys::{self, Child, Fresh};
use crate::{text, walk};

/// A child that measures, and who wants to know.
pub(super) struct Measurement {
    askers: Vec<Asker>,
    child: Child,
    pipe: OwnedFd,
    text: Vec<u8>,
}

impl Measurement {
    /// Readable when it has something to say.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// How often it is looked whether a volume is too full.
///
/// Upstream: kubelet pkg/kubelet/kubelet.go, evictionMonitoringPeriod.
/// Shown by: a_volume_over_its_limit_is_told_of.
pub(super) const BETWEEN_LOOKS: Duration = Duration::from_secs(10);

/// Whether there is a volume that can be too full; one in memory cannot.
pub(super) fn has_limits(volumes: &[Volume]) -> bool {
    volumes.iter().any(|volume| limit(volume).is_some())
}

fn limit(volume: &Volume) -> Option<u64> {
    match volume.source {
        VolumeSource::EmptyDir {
            in_memory: false,
            size_limit,
        } => size_limit.filter(|limit| *limit > 0),
        VolumeSource::EmptyDir { .. }
        | VolumeSource::HostPath { .. }
        | VolumeSource::Files { .. } => None,
    }
}

impl Shim {
    /// Begins to measure. Who asks meanwhile gets the same answer.
    pub(super) fn measure(&mut self, asker: Asker) {
        match self.measurement() {
            Ok(measurement) => measurement.askers.push(asker),
            Err(errno) => {
                let failed = Answer::Usage(Err(format!("measure: {}", text::reason(errno))));
                self.agents.answer(asker, failed, Vec::new());
            }
        }
    }

    /// Begins to measure for the sake of the volumes' limits.
    pub(super) fn measure_volumes(&mut self) {
        if !self.live.is_empty()
            && let Err(errno) = self.measurement()
        {
            note(&format!("measure: {}", text::reason(errno)));
        }
    }

    /// The one that is under way.
    fn measurement(&mut self) -> Result<&mut Measurement, Errno> {
        let measurement = match self.measurement.take() {
            Some(measurement) => measurement,
            None => self.start_measuring()?,
        };
        Ok(self.measurement.insert(measurement))
    }

    /// Takes what the child has to say; at the end of that, answers.
    pub(super) fn measured(&mut self) {
        let Some(mut measurement) = self.measurement.take() else {
            return;
        };
        if !read_to_end(&measurement.pipe, &mut measurement.text) {
            self.measurement = Some(measurement);
            return;
        }
        // Its end of the pipe closes when it exits.
        let pidfd = measurement.child.pidfd.as_fd();
        while matches!(
            waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED),
            Err(Errno::INTR)
        ) {}
        let answer: Result<PodUsage, String> = serde_json::from_slice(&measurement.text)
            .map_err(|_cut| "whoever measured was killed".to_owned());
        for volume in &self.config.pod.volumes {
            let used = answer.as_ref().ok();
            let used = used.and_then(|usage| usage.volumes.get(&volume.name));
            if used > limit(volume).as_ref() && limit(volume).is_some() {
                let volume = volume.name.clone();
                self.agents.tell(&Message::VolumeFull { volume });
            }
        }
        for asker in measurement.askers {
            let answer = Answer::Usage(answer.clone());
            self.agents.answer(asker, answer, Vec::new());
        }
        self.give_back_memory();
    }

    fn start_measuring(&self) -> Result<Measurement, Errno> {
        let (pipe, pipe_in) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&pipe, true)?;
        let child = sys::fork(Fresh::Nothing, || {
            let ready = sys::close_all_but(&[pipe_in.as_fd()])
                .and_then(|()| set_parent_process_death_signal(Some(Signal::KILL)));
            if ready.is_err() {
                return 1;
            }
            let Ok(told) = serde_json::to_vec(&self.usage()) else {
                return 1;
            };
            let pipe = pipe_in.as_fd().try_clone_to_owned();
            let written = pipe.and_then(|pipe| File::from(pipe).write_all(&told));
            i32::from(written.is_err())
        })?;
        Ok(Measurement {
            askers: Vec::new(),
            child,
            pipe,
            text: Vec::new(),
        })
    }

    fn usage(&self) -> PodUsage {
        let running = || {
            self.live
                .values()
                .filter(|container| container.is_running())
        };
        // Asked for once, where there are no cgroups.
        let mut parents = None;
        let containers: BTreeMap<_, _> = running()
            .map(|container| {
                let used = container.cgroup.read().map_or_else(
                    || of_processes(container, parents.get_or_insert_with(descendants::parents)),
                    of_cgroups,
                );
                let root = written_by(&self.dir, container);
                (container.config.name.clone(), Usage { root, ..used })
            })
            .collect();
        let total = self.cgroup.read().map(of_cgroups);
        let of_containers = sum(containers.values());
        PodUsage {
            total: Usage {
                cpu: total.map_or(of_containers.cpu, |total| total.cpu),
                memory: total.map_or(of_containers.memory, |total| total.memory),
                ..of_containers
            },
            containers,
            volumes: volumes(&self.dir, &self.config.pod.volumes),
        }
    }
}

/// What a run of an image has written; where images are copied, with the copy.
///
/// Upstream: containerd internal/cri/server/container_stats_list.go (the usage of the container's snapshot, which of
/// the snapshotter `native` is a copy).
/// Shown by: usage_tells_how_full_volumes_are, more_layers_than_overlayfs_takes_are_copied.
fn written_by(dir: &PodDir, container: &Container) -> u64 {
    let root = dir.container_root(&container.config.id);
    let parts = [image_root::upper(&root), image_root::copied(&root)];
    parts.iter().map(|part| on_disk(part)).sum()
}

const fn of_cgroups(reading: Reading) -> Usage {
    Usage {
        cpu: reading.cpu,
        memory: reading.memory,
        tasks: reading.tasks,
        root: 0,
    }
}

fn sum<'a>(all: impl Iterator<Item = &'a Usage>) -> Usage {
    all.fold(Usage::default(), |sum, one| Usage {
        cpu: sum.cpu + one.cpu,
        memory: sum.memory + one.memory,
        tasks: sum.tasks + one.tasks,
        root: sum.root + one.root,
    })
}

/// What the init and all below it use. The time of those that have ended has gone to their parents.
///
/// Differs: the memory is the processes' share of the pages they have mapped, as there is no working set without a
/// cgroup; and what commands beside the main program use is not in it.
/// Shown by: usage_grows_with_what_is_used.
fn of_processes(container: &Container, parents: &[(i32, i32)]) -> Usage {
    let init = container.init_pid();
    let below = descendants::descendants(init, parents);
    let each = below.into_iter().chain([init]).filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let (cpu, tasks) = times_in(&stat)?;
        Some(Usage {
            cpu,
            memory: share_in(&rollup),
            tasks,
            root: 0,
        })
    });
    let each: Vec<Usage> = each.collect();
    sum(each.iter())
}

/// Fields 14 to 17, the times of the process and of its children that have been reaped, and 20, its threads.
fn times_in(stat: &str) -> Option<(Duration, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<u64> = rest
        .split_ascii_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let ticks: u64 = fields.get(11..15)?.iter().sum();
    let millis = ticks.saturating_mul(1000) / clock_ticks_per_second().max(1);
    Some((Duration::from_millis(millis), *fields.get(17)?))
}

fn share_in(rollup: &str) -> u64 {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The bytes in each emptyDir.
fn volumes(dir: &PodDir, volumes: &[Volume]) -> BTreeMap<String, u64> {
    let each = volumes.iter().filter_map(|volume| {
        let place = dir.volume(&volume.name);
        let used = match volume.source {
            VolumeSource::EmptyDir {
                in_memory: true, ..
            } => {
                let told = statvfs(&place).ok()?;
                told.f_blocks.saturating_sub(told.f_bfree) * told.f_frsize
            }
            VolumeSource::EmptyDir { .. } => on_disk(&place),
            VolumeSource::HostPath { .. } | VolumeSource::Files { .. } => return None,
        };
        Some((volume.name.clone(), used))
    });
    each.collect()
}

/// What a directory and all below it take, as `du` counts: what has several names once, and no other file system.
///
/// Upstream: pkg/volume/util/fs/fs.go, DiskUsage.
/// Shown by: what_has_two_names_is_counted_once, what_is_deeper_than_any_path_is_counted, usage_tells_how_full_volumes_are.
fn on_disk(top: &Path) -> u64 {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(dir) = openat(CWD, top, flags, Mode::empty()) else {
        return 0;
    };
    let Ok(of_top) = fstat(&dir) else {
        return 0;
    };
    let bytes = |of: &Stat| u64::try_from(of.st_blocks).unwrap_or(0) * 512;
    let (mut used, mut seen) = (bytes(&of_top), HashSet::new());
    let _unreadable = walk::below(dir, |_, _, of| {
        let is_dir = FileType::from_raw_mode(of.st_mode).is_dir();
        let is_counted = of.st_nlink > 1 && !is_dir && !seen.insert(of.st_ino);
        if of.st_dev != of_top.st_dev || is_counted {
            return Ok(false);
        }
        used += bytes(of);
        Ok(is_dir)
    });
    used
}

#[cfg(test)]
mod tests {
    use rustix::fs::mkdirat;

    use super::*;

    #[test]
    fn what_has_two_names_is_counted_once() {
        let dir = tempfile::tempdir().unwrap();
        let empty = on_disk(dir.path());
        fs::create_dir(dir.path().join("below")).unwrap();
        let with_dir = on_disk(dir.path());
        fs::write(dir.path().join("below/file"), vec![7; 100_000]).unwrap();
        let with_file = on_disk(dir.path());
        assert!(
            (100_000..130_000).contains(&(with_file - with_dir)),
            "{empty} {with_dir} {with_file}"
        );
        fs::hard_link(dir.path().join("below/file"), dir.path().join("again")).unwrap();
        assert_eq!(on_disk(dir.path()), with_file);
        assert_eq!(on_disk(&dir.path().join("none")), 0);
    }

    #[test]
    fn what_is_deeper_than_any_path_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut at = openat(CWD, dir.path(), flags, Mode::empty()).unwrap();
        let name = "n".repeat(100);
        for _ in 0..100 {
            mkdirat(&at, &name, Mode::from_raw_mode(0o755)).unwrap();
            at = openat(&at, &name, flags, Mode::empty()).unwrap();
        }
        let before = on_disk(dir.path());
        let flags = OFlags::WRONLY | OFlags::CREATE;
        let file = openat(&at, "file", flags, Mode::from_raw_mode(0o644)).unwrap();
        File::from(file).write_all(&vec![7; 1_000_000]).unwrap();
        let file = on_disk(dir.path()) - before;
        assert!((1_000_000..1_100_000).contains(&file), "{file}");
        crate::tree::remove(&dir.path().join(name)).unwrap();
    }

    #[test]
    fn times_are_those_of_children_too() {
        let stat = "7 (a) b) S 1 7 7 0 -1 0 1 2 3 4 10 20 30 40 20 0 3 0 4242";
        let (cpu, tasks) = times_in(stat).unwrap();
        assert_eq!(
            cpu,
            Duration::from_millis(100_000 / clock_ticks_per_second())
        );
        assert_eq!(tasks, 3);
        assert_eq!(share_in("a b\nPss:     12 kB\nPss_Anon: 3 kB\n"), 12 * 1024);
    }
}
