//! Events have two shapes: that of `v1`, in which they are stored, and that of `events.k8s.io/v1`.

use std::sync::Arc;

use probelet_model::id::Kind;
use serde_json::{Map, Value};

use crate::resource::Resource;

/// A field in `v1`, and the same in `events.k8s.io/v1`. What has one name in both is not among them.
const NAMES: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// An object of the store in the shape of the group that it is asked for in: an event asked for in
/// `events.k8s.io` has its names there, anything else is as it is.
///
/// Upstream: pkg/apis/events/v1/conversion.go.
/// Shown by: an_event_has_two_shapes, events_are_written_and_read_in_two_shapes.
#[must_use]
pub fn as_asked_for(resource: &Resource, stored: &Arc<Value>) -> Arc<Value> {
    if is_grouped(resource) {
        Arc::new(renamed(stored, resource, |(ours, theirs)| (ours, theirs)))
    } else {
        Arc::clone(stored)
    }
}

/// What has come in for a resource, in the shape in which it is stored.
pub(super) fn as_stored(resource: &Resource, value: Value) -> Value {
    if is_grouped(resource) {
        renamed(&value, Resource::of(Kind::Event), |(ours, theirs)| {
            (theirs, ours)
        })
    } else {
        value
    }
}

fn is_grouped(resource: &Resource) -> bool {
    resource.stored == Some(Kind::Event) && !resource.group.is_empty()
}

fn renamed(
    event: &Value,
    into: &Resource,
    direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) -> Value {
    let fields = event.as_object().into_iter().flatten();
    let mut renamed: Map<String, Value> = fields
        .map(|(name, value)| {
            let pair = NAMES.iter().map(|pair| direction(*pair));
            let name = pair
                .into_iter()
                .find(|(from, _)| from == name)
                .map_or(name.as_str(), |(_, to)| to);
            (name.to_owned(), value.clone())
        })
        .collect();
    renamed.insert("apiVersion".to_owned(), into.api_version().into());
    Value::Object(renamed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_has_two_shapes() {
        let stored = Arc::new(json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "reason": "Killing",
            "involvedObject": {"name": "a"}, "message": "m", "count": 2, "reportingComponent": "p",
            "reportingInstance": "i", "source": {"component": "p"}, "firstTimestamp": "t",
            "lastTimestamp": "u", "eventTime": null, "type": "Normal",
        }));
        let grouped = Resource::find("events.k8s.io", "v1", "events").unwrap();
        let shown = as_asked_for(grouped, &stored);
        assert_eq!(
            *shown,
            json!({
                "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
                "reason": "Killing", "regarding": {"name": "a"}, "note": "m", "deprecatedCount": 2,
                "reportingController": "p", "reportingInstance": "i", "deprecatedSource": {"component": "p"},
                "deprecatedFirstTimestamp": "t", "deprecatedLastTimestamp": "u", "eventTime": null,
                "type": "Normal",
            })
        );
        assert_eq!(as_stored(grouped, (*shown).clone()), *stored);
        let plain = Resource::of(Kind::Event);
        assert_eq!(as_asked_for(plain, &stored), stored);
        assert_eq!(as_stored(plain, (*stored).clone()), *stored);
    }
}
