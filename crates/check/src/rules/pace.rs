//! How often a probe asks, and how patient it is.

use std::time::Duration;

use probelet_model::probe::{Probe, ProbeKind};

use crate::lint::{LIVENESS_SINGLE_FAILURE, PROBE_TIMEOUT_EXCEEDS_PERIOD};
use crate::report::Finding;
use crate::site::Site;
use crate::timing::{Seconds, Start, Timing};

pub(super) fn timeout_exceeds_period(site: &Site<'_>, found: &mut Vec<Finding>) {
    for (kind, probe) in site.probes() {
        if probe.timeout <= probe.period {
            continue;
        }
        let acts = Timing::of(probe).acts_within;
        let naive = probe
            .period
            .saturating_mul(probe.failure_threshold)
            .saturating_add(probe.timeout);
        // With failureThreshold 1 there is no second attempt to come late.
        let late = if acts == naive {
            format!("the probe acts within {}", Seconds(acts))
        } else {
            format!(
                "the probe acts within {}, not {}",
                Seconds(acts),
                Seconds(naive)
            )
        };
        found.push(site.finding(
            &PROBE_TIMEOUT_EXCEEDS_PERIOD,
            site.probe_path(kind, "timeoutSeconds"),
            format!(
                "while the target hangs there is an attempt every {} instead of every {}: {late}",
                Seconds(probe.timeout),
                Seconds(probe.period),
            ),
            no_longer_than_period(probe),
        ));
    }
}

/// What makes the timeout no longer than the period: in whole seconds, or where a second is too long for one of
/// the two, in the annotation's milliseconds.
fn no_longer_than_period(probe: &Probe) -> String {
    let (period, timeout) = (probe.period, probe.timeout);
    if period.subsec_nanos() == 0 && timeout.subsec_nanos() == 0 {
        let (period, timeout) = (period.as_secs(), timeout.as_secs());
        format!("set timeoutSeconds to at most {period}, or periodSeconds to at least {timeout}")
    } else {
        let (period, timeout) = (period.as_millis(), timeout.as_millis());
        format!(
            "set timeoutMilliseconds to at most {period}, or periodMilliseconds to at least {timeout}, in the \
             annotation"
        )
    }
}

pub(super) fn single_failure(site: &Site<'_>, found: &mut Vec<Finding>) {
    let Some(probe) = site
        .container
        .liveness
        .as_ref()
        .filter(|probe| probe.failure_threshold == 1)
    else {
        return;
    };
    let mut message = format!(
        "a single answer that takes longer than {} kills the container",
        Seconds(probe.timeout)
    );
    if site.container.startup.is_none() {
        let safe = Start::of(site.container).map_or(Duration::ZERO, |start| start.safe);
        message += &format!("; so may a start that takes longer than {}", Seconds(safe));
    }
    found.push(site.finding(
        &LIVENESS_SINGLE_FAILURE,
        site.probe_path(ProbeKind::Liveness, "failureThreshold"),
        message,
        "set failureThreshold to 3, and lower periodSeconds if it has to act as soon".to_owned(),
    ));
}
