//! Every lint in its own words: the source of docs/lints.md.

use super::Lint;
use super::Severity::{Error, Info, Warning};

/// All lints, by id.
pub static LINTS: &[&Lint] = &[
    &EXEC_DEFAULT_TIMEOUT,
    &EXEC_NEEDS_SHELL,
    &EXEC_PROBE_COST,
    &EXEC_VARIABLE_NOT_EXPANDED,
    &LIVENESS_EQUALS_READINESS,
    &LIVENESS_QUICKER_THAN_READINESS,
    &LIVENESS_SHARES_READINESS_CHECK,
    &LIVENESS_SINGLE_FAILURE,
    &LIVENESS_STRICTER_THAN_READINESS,
    &LIVENESS_TCP_ONLY,
    &LONG_DELAY_WITHOUT_STARTUP_PROBE,
    &NOT_CARRIED_OUT,
    &ON_FAILURE_EXIT_ZERO,
    &PROBE_GRACE_IGNORED,
    &PROBE_HOST_SET,
    &PROBE_PORT_NAME_MISSING,
    &PROBE_PORT_NOT_DECLARED,
    &PROBE_TIMEOUT_EXCEEDS_PERIOD,
    &PROGRESS_DEADLINE_TOO_SHORT,
    &SERVICE_TARGET_PORT_MISSING,
    &SERVICE_WITHOUT_READINESS,
    &START_SHORTER_THAN_READINESS_DELAY,
    &STARTUP_BESIDE_INITIAL_DELAY,
    &UNKNOWN_IGNORE,
];

/// The command of an exec probe gets one second because nobody said otherwise.
pub static EXEC_DEFAULT_TIMEOUT: Lint = Lint {
    id: "exec-default-timeout",
    severity: Warning,
    what: "exec probe without timeoutSeconds",
    why: "The command gets 1 second by default, in which a shell, an interpreter or a client has to \
          start on a busy node. A command that takes longer counts as failed.",
    numbers: "1 s, failureThreshold times in a row, acts.",
    fix: "Set timeoutSeconds to several times what the command takes under load, and periodSeconds to \
          no less.",
    upstream: "pkg/apis/core/v1/defaults.go, SetDefaults_Probe; pkg/probe/exec/exec.go, Probe",
};

/// The command of an exec probe is written as for a shell.
pub static EXEC_NEEDS_SHELL: Lint = Lint {
    id: "exec-needs-shell",
    severity: Error,
    what: "exec command written for a shell, and given to none",
    why: "The command is run without a shell: its first element is the name of a program, spaces and \
          all, and operators are arguments. A program that is not there is an error and not a failure, \
          and errors are not counted: a liveness probe never acts, a readiness probe never succeeds.",
    numbers: "",
    fix: "Write each argument as an element, or run a shell: `command: [sh, -c, \"...\"]`.",
    upstream: "pkg/probe/exec/exec.go, Probe; pkg/kubelet/prober/worker.go, doProbe",
};

/// A command is started very often.
pub static EXEC_PROBE_COST: Lint = Lint {
    id: "exec-probe-cost",
    severity: Info,
    what: "exec probe every two seconds or more often",
    why: "Each attempt starts a process in the container by way of the container runtime, which costs \
          far more CPU than a request over the network.",
    numbers: "1 / periodSeconds attempts a second in each Pod; 31 to 49 ms of CPU each were measured \
              with containerd and runc.",
    fix: "Raise periodSeconds, or let the program answer httpGet or grpc.",
    upstream: "pkg/kubelet/kuberuntime/kuberuntime_container.go, RunInContainer",
};

/// A reference that the kubelet does not resolve.
pub static EXEC_VARIABLE_NOT_EXPANDED: Lint = Lint {
    id: "exec-variable-not-expanded",
    severity: Warning,
    what: "$(NAME) of a variable that has no literal value",
    why: "In the command of a probe $(NAME) is replaced for variables with a literal value alone; one \
          that comes from valueFrom stays as it is written, and the command gets the text $(NAME).",
    numbers: "",
    fix: "Let a shell in the container expand it: `command: [sh, -c, \"... $NAME\"]`.",
    upstream: "pkg/kubelet/container/helpers.go, ExpandContainerCommandOnlyStatic",
};

