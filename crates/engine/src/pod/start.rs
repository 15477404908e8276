//! Starting a container's next run.

use probelet_model::go;
use probelet_model::id::ContainerId;
use probelet_model::time::Mono;

use super::{PodMachine, waiting};
use crate::container::{RunImage, State};
use crate::effect::{Effect, EventKind};
use crate::input::Image;
use crate::node::Turn;
use crate::restarts::Role;

impl PodMachine {
    /// Starts what is to run and does not, as far as each container's turn has come.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_manager.go, computePodActions.
    /// Differs: an init container that did its work in a sandbox that is gone has no failure behind it, so
    /// that no back-off is asked about it.
    /// Shown by: init_containers_run_one_after_the_other_and_then_the_others_side_by_side,
    /// d18_on_failure_restarts_what_liveness_killed_whatever_its_exit_code,
    /// a_sidecar_that_ends_while_the_pod_ends_is_not_restarted.
    pub(super) fn start_containers(&mut self, turn: &mut Turn<'_>) {
        let leaving = self.is_leaving();
        for index in 0..self.containers.len() {
            let container = &self.containers[index];
            if container.is_alive()
                || !self.initialization.admits(index, container.role)
                || (leaving && container.role == Role::Sidecar)
                || self.waits_for_a_neighbours_image(index)
            {
                continue;
            }
            if let Some(newest_exit) = self.containers[index].start_over.take() {
                self.start(index, newest_exit, turn);
            }
            let container = &self.containers[index];
            if container.state == State::Idle
                && container.retry_at.is_none()
                && container.wants_run()
            {
                let judged = container
                    .newest_exit
                    .as_ref()
                    .filter(|exited| {
                        container.role != Role::Init || exited.terminated.exit_code != 0
                    })
                    .map(|exited| exited.at);
                self.start(index, judged, turn);
            }
        }
    }

    /// Starts the next run, unless the back-off stands in the way.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_manager.go, doBackOff.
    /// Differs: CrashLoopBackOff shows at once, not one synchronisation later, and the next try comes
    /// when the wait is over, not at some later synchronisation.
    /// Shown by: d1_exits_at_once_and_waits_double,
    /// d19_on_failure_in_back_off_is_never_restarted_after_exit_code_0,
    /// d20_liveness_kills_at_30_seconds_of_life, e6_the_only_container_in_crash_loop_back_off.
    fn start(&mut self, index: usize, newest_exit: Option<Mono>, turn: &mut Turn<'_>) {
        let limits = &turn.config.back_off;
        let container = &mut self.containers[index];
        let name = container.name.clone();
        self.changed = true;
        if let Some(exit) = newest_exit {
            if let Some((until, delay)) = container.back_off.refuses(limits, exit, turn.now.mono) {
                let full_name = format!("{}({})", self.pod.full_name(), self.pod.uid);
                let wait = go::duration(delay);
                let message =
                    format!("back-off {wait} restarting failed container={name} pod={full_name}");
                // A refusal judged by an older exit is no more than an event: the policy and the newest exit
                // decide next, in the same turn.
                if container
                    .newest_exit
                    .as_ref()
                    .is_some_and(|exited| exited.at == exit)
                {
                    container.waiting = Some(waiting("CrashLoopBackOff", message));
                    container.retry_at = Some(until);
                }
                let message =
                    format!("Back-off restarting failed container {name} in pod {full_name}");
                return self.event(turn, Some(&name), EventKind::Warning, "BackOff", message);
            }
            container.back_off.advance(limits, turn.now.mono);
        }
        let id = turn.ids.container();
        let restart_count = container.next_restart_count();
        if self.pod.on_host {
            self.ask_for_run(index, id, restart_count, None, turn);
        } else {
            self.look_up_image(index, id, restart_count, turn);
        }
    }

    /// Asks for a run, of the image if it is to see that one's files.
    pub(super) fn ask_for_run(
        &mut self,
        index: usize,
        id: ContainerId,
        restart_count: u32,
        image: Option<Image>,
        turn: &mut Turn<'_>,
    ) {
        let operation = turn.ids.operation();
        let spec = self.spec(index);
        let of_host = RunImage::of_host(spec);
        let started_from = match &image {
            Some(image) => RunImage {
                name: image.name.clone(),
                id: image.status_id.clone(),
                ..of_host
            },
            None => of_host,
        };
        let container = &mut self.containers[index];
        // What it waited for is told until it runs.
        container.state = State::Starting {
            operation,
            id: id.clone(),
            restart_count,
            image: started_from,
            exit: None,
        };
        turn.out.push(Effect::StartContainer {
            operation,
            pod: self.pod.clone(),
            container: container.name.clone(),
            id,
            restart_count,
            image,
        });
    }
}
