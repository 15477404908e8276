use super::*;

async fn apply(
    registry: &Registry,
    path: &str,
    patch: Value,
    manager: &str,
    force: bool,
) -> Result<Written, Failure> {
    let options = WriteOptions {
        force,
        ..by(manager)
    };
    registry
        .patch(&at(path), PatchType::Apply, patch, &options)
        .await
}

fn replicas(count: u32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": count}})
}

#[tokio::test]
async fn an_apply_creates_and_changes() {
    let registry = registry();
    let written = apply(&registry, "deployments/a", deployment("a"), "me", false)
        .await
        .unwrap();
    assert!(written.created);
    let entries = written.value["metadata"]["managedFields"]
        .as_array()
        .unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (&entries[0]["manager"], &entries[0]["operation"]),
        (&json!("me"), &json!("Apply"))
    );
    assert!(
        entries[0]["fieldsV1"]["f:spec"]
            .get("f:revisionHistoryLimit")
            .is_none(),
        "a default is not the applier's"
    );
    let again = apply(&registry, "deployments/a", deployment("a"), "me", false)
        .await
        .unwrap();
    assert!(!again.created);
    assert_eq!(again.value, written.value);
    let mut other = deployment("a");
    other["metadata"]["labels"] = json!({"a": "b"});
    let labelled = apply(&registry, "deployments/a", other, "me", false)
        .await
        .unwrap();
    assert_eq!(labelled.value["metadata"]["labels"], json!({"a": "b"}));
    let without = apply(&registry, "deployments/a", deployment("a"), "me", false)
        .await
        .unwrap();
    assert!(
        without.value["metadata"].get("labels").is_none(),
        "what is no longer applied goes"
    );
}

#[tokio::test]
async fn an_apply_conflicts_with_other_owners() {
    let registry = registry();
    created(&registry, "deployments", deployment("a")).await;
    let answer = apply(&registry, "deployments/a", replicas(5), "me", false).await;
    let failure = refused(
        answer,
        409,
        "Apply failed with 1 conflict: conflict with \"test\" using apps/v1: .spec.replicas",
    );
    assert_eq!(failure.reason, "Conflict");
    assert_eq!(
        failure.details["causes"][0],
        json!({
            "reason": "FieldManagerConflict",
            "message": "conflict with \"test\" using apps/v1",
            "field": ".spec.replicas",
        })
    );
    let won = apply(&registry, "deployments/a", replicas(5), "me", true)
        .await
        .unwrap();
    assert_eq!(won.value["spec"]["replicas"], 5);
    let same = apply(&registry, "deployments/a", replicas(5), "third", false)
        .await
        .unwrap();
    assert_eq!(
        same.value["spec"]["replicas"], 5,
        "the same value is shared"
    );
}

#[tokio::test]
async fn what_cannot_be_applied_is_refused() {
    let registry = registry();
    let check = |patch: Value, code: u16, expected: &'static str| {
        let registry = &registry;
        async move {
            let failure = apply(registry, "deployments/a", patch, "me", false)
                .await
                .unwrap_err();
            assert_eq!((failure.code, failure.message.as_str()), (code, expected));
        }
    };
    let mut managed = deployment("a");
    managed["metadata"]["managedFields"] = json!([]);
    check(managed, 400, "metadata.managedFields must be nil").await;
    check(
        json!({"apiVersion": "apps/v1beta1", "kind": "Deployment"}),
        400,
        "incorrect version specified in apply patch. Specified patch version: apps/v1beta1, expected: apps/v1",
    )
    .await;
    let mut uid = deployment("a");
    uid["metadata"]["uid"] = json!("u");
    check(
        uid,
        409,
        "Operation cannot be fulfilled on deployments.apps \"a\": uid mismatch: the provided object specified uid \
         u, and no existing object was found",
    )
    .await;
    check(
        deployment("b"),
        400,
        "the name of the object (b) does not match the name on the URL (a)",
    )
    .await;
    let mut unknown = deployment("a");
    unknown["spec"]["foo"] = json!(1);
    check(
        unknown,
        500,
        "failed to create typed patch object (/a; apps/v1, Kind=Deployment): .spec.foo: field not declared in \
         schema",
    )
    .await;
}

#[tokio::test]
async fn a_status_is_applied_apart() {
    let registry = registry();
    created(&registry, "deployments", deployment("a")).await;
    let mut patch = replicas(9);
    patch["status"] = json!({"observedGeneration": 1});
    let written = apply(&registry, "deployments/a/status", patch.clone(), "me", true)
        .await
        .unwrap();
    assert_eq!(written.value["status"]["observedGeneration"], 1);
    assert_eq!(written.value["spec"]["replicas"], 2);
    let missing = apply(
        &registry,
        "deployments/b/status",
        json!({"apiVersion": "apps/v1"}),
        "me",
        true,
    )
    .await;
    refused(missing, 404, "deployments.apps \"b\" not found");
}
