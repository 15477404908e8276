//! Which fields of Kubernetes Probelet carries out: one table for each kind of object.
//!
//! A field that is in none of the tables is known to Kubernetes and not to Probelet: to set it is an
//! error, so that nothing a manifest asks for is silently left undone. An empty list, an empty object and
//! null ask for nothing.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::LazyLock;

use serde_json::Value;

use crate::field::{FieldError, FieldPath, Segment};
use crate::id::Kind;

/// What Probelet does with a field and everything in it.
#[derive(Clone, Copy, Debug)]
enum Treatment {
    /// What it says is done.
    CarriedOut,
    /// It only matters to a cluster, and nobody misses it without one.
    ClusterOnly,
    /// It only matters to a cluster, and who set it should know that it does nothing here.
    Warn(&'static str),
    /// Never: also not when it is empty.
    NotYet,
    /// Carried out as these values, which are the defaults, and as no other.
    Only(&'static [Literal]),
    /// By its text; any other text is as the second part says.
    Case(&'static [(&'static str, Self)], &'static Self),
}

#[derive(Clone, Copy, Debug)]
enum Literal {
    Bool(bool),
    Text(&'static str),
}

use Literal::{Bool, Text};
use Treatment::{CarriedOut, Case, ClusterOnly, NotYet, Only, Warn};

type Row = (&'static str, Treatment);

const IGNORED: Treatment = Warn("matters to a cluster only, ignored");
const OFF: Treatment = Only(&[Bool(false)]);

/// `metadata` of every kind, and what stands beside it; `status` is gone by now.
const OBJECT: &[Row] = &[
    ("apiVersion", CarriedOut),
    ("kind", CarriedOut),
    ("metadata.annotations", CarriedOut),
    ("metadata.creationTimestamp", CarriedOut),
    ("metadata.deletionGracePeriodSeconds", CarriedOut),
    ("metadata.deletionTimestamp", CarriedOut),
    ("metadata.generation", CarriedOut),
    ("metadata.labels", CarriedOut),
    ("metadata.managedFields", ClusterOnly),
    ("metadata.name", CarriedOut),
    ("metadata.namespace", CarriedOut),
    (
        "metadata.ownerReferences",
        Warn("nothing here deletes what has lost its owner, ignored"),
    ),
    ("metadata.resourceVersion", CarriedOut),
    ("metadata.selfLink", ClusterOnly),
    ("metadata.uid", CarriedOut),
];

const POD: &[Row] = &[
    ("spec.affinity", IGNORED),
    ("spec.automountServiceAccountToken", ClusterOnly),
    ("spec.containers[].args", CarriedOut),
    ("spec.containers[].command", CarriedOut),
    ("spec.containers[].env[].name", CarriedOut),
    ("spec.containers[].env[].value", CarriedOut),
    ("spec.containers[].env[].valueFrom", NotYet),
    ("spec.containers[].image", CarriedOut),
    ("spec.containers[].imagePullPolicy", ClusterOnly),
    (
        "spec.containers[].lifecycle.preStop.exec.command",
        CarriedOut,
    ),
    ("spec.containers[].lifecycle.preStop.httpGet", CarriedOut),
    ("spec.containers[].lifecycle.preStop.sleep", CarriedOut),
    ("spec.containers[].lifecycle.preStop.tcpSocket", NotYet),
    ("spec.containers[].name", CarriedOut),
    ("spec.containers[].ports[].containerPort", CarriedOut),
    ("spec.containers[].ports[].hostIP", Only(&[Text("")])),
    ("spec.containers[].ports[].hostPort", CarriedOut),
    ("spec.containers[].ports[].name", CarriedOut),
    ("spec.containers[].ports[].protocol", CarriedOut),
    // What the scheduler reserves; nothing is reserved on one host.
    ("spec.containers[].resources.requests", ClusterOnly),
    ("spec.containers[].securityContext.privileged", OFF),
    (
        "spec.containers[].securityContext.procMount",
        Only(&[Text("Default")]),
    ),
    (
        "spec.containers[].securityContext.readOnlyRootFilesystem",
        OFF,
    ),
    ("spec.containers[].securityContext.runAsGroup", CarriedOut),
    ("spec.containers[].securityContext.runAsNonRoot", CarriedOut),
    ("spec.containers[].securityContext.runAsUser", CarriedOut),
    ("spec.containers[].stdin", OFF),
    ("spec.containers[].stdinOnce", OFF),
    (
        "spec.containers[].terminationMessagePath",
        Only(&[Text("/dev/termination-log")]),
    ),
    (
        "spec.containers[].terminationMessagePolicy",
        Only(&[Text("File")]),
    ),
    ("spec.containers[].tty", OFF),
    ("spec.containers[].volumeMounts[].mountPath", CarriedOut),
    (
        "spec.containers[].volumeMounts[].mountPropagation",
        Only(&[Text("None")]),
    ),
    ("spec.containers[].volumeMounts[].name", CarriedOut),
    ("spec.containers[].volumeMounts[].readOnly", CarriedOut),
    (
        "spec.containers[].volumeMounts[].recursiveReadOnly",
        Only(&[Text("Disabled")]),
    ),
    (
        "spec.containers[].volumeMounts[].subPath",
        Only(&[Text("")]),
    ),
    (
        "spec.containers[].volumeMounts[].subPathExpr",
        Only(&[Text("")]),
    ),
    ("spec.containers[].workingDir", CarriedOut),
    ("spec.dnsPolicy", Only(&[Text("ClusterFirst")])),
    ("spec.enableServiceLinks", ClusterOnly),
    ("spec.hostIPC", OFF),
    ("spec.hostNetwork", CarriedOut),
    ("spec.hostPID", OFF),
    ("spec.hostUsers", Only(&[Bool(true)])),
    ("spec.hostname", CarriedOut),
    ("spec.imagePullSecrets", ClusterOnly),
    ("spec.nodeName", ClusterOnly),
    ("spec.nodeSelector", IGNORED),
    ("spec.os.name", Only(&[Text("linux")])),
    ("spec.preemptionPolicy", ClusterOnly),
    ("spec.priority", ClusterOnly),
    ("spec.priorityClassName", ClusterOnly),
    ("spec.restartPolicy", CarriedOut),
    ("spec.runtimeClassName", CarriedOut),
    (
        "spec.schedulerName",
        Case(&[("default-scheduler", ClusterOnly)], &IGNORED),
    ),
    ("spec.securityContext.runAsGroup", CarriedOut),
    ("spec.securityContext.runAsNonRoot", CarriedOut),
    ("spec.securityContext.runAsUser", CarriedOut),
    (
        "spec.serviceAccount",
        Case(&[("default", ClusterOnly), ("", ClusterOnly)], &NO_TOKEN),
    ),
    (
        "spec.serviceAccountName",
        Case(&[("default", ClusterOnly), ("", ClusterOnly)], &NO_TOKEN),
    ),
    ("spec.setHostnameAsFQDN", OFF),
    ("spec.shareProcessNamespace", OFF),
    ("spec.subdomain", CarriedOut),
    ("spec.terminationGracePeriodSeconds", CarriedOut),
    ("spec.tolerations", ClusterOnly),
    ("spec.topologySpreadConstraints", IGNORED),
    (
        "spec.volumes[].emptyDir.medium",
        Only(&[Text(""), Text("Memory")]),
    ),
    ("spec.volumes[].emptyDir.sizeLimit", CarriedOut),
    ("spec.volumes[].hostPath.path", CarriedOut),
    ("spec.volumes[].hostPath.type", CarriedOut),
    ("spec.volumes[].name", CarriedOut),
];

const NO_TOKEN: Treatment = Warn("matters to a cluster only, ignored: no token is mounted");

/// Below each of a container's three probes.
const PROBE: &[Row] = &[
    ("exec.command", CarriedOut),
    ("failureThreshold", CarriedOut),
    ("grpc", NotYet),
    ("httpGet.host", CarriedOut),
    ("httpGet.httpHeaders[].name", CarriedOut),
    ("httpGet.httpHeaders[].value", CarriedOut),
    ("httpGet.path", CarriedOut),
    ("httpGet.port", CarriedOut),
    ("httpGet.scheme", CarriedOut),
    ("initialDelaySeconds", CarriedOut),
    ("periodSeconds", CarriedOut),
    ("successThreshold", CarriedOut),
    ("tcpSocket.host", CarriedOut),
    ("tcpSocket.port", CarriedOut),
    ("terminationGracePeriodSeconds", CarriedOut),
    ("timeoutSeconds", CarriedOut),
];

/// In the key of an annotation that refines a probe: `<kind>.probe.probelet.dev/<container>`.
const PROBE_ANNOTATION: &str = ".probe.probelet.dev/";

const AS_CLUSTER_IP: Treatment = Warn("carried out as ClusterIP: reachable from this host only");
const OWN_ADDRESS: Treatment = Warn("ignored: Probelet chooses the Service's address itself");

const SERVICE: &[Row] = &[
    ("spec.allocateLoadBalancerNodePorts", ClusterOnly),
    (
        "spec.clusterIP",
        Case(&[("None", CarriedOut), ("", CarriedOut)], &OWN_ADDRESS),
    ),
    ("spec.clusterIPs", ClusterOnly),
    ("spec.externalTrafficPolicy", ClusterOnly),
    ("spec.healthCheckNodePort", ClusterOnly),
    ("spec.internalTrafficPolicy", ClusterOnly),
    ("spec.ipFamilies", ClusterOnly),
    ("spec.ipFamilyPolicy", ClusterOnly),
    ("spec.loadBalancerClass", ClusterOnly),
    ("spec.loadBalancerIP", ClusterOnly),
    ("spec.ports[].appProtocol", ClusterOnly),
    ("spec.ports[].name", CarriedOut),
    (
        "spec.ports[].nodePort",
        Warn("ignored: no port of this host is opened to others"),
    ),
    ("spec.ports[].port", CarriedOut),
    ("spec.ports[].protocol", CarriedOut),
    ("spec.ports[].targetPort", CarriedOut),
    ("spec.publishNotReadyAddresses", CarriedOut),
    ("spec.selector", CarriedOut),
    (
        "spec.sessionAffinity",
        Case(&[("ClientIP", NotYet)], &CarriedOut),
    ),
    ("spec.trafficDistribution", ClusterOnly),
    (
        "spec.type",
        Case(
            &[
                ("ExternalName", NotYet),
                ("LoadBalancer", AS_CLUSTER_IP),
                ("NodePort", AS_CLUSTER_IP),
            ],
            &CarriedOut,
        ),
    ),
];

type Table = BTreeMap<String, Treatment>;

static POD_TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = table(&[OBJECT, POD]);
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        table.extend(
            PROBE
                .iter()
                .map(|(name, row)| (format!("spec.containers[].{probe}.{name}"), *row)),
        );
    }
    table
});
static SERVICE_TABLE: LazyLock<Table> = LazyLock::new(|| table(&[OBJECT, SERVICE]));

