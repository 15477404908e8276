use super::*;

#[tokio::test]
async fn an_object_is_created() {
    let registry = registry();
    let pod = created(&registry, "pods", pod("web")).await;
    let metadata = &pod["metadata"];
    assert_eq!(metadata["namespace"], "default");
    assert_eq!(metadata["creationTimestamp"], STAMP);
    assert_eq!(metadata["uid"].as_str().unwrap().len(), 36);
    assert_eq!(metadata["generation"], 1);
    assert_eq!(pod["status"]["phase"], "Pending");
    assert_eq!(pod["spec"]["runtimeClassName"], "host");
    assert_eq!(
        pod["spec"]["restartPolicy"], "Always",
        "defaults are filled in"
    );
    let entry = &metadata["managedFields"][0];
    assert_eq!(
        (&entry["manager"], &entry["operation"], &entry["time"]),
        (&json!("test"), &json!("Update"), &json!(STAMP))
    );
    let owned = &entry["fieldsV1"];
    assert!(owned["f:metadata"]["f:labels"]["f:app"].is_object());
    assert!(
        owned["f:spec"].get("f:nodeName").is_none() && owned.get("f:status").is_none(),
        "the node and the status are not the writer's"
    );
    let there = registry.get(&at("pods/web")).unwrap();
    assert_eq!(there.value, pod);
    assert_eq!(there.version, version_of(&pod));
    let again = registry
        .create(&at("pods"), super::pod("web"), &by("test"))
        .await;
    let failure = refused(again, 409, "pods \"web\" already exists");
    assert_eq!(failure.reason, "AlreadyExists");
    let uids: std::collections::BTreeSet<String> = (0..100).map(|_| write::uuid()).collect();
    assert_eq!(uids.len(), 100);
    assert!(
        uids.iter()
            .all(|uid| uid.as_bytes()[14] == b'4' && b"89ab".contains(&uid.as_bytes()[19]))
    );
}

#[tokio::test]
async fn a_dry_run_answers_and_does_nothing() {
    let registry = registry();
    let before = registry.store.version();
    let target = at("configmaps");
    let written = registry
        .create(&target, config("a", "1"), &rehearsal())
        .await
        .unwrap();
    assert!(written.created);
    assert_eq!(written.value["data"]["key"], "1");
    assert!(written.value["metadata"].get("resourceVersion").is_none());
    assert_eq!(registry.store.version(), before);
    let there = created(&registry, "configmaps", config("a", "1")).await;
    let written = registry
        .update(&at("configmaps/a"), config("a", "2"), &rehearsal())
        .await
        .unwrap();
    assert_eq!(written.value["data"]["key"], "2");
    assert_eq!(version_of(&written.value), version_of(&there));
    let options = DeleteOptions {
        dry_run: true,
        ..DeleteOptions::default()
    };
    registry
        .delete(&at("configmaps/a"), &options)
        .await
        .unwrap();
    assert_eq!(registry.get(&at("configmaps/a")).unwrap().value, there);
    let written = registry
        .create(&target, config("a", "1"), &rehearsal())
        .await;
    refused(written, 409, "configmaps \"a\" already exists");
}

#[tokio::test]
async fn a_name_is_generated() {
    let registry = registry();
    let prefix = "a".repeat(80);
    for (prefix, kept) in [("job-", "job-"), (prefix.as_str(), &prefix[..58])] {
        let body = json!({"metadata": {"generateName": prefix}, "data": {}});
        let value = created(&registry, "configmaps", body).await;
        let name = value["metadata"]["name"].as_str().unwrap();
        let suffix = name.strip_prefix(kept).unwrap();
        assert_eq!(suffix.len(), 5);
        assert!(
            suffix
                .chars()
                .all(|letter| "bcdfghjklmnpqrstvwxz2456789".contains(letter))
        );
        assert_eq!(value["metadata"]["generateName"], prefix);
    }
    let body = json!({"kind": "ConfigMap", "apiVersion": "v1"});
    let answer = registry.create(&at("configmaps"), body, &by("test")).await;
    refused(
        answer,
        422,
        "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
    );
}

#[tokio::test]
async fn a_new_object_needs_its_namespace() {
    let registry = registry();
    let missing = registry
        .create(&within("missing", "pods"), pod("a"), &by("test"))
        .await;
    let failure = refused(missing, 404, "namespaces \"missing\" not found");
    assert_eq!(
        failure.details,
        json!({"name": "missing", "kind": "namespaces"})
    );
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "going"},
        "status": {"phase": "Terminating"},
    });
    put(&registry, &namespace);
    let going = registry
        .create(&within("going", "pods"), pod("a"), &by("test"))
        .await;
    let failure = refused(
        going,
        403,
        "pods \"a\" is forbidden: unable to create new content in namespace going because it is being \
         terminated",
    );
    assert_eq!(
        failure.details["causes"],
        json!([{
            "reason": "NamespaceTerminating",
            "message": "namespace going is being terminated",
            "field": "metadata.namespace",
        }])
    );
}

