//! Manifests as tutorials and charts have them: accepted as they are, and running.
//!
//! Each file of `manifests/` is such a manifest, told again, with a `command` of programs that every host has in
//! the place of what an image would bring.

use std::path::{Path, PathBuf};

use crate::node::Node;

/// What is said of them: where a node of its own is not what a cluster would be.
const HONEST: [&str; 2] = [
    "Warning: spec.type: carried out as ClusterIP: reachable from this host only",
    "Warning: spec.template.spec.affinity: matters to a cluster only, ignored",
];

/// What kubectl patches each time, and to no effect, of a real server too: it sees a difference in what is given a
/// default inside of a list without merge key, and in `stringData`, which nobody ever sees again.
const PATCHED_ALWAYS: [&str; 3] = [
    "pod/kubernetes-downwardapi-example configured",
    "pod/secret-test-pod configured",
    "secret/dotfile-secret configured",
];

fn manifests() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/manifests");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

#[test]
fn ten_manifests_of_others_are_accepted_unchanged_and_run() {
    let manifests = manifests();
    assert_eq!(manifests.len(), 10);
    let node = Node::start();
    for manifest in &manifests {
        let said = node.shell(&format!("kubectl apply -f {}", manifest.display()));
        assert_eq!(said.code, Some(0), "{}: {}", manifest.display(), said.text);
        let mut others = said.text.lines().filter(|line| !line.ends_with(" created"));
        assert!(
            others.all(|line| HONEST.contains(&line)),
            "{}: {}",
            manifest.display(),
            said.text
        );
    }
    for wait in [
        "kubectl wait deployments --all --all-namespaces --for=condition=Available --timeout=50s",
        "kubectl wait pods --all --all-namespaces --for=condition=Ready --timeout=50s",
    ] {
        let said = node.shell(wait);
        assert_eq!(said.code, Some(0), "{}\n{}", said.text, node.log());
    }
    for (command, expected) in [
        (
            "kubectl exec deploy/myapp -c myapp -- head -n 1 /opt/logs.txt",
            "logging\n",
        ),
        (
            "kubectl exec configmap-demo-pod -- sh -c 'echo $PLAYER_INITIAL_LIVES; head -n 1 /opt/game.properties'",
            "3\nenemy.types=aliens,monsters\n",
        ),
        (
            "kubectl exec secret-test-pod -- sh -c 'echo $username; cat /srv/my-group/my-username /srv/.secret-file'",
            "my-app\nmy-appvalue",
        ),
        (
            "kubectl logs kubernetes-downwardapi-example | grep -m 1 rack",
            "rack=\"rack-22\"\n",
        ),
        (
            "kubectl get endpoints frontend -o jsonpath='{range .subsets[*].addresses[*]}{.ip} {end}' | wc -w",
            "3\n",
        ),
        (
            "kubectl get deployment hello -n development -o jsonpath='{.status.availableReplicas}'",
            "2",
        ),
    ] {
        let said = node.shell(command);
        assert_eq!(said.text, expected, "{command}");
    }
    // What has been applied once is as it was.
    for manifest in &manifests {
        let said = node.shell(&format!("kubectl apply -f {}", manifest.display()));
        let mut others = said
            .text
            .lines()
            .filter(|line| !line.ends_with(" unchanged"));
        assert!(
            others.all(|line| HONEST.contains(&line) || PATCHED_ALWAYS.contains(&line)),
            "{}: {}",
            manifest.display(),
            said.text
        );
    }
    node.finish();
}

#[test]
fn a_field_that_is_not_carried_out_is_named_and_nothing_of_its_object_is_there() {
    let node = Node::start();
    let applied = node.shell("kubectl apply -f limits.yaml");
    assert_eq!(applied.code, Some(1));
    assert_eq!(
        applied.text,
        "The Pod \"limited\" is invalid: spec.containers[0].resources.limits[ephemeral-storage]: not carried out yet\n"
    );
    let in_template = "kubectl create deployment limited --image=x --dry-run=client -o yaml -- sleep 9 \
         | sed 's/resources: {}/resources: {limits: {ephemeral-storage: 1Gi}}/' \
         | kubectl apply --server-side -f -";
    let applied = node.shell(in_template);
    assert_eq!(applied.code, Some(1));
    assert!(
        applied.text.contains(
            "spec.template.spec.containers[0].resources.limits[ephemeral-storage]: not carried out yet"
        ),
        "{}",
        applied.text
    );
    let there = node.shell("kubectl get deployments,replicasets,pods -o name");
    assert_eq!((there.code, there.text.as_str()), (Some(0), ""));
    node.finish();
}
