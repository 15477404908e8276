//! One container of a pod, over all its runs.

use std::time::Duration;

use probelet_model::id::{ContainerId, ContainerName};
use probelet_model::pod::{Container, Hook, RestartPolicy};
use probelet_model::probe::{ProbeKind, Verdict};
use probelet_model::status::{Phase, Terminated, Waiting};
use probelet_model::time::{Mono, Now, Wall};

use crate::backoff::BackOff;
use crate::gate::{View, ViewRun, ViewState};
use crate::input::{Exit, OperationId};
use crate::probe::ProbeMachine;
use crate::restarts::{Restarts, Role};

mod memory;
mod status;

pub(crate) use status::{NOT_INITIALIZED, Surroundings};

/// The scheme before a container's id on the wire.
const ID_SCHEME: &str = "probelet://";

/// Least time between TERM and KILL.
///
/// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, minimumGracePeriodInSeconds.
/// Shown by: d15_a_pre_stop_hook_that_hangs_leaves_2_seconds, a_second_deletion_can_only_shorten_the_first.
pub(crate) const MINIMUM_GRACE: Duration = Duration::from_secs(2);

/// The reason of a run that is not to be found any more.
///
/// Upstream: kubelet pkg/kubelet/container/runtime.go, ContainerReasonStatusUnknown.
/// Shown by: while_the_sandbox_is_being_made, e24_a_run_that_is_lost_counts_as_a_restart.
pub(crate) const NOT_LOCATED: &str = "ContainerStatusUnknown";
/// The exit code that stands in for the one nobody knows.
pub(crate) const NOT_LOCATED_CODE: i32 = 137;

/// One container: its runs, its back-off and its probes.
#[derive(Clone, Debug)]
pub(crate) struct ContainerMachine {
    pub(crate) name: ContainerName,
    pub(crate) role: Role,
    pub(crate) restarts: Restarts,
    pub(crate) state: State,
    /// An ordinary init container has done its work in the sandbox that stands; durable.
    pub(crate) completed: bool,
    /// The newest run that has ended.
    pub(crate) newest_exit: Option<ExitedRun>,
    /// How the run before that one ended.
    previous_exit: Option<Terminated>,
    /// How many runs were before the newest that was ever made; durable, in the status.
    restart_count: u32,
    pub(crate) back_off: BackOff,
    /// Why it is not started, if something stands in the way.
    pub(crate) waiting: Option<Waiting>,
    /// When a refused or failed start is tried again.
    pub(crate) retry_at: Option<Mono>,
    /// A start that was decided before the exit that it follows, with the exit that was the newest then.
    pub(crate) start_over: Option<Option<Mono>>,
    pub(crate) probes: Vec<ProbeMachine>,
    /// The image of the newest run, unless that saw the host's files; durable.
    image: Option<RunImage>,
}

/// What a run was started from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunImage {
    /// `image` of the spec.
    pub(crate) spec: String,
    /// `image` of the status.
    pub(crate) name: String,
    /// `imageID` of the status; empty if the run sees the host's files.
    pub(crate) id: String,
}

impl RunImage {
    /// Of a run that sees the host's files.
    pub(crate) fn of_host(spec: &Container) -> Self {
        Self {
            spec: spec.image.clone(),
            name: spec.image.clone(),
            id: String::new(),
        }
    }
}

/// What the newest run does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// There is none, or it has ended.
    Idle,
    /// Its image is looked for: nothing of the run is there yet but its name.
    Fetching(Fetch),
    /// The runtime has been asked for it.
    Starting {
        operation: OperationId,
        id: ContainerId,
        restart_count: u32,
        image: RunImage,
        /// How it ended, if that was told before the answer: the two come by different ways.
        exit: Option<Exit>,
    },
    /// It runs, and its postStart hook does too.
    PostStart { run: Run, operation: OperationId },
    /// It runs.
    Running(Run),
    /// It runs, and has been told to end.
    Stopping {
        run: Run,
        step: StopStep,
        then: AfterStop,
    },
}

/// A run that waits for its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub(crate) operation: OperationId,
    pub(crate) id: ContainerId,
    pub(crate) restart_count: u32,
    /// `image` of the spec.
    pub(crate) image: String,
    /// Since when it is being pulled; `None` while it is only looked up.
    pub(crate) pulled_since: Option<Mono>,
}

