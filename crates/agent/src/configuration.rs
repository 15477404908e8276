//! What ConfigMaps, Secrets, the node and the pod itself make of a pod: variables, and the files of volumes.
//!
//! Upstream: kubelet pkg/kubelet/kubelet_pods.go, GenerateRunContainerOptions; pkg/volume/configmap, secret,
//! downwardapi and projected.
//! Differs: a running pod sees a change of what it refers to at once, not at the next of the kubelet's rounds.
//! Shown by: a_pod_gets_what_it_refers_to_in_its_namespace_and_no_other.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use probelet_model::environment::{environment, expand_command};
use probelet_model::files::volume_files;
use probelet_model::id::{Kind, ObjectKey};
use probelet_model::pod::{Container, Pod, VolumeSource};
use probelet_model::reference::PodFacts;
use probelet_model::resources::Amounts;
use probelet_model::volume::{FileSource, VolumeFiles};
use probelet_store::Store;
use serde_json::Value;

/// What is the same for all pods of a node.
#[derive(Clone, Debug)]
pub(crate) struct NodeFacts {
    pub(crate) host_ip: IpAddr,
    pub(crate) node_name: String,
    pub(crate) allocatable: Amounts,
}

impl NodeFacts {
    fn of_pod(&self, pod_ip: Option<IpAddr>) -> PodFacts {
        PodFacts {
            pod_ips: pod_ip.into_iter().collect(),
            host_ips: vec![self.host_ip],
            node_name: self.node_name.clone(),
            allocatable: self.allocatable,
        }
    }
}

/// What a container is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invocation {
    /// Its variables, each once.
    pub(crate) env: Vec<(String, String)>,
    /// Its command and arguments, expanded.
    pub(crate) argv: Vec<String>,
}

/// The variables and the command of a container, as they are now.
///
/// # Errors
/// What it refers to and is not there, in upstream's words.
pub(crate) fn invocation(
    store: &Store,
    node: &NodeFacts,
    pod: &Pod,
    container: &Container,
    pod_ip: Option<IpAddr>,
) -> Result<Invocation, String> {
    let facts = node.of_pod(pod_ip);
    // No Service has an address that could be reached from inside a pod, so none has variables.
    let env = environment(pod, container, &facts, &lookup(store, pod), &[])
        .map_err(|error| error.to_string())?;
    let argv = expand_command(&container.argv, &env);
    Ok(Invocation { env, argv })
}

/// The files of all volumes that are made of objects, by volume.
///
/// # Errors
/// The first volume that cannot be made, and why.
pub(crate) fn files(
    store: &Store,
    node: &NodeFacts,
    pod: &Pod,
    pod_ip: Option<IpAddr>,
) -> Result<BTreeMap<String, VolumeFiles>, String> {
    let facts = node.of_pod(pod_ip);
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
mod tests {
    use probelet_model::decode;
    use probelet_store::Durability;
    use serde_json::json;

    use super::*;

    fn node() -> NodeFacts {
        NodeFacts {
            host_ip: IpAddr::from([192, 0, 2, 7]),
            node_name: "here".to_owned(),
            allocatable: Amounts::default(),
        }
    }

    fn pod() -> Pod {
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
        let ip = Some(IpAddr::from([10, 0, 0, 2]));
        let missing = Err("configmap \"paint\" not found".to_owned());
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
        assert_eq!(invocation(&store, &node(), &pod, container, ip), missing);
        assert_eq!(
            files(&store, &node(), &pod, ip),
            Err(
                "MountVolume.SetUp failed for volume \"paint\" : configmap \"paint\" not found"
                    .to_owned()
            )
        );
        put(paint("shop"), "blue");
        let made = invocation(&store, &node(), &pod, container, ip).unwrap();
        assert_eq!(made.argv, ["paint", "blue"]);
        let ip_variable = ("IP".to_owned(), "10.0.0.2".to_owned());
        assert!(made.env.contains(&ip_variable), "{:?}", made.env);
        let files = files(&store, &node(), &pod, ip).unwrap();
        assert_eq!(files["paint"].files[0].content, b"blue");
        assert_eq!(files["about"].files[0].content, b"app=\"web\"");
        assert!(is_made_of(&pod, &paint("shop")));
        assert!(!is_made_of(&pod, &paint("default")));
        assert!(tells_of_itself(&pod));
    }
}
