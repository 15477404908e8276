//! What there is, told to clients.
//!
//! All of it is computed from [`RESOURCES`]: in one document for each of `/api` and `/apis` (aggregated
//! discovery) for those that ask for it so, and in the many small ones of old for everybody else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

use crate::resource::{RESOURCES, Resource, Subresource};

/// The version of Kubernetes that is spoken, in `/version`.
const MINOR: &str = "35";

/// `/version`.
///
/// Upstream: apimachinery pkg/version/types.go, Info; `gitVersion` names this program behind a `+`, as
/// distributions do.
/// Shown by: every_answer_can_be_told_apart.
#[must_use]
pub fn version() -> Value {
    json!({
        "major": "1",
        "minor": MINOR,
        "emulationMajor": "1",
        "emulationMinor": MINOR,
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": MINOR,
        "gitVersion": concat!("v1.35.0+probelet-", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    })
}

/// The architecture as Go names it.
const fn architecture() -> &'static str {
    match std::env::consts::ARCH.as_bytes() {
        b"x86_64" => "amd64",
        b"aarch64" => "arm64",
        _ => std::env::consts::ARCH,
    }
}

/// Which half of the API a document is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// `/api`.
    Core,
    /// `/apis`.
    Groups,
}

/// Everything below `/api` or `/apis`, in one document; `version` is `v2` or `v2beta1`.
///
/// Upstream: apiserver pkg/endpoints/discovery/aggregated/handler.go; apidiscovery.k8s.io.
/// Shown by: one_document_has_all_of_it.
#[must_use]
pub fn aggregated(half: Half, version: &str) -> Value {
    let items: Vec<Value> = groups(half)
        .into_iter()
        .map(|(group, version)| {
            let resources: Vec<Value> = of(group, version).map(discovered).collect();
            let mut metadata = json!({"creationTimestamp": null});
            if !group.is_empty() {
                metadata["name"] = group.into();
            }
            json!({
                "metadata": metadata,
                "versions": [{"version": version, "resources": resources, "freshness": "Current"}],
            })
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    })
}

/// `/api`, the old way; `address` is where the client has found us.
#[must_use]
pub fn core_versions(address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    })
}

