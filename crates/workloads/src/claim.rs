//! Who belongs to a controller: adopting orphans that its selector selects, letting go of those it no longer
//! does.

use probelet_model::id::Kind;
use serde_json::{Value, json};

use crate::object;
use crate::selector::selects;

/// What an object is to a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is the controller's.
    Own,
    /// It becomes the controller's.
    Adopt,
    /// It was the controller's, and is not any more.
    Release,
    /// It is none of the controller's business.
    Foreign,
}

/// What `of` is to `controller`, in the same namespace.
///
/// Upstream: pkg/controller/controller_ref_manager.go, BaseControllerRefManager.ClaimObject.
/// Shown by: orphans_are_adopted_and_strangers_let_go.
pub(crate) fn claim(controller: &Value, of: &Value) -> Claim {
    let selected = selects(controller, of);
    let ending = object::is_deleting(controller);
    match object::controller(of) {
        Some(owner) if owner["uid"] != object::uid(controller) => Claim::Foreign,
        Some(_) if selected => Claim::Own,
        Some(_) if ending => Claim::Foreign,
        Some(_) => Claim::Release,
        None if selected && !ending && !object::is_deleting(of) => Claim::Adopt,
        None => Claim::Foreign,
    }
}

/// The reference that makes `controller` the one who manages an object.
///
/// Upstream: apimachinery pkg/apis/meta/v1/controller_ref.go, NewControllerRef.
/// Shown by: a_pod_is_made_from_the_template.
pub(crate) fn reference(kind: Kind, controller: &Value) -> Value {
    json!({
        "apiVersion": kind.api_version(),
        "kind": kind.as_str(),
        "name": object::name(controller),
        "uid": object::uid(controller),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// The object as it is once `controller` has adopted it.
pub(crate) fn adopted(kind: Kind, controller: &Value, of: &Value) -> Value {
    let mut owners = released_owners(controller, of);
    owners.push(reference(kind, controller));
    let mut value = of.clone();
    object::set_owners(&mut value, owners);
    value
}

/// The object as it is once `controller` has let go of it.
pub(crate) fn released(controller: &Value, of: &Value) -> Value {
    let mut value = of.clone();
    object::set_owners(&mut value, released_owners(controller, of));
    value
}

fn released_owners(controller: &Value, of: &Value) -> Vec<Value> {
    let uid = object::uid(controller);
    let others = object::owners(of)
        .iter()
        .filter(|owner| owner["uid"] != uid);
    others.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orphans_are_adopted_and_strangers_let_go() {
        let controller = |deleting: bool| {
            let mut value = json!({
                "metadata": { "name": "web", "uid": "rs" },
                "spec": { "selector": { "matchLabels": { "app": "web" } } },
            });
            if deleting {
                value["metadata"]["deletionTimestamp"] = "2026-11-28T10:00:00Z".into();
            }
            value
        };
        let object = |label: &str, owner: Option<&str>, deleting: bool| {
            let mut value = json!({ "metadata": { "labels": { "app": label } } });
            if let Some(uid) = owner {
                value["metadata"]["ownerReferences"] = json!([
                    { "uid": "bystander" },
                    { "uid": uid, "controller": true },
                ]);
            }
            if deleting {
                value["metadata"]["deletionTimestamp"] = "2026-11-28T10:00:00Z".into();
            }
            value
        };
        for (label, owner, deleting, alive, ending) in [
            ("web", Some("rs"), false, Claim::Own, Claim::Own),
            ("web", Some("rs"), true, Claim::Own, Claim::Own),
            ("web", Some("other"), false, Claim::Foreign, Claim::Foreign),
            ("web", None, false, Claim::Adopt, Claim::Foreign),
            ("web", None, true, Claim::Foreign, Claim::Foreign),
            ("db", Some("rs"), false, Claim::Release, Claim::Foreign),
            ("db", Some("other"), false, Claim::Foreign, Claim::Foreign),
            ("db", None, false, Claim::Foreign, Claim::Foreign),
        ] {
            let of = object(label, owner, deleting);
            let found = [false, true].map(|deleting| claim(&controller(deleting), &of));
            assert_eq!(found, [alive, ending], "{of}");
        }
        let controller = controller(false);
        let free = object("db", Some("rs"), false);
        let free = released(&controller, &free);
        assert_eq!(object::owners(&free), [json!({ "uid": "bystander" })]);
        let mine = adopted(Kind::ReplicaSet, &controller, &free);
        assert_eq!(object::controller(&mine).unwrap()["uid"], "rs");
        assert_eq!(object::owners(&mine).len(), 2);
        let alone = released(&controller, &object("db", None, false));
        assert_eq!(alone["metadata"].get("ownerReferences"), None);
    }
}
