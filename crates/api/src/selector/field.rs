//! Field selectors: `status.phase!=Failed,metadata.name=a`.

use probelet_model::id::Kind;
use serde_json::Value;

use crate::resource::Resource;

/// One term: a field that has a value, or has it not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    field: &'static Field,
    equal: bool,
    value: String,
}

/// A field that objects can be selected by.
#[derive(Debug, PartialEq, Eq)]
struct Field {
    /// As clients name it.
    label: &'static str,
    /// Where it is.
    pointer: &'static str,
    /// Where it is if it is not there.
    instead: &'static str,
    /// What it is if it is missing.
    missing: &'static str,
}

const fn field(label: &'static str, pointer: &'static str) -> Field {
    Field {
        label,
        pointer,
        instead: pointer,
        missing: "",
    }
}

const NAME: Field = field("metadata.name", "/metadata/name");
const NAMESPACE: Field = field("metadata.namespace", "/metadata/namespace");

/// What pods are selected by. `status.podIPs` is taken and never matches, as upstream has it.
///
/// Upstream: pkg/registry/core/pod/strategy.go, ToSelectableFields; pkg/apis/core/v1/conversion.go.
/// Shown by: objects_match_by_labels_and_fields.
static POD: &[Field] = &[
    NAME,
    NAMESPACE,
    field("spec.nodeName", "/spec/nodeName"),
    field("spec.host", "/spec/nodeName"),
    field("spec.restartPolicy", "/spec/restartPolicy"),
    field("spec.schedulerName", "/spec/schedulerName"),
    field("spec.serviceAccountName", "/spec/serviceAccountName"),
    Field {
        missing: "false",
        ..field("spec.hostNetwork", "/spec/hostNetwork")
    },
    field("status.phase", "/status/phase"),
    field("status.podIP", "/status/podIP"),
    field("status.podIPs", ""),
    field("status.nominatedNodeName", "/status/nominatedNodeName"),
];

/// What events are selected by.
///
/// Upstream: pkg/registry/core/event/strategy.go, ToSelectableFields.
/// Shown by: each_kind_is_selected_by_its_own_fields.
static EVENT: &[Field] = &[
    NAME,
    NAMESPACE,
    field("involvedObject.kind", "/involvedObject/kind"),
    field("involvedObject.namespace", "/involvedObject/namespace"),
    field("involvedObject.name", "/involvedObject/name"),
    field("involvedObject.uid", "/involvedObject/uid"),
    field("involvedObject.apiVersion", "/involvedObject/apiVersion"),
    field(
        "involvedObject.resourceVersion",
        "/involvedObject/resourceVersion",
    ),
    field("involvedObject.fieldPath", "/involvedObject/fieldPath"),
    field("reason", "/reason"),
    field("reportingComponent", "/reportingComponent"),
    Field {
        instead: "/reportingComponent",
        ..field("source", "/source/component")
    },
    field("type", "/type"),
];

/// The same in the other group, which has names of its own.
///
/// Upstream: pkg/apis/events/v1/conversion.go, AddFieldLabelConversionsForEvent.
/// Shown by: events_are_selected_by_the_names_of_their_group.
static GROUPED_EVENT: &[Field] = &[
    NAME,
    NAMESPACE,
    field("regarding.kind", "/involvedObject/kind"),
    field("regarding.namespace", "/involvedObject/namespace"),
    field("regarding.name", "/involvedObject/name"),
    field("regarding.uid", "/involvedObject/uid"),
    field("regarding.apiVersion", "/involvedObject/apiVersion"),
    field(
        "regarding.resourceVersion",
        "/involvedObject/resourceVersion",
    ),
    field("regarding.fieldPath", "/involvedObject/fieldPath"),
    field("reason", "/reason"),
    field("reportingController", "/reportingComponent"),
    field("type", "/type"),
];

