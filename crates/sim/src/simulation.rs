//! A simulation: pods and a scenario in, records out, in the order of virtual time.
//!
//! [`Simulation`] is an iterator that makes each record when it is asked for it and keeps none, so a day
//! of a thousand pods takes no more memory than a minute. Nothing in it is random but what a seed is given
//! for, so the same question has the same answer, byte for byte.

mod observer;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use probelet_engine::BackOffLimits;
use probelet_model::go;
use probelet_model::id::{Kind, ObjectKey, PodUid};
use probelet_model::pod::{Meta, Pod, Protocol};
use probelet_model::probe::PortRef;
use probelet_model::service::{Service, ServicePort};
use probelet_model::time::Mono;

use self::observer::Observer;
use crate::node::{Node, Settings, Spread};
use crate::record::Record;
use crate::scenario::{Action, Scenario};

/// The node's address, and that of pods in its network.
const NODE_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
/// The address before the first pod's: pods get 10.244.0.2 and those that follow.
const POD_IPS: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// What marks a pod for the Service that is made for it where no manifest has one.
const MARK: &str = "simulated.probelet.dev/pod";

/// A simulation under way.
#[derive(Debug)]
pub struct Simulation {
    node: Node,
    observer: Observer,
    /// What is to be done, soonest first.
    plan: VecDeque<(Mono, Deed)>,
    begin: Mono,
    end: Mono,
    is_over: bool,
}

/// Something that the scenario does.
#[derive(Debug)]
enum Deed {
    AgentDies,
    AgentComesBack,
    OnPods(Vec<PodUid>, Action),
}

impl Simulation {
    /// The simulation of a scenario that was read for these pods.
    ///
    /// All pods are applied at the start, Services after them. A pod that no Service selects gets one of
    /// its own, so that its endpoint can be told. With a seed, the agent starts together with the pods,
    /// and the first looks of their probes are spread over their periods.
    #[must_use]
    pub fn new(
        pods: Vec<Pod>,
        services: Vec<Service>,
        scenario: &Scenario,
        seed: Option<u64>,
    ) -> Self {
        let mut node = Node::new(Settings {
            name: "node".to_owned(),
            ip: NODE_IP,
            back_off: BackOffLimits::default(),
            spread: seed.map_or(Spread::None, Spread::Seeded),
        });
        let begin = node.world().now().mono;
        let mut observer = Observer::new(begin);
        let many = pods.len() > 1;
        let mut services = services;
        let mut names: BTreeMap<String, Vec<PodUid>> = BTreeMap::new();
        let mut placed = Vec::new();
        for (index, mut pod) in pods.into_iter().enumerate() {
            if pod.uid.as_str().is_empty() {
                pod.uid = PodUid::from(format!("00000000-0000-4000-8000-{index:012x}"));
            }
            let selects = |service: &&Service| is_behind(&pod, service);
            let service = match services.iter().find(selects) {
                Some(service) => service_key(service),
                None => {
                    let service = implied_service(&mut pod, index);
                    let key = service_key(&service);
                    services.push(service);
                    key
                }
            };
            observer.add(&pod, service, many);
            let name = pod.meta.name.clone();
            names.entry(name).or_default().push(pod.uid.clone());
            placed.push((address(&pod, index), scenario.script(&pod), pod));
        }
        if seed.is_some() {
            for (ip, script, pod) in placed.drain(..) {
                node.provide(pod, ip, script);
            }
        }
        node.boot(&mut observer);
        for (ip, script, pod) in placed {
            node.apply(pod, ip, script, &mut observer);
        }
        for service in services {
            node.serve(Arc::new(service), &mut observer);
        }
        Self {
            plan: plan(scenario, &names, begin),
            end: begin + scenario.duration,
            node,
            observer,
            begin,
            is_over: false,
        }
    }

