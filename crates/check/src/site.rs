//! A container in its manifest: what rules look at and report about.

use std::time::Duration;

use probelet_model::field::FieldPath;
use probelet_model::manifest::survey::Subject;
use probelet_model::pod::{Container, Hook, Pod, RestartPolicy};
use probelet_model::probe::{Probe, ProbeKind};
use serde_json::Value;

use crate::lint::Lint;
use crate::report::{Finding, ProbeFact};
use crate::timing::{self, Start, Timing};

/// What a program has at least between TERM and KILL.
///
/// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, killContainer.
/// Shown by: stops, a_kill_takes_as_long_as_check_says.
const LAST: Duration = Duration::from_secs(2);

/// One container of one Pod or template.
#[derive(Clone, Debug)]
pub(crate) struct Site<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) pod: &'a Pod,
    pub(crate) container: &'a Container,
    /// From the object's root.
    path: FieldPath,
}

impl<'a> Site<'a> {
    /// All containers of a Pod, init containers first, as the spec has them.
    pub(crate) fn all(subject: &'a Subject, pod: &'a Pod) -> impl Iterator<Item = Self> {
        let of = move |list: &'static str, containers: &'a [Container]| {
            let spec = subject.path(&FieldPath::root().field("spec"));
            containers
                .iter()
                .enumerate()
                .map(move |(index, container)| Self {
                    subject,
                    pod,
                    container,
                    path: spec.field(list).index(index),
                })
        };
        of("initContainers", &pod.init_containers).chain(of("containers", &pod.containers))
    }

    /// Its probes, in order.
    pub(crate) fn probes(&self) -> impl Iterator<Item = (ProbeKind, &'a Probe)> {
        let container = self.container;
        ProbeKind::ALL
            .into_iter()
            .filter_map(move |kind| Some((kind, container.probe(kind)?)))
    }

    /// The path of a probe's field; `field` may go down several steps, joined by dots.
    pub(crate) fn probe_path(&self, kind: ProbeKind, field: &'static str) -> FieldPath {
        let probe = self.path.field(kind.field());
        field
            .split('.')
            .filter(|name| !name.is_empty())
            .fold(probe, |path, name| path.field(name))
    }

    /// The path of one of the container's fields.
    pub(crate) fn path(&self, field: &'static str) -> FieldPath {
        self.path.field(field)
    }

    /// What the manifest says there, before any default.
    pub(crate) fn written(&self, path: &FieldPath) -> Option<&'a Value> {
        self.subject.written(path)
    }

    /// What decides whether the container is started again, short of rules about exit codes.
    pub(crate) fn restart_policy(&self) -> RestartPolicy {
        self.container
            .restart_policy
            .unwrap_or(self.pod.restart_policy)
    }

    /// Whether a probe's failure ends the Pod as a whole.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_manager.go, computePodActions (nothing is kept
    /// and nothing is started).
    /// Shown by: stops.
    pub(crate) fn ends_pod(&self) -> bool {
        let is_regular = self
            .pod
            .containers
            .iter()
            .any(|one| one.name == self.container.name);
        is_regular
            && self.pod.containers.len() == 1
            && self.restart_policy() == RestartPolicy::Never
    }

    pub(crate) fn finding(
        &self,
        lint: &'static Lint,
        path: FieldPath,
        message: String,
        help: String,
    ) -> Finding {
        finding(self.subject, lint, path, message, help)
    }

    /// The times of its probes.
    pub(crate) fn facts(&self) -> impl Iterator<Item = ProbeFact> {
        let start = Start::of(self.container);
        self.probes().map(move |(kind, probe)| {
            let path = self.probe_path(kind, "");
            ProbeFact {
                object: self.subject.owner.clone(),
                source: self.subject.origin.source.clone(),
                position: self.subject.locate(&path),
                container: self.container.name.to_string(),
                kind,
                handler: probe.handler.field(),
                timing: Timing::of(probe),
                start: start.filter(|start| start.by == kind),
                stops_within: (kind != ProbeKind::Readiness).then(|| self.stops_within(probe)),
                rate: timing::rate(probe),
                replicas: self.subject.replicas,
            }
        })
    }

    /// How long the kill that the probe causes may take: the grace, but at the end the program has 2 s, whatever
    /// its preStop hook has left of the grace.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, killContainer and
    /// setTerminationGracePeriod.
    /// Shown by: stops, a_kill_takes_as_long_as_check_says.
    fn stops_within(&self, probe: &Probe) -> Duration {
        let own = probe.termination_grace_period.filter(|_| !self.ends_pod());
        let grace = own.unwrap_or(self.pod.termination_grace_period);
        let hook = match &self.container.pre_stop {
            // Without a grace no hook is run.
            _ if grace.is_zero() => Duration::ZERO,
            None => Duration::ZERO,
            Some(Hook::Sleep(duration)) => grace.min(*duration),
            Some(Hook::Handler(_)) => grace,
        };
        hook.saturating_add((grace - hook).max(LAST))
    }
}

/// A finding about one field of an object.
pub(crate) fn finding(
    subject: &Subject,
    lint: &'static Lint,
    path: FieldPath,
    message: String,
    help: String,
) -> Finding {
    Finding {
        lint,
        source: subject.origin.source.clone(),
        position: subject.locate(&path),
        object: subject.owner.clone(),
        path,
        message,
        help,
    }
}