/// A run that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) id: ContainerId,
    pub(crate) image: RunImage,
    /// As the runtime tells it.
    pub(crate) started_at: Wall,
    /// The same, cut to whole wall seconds, on the monotonic clock: initialDelaySeconds count from here.
    pub(crate) since: Mono,
    /// Whether its postStart hook, if any, has gone well: until then the status does not show it as
    /// running and no probe looks at it.
    pub(crate) shown: bool,
}

/// How far a stop has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StopStep {
    /// The preStop hook runs.
    Hook {
        operation: OperationId,
        since: Mono,
        grace: Duration,
    },
    /// It waits until those that must end before it have ended, or its grace is used up.
    Turn { since: Mono, grace: Duration },
    /// TERM has been asked for with so much grace, and so KILL for `kill_at`.
    Signalled { kill_at: Mono, grace: Duration },
    /// The agent before this one had begun with it: how far it had come, if that is known.
    Recalled { step: Option<RecalledStep> },
}

/// How far a stop had come that is to be asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecalledStep {
    /// The preStop hook ran.
    Hook { since: Mono, grace: Duration },
    /// TERM had been asked for.
    Signalled { grace: Duration },
}

/// What comes after a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterStop {
    /// The restart policy decides, as after any exit.
    Policy,
    /// It has been put on the start list already. The back-off is judged by the exit that was the newest
    /// when that was decided.
    Restart { newest_exit: Option<Mono> },
}

/// What is known of a run when it begins.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) id: ContainerId,
    pub(crate) image: RunImage,
    /// As the runtime tells it.
    pub(crate) started_at: Wall,
}

/// A run that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExitedRun {
    pub(crate) id: ContainerId,
    pub(crate) at: Mono,
    pub(crate) terminated: Terminated,
}

impl ContainerMachine {
    /// A container that has never run. `first_look` gives each probe its first tick.
    pub(crate) fn new(
        spec: &Container,
        role: Role,
        policy: RestartPolicy,
        mut first_look: impl FnMut(Duration) -> Mono,
    ) -> Self {
        let machine = |kind| {
            spec.probe(kind)
                .map(|probe| ProbeMachine::new(kind, probe, first_look(probe.period)))
        };
        Self {
            name: spec.name.clone(),
            role,
            restarts: Restarts::of(spec, policy),
            state: State::Idle,
            completed: false,
            newest_exit: None,
            previous_exit: None,
            restart_count: 0,
            back_off: BackOff::default(),
            waiting: None,
            retry_at: None,
            start_over: None,
            probes: ProbeKind::ALL.into_iter().filter_map(machine).collect(),
            image: None,
        }
    }

    pub(crate) fn probe(&self, kind: ProbeKind) -> Option<&ProbeMachine> {
        self.probes.iter().find(|probe| probe.kind == kind)
    }

    /// The run there is, whatever is being done to it.
    pub(crate) const fn run(&self) -> Option<&Run> {
        match &self.state {
            State::PostStart { run, .. } | State::Running(run) | State::Stopping { run, .. } => {
                Some(run)
            }
            State::Idle | State::Fetching(_) | State::Starting { .. } => None,
        }
    }

    /// The run that the status shows as running, told to end or not.
    pub(crate) fn running(&self) -> Option<&Run> {
        self.run().filter(|run| run.shown)
    }

    /// Whether a run has been asked for and has not ended.
    pub(crate) fn is_alive(&self) -> bool {
        self.state != State::Idle
    }

    /// The verdict of one probe about the run that runs.
    pub(crate) fn verdict(&self, kind: ProbeKind) -> Option<Verdict> {
        self.running()
            .and_then(|run| self.probe(kind)?.verdict(&run.id))
    }

    /// Whether it runs, and its startup probe, if it has one, has succeeded.
    ///
    /// Upstream: kubelet pkg/kubelet/prober/prober_manager.go, isContainerStarted.
    /// Shown by: e5_running_and_never_ready,
    /// e15_a_sidecar_whose_startup_probe_has_not_succeeded_holds_the_next_back.
    pub(crate) fn started(&self) -> bool {
        self.running().is_some()
            && (self.probe(ProbeKind::Startup).is_none()
                || self.verdict(ProbeKind::Startup) == Some(Verdict::Success))
    }

