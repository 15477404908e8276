//! Which processes a pod's containers see: their own, each other's, or the host's.

use std::os::fd::AsFd;
use std::path::Path;

use probelet_model::security::Namespaces;
use rustix::io::{Errno, Result};
use rustix::process::{
    PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, pidfd_open,
    set_parent_process_death_signal, waitid, waitpid,
};
use rustix::stdio::{dup2_stdout, stdin};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use super::confinement::Confinement;
use super::{note, rootfs};
use crate::process;
use crate::sys::{self, Child, Fresh, Signals, Stack};

/// Where the containers' processes are.
#[derive(Debug)]
pub(super) enum Pids {
    /// Each container has a pid namespace, whose end is the end of all that is in it.
    Containers,
    /// They share one, whose process 1 this is.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, where process 1 of such a pod is the
    /// pause container's.
    /// Shown by: containers_of_a_pod_may_see_each_others_processes.
    Pod(Child),
    /// They are in the shim's own, and that is the host's.
    Host,
}

impl Pids {
    /// As the pod asks for; to be called in its user namespace, if it has one.
    ///
    /// `confinement` is for process 1 of the pod, which only waits; its root is built on the empty directory `staging`.
    pub(super) fn of(
        namespaces: Namespaces,
        confinement: Option<&Confinement>,
        staging: &Path,
    ) -> Result<Self> {
        Ok(if namespaces.host_pid {
            Self::Host
        } else if namespaces.one_pid {
            Self::Pod(sys::fork(Fresh::PidAndMount, || {
                wait_for_ever(confinement, staging).map_or(1, |never| match never {})
            })?)
        } else {
            Self::Containers
        })
    }

    /// Whether the end of a container's init ends the container.
    pub(super) const fn are_the_containers_own(&self) -> bool {
        matches!(self, Self::Containers)
    }

    /// Forks a child of the shim that is a container's first process, with a mount namespace of its own.
    ///
    /// A process cannot move itself into a pid namespace, only its future children; and the shim, once pointed at
    /// the pod's, could without root never be pointed back. So a child that borrows the shim's memory is pointed
    /// there instead, and forks in its own parent's name.
    pub(super) fn fork(&self, stack: &mut Stack, body: impl Fn() -> i32) -> Result<Child> {
        let process_1 = match self {
            Self::Containers => return sys::fork(Fresh::PidAndMount, body),
            Self::Host => return sys::fork(Fresh::Mount, body),
            Self::Pod(process_1) => process_1.pidfd.as_fd(),
        };
        let mut made = Err(Errno::CHILD);
        let between = sys::vfork(stack, || {
            made = move_into_thread_name_spaces(process_1, ThreadNameSpaceType::PROCESS_ID)
                .and_then(|()| sys::fork_sibling(Fresh::Mount, &body));
            0
        })?;
        while matches!(
            waitpid(Some(between), WaitOptions::empty()),
            Err(Errno::INTR)
        ) {}
        let pid = made?;
        // Our own child, not yet reaped: the number is still its own.
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Child { pid, pidfd })
    }

    /// Ends what is left of the pod's namespace.
    pub(super) fn end(&self) {
        if let Self::Pod(process_1) = self {
            process::signal(&process_1.pidfd, Signal::KILL);
            let process_1 = WaitId::PidFd(process_1.pidfd.as_fd());
            let _ended = waitid(process_1, WaitIdOptions::EXITED);
        }
    }
}

/// What process 1 of a pod does: orphans come to it, and the kernel reaps them, as it ignores their ends.
///
/// It has no files, as a container that may trace it sees what it sees.
fn wait_for_ever(
    confinement: Option<&Confinement>,
    staging: &Path,
) -> Result<std::convert::Infallible> {
    sys::close_all_but(&[])?;
    // The agent waits for the end of what the shim says when it starts.
    dup2_stdout(stdin())?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    sys::set_signals(Signals::Process1);
    rootfs::enter_nothing(staging).map_err(|error| {
        note(&format!("process 1 of the pod: {error}"));
        Errno::IO
    })?;
    confinement.map_or(Ok(()), Confinement::put_on_own)?;
    loop {
        let _interrupted = rustix::event::poll(&mut [], None);
    }
}
