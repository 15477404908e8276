use super::*;
use crate::review::{ISSUER, TokenError};

#[tokio::test]
async fn replicas_are_read_and_set_by_scale() {
    let registry = registry();
    let value = created(&registry, "deployments", deployment("a")).await;
    let target = at("deployments/a/scale");
    let scale = registry.get(&target).unwrap().value;
    assert_eq!(
        *scale,
        json!({
            "kind": "Scale", "apiVersion": "autoscaling/v1",
            "metadata": {
                "name": "a", "namespace": "default", "uid": value["metadata"]["uid"],
                "resourceVersion": value["metadata"]["resourceVersion"], "creationTimestamp": STAMP,
            },
            "spec": {"replicas": 2},
            "status": {"replicas": 0, "selector": "app=a"},
        })
    );
    let mut more = Value::clone(&scale);
    more["spec"]["replicas"] = json!(3);
    let written = registry
        .update(&target, more.clone(), &by("test"))
        .await
        .unwrap();
    assert_eq!(written.value["kind"], "Scale");
    assert_eq!(written.value["spec"]["replicas"], 3);
    let now = registry.get(&at("deployments/a")).unwrap().value;
    assert_eq!(now["spec"]["replicas"], 3);
    assert_eq!(now["metadata"]["generation"], 2);
    assert_eq!(
        version_of(&written.value),
        version_of(&now),
        "the scale is at the version of its object"
    );
    let stale = registry.update(&target, more, &by("test")).await;
    assert_eq!(stale.unwrap_err().code, 409);
    for (patch_type, patch, expected) in [
        (PatchType::Merge, json!({"spec": {"replicas": 4}}), 4),
        (PatchType::Strategic, json!({"spec": {"replicas": 5}}), 5),
        (
            PatchType::Json,
            json!([{"op": "replace", "path": "/spec/replicas", "value": 6}]),
            6,
        ),
        (
            PatchType::Apply,
            json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 7}}),
            7,
        ),
    ] {
        registry
            .patch(&target, patch_type, patch, &by("test"))
            .await
            .unwrap();
        let now = registry.get(&at("deployments/a")).unwrap().value;
        assert_eq!(now["spec"]["replicas"], expected);
    }
    let negative = json!({"spec": {"replicas": -1}});
    let answer = registry
        .patch(&target, PatchType::Merge, negative, &by("test"))
        .await;
    refused(
        answer,
        422,
        "Scale.autoscaling \"a\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0",
    );
    let none = json!({"spec": {"replicas": 0}});
    let written = registry
        .patch(&target, PatchType::Merge, none, &by("test"))
        .await
        .unwrap();
    assert_eq!(written.value["spec"], json!({}));
    let missing = registry.get(&at("deployments/b/scale"));
    refused(missing, 404, "deployments.apps \"b\" not found");
}

#[tokio::test]
async fn an_eviction_deletes_the_pod() {
    let registry = registry();
    created(&registry, "pods", pod("a")).await;
    let target = at("pods/a/eviction");
    let evict = |name: &str| {
        json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name},
            "deleteOptions": {"gracePeriodSeconds": 7},
        })
    };
    let answer = registry.create(&target, evict("b"), &by("test")).await;
    refused(
        answer,
        400,
        "name in URL does not match name in Eviction object: \"a\" != \"b\"",
    );
    let written = registry
        .create(&target, evict("a"), &by("test"))
        .await
        .unwrap();
    assert!(written.created);
    assert_eq!(
        (&written.value["kind"], &written.value["status"]),
        (&json!("Status"), &json!("Success"))
    );
    let pod = registry.get(&at("pods/a")).unwrap().value;
    assert_eq!(pod["metadata"]["deletionGracePeriodSeconds"], 7);
    let missing = registry
        .create(&at("pods/b/eviction"), evict("b"), &by("test"))
        .await;
    refused(missing, 404, "pods \"b\" not found");
}