#[tokio::test]
async fn names_and_namespaces_agree_with_the_url() {
    let registry = registry();
    let mut elsewhere = config("a", "1");
    elsewhere["metadata"]["namespace"] = json!("other");
    let answer = registry
        .create(&at("configmaps"), elsewhere.clone(), &by("test"))
        .await;
    refused(
        answer,
        400,
        "the namespace of the provided object does not match the namespace sent on the request",
    );
    created(&registry, "configmaps", config("a", "1")).await;
    let update = |body: Value| {
        let target = at("configmaps/a");
        let registry = &registry;
        async move { registry.update(&target, body, &by("test")).await }
    };
    refused(
        update(config("b", "1")).await,
        400,
        "the name of the object (b) does not match the name on the URL (a)",
    );
    refused(
        update(elsewhere).await,
        400,
        "the namespace of the object (other) does not match the namespace on the request (default)",
    );
    refused(
        update(json!({"data": {}})).await,
        400,
        "the name of the object (a based on URL) was undeterminable: name must be provided",
    );
}

#[tokio::test]
async fn a_body_is_what_it_is_posted_as() {
    let registry = registry();
    let post = |body: Value| {
        let registry = &registry;
        async move { registry.create(&at("pods"), body, &by("test")).await }
    };
    refused(
        post(json!({"apiVersion": "apps/v1", "kind": "Deployment"})).await,
        400,
        "the API version in the data (apps/v1) does not match the expected API version (v1)",
    );
    refused(
        post(json!({"apiVersion": "v1", "kind": "Service"})).await,
        400,
        "Service in version \"v1\" cannot be handled as a Pod: converting (v1.Service) to (core.Pod): unknown \
         conversion",
    );
    refused(
        post(json!({"apiVersion": "v1", "kind": "Thing"})).await,
        400,
        "Thing in version \"v1\" cannot be handled as a Pod: no kind \"Thing\" is registered for version \"v1\" \
         in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
    );
    refused(
        post(json!({"apiVersion": "v1", "kind": "Pod", "metadata": "x"})).await,
        400,
        "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal string into Go struct field \
         Pod.metadata of type v1.ObjectMeta",
    );
    assert_eq!(post(json!([])).await.unwrap_err().code, 400);
    let mut versioned = pod("a");
    versioned["metadata"]["resourceVersion"] = json!("1");
    refused(
        post(versioned).await,
        500,
        "resourceVersion should not be set on objects to be created",
    );
    let bare = json!({"metadata": {"name": "bare"}, "data": {"a": "b"}});
    let value = created(&registry, "configmaps", bare).await;
    assert_eq!(
        (&value["kind"], &value["apiVersion"]),
        (&json!("ConfigMap"), &json!("v1"))
    );
}

#[tokio::test]
async fn unknown_fields_are_refused_warned_of_or_dropped() {
    let registry = registry();
    let body = |name: &str| {
        let mut body = pod(name);
        body["spec"]["containers"][0]["imagee"] = json!("x");
        body["spex"] = json!({});
        body
    };
    let unknown = "unknown field \"spec.containers[0].imagee\", unknown field \"spex\"";
    let answer = registry.create(&at("pods"), body("a"), &strict()).await;
    let failure = refused(
        answer,
        400,
        &format!(
            "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: {unknown}"
        ),
    );
    assert_eq!(failure.reason, "BadRequest");
    let written = registry
        .create(&at("pods"), body("a"), &by("test"))
        .await
        .unwrap();
    assert_eq!(written.warnings.join(", "), unknown);
    assert!(written.value.get("spex").is_none());
    let options = WriteOptions {
        field_validation: FieldValidation::Ignore,
        ..by("test")
    };
    let written = registry
        .create(&at("pods"), body("b"), &options)
        .await
        .unwrap();
    assert_eq!(written.warnings, [""; 0]);
    assert!(
        written.value["spec"]["containers"][0]
            .get("imagee")
            .is_none()
    );
    let patch = json!({"spec": {"x": 1}});
    let answer = registry
        .patch(&at("pods/a"), PatchType::Merge, patch.clone(), &strict())
        .await;
    let failure = answer.unwrap_err();
    assert_eq!((failure.code, failure.reason), (422, "Invalid"));
    assert!(
        failure
            .message
            .starts_with(" \"\" is invalid: patch: Invalid value: \"{"),
        "{}",
        failure.message
    );
    assert!(
        failure
            .message
            .ends_with("}\": strict decoding error: unknown field \"spec.x\""),
        "{}",
        failure.message
    );
    let written = registry
        .patch(&at("pods/a"), PatchType::Merge, patch, &by("test"))
        .await
        .unwrap();
    assert_eq!(written.warnings, ["unknown field \"spec.x\""]);
}

