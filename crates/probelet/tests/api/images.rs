//! Real images end to end: made here, pushed to Debian's registry, pulled with a login, run and probed, as kubectl
//! shows it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::image::{self, PASSWORD, Registry, USER};
use crate::node::{Node, Sort};

/// What a command prints that has to go well.
fn told(node: &Node, command: &str) -> String {
    let said = node.shell(command);
    assert_eq!(
        said.code,
        Some(0),
        "{command}:\n{}\n{}\n{}\nagent:\n{}",
        said.text,
        node.shell("kubectl get pods,events -A -o wide").text,
        node.shell("kubectl get pods -o yaml").text,
        node.log()
    );
    said.text
}

fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

/// Creates what a manifest says.
fn create(node: &Node, manifest: &str) {
    told(
        node,
        &format!("kubectl create -f - <<'END'\n{manifest}\nEND"),
    );
}

fn wait_ready(node: &Node, pod: &str) {
    let wait = format!("kubectl wait pod/{pod} --for=condition=Ready --timeout=50s");
    told(node, &wait);
}

/// Waits until the first container waits for that reason.
fn wait_waiting(node: &Node, pod: &str, reason: &str) {
    let path = "{.status.containerStatuses[0].state.waiting.reason}";
    let wait = format!("kubectl wait pod/{pod} --for=jsonpath='{path}'={reason} --timeout=50s");
    told(node, &wait);
}

fn pod(node: &Node, name: &str) -> Value {
    let text = told(node, &format!("kubectl get pod {name} -o json"));
    serde_json::from_str(&text).unwrap()
}

/// A file beside the data directory.
fn archive(node: &Node, make: fn(&Path)) -> PathBuf {
    let path = node.work().join("image.tar");
    make(&path);
    path
}

fn load(node: &Node, make: fn(&Path)) {
    let path = archive(node, make);
    told(
        node,
        &format!("$PROBELET image load -q -i {}", path.display()),
    );
}

/// `kubectl create secret` of the login for a registry.
fn login(registry: &Registry) -> String {
    format!(
        "kubectl create secret docker-registry login --docker-server={} --docker-username={USER} \
         --docker-password={PASSWORD}",
        registry.host
    )
}

/// What busybox is run as in every test: it has all three kinds of handlers in all three probes.
const BUSYBOX: &str = r"
- {apiVersion: v1, kind: Pod, metadata: {name: first}, spec: {terminationGracePeriodSeconds: 1, containers: [{
    name: main, image: IMAGE, command: [httpd, -f, -p, '8080'],
    startupProbe: {exec: {command: [test, -x, /bin/httpd]}, periodSeconds: 1},
    readinessProbe: {httpGet: {path: /index.html, port: 8080}, periodSeconds: 1},
    livenessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1},
    lifecycle: {postStart: {exec: {command: [sh, -c, 'echo page > /www/index.html']}}}}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: second}, spec: {terminationGracePeriodSeconds: 1, containers: [{
    name: main, image: IMAGE, command: [sh, -c, 'echo page > index.html; exec httpd -f -p 8080'],
    startupProbe: {httpGet: {path: /index.html, port: 8080}, periodSeconds: 1},
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1},
    livenessProbe: {exec: {command: [cat, index.html]}, periodSeconds: 1}}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: third}, spec: {terminationGracePeriodSeconds: 1, containers: [{
    name: main, image: IMAGE, command: [sh, -c, 'echo page > index.html; exec httpd -f -p 8080'],
    startupProbe: {tcpSocket: {port: 8080}, periodSeconds: 1},
    readinessProbe: {exec: {command: [cat, index.html]}, periodSeconds: 1},
    livenessProbe: {httpGet: {path: /index.html, port: 8080}, periodSeconds: 1}}]}}";

