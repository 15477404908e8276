//! The EndpointSlices of a Service.

use std::collections::BTreeMap;
use std::sync::Arc;

use probelet_engine::effect::EndpointsChange;
use probelet_model::id::{Kind, ObjectKey};
use probelet_model::service::{EndpointSlice, SliceEndpoint};
use probelet_model::time::Wall;
use probelet_store::{Transaction, WriteError};
use serde_json::{Value, json};

use super::{HEADLESS, TRIGGER_TIME};
use crate::objects;

/// The label that says whose a slice is.
///
/// Upstream: staging/src/k8s.io/api/discovery/v1/well_known_labels.go, LabelServiceName.
/// Shown by: a_service_has_a_slice_for_each_set_of_ports.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label that says who makes a slice; others leave it alone.
///
/// Upstream: staging/src/k8s.io/api/discovery/v1/well_known_labels.go, LabelManagedBy.
/// Shown by: a_service_has_a_slice_for_each_set_of_ports.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// What upstream's controller calls itself.
const CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// Brings the slices of a Service up to date: those with ports that it no longer has go.
pub(super) fn write(
    transaction: &mut Transaction<'_>,
    change: &EndpointsChange,
    now: Wall,
) -> Result<(), WriteError> {
    let Some(service) = transaction.get(&change.service) else {
        return Ok(());
    };
    let service = Arc::clone(&service.value);
    let mut wanted: BTreeMap<ObjectKey, &EndpointSlice> = change
        .slices
        .iter()
        .map(|slice| (key_of(&change.service, slice), slice))
        .collect();
    for there in ours(transaction, &change.service) {
        if !wanted.contains_key(&there) {
            transaction.delete(&there, None)?;
        }
    }
    while let Some((key, slice)) = wanted.pop_first() {
        let there = transaction.get(&key).map(|there| Arc::clone(&there.value));
        let value = made(&key, there.as_deref(), &service, slice, change, now);
        transaction.put_any(key, value)?;
    }
    Ok(())
}

/// Deletes the slices of a Service that is gone.
pub(crate) fn delete(
    transaction: &mut Transaction<'_>,
    service: &ObjectKey,
) -> Result<(), WriteError> {
    for key in ours(transaction, service) {
        transaction.delete(&key, None)?;
    }
    Ok(())
}

fn ours(transaction: &Transaction<'_>, service: &ObjectKey) -> Vec<ObjectKey> {
    let all = transaction.list(Kind::EndpointSlice);
    let ours = all.into_iter().filter(|object| {
        let labels = &object.value["metadata"]["labels"];
        object.key.namespace == service.namespace
            && labels[SERVICE_NAME] == *service.name
            && labels[MANAGED_BY] == CONTROLLER
    });
    ours.map(|object| object.key.clone()).collect()
}

/// A name that the same ports of the same Service always have. Upstream's is random; nobody asks for a slice by
/// its name.
fn key_of(service: &ObjectKey, slice: &EndpointSlice) -> ObjectKey {
    /// Upstream's letters for generated names: none that could make a word.
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let ports: String = slice
        .ports
        .iter()
        .map(|port| format!("{}/{}/{:?};", port.name, port.port, port.protocol))
        .collect();
    let text = format!("{}:{ports}", slice.is_ipv6);
    // FNV-1a: the same in every build.
    let mut hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut suffix = String::new();
    for _ in 0..5 {
        let letter = hash % LETTERS.len() as u64;
        hash /= LETTERS.len() as u64;
        suffix.push(char::from(LETTERS[usize::try_from(letter).unwrap_or(0)]));
    }
    let name = format!("{}-{suffix}", service.name);
    ObjectKey::new(Kind::EndpointSlice, &service.namespace, name)
}

