//! The pods that a template makes, and where what is wrong with them is written.

use serde_json::{Value, json};

use crate::field::{FieldError, FieldPath};

/// The Pod that a template makes, in the namespace of its owner.
pub(crate) fn pod_of(template: &Value, namespace: &str) -> Value {
    let mut metadata = template
        .get("metadata")
        .cloned()
        .unwrap_or_else(|| json!({}));
    if let Some(fields) = metadata.as_object_mut() {
        // What is written here is the controller's to choose, and not looked at upstream.
        fields.insert("name".to_owned(), json!("template"));
        fields.insert("namespace".to_owned(), json!(namespace));
        fields.remove("generateName");
    }
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata });
    for (name, value) in template.as_object().into_iter().flatten() {
        if name != "metadata" {
            pod[name.as_str()] = value.clone();
        }
    }
    pod
}

/// The error as it is of the whole, where `pod` leads to the Pod.
pub(crate) fn moved(error: FieldError, pod: &FieldPath) -> FieldError {
    let path = pod.join(&error.path);
    let message = error.message.replacen(
        &format!("unknown field \"{}\"", error.path),
        &format!("unknown field \"{path}\""),
        1,
    );
    FieldError { path, message }
}