fn busybox_runs_with_all_probes(node: &Node) {
    load(node, image::busybox);
    let items = BUSYBOX.replace("IMAGE", "probelet.test/busybox:1");
    create(node, &format!("apiVersion: v1\nkind: List\nitems:{items}"));
    for name in ["first", "second", "third"] {
        wait_ready(node, name);
    }
    for name in ["first", "second", "third"] {
        let status = &pod(node, name)["status"]["containerStatuses"][0];
        assert_eq!(status["restartCount"], 0);
        assert_eq!(status["started"], true);
        assert_eq!(status["image"], "probelet.test/busybox:1");
        let id = status["imageID"].as_str().unwrap();
        assert!(id.starts_with("sha256:"), "{id}");
    }
    // It has been made ill for the probe that only cats it.
    told(node, "kubectl exec second -- rm index.html");
    let restarted = "kubectl wait pod/second --for=jsonpath='{.status.containerStatuses[0].restartCount}'=1 \
                     --timeout=50s";
    told(node, restarted);
    wait_ready(node, "second");
    let words = told(node, "kubectl describe pod second");
    assert_has(
        &words,
        &[
            "Liveness probe failed: cat: can't open 'index.html': No such file or directory",
            "Container main failed liveness probe, will be restarted",
            "Container image \"probelet.test/busybox:1\" already present on machine",
        ],
    );
    let pods = told(node, "kubectl get pods --no-headers");
    let rows: Vec<Vec<&str>> = pods
        .lines()
        .map(|line| line.split_whitespace().take(4).collect())
        .collect();
    let row = |name, restarts| vec![name, "1/1", "Running", restarts];
    let wanted = [row("first", "0"), row("second", "1"), row("third", "0")];
    assert_eq!(rows, wanted, "{pods}");
    // What is held cannot be removed; what is not, can.
    let listed = told(node, "$PROBELET image ls");
    let fields: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((fields[0], fields[1]), ("probelet.test/busybox", "1"));
    assert_eq!(fields[4], "3", "{listed}");
    let id = fields[2];
    let said = node.shell(&format!("$PROBELET image rm {id}"));
    assert_eq!(said.code, Some(1), "{}", said.text);
    let by = " is held by the pods default/";
    assert_has(
        &said.text,
        &[by, "default/first", "default/second", "default/third"],
    );
    let listed = told(node, "$PROBELET image ls -o json");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let held_by = listed["images"][0]["heldBy"].as_array().unwrap();
    let first = pod(node, "first")["metadata"].clone();
    let first = json!({ "namespace": "default", "name": "first", "uid": first["uid"] });
    assert!(
        held_by.len() == 3 && held_by.contains(&first),
        "{held_by:?}"
    );
    told(node, "kubectl delete pods --all --wait");
    told(node, &format!("$PROBELET image rm {id}"));
    assert_eq!(told(node, "$PROBELET image ls").lines().count(), 1);
}

#[test]
fn busybox_runs_with_all_three_kinds_of_probes() {
    let node = Node::start_as(Sort::Images);
    busybox_runs_with_all_probes(&node);
    node.finish();
}

#[test]
fn busybox_runs_with_all_three_kinds_of_probes_for_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        println!("an ordinary user runs these tests already");
        return;
    }
    let node = Node::start_as(Sort::ImagesAsNobody);
    busybox_runs_with_all_probes(&node);
    node.finish();
}

#[test]
fn the_example_of_an_image_does_what_it_says() {
    let node = Node::start_as(Sort::Images);
    load(&node, |archive| {
        image::busybox_as(archive, "docker.io/library/busybox:1.36");
    });
    let example = include_str!("../../../../examples/image.yaml");
    create(&node, example);
    wait_ready(&node, "image");
    let page = told(&node, "kubectl exec image -- wget -q -O - http://page/");
    assert_eq!(page.trim(), "hello from image");
    told(&node, "kubectl exec image -- rm /www/index.html");
    let wait = "kubectl wait pod/image --for=condition=Ready=false --timeout=50s";
    told(&node, wait);
    let restarted = "kubectl wait pod/image --for=jsonpath='{.status.containerStatuses[0].restartCount}'=1 \
                     --timeout=50s";
    told(&node, restarted);
    wait_ready(&node, "image");
    node.finish();
}

