//! The image of a container's next run: looked up, pulled, waited for.

use std::time::Duration;

use probelet_model::go;
use probelet_model::id::ContainerId;
use probelet_model::pod::PullPolicy;
use probelet_model::time::Mono;

use super::sandbox::SANDBOX_RETRY;
use super::{PodMachine, waiting};
use crate::container::{Fetch, State};
use crate::effect::{Effect, EventKind};
use crate::input::{Image, ImageFailure, OperationId};
use crate::node::Turn;

/// A start that comes to nothing for want of its image, as the status tells it.
///
/// There is no RegistryUnavailable, which the kubelet takes from the runtime's words: of those only CRI-O has it, and
/// here the words are containerd's.
///
/// Upstream: kubelet pkg/kubelet/images/types.go; containerd internal/cri/server/images/image_pull.go.
/// Shown by: a_name_that_is_none_is_told_and_tried_again, a_pull_that_fails_is_tried_again_after_twice_as_long,
/// never_and_absent_is_never_pulled, an_image_that_cannot_be_looked_up_is_told_and_tried_again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    ErrImagePull,
    ImagePullBackOff,
    ErrImageNeverPull,
    InvalidImageName,
    ImageInspectError,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ErrImagePull => "ErrImagePull",
            Self::ImagePullBackOff => "ImagePullBackOff",
            Self::ErrImageNeverPull => "ErrImageNeverPull",
            Self::InvalidImageName => "InvalidImageName",
            Self::ImageInspectError => "ImageInspectError",
        }
    }
}

impl PodMachine {
    /// Whether another container of the pod waits for the same image: then this one's turn comes after.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_manager.go, SyncPod, which starts one container
    /// after the other, so that the second one finds what the first one has pulled.
    /// Differs: containers of different images wait for them side by side.
    /// Shown by: containers_of_one_image_wait_for_one_pull_and_one_back_off,
    /// containers_of_different_images_do_not_wait_for_each_other.
    pub(super) fn waits_for_a_neighbours_image(&self, index: usize) -> bool {
        let image = &self.spec(index).image;
        self.containers
            .iter()
            .any(|other| matches!(&other.state, State::Fetching(fetch) if fetch.image == *image))
    }

    /// The first step of a start: to see what is there.
    ///
    /// Upstream: kubelet pkg/kubelet/images/image_manager.go, EnsureImageExists.
    /// Differs: an image that another pod has pulled with its secrets may be used by every pod.
    /// Shown by: an_image_that_is_there_is_used, always_pulls_at_every_start,
    /// a_restart_finds_the_image_and_pulls_nothing.
    pub(super) fn look_up_image(
        &mut self,
        index: usize,
        id: ContainerId,
        restart_count: u32,
        turn: &mut Turn<'_>,
    ) {
        let operation = turn.ids.operation();
        let spec = self.spec(index);
        let (container, image) = (spec.name.clone(), spec.image.clone());
        self.containers[index].state = State::Fetching(Fetch {
            operation,
            id,
            restart_count,
            image: image.clone(),
            pulled_since: None,
        });
        turn.out.push(Effect::LookUpImage {
            operation,
            pod: self.pod.clone(),
            container,
            image,
        });
    }

    pub(crate) fn image_looked_up(
        &mut self,
        operation: OperationId,
        result: Result<Option<Image>, ImageFailure>,
        turn: &mut Turn<'_>,
    ) {
        let Some((index, fetch)) = self.fetch(operation, turn) else {
            return;
        };
        let spec = self.spec(index);
        let (policy, name) = (spec.pull_policy, go::quote(&fetch.image));
        match (result, policy) {
            (Err(ImageFailure::Name(error)), _) => {
                let message = format!("Failed to apply default image tag {name}: {error}");
                self.tell(index, EventKind::Warning, "InspectFailed", &message, turn);
                self.no_image(index, Reason::InvalidImageName, message, turn);
            }
            (Err(ImageFailure::Failed(error)), PullPolicy::IfNotPresent | PullPolicy::Never) => {
                let message = format!("Failed to inspect image {name}: {error}");
                self.tell(index, EventKind::Warning, "InspectFailed", &message, turn);
                self.no_image(index, Reason::ImageInspectError, message, turn);
            }
            (Ok(Some(image)), PullPolicy::IfNotPresent | PullPolicy::Never) => {
                let message = format!(
                    "Container image {name} already present on machine and can be accessed by the pod"
                );
                self.tell(index, EventKind::Normal, "Pulled", &message, turn);
                self.start_from(index, fetch, image, turn);
            }
            (Ok(None), PullPolicy::Never) => {
                let reason = Reason::ErrImageNeverPull;
                let message =
                    format!("Container image {name} is not present with pull policy of Never");
                self.tell(index, EventKind::Warning, reason.as_str(), &message, turn);
                self.no_image(index, reason, message, turn);
            }
            (Ok(None), PullPolicy::IfNotPresent) | (_, PullPolicy::Always) => {
                self.pull(index, fetch, turn);
            }
        }
    }

