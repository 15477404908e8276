//! Liveness beside readiness.

use probelet_model::pod::Container;
use probelet_model::probe::{Handler, PortRef, Probe, ProbeKind};

use crate::lint::{
    LIVENESS_EQUALS_READINESS, LIVENESS_QUICKER_THAN_READINESS, LIVENESS_SHARES_READINESS_CHECK,
    LIVENESS_STRICTER_THAN_READINESS,
};
use crate::report::Finding;
use crate::site::Site;
use crate::timing::{Seconds, Timing};

/// How many times as late liveness acts where it is told to wait: readiness has its turn, and as long
/// again to come back.
const PATIENCE: u32 = 2;

pub(super) fn liveness_beside_readiness(site: &Site<'_>, found: &mut Vec<Finding>) {
    let (Some(liveness), Some(readiness)) = (&site.container.liveness, &site.container.readiness)
    else {
        return;
    };
    let (kills, unready) = (
        Timing::of(liveness).acts_within,
        Timing::of(readiness).acts_within,
    );
    let times = format!(
        "liveness acts within {}, readiness within {}",
        Seconds(kills),
        Seconds(unready)
    );
    let patient = format!(
        "set livenessProbe.failureThreshold to {}, which acts within {}",
        threshold_for(liveness, readiness),
        Seconds(Timing::of(&patient(liveness, readiness)).acts_within),
    );
    let path = site.probe_path(ProbeKind::Liveness, "");
    if !same_check(site.container, &liveness.handler, &readiness.handler) {
        if kills < unready {
            let message = format!("{times}: the container is killed while it still gets traffic");
            found.push(site.finding(&LIVENESS_QUICKER_THAN_READINESS, path, message, patient));
        }
        return;
    }
    if kills <= unready {
        found.push(site.finding(
            &LIVENESS_EQUALS_READINESS,
            path,
            format!("the same check as readiness; {times}: unready means killed"),
            format!("ask for less in livenessProbe, or {patient}"),
        ));
    } else {
        found.push(site.finding(
            &LIVENESS_SHARES_READINESS_CHECK,
            path,
            format!("the same check as readiness; {times}"),
            "make sure that the check asks for nothing but this process".to_owned(),
        ));
    }
    if liveness.timeout < readiness.timeout {
        found.push(site.finding(
            &LIVENESS_STRICTER_THAN_READINESS,
            site.probe_path(ProbeKind::Liveness, "timeoutSeconds"),
            format!(
                "answers that take between {} and {} leave the container ready and kill it",
                Seconds(liveness.timeout),
                Seconds(readiness.timeout),
            ),
            format!(
                "set livenessProbe.timeoutSeconds to {}",
                readiness.timeout.as_secs_f64().ceil()
            ),
        ));
    }
}

/// Whether two handlers ask the same of the same port.
fn same_check(container: &Container, one: &Handler, other: &Handler) -> bool {
    let resolved = |handler: &Handler| {
        let mut handler = handler.clone();
        if let Handler::HttpGet { port, .. } | Handler::TcpSocket { port, .. } = &mut handler
            && let Some(number) = container.resolve_port(port)
        {
            *port = PortRef::Number(number);
        }
        handler
    };
    resolved(one) == resolved(other)
}

fn patient(liveness: &Probe, readiness: &Probe) -> Probe {
    Probe {
        failure_threshold: threshold_for(liveness, readiness),
        ..liveness.clone()
    }
}

/// The lowest threshold with which liveness acts well after readiness.
fn threshold_for(liveness: &Probe, readiness: &Probe) -> u32 {
    let goal = Timing::of(readiness).acts_within.saturating_mul(PATIENCE);
    let each = liveness.period.max(liveness.timeout);
    let periods = goal.as_nanos().div_ceil(each.as_nanos().max(1));
    i32::try_from(periods)
        .unwrap_or(i32::MAX)
        .unsigned_abs()
        .max(liveness.failure_threshold)
}
