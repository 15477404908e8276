//! What pods and containers are started with, and what changes in them while they run.

use std::net::IpAddr;
use std::sync::Arc;

use probelet_engine::effect::{Event, EventKind};
use probelet_engine::input::{ContainerFailure, Image, Input, OperationId, PodFailure};
use probelet_model::id::{ContainerId, ContainerName, PodUid};
use probelet_model::pod::Pod;
use probelet_runtime::{Images, Network, Runtime};

use super::Node;
use crate::configuration;
use crate::lacking;
use crate::pod_ip::addresses;
use crate::pull_secrets::pull_secrets;

impl<R: Runtime, I: Images> Node<R, I> {
    pub(super) fn start_pod(&mut self, operation: OperationId, pod: &Pod, ip: IpAddr) {
        let (names, host_ip) = (self.traffic.names(), self.host_ip);
        let network = if pod.host_network {
            Network::Host
        } else {
            Network::Own(ip)
        };
        let ips: Vec<IpAddr> = addresses(&*self.runtime, network, ip).all().collect();
        let made = configuration::files(&self.store, &self.facts, pod, &ips)
            .map_err(PodFailure::Volume)
            .and_then(|volumes| {
                let opened = names.open_host_ports(pod, ip, host_ip);
                opened.map_err(|error| PodFailure::Sandbox(error.to_string()))?;
                Ok((volumes, names.files(pod, &ips)))
            });
        match made {
            Ok((volumes, (files, warnings))) => {
                let lacking = lacking::warnings(&self.runtime.lacks(), pod);
                for warning in warnings.into_iter().chain(lacking) {
                    self.record(&warning);
                }
                self.operations
                    .start_pod(operation, pod, ip, volumes, files);
            }
            Err(failure) => self.handle(Input::PodStarted {
                pod: pod.uid.clone(),
                operation,
                result: Err(failure),
            }),
        }
    }

    pub(super) fn start_container(
        &mut self,
        operation: OperationId,
        pod: &Arc<Pod>,
        name: &ContainerName,
        id: ContainerId,
        restart_count: u32,
        image: Option<&Image>,
    ) {
        let Some(spec) = pod.container(name.as_str()) else {
            return;
        };
        let ips = self.pod_ips(&pod.uid);
        let image = match image {
            None => Ok(None),
            Some(image) => match self.operations.fetches.held(&pod.uid, &image.id) {
                Some(held) => Ok(Some(held)),
                None => Err(ContainerFailure::Create(format!(
                    "image {} is no longer there",
                    image.name
                ))),
            },
        };
        let names = self.traffic.names();
        let links = configuration::links(&self.store, pod, |service| {
            names.address(service, pod.host_network)
        });
        let invocation = image.and_then(|image| {
            let image = image.as_deref();
            configuration::invocation(&self.store, &self.facts, pod, spec, &ips, &links, image)
        });
        match invocation {
            Ok(invocation) => {
                self.operations
                    .start_container(operation, pod, name, id, restart_count, invocation)
            }
            Err(failure) => self.handle(Input::ContainerStarted {
                pod: pod.uid.clone(),
                operation,
                result: Err(failure),
            }),
        }
    }

    fn pod_ips(&self, pod: &PodUid) -> Vec<IpAddr> {
        let status = self.engine.status(pod);
        status.map_or_else(Vec::new, |status| {
            status.pod_ips.iter().map(|pod_ip| pod_ip.ip).collect()
        })
    }

    /// Whether the containers of a pod may hold images.
    pub(super) fn has_images(&self, pod: &PodUid) -> bool {
        let known = self.pods.get(pod);
        known.is_none_or(|known| known.seen["spec"]["runtimeClassName"] != "host")
    }

    /// Pulls an image with the logins of the pod.
    pub(super) fn pull_image(
        &mut self,
        operation: OperationId,
        pod: &Pod,
        name: &ContainerName,
        image: String,
    ) {
        let secrets = pull_secrets(&self.store, pod);
        if let Some(message) = secrets.complaint() {
            self.record(&Event {
                pod: pod.uid.clone(),
                container: None,
                kind: EventKind::Warning,
                reason: "FailedToRetrieveImagePullSecret",
                message,
                attempt: None,
            });
        }
        self.operations
            .pull_image(operation, pod, name, image, secrets.credentials);
    }

    /// What `changed` is part of has new content in the pods that run.
    pub(super) fn update_volumes(&self, changed: impl Fn(&Pod) -> bool) {
        for known in self.pods.values() {
            let Ok(pod) = Pod::from_value(&known.seen) else {
                continue;
            };
            if !changed(&pod) {
                continue;
            }
            self.update_volumes_of(&pod);
        }
    }

    /// The same of one pod.
    pub(super) fn update_volumes_of(&self, pod: &Pod) {
        let ips = self.pod_ips(&pod.uid);
        match configuration::files(&self.store, &self.facts, pod, &ips) {
            Ok(files) => self.operations.update_volumes(pod.uid.clone(), files),
            // As upstream, the files stay as they are until all of them can be had.
            Err(message) => tracing::warn!(pod = %pod.uid, "{message}"),
        }
    }
}