/// Liveness and readiness ask the same, and liveness is no slower.
pub static LIVENESS_EQUALS_READINESS: Lint = Lint {
    id: "liveness-equals-readiness",
    severity: Warning,
    what: "liveness and readiness make the same check, and liveness acts no later",
    why: "Whatever makes the container unready kills it at the same time: it never gets the chance to \
          recover without traffic, and when a dependency behind the check is down, all replicas are \
          restarted together.",
    numbers: "Both times to act, as in the table of probes.",
    fix: "Give liveness a check of its own that asks only whether the process works, or a \
          failureThreshold with which it acts much later.",
    upstream: "pkg/kubelet/prober/worker.go, doProbe; pkg/kubelet/kubelet.go, syncLoopIteration",
};

/// Liveness kills before readiness takes away the traffic.
pub static LIVENESS_QUICKER_THAN_READINESS: Lint = Lint {
    id: "liveness-quicker-than-readiness",
    severity: Warning,
    what: "liveness acts before readiness",
    why: "A container that hangs is killed while it still gets traffic: the gentle measure comes after \
          the hard one.",
    numbers: "Both times to act, as in the table of probes.",
    fix: "Lower readiness' periodSeconds or failureThreshold, or raise those of liveness.",
    upstream: "pkg/kubelet/prober/worker.go, doProbe",
};

/// Liveness and readiness ask the same, and liveness is slower.
pub static LIVENESS_SHARES_READINESS_CHECK: Lint = Lint {
    id: "liveness-shares-readiness-check",
    severity: Info,
    what: "liveness and readiness make the same check, and liveness acts later",
    why: "What lasts longer than liveness takes to act kills the container. That is meant if the check \
          asks only whether this process works; if it asks for a dependency, an outage of that restarts \
          every replica.",
    numbers: "Both times to act, as in the table of probes.",
    fix: "Keep it if the check has no dependencies; else give liveness a check of its own.",
    upstream: "pkg/kubelet/prober/worker.go, doProbe",
};

/// One failed attempt kills.
pub static LIVENESS_SINGLE_FAILURE: Lint = Lint {
    id: "liveness-single-failure",
    severity: Warning,
    what: "liveness with failureThreshold 1",
    why: "One lost packet, one long pause of a garbage collector, one busy second of the node kills the \
          container. Without a startup probe the first attempt, which may come right after \
          initialDelaySeconds, has to succeed.",
    numbers: "One attempt that takes longer than timeoutSeconds is enough.",
    fix: "Set failureThreshold to 3 or more.",
    upstream: "pkg/kubelet/prober/worker.go, doProbe",
};

/// The same check, with less patience where it kills.
pub static LIVENESS_STRICTER_THAN_READINESS: Lint = Lint {
    id: "liveness-stricter-than-readiness",
    severity: Warning,
    what: "liveness has a shorter timeout than readiness for the same check",
    why: "Answers that take longer than liveness' timeout and less than readiness' keep the container in \
          traffic and kill it: under load, the ready ones are restarted.",
    numbers: "Every answer time between the two timeoutSeconds.",
    fix: "Set liveness' timeoutSeconds to no less than readiness'.",
    upstream: "pkg/kubelet/prober/prober.go, runProbe",
};

/// A connection says little about a program.
pub static LIVENESS_TCP_ONLY: Lint = Lint {
    id: "liveness-tcp-only",
    severity: Info,
    what: "liveness by tcpSocket",
    why: "The kernel accepts connections for a program that listens, whether or not the program still \
          does anything: a deadlock is not noticed until the queue of connections is full.",
    numbers: "",
    fix: "Use httpGet or grpc if the program can answer; keep it if only the port matters.",
    upstream: "pkg/probe/tcp/tcp.go, DoTCPProbe",
};

/// The start is waited for blindly.
pub static LONG_DELAY_WITHOUT_STARTUP_PROBE: Lint = Lint {
    id: "long-delay-without-startup-probe",
    severity: Warning,
    what: "liveness with a long initialDelaySeconds, and no startup probe",
    why: "The delay is paid in full after every restart: a container that breaks within it is not \
          noticed, and one that starts more slowly than the delay and the threshold allow is killed, for \
          ever.",
    numbers: "Reported from 30 s on. Slowest start that is sure to be allowed: initialDelaySeconds - 1 + \
              (failureThreshold - 1) * periodSeconds.",
    fix: "Move the patience to a startupProbe with the same handler, and drop liveness' \
          initialDelaySeconds.",
    upstream: "pkg/kubelet/prober/worker.go, doProbe",
};