fn table(parts: &[&[Row]]) -> Table {
    parts
        .iter()
        .flat_map(|rows| rows.iter())
        .map(|(pattern, row)| ((*pattern).to_owned(), *row))
        .collect()
}

fn table_of(kind: Kind) -> &'static Table {
    match kind {
        Kind::Service => &SERVICE_TABLE,
        Kind::Pod | Kind::Endpoints | Kind::Event => &POD_TABLE,
    }
}

/// Every pattern of the table, `spec.containers[].name`.
#[cfg(test)]
pub(crate) fn patterns(kind: Kind) -> impl Iterator<Item = &'static str> {
    table_of(kind).keys().map(String::as_str)
}

/// What [`check`] found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Fields that are not carried out.
    pub(crate) errors: Vec<FieldError>,
    /// Fields that do nothing without a cluster.
    pub(crate) warnings: Vec<FieldError>,
}

/// Compares every field that `value` sets with the table of its kind.
pub(crate) fn check(kind: Kind, value: &Value) -> Findings {
    let mut findings = Findings::default();
    let mut walk = Walk {
        table: table_of(kind),
        findings: &mut findings,
    };
    walk.visit(value, &FieldPath::root(), "");
    annotations(value, &mut findings);
    findings
}

/// Annotations that say what a Pod has no field for.
fn annotations(value: &Value, findings: &mut Findings) {
    let path = FieldPath::root().field("metadata").field("annotations");
    let annotations = path.find(value).and_then(Value::as_object);
    for key in annotations
        .into_iter()
        .flat_map(|annotations| annotations.keys())
    {
        if key.contains(PROBE_ANNOTATION) {
            let path = path.then(Segment::Key(key.clone()));
            findings.errors.push(FieldError::not_carried_out(path));
        }
    }
}

