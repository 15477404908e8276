//! The first value of a wrong type, in the words of Go's decoder, which people look up.

use serde_json::{Number, Value};

use crate::go;
use crate::{Node, Scalar, Schema};

/// What [`Scalar::Quantity`] is parsed by.
const NO_QUANTITY: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

impl Schema {
    /// Why `object` cannot be read as this kind, if a value of it is not of its field's type:
    /// `json: cannot unmarshal number into Go struct field ConfigMap.data of type string`. The first one, in
    /// the order of the object. Whether a text is a time or a quantity is not looked at.
    ///
    /// Upstream: sigs.k8s.io/json internal/golang/encoding/json/decode.go, UnmarshalTypeError.Error.
    /// Differs: a type that is text by another name (`v1.Protocol`) is called `string`, one that is a map or
    /// a number by another name likewise: the schemas do not have those names.
    /// Shown by: a_wrong_type_is_told_in_the_words_of_go.
    #[must_use]
    pub fn type_error(&self, object: &Value) -> Option<String> {
        self.wrong(object, &Place::default())
    }

    fn wrong<'s>(&'s self, value: &Value, place: &Place<'s>) -> Option<String> {
        match (self.node(), value) {
            (_, Value::Null) | (Node::Any, _) => None,
            (Node::Object(object), Value::Object(entries)) => {
                entries.iter().find_map(|(name, value)| {
                    let (name, field) = object.fields.get_key_value(name)?;
                    field.wrong(value, &place.field(&object.name, name))
                })
            }
            (Node::Map(map), Value::Object(entries)) => entries
                .values()
                .find_map(|value| map.values.wrong(value, place)),
            (Node::List(list), Value::Array(elements)) => elements
                .iter()
                .find_map(|element| list.items.wrong(element, place)),
            (Node::Scalar(scalar), value) => scalar.wrong(value, place),
            (Node::Object(_) | Node::Map(_) | Node::List(_), value) => {
                Some(place.error(go::kind(value), &self.go_type()))
            }
        }
    }

    fn go_type(&self) -> String {
        match self.node() {
            Node::Object(object) => {
                let mut parts = object.name.rsplit('.');
                let name = parts.next().unwrap_or_default();
                format!("{}.{name}", parts.next().unwrap_or_default())
            }
            Node::Map(map) => format!("map[string]{}", map.values.go_type()),
            Node::List(list) => format!("[]{}", list.items.go_type()),
            Node::Scalar(scalar) => scalar.go_type().to_owned(),
            Node::Any => "runtime.RawExtension".to_owned(),
        }
    }
}

impl Scalar {
    fn wrong(self, value: &Value, place: &Place<'_>) -> Option<String> {
        match (self, value) {
            (
                Self::String
                | Self::Bytes
                | Self::Time
                | Self::MicroTime
                | Self::IntOrString
                | Self::Quantity,
                Value::String(_),
            )
            | (Self::Boolean, Value::Bool(_))
            | (Self::Quantity | Self::Float64, Value::Number(_)) => None,
            (Self::Int32 | Self::Int64 | Self::IntOrString, Value::Number(number))
                if self.holds(number) =>
            {
                None
            }
            (Self::Int32 | Self::Int64, Value::Number(number)) => {
                Some(place.error(&format!("number {number}"), self.go_type()))
            }
            // These read themselves, and know nothing of where they are.
            (Self::Quantity, _) => Some(NO_QUANTITY.to_owned()),
            (Self::IntOrString, Value::Number(number)) => {
                Some(Place::default().error(&format!("number {number}"), "int32"))
            }
            (Self::IntOrString, value) => Some(Place::default().error(go::kind(value), "int32")),
            (Self::Time | Self::MicroTime, value) => {
                Some(Place::default().error(go::kind(value), "string"))
            }
            (
                Self::String
                | Self::Bytes
                | Self::Int32
                | Self::Int64
                | Self::Float64
                | Self::Boolean,
                value,
            ) => Some(place.error(go::kind(value), self.go_type())),
        }
    }

    /// Whether a whole number of this type may be that.
    fn holds(self, number: &Number) -> bool {
        number
            .as_i64()
            .is_some_and(|number| self == Self::Int64 || i32::try_from(number).is_ok())
    }

    const fn go_type(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Bytes => "[]uint8",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float64 => "float64",
            Self::Boolean => "bool",
            Self::IntOrString => "intstr.IntOrString",
            Self::Quantity => "resource.Quantity",
            Self::Time => "v1.Time",
            Self::MicroTime => "v1.MicroTime",
        }
    }
}