static NODE: &[Field] = &[
    NAME,
    Field {
        missing: "false",
        ..field("spec.unschedulable", "/spec/unschedulable")
    },
];
static CLUSTER_NAMESPACE: &[Field] = &[NAME, field("status.phase", "/status/phase")];
static SECRET: &[Field] = &[NAME, NAMESPACE, field("type", "/type")];
static SERVICE: &[Field] = &[
    NAME,
    NAMESPACE,
    field("spec.clusterIP", "/spec/clusterIP"),
    field("spec.type", "/spec/type"),
];
static REPLICA_SET: &[Field] = &[
    NAME,
    NAMESPACE,
    Field {
        missing: "0",
        ..field("status.replicas", "/status/replicas")
    },
];
static OTHER: &[Field] = &[NAME, NAMESPACE];

/// The fields of a resource, and whether a field outside them is answered in the words of a kind that has
/// fields of its own.
fn fields_of(resource: &Resource) -> (&'static [Field], bool) {
    match resource.stored {
        Some(Kind::Pod) => (POD, true),
        Some(Kind::Event) if resource.group.is_empty() => (EVENT, true),
        Some(Kind::Event) => (GROUPED_EVENT, true),
        Some(Kind::Node) => (NODE, true),
        Some(Kind::Namespace) => (CLUSTER_NAMESPACE, true),
        Some(Kind::Secret) => (SECRET, true),
        Some(Kind::Service) => (SERVICE, true),
        Some(Kind::ReplicaSet) => (REPLICA_SET, false),
        _ => (OTHER, false),
    }
}

/// Reads a selector; what is wrong with it is said as upstream says it.
///
/// Upstream: apimachinery pkg/fields/selector.go, ParseSelector; pkg/runtime/conversion.go,
/// DefaultMetaV1FieldSelectorConversion.
/// Shown by: objects_match_by_labels_and_fields, what_cannot_be_selected_by_is_a_bad_request.
pub(super) fn parse(resource: &Resource, selector: &str) -> Result<Vec<Term>, String> {
    let (fields, own) = fields_of(resource);
    let mut terms = Vec::new();
    for part in split_terms(selector) {
        let (label, equal, value) = split_term(part)
            .ok_or_else(|| format!("invalid selector: '{selector}'; can't understand '{part}'"))?;
        let value = unescape(value)?;
        let field = fields
            .iter()
            .find(|field| field.label == label)
            .ok_or_else(|| {
                if own {
                    format!("field label not supported: {label}")
                } else {
                    format!(
                        "{label:?} is not a known field selector: only \"metadata.name\", \
                         \"metadata.namespace\""
                    )
                }
            })?;
        terms.push(Term {
            field,
            equal,
            value,
        });
    }
    Ok(terms)
}

/// The parts between commas that no backslash stands before.
fn split_terms(selector: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, letter) in selector.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&selector[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&selector[start..]);
    terms.retain(|term| !term.is_empty());
    terms
}

/// Label, whether it is to be equal, and value.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    term.char_indices().find_map(|(at, _)| {
        let (label, rest) = term.split_at(at);
        [("!=", false), ("==", true), ("=", true)]
            .into_iter()
            .find_map(|(operator, equal)| Some((label, equal, rest.strip_prefix(operator)?)))
    })
}

fn unescape(value: &str) -> Result<String, String> {
    let mut plain = String::new();
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!(
                        "invalid field selector: invalid escape sequence: \\{other}"
                    ));
                }
            },
            ',' | '=' => {
                return Err(format!(
                    "invalid field selector: unescaped character in value: {}",
                    u32::from(letter)
                ));
            }
            other => plain.push(other),
        }
    }
    Ok(plain)
}

impl Term {
    /// The name that it fixes.
    pub(super) fn name(&self) -> Option<&str> {
        (self.equal && self.field.label == NAME.label).then_some(&self.value)
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        let at = |pointer: &str| {
            let text = text(object.pointer(pointer)?);
            Some(text).filter(|text| !text.is_empty())
        };
        let found = at(self.field.pointer)
            .or_else(|| at(self.field.instead))
            .unwrap_or_else(|| self.field.missing.to_owned());
        (found == self.value) == self.equal
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
    }
}
