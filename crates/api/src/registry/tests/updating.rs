use super::*;

async fn put_back(registry: &Registry, path: &str, body: Value) -> Result<Written, Failure> {
    registry.update(&at(path), body, &by("test")).await
}

const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

#[tokio::test]
async fn a_stale_version_conflicts() {
    let registry = registry();
    let first = created(&registry, "configmaps", config("a", "1")).await;
    let mut next = Value::clone(&first);
    next["data"]["key"] = json!("2");
    let second = put_back(&registry, "configmaps/a", next.clone())
        .await
        .unwrap();
    assert!(!second.created);
    assert!(version_of(&second.value) > version_of(&first));
    next["data"]["key"] = json!("3");
    let failure = refused(
        put_back(&registry, "configmaps/a", next.clone()).await,
        409,
        &format!("Operation cannot be fulfilled on configmaps \"a\": {MODIFIED}"),
    );
    assert_eq!(failure.reason, "Conflict");
    let metadata = next["metadata"].as_object_mut().unwrap();
    metadata.remove("resourceVersion");
    let third = put_back(&registry, "configmaps/a", next.clone())
        .await
        .unwrap();
    assert_eq!(third.value["data"]["key"], "3");
    assert_eq!(third.value["metadata"]["uid"], first["metadata"]["uid"]);
    let patch = json!({"metadata": {"resourceVersion": version_of(&first).to_string()}});
    let stale = registry
        .patch(&at("configmaps/a"), PatchType::Merge, patch, &by("test"))
        .await;
    assert_eq!(stale.unwrap_err().code, 409);
    next["metadata"]["resourceVersion"] = json!("x");
    assert_eq!(
        put_back(&registry, "configmaps/a", next)
            .await
            .unwrap_err()
            .code,
        500
    );
}

#[tokio::test]
async fn another_uid_conflicts() {
    let registry = registry();
    let first = created(&registry, "configmaps", config("a", "1")).await;
    let mut other = Value::clone(&first);
    other["metadata"]["uid"] = json!("u");
    let uid = first["metadata"]["uid"].as_str().unwrap();
    refused(
        put_back(&registry, "configmaps/a", other).await,
        409,
        &format!(
            "Operation cannot be fulfilled on configmaps \"a\": StorageError: invalid object, Code: 4, Key: \
             /registry/configmaps/default/a, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in \
             precondition: u, UID in object meta: {uid}"
        ),
    );
}

#[tokio::test]
async fn an_update_that_changes_nothing_is_no_change() {
    let registry = registry();
    for (path, body) in [
        ("configmaps", config("a", "1")),
        ("pods", pod("a")),
        ("deployments", deployment("a")),
        (
            "services",
            json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}),
        ),
        (
            "secrets",
            json!({"metadata": {"name": "a"}, "stringData": {"a": "b"}}),
        ),
    ] {
        let first = created(&registry, path, body.clone()).await;
        let one = format!("{path}/a");
        let same = put_back(&registry, &one, (*first).clone()).await.unwrap();
        assert_eq!(same.value, first, "{path}");
        let mut manifest = body;
        manifest["metadata"]["name"] = json!("a");
        let again = put_back(&registry, &one, manifest).await.unwrap();
        assert_eq!(version_of(&again.value), version_of(&first), "{path}");
        for patch_type in [PatchType::Merge, PatchType::Strategic] {
            let patched = registry
                .patch(&at(&one), patch_type, json!({}), &by("other"))
                .await
                .unwrap();
            assert_eq!(patched.value, first, "{path} {patch_type:?}");
        }
    }
}

#[tokio::test]
async fn an_update_creates_only_what_it_may() {
    let registry = registry();
    let answer = put_back(&registry, "configmaps/a", config("a", "1")).await;
    refused(answer, 404, "configmaps \"a\" not found");
    let lease = json!({"metadata": {"name": "a"}, "spec": {"holderIdentity": "me"}});
    let written = put_back(&registry, "leases/a", lease).await.unwrap();
    assert!(written.created);
    assert_eq!(written.value["metadata"]["namespace"], "default");
}

#[tokio::test]
async fn some_updates_need_a_version() {
    let registry = registry();
    let lease = json!({"metadata": {"name": "a"}, "spec": {"holderIdentity": "me"}});
    created(&registry, "leases", lease.clone()).await;
    refused(
        put_back(&registry, "leases/a", lease).await,
        422,
        "leases.coordination.k8s.io \"a\" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be \
         specified for an update",
    );
}

#[tokio::test]
async fn what_the_node_has_given_stays() {
    let registry = registry();
    created(&registry, "pods", pod("a")).await;
    let mut changed = pod("a");
    changed["spec"]["containers"][0]["image"] = json!("j");
    let written = put_back(&registry, "pods/a", changed).await.unwrap();
    let spec = &written.value["spec"];
    assert_eq!(spec["containers"][0]["image"], "j");
    assert_eq!(
        (&spec["nodeName"], &spec["serviceAccountName"]),
        (&json!("here"), &json!("default"))
    );
    let mut moved = pod("a");
    moved["spec"]["nodeName"] = json!("there");
    assert_eq!(
        put_back(&registry, "pods/a", moved).await.unwrap_err().code,
        422
    );
}