/// Nginx and an image of four layers, each with a handler of each kind.
const PULLED: &str = r#"apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: nginx}, spec: {imagePullSecrets: [{name: login}], containers: [{
    name: main, image: "NGINX",
    startupProbe: {exec: {command: [nginx, -t]}, periodSeconds: 1},
    readinessProbe: {httpGet: {path: /healthz, port: 80}, periodSeconds: 1},
    livenessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: layered}, spec: {imagePullSecrets: [{name: login}],
    terminationGracePeriodSeconds: 1, containers: [{name: main, image: "LAYERED",
    startupProbe: {tcpSocket: {port: 8080}, periodSeconds: 1},
    readinessProbe: {exec: {command: [sh, -c, 'test ! -e /data/old && test -f /data/gone']}, periodSeconds: 1},
    livenessProbe: {httpGet: {path: /kept, port: 8080}, periodSeconds: 1}}]}}"#;

#[test]
fn images_of_a_registry_need_its_login_and_run() {
    let registry = Registry::start();
    let node = Node::start_as(Sort::Images);
    let nginx = registry.push(&archive(&node, image::nginx), "team/nginx:1.22");
    let layered = registry.push(&archive(&node, image::layered), "team/layered:v1");
    create(
        &node,
        &PULLED.replace("NGINX", &nginx).replace("LAYERED", &layered),
    );
    for name in ["nginx", "layered"] {
        wait_waiting(&node, name, "ErrImagePull");
    }
    wait_waiting(&node, "nginx", "ImagePullBackOff");
    let row = told(&node, "kubectl get pod nginx --no-headers");
    assert_has(&row, &["0/1", "ImagePullBackOff"]);
    let words = told(&node, "kubectl describe pod nginx");
    let resolve = format!(
        "failed to pull and unpack image \"{nginx}\": failed to resolve reference \"{nginx}\": pull \
         access denied, repository does not exist or may require authorization: authorization failed: no basic auth \
         credentials"
    );
    assert_has(
        &words,
        &[
            "Unable to retrieve some image pull secrets (login); attempting to pull the image may not succeed.",
            &format!("Pulling image \"{nginx}\""),
            &format!("Failed to pull image \"{nginx}\": {resolve}"),
            "Error: ErrImagePull",
            &format!("Back-off pulling image \"{nginx}\""),
            "Error: ImagePullBackOff",
        ],
    );

    told(&node, &login(&registry));
    for name in ["nginx", "layered"] {
        wait_ready(&node, name);
    }
    for (name, image) in [("nginx", &nginx), ("layered", &layered)] {
        let row = told(&node, &format!("kubectl get pod {name} --no-headers"));
        assert_has(&row, &["1/1", "Running"]);
        let words = told(&node, &format!("kubectl describe pod {name}"));
        assert_has(
            &words,
            &[&format!("Successfully pulled image \"{image}\" in ")],
        );
        let status = &pod(&node, name)["status"]["containerStatuses"][0];
        assert_eq!(status["image"], **image);
        assert_eq!(status["restartCount"], 0);
        let (repository, _) = image.rsplit_once(':').unwrap();
        let id = status["imageID"].as_str().unwrap();
        assert!(id.starts_with(&format!("{repository}@sha256:")), "{id}");
    }
    // The page of Debian's package, by the worker that is not root.
    let fetch = "kubectl port-forward pod/nginx :80 > $TMP/forward & trap 'kill %1' EXIT; until port=$(grep -o -m1 \
                 '127.0.0.1:[0-9]*' $TMP/forward); do sleep 0.05; done; curl -s http://$port/";
    let page = told(&node, fetch);
    assert_has(&page, &["Welcome to nginx!"]);
    // The layers as they lie upon each other.
    let inside = "kubectl exec layered -- sh -c 'cd /data && find . -type f | sort && cat gone link kept dir/new && \
                  stat -c %h gone && echo $LAYERS'";
    let seen: Vec<String> = told(&node, inside).lines().map(str::to_owned).collect();
    let wanted = [
        "./dir/new",
        "./gone",
        "./kept",
        "./link",
        "4",
        "4",
        "1",
        "2",
        "2",
        "4",
    ];
    assert_eq!(seen, wanted);
    let listed = told(&node, "$PROBELET image ls");
    assert_has(&listed, &[nginx.rsplit_once(':').unwrap().0]);
    // Nginx ends of itself by the stop signal of its image, long before the thirty seconds are over.
    told(&node, "kubectl delete pod nginx --wait --timeout=20s");
    node.finish();
}