fn made(
    key: &ObjectKey,
    there: Option<&Value>,
    service: &Value,
    slice: &EndpointSlice,
    change: &EndpointsChange,
    now: Wall,
) -> Value {
    let mut value = there.map_or_else(|| objects::made(key, now, &json!({})), Value::clone);
    let mut labels = service["metadata"]
        .get("labels")
        .cloned()
        .unwrap_or_else(|| json!({}));
    labels[SERVICE_NAME] = change.service.name.as_str().into();
    labels[MANAGED_BY] = CONTROLLER.into();
    if service["spec"]["clusterIP"] == "None" {
        labels[HEADLESS] = "".into();
    }
    let endpoints: Value = slice.endpoints.iter().map(endpoint).collect();
    let ports: Value = slice
        .ports
        .iter()
        .map(|port| json!({"name": port.name, "port": port.port, "protocol": port.protocol}))
        .collect();
    let same = there.is_some_and(|there| {
        there["endpoints"] == endpoints
            && there["ports"] == ports
            && there["metadata"]["labels"] == labels
    });
    if same {
        return value;
    }
    let generation = value["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
    let metadata = objects::metadata_of(&mut value);
    metadata.insert(
        "generateName".to_owned(),
        format!("{}-", change.service.name).into(),
    );
    metadata.insert("generation".to_owned(), generation.into());
    metadata.insert("labels".to_owned(), labels);
    metadata.insert(
        "ownerReferences".to_owned(),
        json!([{
            "apiVersion": "v1",
            "kind": "Service",
            "name": change.service.name,
            "uid": service["metadata"]["uid"],
            "controller": true,
            "blockOwnerDeletion": true,
        }]),
    );
    match change.trigger_time {
        Some(time) => metadata.insert(
            "annotations".to_owned(),
            json!({ TRIGGER_TIME: time.to_string() }),
        ),
        None => metadata.remove("annotations"),
    };
    value["addressType"] = if slice.is_ipv6 { "IPv6" } else { "IPv4" }.into();
    value["endpoints"] = endpoints;
    value["ports"] = ports;
    value
}

fn endpoint(endpoint: &SliceEndpoint) -> Value {
    let address = &endpoint.address;
    let mut value = json!({
        "addresses": [address.ip],
        "conditions": endpoint.conditions,
        "nodeName": address.node_name,
        "targetRef": address.target_ref,
    });
    if let Some(hostname) = &address.hostname {
        value["hostname"] = hostname.as_str().into();
    }
    value
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use probelet_model::id::PodUid;
    use probelet_model::pod::Protocol;
    use probelet_model::service::{
        EndpointAddress, EndpointPort, Endpoints, SliceConditions, TargetRef,
    };
    use probelet_store::{Durability, Store};

    use super::*;

    fn slice(port: u16, pods: &[u8]) -> EndpointSlice {
        let endpoint = |last: &u8| SliceEndpoint {
            address: EndpointAddress {
                ip: IpAddr::from([10, 213, 0, *last]),
                hostname: None,
                node_name: "node".to_owned(),
                target_ref: TargetRef {
                    kind: "Pod".to_owned(),
                    namespace: "default".to_owned(),
                    name: format!("web-{last}"),
                    uid: PodUid::from("u"),
                },
            },
            conditions: SliceConditions {
                ready: true,
                serving: true,
                terminating: false,
            },
        };
        EndpointSlice {
            is_ipv6: false,
            endpoints: pods.iter().map(endpoint).collect(),
            ports: vec![EndpointPort {
                name: String::new(),
                port,
                protocol: Protocol::Tcp,
            }],
        }
    }

    #[test]
    fn a_service_has_a_slice_for_each_set_of_ports() {
        let store = Store::in_memory();
        let service = ObjectKey::new(Kind::Service, "default", "web");
        let write = |slices: Vec<EndpointSlice>| {
            let change = EndpointsChange {
                service: service.clone(),
                endpoints: Endpoints::default(),
                slices,
                trigger_time: None,
            };
            let written = store.transact(Durability::Derived, |transaction| {
                write(transaction, &change, Wall::default())
            });
            written.unwrap();
            store.list(Kind::EndpointSlice).0
        };
        store
            .transact(Durability::Derived, |transaction| {
                let value =
                    json!({ "metadata": { "uid": "s", "labels": { "app": "web" } }, "spec": {} });
                transaction.create(service.clone(), value).map(drop)
            })
            .unwrap();
        let two = write(vec![slice(8080, &[1, 2]), slice(9090, &[3])]);
        assert_eq!(two.len(), 2);
        let first = two
            .iter()
            .find(|object| object.value["ports"][0]["port"] == 8080)
            .unwrap();
        assert_eq!(
            first.value["metadata"]["labels"],
            json!({ "app": "web", SERVICE_NAME: "web", MANAGED_BY: CONTROLLER })
        );
        assert_eq!(first.value["metadata"]["ownerReferences"][0]["uid"], "s");
        assert_eq!(first.value["apiVersion"], "discovery.k8s.io/v1");
        assert_eq!(first.value["addressType"], "IPv4");
        assert_eq!(
            first.value["endpoints"][1],
            json!({
                "addresses": ["10.213.0.2"],
                "conditions": { "ready": true, "serving": true, "terminating": false },
                "nodeName": "node",
                "targetRef": { "kind": "Pod", "namespace": "default", "name": "web-2", "uid": "u" },
            })
        );

        assert_eq!(
            write(vec![slice(8080, &[1, 2]), slice(9090, &[3])]),
            two,
            "nothing changed"
        );
        let one = write(vec![slice(8080, &[2])]);
        assert_eq!(one.len(), 1);
        assert_eq!(one[0].key, first.key);
        assert_eq!(one[0].value["metadata"]["generation"], 2);
        store
            .transact(Durability::Derived, |transaction| {
                delete(transaction, &service)
            })
            .unwrap();
        assert!(store.list(Kind::EndpointSlice).0.is_empty());
    }
}
