//! What ConfigMaps, Secrets, the node and the pod itself make of a pod: variables, and the files of volumes.
//!
//! Upstream: kubelet pkg/kubelet/kubelet_pods.go, GenerateRunContainerOptions; pkg/volume/configmap, secret,
//! downwardapi and projected.
//! Differs: a running pod sees a change of what it refers to at once, not at the next of the kubelet's rounds.
//! Shown by: a_pod_gets_what_it_refers_to_in_its_namespace_and_no_other.

mod image;
mod mounts;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use probelet_engine::input::ContainerFailure;
use probelet_model::environment::{environment, expand_command};
use probelet_model::files::volume_files;
use probelet_model::id::{Kind, ObjectKey};
use probelet_model::pod::{Container, Pod, VolumeMount, VolumeSource};
use probelet_model::reference::PodFacts;
use probelet_model::resources::Amounts;
use probelet_model::volume::{FileSource, VolumeFiles};
use probelet_proxy::ServiceKey;
use probelet_runtime::{Image, ImageRoot};
use probelet_store::{Object, Store};
use serde_json::Value;

/// What is the same for all pods of a node.
#[derive(Clone, Debug)]
pub(crate) struct NodeFacts {
    pub(crate) host_ip: IpAddr,
    pub(crate) node_name: String,
    pub(crate) allocatable: Amounts,
}

impl NodeFacts {
    fn of_pod(&self, pod_ips: &[IpAddr]) -> PodFacts {
        PodFacts {
            pod_ips: pod_ips.to_vec(),
            host_ips: vec![self.host_ip],
            node_name: self.node_name.clone(),
            allocatable: self.allocatable,
        }
    }
}

/// What a container is started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Invocation {
    /// The files it sees; the host's own if `None`.
    pub(crate) root: Option<ImageRoot>,
    /// Its variables, each once.
    pub(crate) env: Vec<(String, String)>,
    /// Its command and arguments, expanded.
    pub(crate) argv: Vec<String>,
    /// Where it begins.
    pub(crate) working_dir: Option<String>,
    /// Its mounts, their `subPathExpr` expanded.
    pub(crate) mounts: Vec<VolumeMount>,
    /// Whom its image wants to run as.
    pub(crate) image_user: String,
    /// What asks it to stop; TERM if `None`.
    pub(crate) stop_signal: Option<i32>,
}

/// What a container is started with, as things are now; of its image, unless it sees the host's files.
///
/// # Errors
/// What it refers to and is not there, and what must not be, in upstream's words.
pub(crate) fn invocation(
    store: &Store,
    node: &NodeFacts,
    pod: &Pod,
    container: &Container,
    pod_ips: &[IpAddr],
    services: &[Arc<Value>],
    image: Option<&Image>,
) -> Result<Invocation, ContainerFailure> {
    let facts = node.of_pod(pod_ips);
    let env = environment(pod, container, &facts, &lookup(store, pod), services)
        .map_err(|error| ContainerFailure::Config(error.to_string()))?;
    let mounts = mounts::mounts(container, &env).map_err(ContainerFailure::Config)?;
    let command = expand_command(&container.command, &env);
    let args = expand_command(&container.args, &env);
    let Some(Image { config, root, .. }) = image else {
        return Ok(Invocation {
            argv: [command, args].concat(),
            env,
            working_dir: container.working_dir.clone(),
            mounts,
            stop_signal: container.stop_signal,
            ..Invocation::default()
        });
    };
    image::verify_non_root(pod, container, &config.user)?;
    let stop_signal = config.stop_signal.as_deref().and_then(|text| {
        let signal = image::signal(text);
        if signal.is_none() {
            tracing::warn!(pod = %pod.uid, container = %container.name, "the image's stop signal {text:?} is none; TERM it is");
        }
        signal
    });
    Ok(Invocation {
        root: Some(root.clone()),
        argv: image::argv(command, args, config)?,
        env: image::env(config, env),
        working_dir: container
            .working_dir
            .clone()
            .or_else(|| config.working_dir.clone()),
        mounts,
        image_user: config.user.clone(),
        stop_signal: container.stop_signal.or(stop_signal),
    })
}