    /// The second step, unless the back-off stands in the way.
    ///
    /// Upstream: kubelet pkg/kubelet/images/image_manager.go, pullImage.
    /// Differs: the next try comes when the wait is over, not at some later synchronisation, and the wait is
    /// told once.
    /// Shown by: a_pull_that_fails_is_tried_again_after_twice_as_long.
    fn pull(&mut self, index: usize, fetch: Fetch, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        let name = go::quote(&fetch.image);
        if let Some((until, error)) = self.failed_pulls.refuses(&fetch.image, now) {
            let message = format!("Back-off pulling image {name}");
            let waits_for = format!("{message}: {error}");
            self.tell(index, EventKind::Normal, "BackOff", &message, turn);
            return self.no_image_until(index, Reason::ImagePullBackOff, waits_for, until, turn);
        }
        let message = format!("Pulling image {name}");
        self.tell(index, EventKind::Normal, "Pulling", &message, turn);
        let operation = turn.ids.operation();
        let image = fetch.image.clone();
        let container = &mut self.containers[index];
        container.state = State::Fetching(Fetch {
            operation,
            pulled_since: Some(now),
            ..fetch
        });
        turn.out.push(Effect::PullImage {
            operation,
            pod: self.pod.clone(),
            container: container.name.clone(),
            image,
        });
    }

    /// The third step: the run is asked for, or a pull that failed is told, and waited for with it.
    ///
    /// Upstream: kubelet pkg/kubelet/images/image_manager.go, pullImage and evalCRIPullErr.
    /// Shown by: a_pull_that_goes_well_is_told_with_its_time_and_size,
    /// a_pull_that_fails_is_tried_again_after_twice_as_long.
    pub(crate) fn image_pulled(
        &mut self,
        operation: OperationId,
        result: Result<Image, ImageFailure>,
        turn: &mut Turn<'_>,
    ) {
        let Some((index, fetch)) = self.fetch(operation, turn) else {
            return;
        };
        let name = go::quote(&fetch.image);
        let error = match result {
            Ok(image) => {
                let since = fetch.pulled_since.unwrap_or(turn.now.mono);
                let took = go::duration(whole_millis(turn.now.mono.since(since)));
                let message = format!(
                    "Successfully pulled image {name} in {took} ({took} including waiting). Image size: {} bytes.",
                    image.size
                );
                self.tell(index, EventKind::Normal, "Pulled", &message, turn);
                return self.start_from(index, fetch, image, turn);
            }
            Err(ImageFailure::Name(error) | ImageFailure::Failed(error)) => error,
        };
        let reason = Reason::ErrImagePull;
        let text = format!("Failed to pull image {name}: {error}");
        self.tell(index, EventKind::Warning, "Failed", &text, turn);
        let told = format!("{}: {error}", reason.as_str());
        self.failed_pulls.fail(&fetch.image, told, turn.now.mono);
        self.no_image(index, reason, error, turn);
    }

    /// The container whose image this is an answer about.
    fn fetch(&mut self, operation: OperationId, turn: &mut Turn<'_>) -> Option<(usize, Fetch)> {
        let mut states = self
            .containers
            .iter()
            .map(|container| &container.state)
            .enumerate();
        let found = states.find_map(|(index, state)| match state {
            State::Fetching(fetch) if fetch.operation == operation => Some((index, fetch.clone())),
            _ => None,
        });
        if found.is_none() {
            turn.stale();
            return None;
        }
        self.changed = true;
        self.synchronise = true;
        found
    }

    fn start_from(&mut self, index: usize, fetch: Fetch, image: Image, turn: &mut Turn<'_>) {
        self.ask_for_run(index, fetch.id, fetch.restart_count, Some(image), turn);
    }

    fn no_image(&mut self, index: usize, reason: Reason, message: String, turn: &mut Turn<'_>) {
        let retry_at = turn.now.mono + SANDBOX_RETRY;
        self.no_image_until(index, reason, message, retry_at, turn);
    }

    fn no_image_until(
        &mut self,
        index: usize,
        reason: Reason,
        message: String,
        retry_at: Mono,
        turn: &mut Turn<'_>,
    ) {
        let reason = reason.as_str();
        let container = &mut self.containers[index];
        container.state = State::Idle;
        container.waiting = Some(waiting(reason, message));
        container.retry_at = Some(retry_at);
        let text = format!("Error: {reason}");
        self.tell(index, EventKind::Warning, "Failed", &text, turn);
    }
}

/// As upstream tells how long a pull took.
fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
