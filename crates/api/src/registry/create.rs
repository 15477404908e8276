//! Create.

use probelet_model::admission;
use probelet_model::decode::Options;
use probelet_model::id::{Kind, ObjectKey};
use probelet_schema::Schema;
use probelet_schema::managed::{self, Writer};
use probelet_store::Transaction;
use serde_json::{Value, json};

use super::incoming::{self, Incoming};
use super::write::{answer, kind_of, meta, metadata, random, refused, uuid};
use super::{Registry, Written, admit};
use crate::failure::Failure;
use crate::request::{Target, WriteOptions};

pub(super) async fn create(
    registry: &Registry,
    target: &Target,
    body: Value,
    options: &WriteOptions,
) -> Result<Written, Failure> {
    if target.name.is_some() {
        return Err(Failure::method_not_allowed());
    }
    let incoming = incoming::read(target, body, options)?;
    let version = meta(&incoming.value, "resourceVersion");
    if !version.is_empty() && version != "0" {
        return Err(Failure::unclassified(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    registry
        .transact(options.dry_run, |transaction| {
            insert(registry, transaction, target, incoming, options)
        })
        .await
}

/// Puts a new object into the store. What an apply has made brings its `managedFields`; of anything else the
/// writer owns what it said.
///
/// Upstream: apiserver pkg/registry/generic/registry/store.go, Store.Create; pkg/registry/rest/create.go,
/// BeforeCreate.
/// Shown by: an_object_is_created, a_name_is_generated.
pub(super) fn insert(
    registry: &Registry,
    transaction: &mut Transaction<'_>,
    target: &Target,
    incoming: Incoming,
    options: &WriteOptions,
) -> Result<Written, Failure> {
    let kind = kind_of(target)?;
    let Incoming {
        mut value,
        mut warnings,
    } = incoming;
    admit::settle_namespace(target, &mut value)?;
    let (name, prefix) = (
        meta(&value, "name").to_owned(),
        meta(&value, "generateName").to_owned(),
    );
    let shown = if name.is_empty() { &prefix } else { &name };
    let shown = if shown.is_empty() { "Unknown" } else { shown };
    admit::namespace_lifecycle(transaction, target, shown)?;
    if name.is_empty() && !prefix.is_empty() {
        let name = generate(transaction, target, kind, &prefix)?;
        metadata(&mut value).insert("name".to_owned(), name.into());
    }
    if kind == Kind::Namespace {
        admit::label_namespace(&mut value);
    }
    let applied = value["metadata"].get("managedFields").cloned();
    let model = Options {
        default_runtime_class: registry.settings.default_runtime_class.clone(),
    };
    let name = meta(&value, "name").to_owned();
    let admitted = admission::create(kind, value, &model)
        .map_err(|errors| incoming::unfit(target, &name, &errors))?;
    let owners = match applied {
        Some(owners) => Some(owners),
        None => owners(registry, target, &admitted.value, options),
    };
    let mut value = admitted.value;
    if kind == Kind::Namespace {
        admit::hold_namespace(&mut value);
    }
    if kind == Kind::Pod {
        admit::place_pod(
            transaction,
            target,
            &registry.settings.node_name,
            &mut value,
        )?;
    }
    let metadata = metadata(&mut value);
    metadata.insert("uid".to_owned(), uuid().into());
    metadata.insert(
        "creationTimestamp".to_owned(),
        registry.now().to_string().into(),
    );
    if let Some(owners) = owners {
        metadata.insert("managedFields".to_owned(), owners);
    }
    warnings.extend(admitted.warnings.iter().map(ToString::to_string));
    let created = transaction
        .create(admitted.key, value)
        .map_err(|error| refused(target.resource, &name, &error))?;
    Ok(Written {
        value: answer(target, &created, options.dry_run.then_some(None)),
        created: true,
        deleted: false,
        warnings,
    })
}

/// `managedFields` of what a writer has said, none if the kind has no schema: of a status only the server speaks when an object is new.
fn owners(
    registry: &Registry,
    target: &Target,
    value: &Value,
    options: &WriteOptions,
) -> Option<Value> {
    let resource = target.resource.stored.map(crate::resource::Resource::of)?;
    let schema = Schema::of(&resource.api_version(), resource.kind)?;
    let mut said = value.clone();
    if target.resource.subresource("status").is_some() {
        said.as_object_mut()?.remove("status");
    }
    let writer = Writer {
        manager: &options.field_manager,
        subresource: "",
        time: &registry.now().to_string(),
    };
    let owned = managed::update(schema, None, said, &writer);
    owned["metadata"].get("managedFields").cloned()
}

/// The letters of generated names: without vowels and what looks like them.
///
/// Upstream: apimachinery pkg/util/rand/rand.go, alphanums.
/// Shown by: a_name_is_generated.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX: usize = 5;
const LONGEST: usize = 63;
const ATTEMPTS: usize = 8;

/// A name that nobody has yet.
///
/// Upstream: apiserver pkg/storage/names/generate.go, simpleNameGenerator.GenerateName;
/// pkg/registry/generic/registry/store.go, maxNameGenerationCreateAttempts.
/// Shown by: a_name_is_generated.
fn generate(
    transaction: &Transaction<'_>,
    target: &Target,
    kind: Kind,
    prefix: &str,
) -> Result<String, Failure> {
    let mut room = prefix.len().min(LONGEST - SUFFIX);
    while !prefix.is_char_boundary(room) {
        room -= 1;
    }
    let mut name = String::new();
    for _ in 0..ATTEMPTS {
        // A remainder prefers the first letters a little, as upstream's does.
        let letters: [u8; SUFFIX] =
            random::<SUFFIX>().map(|byte| LETTERS[usize::from(byte) % LETTERS.len()]);
        name = prefix[..room].to_owned();
        name.extend(letters.map(char::from));
        if transaction
            .get(&ObjectKey::new(kind, &target.namespace, &name))
            .is_none()
        {
            return Ok(name);
        }
    }
    let mut failure = Failure::already_exists(target.resource, &name);
    failure.message = format!(
        "{}, the server was not able to generate a unique name for the object",
        failure.message
    );
    failure.details["retryAfterSeconds"] = json!(1);
    Err(failure)
}
