use std::time::Duration;

use serde_json::json;

use super::*;

fn at(seconds: u64) -> Wall {
    Wall::default() + Duration::from_secs(seconds)
}

fn ending() -> Value {
    let mut namespace = new("mine");
    namespace["metadata"]["uid"] = "n".into();
    namespace["metadata"]["deletionTimestamp"] = at(0).to_string().into();
    namespace
}

fn object(kind: Kind, name: &str, more: &Value) -> (ObjectKey, Arc<Value>) {
    let mut metadata = json!({ "name": name, "namespace": "mine", "uid": name });
    for (field, value) in more.as_object().into_iter().flatten() {
        metadata[field] = value.clone();
    }
    let value = Arc::new(json!({ "metadata": metadata }));
    (ObjectKey::new(kind, "mine", name), value)
}

/// What is deleted, and the namespace as it is then.
fn outcome(plan: &Plan) -> (Vec<&str>, Option<&Value>) {
    let mut deleted = Vec::new();
    let mut namespace = None;
    for action in &plan.actions {
        match action {
            Action::Delete { key, .. } => deleted.push(key.name.as_str()),
            Action::Update { value, .. } => namespace = Some(value),
            Action::Create { .. } | Action::Remove { .. } => panic!("neither: {action:?}"),
        }
    }
    (deleted, namespace)
}

fn said(namespace: &Value, kind: &str) -> [String; 3] {
    let conditions = namespace["status"]["conditions"].as_array().unwrap();
    let condition = conditions
        .iter()
        .find(|condition| condition["type"] == kind);
    ["status", "reason", "message"]
        .map(|field| condition.unwrap()[field].as_str().unwrap().to_owned())
}

#[test]
fn the_namespaces_that_are_always_there() {
    assert_eq!(ALWAYS_THERE.len(), 4);
    let namespace = new("kube-system");
    assert_eq!(
        namespace["metadata"]["labels"],
        json!({ "kubernetes.io/metadata.name": "kube-system" })
    );
    assert_eq!(namespace["spec"], json!({ "finalizers": ["kubernetes"] }));
    assert!(!ends(&namespace) && ends(&ending()));
}

#[test]
fn each_namespace_has_an_account_and_the_authoritys_certificate() {
    let namespace = new("mine");
    let plan = furnish(&namespace, "CA", &|_| None);
    let [
        Action::Create { key: account, .. },
        Action::Create { key: root, value },
    ] = &plan.actions[..]
    else {
        panic!("both are made: {plan:?}");
    };
    assert_eq!(
        *account,
        ObjectKey::new(Kind::ServiceAccount, "mine", "default")
    );
    assert_eq!(
        *root,
        ObjectKey::new(Kind::ConfigMap, "mine", "kube-root-ca.crt")
    );
    assert_eq!(value["data"], json!({ "ca.crt": "CA" }));
    let there = Arc::new(value.clone());
    let find = |key: &ObjectKey| (key != account).then(|| Arc::clone(&there));
    let plan = furnish(&namespace, "CA", &find);
    assert!(matches!(&plan.actions[..], [Action::Create { key, .. }] if key == account));
    let find = |_: &ObjectKey| Some(Arc::clone(&there));
    assert!(furnish(&namespace, "CA", &find).is_empty());
    let plan = furnish(&namespace, "another", &find);
    let [Action::Update { value, .. }] = &plan.actions[..] else {
        panic!("the certificate is another one: {plan:?}");
    };
    assert_eq!(value["data"], json!({ "ca.crt": "another" }));
}

#[test]
fn a_namespace_ends_after_its_pods_and_these_before_the_rest() {
    let pod = object(Kind::Pod, "pod", &json!({}));
    let going = object(
        Kind::Pod,
        "going",
        &json!({ "deletionTimestamp": "2026-11-28T10:00:00Z" }),
    );
    let map = object(Kind::ConfigMap, "map", &json!({}));
    let set = object(Kind::ReplicaSet, "set", &json!({}));
    let plan = end(
        &ending(),
        &[map.clone(), pod, going.clone(), set.clone()],
        at(5),
    );
    let (deleted, namespace) = outcome(&plan);
    assert_eq!(deleted, ["pod"]);
    let namespace = namespace.unwrap();
    assert_eq!(namespace["status"]["phase"], "Terminating");
    assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
    let [status, reason, message] = said(namespace, "NamespaceContentRemaining");
    assert_eq!(
        [status.as_str(), reason.as_str()],
        ["True", "SomeResourcesRemain"]
    );
    assert_eq!(
        message,
        "Some resources are remaining: pods. has 2 resource instances"
    );
    let later = end(namespace, &[map.clone(), going, set.clone()], at(9));
    let (deleted, namespace) = outcome(&later);
    assert_eq!(deleted, [] as [&str; 0]);
    let namespace = namespace.unwrap();
    let since = &namespace["status"]["conditions"][3]["lastTransitionTime"];
    assert_eq!(
        *since,
        at(5).to_string(),
        "it is the number alone that has changed"
    );
    let (deleted, after) = {
        let plan = end(namespace, &[map, set], at(20));
        let (deleted, after) = outcome(&plan);
        (deleted.len(), after.unwrap().clone())
    };
    assert_eq!(deleted, 2);
    assert_eq!(
        said(&after, "NamespaceContentRemaining")[1],
        "ContentRemoved"
    );
    let last = end(&after, &[], at(20));
    let key = ObjectKey::new(Kind::Namespace, "", "mine");
    let uid = "n".to_owned();
    assert_eq!(last.actions, [Action::Remove { key, uid }]);
}

#[test]
fn what_holds_a_namespace_is_told() {
    let held = |kind: Kind, name: &str| {
        object(
            kind,
            name,
            &json!({ "deletionTimestamp": "2026-11-28T10:00:00Z", "finalizers": ["example.com/hold"] }),
        )
    };
    let contents = [
        held(Kind::ConfigMap, "one"),
        held(Kind::Deployment, "two"),
        held(Kind::Deployment, "three"),
    ];
    let plan = end(&ending(), &contents, at(5));
    let (deleted, namespace) = outcome(&plan);
    assert_eq!(deleted, [] as [&str; 0]);
    let namespace = namespace.unwrap();
    assert_eq!(
        said(namespace, "NamespaceContentRemaining")[2],
        "Some resources are remaining: configmaps. has 1 resource instances, deployments.apps has 2 \
            resource instances"
    );
    assert_eq!(
        said(namespace, "NamespaceFinalizersRemaining"),
        [
            "True",
            "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: example.com/hold in 3 resource instances",
        ]
    );
    for (kind, reason, message) in [
        (
            "NamespaceDeletionDiscoveryFailure",
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
    ] {
        assert_eq!(said(namespace, kind), ["False", reason, message]);
    }
    assert!(
        end(namespace, &contents, at(50)).is_empty(),
        "nothing is said twice"
    );
}

#[test]
fn a_namespace_with_other_finalizers_stays() {
    let mut in_spec = ending();
    in_spec["spec"]["finalizers"] = json!(["kubernetes", "example.com/hold"]);
    let mut in_metadata = ending();
    in_metadata["metadata"]["finalizers"] = json!(["example.com/hold"]);
    for (namespace, left) in [
        (in_spec, json!(["example.com/hold"])),
        (in_metadata, json!([])),
    ] {
        let plan = end(&namespace, &[], at(5));
        let (_, namespace) = outcome(&plan);
        assert_eq!(namespace.unwrap()["spec"]["finalizers"], left);
        assert!(end(namespace.unwrap(), &[], at(6)).is_empty());
    }
}
