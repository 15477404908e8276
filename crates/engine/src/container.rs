//! One container of a pod, over all its runs.

use std::time::Duration;

use probelet_model::id::{ContainerId, ContainerName};
use probelet_model::pod::{Container, Hook, RestartPolicy};
use probelet_model::probe::{ProbeKind, Verdict};
use probelet_model::status::{
    ContainerState, ContainerStatus, Phase, Running, Terminated, Waiting,
};
use probelet_model::time::{Mono, Now, Wall};

use crate::backoff::{BackOff, Entry};
use crate::gate::{View, ViewRun, ViewState};
use crate::input::{Exit, OperationId};
use crate::memory::{ContainerMemory, Instant, StoppingMemory};
use crate::probe::ProbeMachine;

/// The scheme before a container's id on the wire.
const ID_SCHEME: &str = "probelet://";

/// Least time between TERM and KILL.
///
/// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, minimumGracePeriodInSeconds.
pub(crate) const MINIMUM_GRACE: Duration = Duration::from_secs(2);

/// Reason and message of a run that is not to be found any more.
///
/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, convertToAPIContainerStatuses; status_manager.go,
/// TerminatePod.
pub(crate) const NOT_LOCATED: (&str, &str) = (
    "ContainerStatusUnknown",
    "The container could not be located when the pod was terminated",
);
/// The exit code that stands in for the one nobody knows.
pub(crate) const NOT_LOCATED_CODE: i32 = 137;

/// One container: its runs, its back-off and its probes.
#[derive(Clone, Debug)]
pub(crate) struct ContainerMachine {
    pub(crate) name: ContainerName,
    pub(crate) state: State,
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
}

/// What the newest run does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// There is none, or it has ended.
    Idle,
    /// The runtime has been asked for it.
    Starting {
        operation: OperationId,
        id: ContainerId,
        restart_count: u32,
        image: String,
        /// How it ended, if that was told before the answer: the two come by different ways.
        exit: Option<Exit>,
    },
    /// It runs.
    Running(Run),
    /// It runs, and has been told to end.
    Stopping {
        run: Run,
        step: StopStep,
        then: AfterStop,
    },
}

/// A run that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) id: ContainerId,
    /// `image` of the spec it was started from.
    pub(crate) image: String,
    /// As the runtime tells it.
    pub(crate) started_at: Wall,
    /// The same, cut to whole wall seconds, on the monotonic clock: initialDelaySeconds count from here.
    pub(crate) since: Mono,
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
    /// TERM has been asked for, and KILL for `kill_at`.
    Signalled { kill_at: Mono },
    /// The agent before this one had asked for it.
    Recalled,
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

/// A run that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExitedRun {
    pub(crate) id: ContainerId,
    pub(crate) at: Mono,
    pub(crate) terminated: Terminated,
}

impl ContainerMachine {
    /// A container that has never run. `first_look` gives each probe its first tick.
    pub(crate) fn new(spec: &Container, mut first_look: impl FnMut(Duration) -> Mono) -> Self {
        let machine = |kind| {
            spec.probe(kind)
                .map(|probe| ProbeMachine::new(kind, probe, first_look(probe.period)))
        };
        Self {
            name: spec.name.clone(),
            state: State::Idle,
            newest_exit: None,
            previous_exit: None,
            restart_count: 0,
            back_off: BackOff::default(),
            waiting: None,
            retry_at: None,
            start_over: None,
            probes: ProbeKind::ALL.into_iter().filter_map(machine).collect(),
        }
    }

    pub(crate) fn probe(&self, kind: ProbeKind) -> Option<&ProbeMachine> {
        self.probes.iter().find(|probe| probe.kind == kind)
    }

    /// The run that runs, told to end or not.
    pub(crate) const fn running(&self) -> Option<&Run> {
        match &self.state {
            State::Running(run) | State::Stopping { run, .. } => Some(run),
            State::Idle | State::Starting { .. } => None,
        }
    }

