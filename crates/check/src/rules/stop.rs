//! What a probe's kill does.

use probelet_model::pod::RestartPolicy;
use probelet_model::probe::ProbeKind;

use crate::lint::{ON_FAILURE_EXIT_ZERO, PROBE_GRACE_IGNORED};
use crate::report::Finding;
use crate::site::Site;
use crate::timing::Seconds;

pub(super) fn grace_ignored(site: &Site<'_>, found: &mut Vec<Finding>) {
    if !site.ends_pod() {
        return;
    }
    for (kind, probe) in site.probes() {
        let Some(grace) = probe.termination_grace_period else {
            continue;
        };
        found.push(site.finding(
            &PROBE_GRACE_IGNORED,
            site.probe_path(kind, "terminationGracePeriodSeconds"),
            format!(
                "the container is the only one and is not started again, so the whole Pod ends, within its own {} \
                 and not within {}",
                Seconds(site.pod.termination_grace_period),
                Seconds(grace),
            ),
            "set the Pod's terminationGracePeriodSeconds instead".to_owned(),
        ));
    }
}

pub(super) fn exit_zero(site: &Site<'_>, found: &mut Vec<Finding>) {
    if site.restart_policy() != RestartPolicy::OnFailure {
        return;
    }
    let killer = site
        .probes()
        .find(|(kind, _)| *kind != ProbeKind::Readiness);
    if let Some((kind, _)) = killer {
        found.push(site.finding(
            &ON_FAILURE_EXIT_ZERO,
            site.probe_path(kind, ""),
            "killed by this probe while its restart is backed off, a container that exits with 0 is never started \
             again"
                .to_owned(),
            ON_FAILURE_EXIT_ZERO.advice(),
        ));
    }
}