/// The Services whose variables a pod may have, each with the `address` at which the pod reaches it as cluster
/// IP, whatever it says itself; those without one are left out.
pub(crate) fn links(
    store: &Store,
    pod: &Pod,
    address: impl Fn(&ServiceKey) -> Option<Ipv4Addr>,
) -> Vec<Arc<Value>> {
    let services = store.list_in(Kind::Service, &pod.meta.namespace).0;
    let kubernetes = store.get(&ObjectKey::new(Kind::Service, "default", "kubernetes"));
    let with_address = |object: Object| {
        let key = ServiceKey {
            namespace: object.key.namespace,
            name: object.key.name,
        };
        let mut value = (*object.value).clone();
        value["spec"]["clusterIP"] = address(&key)?.to_string().into();
        Some(Arc::new(value))
    };
    services
        .into_iter()
        .chain(kubernetes)
        .filter_map(with_address)
        .collect()
}

/// The files of all volumes that are made of objects, by volume.
///
/// # Errors
/// The first volume that cannot be made, and why.
pub(crate) fn files(
    store: &Store,
    node: &NodeFacts,
    pod: &Pod,
    pod_ips: &[IpAddr],
) -> Result<BTreeMap<String, VolumeFiles>, String> {
    let facts = node.of_pod(pod_ips);
    let mut all = BTreeMap::new();
    for volume in &pod.volumes {
        let made = volume_files(pod, volume, &facts, &lookup(store, pod))
            .map_err(|error| error.to_string())?;
        all.extend(made.map(|files| (volume.name.clone(), files)));
    }
    Ok(all)
}

/// Whether a volume of the pod is made of that object.
pub(crate) fn is_made_of(pod: &Pod, object: &ObjectKey) -> bool {
    pod.meta.namespace == object.namespace
        && sources(pod).any(|source| match (source, object.kind) {
            (FileSource::ConfigMap(keys), Kind::ConfigMap)
            | (FileSource::Secret(keys), Kind::Secret) => keys.name == object.name,
            _ => false,
        })
}

/// Whether a volume of the pod tells of the pod itself.
pub(crate) fn tells_of_itself(pod: &Pod) -> bool {
    sources(pod).any(|source| matches!(source, FileSource::Downward(_)))
}

/// Whether the pod has volumes that are made of objects.
pub(crate) fn has_files(pod: &Pod) -> bool {
    sources(pod).next().is_some()
}

fn sources(pod: &Pod) -> impl Iterator<Item = &FileSource> {
    let volumes = pod.volumes.iter();
    volumes.flat_map(|volume| match &volume.source {
        VolumeSource::Files { sources, .. } => sources.as_slice(),
        _ => &[],
    })
}

