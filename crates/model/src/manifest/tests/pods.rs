//! Pods that are right: their defaults, and what is read from them.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::pod::{
    EnvValue, Hook, HostPathType, Pod, RestartPolicy, User, VolumeMount, VolumeSource,
};
use crate::probe::{Handler, PortRef, Scheme};
use crate::resources::{Amounts, Resources};

#[test]
fn a_pod_is_defaulted() {
    let text = PodText {
        metadata: "creationTimestamp: null\nuid: abc\nresourceVersion: '5'\nmanagedFields: [{manager: m}]\nlabels:",
        spec: "volumes: [{name: a}, {name: b, hostPath: {path: /b}}]",
        container: "image: web\nports: [{containerPort: 80}]\ntty: null\n\
                    livenessProbe: {httpGet: {port: 80, path: ''}, periodSeconds: 0}",
    };
    let object = only(load_text(&format!(
        "{}status: {{phase: Running}}\n",
        text.yaml()
    )));
    assert_eq!(
        object.value,
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "containers": [{
                    "name": "main",
                    "image": "web",
                    "imagePullPolicy": "Always",
                    "command": ["sleep", "1"],
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                    "livenessProbe": {
                        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                        "timeoutSeconds": 1,
                        "periodSeconds": 10,
                        "successThreshold": 1,
                        "failureThreshold": 3,
                    },
                    "resources": {},
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File",
                }],
                "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "hostPath": {"path": "/b", "type": ""}}],
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 30,
                "dnsPolicy": "ClusterFirst",
                "schedulerName": "default-scheduler",
                "enableServiceLinks": true,
                "securityContext": {},
                "runtimeClassName": "host",
            },
        })
    );
}

#[test]
fn pull_policies_follow_the_tag() {
    for (image, expected) in [
        ("web", "Always"),
        ("web:latest", "Always"),
        ("registry:5000/web", "Always"),
        ("registry:5000/web:1", "IfNotPresent"),
        ("web@sha256:0123", "IfNotPresent"),
        ("web:1@sha256:0123", "IfNotPresent"),
        ("web:latest@sha256:0123", "Always"),
        ("web:1", "IfNotPresent"),
    ] {
        let text = PodText {
            container: &format!("image: {image}"),
            ..PodText::default()
        }
        .yaml();
        let value = only(load_text(&text)).value;
        let policy = &value["spec"]["containers"][0]["imagePullPolicy"];
        assert_eq!(policy, expected, "{image}");
        let read = pod(&text).containers.remove(0).pull_policy;
        assert_eq!(format!("{read:?}"), expected, "{image}");
    }
}

#[test]
fn limits_are_asked_for() {
    let text = PodText {
        spec: "initContainers: [{name: a, command: [a], resources: {limits: {memory: 1Mi}}}]",
        container: "resources: {limits: {cpu: 2, memory: 1Gi}, requests: {memory: 1Mi}}",
        ..PodText::default()
    };
    let value = only(load_text(&text.yaml())).value;
    let requests = |list: &str| &value["spec"][list][0]["resources"]["requests"];
    assert_eq!(*requests("initContainers"), json!({"memory": "1Mi"}));
    assert_eq!(*requests("containers"), json!({"memory": "1Mi", "cpu": 2}));
}

#[test]
fn limits_are_read() {
    let text = PodText {
        container: "resources: {limits: {cpu: 1.5, memory: 1Gi}, requests: {cpu: 250m, ephemeral-storage: 1k}}",
        ..PodText::default()
    };
    let resources = pod(&text.yaml()).containers.remove(0).resources;
    let limits = Amounts {
        cpu_milli: Some(1500),
        memory: Some(1 << 30),
        ephemeral_storage: None,
    };
    let requests = Amounts {
        cpu_milli: Some(250),
        memory: Some(1 << 30),
        ephemeral_storage: Some(1000),
    };
    assert_eq!(resources, Resources { requests, limits });
}