    /// How much virtual time has passed.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.node.world().now().mono.since(self.begin)
    }

    /// One thing more happens, or the end is told.
    fn go_on(&mut self) {
        let planned = self.plan.front().map(|(at, _)| *at);
        let until = planned.map_or(self.end, |at| at.min(self.end));
        if self.node.step(until, &mut self.observer) {
            return;
        }
        match self.plan.pop_front().filter(|(at, _)| *at <= self.end) {
            Some((_, deed)) => self.carry_out(deed),
            None => {
                self.observer.end(self.end);
                self.is_over = true;
            }
        }
    }

    fn carry_out(&mut self, deed: Deed) {
        let now = self.node.world().now();
        match deed {
            Deed::AgentDies => {
                self.observer
                    .scenario(now, None, "the agent dies".to_owned());
                self.node.crash();
            }
            Deed::AgentComesBack => {
                self.observer
                    .scenario(now, None, "the agent is back".to_owned());
                self.node.boot(&mut self.observer);
            }
            Deed::OnPods(pods, action) => {
                for pod in pods {
                    self.act(&pod, &action);
                }
            }
        }
    }

    fn act(&mut self, uid: &PodUid, action: &Action) {
        let now = self.node.world().now();
        let Some((pod, _)) = self.node.pod(uid) else {
            return;
        };
        match action {
            Action::Delete { grace } => {
                let within = grace.unwrap_or(pod.termination_grace_period);
                let message = format!("the pod is deleted, within {}", go::duration(within));
                self.observer.scenario(now, Some(uid), message);
                self.observer.deleting(uid);
                self.node.delete(uid, *grace, &mut self.observer);
            }
            Action::Condition { kind, status } => {
                let message = format!("condition {kind} is set to {status}");
                self.observer.scenario(now, Some(uid), message);
                self.node
                    .set_condition(uid, kind, status, &mut self.observer);
            }
        }
    }
}

impl Iterator for Simulation {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            if let Some(record) = self.observer.next() {
                return Some(record);
            }
            if self.is_over {
                return None;
            }
            self.go_on();
        }
    }
}

/// `count` pods that are `pod` but for their names, `<name>-0` and so on.
#[must_use]
pub fn replicas(pod: &Pod, count: u32) -> Vec<Pod> {
    let replica = |index| {
        let mut replica = pod.clone();
        let name = format!("{}-{index}", pod.meta.name);
        replica.hostname.clone_from(&name);
        replica.meta.name = name;
        replica
    };
    (0..count).map(replica).collect()
}

/// What the scenario does, and when; what comes at one instant in the order agent, then pods.
fn plan(
    scenario: &Scenario,
    names: &BTreeMap<String, Vec<PodUid>>,
    begin: Mono,
) -> VecDeque<(Mono, Deed)> {
    let mut plan = Vec::new();
    for restart in &scenario.agent_restarts {
        let dies = begin + restart.at;
        plan.push((dies, Deed::AgentDies));
        plan.push((dies + restart.down_for, Deed::AgentComesBack));
    }
    for event in &scenario.events {
        let pods = match &event.pod {
            Some(name) => names.get(name).cloned().unwrap_or_default(),
            None => names.values().flatten().cloned().collect(),
        };
        plan.push((begin + event.at, Deed::OnPods(pods, event.action.clone())));
    }
    plan.sort_by_key(|(at, _)| *at);
    plan.into()
}

fn address(pod: &Pod, index: usize) -> IpAddr {
    if pod.host_network {
        return NODE_IP;
    }
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    IpAddr::V4(Ipv4Addr::from(
        u32::from(POD_IPS).wrapping_add(1).wrapping_add(index),
    ))
}

/// An empty selector selects nothing, as upstream.
fn is_behind(pod: &Pod, service: &Service) -> bool {
    service.meta.namespace == pod.meta.namespace
        && service
            .selector
            .as_ref()
            .is_some_and(|selector| !selector.is_empty())
        && service.selects(&pod.meta.labels)
}

fn service_key(service: &Service) -> ObjectKey {
    let meta = &service.meta;
    ObjectKey::new(Kind::Service, &meta.namespace, &meta.name)
}

/// A Service for a pod that has none; the pod gets the label it selects by.
fn implied_service(pod: &mut Pod, index: usize) -> Service {
    let value = index.to_string();
    pod.meta.labels.insert(MARK.to_owned(), value.clone());
    let declared = pod.containers.iter().flat_map(|container| &container.ports);
    let port = declared.map(|port| port.number).next().unwrap_or(80);
    Service {
        uid: String::new(),
        meta: Meta {
            // No manifest can have a name like it.
            name: format!("({value})"),
            namespace: pod.meta.namespace.clone(),
            ..Meta::default()
        },
        selector: Some([(MARK.to_owned(), value)].into()),
        ports: vec![ServicePort {
            name: String::new(),
            protocol: Protocol::Tcp,
            port,
            target_port: PortRef::Number(port),
        }],
        publish_not_ready_addresses: false,
        headless: false,
    }
}

#[cfg(test)]
mod tests;
