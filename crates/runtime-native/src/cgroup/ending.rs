//! Who is still in a pod's cgroups, and their end.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use probelet_model::id::PodUid;

use super::{Cgroups, write};

impl Cgroups {
    /// Kills all that is in a pod's cgroups at one stroke where the kernel can do that: version 2, since Linux 5.14.
    pub(crate) fn kill_pod(&self, uid: &PodUid) {
        for place in self.places(uid) {
            let _cannot = write(&place.dir.join("cgroup.kill"), "1");
        }
    }

    /// The processes in a pod's cgroups, as this process's pid namespace has them.
    pub(crate) fn processes(&self, uid: &PodUid) -> BTreeSet<i32> {
        let mut found = BTreeSet::new();
        for place in self.places(uid) {
            add_processes(&place.dir, &mut found);
        }
        found
    }
}

fn add_processes(dir: &Path, found: &mut BTreeSet<i32>) {
    // Without root, what is not there to be read has not been made.
    let there = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    // One of another pid namespace is 0.
    found.extend(
        there
            .lines()
            .filter_map(|pid| pid.parse::<i32>().ok())
            .filter(|pid| *pid > 0),
    );
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            add_processes(&entry.path(), found);
        }
    }
}
