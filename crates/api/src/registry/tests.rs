//! The registry over a store in memory, driven as the server drives it.

mod applying;
mod below;
mod creating;
mod deleting;
mod listing;
mod patching;
mod random;
mod updating;

use std::sync::LazyLock;

use probelet_model::id::ObjectKey;
use probelet_store::Durability;
use serde_json::json;

use super::*;
use crate::request::FieldValidation;
use crate::resource::Resource;

/// 2026-11-23T10:00:00Z.
const NOW: Wall = Wall(1_795_428_000_000_000_000);
const STAMP: &str = "2026-11-23T10:00:00Z";

static SIGNER: LazyLock<Arc<TokenSigner>> = LazyLock::new(|| {
    let key = TokenSigner::new_key().unwrap();
    Arc::new(TokenSigner::with_key(&key).unwrap())
});

fn settings() -> Settings {
    Settings {
        default_runtime_class: Some("host".to_owned()),
        node_name: "here".to_owned(),
        clock: || NOW,
        tokens: Arc::clone(&SIGNER),
    }
}

/// A registry over `store`, in which there are the namespaces `default` and `other`.
fn over(store: Store) -> Registry {
    for name in ["default", "other"] {
        let key = ObjectKey::new(probelet_model::id::Kind::Namespace, "", name);
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": name},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
        });
        store
            .transact(Durability::Derived, |transaction| {
                transaction
                    .put_any(key.clone(), namespace.clone())
                    .map(drop)
            })
            .unwrap();
    }
    Registry::new(Arc::new(store), settings())
}

fn registry() -> Registry {
    over(Store::in_memory())
}

/// `pods`, `deployments/web`, `pods/web/status`; a resource that is not namespaced has no namespace.
fn at(path: &str) -> Target {
    within("default", path)
}

fn within(namespace: &str, path: &str) -> Target {
    let mut parts = path.split('/');
    let plural = parts.next().unwrap();
    let resource = crate::resource::RESOURCES
        .iter()
        .find(|resource| resource.plural == plural)
        .unwrap();
    Target {
        resource,
        namespace: if resource.namespaced {
            namespace.to_owned()
        } else {
            String::new()
        },
        name: parts.next().map(str::to_owned),
        subresource: parts
            .next()
            .map(|below| resource.subresource(below).unwrap()),
    }
}

fn by(manager: &str) -> WriteOptions {
    WriteOptions {
        field_manager: manager.to_owned(),
        ..WriteOptions::default()
    }
}

fn rehearsal() -> WriteOptions {
    WriteOptions {
        dry_run: true,
        ..by("test")
    }
}

fn strict() -> WriteOptions {
    WriteOptions {
        field_validation: FieldValidation::Strict,
        ..by("test")
    }
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "i", "command": ["true"]}]},
    })
}

fn config(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"value": value}},
        "data": {"key": value},
    })
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "i", "command": ["true"]}]},
            },
        },
    })
}

async fn created(registry: &Registry, path: &str, body: Value) -> Arc<Value> {
    let written = registry.create(&at(path), body, &by("test")).await.unwrap();
    assert!(written.created);
    written.value
}

/// Writes an object as the node does, past all checks.
fn put(registry: &Registry, value: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = probelet_model::id::Kind::named(&text(&value["apiVersion"]), &text(&value["kind"]));
    let key = ObjectKey::new(
        kind.unwrap(),
        text(&value["metadata"]["namespace"]),
        text(&value["metadata"]["name"]),
    );
    registry
        .store
        .transact(Durability::Derived, |transaction| {
            transaction.put_any(key.clone(), value.clone()).map(drop)
        })
        .unwrap();
}

fn version_of(value: &Value) -> Version {
    value["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Failure>, code: u16, message: &str) -> Failure {
    let failure = answer.unwrap_err();
    assert_eq!((failure.code, failure.message.as_str()), (code, message));
    failure
}

#[test]
fn fixtures_name_what_there_is() {
    assert_eq!(at("pods/a/status").resource.kind, "Pod");
    assert_eq!(at("namespaces/a").namespace, "");
    assert_eq!(NOW.to_string(), STAMP);
    assert!(Resource::find("", "v1", "pods").is_some());
}
