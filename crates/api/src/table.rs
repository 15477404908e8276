//! Objects as rows: what `kubectl get` prints.
//!
//! One row of the table in this file for each resource; what is in the cells of a pod, a service and so on has a
//! file each. kubectl itself knows nothing of this: it prints what it is given.
//!
//! Upstream: pkg/printers/internalversion/printers.go.
//! Shown by: every_row_has_as_many_cells_as_there_are_columns, the_plain_kinds.

mod age;
mod cells;
mod endpoints;
mod event;
mod node;
mod pod;
mod service;
mod workload;

use std::sync::Arc;

use probelet_model::id::Kind;
use probelet_model::time::Wall;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use crate::negotiate::MetaVersion;
use crate::present::Metadata;
use crate::resource::Resource;
use cells::{age_of, length, name_of, number, text};

/// `includeObject`: what of the object comes with its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// `PartialObjectMetadata`.
    #[default]
    Metadata,
    /// All of it.
    Object,
    /// Nothing.
    None,
}

/// A column.
struct Column {
    name: &'static str,
    /// `string`, `integer`.
    kind: &'static str,
    /// What is in it, for people.
    description: &'static str,
    /// It is shown by `-o wide` alone.
    wide: bool,
}

const fn column(name: &'static str, description: &'static str) -> Column {
    Column {
        name,
        kind: "string",
        description,
        wide: false,
    }
}

const fn wide(name: &'static str, description: &'static str) -> Column {
    Column {
        wide: true,
        ..column(name, description)
    }
}

const fn count(name: &'static str, description: &'static str) -> Column {
    Column {
        kind: "integer",
        ..column(name, description)
    }
}

const NAME: Column = column(
    "Name",
    "The object's name, unique among those of its kind and namespace.",
);
const AGE: Column = column("Age", "How long ago the object was created.");
const CONTAINERS: Column = wide("Containers", "Names of each container in the template.");
const IMAGES: Column = wide(
    "Images",
    "Images referenced by each container in the template.",
);

const POD: &[Column] = &[
    NAME,
    column(
        "Ready",
        "The aggregate readiness state of this pod for accepting traffic.",
    ),
    column(
        "Status",
        "The aggregate status of the containers in this pod.",
    ),
    column(
        "Restarts",
        "The number of times the containers in this pod have been restarted and when the last container in this pod \
         has restarted.",
    ),
    AGE,
    wide("IP", "The pod's address."),
    wide("Node", "The node that the pod runs on."),
    wide(
        "Nominated Node",
        "The node that the pod is to run on once others have made room.",
    ),
    wide(
        "Readiness Gates",
        "How many of the pod's own conditions for readiness hold.",
    ),
];
const SERVICE: &[Column] = &[
    NAME,
    column("Type", "How the service is exposed."),
    column("Cluster-IP", "The service's own address."),
    column(
        "External-IP",
        "Further addresses under which the service is reached.",
    ),
    column("Port(s)", "The ports that the service has."),
    AGE,
    wide(
        "Selector",
        "The labels of the pods that get the service's traffic.",
    ),
];
const ENDPOINTS: &[Column] = &[
    NAME,
    column("Endpoints", "The addresses and ports that get traffic."),
    AGE,
];
const ENDPOINT_SLICE: &[Column] = &[
    NAME,
    column("AddressType", "What kind of address each endpoint has."),
    column("Ports", "The ports of each endpoint."),
    column("Endpoints", "The addresses of the endpoints."),
    AGE,
];
const EVENT: &[Column] = &[
    column("Last Seen", "How long ago it was last seen."),
    column("Type", "Normal or Warning."),
    column("Reason", "Why it was, in one word."),
    column("Object", "What it is about."),
    wide("Subobject", "Which part of the object it is about."),
    wide("Source", "Who has told of it."),
    column("Message", "What happened."),
    wide("First Seen", "How long ago it was first seen."),
    wide("Count", "How often it was seen."),
    Column { wide: true, ..NAME },
];
const NAMESPACE: &[Column] = &[NAME, column("Status", "The status of the namespace"), AGE];
const SECRET: &[Column] = &[
    NAME,
    column("Type", "What kind of secret it is."),
    column("Data", "How many entries it has."),
    AGE,
];
const CONFIG_MAP: &[Column] = &[NAME, column("Data", "How many entries it has."), AGE];
const SERVICE_ACCOUNT: &[Column] = &[
    NAME,
    column("Secrets", "How many secrets its pods may use."),
    AGE,
];
const NODE: &[Column] = &[
    NAME,
    column("Status", "The status of the node"),
    column("Roles", "The roles of the node"),
    AGE,
    column("Version", "The version of what runs the node's pods."),
    wide("Internal-IP", "The node's address."),
    wide("External-IP", "The node's address to the outside."),
    wide("OS-Image", "The operating system."),
    wide("Kernel-Version", "The kernel."),
    wide("Container-Runtime", "What runs the containers."),
];
const DEPLOYMENT: &[Column] = &[
    NAME,
    column("Ready", "Number of the pod with ready state"),
    column(
        "Up-to-date",
        "How many pods are made from the template as it is now.",
    ),
    column(
        "Available",
        "How many pods have been ready for long enough.",
    ),
    AGE,
    CONTAINERS,
    IMAGES,
    wide("Selector", "The labels of the pods that belong to it."),
];
const REPLICA_SET: &[Column] = &[
    NAME,
    count("Desired", "How many pods there are to be."),
    count("Current", "How many pods there are."),
    count("Ready", "How many pods are ready."),
    AGE,
    CONTAINERS,
    IMAGES,
    wide("Selector", "The labels of the pods that belong to it."),
];
const LEASE: &[Column] = &[NAME, column("Holder", "Who holds it."), AGE];
const RUNTIME_CLASS: &[Column] = &[
    NAME,
    column("Handler", "What runs the pods of this class."),
    AGE,
];
const SCALE: &[Column] = &[
    NAME,
    count("Desired", "How many pods there are to be."),
    count("Available", "How many pods there are."),
    AGE,
];
/// Of what has no columns of its own.
const ANYTHING: &[Column] = &[NAME, AGE];

