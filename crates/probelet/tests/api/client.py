"""A program with the official Python client that knows nothing of Probelet: it makes what it needs, watches,
runs a command, reads logs, and cleans up. Its exit code says whether all was as on any other cluster."""

import sys
import threading

from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream

config.load_kube_config(sys.argv[1])
core, apps = client.CoreV1Api(), client.AppsV1Api()
namespace = "from-python"

version = client.VersionApi().get_code()
assert (version.major, version.minor) == ("1", "35"), version
core.create_namespace({"metadata": {"name": namespace}})
core.create_namespaced_config_map(namespace, {"metadata": {"name": "paint"}, "data": {"colour": "blue"}})

pod = client.V1Pod(
    metadata=client.V1ObjectMeta(name="painter", labels={"app": "painter"}),
    spec=client.V1PodSpec(
        termination_grace_period_seconds=1,
        containers=[
            client.V1Container(
                name="main",
                image="example.test/painter:1",
                command=["sh", "-c", "echo $COLOUR; trap 'exit 0' TERM; sleep 1000 & wait"],
                env=[
                    client.V1EnvVar(
                        name="COLOUR",
                        value_from=client.V1EnvVarSource(
                            config_map_key_ref=client.V1ConfigMapKeySelector(name="paint", key="colour")
                        ),
                    )
                ],
                readiness_probe=client.V1Probe(_exec=client.V1ExecAction(command=["true"]), period_seconds=1),
            )
        ],
    ),
)
made = core.create_namespaced_pod(namespace, pod)
assert made.metadata.uid and made.spec.node_name, made

phases = []
for event in watch.Watch().stream(
    core.list_namespaced_pod, namespace, resource_version=made.metadata.resource_version, timeout_seconds=60
):
    status = event["object"].status
    phases.append((event["type"], status.phase))
    if any(c.type == "Ready" and c.status == "True" for c in status.conditions or []):
        break
else:
    raise AssertionError(f"never ready: {phases}")

assert core.read_namespaced_pod_log("painter", namespace) == "blue\n"
said = stream(
    core.connect_get_namespaced_pod_exec,
    "painter",
    namespace,
    command=["sh", "-c", "echo $((6 * 7))"],
    stdout=True,
    stderr=True,
    stdin=False,
    tty=False,
)
assert said == "42\n", said

try:
    core.create_namespaced_pod(namespace, pod)
    raise AssertionError("made twice")
except ApiException as error:
    assert (error.status, error.reason) == (409, "Conflict"), error

patched = core.patch_namespaced_pod("painter", namespace, {"metadata": {"labels": {"tier": "back"}}})
assert patched.metadata.labels == {"app": "painter", "tier": "back"}, patched.metadata.labels
stale = made
stale.metadata.labels = {"app": "other"}
try:
    core.replace_namespaced_pod("painter", namespace, stale)
    raise AssertionError("a stale object was taken")
except ApiException as error:
    assert error.status == 409, error

pages, token = 0, None
for number in range(7):
    core.create_namespaced_config_map(namespace, {"metadata": {"name": f"page-{number}", "labels": {"of": "book"}}})
while True:
    page = core.list_namespaced_config_map(namespace, label_selector="of=book", limit=3, _continue=token)
    pages += len(page.items)
    token = page.metadata._continue
    if not token:
        break
assert pages == 7, pages

apps.create_namespaced_deployment(
    namespace,
    {
        "metadata": {"name": "workers"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "worker"}},
            "template": {
                "metadata": {"labels": {"app": "worker"}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "main", "image": "x", "command": ["sleep", "1000"]}],
                },
            },
        },
    },
)
for event in watch.Watch().stream(apps.list_namespaced_deployment, namespace, timeout_seconds=60):
    if event["object"].status.available_replicas == 2:
        break
else:
    raise AssertionError("the deployment never had both replicas")
scale = apps.read_namespaced_deployment_scale("workers", namespace)
assert scale.spec.replicas == 2 and scale.status.selector == "app=worker", scale

gone = threading.Event()


def follow():
    for event in watch.Watch().stream(core.list_namespaced_pod, namespace, timeout_seconds=60):
        if event["type"] == "DELETED" and event["object"].metadata.name == "painter":
            gone.set()
            return


follower = threading.Thread(target=follow, daemon=True)
follower.start()
core.delete_namespaced_pod("painter", namespace)
assert gone.wait(60), "no DELETED event"
core.delete_namespace(namespace)
for event in watch.Watch().stream(
    core.list_namespace, field_selector=f"metadata.name={namespace}", timeout_seconds=60
):
    if event["type"] == "DELETED":
        break
else:
    raise AssertionError("the namespace stays")
print("as on any other cluster")
