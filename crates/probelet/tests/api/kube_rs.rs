//! A controller as people write them with kube-rs: watcher and reflector, server-side apply, a status patch, exec,
//! logs and port-forward.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{
    Api, AttachParams, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams,
    WatchEvent, WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::controller::Action;
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{Controller, WatchStreamExt, reflector, watcher};
use kube::{Client, Config, ResourceExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::node::Node;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

async fn client(node: &Node) -> Client {
    client_of(&node.kubeconfig()).await
}

/// A client for whom a kubeconfig is enough.
pub(crate) async fn client_of(kubeconfig: &Path) -> Client {
    // kube is built with one provider of cryptography; whoever comes second finds the first's.
    let _there_already = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    Client::try_from(config.unwrap()).unwrap()
}

fn block<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, work).await })
        .expect("within a minute")
}

/// A server that says what it is asked.
fn echo(name: &str) -> Pod {
    let program = r#"
use strict; use IO::Socket::INET;
$SIG{TERM} = sub { exit 0 };
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 7000, Listen => 4, ReuseAddr => 1) or die;
$| = 1; print "listening\n";
while (my $client = $server->accept) { while (my $line = <$client>) { print $client "you said $line" } }
"#;
    let pod = json!({
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main",
                "image": "example.test/echo:1",
                "command": ["perl", "-we", program],
                "readinessProbe": { "exec": { "command": ["true"] }, "periodSeconds": 1 },
            }],
        },
    });
    serde_json::from_value(pod).unwrap()
}

async fn ready(pods: &Api<Pod>, name: &str) {
    let is_ready = conditions::is_pod_running();
    await_condition(pods.clone(), name, is_ready).await.unwrap();
    let has_ready = |pod: Option<&Pod>| {
        let status = pod.and_then(|pod| pod.status.as_ref());
        let all = status.and_then(|status| status.conditions.as_ref());
        all.into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    await_condition(pods.clone(), name, has_ready)
        .await
        .unwrap();
}

#[test]
fn objects_are_written_watched_and_streamed() {
    let node = Node::start();
    block(async {
        let client = client(&node).await;
        let pods: Api<Pod> = Api::default_namespaced(client);
        let made = pods
            .create(&PostParams::default(), &echo("echo"))
            .await
            .unwrap();
        ready(&pods, "echo").await;

        let again = pods.create(&PostParams::default(), &echo("echo")).await;
        assert!(
            matches!(&again, Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists"),
            "{again:?}"
        );
        let follow = LogParams {
            follow: true,
            ..LogParams::default()
        };
        let mut lines = pods.log_stream("echo", &follow).await.unwrap().lines();
        let first = lines.try_next().await.unwrap();
        assert_eq!(first.as_deref(), Some("listening"));

        let mut attached = pods
            .exec(
                "echo",
                ["sh", "-c", "cat; echo to stderr >&2; exit 3"],
                &AttachParams::default().stdin(true),
            )
            .await
            .unwrap();
        let mut stdin = attached.stdin().unwrap();
        stdin.write_all(b"through and back").await.unwrap();
        stdin.shutdown().await.unwrap();
        drop(stdin);
        let (mut out, mut err) = (String::new(), String::new());
        let (mut stdout, mut stderr) = (attached.stdout().unwrap(), attached.stderr().unwrap());
        tokio::try_join!(
            stdout.read_to_string(&mut out),
            stderr.read_to_string(&mut err)
        )
        .unwrap();
        let status = attached.take_status().unwrap().await.unwrap();
        assert_eq!(
            (out.as_str(), err.as_str()),
            ("through and back", "to stderr\n")
        );
        assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));

        let mut forwarder = pods.portforward("echo", &[7000]).await.unwrap();
        let mut stream = forwarder.take_stream(7000).unwrap();
        stream.write_all(b"hello\n").await.unwrap();
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"you said hello\n");
        drop(stream);

        // The status of a condition that a readiness gate could name.
        let status = json!({ "status": { "conditions": [{ "type": "example.test/checked", "status": "True" }] } });
        pods.patch_status("echo", &PatchParams::default(), &Patch::Strategic(status))
            .await
            .unwrap();
        let now = pods.get("echo").await.unwrap();
        let types: Vec<String> = now
            .status
            .and_then(|status| status.conditions)
            .unwrap()
            .into_iter()
            .map(|condition| condition.type_)
            .collect();
        assert!(
            types.iter().any(|kind| kind == "example.test/checked"),
            "{types:?}"
        );
        assert!(types.iter().any(|kind| kind == "Ready"), "{types:?}");

        let version = made.resource_version().unwrap();
        let mut events = pods
            .watch(
                &WatchParams::default().fields("metadata.name=echo"),
                &version,
            )
            .await
            .unwrap()
            .boxed();
        pods.delete("echo", &DeleteParams::default()).await.unwrap();
        let mut versions = Vec::new();
        while let Some(event) = events.try_next().await.unwrap() {
            match event {
                WatchEvent::Modified(pod) => versions.push(pod.resource_version().unwrap()),
                WatchEvent::Deleted(pod) => {
                    versions.push(pod.resource_version().unwrap());
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        let numbers: Vec<u64> = versions.iter().map(|text| text.parse().unwrap()).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    });
    node.finish();
}

#[test]
fn server_side_apply_keeps_the_fields_of_others() {
    let node = Node::start();
    block(async {
        let client = client(&node).await;
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let of = |data: serde_json::Value| {
            Patch::Apply(json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "shared" }, "data": data,
            }))
        };
        let (one, two) = (PatchParams::apply("one"), PatchParams::apply("two"));
        maps.patch("shared", &one, &of(json!({ "a": "1", "b": "1" })))
            .await
            .unwrap();
        maps.patch("shared", &two, &of(json!({ "c": "2" })))
            .await
            .unwrap();
        let taken = maps.patch("shared", &two, &of(json!({ "a": "2" }))).await;
        assert!(
            matches!(&taken, Err(kube::Error::Api(status)) if status.code == 409 && status.message.contains("conflict with \"one\"")),
            "{taken:?}"
        );
        maps.patch("shared", &one, &of(json!({ "b": "1" })))
            .await
            .unwrap();
        maps.patch(
            "shared",
            &two.clone().force(),
            &of(json!({ "b": "2", "c": "2" })),
        )
        .await
        .unwrap();
        let data = maps.get("shared").await.unwrap().data.unwrap();
        let expected =
            [("b", "2"), ("c", "2")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(data, BTreeMap::from(expected));
    });
    node.finish();
}

