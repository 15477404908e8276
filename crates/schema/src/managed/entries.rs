//! The entries of `metadata.managedFields`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::set::FieldSet;

/// How many managers that update an object keeps; the oldest are merged into [`OLD_UPDATES`].
const MOST_UPDATERS: usize = 10;

/// The manager of updates that were merged.
const OLD_UPDATES: &str = "ancient-changes";

/// How an entry's fields were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// Who an entry is of. Of a manager that applies there is one entry, whatever versions it has used.
///
/// Upstream: apimachinery pkg/util/managedfields/internal/managedfields.go, BuildManagerIdentifier.
/// Shown by: the_same_name_is_two_managers_if_it_applies_and_updates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) manager: String,
    pub(super) operation: Operation,
    /// Empty if it applies.
    pub(super) api_version: String,
    pub(super) subresource: String,
}

impl Identity {
    pub(super) fn new(
        manager: &str,
        operation: Operation,
        api_version: &str,
        subresource: &str,
    ) -> Self {
        Self {
            manager: manager.to_owned(),
            operation,
            api_version: match operation {
                Operation::Apply => String::new(),
                Operation::Update => api_version.to_owned(),
            },
            subresource: subresource.to_owned(),
        }
    }

    /// As a conflict names it.
    ///
    /// Upstream: apimachinery pkg/util/managedfields/internal/conflict.go, printManager.
    /// Shown by: conflicts_name_the_manager_as_upstream_does.
    pub(super) fn in_words(&self) -> String {
        let mut words = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            words += &format!(" with subresource {:?}", self.subresource);
        }
        if self.operation == Operation::Update {
            words += &format!(" using {}", self.api_version);
        }
        words
    }
}

/// What a manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ownership {
    pub(super) set: FieldSet,
    pub(super) api_version: String,
    /// As it stands in the entry; none if the entry has none.
    pub(super) time: Option<String>,
}

/// All entries of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entries(pub(super) BTreeMap<Identity, Ownership>);

impl Entries {
    /// Of `metadata.managedFields`; none if it is not there.
    ///
    /// Upstream: apimachinery pkg/util/managedfields/internal/managedfields.go, DecodeManagedFields.
    /// Shown by: entries_that_are_sent_are_taken, entries_of_versions_that_nobody_knows_are_dropped.
    pub(super) fn decode(managed_fields: Option<&Value>) -> Result<Self, String> {
        let mut entries = Self::default();
        let list = managed_fields.and_then(Value::as_array);
        for (place, entry) in list.into_iter().flatten().enumerate() {
            let text = |name: &str| entry[name].as_str().unwrap_or_default();
            let operation = match text("operation") {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return Err("operation must be `Apply` or `Update`".to_owned()),
            };
            let api_version = text("apiVersion");
            if api_version.is_empty() {
                return Err("apiVersion must not be empty".to_owned());
            }
            match text("fieldsType") {
                "FieldsV1" => {}
                "" => {
                    return Err(format!(
                        "missing fieldsType in managed fields entry {place}"
                    ));
                }
                other => {
                    return Err(format!(
                        "invalid fieldsType {other:?} in managed fields entry {place}"
                    ));
                }
            }
            let set = match &entry["fieldsV1"] {
                Value::Null => FieldSet::new(),
                fields => FieldSet::decode(fields)
                    .map_err(|error| format!("error decoding set: {error}"))?,
            };
            let ownership = Ownership {
                set,
                api_version: api_version.to_owned(),
                time: entry["time"].as_str().map(str::to_owned),
            };
            let subresource = text("subresource");
            entries.0.insert(
                Identity::new(text("manager"), operation, api_version, subresource),
                ownership,
            );
        }
        Ok(entries)
    }

    /// As `metadata.managedFields`, in upstream's order; none without entries.
    ///
    /// Upstream: apimachinery pkg/util/managedfields/internal/managedfields.go, sortEncodedManagedFields.
    /// Shown by: entries_are_ordered_by_operation_and_time.
    pub(super) fn encode(&self) -> Option<Value> {
        if self.0.is_empty() {
            return None;
        }
        let mut ordered: Vec<(&Identity, &Ownership)> = self.0.iter().collect();
        ordered.sort_by(|(a, of_a), (b, of_b)| {
            let key = |identity: &Identity, of: &Ownership| (identity.operation, of.second());
            key(a, of_a).cmp(&key(b, of_b)).then_with(|| {
                (&a.manager, &of_a.api_version, &a.subresource).cmp(&(
                    &b.manager,
                    &of_b.api_version,
                    &b.subresource,
                ))
            })
        });
        let list = ordered.into_iter().map(|(identity, of)| {
            let mut entry = Map::new();
            let mut put = |name: &str, value: Value| entry.insert(name.to_owned(), value);
            if !identity.manager.is_empty() {
                put("manager", json!(identity.manager));
            }
            put(
                "operation",
                json!(match identity.operation {
                    Operation::Apply => "Apply",
                    Operation::Update => "Update",
                }),
            );
            put("apiVersion", json!(of.api_version));
            if let Some(time) = &of.time {
                put("time", json!(time));
            }
            put("fieldsType", json!("FieldsV1"));
            put("fieldsV1", of.set.encode());
            if !identity.subresource.is_empty() {
                put("subresource", json!(identity.subresource));
            }
            Value::Object(entry)
        });
        Some(list.collect())
    }

    /// Without the entries that own nothing.
    pub(super) fn drop_empty(&mut self) {
        self.0.retain(|_, of| !of.set.is_empty());
    }

    /// Merges the oldest entries of updates until there are no more than [`MOST_UPDATERS`].
    ///
    /// Upstream: apimachinery pkg/util/managedfields/internal/capmanagers.go, capUpdateManagers.
    /// Shown by: the_oldest_updates_are_merged.
    pub(super) fn cap(&mut self) {
        let updates =
            |(identity, _): &(&Identity, &Ownership)| identity.operation == Operation::Update;
        let mut updaters: Vec<(i64, Identity)> = self
            .0
            .iter()
            .filter(updates)
            .map(|(identity, of)| (of.second(), identity.clone()))
            .collect();
        let mut length = updaters.len();
        if length <= MOST_UPDATERS {
            return;
        }
        updaters.sort();
        // The first of each version, until a second is merged with it.
        let mut firsts: BTreeMap<String, Identity> = BTreeMap::new();
        for (_, identity) in updaters {
            if length <= MOST_UPDATERS {
                break;
            }
            let Some(first) = firsts.get(&identity.api_version) else {
                firsts.insert(identity.api_version.clone(), identity);
                continue;
            };
            let bucket = Identity::new(OLD_UPDATES, Operation::Update, &identity.api_version, "");
            if !self.0.contains_key(&bucket)
                && let Some(of) = self.0.remove(first)
            {
                self.0.insert(bucket.clone(), of);
            }
            if let Some(merged) = self.0.remove(&identity)
                && let Some(of) = self.0.get_mut(&bucket)
            {
                of.set = std::mem::take(&mut of.set).union(merged.set);
                of.time = merged.time;
            }
            length -= 1;
        }
    }
}

impl Ownership {
    /// Its time, to the second, in which the order is told; zero without one.
    fn second(&self) -> i64 {
        let time = self.time.as_deref();
        let time = time.and_then(|time| time.parse::<jiff::Timestamp>().ok());
        time.map_or(0, jiff::Timestamp::as_second)
    }
}