#[tokio::test]
async fn a_service_account_gets_a_token_and_is_known_by_it() {
    let registry = registry();
    let account = json!({"metadata": {"name": "robot"}});
    let account = created(&registry, "serviceaccounts", account).await;
    let target = at("serviceaccounts/robot/token");
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600},
    });
    let written = registry.create(&target, body, &by("test")).await.unwrap();
    assert!(written.created);
    let status = &written.value["status"];
    assert_eq!(status["expirationTimestamp"], "2026-11-23T10:10:00Z");
    assert_eq!(written.value["spec"]["audiences"], json!([ISSUER]));
    let token = status["token"].as_str().unwrap();
    let bearer = registry.authenticate(token, &[]).unwrap();
    assert_eq!(bearer.user.name, "system:serviceaccount:default:robot");
    assert_eq!(
        bearer.user.uid,
        account["metadata"]["uid"].as_str().unwrap()
    );
    assert_eq!(
        bearer.user.groups,
        [
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated"
        ]
    );
    assert!(registry.authenticate("x.y.z", &[]).is_err());
    assert_eq!(
        registry.authenticate(token, &["elsewhere".to_owned()]),
        Err(TokenError::Audience)
    );
    registry
        .delete(&at("serviceaccounts/robot"), &DeleteOptions::default())
        .await
        .unwrap();
    created(
        &registry,
        "serviceaccounts",
        json!({"metadata": {"name": "robot"}}),
    )
    .await;
    assert_eq!(
        registry.authenticate(token, &[]),
        Err(TokenError::Invalidated),
        "another of the same name"
    );
}

#[tokio::test]
async fn a_token_is_bound_to_what_there_is() {
    let registry = registry();
    created(
        &registry,
        "serviceaccounts",
        json!({"metadata": {"name": "default"}}),
    )
    .await;
    let pod = created(&registry, "pods", pod("a")).await;
    let ask = |spec: Value| {
        let registry = &registry;
        let target = at("serviceaccounts/default/token");
        async move {
            registry
                .create(&target, json!({"spec": spec}), &by("test"))
                .await
        }
    };
    let bound = |kind: &str, name: &str, uid: &str| json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name, "uid": uid}});
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let written = ask(bound("Pod", "a", uid)).await.unwrap();
    let token = written.value["status"]["token"].as_str().unwrap();
    let user = registry.authenticate(token, &[]).unwrap().user;
    assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["a"]);
    registry
        .delete(
            &at("pods/a"),
            &DeleteOptions {
                grace: Some(0),
                ..DeleteOptions::default()
            },
        )
        .await
        .unwrap();
    assert_eq!(
        registry.authenticate(token, &[]),
        Err(TokenError::Invalidated)
    );
    refused(
        ask(bound("Pod", "a", "")).await,
        404,
        "pods \"a\" not found",
    );
    refused(
        ask(bound("ConfigMap", "a", "")).await,
        400,
        "cannot bind token to object of type /v1, Kind=ConfigMap",
    );
    refused(
        ask(json!({"expirationSeconds": 10})).await,
        422,
        "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 10: may not \
         specify a duration less than 10 minutes",
    );
    refused(
        ask(json!("x")).await,
        400,
        "TokenRequest in version \"v1\" cannot be handled as a TokenRequest: spec: expected an object, got \"x\"",
    );
    created(&registry, "secrets", json!({"metadata": {"name": "s"}})).await;
    let failure = ask(bound("Secret", "s", "u")).await.unwrap_err();
    assert_eq!(failure.code, 409);
    assert!(
        failure
            .message
            .starts_with("Operation cannot be fulfilled on Secret \"s\": the UID in the bound object reference (u)"),
        "{failure}"
    );
}

#[tokio::test]
async fn what_is_not_there_cannot_be_asked() {
    let registry = registry();
    assert_eq!(registry.get(&at("pods/a")).unwrap_err().code, 404);
    created(&registry, "namespaces", json!({"metadata": {"name": "n"}})).await;
    let finalize = registry.get(&at("namespaces/n/finalize"));
    assert_eq!(finalize.unwrap_err().code, 405);
    let answer = registry
        .create(&at("pods/a/status"), pod("a"), &by("test"))
        .await;
    assert_eq!(answer.unwrap_err().code, 405);
    let options = DeleteOptions::default();
    let answer = registry.delete(&at("namespaces/n/status"), &options).await;
    assert_eq!(answer.unwrap_err().code, 405);
}
