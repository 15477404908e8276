//! What happened, with times, and short ways to ask about it.
//!
//! Units: seconds since the rig was made.

use std::sync::Arc;
use std::time::Duration;

use probelet_engine::Skip;
use probelet_engine::effect::{EndpointsChange, Event, HookMoment};
use probelet_engine::memory::PodMemory;
use probelet_model::id::{ContainerId, ContainerName, PodUid};
use probelet_model::probe::{ProbeKind, Verdict};
use probelet_model::status::{Condition, ConditionKind, ContainerState, Phase, PodStatus};

use super::Rig;

/// One thing that happened.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: f64,
    pub(crate) seen: Seen,
}

#[derive(Clone, Debug)]
pub(crate) enum Seen {
    StartPod,
    RemovePod,
    LookUp {
        container: ContainerName,
    },
    Pull {
        container: ContainerName,
    },
    Start {
        container: ContainerName,
        id: ContainerId,
        restart_count: u32,
    },
    Stop {
        container: ContainerName,
        grace: Duration,
    },
    Hook {
        container: ContainerName,
        moment: HookMoment,
        timeout: Option<Duration>,
    },
    /// The world's own: a run has ended.
    Exit {
        container: ContainerName,
        code: i32,
    },
    Attempt {
        container: ContainerName,
        kind: ProbeKind,
        id: ContainerId,
    },
    Counted {
        container: ContainerName,
        kind: ProbeKind,
        verdict: Verdict,
        changed: bool,
    },
    Published {
        container: ContainerName,
        kind: ProbeKind,
        verdict: Verdict,
    },
    Skipped {
        container: ContainerName,
        kind: ProbeKind,
        skip: Skip,
    },
    Event(Event),
    Status {
        pod: PodUid,
        status: Arc<PodStatus>,
    },
    Endpoints(EndpointsChange),
    Remember {
        pod: PodUid,
        memory: Box<PodMemory>,
    },
    Ended {
        deleted: bool,
    },
}

impl Rig {
    fn seen<T>(&self, choose: impl Fn(f64, &Seen) -> Option<T>) -> Vec<T> {
        let entries = self.trace.iter();
        entries
            .filter_map(|entry| choose(entry.at, &entry.seen))
            .collect()
    }

    /// When a probe made its attempts.
    pub(crate) fn attempts(&self, name: &str, which: ProbeKind) -> Vec<f64> {
        self.seen(|at, seen| match seen {
            Seen::Attempt {
                container, kind, ..
            } if container.as_str() == name => (*kind == which).then_some(at),
            _ => None,
        })
    }

    /// The runs of `name` and how many attempts of one probe were about each.
    pub(crate) fn attempts_by_run(&self, name: &str, which: ProbeKind) -> Vec<usize> {
        let ids = self.seen(|_, seen| match seen {
            Seen::Start { container, id, .. } if container.as_str() == name => Some(id.clone()),
            _ => None,
        });
        let of = |run: &ContainerId| {
            self.seen(|_, seen| match seen {
                Seen::Attempt { id, kind, .. } if id == run => (*kind == which).then_some(()),
                _ => None,
            })
        };
        ids.iter().map(|run| of(run).len()).collect()
    }

    /// Each verdict of a probe that was another than the one before.
    pub(crate) fn verdicts(&self, name: &str, which: ProbeKind) -> Vec<(f64, Verdict)> {
        self.seen(|at, seen| match seen {
            Seen::Counted {
                container,
                kind,
                verdict,
                changed: true,
            } if container.as_str() == name => (*kind == which).then_some((at, *verdict)),
            _ => None,
        })
    }

    /// Why a probe made no attempt.
    pub(crate) fn skips(&self, name: &str, which: ProbeKind) -> Vec<(f64, Skip)> {
        self.seen(|at, seen| match seen {
            Seen::Skipped {
                container,
                kind,
                skip,
            } if container.as_str() == name => (*kind == which).then_some((at, *skip)),
            _ => None,
        })
    }

