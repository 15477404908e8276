//! Taking up what the store and the runtime hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use probelet_api::registry::placing;
use probelet_engine::input::{Exit, Origin, Standing, StandingContainer};
use probelet_engine::memory::PodMemory;
use probelet_model::id::{Kind, PodUid};
use probelet_model::pod::Pod;
use probelet_model::status::PodStatus;
use probelet_runtime::{ContainerRecord, Images, Network, PodRecord, Runtime};
use probelet_store::MemoryFile;

use super::Node;
use super::changes::decoded;
use crate::names::Eager;
use crate::pod_ip::addresses;
use crate::traffic::stored_endpoints;

impl<R: Runtime, I: Images> Node<R, I> {
    /// Everything from before: services last, so that their endpoints are made once and from all pods.
    pub(super) async fn take_up(&mut self, standing: Vec<PodRecord>, stop: bool) {
        let mut standing: BTreeMap<PodUid, PodRecord> = standing
            .into_iter()
            .map(|record| (record.config.uid.clone(), record))
            .collect();
        for record in standing.values() {
            if let Network::Own(ip) = record.config.network {
                self.addresses.keep(&record.config.uid, ip);
            }
        }
        for object in self.store.list(Kind::Pod).0 {
            if placing::is_waiting(&object.value) {
                self.waiting_pod_changed(&object.key, &object.value);
                continue;
            }
            let Some(pod) = decoded(&object, Pod::from_value) else {
                continue;
            };
            let status: PodStatus =
                serde_json::from_value(object.value["status"].clone()).unwrap_or_default();
            let record = standing.remove(&pod.uid);
            if let Some(record) = &record {
                self.take_up_names(&pod, record.config.network);
            }
            if stop && record.is_none() && pod.deletion.is_none() {
                continue;
            }
            let memory = self.open_memory(&pod.uid);
            let remembered = memory.as_ref().and_then(|file| read_memory(file, &pod.uid));
            let restored = status.start_time.is_some() || remembered.is_some() || record.is_some();
            let origin = if restored || stop {
                let standing = record.map(|record| self.standing(record));
                Origin::Restored {
                    status: Box::new(status),
                    memory: remembered,
                    standing,
                    stop,
                }
            } else {
                Origin::New
            };
            self.admit(object, memory, pod, origin);
        }
        for orphan in standing.into_keys() {
            tracing::warn!(pod = %orphan, "removing the sandbox of a pod that nobody knows");
            if let Err(error) = self.runtime.remove_pod(&orphan).await {
                tracing::warn!(pod = %orphan, "cannot remove the sandbox: {error}");
            }
            if let Err(error) = self.operations.fetches.release(&orphan).await {
                tracing::warn!(pod = %orphan, "cannot let go of its images: {error}");
            }
        }
        for uid in self.data_dir.remembered() {
            if !self.pods.contains_key(&uid) && !stop {
                let _gone = std::fs::remove_file(self.data_dir.memory(&uid));
            }
        }
        for object in self.store.list(Kind::Service).0 {
            self.service_applied(&object.key, &object);
            self.traffic
                .endpoints(&object.key, stored_endpoints(&self.store, &object.key));
        }
    }

    /// What a standing pod had before: names, Services, and its ports on the host.
    fn take_up_names(&self, pod: &Pod, network: Network) {
        let names = self.traffic.names();
        let Network::Own(ip) = network else {
            let _as_before = names.serves_host_for(pod);
            return;
        };
        if let Err(error) = names.open_host_ports(pod, ip, self.host_ip) {
            tracing::error!(pod = %pod.uid, "{error}");
        }
        let (names, uid) = (Arc::clone(names), pod.uid.clone());
        // Ends when it has them; the Services that are not known yet follow.
        tokio::spawn(async move { names.enter(&uid, Eager::All).await });
    }

    fn standing(&self, record: PodRecord) -> Standing {
        let ip = match record.config.network {
            Network::Own(ip) => ip,
            Network::Host => self.host_ip,
        };
        Standing {
            addresses: addresses(&*self.runtime, record.config.network, ip),
            containers: record
                .containers
                .into_iter()
                .map(standing_container)
                .collect(),
        }
    }
}

fn standing_container(record: ContainerRecord) -> StandingContainer {
    StandingContainer {
        id: record.id,
        name: record.name,
        restart_count: record.restart_count,
        started_at: record.started.started_at,
        exit: record.exit.map(|exit| Exit {
            code: exit.code,
            signal: exit.signal,
            out_of_memory: exit.out_of_memory,
            finished_at: exit.finished_at,
            message: exit.message,
        }),
    }
}

fn read_memory(file: &MemoryFile, pod: &PodUid) -> Option<PodMemory> {
    let text = match file.load() {
        Ok(text) => text?,
        Err(error) => {
            tracing::error!(%pod, "cannot read what was written down: {error}");
            return None;
        }
    };
    serde_json::from_slice(&text)
        .inspect_err(|error| tracing::error!(%pod, "cannot read the memory: {error}"))
        .ok()
}