#[test]
fn a_pod_is_read() {
    let text = PodText {
        metadata: "namespace: other\nlabels: {app: web}\nannotations: {a/b: c}",
        spec: "restartPolicy: OnFailure\nterminationGracePeriodSeconds: 0\nhostNetwork: true\nhostname: h\nsubdomain: s\n\
               securityContext: {runAsUser: 1, runAsGroup: 2, runAsNonRoot: true}\n\
               volumes:\n- name: data\n  hostPath: {path: /data, type: DirectoryOrCreate}\n\
               - name: tmp\n  emptyDir: {medium: Memory, sizeLimit: 1Mi}",
        container: "command: [a]\nargs: [b]\nimage: i\nworkingDir: /w\nenv: [{name: A, value: b}, {name: C}]\n\
                    ports: [{name: http, containerPort: 80, protocol: UDP}]\n\
                    securityContext: {runAsUser: 3}\n\
                    volumeMounts: [{name: data, mountPath: /d, readOnly: true}, {name: tmp, mountPath: t}]\n\
                    lifecycle: {preStop: {sleep: {seconds: 0}}}\n\
                    livenessProbe:\n  exec: {command: [true, '1']}\n  terminationGracePeriodSeconds: 7\n  initialDelaySeconds: 4\n\
                    readinessProbe:\n  tcpSocket: {port: http, host: h}\n  successThreshold: 2\n  failureThreshold: 5\n\
                    startupProbe:\n  httpGet: {port: '80a', path: /x, host: h, scheme: HTTPS, httpHeaders: [{name: A, value: b}]}\n  timeoutSeconds: 9\n  periodSeconds: 8",
    };
    let text = text.yaml().replace("[true,", "['true',");
    let object = only(load_text(&text));
    let read = pod(&text);
    assert_eq!(object.key.to_string(), "Pod other/web");
    assert_eq!(Pod::from_value(&object.value).unwrap(), read);
    assert_eq!(read.meta.labels["app"], "web");
    assert_eq!(read.meta.annotations["a/b"], "c");
    assert_eq!(read.restart_policy, RestartPolicy::OnFailure);
    assert_eq!(read.termination_grace_period, Duration::ZERO);
    assert!(read.host_network);
    assert_eq!(
        (read.hostname.as_str(), read.subdomain.as_deref()),
        ("h", Some("s"))
    );
    let path = PathBuf::from("/data");
    assert_eq!(
        read.volumes[0].source,
        VolumeSource::HostPath {
            path,
            kind: HostPathType::DirectoryOrCreate
        }
    );
    assert_eq!(
        read.volumes[1].source,
        VolumeSource::EmptyDir {
            in_memory: true,
            size_limit: Some(1 << 20)
        }
    );
    let container = &read.containers[0];
    assert_eq!(
        [&container.command[..], &container.args].concat(),
        ["a", "b"]
    );
    assert_eq!(container.working_dir.as_deref(), Some("/w"));
    assert_eq!(container.env[1].value, EnvValue::Literal(String::new()));
    assert_eq!(
        container.user,
        User {
            uid: Some(3),
            gid: Some(2)
        }
    );
    assert_eq!(container.volume_mounts[1].path, PathBuf::from("/t"));
    assert_eq!(container.pre_stop, Some(Hook::Sleep(Duration::ZERO)));
    assert_eq!(
        object.value["spec"]["containers"][0]["ports"][0]["hostPort"],
        80
    );
    let [liveness, readiness, startup] = [
        &container.liveness,
        &container.readiness,
        &container.startup,
    ];
    let (liveness, readiness, startup) = (
        liveness.as_ref().unwrap(),
        readiness.as_ref().unwrap(),
        startup.as_ref().unwrap(),
    );
    assert_eq!(
        liveness.handler,
        Handler::Exec {
            command: vec!["true".to_owned(), "1".to_owned()]
        }
    );
    assert_eq!(
        liveness.termination_grace_period,
        Some(Duration::from_secs(7))
    );
    assert_eq!(liveness.initial_delay, Duration::from_secs(4));
    let port = PortRef::Name("http".to_owned());
    assert_eq!(
        readiness.handler,
        Handler::TcpSocket {
            host: Some("h".to_owned()),
            port
        }
    );
    assert_eq!(
        (readiness.success_threshold, readiness.failure_threshold),
        (2, 5)
    );
    assert_eq!(
        startup.handler,
        Handler::HttpGet {
            host: Some("h".to_owned()),
            port: PortRef::Name("80a".to_owned()),
            path: "/x".to_owned(),
            scheme: Scheme::Https,
            headers: vec![("A".to_owned(), "b".to_owned())],
        }
    );
    assert_eq!(
        (startup.timeout.as_secs(), startup.period.as_secs()),
        (9, 8)
    );
}

#[test]
fn sub_paths_are_read() {
    let text = PodText {
        spec: "volumes: [{name: v}]",
        container: "volumeMounts: [{name: v, mountPath: /a, subPath: b}, {name: v, mountPath: /c, subPathExpr: d/$(E)}]",
        ..PodText::default()
    };
    let mounts = pod(&text.yaml()).containers.remove(0).volume_mounts;
    let paths = |index: usize| {
        let mount: &VolumeMount = &mounts[index];
        (mount.sub_path.as_deref(), mount.sub_path_expr.as_deref())
    };
    assert_eq!(paths(0), (Some("b"), None));
    assert_eq!(paths(1), (None, Some("d/$(E)")));
}