    /// When runs were asked for, and their restart counts.
    pub(crate) fn starts(&self, name: &str) -> Vec<(f64, u32)> {
        self.seen(|at, seen| match seen {
            Seen::Start {
                container,
                restart_count,
                ..
            } if container.as_str() == name => Some((at, *restart_count)),
            _ => None,
        })
    }

    /// When it was asked whether the image of a container is there.
    pub(crate) fn look_ups(&self, name: &str) -> Vec<f64> {
        self.seen(|at, seen| match seen {
            Seen::LookUp { container } if container.as_str() == name => Some(at),
            _ => None,
        })
    }

    /// When the image of a container was pulled.
    pub(crate) fn pulls(&self, name: &str) -> Vec<f64> {
        self.seen(|at, seen| match seen {
            Seen::Pull { container } if container.as_str() == name => Some(at),
            _ => None,
        })
    }

    /// When stops were asked for, and their graces.
    pub(crate) fn stops(&self, name: &str) -> Vec<(f64, f64)> {
        self.seen(|at, seen| match seen {
            Seen::Stop { container, grace } if container.as_str() == name => {
                Some((at, grace.as_secs_f64()))
            }
            _ => None,
        })
    }

    /// When preStop hooks were asked for, and how long they might take.
    pub(crate) fn hooks(&self, name: &str) -> Vec<(f64, f64)> {
        self.seen(|at, seen| match seen {
            Seen::Hook {
                container,
                moment: HookMoment::PreStop,
                timeout,
            } if container.as_str() == name => {
                let timeout = timeout.expect("a preStop hook has a grace");
                Some((at, timeout.as_secs_f64()))
            }
            _ => None,
        })
    }

    /// When postStart hooks were asked for.
    pub(crate) fn post_starts(&self, name: &str) -> Vec<f64> {
        self.seen(|at, seen| match seen {
            Seen::Hook {
                container,
                moment: HookMoment::PostStart,
                timeout,
            } if container.as_str() == name => {
                assert_eq!(
                    *timeout, None,
                    "a postStart hook may take as long as it likes"
                );
                Some(at)
            }
            _ => None,
        })
    }

    /// What a probe published: when, and which verdict.
    pub(crate) fn published(&self, name: &str, which: ProbeKind) -> Vec<(f64, Verdict)> {
        self.seen(|at, seen| match seen {
            Seen::Published {
                container,
                kind,
                verdict,
            } if container.as_str() == name => (*kind == which).then_some((at, *verdict)),
            _ => None,
        })
    }

    /// The state of any container as it was committed last.
    pub(crate) fn state_of(&self, name: &str, container: &str) -> ContainerState {
        let status = self.status(name);
        let container = status.container(container).expect("the pod has it");
        container.state.clone()
    }

    /// `Running`, or the reason why not, of any container as it was committed last.
    pub(crate) fn word_of(&self, name: &str, container: &str) -> String {
        match self.state_of(name, container) {
            ContainerState::Waiting(waiting) => waiting.reason.unwrap_or_default(),
            ContainerState::Running(_) => "Running".to_owned(),
            ContainerState::Terminated(end) => end.reason.unwrap_or_default(),
        }
    }

    /// The phases that were told, each once in a row.
    pub(crate) fn phases(&self, name: &str) -> Vec<Phase> {
        let all = self.statuses(name).into_iter();
        let mut phases: Vec<Phase> = all.map(|(_, status)| status.phase).collect();
        phases.dedup();
        phases
    }

    /// When runs ended, and their codes.
    pub(crate) fn exits(&self, name: &str) -> Vec<(f64, i32)> {
        self.seen(|at, seen| match seen {
            Seen::Exit { container, code } if container.as_str() == name => Some((at, *code)),
            _ => None,
        })
    }

    /// How long each restart waited after the exit before it.
    pub(crate) fn waits(&self, name: &str) -> Vec<f64> {
        let exits = self.exits(name);
        let starts = self.starts(name);
        let pairs = exits.iter().zip(starts.iter().skip(1));
        pairs.map(|((exit, _), (start, _))| start - exit).collect()
    }

