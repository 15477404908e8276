use serde_json::json;

use super::*;
use crate::world::{World, key, replica_set};

const HOLD: &str = "example.com/hold";

/// A ConfigMap with owners, each with whether it is blocked.
fn owned(name: &str, owners: &[(&ObjectKey, &Value, bool)]) -> Value {
    let references: Vec<Value> = owners
        .iter()
        .map(|(key, uid, blocks)| {
            json!({
                "apiVersion": key.kind.api_version(),
                "kind": key.kind.as_str(),
                "name": key.name,
                "uid": uid,
                "blockOwnerDeletion": blocks,
            })
        })
        .collect();
    json!({
        "metadata": { "name": name, "namespace": "default", "ownerReferences": references },
    })
}

fn uid(world: &World, key: &ObjectKey) -> Value {
    world.get(key).unwrap()["metadata"]["uid"].clone()
}

fn plain(name: &str) -> Value {
    json!({ "metadata": { "name": name, "namespace": "default" } })
}

#[test]
fn who_has_lost_all_owners_goes() {
    let mut world = World::new();
    let one = world.create(Kind::ConfigMap, plain("one"));
    let two = world.create(Kind::Secret, plain("two"));
    let (uid_one, uid_two) = (uid(&world, &one), uid(&world, &two));
    let of_both = owned("both", &[(&one, &uid_one, false), (&two, &uid_two, false)]);
    let of_both = world.create(Kind::ConfigMap, of_both);
    let below = owned("below", &[(&of_both, &uid(&world, &of_both), true)]);
    let below = world.create(Kind::ConfigMap, below);
    world.settle();
    world.delete(&one, Propagation::Background);
    world.settle();
    let left = world.get(&of_both).unwrap();
    assert_eq!(
        object::owners(&left).len(),
        1,
        "the one that is gone is not named any more"
    );
    assert_eq!(object::owners(&left)[0]["uid"], uid_two);
    world.delete(&two, Propagation::Background);
    world.settle();
    assert_eq!(world.get(&of_both), None);
    assert_eq!(world.get(&below), None);
}

#[test]
fn who_names_an_owner_that_never_was_goes() {
    let mut world = World::new();
    let one = world.create(Kind::ConfigMap, plain("one"));
    for (name, owner, of, stays) in [
        ("other-uid", one.clone(), json!("x"), false),
        ("nobody", key(Kind::ConfigMap, "nobody"), json!("x"), false),
        ("mine", one.clone(), uid(&world, &one), true),
    ] {
        let dependant = world.create(Kind::Secret, owned(name, &[(&owner, &of, false)]));
        world.settle();
        assert_eq!(world.get(&dependant).is_some(), stays, "{name}");
    }
    // Of a kind that is not known here nobody can say that it is gone.
    let mut foreign = owned("foreign", &[(&one, &json!("x"), false)]);
    foreign["metadata"]["ownerReferences"][0]["kind"] = "Widget".into();
    let foreign = world.create(Kind::Secret, foreign);
    world.settle();
    assert!(world.get(&foreign).is_some());
}

#[test]
fn a_reference_to_another_namespace_leads_nowhere() {
    let owner = json!({ "metadata": { "name": "one", "namespace": "elsewhere", "uid": "u" } });
    let there = ObjectKey::new(Kind::ConfigMap, "elsewhere", "one");
    let find = |key: &ObjectKey| (*key == there).then(|| Arc::new(owner.clone()));
    let object = owned("mine", &[(&there, &json!("u"), false)]);
    let gone = plan(&key(Kind::Secret, "mine"), &object, &find, &[]);
    assert!(matches!(gone.actions[..], [Action::Delete { .. }]));
    // But out of all namespaces is a place for all.
    let node = ObjectKey::new(Kind::Node, "", "one");
    let find = |key: &ObjectKey| (*key == node).then(|| Arc::new(owner.clone()));
    let object = owned("mine", &[(&node, &json!("u"), false)]);
    let kept = plan(&key(Kind::Secret, "mine"), &object, &find, &[]);
    assert!(kept.is_empty());
}

#[test]
fn the_foreground_waits_for_those_that_block() {
    let mut world = World::new();
    let pod = json!({ "readyAfter": 0, "endsAfter": 5 });
    let set = world.create(Kind::ReplicaSet, replica_set("web", 2, &pod));
    let of = uid(&world, &set);
    let free = world.create(Kind::ConfigMap, owned("free", &[(&set, &of, false)]));
    let held = world.create(Kind::ConfigMap, {
        let mut held = owned("held", &[(&set, &of, false)]);
        held["metadata"]["finalizers"] = json!([HOLD]);
        held
    });
    world.run_until(3);
    world.delete(&set, Propagation::Foreground);
    world.run_until(7);
    let there = world.get(&set).unwrap();
    assert!(object::has_finalizer(&there, FOREGROUND));
    assert_eq!(world.get(&free), None, "whoever it owns goes");
    assert!(object::is_deleting(&world.get(&held).unwrap()));
    assert_eq!(world.alive(), 0);
    assert_eq!(
        world.list(Kind::Pod).len(),
        2,
        "two block it until they have ended"
    );
    world.run_until(8);
    assert_eq!(world.list(Kind::Pod).len(), 0);
    assert_eq!(
        world.get(&set),
        None,
        "what does not block it does not hold it"
    );
    assert!(world.get(&held).is_some());
}