    /// Whether the runtime has been asked for a run and has not answered.
    pub(crate) const fn is_starting(&self) -> bool {
        matches!(self.state, State::Starting { .. })
    }

    /// The verdict of one probe about the run that runs.
    pub(crate) fn verdict(&self, kind: ProbeKind) -> Option<Verdict> {
        self.running()
            .and_then(|run| self.probe(kind)?.verdict(&run.id))
    }

    /// Upstream: kubelet pkg/kubelet/prober/prober_manager.go, isContainerStarted.
    pub(crate) fn started(&self) -> bool {
        self.running().is_some()
            && (self.probe(ProbeKind::Startup).is_none()
                || self.verdict(ProbeKind::Startup) == Some(Verdict::Success))
    }

    /// Upstream: kubelet pkg/kubelet/prober/prober_manager.go, UpdatePodStatus.
    pub(crate) fn ready(&self) -> bool {
        self.started()
            && (self.probe(ProbeKind::Readiness).is_none()
                || self.verdict(ProbeKind::Readiness) == Some(Verdict::Success))
    }

    /// Whether the restart policy wants another run after the newest exit; true if there was no run yet.
    ///
    /// Upstream: kubelet pkg/kubelet/container/helpers.go, ShouldContainerBeRestarted.
    pub(crate) fn wants_run(&self, policy: RestartPolicy) -> bool {
        self.newest_exit.as_ref().is_none_or(|exited| match policy {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => exited.terminated.exit_code != 0,
            RestartPolicy::Never => false,
        })
    }

    /// How many runs were before the next one.
    pub(crate) const fn next_restart_count(&self) -> u32 {
        if self.newest_exit.is_some() {
            self.restart_count + 1
        } else {
            0
        }
    }

    pub(crate) fn view(&self, phase: Phase, deleting: bool, policy: RestartPolicy) -> View {
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
                    restarts: self.wants_run(policy) || self.is_starting(),
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

    /// The start that was asked for has gone well.
    pub(crate) fn run_began(
        &mut self,
        id: ContainerId,
        restart_count: u32,
        image: String,
        started_at: Wall,
        now: Now,
    ) {
        let ran = now.wall.since(started_at.whole_seconds());
        let since = Mono(
            now.mono
                .0
                .saturating_sub(u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX)),
        );
        self.restart_count = restart_count;
        self.waiting = None;
        self.retry_at = None;
        self.state = State::Running(Run {
            id,
            image,
            started_at,
            since,
        });
    }

    /// The newest run has ended, or could not be started.
    pub(crate) fn run_ended(&mut self, exited: ExitedRun, restart_count: u32) {
        self.restart_count = restart_count;
        self.previous_exit = self.newest_exit.take().map(|before| before.terminated);
        self.newest_exit = Some(exited);
        self.waiting = None;
        self.state = State::Idle;
        for probe in &mut self.probes {
            probe.abandon();
        }
    }