#[test]
fn images_that_cannot_be_had_are_named() {
    let node = Node::start_as(Sort::Images);
    create(
        &node,
        "apiVersion: v1\nkind: List\nitems:
- {apiVersion: v1, kind: Pod, metadata: {name: never}, spec: {containers: [{name: main, image: nosuch, imagePullPolicy: Never}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: invalid}, spec: {containers: [{name: main, image: 'Not A Name'}]}}",
    );
    wait_waiting(&node, "never", "ErrImageNeverPull");
    wait_waiting(&node, "invalid", "InvalidImageName");
    assert_has(
        &told(&node, "kubectl get pod never"),
        &["ErrImageNeverPull"],
    );
    assert_has(
        &told(&node, "kubectl get pod invalid"),
        &["InvalidImageName"],
    );
    assert_has(
        &told(&node, "kubectl describe pod never"),
        &[
            "Container image \"nosuch\" is not present with pull policy of Never",
            "Error: ErrImageNeverPull",
        ],
    );
    assert_has(
        &told(&node, "kubectl describe pod invalid"),
        &[
            "Failed to apply default image tag \"Not A Name\": couldn't parse image name \"Not A Name\": invalid \
             reference format",
            "Error: InvalidImageName",
        ],
    );
    node.finish();
}

#[test]
fn a_container_over_its_memory_limit_is_oom_killed() {
    let node = Node::start_as(Sort::Images);
    load(&node, image::busybox);
    create(
        &node,
        "apiVersion: v1\nkind: Pod\nmetadata: {name: greedy}\nspec: {restartPolicy: Never, containers: [{name: main, \
         image: 'probelet.test/busybox:1', imagePullPolicy: Never, resources: {limits: {memory: 16Mi, cpu: 500m}}, \
         command: [sh, -c, 'x=0123456789abcdef; while [ ${#x} -lt 200000000 ]; do x=$x$x; done; sleep 1000']}]}",
    );
    let wait = "kubectl wait pod/greedy --for=jsonpath='{.status.phase}'=Failed --timeout=50s";
    told(&node, wait);
    let row = told(&node, "kubectl get pod greedy --no-headers");
    assert_has(&row, &["0/1", "OOMKilled"]);
    let ended = &pod(&node, "greedy")["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(
        (&ended["reason"], &ended["exitCode"]),
        (&"OOMKilled".into(), &137.into())
    );
    node.finish();
}

#[test]
fn services_are_found_by_name_from_inside_an_image() {
    let node = Node::start_as(Sort::Images);
    load(&node, image::busybox);
    create(
        &node,
        r"apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}}, spec: {terminationGracePeriodSeconds: 1, containers: [{
    name: main, image: 'probelet.test/busybox:1', command: [sh, -c, 'hostname > index.html; exec httpd -f -p 8080'],
    readinessProbe: {httpGet: {path: /index.html, port: 8080}, periodSeconds: 1}}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: client}, spec: {terminationGracePeriodSeconds: 1, containers: [{
    name: main, image: 'probelet.test/busybox:1', command: [sleep, '1000'],
    readinessProbe: {exec: {command: [wget, -q, -O, /dev/null, 'http://web/index.html']}, periodSeconds: 1}}]}}",
    );
    for name in ["web", "client"] {
        wait_ready(&node, name);
    }
    let address = told(
        &node,
        "kubectl get service web -o jsonpath={.spec.clusterIP}",
    );
    let inside = |command: &str| told(&node, &format!("kubectl exec client -- {command}"));
    assert_has(
        &inside("cat /etc/resolv.conf"),
        &[
            "nameserver ",
            "search default.svc.cluster.local svc.cluster.local cluster.local",
        ],
    );
    let found = inside("nslookup -type=a web.default.svc.cluster.local");
    assert_has(
        &found,
        &[
            "web.default.svc.cluster.local",
            &format!("Address: {address}"),
        ],
    );
    for name in [
        "web",
        "web.default",
        "web.default.svc.cluster.local",
        &address,
    ] {
        let page = inside(&format!("wget -q -O - http://{name}/index.html"));
        assert_eq!(page.trim(), "web", "{name}");
    }
    assert_has(
        &inside("sh -c 'nc -w 2 web 80 </dev/null && echo open'"),
        &["open"],
    );
    node.finish();
}
