//! What is let in, and what is filled in on the way: names and namespaces, and upstream's admission plugins.

use probelet_model::field::{FieldError, FieldPath};
use probelet_model::id::{Kind, ObjectKey};
use probelet_store::Transaction;
use serde_json::{Value, json};

use super::placing;
use super::write::{meta, metadata};
use crate::failure::Failure;
use crate::request::Target;
use crate::resource::Resource;

/// Puts an object into the namespace of its request, unless it says that it belongs into another.
///
/// Upstream: apiserver pkg/registry/rest/meta.go, EnsureObjectNamespaceMatchesRequestNamespace.
/// Shown by: names_and_namespaces_agree_with_the_url.
pub(super) fn settle_namespace(target: &Target, value: &mut Value) -> Result<(), Failure> {
    let own = meta(value, "namespace");
    if target.namespace.is_empty() {
        metadata(value).remove("namespace");
    } else if own.is_empty() {
        metadata(value).insert("namespace".to_owned(), target.namespace.as_str().into());
    } else if own != target.namespace {
        return Err(Failure::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// An update is about the object in its URL.
///
/// Upstream: apiserver pkg/endpoints/handlers/rest.go, checkName.
/// Shown by: names_and_namespaces_agree_with_the_url.
pub(super) fn check_name(target: &Target, value: &Value) -> Result<(), Failure> {
    let name = target.name.as_deref().unwrap_or_default();
    let (own, namespace) = (meta(value, "name"), meta(value, "namespace"));
    if own.is_empty() {
        return Err(Failure::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )));
    }
    if own != name {
        return Err(Failure::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        )));
    }
    let asked = &target.namespace;
    if !asked.is_empty() && !namespace.is_empty() && namespace != asked {
        return Err(Failure::bad_request(format!(
            "the namespace of the object ({namespace}) does not match the namespace on the request ({asked})"
        )));
    }
    Ok(())
}

/// A new object needs a namespace that is there, and stays.
///
/// Upstream: apiserver pkg/admission/plugin/namespace/lifecycle/admission.go, Lifecycle.Admit.
/// Shown by: a_new_object_needs_its_namespace.
pub(super) fn namespace_lifecycle(
    transaction: &Transaction<'_>,
    target: &Target,
    name: &str,
) -> Result<(), Failure> {
    if !target.resource.namespaced {
        return Ok(());
    }
    let namespace = target.namespace.as_str();
    let key = ObjectKey::new(Kind::Namespace, "", namespace);
    let Some(there) = transaction.get(&key) else {
        let namespaces = Resource::of(Kind::Namespace);
        return Err(Failure::not_found(namespaces, namespace));
    };
    if there.value["status"]["phase"] != "Terminating" {
        return Ok(());
    }
    let why = format!(
        "unable to create new content in namespace {namespace} because it is being terminated"
    );
    let mut failure = Failure::forbidden(target.resource, name, why);
    failure.details["causes"] = json!([{
        "reason": "NamespaceTerminating",
        "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    }]);
    Err(failure)
}

/// Namespaces that nobody can delete.
///
/// Upstream: apiserver pkg/admission/plugin/namespace/lifecycle/admission.go, immortalNamespaces.
/// Shown by: some_namespaces_cannot_be_deleted.
pub(super) const IMMORTAL: &[&str] = &["default", "kube-public", "kube-system"];

/// A new namespace is held until its content is gone.
///
/// Upstream: pkg/registry/core/namespace/strategy.go, namespaceStrategy.PrepareForCreate.
/// Shown by: a_namespace_goes_when_it_is_finalized.
pub(super) fn hold_namespace(namespace: &mut Value) {
    const FINALIZER: &str = "kubernetes";
    if !namespace["spec"].is_object() {
        namespace["spec"] = json!({});
    }
    let finalizers = namespace["spec"]["finalizers"].as_array();
    let mut finalizers = finalizers.cloned().unwrap_or_default();
    if finalizers.iter().all(|known| known != FINALIZER) {
        finalizers.push(FINALIZER.into());
    }
    namespace["spec"]["finalizers"] = finalizers.into();
}

/// A namespace has its name among its labels.
///
/// Upstream: pkg/apis/core/v1/defaults.go, SetDefaults_Namespace.
/// Shown by: a_namespace_goes_when_it_is_finalized.
pub(super) fn label_namespace(namespace: &mut Value) {
    let name = namespace["metadata"]["name"].clone();
    if name.as_str().is_some_and(|name| !name.is_empty()) {
        let metadata = metadata(namespace);
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        if labels.is_null() {
            *labels = json!({});
        }
        if let Some(labels) = labels.as_object_mut() {
            labels.insert("kubernetes.io/metadata.name".to_owned(), name);
        }
    }
}

/// A new pod belongs to this node and to a service account.
///
/// Upstream: plugin/pkg/admission/serviceaccount/admission.go, Plugin.Admit; the scheduler.
/// Differs: another node than this one is refused, as there is no other; no token is mounted; and the account `default` need not be there yet.
/// Shown by: a_new_pod_belongs_to_this_node_and_an_account.
pub(super) fn place_pod(
    transaction: &Transaction<'_>,
    target: &Target,
    node: &str,
    pod: &mut Value,
) -> Result<(), Failure> {
    let name = meta(pod, "name").to_owned();
    let wanted = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if !wanted.is_empty() && wanted != node {
        let error = FieldError {
            path: FieldPath::root().field("spec").field("nodeName"),
            message: format!("Unsupported value: {wanted:?}: supported values: {node:?}"),
        };
        return Err(Failure::invalid(target.resource, &name, &[error]));
    }
    let object = transaction.get(&ObjectKey::new(Kind::Node, "", node));
    placing::place(pod, node, object.map(|object| &*object.value));
    let account = pod["spec"]["serviceAccountName"].as_str();
    let account = account.unwrap_or(placing::DEFAULT_ACCOUNT);
    let key = ObjectKey::new(Kind::ServiceAccount, &target.namespace, account);
    if account != placing::DEFAULT_ACCOUNT && transaction.get(&key).is_none() {
        let why = format!(
            "error looking up service account {}/{account}: serviceaccount {account:?} not found",
            target.namespace
        );
        return Err(Failure::forbidden(target.resource, &name, why));
    }
    Ok(())
}
