//! Cgroups: what a container may use, what it has used, and whether the kernel killed in it for memory.
//!
//! The agent finds out once where cgroups can be made ([`Cgroups::find`]); a shim makes one for its pod in each
//! hierarchy, `<root>/probelet/<data directory>/pod<uid>`, and in that one for each run of a container. It stays
//! outside itself; the processes of a container join before their program starts. Whoever removes the pod removes
//! them, the agent too when the shim is dead.

mod devices;
mod ending;
mod limits;
mod place;
mod reading;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use probelet_model::id::PodUid;
use probelet_model::resources::{Qos, Resources};
use probelet_runtime::ContainerConfig;
use rustix::event::poll;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use self::limits::Setting;
pub(crate) use self::place::Controller;
pub(crate) use self::place::unescaped;
use self::place::{Hierarchy, LEAF};
pub(crate) use self::reading::Reading;
use crate::{clock, shim, text};

/// How long a cgroup may stay busy after its last process has ended.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is tried in that time.
const PAUSE: Duration = Duration::from_millis(2);

/// Where the cgroups of one data directory's pods are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    /// `probelet/<data directory>`.
    parent: PathBuf,
    /// The most processes and threads of a pod.
    #[serde(default)]
    pids: Option<u64>,
    /// Why there are no hierarchies, where somebody has looked for some.
    #[serde(skip)]
    why_none: Option<String>,
}

impl Cgroups {
    /// Those of this host, for the pods of a data directory; or why there are none.
    pub(crate) fn find(data_dir: &Path, pids: Option<u64>) -> Result<Self, String> {
        let is_root = rustix::process::geteuid().is_root();
        let mut hierarchies = place::find(is_root)?;
        if pids.is_none() {
            // Every hierarchy costs every command a system call.
            for hierarchy in hierarchies.iter_mut().filter(|one| !one.unified) {
                hierarchy
                    .controllers
                    .retain(|controller| *controller != Controller::Pids);
            }
            hierarchies.retain(|hierarchy| !hierarchy.controllers.is_empty());
        }
        Ok(Self {
            hierarchies,
            parent: Path::new("probelet").join(short_id(data_dir)),
            pids,
            why_none: None,
        })
    }

    /// No cgroups at all, and why.
    pub(crate) fn none(why: String, pids: Option<u64>) -> Self {
        Self {
            pids,
            why_none: Some(why),
            ..Self::default()
        }
    }

    /// Whether a pod may have only so many processes.
    pub(crate) fn bounds_pids(&self) -> bool {
        self.pids.is_some()
    }

    /// Why that controller bounds nothing, if it does not.
    pub(crate) fn lacks(&self, controller: Controller) -> Option<String> {
        let is_there = self.hierarchies.iter().any(|one| one.has(controller));
        (!is_there).then(|| {
            let why = self.why_none.clone();
            why.unwrap_or_else(|| format!("no cgroup with the controller {}", controller.name()))
        })
    }

    /// Makes a pod's, with what holds for all of its containers together.
    pub(crate) fn make_pod(
        &self,
        uid: &PodUid,
        resources: &Resources,
        qos: Qos,
    ) -> io::Result<PodCgroup> {
        let pod = PodCgroup {
            places: self.places(uid),
            qos,
            is_roots: rustix::process::geteuid().is_root(),
        };
        for place in &pod.places {
            place.make_ready(&self.parent)?;
            let mut settings = limits::settings(&place.hierarchy, resources);
            if let Some(most) = self.pids.filter(|_| place.hierarchy.has(Controller::Pids)) {
                settings.push(("pids.max", most.to_string()));
            }
            place.write(&settings)?;
        }
        Ok(pod)
    }