fn lookup<'a>(store: &'a Store, pod: &'a Pod) -> impl Fn(Kind, &str) -> Option<Arc<Value>> + 'a {
    |kind, name| {
        let key = ObjectKey::new(kind, &pod.meta.namespace, name);
        store.get(&key).map(|object| object.value)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use probelet_model::decode;
    use probelet_store::Durability;
    use serde_json::json;

    use super::*;

    pub(crate) fn node() -> NodeFacts {
        NodeFacts {
            host_ip: IpAddr::from([192, 0, 2, 7]),
            node_name: "here".to_owned(),
            allocatable: Amounts::default(),
        }
    }

    pub(crate) fn pod() -> Pod {
        let value = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "web", "namespace": "shop", "labels": { "app": "web" } },
            "spec": {
                "runtimeClassName": "host",
                "containers": [{
                    "name": "main", "image": "x",
                    "command": ["paint", "$(COLOUR)"],
                    "env": [
                        { "name": "COLOUR", "valueFrom": { "configMapKeyRef": { "name": "paint", "key": "colour" } } },
                        { "name": "IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
                    ],
                }],
                "volumes": [
                    { "name": "paint", "configMap": { "name": "paint" } },
                    { "name": "about", "downwardAPI": { "items": [
                        { "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } },
                    ] } },
                ],
            },
        });
        let admitted = decode::admit(Kind::Pod, value, &decode::Options::default()).unwrap();
        Pod::from_value(&admitted.value).unwrap()
    }

    #[test]
    fn a_pod_gets_what_it_refers_to_in_its_namespace_and_no_other() {
        let store = Store::in_memory();
        let pod = pod();
        let ips = [IpAddr::from([10, 0, 0, 2])];
        let missing = Err(ContainerFailure::Config(
            "configmap \"paint\" not found".to_owned(),
        ));
        let paint = |namespace: &str| ObjectKey::new(Kind::ConfigMap, namespace, "paint");
        let put = |key: ObjectKey, colour: &str| {
            let value = json!({ "metadata": {}, "data": { "colour": colour } });
            store
                .transact(Durability::Derived, |transaction| {
                    transaction.put_any(key, value).map(drop)
                })
                .unwrap();
        };
        put(paint("default"), "red");
        let container = pod.container("main").unwrap();
        let made = || invocation(&store, &node(), &pod, container, &ips, &[], None);
        assert_eq!(made(), missing);
        assert_eq!(
            files(&store, &node(), &pod, &ips),
            Err(
                "MountVolume.SetUp failed for volume \"paint\" : configmap \"paint\" not found"
                    .to_owned()
            )
        );
        put(paint("shop"), "blue");
        let made = made().unwrap();
        assert_eq!(made.argv, ["paint", "blue"]);
        let ip_variable = ("IP".to_owned(), "10.0.0.2".to_owned());
        assert!(made.env.contains(&ip_variable), "{:?}", made.env);
        let files = files(&store, &node(), &pod, &ips).unwrap();
        assert_eq!(files["paint"].files[0].content, b"blue");
        assert_eq!(files["about"].files[0].content, b"app=\"web\"");
        assert!(is_made_of(&pod, &paint("shop")));
        assert!(!is_made_of(&pod, &paint("default")));
        assert!(tells_of_itself(&pod));
    }
    #[test]
    fn a_pod_has_the_variables_of_services_that_it_reaches_at_the_address_where_it_does() {
        let store = Store::in_memory();
        for (namespace, name, ip) in [
            ("shop", "db", "10.96.0.1"),
            ("shop", "far", "10.96.0.2"),
            ("other", "web", "10.96.0.3"),
            ("default", "kubernetes", "10.96.0.4"),
        ] {
            let value = json!({
                "metadata": { "namespace": namespace, "name": name },
                "spec": { "clusterIP": ip, "ports": [{ "port": 5432 }] },
            });
            let key = ObjectKey::new(Kind::Service, namespace, name);
            store
                .transact(Durability::Derived, |transaction| {
                    transaction.put_any(key, value).map(drop)
                })
                .unwrap();
        }
        let mut pod = pod();
        let variables = |pod: &Pod| {
            let services = links(&store, pod, |service| match &*service.name {
                "far" => None,
                _ => Some(Ipv4Addr::new(127, 213, 1, 2)),
            });
            let mut container = pod.container("main").unwrap().clone();
            container.env.clear();
            let made = invocation(&store, &node(), pod, &container, &[], &services, None).unwrap();
            let hosts = made
                .env
                .into_iter()
                .filter(|(name, _)| name.ends_with("_HOST"));
            hosts
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
        };
        let both = [
            "DB_SERVICE_HOST=127.213.1.2",
            "KUBERNETES_SERVICE_HOST=127.213.1.2",
        ];
        assert_eq!(variables(&pod), both);
        pod.enable_service_links = false;
        assert_eq!(variables(&pod), both[1..]);
    }
}
