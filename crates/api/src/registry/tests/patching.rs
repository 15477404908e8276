use super::*;

#[tokio::test]
async fn an_object_is_patched_in_three_ways() {
    let registry = registry();
    created(&registry, "deployments", deployment("a")).await;
    let check = |patch_type: PatchType, patch: Value, pointer: &'static str, expected: Value| {
        let registry = &registry;
        async move {
            let written = registry
                .patch(&at("deployments/a"), patch_type, patch, &strict())
                .await
                .unwrap();
            assert!(!written.created);
            assert_eq!(written.value.pointer(pointer), Some(&expected), "{pointer}");
        }
    };
    check(
        PatchType::Merge,
        json!({"metadata": {"labels": {"a": "b"}}}),
        "/metadata/labels",
        json!({"a": "b"}),
    )
    .await;
    check(
        PatchType::Merge,
        json!({"spec": {"replicas": 3}}),
        "/metadata/generation",
        json!(2),
    )
    .await;
    let second = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "d", "image": "j", "command": ["true"]},
    ]}}}});
    check(
        PatchType::Strategic,
        second,
        "/spec/template/spec/containers/1/name",
        json!("c"),
    )
    .await;
    check(
        PatchType::Json,
        json!([
            {"op": "test", "path": "/spec/replicas", "value": 3},
            {"op": "replace", "path": "/spec/replicas", "value": 4},
        ]),
        "/spec/replicas",
        json!(4),
    )
    .await;
}

#[tokio::test]
async fn a_patch_that_does_not_fit_is_refused() {
    let registry = registry();
    created(&registry, "configmaps", config("a", "1")).await;
    let check = |patch_type: PatchType, patch: Value, code: u16, expected: &'static str| {
        let registry = &registry;
        async move {
            let answer = registry
                .patch(&at("configmaps/a"), patch_type, patch, &by("test"))
                .await;
            let failure = answer.unwrap_err();
            assert_eq!(failure.code, code, "{failure}");
            assert!(failure.message.starts_with(expected), "{failure}");
        }
    };
    let test = json!([{"op": "test", "path": "/data/key", "value": "2"}]);
    check(
        PatchType::Json,
        test,
        422,
        "the server rejected our request due to an error in our request",
    )
    .await;
    check(PatchType::Json, json!({"a": 1}), 400, "").await;
    let many = vec![json!({"op": "test", "path": "", "value": 1}); 10_001];
    check(
        PatchType::Json,
        many.into(),
        413,
        "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001",
    )
    .await;
    check(PatchType::Merge, json!([]), 400, "").await;
    check(PatchType::Strategic, json!("x"), 400, "").await;
    check(
        PatchType::Merge,
        json!({"metadata": {"name": "b"}}),
        400,
        "the name of the object (b) does not match the name on the URL (a)",
    )
    .await;
    check(
        PatchType::Merge,
        json!({"kind": "Secret"}),
        400,
        "Secret in version \"v1\" cannot be handled as a ConfigMap",
    )
    .await;
    let missing = registry
        .patch(
            &at("configmaps/b"),
            PatchType::Merge,
            json!({}),
            &by("test"),
        )
        .await;
    refused(missing, 404, "configmaps \"b\" not found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_patch_of_many_at_once_is_lost() {
    let registry = Arc::new(registry());
    created(&registry, "configmaps", config("a", "1")).await;
    let writers = (0..8).map(|writer| {
        let registry = Arc::clone(&registry);
        tokio::spawn(async move {
            for number in 0..20 {
                let mut patch = json!({"data": {}});
                patch["data"][format!("k{writer}-{number}")] = json!("x");
                registry
                    .patch(&at("configmaps/a"), PatchType::Merge, patch, &by("test"))
                    .await
                    .unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let there = registry.get(&at("configmaps/a")).unwrap();
    assert_eq!(there.value["data"].as_object().unwrap().len(), 8 * 20 + 1);
}

/// What the node writes past all checks is changed by clients like anything else.
#[tokio::test]
async fn objects_that_the_node_has_made_can_be_changed() {
    let registry = registry();
    let metadata = |name: &str| json!({"name": name, "namespace": "default", "uid": "u", "creationTimestamp": STAMP});
    let objects = [
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "a", "uid": "u", "creationTimestamp": STAMP}, "spec": {},
            "status": {
                "addresses": [{"type": "Hostname", "address": "a"}],
                "capacity": {"cpu": "2", "pods": "110"}, "allocatable": {"cpu": "2", "pods": "110"},
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "m",
                    "lastHeartbeatTime": STAMP, "lastTransitionTime": STAMP,
                }],
                "nodeInfo": {
                    "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "",
                    "kubeProxyVersion": "", "kubeletVersion": "v1.35.0", "machineID": "",
                    "operatingSystem": "linux", "osImage": "", "systemUUID": "",
                },
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Endpoints", "metadata": metadata("a"),
            "subsets": [{
                "addresses": [{
                    "ip": "10.213.0.2", "nodeName": "here",
                    "targetRef": {"kind": "Pod", "namespace": "default", "name": "a", "uid": "u"},
                }],
                "ports": [{"port": 80, "protocol": "TCP"}],
            }],
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata("a"),
            "addressType": "IPv4", "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
            "endpoints": [{
                "addresses": ["10.213.0.2"], "nodeName": "here",
                "conditions": {"ready": true, "serving": true, "terminating": false},
            }],
        }),
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": metadata("a"),
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "a", "uid": "u"},
            "reason": "Unhealthy", "message": "m", "type": "Warning", "count": 1,
            "firstTimestamp": STAMP, "lastTimestamp": STAMP, "eventTime": null,
            "source": {"component": "probelet", "host": "here"},
            "reportingComponent": "probelet", "reportingInstance": "here",
        }),
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata("a"),
            "spec": {
                "holderIdentity": "a", "leaseDurationSeconds": 600, "renewTime": "2026-11-23T10:00:00.000000Z",
            },
        }),
    ];
    for object in objects {
        put(&registry, &object);
        let kind = object["kind"].as_str().unwrap();
        let resource = crate::resource::RESOURCES
            .iter()
            .find(|resource| resource.kind == kind)
            .unwrap();
        let target = at(&format!("{}/a", resource.plural));
        let patch = json!({"metadata": {"labels": {"a": "b"}}});
        let patched = |patch_type: PatchType, patch: Value| {
            let (registry, target) = (&registry, &target);
            async move {
                registry
                    .patch(target, patch_type, patch, &strict())
                    .await
                    .unwrap()
                    .value
            }
        };
        let labelled = patched(PatchType::Merge, patch.clone()).await;
        assert_eq!(labelled["metadata"]["labels"]["a"], "b", "{kind}");
        for field in object
            .as_object()
            .unwrap()
            .keys()
            .filter(|name| *name != "metadata")
        {
            assert_eq!(
                labelled.get(field).filter(|value| !value.is_null()),
                object.get(field).filter(|value| !value.is_null()),
                "{kind} {field}"
            );
        }
        assert_eq!(
            patched(PatchType::Strategic, patch).await,
            labelled,
            "{kind}"
        );
        let same = registry
            .update(&target, Value::clone(&labelled), &strict())
            .await;
        assert_eq!(same.unwrap().value, labelled, "{kind}");
        if kind == "Node" {
            let cordoned = patched(
                PatchType::Strategic,
                json!({"spec": {"unschedulable": true}}),
            )
            .await;
            assert_eq!(cordoned["spec"]["unschedulable"], true);
            assert_eq!(cordoned["status"], object["status"]);
        }
    }
}
