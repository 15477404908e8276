//! Eviction: a pod that takes more than it may of what the node has.

use std::time::Duration;

use probelet_model::pod::VolumeSource;

use super::PodMachine;
use crate::effect::EventKind;
use crate::node::Turn;

/// `status.reason` of a pod that was evicted, and the event's.
///
/// Upstream: kubelet pkg/kubelet/eviction/helpers.go, Reason.
/// Shown by: a_pod_whose_volume_is_too_full_is_evicted.
pub(crate) const REASON: &str = "Evicted";

/// How long its containers have.
///
/// Upstream: kubelet pkg/kubelet/eviction/eviction_manager.go, immediateEvictionGracePeriodSeconds.
/// Differs: [`crate::container::MINIMUM_GRACE`] holds here too.
/// Shown by: a_pod_whose_volume_is_too_full_is_evicted.
pub(super) const GRACE: Duration = Duration::from_secs(1);

impl PodMachine {
    /// The pod fails, because an emptyDir of it holds more than its `sizeLimit`.
    ///
    /// Upstream: kubelet pkg/kubelet/eviction/eviction_manager.go, emptyDirLimitEviction and evictPod.
    /// Shown by: a_pod_whose_volume_is_too_full_is_evicted, an_evicted_pod_stays_so.
    pub(crate) fn volume_full(&mut self, volume: &str, turn: &mut Turn<'_>) {
        let named = self.pod.volumes.iter().find(|known| known.name == volume);
        let Some(VolumeSource::EmptyDir {
            size_limit: Some(limit),
            ..
        }) = named.map(|named| &named.source)
        else {
            return;
        };
        if self.has_failed() || self.phase().is_terminal() || self.ending.is_some() {
            return;
        }
        let limit = quantity(*limit);
        let message = format!("Usage of EmptyDir volume {volume:?} exceeds the limit {limit:?}. ");
        self.active_until = None;
        self.evicted = Some(message.clone());
        self.changed = true;
        self.forget_starts();
        self.event(turn, None, EventKind::Warning, REASON, message);
    }
}

/// A number of bytes as Kubernetes writes it.
fn quantity(bytes: u64) -> String {
    let (step, units) = if bytes.is_multiple_of(1024) {
        (1024, ["", "Ki", "Mi", "Gi", "Ti", "Pi"])
    } else {
        (1000, ["", "k", "M", "G", "T", "P"])
    };
    let (mut amount, mut unit) = (bytes, 0);
    while amount > 0 && amount.is_multiple_of(step) && unit + 1 < units.len() {
        amount /= step;
        unit += 1;
    }
    format!("{amount}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_with_the_largest_unit() {
        let written = [1 << 20, 1_000_000, 1536, 1500, 5 << 30].map(quantity);
        assert_eq!(written, ["1Mi", "1M", "1536", "1500", "5Gi"]);
    }
}
