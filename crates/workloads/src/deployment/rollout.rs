//! The two ways from old ReplicaSets to the new one.

use super::Step;
use super::progress::Counts;
use super::sets::{NoNewSet, Set};
use crate::object;

impl Step<'_> {
    /// One step of a rolling update: up if there is room, else down as far as what is available allows.
    ///
    /// Upstream: pkg/controller/deployment/rolling.go, rolloutRolling.
    /// Shown by: a_new_template_is_rolled_out_step_by_step, a_rollout_stays_within_its_bounds.
    pub(super) fn roll(&mut self, new: Option<usize>) -> Result<(), NoNewSet> {
        let new = match new {
            Some(new) => new,
            None => self.make_new_set()?,
        };
        let size = self.sets.get(new).replicas();
        let up = if size > self.spec.replicas {
            self.spec.replicas
        } else {
            self.new_replicas(size)
        };
        if self.scale_set(new, up) || self.scale_old_down(new) {
            return Ok(());
        }
        self.clean_up_if_complete();
        Ok(())
    }

    /// All old pods end before the first new one is made.
    ///
    /// Upstream: pkg/controller/deployment/recreate.go, rolloutRecreate.
    /// Shown by: recreate_never_has_two_revisions_at_one_time.
    pub(super) fn recreate(&mut self, new: Option<usize>) -> Result<(), NoNewSet> {
        let old: Vec<usize> = self.sets.old_indices().collect();
        let mut is_down = false;
        for index in old {
            is_down |= self.scale_set(index, 0);
        }
        if is_down || self.old_pods_run() {
            return Ok(());
        }
        let new = match new {
            Some(new) => new,
            None => self.make_new_set()?,
        };
        self.scale_set(new, self.spec.replicas);
        self.clean_up_if_complete();
        Ok(())
    }

    fn clean_up_if_complete(&mut self) {
        let before = Counts::of(self.deployment);
        if before.is_complete(&self.spec, self.deployment) {
            self.clean_up();
        }
    }

    /// The size the new ReplicaSet may have, which has `size` now, zero if it is still to be made.
    ///
    /// Upstream: pkg/controller/deployment/util/deployment_util.go, NewRSNewReplicas.
    /// Shown by: a_rollout_stays_within_its_bounds.
    pub(super) fn new_replicas(&self, size: i64) -> i64 {
        if self.spec.rolling.is_none() {
            return self.spec.replicas;
        }
        let room = self.spec.max_pods() - self.sets.replicas();
        size + room.min(self.spec.replicas - size).max(0)
    }

    /// Those that are not available go first, as they help nobody and stand in the way; then as many available
    /// ones as there are more than the least.
    ///
    /// Upstream: pkg/controller/deployment/rolling.go, reconcileOldReplicaSets, cleanupUnhealthyReplicas and
    /// scaleDownOldReplicaSetsForRollingUpdate.
    /// Differs: a ReplicaSet that has just been scaled down has as many available pods as it wants, at most,
    /// whatever its status still says; upstream counts those that are going and may leave too few.
    /// Shown by: unhealthy_old_pods_go_first, a_rollout_stays_within_its_bounds,
    /// scaling_while_rolling_is_in_proportion.
    fn scale_old_down(&mut self, new: usize) -> bool {
        let old: Vec<usize> = self
            .sets
            .old_indices()
            .filter(|index| self.sets.get(*index).replicas() > 0)
            .collect();
        let new = self.sets.get(new);
        let new_unavailable = new.replicas() - new.available();
        let most = self.sets.replicas() - self.spec.min_available() - new_unavailable;
        if old.is_empty() || most <= 0 {
            return false;
        }
        let mut cleaned = 0;
        for index in &old {
            let set = self.sets.get(*index);
            let size = set.replicas();
            let unhealthy = (size - set.available()).min(most - cleaned).max(0);
            cleaned += unhealthy;
            self.scale_set(*index, size - unhealthy);
        }
        let available: i64 = self.sets.all().iter().map(Set::kept_available).sum();
        let mut left = (available - self.spec.min_available()).max(0);
        let mut scaled = 0;
        for index in &old {
            let size = self.sets.get(*index).replicas();
            let down = size.min(left);
            (left, scaled) = (left - down, scaled + down);
            self.scale_set(*index, size - down);
        }
        cleaned + scaled > 0
    }

    /// Whether a pod of an old ReplicaSet is still there that has not ended, or one of them says so.
    ///
    /// Upstream: pkg/controller/deployment/recreate.go, oldPodsRunning.
    /// Shown by: recreate_never_has_two_revisions_at_one_time.
    fn old_pods_run(&self) -> bool {
        self.sets.old().any(|set| {
            set.counted("replicas") > 0
                || self.around.pods.iter().any(|pod| {
                    let ended = matches!(
                        pod["status"]["phase"].as_str(),
                        Some("Succeeded" | "Failed")
                    );
                    let owner = object::controller(pod);
                    !ended && owner.is_some_and(|owner| owner["uid"] == object::uid(&set.value))
                })
        })
    }
}
