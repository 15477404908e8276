//! Manifests that may be meant for a cluster: what an API server would say, and what is in them.
//!
//! [`survey`](fn@survey) reads Pods, the templates of the kinds that make Pods, and Services. Other kinds
//! are counted. Each [`Subject`] keeps the way back to its lines.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use super::kinds::{self, Known};
use super::source::Document;
use super::workload::Workload;
use super::{Diagnostic, Origin, Source};
use crate::decode::Object;
use crate::decode::examine::{self, Examined};
use crate::decode::template;
use crate::field::{FieldError, FieldPath};
use crate::id::Kind;
use crate::yaml::{self, Node, Position};

/// What some manifests hold.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The texts that were read, by the names that diagnostics call them.
    pub texts: BTreeMap<String, String>,
    /// Pods, templates and Services, in the order they are written; the invalid ones are not among them.
    pub subjects: Vec<Subject>,
    /// What an API server would refuse.
    pub errors: Vec<Diagnostic>,
    /// How many there are of each other kind.
    pub skipped: BTreeMap<String, usize>,
}

/// The object that a subject is of: `Deployment default/web`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// Its `kind`.
    pub kind: &'static str,
    /// `metadata.namespace`; `default` if the manifest says none.
    pub namespace: String,
    /// `metadata.name`, or `metadata.generateName`.
    pub name: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// A Pod, a template of Pods, or a Service.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The object it is of.
    pub owner: Owner,
    /// Where that object is written.
    pub origin: Origin,
    /// What an API server makes of it: for a template, the Pod that would come of it.
    pub object: Object,
    /// How many Pods there are to be of a template at a time, and 1 of a Pod; `None` where that is up to
    /// the cluster, and for a Service.
    pub replicas: Option<u32>,
    /// Fields that are right and that `probelet up` does not carry out, by their paths in the manifest.
    pub not_carried_out: Vec<FieldError>,
    node: Node,
    value: Value,
    pod: FieldPath,
}

impl Subject {
    /// The path in the manifest of the field that the Pod has at `path`.
    #[must_use]
    pub fn path(&self, path: &FieldPath) -> FieldPath {
        self.pod.join(path)
    }

    /// Where the manifest has the field at `path`, else what is nearest above it.
    #[must_use]
    pub fn locate(&self, path: &FieldPath) -> Position {
        self.node.locate(path)
    }

    /// What the manifest itself says at `path`, before any default.
    #[must_use]
    pub fn written(&self, path: &FieldPath) -> Option<&Value> {
        path.find(&self.value).filter(|value| !value.is_null())
    }

    /// The annotation `key` and its path, of the object and then of its template.
    pub fn annotations<'a>(&'a self, key: &'a str) -> impl Iterator<Item = (FieldPath, &'a str)> {
        let roots = if self.pod.is_root() {
            vec![FieldPath::root()]
        } else {
            vec![FieldPath::root(), self.pod.clone()]
        };
        roots.into_iter().filter_map(move |root| {
            let path = root
                .field("metadata")
                .field("annotations")
                .then(crate::field::Segment::Key(key.to_owned()));
            let text = path.find(&self.value)?.as_str()?;
            Some((path, text))
        })
    }
}

/// Reads manifests. Nothing in them makes it fail: see [`Survey::errors`].
#[must_use]
pub fn survey(sources: &[Source]) -> Survey {
    let mut survey = Survey::default();
    for source in sources {
        match source.read() {
            Ok(documents) => documents.into_iter().for_each(|text| survey.document(text)),
            Err(error) => survey.errors.push(error),
        }
    }
    survey
}

impl Survey {
    fn document(&mut self, Document { name, text }: Document) {
        if self.texts.contains_key(&name) {
            // Named twice on the command line.
            return;
        }
        let nodes = yaml::documents(&text);
        if nodes.is_empty() {
            self.errors
                .push(Diagnostic::whole(&name, "holds no objects"));
        }
        for node in nodes {
            match node {
                Ok(node) => self.node(&name, &node),
                Err(error) => self
                    .errors
                    .push(Diagnostic::at(&name, error.at, error.message)),
            }
        }
        self.texts.insert(name, text);
    }

    fn node(&mut self, source: &str, node: &Node) {
        match kinds::of(node) {
            Ok(Known::CarriedOut(kind @ (Kind::Pod | Kind::Service))) => {
                self.own(source, kind, node);
            }
            Ok(Known::CarriedOut(kind)) => match Workload::of(kind.api_version(), kind.as_str()) {
                Some(workload) => self.template(source, workload, node),
                None => self.other(source, kind, node),
            },
            Ok(Known::List(item_kind)) => {
                for item in node.list("items").unwrap_or_default() {
                    let mut item = item.clone();
                    if let Some(kind) = item_kind {
                        item.set_missing("apiVersion", kind.api_version());
                        item.set_missing("kind", kind.as_str());
                    }
                    self.node(source, &item);
                }
            }
            Ok(Known::Other(other)) => match Workload::of(&other.version, &other.kind) {
                Some(workload) => self.template(source, workload, node),
                None if other.cannot_be() => {
                    let error = Diagnostic::field(source, other.at, other.refusal());
                    self.errors.push(error);
                }
                None => *self.skipped.entry(other.kind).or_default() += 1,
            },
            Err((position, error)) => self.errors.push(Diagnostic::field(source, position, error)),
        }
    }

