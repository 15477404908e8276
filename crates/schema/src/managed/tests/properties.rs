//! What holds for whoever writes whatever.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::merge::merge;
use super::super::reset::NEVER_TRACKED;
use super::super::set::FieldSet;
use super::super::value::fields_of;
use super::{Server, bare};

/// Parts of a Deployment that somebody may apply: maps, lists by keys, scalars, atomic ones.
fn parts() -> impl Strategy<Value = Value> {
    let letter = || "[a-c]";
    let labels = || prop::collection::btree_map(letter(), "[12]", 0..3);
    let env = prop::collection::btree_map(letter(), "[12]", 0..3).prop_map(|env| {
        let env = env.into_iter();
        env.map(|(name, value)| json!({"name": name, "value": value}))
            .collect::<Vec<_>>()
    });
    let container = (env, prop::option::of("[12]"), prop::option::of("[12]")).prop_map(
        |(env, image, argument)| {
            let mut container = json!({});
            if !env.is_empty() {
                container["env"] = json!(env);
            }
            if let Some(image) = image {
                container["image"] = json!(image);
            }
            if let Some(argument) = argument {
                container["args"] = json!([argument]);
            }
            container
        },
    );
    let containers =
        prop::collection::btree_map(letter(), container, 0..3).prop_map(|containers| {
            let containers = containers.into_iter();
            containers
                .map(|(name, mut container)| {
                    container["name"] = json!(name);
                    container
                })
                .collect::<Vec<_>>()
        });
    let containers = containers.prop_shuffle();
    (
        labels(),
        containers,
        prop::option::of(1..3),
        prop::option::of(labels()),
    )
        .prop_map(|(labels, containers, replicas, selector)| {
            let mut object = bare();
            if !labels.is_empty() {
                object["metadata"]["labels"] = json!(labels);
            }
            if !containers.is_empty() {
                object["spec"]["template"]["spec"]["containers"] = json!(containers);
            }
            if let Some(replicas) = replicas {
                object["spec"]["replicas"] = json!(replicas);
            }
            if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
                object["spec"]["selector"] = json!({"matchLabels": selector});
            }
            object
        })
}

/// With `x` for each `a`, and so on, where it is a name or a value of one letter.
fn renamed(value: Value) -> Value {
    let rename = |text: String| match text.as_str() {
        "a" => "x".to_owned(),
        "b" => "y".to_owned(),
        "c" => "z".to_owned(),
        _ => text,
    };
    match value {
        Value::String(text) => rename(text).into(),
        Value::Array(items) => items.into_iter().map(renamed).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (rename(name), renamed(value)))
            .collect(),
        other => other,
    }
}

fn set_of(server: &Server, manager: &str) -> FieldSet {
    match server.fields(manager) {
        Value::Null => FieldSet::new(),
        fields => FieldSet::decode(&fields).unwrap(),
    }
}

proptest! {
    #[test]
    fn to_apply_twice_changes_nothing(first in parts(), other in parts(), applied in parts()) {
        let mut server = Server::of("apps/v1", "Deployment");
        server.update("updater", first);
        server.force("other", &other);
        server.force("applier", &applied);
        let before = server.live.clone();
        server.apply("applier", &applied).unwrap();
        prop_assert_eq!(&server.live, &before);
        // Nor can anybody conflict who applies what is there.
        let copy = server.object();
        prop_assert!(server.apply("copier", &copy).is_ok());
        prop_assert_eq!(server.object(), copy);
    }

    #[test]
    fn what_is_applied_is_there_and_owned(first in parts(), applied in parts()) {
        let mut server = Server::of("apps/v1", "Deployment");
        server.force("first", &first);
        server.force("applier", &applied);
        // Everything applied is in the object: to apply it again over it changes nothing.
        let merged = merge(server.schema, &server.object(), &applied);
        prop_assert_eq!(merged.as_ref(), Ok(&server.object()));
        // Each owns of what it applied what is still as it applied it, and the object has nothing else.
        let applied_set = fields_of(server.schema, &applied)
            .without(&NEVER_TRACKED);
        prop_assert_eq!(set_of(&server, "applier"), applied_set);
        let all = set_of(&server, "applier").union(set_of(&server, "first"));
        let there = fields_of(server.schema, &server.object())
            .without(&NEVER_TRACKED);
        prop_assert_eq!(there.without(&all).paths(), Vec::<String>::new());
    }

    #[test]
    fn appliers_of_different_fields_never_conflict(one in parts(), two in parts()) {
        // The names of the one are not the other's, and of what has no name one has nothing.
        let mut two = renamed(two);
        let spec = two.get_mut("spec").and_then(Value::as_object_mut);
        if let Some(spec) = spec {
            spec.retain(|name, _| name == "template");
        }
        if two["spec"] == json!({}) || two["spec"].is_null() {
            two.as_object_mut().unwrap().remove("spec");
        }
        let mut server = Server::of("apps/v1", "Deployment");
        prop_assert!(server.apply("one", &one).is_ok());
        prop_assert!(server.apply("two", &two).is_ok());
        prop_assert!(server.apply("one", &one).is_ok());
        // And each takes away its own alone.
        prop_assert!(server.apply("two", &bare()).is_ok());
        prop_assert_eq!(server.object(), one);
    }

    #[test]
    fn who_applies_nothing_any_more_leaves_nothing(first in parts(), second in parts()) {
        let mut server = Server::of("apps/v1", "Deployment");
        server.apply("applier", &first).unwrap();
        server.apply("applier", &second).unwrap();
        server.apply("applier", &bare()).unwrap();
        prop_assert_eq!(server.entries(), Vec::<Value>::new());
        prop_assert_eq!(server.object(), bare());
    }

    #[test]
    fn an_update_leaves_no_field_to_two(first in parts(), second in parts(), third in parts()) {
        let mut server = Server::of("apps/v1", "Deployment");
        server.update("a", first);
        server.update("b", second);
        server.update("c", third);
        for (one, other) in [("a", "b"), ("b", "c"), ("a", "c")] {
            let both = set_of(&server, one).intersection(&set_of(&server, other));
            prop_assert_eq!(both.paths(), Vec::<String>::new());
        }
    }
}