struct Walk<'a> {
    table: &'static Table,
    findings: &'a mut Findings,
}

impl Walk<'_> {
    fn visit(&mut self, value: &Value, path: &FieldPath, pattern: &str) {
        if let Some(treatment) = self.table.get(pattern) {
            self.treat(*treatment, value, path);
        } else if below(self.table, pattern)
            .any(|rest| pattern.is_empty() || rest.starts_with(['.', '[']))
        {
            self.descend(value, path, pattern);
        } else if !asks_for_nothing(value) {
            self.findings
                .errors
                .push(FieldError::not_carried_out(path.clone()));
        }
    }

    fn descend(&mut self, value: &Value, path: &FieldPath, pattern: &str) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let dot = if pattern.is_empty() { "" } else { "." };
                    self.visit(
                        value,
                        &path.key_or_field(name),
                        &format!("{pattern}{dot}{name}"),
                    );
                }
            }
            Value::Array(elements) => {
                for (index, value) in elements.iter().enumerate() {
                    self.visit(value, &path.index(index), &format!("{pattern}[]"));
                }
            }
            // A type error, reported as such elsewhere.
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn treat(&mut self, treatment: Treatment, value: &Value, path: &FieldPath) {
        match treatment {
            CarriedOut | ClusterOnly => {}
            Warn(message) if !asks_for_nothing(value) => {
                self.findings
                    .warnings
                    .push(FieldError::new(path.clone(), message));
            }
            Warn(_) => {}
            NotYet if !value.is_null() => {
                let what = value
                    .as_str()
                    .map_or(String::new(), |text| format!("{text:?} is "));
                self.findings.errors.push(FieldError::new(
                    path.clone(),
                    format!("{what}not carried out yet"),
                ));
            }
            NotYet => {}
            Only(literals) => {
                if !value.is_null() && !literals.iter().any(|literal| literal.is(value)) {
                    let message = format!("{value} is not carried out yet");
                    self.findings
                        .errors
                        .push(FieldError::new(path.clone(), message));
                }
            }
            Case(cases, otherwise) => {
                let case = cases.iter().find(|(text, _)| value == text);
                self.treat(
                    case.map_or(*otherwise, |(_, treatment)| *treatment),
                    value,
                    path,
                );
            }
        }
    }
}