    /// Events of one reason: when, and their messages.
    pub(crate) fn events(&self, reason: &str) -> Vec<(f64, String)> {
        self.seen(|at, seen| match seen {
            Seen::Event(event) if event.reason == reason => Some((at, event.message.clone())),
            _ => None,
        })
    }

    /// The reasons of all events but the probes', in order.
    pub(crate) fn event_reasons(&self) -> Vec<&'static str> {
        self.seen(|_, seen| match seen {
            Seen::Event(event) if event.reason != "Unhealthy" => Some(event.reason),
            _ => None,
        })
    }

    /// When sandboxes were asked for.
    pub(crate) fn sandboxes(&self) -> Vec<f64> {
        self.seen(|at, seen| matches!(seen, Seen::StartPod).then_some(at))
    }

    /// When removals of sandboxes were asked for.
    pub(crate) fn removals(&self) -> Vec<f64> {
        self.seen(|at, seen| matches!(seen, Seen::RemovePod).then_some(at))
    }

    /// When pods had ended, and whether their objects were to go.
    pub(crate) fn ended(&self) -> Vec<(f64, bool)> {
        self.seen(|at, seen| match seen {
            Seen::Ended { deleted } => Some((at, *deleted)),
            _ => None,
        })
    }

    /// All committed statuses of one pod.
    pub(crate) fn statuses(&self, name: &str) -> Vec<(f64, Arc<PodStatus>)> {
        let uid = super::uid(name);
        self.seen(|at, seen| match seen {
            Seen::Status { pod, status } if *pod == uid => Some((at, status.clone())),
            _ => None,
        })
    }

    /// The status of one pod that was committed last.
    pub(crate) fn status(&self, name: &str) -> Arc<PodStatus> {
        let (_, status) = self.statuses(name).pop().expect("a status is committed");
        status
    }

    /// One condition of a pod.
    pub(crate) fn condition(&self, name: &str, kind: ConditionKind) -> Condition {
        let status = self.status(name);
        status
            .condition(kind)
            .expect("every condition is there")
            .clone()
    }

    /// The state of the only container, or of the first.
    pub(crate) fn state(&self, name: &str) -> ContainerState {
        self.status(name).container_statuses[0].state.clone()
    }

    /// When Ready changed, and to what; begins with the first status.
    pub(crate) fn ready(&self, name: &str) -> Vec<(f64, bool)> {
        let all = self.statuses(name).into_iter();
        let mut changes: Vec<(f64, bool)> =
            all.map(|(at, status)| (at, status.is_ready())).collect();
        changes.dedup_by_key(|(_, ready)| *ready);
        changes
    }

    /// All committed endpoints of one Service.
    pub(crate) fn endpoints(&self, service: &str) -> Vec<(f64, EndpointsChange)> {
        self.seen(|at, seen| match seen {
            Seen::Endpoints(change) if change.service.name == service => Some((at, change.clone())),
            _ => None,
        })
    }

    /// The addresses and notReadyAddresses of a Service as committed last.
    pub(crate) fn addresses(&self, service: &str) -> (Vec<String>, Vec<String>) {
        let (_, change) = self
            .endpoints(service)
            .pop()
            .expect("endpoints are committed");
        let subsets = &change.endpoints.subsets;
        let ready = subsets.iter().flat_map(|subset| &subset.addresses);
        let not_ready = subsets
            .iter()
            .flat_map(|subset| &subset.not_ready_addresses);
        (
            ready.map(|address| address.ip.to_string()).collect(),
            not_ready.map(|address| address.ip.to_string()).collect(),
        )
    }

    /// How often something was written down.
    pub(crate) fn memories(&self, name: &str) -> Vec<(f64, PodMemory)> {
        let uid = super::uid(name);
        self.seen(|at, seen| match seen {
            Seen::Remember { pod, memory } if *pod == uid => Some((at, (**memory).clone())),
            _ => None,
        })
    }
}
