//! The Services of the node, and what was last committed for each.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use probelet_model::id::{Kind, ObjectKey, PodUid};
use probelet_model::pod::Pod;
use probelet_model::service::{EndpointSlice, Endpoints, Service};
use probelet_model::time::Wall;

use crate::effect::EndpointsChange;
use crate::endpoints::{Candidate, endpoints, slices};
use crate::pod::PodMachine;

/// All Services.
#[derive(Debug, Default)]
pub(crate) struct Services(BTreeMap<ObjectKey, Entry>);

#[derive(Debug)]
struct Entry {
    service: Arc<Service>,
    /// Volatile: the agent commits the endpoints of every Service once when it starts.
    committed: Option<(Endpoints, Vec<EndpointSlice>)>,
}

/// What Services see of a pod; only when this changes can endpoints change.
///
/// Upstream: staging/src/k8s.io/endpointslice/util/controller_utils.go, podEndpointsChanged.
/// Shown by: f4_terminating_and_ready, f8_no_pod_ip, f13_the_trigger_time_is_when_ready_changed,
/// a_change_of_labels_moves_the_pod_from_one_service_to_the_other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pod: Arc<Pod>,
    ip: Option<IpAddr>,
    ready: bool,
    over: bool,
    terminating: bool,
}

impl Shown {
    pub(crate) fn of(machine: &PodMachine) -> Self {
        Self {
            pod: machine.pod.clone(),
            ip: machine.status.pod_ip,
            ready: machine.status.is_ready(),
            over: machine.status.phase.is_terminal(),
            terminating: machine.ending.is_some(),
        }
    }

    pub(crate) fn is_behind(&self, service: &Service) -> bool {
        let meta = &self.pod.meta;
        service.meta.namespace == meta.namespace && service.selects(&meta.labels)
    }
}

impl Services {
    /// A Service is there, or has changed.
    pub(crate) fn apply(
        &mut self,
        service: Arc<Service>,
        node_name: &str,
        pods: &BTreeMap<PodUid, PodMachine>,
    ) -> Option<EndpointsChange> {
        let key = ObjectKey::new(Kind::Service, &service.meta.namespace, &service.meta.name);
        let before = self.0.remove(&key);
        let entry = self.0.entry(key.clone()).or_insert(Entry {
            service,
            committed: before.and_then(|before| before.committed),
        });
        entry.change(&key, None, node_name, pods)
    }

    /// A Service is gone.
    pub(crate) fn delete(&mut self, key: &ObjectKey) {
        self.0.remove(key);
    }

    /// The endpoints that are other than they were, of the Services that `of` says.
    pub(crate) fn changes(
        &mut self,
        of: impl Fn(&Service) -> bool,
        trigger_time: Option<Wall>,
        node_name: &str,
        pods: &BTreeMap<PodUid, PodMachine>,
    ) -> Vec<EndpointsChange> {
        let concerned = self.0.iter_mut().filter(|(_, entry)| of(&entry.service));
        concerned
            .filter_map(|(key, entry)| entry.change(key, trigger_time, node_name, pods))
            .collect()
    }
}

impl Entry {
    /// The Endpoints are written when they are other than those that were written last.
    ///
    /// Upstream: pkg/controller/endpoint/endpoints_controller.go, syncService;
    /// staging/src/k8s.io/endpointslice/trigger_time_tracker.go (at first the Service's own time).
    /// Shown by: f13_the_trigger_time_is_when_ready_changed,
    /// f14_a_change_of_annotations_alone_writes_nothing, a_service_that_changes_gets_other_endpoints.
    fn change(
        &mut self,
        key: &ObjectKey,
        trigger_time: Option<Wall>,
        node_name: &str,
        pods: &BTreeMap<PodUid, PodMachine>,
    ) -> Option<EndpointsChange> {
        let candidates = || {
            pods.values().map(|machine| Candidate {
                pod: &machine.pod,
                status: &machine.status,
                terminating: machine.ending.is_some(),
            })
        };
        let endpoints = endpoints(&self.service, node_name, candidates())?;
        let slices = slices(&self.service, node_name, candidates());
        let new = (endpoints, slices);
        if self.committed.as_ref() == Some(&new) {
            return None;
        }
        let first = self.committed.is_none();
        self.committed = Some(new.clone());
        let (endpoints, slices) = new;
        Some(EndpointsChange {
            service: key.clone(),
            endpoints,
            slices,
            trigger_time: if first {
                Some(self.service.meta.created_at)
            } else {
                trigger_time
            },
        })
    }
}
