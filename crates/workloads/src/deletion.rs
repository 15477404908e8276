//! What a request to delete an object makes of it.

use std::time::Duration;

use probelet_model::id::Kind;
use probelet_model::time::Wall;
use serde_json::Value;

use crate::object;
use crate::plan::Propagation;

/// The finalizer of an object whose dependants go first.
///
/// Upstream: apimachinery pkg/apis/meta/v1/types.go, FinalizerDeleteDependents.
/// Shown by: a_propagation_is_a_finalizer.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object whose dependants stay.
///
/// Upstream: apimachinery pkg/apis/meta/v1/types.go, FinalizerOrphanDependents.
/// Shown by: a_propagation_is_a_finalizer.
pub(crate) const ORPHAN: &str = "orphan";

/// An object after a request to delete it.
#[derive(Clone, Debug, PartialEq)]
pub enum Deleted {
    /// It goes at once.
    Gone,
    /// It goes later: a pod when its containers have ended, anything else when its finalizers are gone.
    Later(Value),
}

/// An object after a request to delete it with its own grace. A second request shortens the grace and never
/// lengthens it.
///
/// Upstream: apiserver pkg/registry/rest/delete.go, BeforeDelete; pkg/registry/generic/registry/store.go,
/// deletionFinalizersForGarbageCollection; pkg/registry/core/pod/strategy.go, CheckGracefulDelete.
/// Differs: a pod without a node does not go at once: every pod here is this node's.
/// Shown by: a_pod_has_its_grace, a_propagation_is_a_finalizer.
#[must_use]
pub fn requested(kind: Kind, before: &Value, propagation: Propagation, now: Wall) -> Deleted {
    let mut value = before.clone();
    let others = object::finalizers(before)
        .filter(|name| ![FOREGROUND, ORPHAN].contains(name))
        .map(str::to_owned);
    let own = match propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND.to_owned()),
        Propagation::Orphan => Some(ORPHAN.to_owned()),
    };
    let finalizers: Vec<String> = others.chain(own).collect();
    if kind != Kind::Pod && finalizers.is_empty() {
        return Deleted::Gone;
    }
    object::set_finalizers(&mut value, finalizers);
    let grace = if kind == Kind::Pod { grace(before) } else { 0 };
    let metadata = &mut value["metadata"];
    let earlier = metadata["deletionGracePeriodSeconds"].as_u64();
    let is_shorter = earlier.is_none_or(|earlier| grace < earlier);
    if !metadata["deletionTimestamp"].is_string() || is_shorter {
        let at = now + Duration::from_secs(grace);
        metadata["deletionTimestamp"] = at.to_string().into();
        metadata["deletionGracePeriodSeconds"] = grace.into();
    }
    Deleted::Later(value)
}

/// A pod's own grace, in seconds; none for one that has ended.
fn grace(pod: &Value) -> u64 {
    match pod["status"]["phase"].as_str() {
        Some("Succeeded" | "Failed") => 0,
        _ => pod["spec"]["terminationGracePeriodSeconds"]
            .as_u64()
            .unwrap_or(30),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(seconds: u64) -> Wall {
        Wall::default() + Duration::from_secs(seconds)
    }

    fn later(kind: Kind, before: &Value, propagation: Propagation, now: Wall) -> Value {
        match requested(kind, before, propagation, now) {
            Deleted::Later(value) => value["metadata"].clone(),
            Deleted::Gone => panic!("it is gone"),
        }
    }

    #[test]
    fn a_pod_has_its_grace() {
        let pod = json!({ "metadata": {}, "spec": { "terminationGracePeriodSeconds": 20 } });
        let expected = json!({
            "deletionGracePeriodSeconds": 20,
            "deletionTimestamp": at(120).to_string(),
        });
        let first = later(Kind::Pod, &pod, Propagation::Background, at(100));
        assert_eq!(first, expected);
        let mut deleting = pod;
        deleting["metadata"] = first;
        let second = later(Kind::Pod, &deleting, Propagation::Background, at(110));
        assert_eq!(second, expected, "a second request changes nothing");
        deleting["status"] = json!({ "phase": "Failed" });
        let ended = later(Kind::Pod, &deleting, Propagation::Background, at(115));
        assert_eq!(ended["deletionTimestamp"], at(115).to_string());
        assert_eq!(ended["deletionGracePeriodSeconds"], 0);
    }

    #[test]
    fn a_propagation_is_a_finalizer() {
        let plain = json!({ "metadata": { "name": "web" } });
        let held = json!({ "metadata": { "finalizers": ["orphan", "example.com/hold"] } });
        let background =
            |object: &Value| requested(Kind::ReplicaSet, object, Propagation::Background, at(9));
        assert_eq!(background(&plain), Deleted::Gone);
        for (object, propagation, expected) in [
            (
                &plain,
                Propagation::Foreground,
                json!(["foregroundDeletion"]),
            ),
            (&plain, Propagation::Orphan, json!(["orphan"])),
            (&held, Propagation::Background, json!(["example.com/hold"])),
            (
                &held,
                Propagation::Foreground,
                json!(["example.com/hold", "foregroundDeletion"]),
            ),
        ] {
            let metadata = later(Kind::ReplicaSet, object, propagation, at(9));
            assert_eq!(metadata["finalizers"], expected);
            assert_eq!(metadata["deletionTimestamp"], at(9).to_string());
            assert_eq!(metadata["deletionGracePeriodSeconds"], 0);
        }
        let pod = json!({ "metadata": {}, "spec": {} });
        let pod = later(Kind::Pod, &pod, Propagation::Foreground, at(9));
        assert_eq!(pod["finalizers"], json!(["foregroundDeletion"]));
        assert_eq!(pod["deletionGracePeriodSeconds"], 30);
    }
}
