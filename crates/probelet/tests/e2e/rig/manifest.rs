//! Pods and Services to be tried.

use std::path::Path;

use serde_json::{Value, json};

/// `perl -we SERVER PORT [BROKEN]`: an HTTP server that says which pod it is; with 500 while the file
/// BROKEN is there.
pub(crate) const SERVER: &str = r#"
use strict; use IO::Socket::INET;
$SIG{PIPE} = 'IGNORE';
my ($port, $broken) = @ARGV;
my $server = IO::Socket::INET->new(LocalPort => $port, Listen => 16, ReuseAddr => 1) or die "cannot listen: $@\n";
while (1) {
  my $client = $server->accept or next;
  $client->setsockopt(SOL_SOCKET, SO_RCVTIMEO, pack 'l!l!', 1, 0);
  while (my $line = <$client>) { last if $line =~ /^\r?\n$/ }
  my ($status, $body) = defined $broken && -e $broken
    ? ('500 Internal Server Error', "broken\n") : ('200 OK', "hello from $ENV{HOSTNAME}\n");
  print $client "HTTP/1.1 $status\r\nContent-Length: ", length $body, "\r\nConnection: close\r\n\r\n$body";
}
"#;

/// The command of a [`SERVER`].
pub(crate) fn server(port: &str, broken: &str) -> Value {
    json!(["perl", "-we", SERVER, port, broken])
}

/// The command of a shell script.
pub(crate) fn shell(script: &str) -> Value {
    json!(["sh", "-c", script])
}

/// A pod of one container, `main`, with the label `app` of its name. It can be found by `data_dir` in its
/// environment.
pub(crate) fn pod(name: &str, command: &Value, data_dir: &Path) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": {
            "runtimeClassName": "host",
            "terminationGracePeriodSeconds": 2,
            "containers": [{
                "name": "main",
                "image": "none",
                "command": command,
                "env": [{ "name": "DATA_DIR", "value": data_dir.display().to_string() }],
            }],
        },
    })
}

/// A Service of one port, 80, that selects the label `app` of its name.
pub(crate) fn service(name: &str, target_port: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name },
        "spec": {
            "selector": { "app": name },
            "ports": [{ "port": 80, "targetPort": target_port }],
        },
    })
}

/// A Deployment of so many pods like this one, which is written as [`pod`] writes it.
pub(crate) fn deployment(pod: &Value, replicas: u32) -> Value {
    let metadata = &pod["metadata"];
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": metadata["name"] },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": metadata["labels"] },
            "template": { "metadata": { "labels": metadata["labels"] }, "spec": pod["spec"] },
        },
    })
}

/// Ways to write a pod down.
pub(crate) trait PodValue {
    /// The pod with a field of its spec.
    fn with_spec(self, field: &str, value: Value) -> Self;
    /// The pod with a field of its container.
    fn with(self, field: &str, value: Value) -> Self;
    /// The pod with one more of `initContainers`, which runs a shell script.
    fn with_init(self, name: &str, script: &str) -> Self;
    /// The pod with a field of the newest of its `initContainers`.
    fn with_in_init(self, field: &str, value: Value) -> Self;
    /// The pod with a directory of the host at `/switch`, in all containers it has so far.
    fn with_switch(self, dir: &Path) -> Self;
}

impl PodValue for Value {
    fn with_spec(mut self, field: &str, value: Value) -> Self {
        self["spec"][field] = value;
        self
    }

    fn with(mut self, field: &str, value: Value) -> Self {
        self["spec"]["containers"][0][field] = value;
        self
    }

    fn with_init(mut self, name: &str, script: &str) -> Self {
        if self["spec"]["initContainers"].is_null() {
            self["spec"]["initContainers"] = json!([]);
        }
        let containers = self["spec"]["initContainers"].as_array_mut().unwrap();
        containers.push(json!({ "name": name, "image": "none", "command": shell(script) }));
        self
    }

    fn with_in_init(mut self, field: &str, value: Value) -> Self {
        let containers = self["spec"]["initContainers"].as_array_mut().unwrap();
        containers.last_mut().unwrap()[field] = value;
        self
    }

    fn with_switch(mut self, dir: &Path) -> Self {
        for list in ["initContainers", "containers"] {
            for container in self["spec"][list].as_array_mut().into_iter().flatten() {
                container["volumeMounts"] = json!([{ "name": "switch", "mountPath": "/switch" }]);
            }
        }
        self.with_spec(
            "volumes",
            json!([{ "name": "switch", "hostPath": { "path": dir, "type": "Directory" } }]),
        )
    }
}

/// A readiness probe, once a second, that succeeds while a file is there.
pub(crate) fn file_probe(file: &str) -> Value {
    json!({
        "exec": { "command": ["cat", file] },
        "periodSeconds": 1,
        "timeoutSeconds": 10,
        "failureThreshold": 2,
    })
}
