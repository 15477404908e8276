//! What bounds a container's processes from their first instruction on: capabilities, no_new_privs, and a filter
//! of system calls.

use std::rc::Rc;

use probelet_model::security::{Seccomp, Security};
use rustix::io::Result;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, set_no_new_privs};

use super::capabilities;
use super::seccomp::Profiles;
use crate::sys::Filter;
use crate::text;

/// With which nothing can be done to a host but to keep it awake, or to wake it.
const SPARE: [CapabilitySet; 2] = [CapabilitySet::BLOCK_SUSPEND, CapabilitySet::WAKE_ALARM];

/// All of it, for one container.
#[derive(Clone, Debug)]
pub(super) struct Confinement {
    capabilities: CapabilitySet,
    no_new_privileges: bool,
    filter: Option<Rc<Filter>>,
    /// The filter is of this program's own making, so it is known what passes it.
    own_filter: bool,
}

impl Confinement {
    /// What a container asks for, or why it cannot be had.
    pub(super) fn of(
        security: &Security,
        profiles: &mut Profiles,
    ) -> std::result::Result<Self, String> {
        let available = capabilities::available()
            .map_err(|errno| format!("look up capabilities: {}", text::reason(errno)))?;
        let capabilities = capabilities::of(security, available)?;
        let seccomp = if security.privileged {
            &Seccomp::Unconfined
        } else {
            &security.seccomp
        };
        Ok(Self {
            capabilities,
            no_new_privileges: !security.may_escalate,
            filter: profiles.filter(seccomp, capabilities)?,
            own_filter: !matches!(seccomp, Seccomp::Localhost(_)),
        })
    }

    /// Whether it may be put on a process of ours, which goes on to start others below it. A filter that
    /// somebody else has written may forbid what such a process needs, and so is for the command alone.
    pub(super) const fn can_be_put_on_early(&self) -> bool {
        self.own_filter
    }

    /// Puts it on the calling process, around `ids`, with which the process becomes another user, and `look_up`, what
    /// is to be done as that user.
    ///
    /// A filter may be put on by whoever has SYS_ADMIN in its user namespace, or no_new_privs: so without the
    /// latter, before the ids are changed, and otherwise last, so that it need not let that pass.
    ///
    /// Upstream: runc libcontainer/setns_init_linux.go and standard_init_linux.go, Init.
    /// Shown by: the_default_profile_is_on, a_profile_of_the_node_is_used.
    pub(super) fn put_on<T>(
        &self,
        ids: impl FnOnce() -> Result<()>,
        look_up: impl FnOnce() -> T,
    ) -> Result<T> {
        // Its memory is a copy of the shim's until it executes something, and from here on others are bounded alike.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        self.bind(ids, look_up)
    }

    /// The same for a process of ours that stays beside the container's: whoever of them gets hold of it, as with
    /// SYS_PTRACE, has won nothing. A filter that somebody else has written may forbid what it needs, and is left out.
    ///
    /// Who has all capabilities of another may trace it without SYS_PTRACE, so it keeps one more, of no use to
    /// anybody. Not dumpable, it would be closed to a shim without root as well.
    pub(super) fn put_on_own(&self) -> Result<()> {
        let available = capabilities::available()?;
        let spare = SPARE
            .into_iter()
            .find(|one| available.contains(*one) && !self.capabilities.contains(*one));
        let filter = self.filter.as_ref().filter(|_| self.own_filter);
        let own = Self {
            capabilities: self.capabilities | spare.unwrap_or(CapabilitySet::empty()),
            filter: filter.cloned(),
            ..self.clone()
        };
        own.bind(|| Ok(()), || ())
    }

    fn bind<T>(&self, ids: impl FnOnce() -> Result<()>, look_up: impl FnOnce() -> T) -> Result<T> {
        if !self.no_new_privileges {
            self.install()?;
        }
        capabilities::bound(self.capabilities)?;
        ids()?;
        capabilities::limit(self.capabilities)?;
        let looked_up = look_up();
        if self.no_new_privileges {
            set_no_new_privs(true)?;
            self.install()?;
        }
        Ok(looked_up)
    }

    fn install(&self) -> Result<()> {
        self.filter
            .as_ref()
            .map_or(Ok(()), |filter| filter.install())
    }
}
