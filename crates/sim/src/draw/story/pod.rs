//! One pod's part of the records, its containers and their probes.

use probelet_model::probe::{ProbeKind, Verdict};

use super::super::span::{Span, Track};
use super::happening::{Happening, Happenings};
use crate::record::{At, AttemptOutcome, ContainerStateKind, EndpointState, Record, What};

/// What a picture shows of a pod.
#[derive(Debug)]
pub(in super::super) struct PodStory<'a> {
    pub(in super::super) name: Option<&'a str>,
    /// Of the condition Ready: its status and the reason.
    pub(in super::super) ready: Vec<Span<Conditions<'a>>>,
    pub(in super::super) endpoint: Vec<Span<Endpoint>>,
    /// In the order they appear.
    pub(in super::super) containers: Vec<ContainerStory<'a>>,
    pub(in super::super) events: Vec<Happening<'a>>,
    /// The pod's own summary.
    pub(in super::super) summary: Option<&'a What>,
}

/// The condition Ready for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Conditions<'a> {
    pub(in super::super) ready: bool,
    pub(in super::super) reason: &'a str,
}

/// A place in the endpoints for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Endpoint {
    pub(in super::super) state: EndpointState,
    pub(in super::super) terminating: bool,
}

/// What a picture shows of a container.
#[derive(Debug)]
pub(in super::super) struct ContainerStory<'a> {
    pub(in super::super) name: &'a str,
    pub(in super::super) states: Vec<Span<State<'a>>>,
    /// When it counted as ready.
    pub(in super::super) ready: Vec<Span<()>>,
    pub(in super::super) exits: Vec<Exit>,
    pub(in super::super) restarts: Vec<Restart>,
    /// In the order startup, readiness, liveness.
    pub(in super::super) probes: Vec<ProbeStory<'a>>,
}

/// A container's status for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct State<'a> {
    pub(in super::super) kind: ContainerStateKind,
    pub(in super::super) reason: &'a str,
    pub(in super::super) exit_code: i32,
    pub(in super::super) restart_count: u32,
    pub(in super::super) started: bool,
}

/// A run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Exit {
    pub(in super::super) at: At,
    pub(in super::super) code: i32,
}

/// A run began that is not the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Restart {
    pub(in super::super) at: At,
    /// The how-manieth.
    pub(in super::super) number: u32,
    /// How the run before ended.
    pub(in super::super) code: i32,
}

/// What a picture shows of a probe.
#[derive(Debug)]
pub(in super::super) struct ProbeStory<'a> {
    pub(in super::super) kind: ProbeKind,
    pub(in super::super) verdicts: Vec<Span<Verdict>>,
    pub(in super::super) attempts: Vec<Attempt<'a>>,
    /// When it looked and made no attempt, and why.
    pub(in super::super) skips: Vec<Span<&'a str>>,
}

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Attempt<'a> {
    pub(in super::super) at: At,
    pub(in super::super) outcome: AttemptOutcome,
    pub(in super::super) run: u32,
    pub(in super::super) threshold: u32,
    pub(in super::super) message: &'a str,
    /// How near the verdict is to Failure with it: 0 is none at all, 1 is Failure.
    pub(in super::super) trouble: f64,
    /// Whether the verdict changed with it.
    pub(in super::super) decides: bool,
}

/// A pod while its records come in.
#[derive(Debug, Default)]
pub(super) struct PodTale<'a> {
    ready: Track<Conditions<'a>>,
    endpoint: Track<Endpoint>,
    containers: Vec<ContainerTale<'a>>,
    events: Happenings<'a>,
    summary: Option<&'a What>,
}

/// A container while its records come in.
#[derive(Debug)]
struct ContainerTale<'a> {
    name: &'a str,
    states: Track<State<'a>>,
    ready: Track<()>,
    exits: Vec<Exit>,
    restarts: Vec<Restart>,
    probes: Vec<ProbeTale<'a>>,
}

/// A probe while its records come in.
#[derive(Debug)]
struct ProbeTale<'a> {
    kind: ProbeKind,
    verdicts: Track<Verdict>,
    attempts: Vec<Attempt<'a>>,
    skips: Track<&'a str>,
}

