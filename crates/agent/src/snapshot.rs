//! What a node holds, as one Kubernetes list.

use probelet_model::id::Kind;
use probelet_store::Store;
use serde_json::{Value, json};

/// A `v1` List of all Pods, Services, Endpoints and Events, in that order, each kind by namespace and
/// name; events by time.
#[must_use]
pub fn list(store: &Store) -> Value {
    let mut items: Vec<Value> = Vec::new();
    for kind in [Kind::Pod, Kind::Service, Kind::Endpoints, Kind::Event] {
        let mut objects: Vec<Value> = store
            .list(kind)
            .0
            .into_iter()
            .map(|object| (*object.value).clone())
            .collect();
        if kind == Kind::Event {
            let time = |value: &Value| {
                value["lastTimestamp"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            };
            objects.sort_by_key(time);
        }
        items.append(&mut objects);
    }
    json!({
        "apiVersion": "v1",
        "kind": "List",
        "metadata": { "resourceVersion": store.version().to_string() },
        "items": items,
    })
}