#[test]
fn pull_secrets_are_read() {
    let text = PodText {
        spec: "imagePullSecrets: [{name: a}, {name: ''}, {}, {name: b}]",
        ..PodText::default()
    };
    assert_eq!(pod(&text.yaml()).image_pull_secrets, ["a", "b"]);
}

#[test]
fn a_stored_pod_brings_what_the_server_set() {
    let mut value = only(load_text(&PodText::default().yaml())).value;
    let metadata = &mut value["metadata"];
    metadata["uid"] = json!("u");
    metadata["resourceVersion"] = json!("7");
    metadata["generation"] = json!(3);
    metadata["creationTimestamp"] = json!("2026-11-23T10:00:00Z");
    metadata["deletionTimestamp"] = json!("2026-11-23T10:00:30Z");
    metadata["deletionGracePeriodSeconds"] = json!(30);
    value["spec"]["nodeName"] = json!("here");
    value["status"] = json!({"phase": "Running"});
    let read = Pod::from_value(&value).unwrap();
    assert_eq!((read.uid.as_str(), read.meta.generation), ("u", 3));
    assert_eq!(read.meta.created_at.to_string(), "2026-11-23T10:00:00Z");
    let deletion = read.deletion.unwrap();
    assert_eq!(
        (deletion.at.to_string().as_str(), deletion.grace.as_secs()),
        ("2026-11-23T10:00:30Z", 30)
    );
    value["metadata"]["deletionTimestamp"] = json!("soon");
    let errors = Pod::from_value(&value).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].path.to_string(), "metadata.deletionTimestamp");
    assert!(Pod::from_value(&json!({"kind": "Service", "apiVersion": "v1"})).is_err());
    assert!(Pod::from_value(&Value::Null).is_err());
}

#[test]
fn a_long_name_is_cut_to_a_host_name() {
    let name = format!("{}-b", "a".repeat(62));
    let read = pod(&PodText::default()
        .yaml()
        .replace("name: web", &format!("name: {name}")));
    assert_eq!(read.hostname, "a".repeat(62));
}

#[test]
fn references_are_expanded_from_the_variables_before_them() {
    let text = PodText {
        container: "env:\n- {name: A, value: '1'}\n- {name: B, value: $(A)2}\n- {name: C, value: $(D)}\n\
                    - {name: D, value: $$(A)}\n- {name: A, value: $(A)3}",
        ..PodText::default()
    };
    let container = pod(&text.yaml()).containers.remove(0);
    let words = ["a$(A)b", "$(B)", "$(C)", "$(D)", "$(NONE)", "$$(A)"].map(str::to_owned);
    assert_eq!(
        container.expand(&words),
        ["a13b", "12", "$(D)", "$(A)", "$(NONE)", "$(A)"]
    );
}

#[test]
fn a_port_is_found_by_its_name_whatever_its_protocol() {
    let text = PodText {
        container: "ports: [{containerPort: 79}, {name: dns, containerPort: 53, protocol: UDP}, \
                    {name: http, containerPort: 80}]",
        ..PodText::default()
    };
    let container = pod(&text.yaml()).containers.remove(0);
    for (name, expected) in [
        ("dns", Some(53)),
        ("http", Some(80)),
        ("https", None),
        ("", None),
    ] {
        assert_eq!(
            container.resolve_port(&PortRef::Name(name.to_owned())),
            expected,
            "{name:?}"
        );
    }
    assert_eq!(container.resolve_port(&PortRef::Number(7)), Some(7));
}

#[test]
fn a_pod_is_called_by_its_name_and_its_namespace() {
    let text = PodText {
        metadata: "namespace: other",
        ..PodText::default()
    };
    assert_eq!(pod(&text.yaml()).full_name(), "web_other");
}

#[test]
fn an_empty_dir_without_a_limit_has_none() {
    for (source, in_memory, size_limit) in [
        ("{}", false, None),
        ("{sizeLimit: 0}", false, None),
        ("{sizeLimit: '1'}", false, Some(1)),
        ("{medium: Memory}", true, None),
    ] {
        let text = PodText {
            spec: &format!("volumes: [{{name: a, emptyDir: {source}}}]"),
            ..PodText::default()
        };
        let read = pod(&text.yaml()).volumes.remove(0).source;
        assert_eq!(
            read,
            VolumeSource::EmptyDir {
                in_memory,
                size_limit
            },
            "{source}"
        );
    }
}