impl Literal {
    fn is(&self, value: &Value) -> bool {
        match self {
            Bool(literal) => value == literal,
            Text(literal) => value == literal,
        }
    }
}

fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(elements) => elements.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The carried-out field that somebody who wrote the last part of `path` probably meant.
pub(crate) fn similar(kind: Kind, path: &FieldPath) -> Option<&'static str> {
    let (last, parents) = path.segments().split_last()?;
    let Segment::Field(wrong) = last else {
        return None;
    };
    let mut pattern = String::new();
    for segment in parents {
        match segment {
            Segment::Field(name) if pattern.is_empty() => pattern.push_str(name),
            Segment::Field(name) => {
                pattern.push('.');
                pattern.push_str(name);
            }
            Segment::Index(_) => pattern.push_str("[]"),
            Segment::Key(_) => return None,
        }
    }
    let best = children(table_of(kind), &pattern).min_by_key(|name| distance(name, wrong))?;
    (distance(best, wrong) <= 2).then_some(best)
}

/// The fields that the table knows below `pattern`; empty where that is a list.
fn children<'p>(
    table: &'static Table,
    pattern: &'p str,
) -> impl Iterator<Item = &'static str> + 'p {
    below(table, pattern).filter_map(move |rest| {
        let name = if pattern.is_empty() {
            rest
        } else {
            rest.strip_prefix('.')?
        };
        name.split(['.', '[']).next()
    })
}

/// What follows `pattern` in the rows that start with it.
fn below<'p>(table: &'static Table, pattern: &'p str) -> impl Iterator<Item = &'static str> + 'p {
    let from = (Bound::Excluded(pattern), Bound::Unbounded);
    table
        .range::<str, _>(from)
        .map_while(move |(row, _)| row.strip_prefix(pattern))
}

/// How many letters have to be added, removed or changed to make one word of the other, case aside.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, from) in left.to_lowercase().chars().enumerate() {
        let mut corner = row[0];
        row[0] = line + 1;
        for (column, to) in right.iter().enumerate() {
            let changed = corner + usize::from(from != *to);
            corner = row[column + 1];
            row[column + 1] = changed.min(corner + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}
