//! From `kubectl apply` to `kubectl apply --server-side`.

use serde_json::{Value, json};

use super::{Server, conflicts, web_deployment};

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What `kubectl apply` makes of a manifest.
fn applied_by_kubectl(manifest: &Value, last_applied: &str) -> Value {
    let mut object = manifest.clone();
    object["metadata"]["annotations"] = json!({ANNOTATION: last_applied});
    object
}

fn annotation(server: &Server) -> Option<Value> {
    let object = server.object();
    let text = object["metadata"]["annotations"]
        .get(ANNOTATION)?
        .as_str()?;
    Some(serde_json::from_str(text).unwrap())
}

fn changed() -> Value {
    let mut manifest = web_deployment();
    manifest["spec"]["replicas"] = json!(8);
    manifest["spec"]["template"]["spec"]["containers"][0]["image"] = json!("nginx:2");
    manifest
}

#[test]
fn kubectl_takes_over_what_it_applied_itself() {
    let manifest = web_deployment();
    let created = applied_by_kubectl(&manifest, &manifest.to_string());
    let mut server = Server::of("apps/v1", "Deployment");
    server.update("kubectl-client-side-apply", created);
    // Others may not, whatever the annotation says.
    assert_eq!(
        conflicts(server.apply("helm", &changed())),
        [
            "conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas",
            "conflict with \"kubectl-client-side-apply\" using apps/v1: \
             .spec.template.spec.containers[name=\"web\"].image",
        ]
    );
    server.apply("kubectl", &changed()).unwrap();
    assert_eq!(annotation(&server), Some(changed()));
    assert_eq!(server.object()["spec"]["replicas"], 8);
    assert_eq!(
        server.managers(),
        ["kubectl Apply 03", "kubectl-client-side-apply Update 01"]
    );
}

#[test]
fn what_others_changed_since_is_still_a_conflict() {
    let manifest = web_deployment();
    let mut server = Server::of("apps/v1", "Deployment");
    let mut object = applied_by_kubectl(&manifest, &manifest.to_string());
    server.update("kubectl-client-side-apply", object.clone());
    object["spec"]["replicas"] = json!(5);
    server.update("autoscaler", object);
    let before = server.live.clone();
    assert_eq!(
        conflicts(server.apply("kubectl", &changed())),
        ["conflict with \"autoscaler\" using apps/v1: .spec.replicas"]
    );
    assert_eq!(server.live, before);
}

#[test]
fn an_annotation_that_says_nothing_allows_nothing() {
    let manifest = web_deployment();
    let mut other_version = manifest.clone();
    other_version["apiVersion"] = json!("apps/v1beta1");
    let mut unfit = manifest.clone();
    unfit["spec"]["replica"] = json!(1);
    for annotation in [
        "no object".to_owned(),
        other_version.to_string(),
        unfit.to_string(),
    ] {
        let mut server = Server::of("apps/v1", "Deployment");
        let created = applied_by_kubectl(&manifest, &annotation);
        server.update("kubectl-client-side-apply", created);
        assert_eq!(conflicts(server.apply("kubectl", &changed())).len(), 2);
        // By force it is mended.
        server.force("kubectl", &changed());
        assert_eq!(self::annotation(&server), Some(changed()));
    }
}

#[test]
fn an_annotation_that_is_not_there_is_not_made() {
    let mut server = Server::of("apps/v1", "Deployment");
    server.apply("kubectl", &web_deployment()).unwrap();
    assert_eq!(annotation(&server), None);
}

#[test]
fn an_annotation_that_would_be_too_large_goes() {
    let mut manifest = web_deployment();
    let mut server = Server::of("apps/v1", "Deployment");
    server.update(
        "kubectl-client-side-apply",
        applied_by_kubectl(&manifest, "{}"),
    );
    manifest["metadata"]["annotations"] = json!({"long": "x".repeat(200_000)});
    server.force("kubectl", &manifest);
    assert_eq!(annotation(&server), None);
    assert_eq!(
        server.object()["metadata"]["annotations"]
            .as_object()
            .unwrap()
            .len(),
        1
    );
}