/// Gives every Namespace with a label a ConfigMap of its own, as the simplest of controllers.
#[test]
fn a_controller_with_watcher_and_reflector_reconciles() {
    let node = Node::start();
    block(async {
        let client = client(&node).await;
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let welcomed = watcher::Config::default().labels("welcome=yes");
        let reconcile = |namespace: std::sync::Arc<Namespace>, client: std::sync::Arc<Client>| async move {
            let maps: Api<ConfigMap> = Api::namespaced((*client).clone(), &namespace.name_any());
            let map = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "welcome" },
                "data": { "text": format!("to {}", namespace.name_any()) },
            });
            maps.patch(
                "welcome",
                &PatchParams::apply("greeter").force(),
                &Patch::Apply(map),
            )
            .await?;
            Ok::<_, kube::Error>(Action::await_change())
        };
        let failed = |_: std::sync::Arc<Namespace>,
                      error: &kube::Error,
                      _: std::sync::Arc<Client>| { panic!("{error}") };
        let controller = Controller::new(namespaces.clone(), welcomed)
            .run(reconcile, failed, std::sync::Arc::new(client.clone()))
            .for_each(|done| async move { drop(done.unwrap()) });
        let controller = tokio::spawn(controller);

        let (reader, writer) = reflector::store::<ConfigMap>();
        let maps: Api<ConfigMap> = Api::all(client);
        let reflected = reflector(
            writer,
            watcher(maps, watcher::Config::default().streaming_lists()),
        )
        .default_backoff()
        .touched_objects()
        .for_each(|seen| async move { drop(seen.unwrap()) });
        let reflected = tokio::spawn(reflected);
        reader.wait_until_ready().await.unwrap();

        for (name, label) in [("first", "yes"), ("second", "no"), ("third", "yes")] {
            let namespace = json!({ "metadata": { "name": name, "labels": { "welcome": label } } });
            let namespace: Namespace = serde_json::from_value(namespace).unwrap();
            namespaces
                .create(&PostParams::default(), &namespace)
                .await
                .unwrap();
        }
        let relabelled = json!({ "metadata": { "labels": { "welcome": "yes" } } });
        namespaces
            .patch("second", &PatchParams::default(), &Patch::Merge(relabelled))
            .await
            .unwrap();
        let texts = || {
            let state = reader.state();
            let welcome = state.iter().filter(|map| map.name_any() == "welcome");
            let mut texts: Vec<String> = welcome
                .filter_map(|map| map.data.as_ref()?.get("text").cloned())
                .collect();
            texts.sort();
            texts
        };
        while texts() != ["to first", "to second", "to third"] {
            tokio::task::yield_now().await;
        }
        let listed = namespaces
            .list(&ListParams::default().labels("welcome").limit(2))
            .await
            .unwrap();
        assert_eq!(listed.items.len(), 2);
        assert!(listed.metadata.continue_.is_some());
        controller.abort();
        reflected.abort();
    });
    node.finish();
}
