//! Scaling: of one ReplicaSet, and of all in proportion.

use serde_json::Value;

use super::Step;
use super::revision;
use super::sets::Set;
use crate::object;
use crate::plan::EventKind;

impl Step<'_> {
    /// Follows a change of the Deployment's size. With one active ReplicaSet that one takes it all; with several,
    /// each its share, so that scaling does not speed up a rollout of which nobody knows whether it is good.
    ///
    /// Upstream: pkg/controller/deployment/sync.go, scale.
    /// Differs: a single ReplicaSet that has the right size already is told that it was scaled to it. Upstream
    /// leaves its annotation behind, takes every later change for another scaling, and never rolls out again.
    /// Shown by: scaling_while_rolling_is_in_proportion, shares_are_upstreams,
    /// a_paused_deployment_is_scaled_and_not_rolled_out, a_set_scaled_by_hand_does_not_stop_later_rollouts.
    pub(super) fn scale(&mut self) {
        if let Some(only) = self.active_or_latest() {
            self.scale_set(only, self.spec.replicas);
            revision::set_replicas(&mut self.sets.get_mut(only).value, &self.spec);
        } else if self.is_saturated() {
            let old: Vec<usize> = self.sets.old_indices().collect();
            for index in old {
                self.scale_set(index, 0);
            }
        } else if self.spec.rolling.is_some() {
            self.scale_in_proportion();
        }
    }

    /// Whether [`Step::scale`] knows what to do.
    ///
    /// Differs: where it does not, which is where several ReplicaSets are active and the strategy is Recreate
    /// now, the rollout goes on and ends it. Upstream does neither, for ever.
    /// Shown by: a_changed_strategy_does_not_stop_a_rollout.
    pub(super) fn can_scale(&self) -> bool {
        self.spec.rolling.is_some() || self.sets.active().nth(1).is_none()
    }

    /// The only active ReplicaSet, or if none is, the newest; `None` if several are, or there is none.
    ///
    /// Upstream: pkg/controller/deployment/util/deployment_util.go, FindActiveOrLatest.
    /// Shown by: a_paused_deployment_is_scaled_and_not_rolled_out.
    fn active_or_latest(&self) -> Option<usize> {
        let mut active = self.sets.active();
        match (active.next(), active.next()) {
            (Some(only), None) => Some(only),
            (Some(_), Some(_)) => None,
            (None, _) => self
                .sets
                .current_index()
                .or_else(|| self.sets.old_indices().last()),
        }
    }

    /// Whether the new ReplicaSet has all the pods, and all of them are available.
    ///
    /// Upstream: pkg/controller/deployment/util/deployment_util.go, IsSaturated.
    /// Shown by: adopted_pods_of_old_templates_go_when_the_new_set_is_saturated.
    fn is_saturated(&self) -> bool {
        let wanted = self.spec.replicas;
        self.sets.current().is_some_and(|set| {
            set.replicas() == wanted
                && set.number(revision::DESIRED_REPLICAS) == Some(wanted)
                && set.available() == wanted
        })
    }

    fn scale_in_proportion(&mut self) {
        let allowed = if self.spec.replicas > 0 {
            self.spec.max_pods()
        } else {
            0
        };
        let to_add = allowed - self.sets.replicas();
        let mut active: Vec<usize> = self.sets.active().collect();
        // The largest first; of two of one size the newer when growing, the older when shrinking.
        active.sort_by(|one, other| {
            let (one, other) = (self.sets.get(*one), self.sets.get(*other));
            let by_age = one.by_age(other);
            let by_age = if to_add > 0 { by_age.reverse() } else { by_age };
            other.replicas().cmp(&one.replicas()).then(by_age)
        });
        let mut added = 0;
        let mut sizes: Vec<i64> = Vec::new();
        for index in &active {
            let set = self.sets.get(*index);
            let share = self.share(set, to_add, added);
            added += share;
            sizes.push(set.replicas() + share);
        }
        if let Some(largest) = sizes.first_mut() {
            *largest = (*largest + to_add - added).max(0);
        }
        for (index, size) in active.into_iter().zip(sizes) {
            self.scale_set(index, size);
            // Also where the size stays: it has been scaled for another one.
            revision::set_replicas(&mut self.sets.get_mut(index).value, &self.spec);
        }
    }

    /// How many of `to_add` pods, of which `added` are given away, a ReplicaSet gets; both may be negative.
    ///
    /// Upstream: pkg/controller/deployment/util/deployment_util.go, GetReplicaSetProportion.
    /// Shown by: shares_are_upstreams.
    fn share(&self, set: &Set, to_add: i64, added: i64) -> i64 {
        let left = to_add - added;
        if to_add == 0 || left == 0 {
            return 0;
        }
        let fraction = self.fraction(set);
        if to_add > 0 {
            fraction.min(left)
        } else {
            fraction.max(left)
        }
    }

    /// The share of a ReplicaSet in a scaling of several.
    ///
    /// Upstream: pkg/controller/deployment/util/deployment_util.go, getReplicaSetFraction.
    /// Shown by: shares_are_upstreams.
    fn fraction(&self, set: &Set) -> i64 {
        let size = set.replicas();
        if self.spec.replicas == 0 {
            return -size;
        }
        let known = set.number(revision::MAX_REPLICAS).filter(|max| *max > 0);
        let before = known.unwrap_or_else(|| object::count(&self.deployment["status"]["replicas"]));
        if before <= 0 {
            return 0;
        }
        // Rounded half up; none of them is negative.
        let now = size * self.spec.max_pods();
        (2 * now + before) / (2 * before) - size
    }

    /// Gives a ReplicaSet another size, and tells so; whether it had another.
    ///
    /// Upstream: pkg/controller/deployment/sync.go, scaleReplicaSet.
    /// Shown by: a_new_template_is_rolled_out_step_by_step.
    pub(super) fn scale_set(&mut self, index: usize, size: i64) -> bool {
        let set = self.sets.get(index);
        let before = set.replicas();
        if before == size {
            return false;
        }
        let name = object::name(&set.value).to_owned();
        let value: &mut Value = &mut self.sets.get_mut(index).value;
        value["spec"]["replicas"] = size.into();
        revision::set_replicas(value, &self.spec);
        let direction = if size > before { "up" } else { "down" };
        let message = format!("Scaled {direction} replica set {name} from {before} to {size}");
        self.tell(EventKind::Normal, "ScalingReplicaSet", message);
        true
    }
}