impl<'a> PodTale<'a> {
    /// One record more.
    pub(super) fn tell(&mut self, record: &'a Record) {
        let Some(at) = record.t else {
            self.summary = Some(&record.what);
            return;
        };
        match &record.what {
            What::Attempt {
                container,
                probe,
                outcome,
                run,
                threshold,
                message,
            } => {
                if *outcome == AttemptOutcome::Success {
                    self.events.success(container, *probe);
                }
                self.container(container).probe(*probe).attempt(Attempt {
                    at,
                    outcome: *outcome,
                    run: *run,
                    threshold: *threshold,
                    message,
                    trouble: 0.0,
                    decides: false,
                });
            }
            What::Verdict {
                container,
                probe,
                result,
            } => self.container(container).probe(*probe).verdict(at, *result),
            What::Skip {
                container,
                probe,
                reason,
            } => self
                .container(container)
                .probe(*probe)
                .skips
                .change(at, reason),
            What::Container {
                container,
                state,
                reason,
                exit_code,
                restart_count,
                ready,
                started,
            } => self.container(container).change(
                at,
                State {
                    kind: *state,
                    reason,
                    exit_code: *exit_code,
                    restart_count: *restart_count,
                    started: *started,
                },
                *ready,
            ),
            What::Condition {
                condition,
                status,
                reason,
            } if condition == "Ready" => {
                let ready = status == "True";
                self.ready.change(at, Conditions { ready, reason });
            }
            What::Condition { .. } | What::Scenario { .. } | What::Summary { .. } => {}
            What::Phase { phase } => self.events.phase(at, *phase),
            What::Endpoint { state, terminating } => self.endpoint.change(
                at,
                Endpoint {
                    state: *state,
                    terminating: *terminating,
                },
            ),
            What::Event {
                event_type,
                reason,
                message,
                container,
            } => self
                .events
                .event(at, event_type, reason, message, container.as_deref()),
        }
    }

    /// All there is to show, with what holds holding until `end`.
    pub(super) fn finish(self, name: Option<&'a str>, end: At) -> PodStory<'a> {
        PodStory {
            name,
            ready: self.ready.finish(end),
            endpoint: self.endpoint.finish(end),
            containers: self
                .containers
                .into_iter()
                .map(|container| container.finish(end))
                .collect(),
            events: self.events.finish(),
            summary: self.summary,
        }
    }

    fn container(&mut self, name: &'a str) -> &mut ContainerTale<'a> {
        let known = self.containers.iter().position(|known| known.name == name);
        let index = known.unwrap_or_else(|| {
            self.containers.push(ContainerTale {
                name,
                states: Track::default(),
                ready: Track::default(),
                exits: Vec::new(),
                restarts: Vec::new(),
                probes: Vec::new(),
            });
            self.containers.len() - 1
        });
        &mut self.containers[index]
    }
}

impl<'a> ContainerTale<'a> {
    fn probe(&mut self, kind: ProbeKind) -> &mut ProbeTale<'a> {
        let place = self.probes.binary_search_by_key(&kind, |known| known.kind);
        let index = place.unwrap_or_else(|index| {
            let probe = ProbeTale {
                kind,
                verdicts: Track::default(),
                attempts: Vec::new(),
                skips: Track::default(),
            };
            self.probes.insert(index, probe);
            index
        });
        &mut self.probes[index]
    }

    fn change(&mut self, at: At, state: State<'a>, ready: bool) {
        let before = self.states.now().copied();
        let restarted = before.is_some_and(|before| state.restart_count > before.restart_count);
        let ran = before.is_some_and(|before| before.kind == ContainerStateKind::Running);
        if ran && (restarted || state.kind != ContainerStateKind::Running) {
            self.exits.push(Exit {
                at,
                code: state.exit_code,
            });
        }
        if restarted {
            self.restarts.push(Restart {
                at,
                number: state.restart_count,
                code: state.exit_code,
            });
        }
        self.states.change(at, state);
        if ready {
            self.ready.change(at, ());
        } else {
            self.ready.close(at);
        }
    }

    fn finish(self, end: At) -> ContainerStory<'a> {
        ContainerStory {
            name: self.name,
            states: self.states.finish(end),
            ready: self.ready.finish(end),
            exits: self.exits,
            restarts: self.restarts,
            probes: self
                .probes
                .into_iter()
                .map(|probe| ProbeStory {
                    kind: probe.kind,
                    verdicts: probe.verdicts.finish(end),
                    attempts: probe.attempts,
                    skips: probe.skips.finish(end),
                })
                .collect(),
        }
    }
}

impl<'a> ProbeTale<'a> {
    fn attempt(&mut self, mut attempt: Attempt<'a>) {
        self.skips.close(attempt.at);
        let share = f64::from(attempt.run) / f64::from(attempt.threshold.max(1));
        let failed = self.verdicts.now() == Some(&Verdict::Failure);
        attempt.trouble = match (attempt.outcome, failed) {
            (AttemptOutcome::Error, _) => self.attempts.last().map_or(0.0, |last| last.trouble),
            (AttemptOutcome::Failure, true) => 1.0,
            (AttemptOutcome::Failure, false) => share.min(1.0),
            (AttemptOutcome::Success | AttemptOutcome::Warning, true) => 1.0 - share.min(1.0),
            (AttemptOutcome::Success | AttemptOutcome::Warning, false) => 0.0,
        };
        self.attempts.push(attempt);
    }

    /// The verdict after an attempt comes at the attempt's own time, one by any other cause does not stand
    /// right behind one with the same meaning.
    fn verdict(&mut self, at: At, verdict: Verdict) {
        if let Some(last) = self.attempts.last_mut().filter(|last| last.at == at) {
            last.decides |= match last.outcome {
                AttemptOutcome::Success | AttemptOutcome::Warning => verdict == Verdict::Success,
                AttemptOutcome::Failure => verdict == Verdict::Failure,
                AttemptOutcome::Error => false,
            };
        }
        self.verdicts.change(at, verdict);
    }
}
