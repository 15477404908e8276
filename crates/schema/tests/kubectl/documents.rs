//! What kubectl makes of the documents.

use serde_json::{Value, json};

use crate::server::{APPLIED, Server};

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {containers: [{name: web, image: nginx}]}
";

#[test]
fn kubectl_explains_what_the_documents_say() {
    let server = Server::start();
    let check = |arguments: &[&str], says: &[&str]| {
        let text = server.explain(arguments);
        for line in says {
            assert!(text.contains(line), "{arguments:?}: no {line:?} in\n{text}");
        }
    };
    check(
        &["pod.spec.containers", "--recursive"],
        &[
            "KIND:       Pod",
            "VERSION:    v1",
            "FIELD: containers <[]Container>",
            "  livenessProbe\t<Probe>\n",
            "      port\t<IntOrString> -required-\n",
            "  name\t<string> -required-\n",
            "    limits\t<map[string]Quantity>\n",
        ],
    );
    check(
        &["pod"],
        &[
            "Pod is a collection of containers that can run on a host.",
            "  metadata\t<ObjectMeta>\n",
            "  spec\t<PodSpec>\n",
        ],
    );
    check(
        &["pod.spec.containers.readinessProbe.failureThreshold"],
        &[
            "FIELD: failureThreshold <integer>",
            "Minimum consecutive failures for the probe to be considered failed",
        ],
    );
    check(
        &["deployments.spec.strategy"],
        &[
            "GROUP:      apps",
            "KIND:       Deployment",
            "  rollingUpdate\t<RollingUpdateDeployment>\n",
        ],
    );
    check(
        &["service.spec.ports"],
        &[
            "FIELD: ports <[]ServicePort>",
            "  targetPort\t<IntOrString>\n",
        ],
    );
    let unknown = server.kubectl(&["explain", "pod.spec.containerz"], "");
    assert!(!unknown.status.success());
    let error = String::from_utf8(unknown.stderr).unwrap();
    assert_eq!(error, "error: field \"containerz\" does not exist\n");
}

#[test]
fn kubectl_leaves_the_validation_of_fields_to_the_server() {
    let server = Server::start();
    let output = server.kubectl(&["create", "-f", "manifest.yaml", "-o", "name"], POD);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "pod/web\n");
    let requests = server.requests();
    let posted = requests
        .iter()
        .find(|request| request.method == "POST")
        .unwrap();
    assert!(
        posted.target.contains("fieldValidation=Strict"),
        "kubectl does not trust the server: {requests:?}"
    );
    // It trusts the version 3 documents: it does not ask for the old ones.
    assert!(
        !requests
            .iter()
            .any(|request| request.target.contains("/openapi/v2")),
        "{requests:?}"
    );
}

/// Both sides know which lists are merged, and by which key: kubectl, which makes the patch, and we.
#[test]
fn what_kubectl_applies_is_merged_by_the_same_keys() {
    let server = Server::start();
    let changed = APPLIED.replace("nginx:1", "nginx:2").replace(
        "{ \"name\": \"log\", \"image\": \"tail\" }",
        "{ \"name\": \"new\", \"image\": \"x\" }",
    );
    let output = server.kubectl(&["apply", "-f", "manifest.yaml", "-o", "json"], &changed);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    let requests = server.requests();
    let patch = requests
        .iter()
        .find(|request| request.method == "PATCH")
        .unwrap();
    assert_eq!(patch.content_type, "application/strategic-merge-patch+json");
    let body: Value = serde_json::from_slice(&patch.body).unwrap();
    assert_eq!(
        body["spec"]["template"]["spec"],
        json!({
            "$setElementOrder/containers": [{ "name": "web" }, { "name": "new" }],
            "containers": [
                { "name": "web", "image": "nginx:2" },
                { "name": "new", "image": "x" },
                { "name": "log", "$patch": "delete" },
            ],
        })
    );
    let patched: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(patched["spec"]["replicas"], 5);
    assert_eq!(
        patched["spec"]["template"]["spec"]["containers"],
        json!([
            { "name": "web", "image": "nginx:2", "ports": [{ "containerPort": 80 }] },
            { "name": "new", "image": "x" },
            { "name": "injected", "image": "sidecar" },
        ])
    );
}