#[tokio::test]
async fn a_new_pod_belongs_to_this_node_and_an_account() {
    let registry = registry();
    let value = created(&registry, "pods", pod("a")).await;
    assert_eq!(value["spec"]["nodeName"], "here");
    assert_eq!(value["spec"]["serviceAccountName"], "default");
    assert_eq!(value["spec"]["serviceAccount"], "default");
    let mut elsewhere = pod("b");
    elsewhere["spec"]["nodeName"] = json!("there");
    let answer = registry.create(&at("pods"), elsewhere, &by("test")).await;
    refused(
        answer,
        422,
        "Pod \"b\" is invalid: spec.nodeName: Unsupported value: \"there\": supported values: \"here\"",
    );
    let mut other = pod("c");
    other["spec"]["nodeName"] = json!("here");
    other["spec"]["serviceAccountName"] = json!("robot");
    let answer = registry
        .create(&at("pods"), other.clone(), &by("test"))
        .await;
    refused(
        answer,
        403,
        "pods \"c\" is forbidden: error looking up service account default/robot: serviceaccount \"robot\" not \
         found",
    );
    created(
        &registry,
        "serviceaccounts",
        json!({"metadata": {"name": "robot"}}),
    )
    .await;
    let value = created(&registry, "pods", other).await;
    assert_eq!(value["spec"]["serviceAccount"], "robot");
}

#[tokio::test]
async fn events_are_written_and_read_in_two_shapes() {
    let registry = registry();
    let grouped = |name: Option<&str>| Target {
        resource: Resource::find("events.k8s.io", "v1", "events").unwrap(),
        name: name.map(str::to_owned),
        ..at("events")
    };
    let body = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
        "regarding": {"kind": "Pod", "name": "a", "namespace": "default"}, "note": "n", "reason": "r",
        "type": "Normal", "action": "a", "eventTime": "2026-11-23T10:00:00.000000Z",
        "reportingController": "c", "reportingInstance": "i",
    });
    let written = registry
        .create(&grouped(None), body, &strict())
        .await
        .unwrap();
    assert_eq!(written.value["note"], "n");
    assert_eq!(written.value["apiVersion"], "events.k8s.io/v1");
    let plain = registry.get(&at("events/e")).unwrap();
    assert_eq!(plain.value["message"], "n");
    assert_eq!(plain.value["apiVersion"], "v1");
    let patch = json!({"note": "m"});
    registry
        .patch(&grouped(Some("e")), PatchType::Merge, patch, &by("test"))
        .await
        .unwrap();
    assert_eq!(registry.get(&at("events/e")).unwrap().value["message"], "m");
    let options = ListOptions {
        field_selector: "regarding.name=a".to_owned(),
        ..ListOptions::default()
    };
    let listed = registry.list(&grouped(None), &options).unwrap();
    assert_eq!(listed.objects[0].value["regarding"]["name"], "a");
}

#[tokio::test]
async fn a_value_of_a_wrong_type_cannot_be_read() {
    let registry = registry();
    for (plural, body, expected) in [
        (
            "pods",
            json!({"spec": {"containers": [{"name": 1, "image": "i", "ports": [{"containerPort": "x"}]}]}}),
            "Pod in version \"v1\" cannot be handled as a Pod: spec.containers[0].name: expected a string, got 1, \
             spec.containers[0].ports[0].containerPort: expected an integer, got \"x\"",
        ),
        (
            "configmaps",
            json!({"data": {"a": true}}),
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: data.a: expected a string, got true",
        ),
        (
            "deployments",
            json!({"spec": {"replicas": "2"}}),
            "Deployment in version \"v1\" cannot be handled as a Deployment: spec.replicas: expected an integer, \
             got \"2\"",
        ),
    ] {
        let mut body = body;
        body["metadata"] = json!({"name": "a"});
        let answer = registry.create(&at(plural), body, &by("test")).await;
        assert_eq!(refused(answer, 400, expected).reason, "BadRequest");
    }
    created(&registry, "deployments", deployment("a")).await;
    let patch = json!({"spec": {"replicas": "2"}});
    let answer = registry
        .patch(&at("deployments/a"), PatchType::Merge, patch, &by("test"))
        .await;
    assert_eq!(answer.unwrap_err().code, 400);
}