/// Where a value is, as Go says it: the struct that its field is of, and the fields on the way there.
#[derive(Clone, Default)]
struct Place<'s> {
    of: &'s str,
    fields: Vec<&'s str>,
}

impl<'s> Place<'s> {
    fn field(&self, of: &'s str, name: &'s str) -> Self {
        let mut fields = self.fields.clone();
        fields.push(name);
        let of = of.rsplit('.').next().unwrap_or_default();
        Self { of, fields }
    }

    fn error(&self, what: &str, go_type: &str) -> String {
        if self.fields.is_empty() {
            format!("json: cannot unmarshal {what} into Go value of type {go_type}")
        } else {
            format!(
                "json: cannot unmarshal {what} into Go struct field {}.{} of type {go_type}",
                self.of,
                self.fields.join(".")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::Schema;

    #[test]
    fn a_wrong_type_is_told_in_the_words_of_go() {
        let check = |kind: &str, object: Value, expected: Option<&str>| {
            let schema = Schema::of("v1", kind).unwrap();
            let expected = expected.map(|why| format!("json: cannot unmarshal {why}"));
            assert_eq!(schema.type_error(&object), expected, "{object}");
        };
        let container = |field: &str, value: Value| json!({ "spec": { "containers": [{ "name": "a", field: value }] } });
        check(
            "ConfigMap",
            json!({ "data": { "port": "80" }, "x": 1 }),
            None,
        );
        check(
            "ConfigMap",
            json!({ "data": { "port": 80 } }),
            Some("number into Go struct field ConfigMap.data of type string"),
        );
        check(
            "ConfigMap",
            json!({ "data": ["a"] }),
            Some("array into Go struct field ConfigMap.data of type map[string]string"),
        );
        check(
            "Secret",
            json!({ "data": { "a": true } }),
            Some("bool into Go struct field Secret.data of type []uint8"),
        );
        check("Pod", json!([]), Some("array into Go value of type v1.Pod"));
        check(
            "Pod",
            json!({ "spec": "x" }),
            Some("string into Go struct field Pod.spec of type v1.PodSpec"),
        );
        check(
            "Pod",
            json!({ "spec": { "containers": { "name": "a" } } }),
            Some("object into Go struct field PodSpec.spec.containers of type []v1.Container"),
        );
        check(
            "Pod",
            json!({ "spec": { "hostNetwork": "yes" } }),
            Some("string into Go struct field PodSpec.spec.hostNetwork of type bool"),
        );
        check(
            "Pod",
            container("args", json!(["a", 1])),
            Some("number into Go struct field Container.spec.containers.args of type string"),
        );
        check(
            "Pod",
            container("ports", json!([{ "containerPort": "80" }])),
            Some(
                "string into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
            ),
        );
        check(
            "Pod",
            container("ports", json!([{ "containerPort": 80.5 }])),
            Some(
                "number 80.5 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
            ),
        );
        check(
            "Pod",
            container("ports", json!([{ "containerPort": 4_294_967_296_u64 }])),
            Some(
                "number 4294967296 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
            ),
        );
        check(
            "Pod",
            container("env", json!([{ "name": "A", "value": 1 }])),
            Some("number into Go struct field EnvVar.spec.containers.env.value of type string"),
        );
        check(
            "Pod",
            container("livenessProbe", json!({ "httpGet": { "port": "web" } })),
            None,
        );
        check(
            "Pod",
            container("livenessProbe", json!({ "httpGet": { "port": 80 } })),
            None,
        );
        check(
            "Pod",
            container("livenessProbe", json!({ "httpGet": { "port": true } })),
            Some("bool into Go value of type int32"),
        );
        check(
            "Pod",
            container(
                "resources",
                json!({ "limits": { "cpu": 1, "memory": "1Gi" } }),
            ),
            None,
        );
        check(
            "Pod",
            json!({ "metadata": { "creationTimestamp": 5 } }),
            Some("number into Go value of type string"),
        );
        check(
            "Pod",
            json!({ "metadata": { "creationTimestamp": null, "labels": null } }),
            None,
        );
        check(
            "Pod",
            json!({ "metadata": { "managedFields": [{ "fieldsV1": { "f:spec": {} } }] } }),
            None,
        );

        let limit = container("resources", json!({ "limits": { "cpu": true } }));
        let error = Schema::of("v1", "Pod").unwrap().type_error(&limit).unwrap();
        assert!(error.starts_with("quantities must match"), "{error}");
    }
}