    /// Removes what there is of a pod; nothing of it runs any more. Blocks, for a while if some cgroup is busy.
    pub(crate) fn remove_pod(&self, uid: &PodUid) -> io::Result<()> {
        let mut result = Ok(());
        for place in self.places(uid) {
            let removed = remove_below(&place.dir).and_then(|()| remove(&place.dir, PATIENCE));
            // Others may have pods there.
            let mut above = place.dir.parent();
            while let Some(dir) = above.filter(|dir| *dir != place.hierarchy.root) {
                if fs::remove_dir(dir).is_err() {
                    break;
                }
                above = dir.parent();
            }
            result = result.and(removed);
        }
        result
    }

    /// Removes what there is of pods of which nothing else is left, as when the agent was killed while it removed one.
    pub(crate) fn remove_all_but(&self, stands: impl Fn(&PodUid) -> bool) {
        for hierarchy in &self.hierarchies {
            let pods = fs::read_dir(hierarchy.root.join(&self.parent));
            for entry in pods.into_iter().flatten().flatten() {
                let name = entry.file_name();
                let uid = name.to_str().and_then(|name| name.strip_prefix("pod"));
                let Some(uid) = uid.map(PodUid::from).filter(|uid| !stands(uid)) else {
                    continue;
                };
                if let Err(error) = self.remove_pod(&uid) {
                    tracing::warn!(pod = %uid, %error, "cannot remove what a pod has left");
                }
            }
        }
    }

    fn places(&self, uid: &PodUid) -> Vec<Place> {
        let below = self.parent.join(format!("pod{uid}"));
        let place = |hierarchy: &Hierarchy| Place {
            dir: hierarchy.root.join(&below),
            hierarchy: hierarchy.clone(),
        };
        self.hierarchies.iter().map(place).collect()
    }
}

/// The cgroups of one pod.
#[derive(Debug, Default)]
pub(crate) struct PodCgroup {
    places: Vec<Place>,
    qos: Qos,
    /// It was made by root, who may have programs in the kernel.
    is_roots: bool,
}

impl PodCgroup {
    /// Makes those of one run of a container, with its limits. None are made where the pod has none.
    ///
    /// Differs: without root, or where the kernel cannot have a program for it, devices are not bounded with version 2.
    pub(crate) fn make(&self, config: &ContainerConfig) -> io::Result<ContainerCgroup> {
        let mut made = ContainerCgroup {
            places: Vec::new(),
            joins: Vec::new(),
            oom_score: limits::oom_score(self.qos, asked_memory(config), memory()),
        };
        for pod in &self.places {
            let place = Place {
                dir: pod.dir.join(config.id.as_str()),
                hierarchy: pod.hierarchy.clone(),
            };
            fs::create_dir(&place.dir).map_err(|error| at(&place.dir, &error))?;
            made.places.push(place);
            let place = made.places.last().expect("just pushed");
            place.write(&limits::settings(&place.hierarchy, &config.resources))?;
            place.write(&limits::of_container(
                &place.hierarchy,
                config.security.privileged,
            ))?;
            if place.hierarchy.unified && self.is_roots && !config.security.privileged {
                let bound = devices::bound(&place.dir).map_err(|error| at(&place.dir, &error))?;
                if let Err(why) = bound {
                    let id = &config.id;
                    shim::note(&format!(
                        "container {id}: its devices are not bounded: {why}"
                    ));
                }
            }
            made.joins.push(place.open_to_join()?);
        }
        Ok(made)
    }

    /// What all of the pod uses.
    pub(crate) fn read(&self) -> Option<Reading> {
        reading::read(&self.places)
    }
}

fn asked_memory(config: &ContainerConfig) -> u64 {
    let Resources { requests, limits } = config.resources;
    let asked = config.memory_that_counts.or(requests.memory);
    asked.or(limits.memory).unwrap_or(0)
}

/// The host's, in bytes.
fn memory() -> u64 {
    let system = rustix::system::sysinfo();
    system.totalram * u64::from(system.mem_unit)
}

/// The cgroups of one run of a container. They are removed with this value, by when nothing lives in them; one that
/// is still busy goes with the pod's.
#[derive(Debug)]
pub(crate) struct ContainerCgroup {
    places: Vec<Place>,
    joins: Vec<OwnedFd>,
    oom_score: i32,
}