/// What a cluster carries out and `probelet up` does not.
pub static NOT_CARRIED_OUT: Lint = Lint {
    id: "not-carried-out",
    severity: Info,
    what: "fields that `probelet up` does not carry out",
    why: "A cluster does; run by Probelet, the object is refused, so that nothing it asks for is left \
          undone silently.",
    numbers: "",
    fix: "Nothing, if the manifest is for a cluster.",
    upstream: "",
};

/// A clean exit after a probe's kill may be the last.
pub static ON_FAILURE_EXIT_ZERO: Lint = Lint {
    id: "on-failure-exit-zero",
    severity: Info,
    what: "restartPolicy OnFailure beside a probe that kills",
    why: "If a probe kills the container while its restart is backed off and it exits with 0 on SIGTERM, \
          it counts as completed and is never started again.",
    numbers: "Back-off: 10 s, doubled with each restart up to 300 s.",
    fix: "Exit with another code than 0 when a signal ends the work, or use restartPolicy Always.",
    upstream: "pkg/kubelet/kuberuntime/kuberuntime_manager.go, doBackOff; \
               pkg/kubelet/container/helpers.go, ShouldContainerBeRestarted",
};

/// A grace that no kill will use.
pub static PROBE_GRACE_IGNORED: Lint = Lint {
    id: "probe-grace-ignored",
    severity: Warning,
    what: "terminationGracePeriodSeconds of a probe that is ignored",
    why: "With restartPolicy Never and one container, a probe's failure ends the whole Pod, and that \
          takes the Pod's grace, never the probe's.",
    numbers: "",
    fix: "Set the Pod's terminationGracePeriodSeconds, and drop the probe's.",
    upstream: "pkg/kubelet/kuberuntime/kuberuntime_manager.go, computePodActions and \
               killPodWithSyncResult",
};

/// A probe that asks somebody else.
pub static PROBE_HOST_SET: Lint = Lint {
    id: "probe-host-set",
    severity: Warning,
    what: "probe with a host",
    why: "The probe asks that host, from the node, and not the container: 127.0.0.1 and localhost are \
          the node itself. The container may be dead while its probe succeeds, and well while it fails.",
    numbers: "",
    fix: "Drop host. For another virtual host name, set the header Host in httpHeaders.",
    upstream: "pkg/probe/http/request.go, NewRequestForHTTPGetAction; \
               pkg/kubelet/prober/prober.go, runProbe",
};

/// A probe's port has a name that its container does not know.
pub static PROBE_PORT_NAME_MISSING: Lint = Lint {
    id: "probe-port-name-missing",
    severity: Error,
    what: "probe port by a name that its container does not have",
    why: "No API server checks the name. Every attempt is an error, and errors are not counted: a \
          liveness probe never acts and keeps a dead container alive, a readiness probe never succeeds, \
          a startup probe holds the other two back for ever.",
    numbers: "",
    fix: "Name the port in the container's own ports, or write its number.",
    upstream: "pkg/probe/util.go, ResolveContainerPort; pkg/kubelet/prober/worker.go, doProbe",
};

/// A probe's port is a number that nothing declares.
pub static PROBE_PORT_NOT_DECLARED: Lint = Lint {
    id: "probe-port-not-declared",
    severity: Warning,
    what: "probe port that is none of the declared TCP ports",
    why: "A declared port is only information, so the probe may be right; but where ports are declared \
          and the probe's is not among them, one of the two is usually out of date.",
    numbers: "Only for containers that declare ports.",
    fix: "Correct the number, or declare the port with a name and refer to that.",
    upstream: "pkg/probe/util.go, ResolveContainerPort",
};