#[tokio::test]
async fn a_status_is_written_apart() {
    let registry = registry();
    let first = created(&registry, "pods", pod("a")).await;
    let mut body = Value::clone(&first);
    body["status"] = json!({"phase": "Running"});
    body["spec"]["containers"][0]["image"] = json!("ignored");
    let written = put_back(&registry, "pods/a/status", body.clone())
        .await
        .unwrap();
    assert_eq!(written.value["status"]["phase"], "Running");
    assert_eq!(written.value["spec"], first["spec"]);
    let managers = written.value["metadata"]["managedFields"]
        .as_array()
        .unwrap();
    assert!(
        managers
            .iter()
            .any(|entry| entry["subresource"] == "status"),
        "{managers:?}"
    );
    body["metadata"]["resourceVersion"] = written.value["metadata"]["resourceVersion"].clone();
    body["spec"] = first["spec"].clone();
    body["status"] = json!({"phase": "Failed"});
    let written = put_back(&registry, "pods/a", body).await.unwrap();
    assert_eq!(written.value["status"]["phase"], "Running");
    let patch = json!({"status": {"phase": "Failed"}});
    let written = registry
        .patch(
            &at("pods/a/status"),
            PatchType::Strategic,
            patch,
            &by("test"),
        )
        .await
        .unwrap();
    assert_eq!(written.value["status"]["phase"], "Failed");
}

#[tokio::test]
async fn ephemeral_containers_are_refused() {
    let registry = registry();
    created(&registry, "pods", pod("a")).await;
    let patch = json!({"spec": {"ephemeralContainers": [{"name": "d", "image": "i"}]}});
    let target = at("pods/a/ephemeralcontainers");
    let answer = registry
        .patch(&target, PatchType::Strategic, patch, &by("test"))
        .await;
    refused(
        answer,
        403,
        "pods \"a\" is forbidden: ephemeral containers are not carried out yet",
    );
    let answer = registry.update(&target, pod("a"), &by("test")).await;
    assert_eq!(answer.unwrap_err().code, 403);
}

#[tokio::test]
async fn the_last_finalizer_takes_the_object_with_it() {
    let registry = registry();
    let mut body = config("a", "1");
    body["metadata"]["finalizers"] = json!(["x.io/a", "x.io/b"]);
    created(&registry, "configmaps", body).await;
    let options = DeleteOptions::default();
    registry
        .delete(&at("configmaps/a"), &options)
        .await
        .unwrap();
    let take = |finalizers: Value| {
        let registry = &registry;
        let patch = json!({"metadata": {"finalizers": finalizers}});
        async move {
            registry
                .patch(&at("configmaps/a"), PatchType::Merge, patch, &by("test"))
                .await
                .unwrap()
        }
    };
    take(json!(["x.io/b"])).await;
    assert!(registry.get(&at("configmaps/a")).is_ok());
    let last = take(json!(null)).await;
    assert!(last.value["metadata"].get("finalizers").is_none());
    refused(
        registry.get(&at("configmaps/a")),
        404,
        "configmaps \"a\" not found",
    );
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_finalized() {
    let registry = registry();
    let value = created(
        &registry,
        "namespaces",
        json!({"metadata": {"name": "mine"}}),
    )
    .await;
    assert_eq!(value["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(value["status"]["phase"], "Active");
    assert_eq!(
        value["metadata"]["labels"]["kubernetes.io/metadata.name"],
        "mine"
    );
    let options = DeleteOptions::default();
    let going = registry
        .delete(&at("namespaces/mine"), &options)
        .await
        .unwrap();
    assert!(!going.deleted);
    assert_eq!(going.value["status"]["phase"], "Terminating");
    assert_eq!(going.value["metadata"]["deletionTimestamp"], STAMP);
    let again = registry
        .delete(&at("namespaces/mine"), &options)
        .await
        .unwrap();
    assert_eq!(again.value, going.value);
    let mut body = Value::clone(&going.value);
    body["spec"]["finalizers"] = json!([]);
    let plain = put_back(&registry, "namespaces/mine", body.clone())
        .await
        .unwrap();
    assert_eq!(
        plain.value["spec"]["finalizers"],
        json!(["kubernetes"]),
        "not by a plain update"
    );
    body["metadata"]["resourceVersion"] = plain.value["metadata"]["resourceVersion"].clone();
    let last = put_back(&registry, "namespaces/mine/finalize", body)
        .await
        .unwrap();
    assert_eq!(last.value["metadata"]["name"], "mine");
    assert_eq!(registry.get(&at("namespaces/mine")).unwrap_err().code, 404);
}
