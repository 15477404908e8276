//! The native runtime as the ground of the suite, and what its own tests look at.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use probelet_runtime::conformance::world::*;
use probelet_runtime_native::{NativeRuntime, NetworkOptions, Options};
use rustix::process::{Pid, Signal, kill_process};

/// Native runtimes with shims of this build.
pub(crate) const NATIVE: Ground<NativeRuntime> = Ground {
    open: native,
    kept: |dir, pod| dir.join("data/run").join(pod),
    clear,
};

/// Ends the shims below a directory.
fn clear(dir: &Path) {
    for pod in std::fs::read_dir(dir.join("data/run"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let Some(shim) = shim_of(dir, &pod.file_name().to_string_lossy()) else {
            continue;
        };
        if is_running(shim.as_raw_nonzero().get().unsigned_abs()) {
            let _gone = kill_process(shim, Signal::KILL);
        }
    }
    for cgroup in cgroups_of(dir) {
        remove_cgroup(&cgroup);
    }
}

fn shim_of(dir: &Path, pod: &str) -> Option<Pid> {
    let file = dir.join("data/run").join(pod).join("shim.pid");
    let text = std::fs::read_to_string(file).ok()?;
    Pid::from_raw(text.split([':', ',']).nth(1)?.parse().ok()?)
}

/// Below which cgroups its pods have theirs, in each hierarchy where they have any.
fn cgroups_of(dir: &Path) -> Vec<PathBuf> {
    let data = dir.join("data");
    let dir = std::fs::canonicalize(&data).unwrap_or(data);
    // FNV-1a, as the runtime names it.
    let bytes = dir.as_os_str().as_encoded_bytes().iter();
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    let below = format!("probelet/{hash:016x}");
    let roots = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten();
    let roots = roots.flatten().map(|root| root.path());
    let all = roots.chain(["/sys/fs/cgroup".into()]);
    all.map(|root| root.join(&below))
        .filter(|dir| dir.exists())
        .collect()
}

/// Removes a cgroup whose processes are about to end, with those below it and those above it that are empty then.
fn remove_cgroup(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_cgroup(&entry.path());
        }
    }
    for _ in 0..200 {
        match std::fs::remove_dir(dir) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                std::thread::park_timeout(Duration::from_millis(10));
            }
            _ => break,
        }
    }
    if let Some(above) = dir.parent().filter(|above| above.ends_with("probelet")) {
        let _others = std::fs::remove_dir(above);
    }
}

/// A native runtime on the data directory in `dir`, whose pods have no way out.
pub(crate) fn native(dir: &Path) -> NativeRuntime {
    native_with(dir, NetworkOptions::default())
}

/// A native runtime on the data directory in `dir`.
pub(crate) fn native_with(dir: &Path, network: NetworkOptions) -> NativeRuntime {
    let shim = std::env::var_os("PROBELET_TEST_SHIM")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_probelet-native-shim").into());
    NativeRuntime::new(Options {
        data_dir: dir.join("data"),
        shim_command: vec![shim],
    })
    .unwrap()
    .with_network(&network)
}

/// What only the native runtime has.
pub(crate) trait OfNative {
    /// The number of a pod's shim.
    fn shim(&self, pod: &str) -> Option<Pid>;

    /// Below which cgroups its pods have theirs, in each hierarchy where they have any.
    fn cgroups(&self) -> Vec<PathBuf>;
}

impl OfNative for Place<NativeRuntime> {
    fn shim(&self, pod: &str) -> Option<Pid> {
        shim_of(self.path(), pod)
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        cgroups_of(self.path())
    }
}

/// Worlds of the native runtime.
pub(crate) trait Native {
    /// One whose pods have no way out.
    fn native() -> Self;

    fn native_with(network: NetworkOptions) -> Self;
}

impl Native for World<NativeRuntime> {
    fn native() -> Self {
        Self::new(NATIVE)
    }

    fn native_with(network: NetworkOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = native_with(dir.path(), network);
        Self::around(runtime, dir, NATIVE)
    }
}