impl ContainerCgroup {
    /// Moves the calling process, which has one thread, into them. To be called by a fresh child, before it
    /// closes what it has inherited; what it starts is in them from its birth.
    pub(crate) fn join(&self) -> Result<(), Errno> {
        for join in &self.joins {
            rustix::io::write(join, b"0")?;
        }
        // It may not be ours to lower.
        let _as_it_was = fs::write("/proc/self/oom_score_adj", self.oom_score.to_string());
        Ok(())
    }

    /// Whether the kernel has killed a process in them for memory.
    pub(crate) fn out_of_memory(&self) -> bool {
        reading::oom_kills(&self.places) > 0
    }

    /// What is used in them. `None` where there are none.
    pub(crate) fn read(&self) -> Option<Reading> {
        reading::read(&self.places)
    }
}

impl Drop for ContainerCgroup {
    fn drop(&mut self) {
        for place in &self.places {
            let _busy = remove(&place.dir, 5 * PAUSE);
        }
    }
}

/// One cgroup.
#[derive(Debug)]
struct Place {
    dir: PathBuf,
    hierarchy: Hierarchy,
}

impl Place {
    /// Makes it and those above it, which `parent` names, and gives them what they need for those below.
    fn make_ready(&self, parent: &Path) -> io::Result<()> {
        // Another pod's end may take what is above away just then.
        for _ in 0..10 {
            match fs::create_dir_all(&self.dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(at(&self.dir, &error)),
                Ok(()) => break,
            }
        }
        if self.hierarchy.unified {
            self.give_controllers(parent)?;
        }
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let all = limits::of_all(&self.hierarchy, cpus as u64);
        let mut dir = self.hierarchy.root.clone();
        for part in parent.components() {
            dir.push(part);
            write_all(&dir, &all)?;
        }
        Ok(())
    }

    /// In version 2 each cgroup says what those right below it have.
    fn give_controllers(&self, parent: &Path) -> io::Result<()> {
        let root = &self.hierarchy.root;
        let names = self.hierarchy.controllers.iter();
        let enable: Vec<String> = names
            .map(|controller| format!("+{}", controller.name()))
            .collect();
        let enable = enable.join(" ");
        let file = |dir: &Path| dir.join("cgroup.subtree_control");
        let mut enabled = write(&file(root), &enable);
        if enabled
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
        {
            make_room(root)?;
            enabled = write(&file(root), &enable);
        }
        enabled?;
        let mut dir = root.clone();
        for part in parent.components() {
            dir.push(part);
            write(&file(&dir), &enable)?;
        }
        write(&file(&self.dir), &enable)
    }

    fn write(&self, settings: &[Setting]) -> io::Result<()> {
        write_all(&self.dir, settings)
    }

    /// In version 1 a single thread moves itself without stopping the forks of all others meanwhile, which is
    /// what makes `cgroup.procs` take milliseconds now and then.
    fn open_to_join(&self) -> io::Result<OwnedFd> {
        let file = if self.hierarchy.unified {
            "cgroup.procs"
        } else {
            "tasks"
        };
        let path = self.dir.join(file);
        let file = OpenOptions::new().write(true).open(&path);
        Ok(file.map_err(|error| at(&path, &error))?.into())
    }
}

/// Moves the processes of a cgroup into a leaf of it.
fn make_room(root: &Path) -> io::Result<()> {
    let leaf = root.join(LEAF);
    fs::create_dir_all(&leaf).map_err(|error| at(&leaf, &error))?;
    let there = fs::read_to_string(root.join("cgroup.procs"))?;
    for pid in there.lines() {
        // One that has ended meanwhile need not move.
        let _ended = fs::write(leaf.join("cgroup.procs"), pid);
    }
    Ok(())
}

fn write_all(dir: &Path, settings: &[Setting]) -> io::Result<()> {
    for (file, value) in settings {
        match write(&dir.join(file), value) {
            // Swap is counted only by some kernels.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && matches!(*file, "memory.memsw.limit_in_bytes" | "memory.swap.max") => {}
            written => written?,
        }
    }
    Ok(())
}