    /// Whether it has started, and its readiness probe, if it has one, has succeeded; of an ordinary init
    /// container, whether it has done its work.
    ///
    /// Upstream: kubelet pkg/kubelet/prober/prober_manager.go, UpdatePodStatus.
    /// Shown by: e2_one_init_container_runs, e5_running_and_never_ready,
    /// d10_readiness_fails_with_the_new_run_until_its_first_success.
    pub(crate) fn ready(&self) -> bool {
        match self.role {
            Role::Init => self.completed,
            Role::Sidecar | Role::Regular => {
                self.started()
                    && (self.probe(ProbeKind::Readiness).is_none()
                        || self.verdict(ProbeKind::Readiness) == Some(Verdict::Success))
            }
        }
    }

    /// Whether another run is wanted after the newest exit; true if there was no run yet.
    ///
    /// Upstream: kubelet pkg/kubelet/container/helpers.go, ShouldContainerBeRestarted; for init containers
    /// pkg/kubelet/kuberuntime/kuberuntime_container.go, computeInitContainerActions.
    /// Shown by: d7_on_failure_restarts_only_failures, d8_never_exit_1_fails_the_pod,
    /// e3_an_init_container_that_fails_is_tried_again_with_back_off,
    /// a_pod_that_never_restarts_fails_with_its_init_container.
    pub(crate) fn wants_run(&self) -> bool {
        if self.completed {
            return false;
        }
        let Some(exited) = &self.newest_exit else {
            return true;
        };
        let code = exited.terminated.exit_code;
        match self.role {
            // One that ended well in a sandbox that is gone does its work again.
            Role::Init => code == 0 || self.restarts.after_exit(code),
            Role::Sidecar | Role::Regular => self.restarts.after_exit(code),
        }
    }

    /// Whether another run is to follow the one that is being stopped, as far as that can be told before
    /// there is an exit code.
    pub(crate) fn comes_back(&self, then: AfterStop) -> bool {
        then != AfterStop::Policy || self.restarts.after_kill()
    }

    /// Whether it has failed for good, which only an ordinary init container can do to its pod.
    pub(crate) fn has_failed(&self) -> bool {
        self.role == Role::Init && !self.is_alive() && !self.wants_run() && !self.completed
    }

    /// How many runs were before the next one.
    pub(crate) const fn next_restart_count(&self) -> u32 {
        if self.newest_exit.is_some() {
            self.restart_count + 1
        } else {
            0
        }
    }

    pub(crate) fn view(&self, phase: Phase, deleting: bool) -> View {
        let run = match (self.running(), &self.newest_exit) {
            (Some(run), _) => Some(ViewRun {
                id: run.id.clone(),
                state: ViewState::Running { since: run.since },
                started: self.started(),
            }),
            (None, Some(exited)) => Some(ViewRun {
                id: exited.id.clone(),
                state: ViewState::NotRunning {
                    // A start that is under way may have been decided against the policy.
                    restarts: self.wants_run() || self.is_alive(),
                },
                started: false,
            }),
            (None, None) => None,
        };
        View {
            phase,
            deleting,
            run,
        }
    }