    /// A Pod or a Service.
    fn own(&mut self, source: &str, kind: Kind, node: &Node) {
        let value = node.to_value();
        let (examined, replicas) = match kind {
            Kind::Service => (examine::service(value.clone()), None),
            _ => (examine::pod(value.clone()), Some(1)),
        };
        let written = Written {
            source,
            owner: owner(kind.as_str(), &value),
            node,
            value,
            replicas,
            pod: FieldPath::root(),
        };
        self.take(written, examined, Vec::new());
    }

    /// An object in which there is no Pod: only whether an API server would take it is looked at.
    fn other(&mut self, source: &str, kind: Kind, node: &Node) {
        let errors = examine::other(kind, node.to_value());
        if errors.is_empty() {
            *self.skipped.entry(kind.as_str().to_owned()).or_default() += 1;
        }
        self.refuse(source, node, errors);
    }

    /// An object that makes Pods.
    fn template(&mut self, source: &str, workload: Workload, node: &Node) {
        let mut value = node.to_value();
        if let Some(object) = value.as_object_mut() {
            object.remove("status");
        }
        let owner = owner(workload.as_str(), &value);
        let path = workload.template();
        let mut errors = workload.errors(&value);
        let Some(template) = path.find(&value).filter(|template| template.is_object()) else {
            // What is said of a template that is not there only follows.
            errors.retain(|error| error.path == path || !error.path.is_within(&path));
            if errors.iter().all(|error| !path.is_within(&error.path)) {
                errors.push(FieldError::required(path, ""));
            }
            self.refuse(source, node, errors);
            return;
        };
        let examined = examine::pod(pod_of(workload, template, &value, &owner));
        let written = Written {
            source,
            owner,
            node,
            replicas: workload.replicas(&value),
            value,
            pod: path,
        };
        self.take(written, examined, errors);
    }

    fn take(&mut self, written: Written<'_>, examined: Examined, mut errors: Vec<FieldError>) {
        let Written {
            source,
            owner,
            node,
            value,
            replicas,
            pod,
        } = written;
        let place = |error: FieldError| template::moved(error, &pod);
        // Where its owner's rules speak of a field of the template, the template's own need not.
        let own = errors.len();
        for error in examined.invalid.into_iter().map(place) {
            if errors[..own]
                .iter()
                .all(|earlier| earlier.path != error.path)
            {
                errors.push(error);
            }
        }
        let not_carried_out = examined.not_carried_out.into_iter().map(place).collect();
        match examined.object {
            Some(object) if errors.is_empty() => self.subjects.push(Subject {
                owner,
                origin: Origin {
                    source: source.to_owned(),
                    position: node.at(),
                },
                object,
                replicas,
                not_carried_out,
                node: node.clone(),
                value,
                pod,
            }),
            _ => self.refuse(source, node, errors),
        }
    }

    fn refuse(&mut self, source: &str, node: &Node, errors: Vec<FieldError>) {
        let diagnose =
            |error: FieldError| Diagnostic::field(source, node.locate(&error.path), error);
        self.errors.extend(errors.into_iter().map(diagnose));
    }
}

/// A subject before anybody knows whether it is one.
struct Written<'a> {
    source: &'a str,
    owner: Owner,
    node: &'a Node,
    value: Value,
    replicas: Option<u32>,
    /// Where in it the Pod is.
    pod: FieldPath,
}

fn owner(kind: &'static str, value: &Value) -> Owner {
    let text = |name: &'static str| {
        let path = FieldPath::root().field("metadata").field(name);
        path.find(value)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    Owner {
        kind,
        namespace: text("namespace").unwrap_or_else(|| "default".to_owned()),
        name: text("name")
            .or_else(|| text("generateName"))
            .unwrap_or_default(),
    }
}

/// The Pod that a workload's template makes.
fn pod_of(workload: Workload, template: &Value, whole: &Value, owner: &Owner) -> Value {
    let mut pod = template::pod_of(template, &owner.namespace);
    if workload == Workload::StatefulSet {
        claim_volumes(&mut pod["spec"], whole);
    }
    pod
}

/// The volumes that a StatefulSet adds to its Pods, one a claim.
///
/// Upstream: pkg/controller/statefulset/stateful_set_utils.go, updateStorage.
/// Shown by: a_stateful_sets_claims_are_volumes_of_its_pods.
fn claim_volumes(spec: &mut Value, whole: &Value) {
    let path = FieldPath::root()
        .field("spec")
        .field("volumeClaimTemplates");
    let claims = path
        .find(whole)
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let names: Vec<&str> = claims
        .filter_map(|claim| claim.pointer("/metadata/name")?.as_str())
        .collect();
    let Some(spec) = spec.as_object_mut().filter(|_| !names.is_empty()) else {
        return;
    };
    let volumes = spec.entry("volumes").or_insert(Value::Null);
    if volumes.is_null() {
        *volumes = json!([]);
    }
    if let Some(volumes) = volumes.as_array_mut() {
        volumes.retain(|volume| !names.iter().any(|name| volume["name"] == **name));
        volumes.extend(
            names
                .iter()
                .map(|name| json!({ "name": name, "emptyDir": {} })),
        );
    }
}