    pub(crate) const fn restart_count(&self) -> u32 {
        self.restart_count
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

    /// How the container stands, as its pod's status tells it.
    ///
    /// Upstream: kubelet pkg/kubelet/kubelet_pods.go, convertToAPIContainerStatuses.
    pub(crate) fn status(&self, spec: &Container) -> ContainerStatus {
        let newest_exit = self.newest_exit.as_ref();
        let (state, last_state) = match (self.running(), &self.waiting, newest_exit) {
            (Some(run), _, exited) => (
                ContainerState::Running(Running {
                    started_at: run.started_at.whole_seconds(),
                }),
                exited.map(|exited| exited.terminated.clone()),
            ),
            (None, Some(waiting), exited) => (
                ContainerState::Waiting(waiting.clone()),
                exited.map(|exited| exited.terminated.clone()),
            ),
            (None, None, Some(exited)) => (
                ContainerState::Terminated(exited.terminated.clone()),
                self.previous_exit.clone(),
            ),
            (None, None, None) => {
                let reason = Some("ContainerCreating".to_owned());
                (
                    ContainerState::Waiting(Waiting {
                        reason,
                        message: None,
                    }),
                    None,
                )
            }
        };
        let image = match &self.state {
            State::Running(run) | State::Stopping { run, .. } => &run.image,
            State::Starting { image, .. } => image,
            State::Idle => &spec.image,
        };
        let id = self
            .running()
            .map(|run| &run.id)
            .or_else(|| newest_exit.map(|exited| &exited.id));
        ContainerStatus {
            name: self.name.to_string(),
            state,
            last_state,
            ready: self.ready(),
            restart_count: self.restart_count,
            image: image.clone(),
            image_id: String::new(),
            container_id: id.map(wire_id),
            started: Some(self.started()),
        }
    }

    pub(crate) fn memory(&self, origin: Now) -> ContainerMemory {
        let id = match &self.state {
            State::Starting { id, .. } | State::Running(Run { id, .. }) => Some(id),
            State::Stopping { run, .. } => Some(&run.id),
            State::Idle => self.newest_exit.as_ref().map(|exited| &exited.id),
        };
        let stopping = match self.state {
            State::Stopping { then, .. } => Some(match then {
                AfterStop::Policy => StoppingMemory {
                    restart: false,
                    previous_exit: None,
                },
                AfterStop::Restart { newest_exit } => StoppingMemory {
                    restart: true,
                    previous_exit: newest_exit.map(|at| Instant::written(at, origin)),
                },
            }),
            State::Idle | State::Starting { .. } | State::Running(_) => None,
        };
        ContainerMemory {
            id: id.cloned(),
            restart_count: self.restart_count,
            stopping,
            back_off: self
                .back_off
                .entry
                .map(|entry| (entry.delay, Instant::written(entry.updated, origin))),
            probes: self
                .probes
                .iter()
                .map(|probe| (probe.kind, probe.memory(origin)))
                .collect(),
        }
    }

    /// Takes over what the agent before this one had noted.
    pub(crate) fn recall(&mut self, spec: &Container, memory: &ContainerMemory, now: Now) {
        self.back_off.entry = memory.back_off.map(|(delay, updated)| Entry {
            delay,
            updated: updated.read_past(now),
        });
        for machine in &mut self.probes {
            if let (Some(noted), Some(probe)) =
                (memory.probes.get(&machine.kind), spec.probe(machine.kind))
            {
                *machine = ProbeMachine::restored(machine.kind, probe, noted, now);
            }
        }
    }

    /// The earliest time at which something is due.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        let hook = match &self.state {
            State::Stopping {
                step: StopStep::Hook { since, grace, .. },
                ..
            } => Some(*since + *grace),
            State::Stopping {
                step: StopStep::Signalled { .. } | StopStep::Recalled,
                ..
            }
            | State::Idle
            | State::Starting { .. }
            | State::Running(_) => None,
        };
        let probes = self.probes.iter().filter_map(ProbeMachine::deadline);
        probes.chain(hook).chain(self.retry_at).min()
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
/// Upstream: the reasons are containerd's, internal/cri/server/events.go, handleContainerExit.
pub(crate) fn terminated(id: &ContainerId, started_at: Wall, exit: Exit) -> Terminated {
    Terminated {
        exit_code: exit.code,
        signal: exit.signal,
        reason: Some(if exit.code == 0 { "Completed" } else { "Error" }.to_owned()),
        message: None,
        started_at: Some(started_at.whole_seconds()),
        finished_at: Some(exit.finished_at.whole_seconds()),
        container_id: Some(wire_id(id)),
    }
}

/// The grace of a container's kill: what the deletion says, else what the probe that failed says, else
/// what the pod says.
///
/// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, setTerminationGracePeriod.
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