#[test]
fn an_orphaner_lets_go_first() {
    let mut world = World::new();
    let pod = json!({ "readyAfter": 0 });
    let set = world.create(Kind::ReplicaSet, replica_set("web", 2, &pod));
    world.run_until(3);
    world.delete(&set, Propagation::Orphan);
    world.run_until(10);
    assert_eq!(world.get(&set), None);
    assert_eq!(world.alive(), 2);
    for pod in world.list(Kind::Pod) {
        assert_eq!(object::owners(&pod), [] as [Value; 0]);
    }
    // Whoever comes next takes them over.
    world.create(Kind::ReplicaSet, replica_set("web", 3, &pod));
    world.run_until(20);
    assert_eq!(world.alive(), 3);
}

#[test]
fn other_finalizers_keep_an_object_when_ours_is_done() {
    let mut world = World::new();
    for propagation in [Propagation::Foreground, Propagation::Orphan] {
        let mut object = plain("one");
        object["metadata"]["finalizers"] = json!([HOLD]);
        let one = world.create(Kind::ConfigMap, object);
        world.delete(&one, propagation);
        world.settle();
        let there = world.get(&one).unwrap();
        assert_eq!(object::finalizers(&there).collect::<Vec<_>>(), [HOLD]);
        world.change(&one, |one| object::set_finalizers(one, Vec::new()));
        world.delete(&one, Propagation::Background);
        assert_eq!(world.get(&one), None);
    }
}

#[test]
fn a_circle_in_the_foreground_ends() {
    let mut world = World::new();
    let one = world.create(Kind::ConfigMap, plain("one"));
    let of_one = uid(&world, &one);
    let two = world.create(Kind::ConfigMap, owned("two", &[(&one, &of_one, true)]));
    let of_two = uid(&world, &two);
    let owners = owned("one", &[(&two, &of_two, true)])["metadata"]["ownerReferences"].clone();
    world.change(&one, |one| one["metadata"]["ownerReferences"] = owners);
    world.settle();
    world.delete(&one, Propagation::Foreground);
    world.settle();
    assert_eq!(world.list(Kind::ConfigMap).len(), 0);
}

#[test]
fn a_change_concerns_the_object_its_owners_and_its_dependants() {
    let mut known = Dependants::default();
    let owner = key(Kind::ConfigMap, "owner");
    let owner_value = |deleting: bool| {
        let mut value =
            json!({ "metadata": { "name": "owner", "namespace": "default", "uid": "o" } });
        if deleting {
            value["metadata"]["deletionTimestamp"] = "2026-11-28T10:00:00Z".into();
            value["metadata"]["finalizers"] = json!([FOREGROUND]);
        }
        value
    };
    let child = key(Kind::Secret, "child");
    let child_value = owned("child", &[(&owner, &json!("o"), true)]);
    let mut observe = |key: &ObjectKey, before: Option<&Value>, after: Option<&Value>| {
        let concerned = known.observe(key, before, after);
        concerned
            .into_iter()
            .map(|key| key.name)
            .collect::<Vec<_>>()
    };
    let (alive, ending) = (owner_value(false), owner_value(true));
    assert_eq!(observe(&owner, None, Some(&alive)), [] as [&str; 0]);
    assert_eq!(observe(&child, None, Some(&child_value)), ["child"]);
    assert_eq!(observe(&owner, Some(&alive), Some(&alive)), [] as [&str; 0]);
    assert_eq!(
        observe(&owner, Some(&alive), Some(&ending)),
        ["owner", "child"]
    );
    assert_eq!(observe(&child, Some(&child_value), None), ["owner"]);
    assert_eq!(observe(&owner, Some(&ending), None), [] as [&str; 0]);
    assert_eq!(observe(&child, None, Some(&child_value)), ["child"]);
    assert_eq!(observe(&owner, Some(&alive), None), ["child"]);
    let event = key(Kind::Event, "event");
    assert_eq!(observe(&event, None, Some(&child_value)), [] as [&str; 0]);
    assert_eq!(observe(&child, Some(&child_value), None), ["owner"]);
    assert!(known.of.is_empty(), "nothing is kept of who is gone");
}

#[test]
fn a_controller_may_claim_its_own_and_what_is_free() {
    let mut known = Dependants::default();
    let mut observe = |kind: Kind, namespace: &str, name: &str, owner: Option<(&str, bool)>| {
        let mut value = plain(name);
        if let Some((uid, controls)) = owner {
            value["metadata"]["ownerReferences"] = json!([{ "uid": uid, "controller": controls }]);
        }
        let key = ObjectKey::new(kind, namespace, name);
        known.observe(&key, None, Some(&value));
        (key, value)
    };
    observe(Kind::Pod, "default", "mine", Some(("rs", true)));
    observe(Kind::Pod, "default", "yours", Some(("other", true)));
    observe(Kind::Pod, "default", "half", Some(("rs", false)));
    let (loner, before) = observe(Kind::Pod, "default", "loner", None);
    observe(Kind::Pod, "elsewhere", "stranger", None);
    observe(Kind::ReplicaSet, "default", "set", None);
    observe(Kind::ConfigMap, "default", "map", None);
    let names = |known: &Dependants, kind: Kind| -> Vec<String> {
        let claimable = known.claimable(kind, "default", "rs");
        claimable.iter().map(|key| key.name.clone()).collect()
    };
    assert_eq!(names(&known, Kind::Pod), ["half", "loner", "mine"]);
    assert_eq!(names(&known, Kind::ReplicaSet), ["set"]);
    known.observe(&loner, Some(&before), None);
    assert_eq!(names(&known, Kind::Pod), ["half", "mine"]);
}