/// An attempt may take longer than a period.
pub static PROBE_TIMEOUT_EXCEEDS_PERIOD: Lint = Lint {
    id: "probe-timeout-exceeds-period",
    severity: Warning,
    what: "timeoutSeconds greater than periodSeconds",
    why: "There is one attempt at a time: while the target hangs, attempts follow each other without a \
          pause, one every timeoutSeconds, and periodSeconds no longer says how soon the probe acts.",
    numbers: "Acts within periodSeconds + failureThreshold * timeoutSeconds instead of failureThreshold \
              * periodSeconds + timeoutSeconds.",
    fix: "Set timeoutSeconds to periodSeconds or less.",
    upstream: "pkg/kubelet/prober/worker.go, run",
};

/// The rollout is called failed while the start is still in time.
pub static PROGRESS_DEADLINE_TOO_SHORT: Lint = Lint {
    id: "progress-deadline-too-short",
    severity: Warning,
    what: "progressDeadlineSeconds shorter than the slowest start that the probes allow",
    why: "The rollout is reported as failed (ProgressDeadlineExceeded), and a pipeline may roll it back, \
          while the Pods still start within what their probes allow.",
    numbers: "progressDeadlineSeconds (600 by default) against initialDelaySeconds + failureThreshold * \
              periodSeconds of the probe that allows the start.",
    fix: "Raise progressDeadlineSeconds above the slowest start, or lower the failureThreshold.",
    upstream: "pkg/controller/deployment/util/deployment_util.go, DeploymentTimedOut",
};

/// A Service leads nowhere.
pub static SERVICE_TARGET_PORT_MISSING: Lint = Lint {
    id: "service-target-port-missing",
    severity: Error,
    what: "targetPort by a name that none of the selected Pods has",
    why: "Endpoints are made for the Pods that have a port of that name. None has, so the Service has no \
          endpoint for this port however ready its Pods are.",
    numbers: "Only where the checked manifests have Pods that the Service selects.",
    fix: "Name a container port so, or write the number.",
    upstream: "pkg/controller/endpoint/endpoints_controller.go, syncService; pkg/api/v1/pod/util.go, FindPort",
};

/// Traffic before anybody listens.
pub static SERVICE_WITHOUT_READINESS: Lint = Lint {
    id: "service-without-readiness",
    severity: Info,
    what: "Service in front of Pods without any readiness probe",
    why: "Without one a container is ready as soon as it runs: it gets traffic before it listens, at its \
          start and after every restart, and keeps it while it hangs.",
    numbers: "Only where the checked manifests have Pods that the Service selects.",
    fix: "Give the container behind the Service a readinessProbe.",
    upstream: "pkg/kubelet/prober/prober_manager.go, UpdatePodStatus",
};

/// The author says that the start takes longer than liveness allows.
pub static START_SHORTER_THAN_READINESS_DELAY: Lint = Lint {
    id: "start-shorter-than-readiness-delay",
    severity: Warning,
    what: "the container may be killed before readiness is even asked",
    why: "readiness' initialDelaySeconds says how long the start is expected to take; the probe that \
          kills allows less, so a start as slow as expected is killed, for ever.",
    numbers: "initialDelaySeconds + (failureThreshold - 1) * periodSeconds of the startup probe, else of \
              liveness, against initialDelaySeconds of readiness.",
    fix: "Add a startupProbe that allows at least readiness' initialDelaySeconds, or raise its \
          failureThreshold.",
    upstream: "pkg/kubelet/prober/worker.go, doProbe",
};

/// A delay that the startup probe makes needless.
pub static STARTUP_BESIDE_INITIAL_DELAY: Lint = Lint {
    id: "startup-beside-initial-delay",
    severity: Info,
    what: "initialDelaySeconds of liveness or readiness beside a startup probe",
    why: "Both are held back until the startup probe has succeeded anyway. The delay counts from the \
          container's start: it does nothing for a slow start, and after a quick one it only keeps the \
          container out of traffic or unwatched.",
    numbers: "A start that takes t is looked at after the greater of t and initialDelaySeconds.",
    fix: "Drop initialDelaySeconds.",
    upstream: "pkg/kubelet/prober/worker.go, doProbe",
};

/// An annotation that silences nothing.
pub static UNKNOWN_IGNORE: Lint = Lint {
    id: "unknown-ignore",
    severity: Error,
    what: "check.probelet.dev/ignore names a lint that there is not",
    why: "What it was meant to silence is not silenced, or not any more.",
    numbers: "",
    fix: "Write an id of `probelet check --list`, several joined by commas.",
    upstream: "",
};