fn write(path: &Path, value: &str) -> io::Result<()> {
    let written = File::options()
        .write(true)
        .open(path)
        .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
    written.map_err(|error| at(path, &error))
}

/// An error with the file it is about; its kind stays.
fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cgroup {}: {}", path.display(), text::of_io(error)),
    )
}

/// Removes a cgroup in which nothing lives any more. That it is gone already is no error.
fn remove(dir: &Path, patience: Duration) -> io::Result<()> {
    let mut left = patience;
    loop {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && left > Duration::ZERO => {
                left = left.saturating_sub(PAUSE);
                let pause = clock::until(clock::mono() + PAUSE);
                let _interrupted = poll(&mut [], Some(&pause));
            }
            removed => return removed.map_err(|error| at(dir, &error)),
        }
    }
}

fn remove_below(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path())?;
            remove(&entry.path(), PATIENCE)?;
        }
    }
    Ok(())
}

/// A name for a data directory: FNV-1a, the same in every build.
fn short_id(data_dir: &Path) -> String {
    let bytes = data_dir.as_os_str().as_bytes().iter();
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_data_directories_have_two_names_that_stay() {
        assert_eq!(
            short_id(Path::new("/var/lib/probelet")),
            short_id(Path::new("/var/lib/probelet"))
        );
        assert_ne!(short_id(Path::new("/a")), short_id(Path::new("/b")));
        assert_eq!(short_id(Path::new("a")), "af63dc4c8601ec8c");
    }

    /// A tree of files that looks like version 2, since not every host has one.
    fn unified(root: &Path, dirs: &[PathBuf]) {
        let files = [
            "cgroup.subtree_control",
            "cgroup.procs",
            "cpu.weight",
            "cpu.max",
            "memory.max",
            "memory.oom.group",
            "pids.max",
        ];
        for dir in dirs {
            fs::create_dir_all(root.join(dir)).unwrap();
            for file in files {
                fs::write(root.join(dir).join(file), "").unwrap();
            }
        }
    }

    #[test]
    fn in_version_2_controllers_are_given_down_the_tree() {
        let root = tempfile::tempdir().unwrap();
        let parent = Path::new("probelet/1").to_owned();
        let pod = parent.join("podu");
        let dirs = [
            PathBuf::new(),
            "probelet".into(),
            parent.clone(),
            pod.clone(),
        ];
        unified(root.path(), &dirs);
        let cgroups = Cgroups {
            hierarchies: vec![Hierarchy {
                root: root.path().to_owned(),
                controllers: vec![Controller::Cpu, Controller::Memory, Controller::Pids],
                unified: true,
            }],
            parent,
            pids: Some(50),
            why_none: None,
        };
        let resources = Resources {
            limits: probelet_model::resources::Amounts {
                cpu_milli: Some(1500),
                memory: Some(4096),
                ephemeral_storage: None,
            },
            ..Resources::default()
        };
        cgroups
            .make_pod(&"u".into(), &resources, Qos::Burstable)
            .unwrap();
        let read =
            |dir: &Path, file: &str| fs::read_to_string(root.path().join(dir).join(file)).unwrap();
        for dir in &dirs {
            assert_eq!(read(dir, "cgroup.subtree_control"), "+cpu +memory +pids");
        }
        assert_eq!(read(&pod, "cpu.max"), "150000 100000");
        assert_eq!(read(&pod, "memory.max"), "4096");
        assert_eq!(read(&pod, "pids.max"), "50");
    }

    #[test]
    fn a_pod_without_hierarchies_needs_nothing() {
        let none = Cgroups::default();
        let pod = none
            .make_pod(&"u".into(), &Resources::default(), Qos::Guaranteed)
            .unwrap();
        assert_eq!(pod.read(), None);
        none.remove_pod(&"u".into()).unwrap();
    }
}
