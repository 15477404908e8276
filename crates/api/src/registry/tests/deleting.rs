use super::*;
use crate::request::Propagation;

async fn delete(registry: &Registry, path: &str, options: &DeleteOptions) -> Written {
    registry.delete(&at(path), options).await.unwrap()
}

fn grace(seconds: u64) -> DeleteOptions {
    DeleteOptions {
        grace: Some(seconds),
        ..DeleteOptions::default()
    }
}

#[tokio::test]
async fn a_pod_is_deleted_with_grace() {
    let registry = registry();
    created(&registry, "pods", pod("a")).await;
    let said = |value: &Value| {
        let metadata = &value["metadata"];
        (
            metadata["deletionTimestamp"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            metadata["deletionGracePeriodSeconds"].as_i64(),
            metadata["generation"].as_i64(),
        )
    };
    let stamp = |at: &str, seconds: i64| (format!("2026-11-23T{at}Z"), Some(seconds), Some(2));
    for (options, expected) in [
        (DeleteOptions::default(), stamp("10:00:30", 30)),
        (grace(20), stamp("10:00:20", 20)),
        (grace(25), stamp("10:00:20", 20)),
        (DeleteOptions::default(), stamp("10:00:20", 20)),
        (grace(1), stamp("10:00:01", 1)),
    ] {
        let written = delete(&registry, "pods/a", &options).await;
        assert!(!written.deleted);
        assert_eq!(said(&written.value), expected, "{options:?}");
    }
    let written = delete(&registry, "pods/a", &grace(0)).await;
    assert_eq!(said(&written.value).1, Some(0));
    assert_eq!(registry.get(&at("pods/a")).unwrap_err().code, 404);
    for phase in ["Succeeded", "Failed"] {
        created(&registry, "pods", pod("b")).await;
        let patch = json!({"status": {"phase": phase}});
        registry
            .patch(&at("pods/b/status"), PatchType::Merge, patch, &by("test"))
            .await
            .unwrap();
        let written = delete(&registry, "pods/b", &DeleteOptions::default()).await;
        assert_eq!(said(&written.value).1, Some(0));
        assert_eq!(registry.get(&at("pods/b")).unwrap_err().code, 404);
    }
}

#[tokio::test]
async fn a_finalizer_holds_an_object() {
    let registry = registry();
    for (path, body) in [("pods", pod("a")), ("deployments", deployment("a"))] {
        let one = format!("{path}/a");
        let mut body = body;
        body["metadata"]["finalizers"] = json!(["x.io/a"]);
        created(&registry, path, body).await;
        let written = delete(&registry, &one, &grace(0)).await;
        assert!(!written.deleted);
        let metadata = &written.value["metadata"];
        assert_eq!(metadata["deletionTimestamp"], STAMP);
        assert_eq!(metadata["deletionGracePeriodSeconds"], 0);
        assert_eq!(metadata["generation"], 2);
        let again = delete(&registry, &one, &grace(0)).await;
        assert_eq!(again.value, written.value);
    }
}

#[tokio::test]
async fn propagation_is_written_down_as_finalizers() {
    let registry = registry();
    let check = |there: Value, propagation: Option<Propagation>, expected: Option<Value>| {
        let registry = &registry;
        async move {
            let mut body = deployment("a");
            body["metadata"]["finalizers"] = there;
            put(registry, &{
                let mut body = body.clone();
                body["metadata"]["namespace"] = json!("default");
                body
            });
            let options = DeleteOptions {
                propagation,
                ..DeleteOptions::default()
            };
            let written = delete(registry, "deployments/a", &options).await;
            let left = registry.get(&at("deployments/a"));
            match expected {
                None => {
                    assert!(written.deleted);
                    assert_eq!(left.unwrap_err().code, 404);
                }
                Some(finalizers) => {
                    assert!(!written.deleted);
                    let value = left.unwrap().value;
                    assert_eq!(value["metadata"]["finalizers"], finalizers);
                    assert_eq!(value["metadata"]["deletionTimestamp"], STAMP);
                }
            }
        }
    };
    let (orphan, foreground) = (json!(["orphan"]), json!(["foregroundDeletion"]));
    check(json!([]), None, None).await;
    check(json!([]), Some(Propagation::Background), None).await;
    check(json!([]), Some(Propagation::Orphan), Some(orphan.clone())).await;
    check(
        json!([]),
        Some(Propagation::Foreground),
        Some(foreground.clone()),
    )
    .await;
    check(orphan.clone(), Some(Propagation::Background), None).await;
    check(orphan.clone(), None, Some(orphan.clone())).await;
    check(orphan, Some(Propagation::Foreground), Some(foreground)).await;
    check(
        json!(["x.io/a"]),
        Some(Propagation::Orphan),
        Some(json!(["x.io/a", "orphan"])),
    )
    .await;
}

#[tokio::test]
async fn preconditions_of_a_deletion_hold() {
    let registry = registry();
    let value = created(&registry, "deployments", deployment("a")).await;
    let uid = value["metadata"]["uid"].as_str().unwrap().to_owned();
    let version = version_of(&value);
    let target = at("deployments/a");
    let other = DeleteOptions {
        uid: Some("u".to_owned()),
        ..DeleteOptions::default()
    };
    let failure = refused(
        registry.delete(&target, &other).await,
        409,
        &format!(
            "Operation cannot be fulfilled on Deployment.apps \"a\": the UID in the precondition (u) does not match \
             the UID in record ({uid}). The object might have been deleted and then recreated"
        ),
    );
    assert_eq!(failure.details["kind"], "Deployment");
    let stale = DeleteOptions {
        version: Some(Version(1)),
        ..DeleteOptions::default()
    };
    refused(
        registry.delete(&target, &stale).await,
        409,
        &format!(
            "Operation cannot be fulfilled on Deployment.apps \"a\": the ResourceVersion in the precondition (1) does \
             not match the ResourceVersion in record ({version}). The object might have been modified"
        ),
    );
    let fresh = DeleteOptions {
        uid: Some(uid),
        version: Some(version),
        ..DeleteOptions::default()
    };
    assert!(registry.delete(&target, &fresh).await.unwrap().deleted);
    refused(
        registry.delete(&target, &fresh).await,
        404,
        "deployments.apps \"a\" not found",
    );
}

#[tokio::test]
async fn some_namespaces_cannot_be_deleted() {
    let registry = registry();
    for name in ["default", "kube-public", "kube-system"] {
        let answer = registry
            .delete(
                &at(&format!("namespaces/{name}")),
                &DeleteOptions::default(),
            )
            .await;
        refused(
            answer,
            403,
            &format!("namespaces {name:?} is forbidden: this namespace may not be deleted"),
        );
    }
    delete(&registry, "namespaces/other", &DeleteOptions::default()).await;
}

#[tokio::test]
async fn a_deletion_is_answered_as_upstream_does_for_each_kind() {
    let registry = registry();
    for (path, body, by_status) in [
        ("configmaps", config("a", "1"), true),
        ("deployments", deployment("a"), true),
        (
            "services",
            json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}),
            false,
        ),
        ("serviceaccounts", json!({"metadata": {"name": "a"}}), false),
        ("secrets", json!({"metadata": {"name": "a"}}), true),
    ] {
        let value = created(&registry, path, body).await;
        let written = delete(&registry, &format!("{path}/a"), &DeleteOptions::default()).await;
        assert_eq!(written.deleted, by_status, "{path}");
        assert_eq!(written.value["metadata"]["uid"], value["metadata"]["uid"]);
        assert!(version_of(&written.value) > version_of(&value), "{path}");
    }
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let registry = registry();
    for (name, value) in [("a", "1"), ("b", "2"), ("c", "1")] {
        created(&registry, "configmaps", config(name, value)).await;
    }
    let elsewhere = within("other", "configmaps");
    registry
        .create(&elsewhere, config("a", "1"), &by("test"))
        .await
        .unwrap();
    let of = ListOptions {
        label_selector: "value=1".to_owned(),
        ..ListOptions::default()
    };
    let listed = registry
        .delete_collection(&at("configmaps"), &DeleteOptions::default(), &of)
        .await
        .unwrap();
    let names: Vec<&str> = listed
        .objects
        .iter()
        .map(|object| object.key.name.as_str())
        .collect();
    assert_eq!(names, ["a", "c"]);
    let left = registry.list(&within("", "configmaps"), &ListOptions::default());
    let left: Vec<String> = left
        .unwrap()
        .objects
        .iter()
        .map(|object| format!("{}/{}", object.key.namespace, object.key.name))
        .collect();
    assert_eq!(left, ["default/b", "other/a"]);
    let all = registry
        .delete_collection(
            &at("namespaces"),
            &DeleteOptions::default(),
            &ListOptions::default(),
        )
        .await;
    assert_eq!(all.unwrap_err().code, 405);
}