/// `/apis`, the old way.
#[must_use]
pub fn group_list() -> Value {
    let groups: Vec<Value> = groups(Half::Groups)
        .into_iter()
        .map(|(group, version)| group_fields(group, version))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/<group>`.
#[must_use]
pub fn group(name: &str) -> Option<Value> {
    let (group, version) = groups(Half::Groups)
        .into_iter()
        .find(|(group, _)| *group == name)?;
    let mut told = group_fields(group, version);
    told["kind"] = "APIGroup".into();
    told["apiVersion"] = "v1".into();
    Some(told)
}

/// `/api/v1`, `/apis/<group>/<version>`.
#[must_use]
pub fn resource_list(group: &str, version: &str) -> Value {
    let mut resources = Vec::new();
    for resource in of(group, version) {
        resources.push(listed(resource));
        for subresource in resource.subresources {
            resources.push(listed_below(resource, subresource));
        }
    }
    let group_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    })
}

/// `/`: the paths there are.
#[must_use]
pub fn paths() -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (group, version) in groups(Half::Groups) {
        paths.push(format!("/apis/{group}"));
        paths.push(format!("/apis/{group}/{version}"));
    }
    let others = [
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ];
    paths.extend(others.map(str::to_owned));
    paths.sort();
    json!({"paths": paths})
}

/// The tag of a document, for `ETag`.
#[must_use]
pub fn tag(document: &[u8]) -> String {
    let hash = digest(&SHA256, document);
    let hex: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    format!("\"{hex}\"")
}

/// The groups with their versions, in the order of the table.
fn groups(half: Half) -> Vec<(&'static str, &'static str)> {
    let mut groups = Vec::new();
    for resource in RESOURCES {
        let here = (half == Half::Core) == resource.group.is_empty();
        let group = (resource.group, resource.version);
        if here && !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

fn of(group: &str, version: &str) -> impl Iterator<Item = &'static Resource> {
    RESOURCES
        .iter()
        .filter(move |resource| resource.group == group && resource.version == version)
}

fn group_fields(group: &str, version: &str) -> Value {
    let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
    json!({"name": group, "versions": [version], "preferredVersion": version})
}

fn kind((group, version, kind): (&str, &str, &str)) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}

fn discovered(resource: &Resource) -> Value {
    let mut told = json!({
        "resource": resource.plural,
        "responseKind": kind((resource.group, resource.version, resource.kind)),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    add_names(&mut told, resource);
    let below = |below: &Subresource| {
        json!({
            "subresource": below.name,
            "responseKind": kind(below.kind),
            "verbs": below.verbs,
        })
    };
    if !resource.subresources.is_empty() {
        told["subresources"] = resource.subresources.iter().map(below).collect();
    }
    told
}

fn listed(resource: &Resource) -> Value {
    let mut told = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": resource.verbs,
    });
    add_names(&mut told, resource);
    if resource.stored.is_some() {
        told["storageVersionHash"] = storage_version_hash(resource).into();
    }
    told
}

fn listed_below(resource: &Resource, below: &Subresource) -> Value {
    let (group, version, kind) = below.kind;
    let mut told = Map::new();
    let mut set = |name: &str, value: Value| told.insert(name.to_owned(), value);
    set("name", format!("{}/{}", resource.plural, below.name).into());
    set("singularName", "".into());
    set("namespaced", resource.namespaced.into());
    set("kind", kind.into());
    set("verbs", json!(below.verbs));
    if (group, version) != (resource.group, resource.version) {
        set("group", group.into());
        set("version", version.into());
    }
    Value::Object(told)
}

fn add_names(told: &mut Value, resource: &Resource) {
    if !resource.short_names.is_empty() {
        told["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        told["categories"] = json!(resource.categories);
    }
}

/// What a client may compare to learn that a resource is stored in another way.
///
/// Upstream: apiserver pkg/endpoints/discovery/storageversionhash.go, StorageVersionHash. Both groups of Event are
/// stored as the core's.
/// Shown by: the_hash_of_the_storage_version_is_upstreams.
fn storage_version_hash(resource: &Resource) -> String {
    let (group, version) = match resource.kind {
        "Event" => ("", "v1"),
        _ => (resource.group, resource.version),
    };
    let text = format!("{group}/{version}/{}", resource.kind);
    STANDARD.encode(&digest(&SHA256, text.as_bytes()).as_ref()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_the_storage_version_is_upstreams() {
        // As any cluster's `/api/v1` says.
        let rows = [
            ("", "pods", "xPOwRZ+Yhw8="),
            ("", "configmaps", "qFsyl6wFWjQ="),
            ("", "namespaces", "Q3oi5N2YM8M="),
            ("", "secrets", "S6u1pOWzb84="),
            ("apps", "deployments", "8aSe+NMegvE="),
            ("apps", "replicasets", "P1RzHs8/mWQ="),
            ("events.k8s.io", "events", "r2yiGXH7wu8="),
        ];
        for (group, plural, expected) in rows {
            let resource = Resource::find(group, "v1", plural).unwrap();
            assert_eq!(storage_version_hash(resource), expected, "{plural}");
        }
    }

    #[test]
    fn one_document_has_all_of_it() {
        let core = aggregated(Half::Core, "v2");
        assert_eq!(core["apiVersion"], "apidiscovery.k8s.io/v2");
        assert_eq!(core["items"].as_array().unwrap().len(), 1);
        let groups = aggregated(Half::Groups, "v2beta1");
        let told: usize = [&core, &groups]
            .into_iter()
            .flat_map(|document| document["items"].as_array().unwrap())
            .map(|item| item["versions"][0]["resources"].as_array().unwrap().len())
            .sum();
        assert_eq!(told, RESOURCES.len());
        let resources = core["items"][0]["versions"][0]["resources"]
            .as_array()
            .unwrap();
        let pods = resources
            .iter()
            .find(|told| told["resource"] == "pods")
            .unwrap();
        assert_eq!(pods["shortNames"], json!(["po"]));
        assert_eq!(pods["categories"], json!(["all"]));
        let below = pods["subresources"].as_array().unwrap();
        let eviction = below
            .iter()
            .find(|told| told["subresource"] == "eviction")
            .unwrap();
        assert_eq!(
            eviction["responseKind"],
            json!({"group": "policy", "version": "v1", "kind": "Eviction"})
        );
    }

    #[test]
    fn the_documents_of_old_say_the_same() {
        let list = resource_list("apps", "v1");
        assert_eq!(list["groupVersion"], "apps/v1");
        let names: Vec<&str> = list["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|resource| resource["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "deployments",
                "deployments/scale",
                "deployments/status",
                "replicasets",
                "replicasets/scale",
                "replicasets/status"
            ]
        );
        assert_eq!(list["resources"][1]["group"], "autoscaling");
        assert_eq!(
            group("apps").unwrap()["preferredVersion"]["groupVersion"],
            "apps/v1"
        );
        assert_eq!(group("batch"), None);
        let groups = group_list();
        let first = &groups["groups"][0];
        assert_eq!(first["name"], "apps");
        assert!(
            paths()["paths"]
                .as_array()
                .unwrap()
                .contains(&"/apis/apps/v1".into())
        );
    }
}