const fn of(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::Pod => POD,
        Kind::Service => SERVICE,
        Kind::Endpoints => ENDPOINTS,
        Kind::Event => EVENT,
        Kind::Namespace => NAMESPACE,
        Kind::ConfigMap => CONFIG_MAP,
        Kind::Secret => SECRET,
        Kind::ServiceAccount => SERVICE_ACCOUNT,
        Kind::Node => NODE,
        Kind::EndpointSlice => ENDPOINT_SLICE,
        Kind::Lease => LEASE,
        Kind::ReplicaSet => REPLICA_SET,
        Kind::Deployment => DEPLOYMENT,
        Kind::RuntimeClass => RUNTIME_CLASS,
    }
}

/// `columnDefinitions` of a resource.
#[must_use]
pub fn columns(resource: &Resource) -> Value {
    told(resource.stored.map_or(ANYTHING, of))
}

/// `columnDefinitions` of what lies below `deployments` as `scale`.
#[must_use]
pub fn columns_of_scale() -> Value {
    told(SCALE)
}

fn told(columns: &[Column]) -> Value {
    let told = |column: &Column| {
        json!({
            "name": column.name,
            "type": column.kind,
            "format": if column.name == NAME.name { "name" } else { "" },
            "description": column.description,
            "priority": i32::from(column.wide),
        })
    };
    columns.iter().map(told).collect()
}

/// A row, which shares its object with the store until it is written.
#[derive(Clone, Debug)]
pub struct Row {
    cells: Vec<Value>,
    object: Arc<Value>,
    include: IncludeObject,
    conditions: Option<Value>,
}

impl Row {
    fn new(object: &Arc<Value>, cells: Vec<Value>, include: IncludeObject) -> Self {
        Self {
            cells,
            object: Arc::clone(object),
            include,
            conditions: None,
        }
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_map(None)?;
        row.serialize_entry("cells", &self.cells)?;
        if let Some(conditions) = &self.conditions {
            row.serialize_entry("conditions", conditions)?;
        }
        match self.include {
            IncludeObject::Metadata => {
                let metadata = Metadata::of(MetaVersion::V1, &self.object);
                row.serialize_entry("object", &metadata)?;
            }
            IncludeObject::Object => row.serialize_entry("object", self.object.as_ref())?,
            IncludeObject::None => {}
        }
        row.end()
    }
}

/// The rows of some objects, ages counted until `now`.
#[must_use]
pub fn rows(
    resource: &Resource,
    objects: &[Arc<Value>],
    include: IncludeObject,
    now: Wall,
) -> Vec<Row> {
    let row = |object: &Arc<Value>| Row {
        conditions: conditions(resource, object),
        ..Row::new(object, cells(resource, object, now), include)
    };
    objects.iter().map(row).collect()
}

/// The row of a `Scale`.
#[must_use]
pub fn row_of_scale(scale: &Arc<Value>, include: IncludeObject, now: Wall) -> Row {
    let cells = vec![
        name_of(scale).into(),
        number(&scale["spec"]["replicas"]).into(),
        number(&scale["status"]["replicas"]).into(),
        age_of(scale, now).into(),
    ];
    Row::new(scale, cells, include)
}

