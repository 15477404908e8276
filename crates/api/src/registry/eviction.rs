//! `pods/eviction`: a deletion that asks first. There is nobody to ask: disruption budgets are no resource here.

use std::sync::Arc;

use probelet_store::Version;
use serde_json::{Value, json};

use super::incoming::Expected;
use super::write::meta;
use super::{Registry, Written, delete};
use crate::failure::Failure;
use crate::request::{DeleteOptions, Target, WriteOptions};

/// Deletes a pod by the options of its eviction.
///
/// Upstream: pkg/registry/core/pod/storage/eviction.go, EvictionREST.Create.
/// Differs: there are no disruption budgets, so that nothing is ever asked to try again later.
/// Shown by: an_eviction_deletes_the_pod.
pub(super) async fn evict(
    registry: &Registry,
    target: &Target,
    body: &Value,
    options: &WriteOptions,
) -> Result<Written, Failure> {
    let eviction = Expected::of(target).typed(body.clone())?;
    let url = target.name.as_deref().unwrap_or_default();
    let name = meta(&eviction, "name");
    if name != url && !name.is_empty() {
        return Err(Failure::bad_request(format!(
            "name in URL does not match name in Eviction object: {url:?} != {name:?}"
        )));
    }
    let asked = &eviction["deleteOptions"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let version = asked["preconditions"]["resourceVersion"].as_str();
    let delete_options = DeleteOptions {
        grace: asked["gracePeriodSeconds"].as_u64(),
        uid: text(&asked["preconditions"]["uid"]),
        version: version
            .map(str::parse::<Version>)
            .transpose()
            .map_err(|error| Failure::bad_request(error.to_string()))?,
        propagation: None,
        dry_run: options.dry_run || asked["dryRun"][0] == "All",
    };
    let pod = Target {
        subresource: None,
        ..target.clone()
    };
    delete::delete(registry, &pod, &delete_options).await?;
    Ok(Written {
        value: Arc::new(json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "code": 201,
        })),
        created: true,
        deleted: false,
        warnings: Vec::new(),
    })
}
