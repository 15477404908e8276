//! Get and list.

use probelet_store::{Gone, Object, Store, Version};

use super::page::Start;
use super::write::{key_of, kind_of};
use super::{Listed, event, scale};
use crate::failure::Failure;
use crate::request::{ListOptions, Target};
use crate::selector::Selector;

pub(super) fn get(store: &Store, target: &Target) -> Result<Object, Failure> {
    let key = key_of(target)?;
    let object = store
        .get(&key)
        .ok_or_else(|| Failure::not_found(target.resource, &key.name))?;
    match target.subresource.map(|below| below.name) {
        Some("scale") => Ok(scale::of(&object)),
        Some("token" | "eviction" | "finalize") => Err(Failure::method_not_allowed()),
        _ => Ok(shown(target, object)),
    }
}

/// An object in the shape of the group that it is asked for in.
fn shown(target: &Target, object: Object) -> Object {
    Object {
        value: event::as_asked_for(target.resource, &object.value),
        ..object
    }
}

/// A list of one version: of the present one, of a page's before, or of the one that is asked for.
///
/// Upstream: apiserver pkg/storage/etcd3/store.go, GetList; pkg/storage/errors.go and etcd3/errors.go.
/// Shown by: pages_make_the_list_of_the_first_page, a_forgotten_page_goes_on_with_what_is_there,
/// a_version_that_has_not_been_yet_is_too_large.
pub(super) fn list(
    store: &Store,
    target: &Target,
    options: &ListOptions,
) -> Result<Listed, Failure> {
    let kind = kind_of(target)?;
    let selector = Selector::parse(
        target.resource,
        &options.label_selector,
        &options.field_selector,
    )?;
    let has_version = options.version.is_some_and(|version| version.0 > 0);
    if has_version && !options.continue_token.is_empty() {
        return Err(Failure::bad_request(
            "specifying resource version is not allowed when using continue",
        ));
    }
    let start = (!options.continue_token.is_empty())
        .then(|| Start::decode(kind, &options.continue_token))
        .transpose()?;
    let (mut objects, version) = match (&start, at(store, options)?) {
        (Some(start), _) if start.version.is_some() => {
            let version = start.version.unwrap_or_default();
            let objects = store
                .list_at(kind, version)
                .map_err(|gone| forgotten_page(start, gone))?;
            (objects, version)
        }
        (None, Some(version)) => {
            let objects = store
                .list_at(kind, version)
                .map_err(|_| Failure::expired(TOO_OLD))?;
            (objects, version)
        }
        _ if target.namespace.is_empty() => store.list(kind),
        _ => store.list_in(kind, &target.namespace),
    };
    if !target.namespace.is_empty() {
        objects.retain(|object| object.key.namespace == target.namespace);
    }
    if let Some(start) = start {
        objects.retain(|object| object.key > start.after);
    }
    if !selector.is_empty() {
        objects.retain(|object| selector.matches(&object.value));
    }
    let beyond = match options.limit {
        0 => 0,
        limit => objects.len().saturating_sub(limit),
    };
    objects.truncate(objects.len() - beyond);
    let next = objects.last().filter(|_| beyond > 0).map(|last| Start {
        version: Some(version),
        after: last.key.clone(),
    });
    Ok(Listed {
        objects: objects
            .into_iter()
            .map(|object| shown(target, object))
            .collect(),
        version,
        continue_token: next.map(|next| next.encode()).unwrap_or_default(),
        remaining: (beyond > 0 && selector.is_empty()).then_some(beyond),
    })
}

const TOO_OLD: &str = "The resourceVersion for the provided list is too old.";
const INCONSISTENT: &str = "The provided continue parameter is too old to display a consistent list result. \
    You can start a new list without the continue parameter, or use the continue token in this response to \
    retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list \
    - objects that were created, modified, or deleted between the time the first chunk was returned and now \
    may show up in the list.";

/// The rest of a list whose first page is forgotten can be had as it is now.
///
/// Upstream: apiserver pkg/storage/etcd3/errors.go, handleCompactedErrorForPaging.
/// Shown by: a_forgotten_page_goes_on_with_what_is_there.
fn forgotten_page(start: &Start, gone: Gone) -> Failure {
    if gone.asked > gone.newest {
        return Failure::too_large_version(gone.asked, gone.newest);
    }
    let rest = Start {
        version: None,
        after: start.after.clone(),
    };
    Failure {
        continue_token: rest.encode(),
        ..Failure::expired(INCONSISTENT)
    }
}

/// The very version that is asked for; `None` if it is any that is not older than one.
///
/// Upstream: with a limit and no match, a version is the very one it says.
/// Shown by: a_version_is_the_least_or_the_very_one.
fn at(store: &Store, options: &ListOptions) -> Result<Option<Version>, Failure> {
    let Some(version) = options.version.filter(|version| version.0 > 0) else {
        return Ok(None);
    };
    let current = store.version();
    if version > current {
        return Err(Failure::too_large_version(version, current));
    }
    Ok((options.exact || options.limit > 0).then_some(version))
}
