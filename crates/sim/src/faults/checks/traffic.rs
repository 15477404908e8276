//! Where traffic goes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use probelet_model::service::{Endpoints, Service};
use probelet_model::time::Now;

use super::{Checker, Facts, Seen};

/// When everything of an input is done, a Service's endpoints are what the statuses of its pods call for.
pub(super) struct ReadyAndEndpointsAgree;

/// Those that take traffic, and those that do not.
type Addresses = (BTreeSet<IpAddr>, BTreeSet<IpAddr>);

impl Checker for ReadyAndEndpointsAgree {
    fn name(&self) -> &'static str {
        "Ready and endpoints agree"
    }

    fn see(&mut self, _now: Now, seen: Seen<'_>, facts: &Facts) -> Result<(), String> {
        if !matches!(seen, Seen::Drained(_)) {
            return Ok(());
        }
        for known in facts.services.values() {
            let Some(endpoints) = &known.endpoints else {
                continue;
            };
            let (listed, due) = (addresses(endpoints), called_for(&known.service, facts));
            if listed != due {
                return Err(format!(
                    "{}: the endpoints are {listed:?}, the pods call for {due:?}",
                    known.service.meta.name
                ));
            }
        }
        Ok(())
    }
}

fn called_for(service: &Service, facts: &Facts) -> Addresses {
    let mut sets = Addresses::default();
    for known in facts
        .pods
        .values()
        .filter(|known| !known.gone && !known.ending)
    {
        if let (Some(ip), true, false) = (
            known.kept.pod_ip,
            service.selects(&known.pod.meta.labels),
            known.kept.phase.is_terminal(),
        ) {
            let set = if known.kept.is_ready() {
                &mut sets.0
            } else {
                &mut sets.1
            };
            set.insert(ip);
        }
    }
    sets
}

fn addresses(endpoints: &Endpoints) -> Addresses {
    let subsets = &endpoints.subsets;
    let ready = subsets.iter().flat_map(|subset| &subset.addresses);
    let not_ready = subsets
        .iter()
        .flat_map(|subset| &subset.not_ready_addresses);
    (
        ready.map(|address| address.ip).collect(),
        not_ready.map(|address| address.ip).collect(),
    )
}
