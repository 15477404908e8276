//! Images that could not be pulled, and how long that is not tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use probelet_model::time::{Mono, Now};

use crate::backoff::{BackOff, BackOffLimits, Entry};
use crate::memory::{FailedPullMemory, Instant};

/// The numbers of the back-off of pulls: 10 s, doubled up to 5 min, forgotten after ten.
///
/// Upstream: kubelet pkg/kubelet/kubelet.go, NewMainKubelet (imageBackOffPeriod and MaxImageBackOff).
/// Shown by: a_pull_that_fails_is_tried_again_after_twice_as_long,
/// a_failed_pull_is_forgotten_after_600_seconds.
const LIMITS: BackOffLimits = BackOffLimits {
    initial: Duration::from_secs(10),
    cap: Duration::from_secs(300),
    reset: Duration::from_secs(600),
};

/// One pod's failed pulls, by `image` of the spec. A pull that goes well takes none away: time does.
///
/// Durable: an agent that comes back waits on.
/// Upstream: kubelet pkg/kubelet/images/image_manager.go, pullImage (backOff and prevPullErrMsg);
/// client-go util/flowcontrol/backoff.go, IsInBackOffSinceUpdate and Next.
/// Shown by: a_pull_that_fails_is_tried_again_after_twice_as_long,
/// containers_of_one_image_wait_for_one_pull_and_one_back_off,
/// an_image_backs_off_on_after_a_restart_of_the_agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FailedPulls(BTreeMap<String, FailedPull>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct FailedPull {
    back_off: BackOff,
    error: String,
}

impl FailedPulls {
    /// Until when the image must not be pulled, and what was wrong with it; `None` if it may be.
    pub(crate) fn refuses(&self, image: &str, now: Mono) -> Option<(Mono, &str)> {
        let failed = self.0.get(image)?;
        let since = failed.back_off.entry?.updated;
        let (until, _) = failed.back_off.refuses(&LIMITS, since, now)?;
        Some((until, &failed.error))
    }

    /// A pull has failed.
    pub(crate) fn fail(&mut self, image: &str, error: String, now: Mono) {
        self.0
            .retain(|_, failed| failed.back_off.live(&LIMITS, now).is_some());
        let failed = self.0.entry(image.to_owned()).or_insert(FailedPull {
            back_off: BackOff::default(),
            error: String::new(),
        });
        failed.back_off.advance(&LIMITS, now);
        failed.error = error;
    }

    /// What the next agent must know.
    pub(crate) fn memory(&self, origin: Now) -> BTreeMap<String, FailedPullMemory> {
        let written = |(image, failed): (&String, &FailedPull)| {
            let entry = failed.back_off.entry?;
            let memory = FailedPullMemory {
                delay: entry.delay,
                since: Instant::written(entry.updated, origin),
                error: failed.error.clone(),
            };
            Some((image.clone(), memory))
        };
        self.0.iter().filter_map(written).collect()
    }

    /// What the agent before this one had noted.
    pub(crate) fn recalled(memory: &BTreeMap<String, FailedPullMemory>, now: Now) -> Self {
        let read = |(image, memory): (&String, &FailedPullMemory)| {
            let entry = Entry {
                delay: memory.delay,
                updated: memory.since.read_past(now),
            };
            let failed = FailedPull {
                back_off: BackOff { entry: Some(entry) },
                error: memory.error.clone(),
            };
            (image.clone(), failed)
        };
        Self(memory.iter().map(read).collect())
    }
}
