//! How soon a probe acts, computed from its fields by the rules of the worker that carries it out.
//!
//! A probe looks once a period. An attempt that hangs takes the whole timeout; there is one attempt at a
//! time, and a tick that falls into one is made up for right after it, so that attempts at a target that
//! hangs start every `max(period, timeout)`. The verdict falls with the answer of the attempt that meets the
//! threshold. What is computed here is the worst case over the phase, the time between the ticks and what
//! happens; no time is added for the kubelet to hear of a verdict (up to about 2 s on a cluster).
//!
//! Upstream: kubelet pkg/kubelet/prober/worker.go, run and doProbe.
//! Shown by: times_to_act, a_probe_acts_on_a_target_that_hangs_when_check_says,
//! a_probe_acts_on_a_target_that_refuses_when_check_says, readiness_recovers_when_check_says.

use std::fmt;
use std::time::Duration;

use probelet_model::pod::Container;
use probelet_model::probe::{Handler, Probe, ProbeKind};

/// The times that follow from one probe's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From the moment a healthy target begins to hang until the verdict is Failure, at the latest:
    /// `period + (failureThreshold - 1) * max(period, timeout) + timeout`.
    pub acts_within: Duration,
    /// The same for a target that refuses at once: `failureThreshold * period`. A grpc probe tries again
    /// until its timeout, so there it is as for one that hangs.
    pub acts_within_if_refused: Duration,
    /// From the moment the target is well until the verdict is Success, at the latest, as an attempt under way may
    /// still hang and each answer take up to the timeout: `successThreshold * max(period, timeout) + timeout`.
    pub recovers_within: Duration,
}

impl Timing {
    /// The times of `probe`.
    #[must_use]
    pub fn of(probe: &Probe) -> Self {
        let times = |count: u32, each: Duration| each.saturating_mul(count);
        let (period, timeout) = (probe.period, probe.timeout);
        let slowest = period.max(timeout);
        let last = times(probe.failure_threshold.saturating_sub(1), slowest);
        let hangs = period.saturating_add(last).saturating_add(timeout);
        Self {
            acts_within: hangs,
            acts_within_if_refused: if matches!(probe.handler, Handler::Grpc { .. }) {
                hangs
            } else {
                times(probe.failure_threshold, period)
            },
            recovers_within: times(probe.success_threshold, slowest).saturating_add(timeout),
        }
    }
}

/// The kubelet counts an initial delay from the whole second in which the container started, so that this
/// much of it may be missing.
///
/// Upstream: kubelet pkg/kubelet/status/status_manager.go, normalizeStatus; pkg/kubelet/prober/worker.go, doProbe.
/// Shown by: starts, a_start_is_allowed_as_long_as_check_says.
const CUT: Duration = Duration::from_secs(1);

/// How slow a container's start may be before a probe kills it, from the moment it runs.
///
/// The first attempt falls on the first tick after the initial delay, so the answer depends on the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The probe that kills: startup if there is one, else liveness.
    pub by: ProbeKind,
    /// A start that takes no longer is never killed: `initialDelay + (failureThreshold - 1) * period`, less
    /// the second that may be missing of an initial delay.
    pub safe: Duration,
    /// One that refuses connections for longer is always killed: `initialDelay + failureThreshold * period`.
    pub most: Duration,
}

impl Start {
    /// What `container` allows; `None` if no probe kills it.
    #[must_use]
    pub fn of(container: &Container) -> Option<Self> {
        let (by, probe) = match (&container.startup, &container.liveness) {
            (Some(probe), _) => (ProbeKind::Startup, probe),
            (None, Some(probe)) => (ProbeKind::Liveness, probe),
            (None, None) => return None,
        };
        let periods = |count: u32| probe.period.saturating_mul(count);
        let last = periods(probe.failure_threshold.saturating_sub(1));
        Some(Self {
            by,
            safe: probe.initial_delay.saturating_sub(CUT).saturating_add(last),
            most: probe
                .initial_delay
                .saturating_add(periods(probe.failure_threshold)),
        })
    }
}

/// Attempts a second of a probe that is under way.
#[must_use]
pub fn rate(probe: &Probe) -> f64 {
    1.0 / probe.period.as_secs_f64()
}

/// A time as people read it: `31 s`, `0.25 s`.
#[derive(Clone, Copy, Debug)]
pub struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use probelet_model::probe::PortRef;

    use super::*;

    fn probe(delay: u64, period: u64, timeout: u64, failures: u32) -> Probe {
        Probe {
            handler: Handler::TcpSocket {
                host: None,
                port: PortRef::Number(80),
            },
            initial_delay: Duration::from_secs(delay),
            period: Duration::from_secs(period),
            timeout: Duration::from_secs(timeout),
            success_threshold: 1,
            failure_threshold: failures,
            termination_grace_period: None,
        }
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn times_to_act() {
        // period, timeout, failureThreshold; if it hangs, if it refuses
        for (period, timeout, failures, hangs, refuses) in [
            (10, 1, 3, 31, 30),
            (10, 10, 3, 40, 30),
            // Attempts follow each other every 30 s: at 10, 40 and 70.
            (10, 30, 3, 100, 30),
            (5, 2, 1, 7, 5),
            (1, 1, 1, 2, 1),
        ] {
            let timing = Timing::of(&probe(0, period, timeout, failures));
            assert_eq!(
                timing.acts_within,
                s(hangs),
                "{period} {timeout} {failures}"
            );
            assert_eq!(timing.acts_within_if_refused, s(refuses));
        }
        let grpc = Probe {
            handler: Handler::Grpc {
                port: 1,
                service: String::new(),
            },
            ..probe(0, 10, 1, 3)
        };
        assert_eq!(Timing::of(&grpc).acts_within_if_refused, s(31));
        let slow = Probe {
            success_threshold: 2,
            ..probe(0, 10, 1, 3)
        };
        assert_eq!(Timing::of(&slow).recovers_within, s(21));
        // Behind an attempt that hangs for 5 s come two answers that take 5 s each.
        let slower = Probe {
            success_threshold: 2,
            ..probe(0, 1, 5, 3)
        };
        assert_eq!(Timing::of(&slower).recovers_within, s(15));
    }

    #[test]
    fn times_are_written_shortly() {
        assert_eq!(Seconds(s(31)).to_string(), "31 s");
        assert_eq!(Seconds(Duration::from_millis(250)).to_string(), "0.25 s");
    }

    #[test]
    fn nothing_overflows() {
        let endless = Probe {
            period: Duration::from_secs(u64::MAX),
            failure_threshold: u32::MAX,
            ..probe(0, 1, 1, 1)
        };
        assert_eq!(Timing::of(&endless).acts_within, Duration::MAX);
    }
}
