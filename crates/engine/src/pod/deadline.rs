//! activeDeadlineSeconds: how long a pod may live.

use probelet_model::pod::Pod;
use probelet_model::time::{Mono, Now, Wall};

use super::PodMachine;
use crate::effect::EventKind;
use crate::node::Turn;

/// `status.reason` of a pod that has lived too long, and the event's.
///
/// Upstream: kubelet pkg/kubelet/active_deadline.go.
/// Shown by: a_pod_that_has_lived_too_long_fails_and_is_stopped.
pub(crate) const REASON: &str = "DeadlineExceeded";
/// `status.message` of such a pod, and the event's.
pub(crate) const MESSAGE: &str = "Pod was active on the node longer than the specified deadline";

/// When the pod will have lived too long; counted from the start time in its status.
///
/// Upstream: kubelet pkg/kubelet/active_deadline.go, pastActiveDeadline.
/// Differs: it is due at that moment, not at the next look of a periodic loop; and a wall clock that is
/// set while the agent lives moves it no more than any other deadline.
/// Shown by: a_pod_that_has_lived_too_long_fails_and_is_stopped, a_deadline_outlives_the_agent.
pub(super) fn due(pod: &Pod, start_time: Wall, now: Now) -> Option<Mono> {
    let allowed = pod.active_deadline?;
    let lived = now.wall.since(start_time);
    Some(now.mono + allowed.saturating_sub(lived))
}

impl PodMachine {
    /// The pod fails, whatever its containers do and whatever their restart policies are.
    ///
    /// Upstream: kubelet pkg/kubelet/active_deadline.go, ShouldEvict; kubelet_pods.go,
    /// generateAPIPodStatus.
    /// Shown by: a_pod_that_has_lived_too_long_fails_and_is_stopped,
    /// a_deadline_ends_back_offs_initialisations_and_sidecars_too.
    pub(super) fn meet_deadline(&mut self, turn: &mut Turn<'_>) {
        if self.active_until.is_none_or(|until| turn.now.mono < until) {
            return;
        }
        self.active_until = None;
        if self.deadline_exceeded
            || self.evicted.is_some()
            || self.phase().is_terminal()
            || self.ending.is_some()
        {
            return;
        }
        self.deadline_exceeded = true;
        self.changed = true;
        self.forget_starts();
        self.event(turn, None, EventKind::Normal, REASON, MESSAGE.to_owned());
    }

    /// Whether the pod has failed, though its containers may still run.
    pub(crate) fn has_failed(&self) -> bool {
        self.deadline_exceeded || self.evicted.is_some() || self.has_failed_init()
    }
}