/// The cells of one row, as many as there are columns.
fn cells(resource: &Resource, object: &Value, now: Wall) -> Vec<Value> {
    let name = || Value::from(name_of(object));
    let age = || Value::from(age_of(object, now));
    let Some(kind) = resource.stored else {
        return vec![name(), age()];
    };
    match kind {
        Kind::Pod => pod::cells(object, now),
        Kind::Service => service::cells(object, now),
        Kind::Endpoints => vec![name(), endpoints::of_endpoints(object).into(), age()],
        Kind::EndpointSlice => endpoints::cells_of_slice(object, now),
        Kind::Event => event::cells(object, now),
        Kind::Namespace => vec![name(), text(&object["status"]["phase"]).into(), age()],
        Kind::ConfigMap => {
            let entries = length(&object["data"]) + length(&object["binaryData"]);
            vec![name(), entries.into(), age()]
        }
        Kind::Secret => {
            let entries = length(&object["data"]);
            vec![name(), text(&object["type"]).into(), entries.into(), age()]
        }
        Kind::ServiceAccount => vec![name(), length(&object["secrets"]).into(), age()],
        Kind::Node => node::cells(object, now),
        Kind::Lease => {
            let holder = text(&object["spec"]["holderIdentity"]);
            vec![name(), holder.into(), age()]
        }
        Kind::ReplicaSet => workload::cells_of_replica_set(object, now),
        Kind::Deployment => workload::cells_of_deployment(object, now),
        Kind::RuntimeClass => vec![name(), text(&object["handler"]).into(), age()],
    }
}

/// That a row will not change any more, which lets a client hide it.
fn conditions(resource: &Resource, object: &Value) -> Option<Value> {
    if resource.stored != Some(Kind::Pod) {
        return None;
    }
    let (reason, message) = match text(&object["status"]["phase"]) {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::RESOURCES;

    #[test]
    fn every_row_has_as_many_cells_as_there_are_columns() {
        let empty = json!({"metadata": {"name": "a"}});
        for resource in RESOURCES {
            let columns = columns(resource).as_array().unwrap().len();
            let cells = cells(resource, &empty, Wall(0)).len();
            assert_eq!(cells, columns, "{}", resource.plural);
        }
    }

    #[test]
    fn the_plain_kinds() {
        let now = Wall(1_700_000_000_000_000_000);
        let check = |group: &str, plural: &str, rest: Value, expected: Value| {
            let mut object = rest;
            object["metadata"] = json!({"name": "n", "creationTimestamp": "2023-11-14T22:08:20Z"});
            let resource = Resource::find(group, "v1", plural).unwrap();
            assert_eq!(
                Value::Array(cells(resource, &object, now)),
                expected,
                "{plural}"
            );
        };
        check(
            "",
            "namespaces",
            json!({"status": {"phase": "Active"}}),
            json!(["n", "Active", "5m"]),
        );
        check(
            "",
            "configmaps",
            json!({"data": {"a": "", "b": ""}, "binaryData": {"c": ""}}),
            json!(["n", 3, "5m"]),
        );
        check(
            "",
            "secrets",
            json!({"type": "Opaque", "data": {"a": ""}}),
            json!(["n", "Opaque", 1, "5m"]),
        );
        check(
            "",
            "serviceaccounts",
            json!({"secrets": [{}, {}]}),
            json!(["n", 2, "5m"]),
        );
        check(
            "coordination.k8s.io",
            "leases",
            json!({"spec": {"holderIdentity": "h"}}),
            json!(["n", "h", "5m"]),
        );
        check(
            "coordination.k8s.io",
            "leases",
            json!({"spec": {}}),
            json!(["n", "", "5m"]),
        );
        check(
            "node.k8s.io",
            "runtimeclasses",
            json!({"handler": "host"}),
            json!(["n", "host", "5m"]),
        );
    }

    #[test]
    fn a_scale_has_columns_of_its_own() {
        let scale =
            json!({"metadata": {"name": "d"}, "spec": {"replicas": 3}, "status": {"replicas": 2}});
        let row = row_of_scale(&Arc::new(scale), IncludeObject::None, Wall(0));
        assert_eq!(
            serde_json::to_value(row).unwrap(),
            json!({"cells": ["d", 3, 2, "<unknown>"]})
        );
        assert_eq!(columns_of_scale().as_array().unwrap().len(), 4);
    }

    #[test]
    fn a_row_brings_of_its_object_what_is_asked_for() {
        let pods = Resource::find("", "v1", "pods").unwrap();
        let pod = Arc::new(
            json!({"kind": "Pod", "metadata": {"name": "a"}, "status": {"phase": "Failed"}}),
        );
        let row = |include| {
            let row = rows(pods, std::slice::from_ref(&pod), include, Wall(0)).remove(0);
            serde_json::to_value(row).unwrap()
        };
        assert_eq!(
            row(IncludeObject::Metadata)["object"]["kind"],
            "PartialObjectMetadata"
        );
        assert_eq!(
            row(IncludeObject::Metadata)["object"]["metadata"]["name"],
            "a"
        );
        assert_eq!(row(IncludeObject::Object)["object"], *pod);
        assert_eq!(row(IncludeObject::None).get("object"), None);
        assert_eq!(
            row(IncludeObject::None)["conditions"][0]["reason"],
            "Failed"
        );
    }
}
