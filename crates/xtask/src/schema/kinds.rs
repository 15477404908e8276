//! The kinds that the data is of.

use k8s_openapi::api::{
    apps, authentication, authorization, autoscaling, coordination, core, discovery, events, node,
    policy,
};
use k8s_openapi::apimachinery::pkg::apis::meta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use k8s_openapi::schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use k8s_openapi::{ListableResource, Resource};
use serde_json::{Value, json};

/// The groups of the API, each in its one version. What belongs to no group is in all of them.
const GROUPS: [&str; 10] = [
    "",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "node.k8s.io",
    "policy",
];

/// The names of the kinds' definitions, with the groups, versions and kinds that they are of.
pub(super) fn name(generator: &mut SchemaGenerator) -> Vec<(String, Vec<Value>)> {
    let mut kinds = Named {
        generator,
        named: Vec::new(),
    };
    kinds.listed::<core::v1::ConfigMap>();
    kinds.listed::<core::v1::Endpoints>();
    kinds.listed::<core::v1::Event>();
    kinds.listed::<core::v1::Namespace>();
    kinds.listed::<core::v1::Node>();
    kinds.listed::<core::v1::Pod>();
    kinds.listed::<core::v1::Secret>();
    kinds.listed::<core::v1::Service>();
    kinds.listed::<core::v1::ServiceAccount>();
    kinds.listed::<apps::v1::Deployment>();
    kinds.listed::<apps::v1::ReplicaSet>();
    kinds.one::<authentication::v1::SelfSubjectReview>();
    kinds.one::<authentication::v1::TokenRequest>();
    kinds.one::<authentication::v1::TokenReview>();
    kinds.one::<authorization::v1::LocalSubjectAccessReview>();
    kinds.one::<authorization::v1::SelfSubjectAccessReview>();
    kinds.one::<authorization::v1::SelfSubjectRulesReview>();
    kinds.one::<authorization::v1::SubjectAccessReview>();
    kinds.one::<autoscaling::v1::Scale>();
    kinds.listed::<coordination::v1::Lease>();
    kinds.listed::<discovery::v1::EndpointSlice>();
    kinds.listed::<events::v1::Event>();
    kinds.listed::<node::v1::RuntimeClass>();
    kinds.one::<policy::v1::Eviction>();
    kinds.one::<meta::v1::APIResourceList>();
    kinds.one::<meta::v1::Status>();
    kinds.add::<meta::v1::Patch>(Vec::new());
    kinds.everywhere::<meta::v1::DeleteOptions>("DeleteOptions");
    kinds.everywhere::<meta::v1::WatchEvent<RawExtension>>("WatchEvent");
    kinds.named
}

struct Named<'g> {
    generator: &'g mut SchemaGenerator,
    named: Vec<(String, Vec<Value>)>,
}

impl Named<'_> {
    fn listed<T: JsonSchema + ListableResource>(&mut self) {
        self.one::<T>();
        // k8s-openapi has no schemas of lists, as they are all alike.
        let name = format!("{}List", T::schema_name());
        let list = list_of::<T>(self.generator);
        self.generator
            .definitions_mut()
            .insert(name.clone(), list.into());
        self.named
            .push((name, vec![gvk(T::GROUP, T::VERSION, T::LIST_KIND)]));
    }

    fn one<T: JsonSchema + Resource>(&mut self) {
        self.add::<T>(vec![gvk(T::GROUP, T::VERSION, T::KIND)]);
    }

    fn everywhere<T: JsonSchema>(&mut self, kind: &str) {
        self.add::<T>(GROUPS.map(|group| gvk(group, "v1", kind)).to_vec());
    }

    fn add<T: JsonSchema>(&mut self, gvks: Vec<Value>) {
        self.generator.subschema_for::<T>();
        self.named.push((T::schema_name().into_owned(), gvks));
    }
}

fn list_of<T: JsonSchema + Resource>(generator: &mut SchemaGenerator) -> Schema {
    let items = generator.subschema_for::<T>();
    let mut metadata = generator.subschema_for::<meta::v1::ListMeta>();
    metadata.insert(
        "description".to_owned(),
        "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds".into(),
    );
    // The two that say what an object is are the same in every kind.
    let status = generator.subschema_for::<meta::v1::Status>();
    let status = status
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| reference.rsplit('/').next())
        .and_then(|name| generator.definitions().get(name));
    let [api_version, kind] =
        ["apiVersion", "kind"].map(|field| status.map(|status| &status["properties"][field]));
    json_schema!({
        "description": format!("{}List is a list of {}s.", T::KIND, T::KIND),
        "type": "object",
        "properties": {
            "apiVersion": api_version,
            "items": {
                "description": "List of objects.",
                "type": "array",
                "items": items,
            },
            "kind": kind,
            "metadata": metadata,
        },
        "required": ["items"],
    })
}

fn gvk(group: &str, version: &str, kind: &str) -> Value {
    json!({ "group": group, "version": version, "kind": kind })
}
