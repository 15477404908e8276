//! Which objects of a collection are meant: label and field selectors.

mod field;
mod label;

use serde_json::Value;

use crate::failure::Failure;
use crate::resource::Resource;

pub use label::LabelSelector;

/// A label and a field selector, both of which an object has to match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    labels: LabelSelector,
    fields: Vec<field::Term>,
}

impl Selector {
    /// Reads both as they are written in a query; empty selects everything.
    ///
    /// Upstream: apiserver pkg/endpoints/handlers/get.go, ListResource.
    /// Shown by: what_cannot_be_selected_by_is_a_bad_request.
    ///
    /// # Errors
    /// [`Failure`] (400) if one cannot be read, or names a field that the resource cannot be selected by.
    pub fn parse(resource: &Resource, label: &str, field: &str) -> Result<Self, Failure> {
        Ok(Self {
            labels: LabelSelector::parse(label).map_err(Failure::bad_request)?,
            fields: field::parse(resource, field).map_err(Failure::bad_request)?,
        })
    }

    /// Whether it selects everything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The name that it fixes by `metadata.name=...`, if it does: a single object is meant.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.fields.iter().find_map(field::Term::name)
    }

    /// Whether an object is among those selected. It is one as the store holds it: an event in its shape of
    /// `v1`, whichever group it is asked for in.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        self.labels.matches(&object["metadata"]["labels"])
            && self.fields.iter().all(|term| term.matches(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(plural: &str) -> &'static Resource {
        let group = match plural {
            "deployments" | "replicasets" => "apps",
            "leases" => "coordination.k8s.io",
            _ => "",
        };
        Resource::find(group, "v1", plural).unwrap()
    }

    #[test]
    fn objects_match_by_labels_and_fields() {
        let pod = json!({
            "metadata": {"name": "a", "namespace": "n", "labels": {"app": "web", "tier": "2"}},
            "spec": {"nodeName": "here", "restartPolicy": "Always"},
            "status": {"phase": "Running", "podIP": "10.0.0.1"},
        });
        let check = |label: &str, field: &str, expected: bool| {
            let selector = Selector::parse(of("pods"), label, field).unwrap();
            assert_eq!(selector.matches(&pod), expected, "{label:?} {field:?}");
        };
        for (label, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            ("app=db", false),
            ("app!=db", true),
            ("app!=web", false),
            ("missing!=x", true),
            ("app in (web, db)", true),
            ("app in (db)", false),
            ("missing in (a)", false),
            ("app notin (db)", true),
            ("app notin (web)", false),
            ("missing notin (a)", true),
            ("app", true),
            ("missing", false),
            ("!app", false),
            ("!missing", true),
            ("tier>1", true),
            ("tier>2", false),
            ("tier<3", true),
            ("app<3", false),
            ("app=web,tier=2,!missing", true),
            ("app=web,tier=3", false),
            ("missing=", false),
        ] {
            check(label, "", expected);
        }
        for (field, expected) in [
            ("metadata.name=a", true),
            ("metadata.name==a", true),
            ("metadata.name!=a", false),
            ("metadata.namespace=n,spec.nodeName=here", true),
            ("spec.host=here", true),
            ("spec.nodeName=there", false),
            ("status.phase!=Succeeded,status.phase!=Failed", true),
            ("status.phase=Running", true),
            ("spec.hostNetwork=false", true),
            ("spec.hostNetwork=true", false),
            ("status.nominatedNodeName=", true),
            ("status.podIP=10.0.0.1", true),
            ("spec.restartPolicy=Always", true),
            ("", true),
            (",", true),
        ] {
            check("", field, expected);
        }
        check("app=web", "status.phase=Failed", false);
    }

    #[test]
    fn a_name_is_known_when_it_is_fixed() {
        let name = |field: &str| {
            let selector = Selector::parse(of("pods"), "", field).unwrap();
            selector.name().map(str::to_owned)
        };
        assert_eq!(
            name("status.phase=Running,metadata.name=a"),
            Some("a".to_owned())
        );
        assert_eq!(name("metadata.name!=a"), None);
        assert_eq!(name(""), None);
    }

    #[test]
    fn each_kind_is_selected_by_its_own_fields() {
        let check = |plural: &str, field: &str, object: Value| {
            let selector = Selector::parse(of(plural), "", field).unwrap();
            assert!(selector.matches(&object), "{plural} {field}");
            assert!(!selector.matches(&json!({})), "{plural} {field}");
        };
        let event = json!({
            "involvedObject": {"kind": "Pod", "name": "a", "fieldPath": "spec.containers{c}"},
            "source": {"component": "kubelet"},
            "reason": "Killing",
            "type": "Normal",
        });
        for field in [
            "involvedObject.kind=Pod,involvedObject.name=a",
            "involvedObject.fieldPath=spec.containers{c}",
            "source=kubelet",
            "reason=Killing",
            "type=Normal",
        ] {
            check("events", field, event.clone());
        }
        check(
            "events",
            "source=probelet",
            json!({"reportingComponent": "probelet"}),
        );
        check(
            "nodes",
            "spec.unschedulable=true",
            json!({"spec": {"unschedulable": true}}),
        );
        check(
            "namespaces",
            "status.phase=Active",
            json!({"status": {"phase": "Active"}}),
        );
        check("secrets", "type=Opaque", json!({"type": "Opaque"}));
        check(
            "services",
            "spec.clusterIP=None",
            json!({"spec": {"clusterIP": "None"}}),
        );
        check(
            "replicasets",
            "status.replicas=2",
            json!({"status": {"replicas": 2}}),
        );
        check(
            "deployments",
            "metadata.name=a",
            json!({"metadata": {"name": "a"}}),
        );
    }

    #[test]
    fn events_are_selected_by_the_names_of_their_group() {
        let resource = Resource::find("events.k8s.io", "v1", "events").unwrap();
        let stored = json!({"involvedObject": {"name": "a"}, "reportingComponent": "probelet"});
        for field in [
            "regarding.name=a",
            "reportingController=probelet",
            "regarding.name!=b",
        ] {
            let selector = Selector::parse(resource, "", field).unwrap();
            assert!(selector.matches(&stored), "{field}");
        }
        let error = Selector::parse(resource, "", "involvedObject.name=a").unwrap_err();
        assert_eq!(
            error.message,
            "field label not supported: involvedObject.name"
        );
    }

    #[test]
    fn what_cannot_be_selected_by_is_a_bad_request() {
        let check = |plural: &str, label: &str, field: &str, expected: &str| {
            let failure = Selector::parse(of(plural), label, field).unwrap_err();
            assert_eq!(
                (failure.code, failure.message.as_str()),
                (400, expected),
                "{label:?} {field:?}"
            );
        };
        for (field, expected) in [
            (
                "spec.containers=x",
                "field label not supported: spec.containers",
            ),
            ("x", "invalid selector: 'x'; can't understand 'x'"),
            (
                "metadata.name=a\\x",
                "invalid field selector: invalid escape sequence: \\x",
            ),
            (
                "metadata.name=a=b",
                "invalid field selector: unescaped character in value: 61",
            ),
        ] {
            check("pods", "", field, expected);
        }
        check(
            "configmaps",
            "",
            "data=x",
            "\"data\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        );
        for (label, expected) in [
            (
                "a in",
                "unable to parse requirement: found '' expected: '('",
            ),
            (
                "a in ()",
                "unable to parse requirement: values: Invalid value: []: for 'in', 'notin' operators, values \
                 set can't be empty",
            ),
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a,", "found '', expected: identifier after ','"),
            (
                "=a",
                "found '=', expected: !, identifier, or 'end of string'",
            ),
            (
                "a=(",
                "unable to parse requirement: found '(', expected: identifier",
            ),
            (
                "!",
                "unable to parse requirement: found '', expected: identifier",
            ),
            (
                "a in (b c)",
                "unable to parse requirement: found 'c', expected: ',' or ')'",
            ),
            (
                "a>b",
                "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the \
                 value must be an integer",
            ),
            (
                "-a=b",
                "unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of \
                 alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
                 character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                 '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ),
            (
                "a=-",
                "unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label must be an \
                 empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end \
                 with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
                 validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ),
        ] {
            check("pods", label, "", expected);
        }
    }
}