    /// The start that was asked for has gone well. `hook` is the postStart hook that runs now.
    pub(crate) fn run_began(
        &mut self,
        begun: Begun,
        restart_count: u32,
        hook: Option<OperationId>,
        now: Now,
    ) {
        let Begun {
            id,
            image,
            started_at,
        } = begun;
        let ran = now.wall.since(started_at.whole_seconds());
        let since = Mono(
            now.mono
                .0
                .saturating_sub(u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX)),
        );
        self.restart_count = restart_count;
        self.retry_at = None;
        self.image = Some(image.clone()).filter(|image| !image.id.is_empty());
        let run = Run {
            id,
            image,
            started_at,
            since,
            shown: hook.is_none(),
        };
        match hook {
            // What went wrong last time is told until this time goes well.
            Some(operation) => self.state = State::PostStart { run, operation },
            None => self.run_shows(run),
        }
    }

    /// Nothing stands in the way any more of calling this run running.
    pub(crate) fn run_shows(&mut self, run: Run) {
        self.waiting = None;
        self.state = State::Running(Run { shown: true, ..run });
    }

    /// The newest run has ended, or could not be started.
    pub(crate) fn run_ended(&mut self, exited: ExitedRun, restart_count: u32) {
        self.restart_count = restart_count;
        self.completed = self.role == Role::Init && exited.terminated.exit_code == 0;
        self.previous_exit = self.newest_exit.take().map(|before| before.terminated);
        self.newest_exit = Some(exited);
        self.state = State::Idle;
        for probe in &mut self.probes {
            probe.abandon();
        }
    }

    /// Its image is another: what went wrong with the one before says nothing about this one.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/helpers.go, GetBackoffKey, of which the image is a part.
    /// Shown by: another_image_waits_for_no_back_off.
    pub(crate) fn forget_back_off(&mut self) {
        self.back_off = BackOff::default();
        self.retry_at = None;
    }

    pub(crate) const fn restart_count(&self) -> u32 {
        self.restart_count
    }

    /// Its image is no longer waited for; whether it was.
    pub(crate) fn stop_fetching(&mut self) -> bool {
        let fetching = matches!(self.state, State::Fetching(_));
        if fetching {
            self.state = State::Idle;
        }
        fetching
    }

    /// Takes note of the image of a run that is no more, whether or not it ever began.
    pub(crate) fn take_image(&mut self, image: RunImage) {
        self.image = Some(image).filter(|image| !image.id.is_empty());
    }

    /// Takes over what was known of runs that are no more.
    pub(crate) fn take_history(
        &mut self,
        newest: Option<ExitedRun>,
        previous: Option<Terminated>,
        restart_count: u32,
        waiting: Option<Waiting>,
    ) {
        self.newest_exit = newest;
        self.previous_exit = previous;
        self.restart_count = restart_count;
        self.waiting = waiting;
    }

    /// The earliest time at which something is due.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        let step = match &self.state {
            State::Stopping {
                step: StopStep::Hook { since, grace, .. } | StopStep::Turn { since, grace },
                ..
            } => Some(*since + *grace),
            State::Stopping {
                step: StopStep::Signalled { .. } | StopStep::Recalled { .. },
                ..
            }
            | State::Idle
            | State::Fetching(_)
            | State::Starting { .. }
            | State::PostStart { .. }
            | State::Running(_) => None,
        };
        let probes = self.probes.iter().filter_map(ProbeMachine::deadline);
        probes.chain(step).chain(self.retry_at).min()
    }
}

/// A container's id as it is on the wire.
pub(crate) fn wire_id(id: &ContainerId) -> String {
    format!("{ID_SCHEME}{id}")
}

/// An id from the wire.
pub(crate) fn id_from_wire(text: &str) -> ContainerId {
    ContainerId::from(text.strip_prefix(ID_SCHEME).unwrap_or(text))
}

/// How a run ended, as the status tells it.
///
/// Upstream: containerd internal/cri/server/events.go, handleContainerExit (the reasons; one that any process
/// of was killed in for memory is OOMKilled, whatever its exit code).
/// Shown by: a_run_that_was_killed_for_memory_says_so, stamps_of_a_run_are_whole_seconds,
/// e9_never_one_has_ended_well_and_one_runs.
pub(crate) fn terminated(id: &ContainerId, started_at: Wall, exit: Exit) -> Terminated {
    let reason = match (exit.out_of_memory, exit.code) {
        (true, _) => "OOMKilled",
        (false, 0) => "Completed",
        (false, _) => "Error",
    };
    Terminated {
        exit_code: exit.code,
        signal: exit.signal,
        reason: Some(reason.to_owned()),
        message: exit.message,
        started_at: Some(started_at.whole_seconds()),
        finished_at: Some(exit.finished_at.whole_seconds()),
        container_id: Some(wire_id(id)),
    }
}

/// The grace of a container's kill: what the deletion says, else what the probe that failed says, else
/// what the pod says.
///
/// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, setTerminationGracePeriod.
/// Shown by: d11_the_probes_own_grace_comes_before_the_pods,
/// d13_the_grace_of_a_deletion_comes_before_the_probes.
pub(crate) fn kill_grace(
    deletion: Option<Duration>,
    spec: &Container,
    because: Option<ProbeKind>,
    pod_grace: Duration,
) -> Duration {
    let probe = because
        .and_then(|kind| spec.probe(kind))
        .and_then(|probe| probe.termination_grace_period);
    deletion.or(probe).unwrap_or(pod_grace)
}

/// Whether a hook is to run, and what.
pub(crate) fn pre_stop(spec: &Container, grace: Duration) -> Option<&Hook> {
    spec.pre_stop.as_ref().filter(|_| grace > Duration::ZERO)
}
