//! Objects in the shape a client has asked for: as they are, as rows of a Table, or their metadata alone.

use std::sync::Arc;

use probelet_model::time::Wall;
use probelet_store::Version;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::negotiate::{Media, MetaVersion, Shape};
use crate::resource::Resource;
use crate::table::{self, Row};

/// One object, as bytes.
///
/// # Errors
/// As [`Media::write`].
pub fn object(
    media: Media,
    resource: &Resource,
    value: &Arc<Value>,
    now: Wall,
) -> Result<Vec<u8>, Failure> {
    // A Status that stands for an object stays one.
    let is_status = value["kind"] == "Status" && value["apiVersion"] == "v1";
    match media.shape {
        Shape::Table(version) if !is_status => {
            let metadata = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
            let (columns, rows) = if value["kind"] == "Scale" {
                let row = table::row_of_scale(value, media.include, now);
                (table::columns_of_scale(), vec![row])
            } else {
                let one = std::slice::from_ref(value);
                let rows = table::rows(resource, one, media.include, now);
                (table::columns(resource), rows)
            };
            media.write(&Table::new(version, metadata, columns, rows))
        }
        Shape::Metadata(version) if !is_status => media.write(&Metadata::of(version, value)),
        Shape::Table(_) | Shape::Metadata(_) | Shape::Object => media.write(value.as_ref()),
    }
}

/// What is said of a list beside its objects.
#[derive(Clone, Debug, Default)]
pub struct ListMetadata {
    /// A watch from there misses nothing.
    pub version: Version,
    /// The token of the next page; empty if there is none.
    pub continue_token: String,
    /// How many objects there are on the pages behind this one.
    pub remaining: Option<usize>,
}

impl ListMetadata {
    fn to_value(&self) -> Value {
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if !self.continue_token.is_empty() {
            metadata["continue"] = self.continue_token.as_str().into();
        }
        if let Some(remaining) = self.remaining.filter(|remaining| *remaining > 0) {
            metadata["remainingItemCount"] = remaining.into();
        }
        metadata
    }
}

/// Some objects, as bytes.
///
/// # Errors
/// As [`Media::write`].
pub fn list(
    media: Media,
    resource: &Resource,
    objects: &[Arc<Value>],
    metadata: &ListMetadata,
    now: Wall,
) -> Result<Vec<u8>, Failure> {
    let metadata = metadata.to_value();
    match media.shape {
        Shape::Table(version) => {
            let rows = table::rows(resource, objects, media.include, now);
            let columns = table::columns(resource);
            media.write(&Table::new(version, metadata, columns, rows))
        }
        Shape::Metadata(version) => {
            let items = objects.iter();
            media.write(&List {
                kind: "PartialObjectMetadataList".to_owned(),
                api_version: version.api_version().to_owned(),
                metadata,
                items: items.map(|object| Metadata::of(version, object)).collect(),
            })
        }
        Shape::Object => media.write(&List {
            kind: format!("{}List", resource.kind),
            api_version: resource.api_version(),
            metadata,
            items: objects.iter().map(|object| Item(object)).collect(),
        }),
    }
}

/// A list of one kind.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct List<T> {
    kind: String,
    api_version: String,
    metadata: Value,
    items: Vec<T>,
}

/// An object in a list, which leaves out what the list has said for all of them.
struct Item<'a>(&'a Value);

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(fields) = self.0.as_object() else {
            return self.0.serialize(serializer);
        };
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in fields {
            if name != "kind" && name != "apiVersion" {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

/// A Table.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    kind: &'static str,
    api_version: &'static str,
    metadata: Value,
    column_definitions: Value,
    rows: Vec<Row>,
}

impl Table {
    /// A table of some rows; no columns (`null`) if they have been told before.
    #[must_use]
    pub const fn new(
        version: MetaVersion,
        metadata: Value,
        columns: Value,
        rows: Vec<Row>,
    ) -> Self {
        Self {
            kind: "Table",
            api_version: version.api_version(),
            metadata,
            column_definitions: columns,
            rows,
        }
    }
}

/// An object's metadata without the rest of it.
#[derive(Clone, Copy, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: &'a Value,
}

impl<'a> Metadata<'a> {
    /// That of an object.
    #[must_use]
    pub fn of(version: MetaVersion, object: &'a Value) -> Self {
        Self {
            kind: "PartialObjectMetadata",
            api_version: version.api_version(),
            metadata: &object["metadata"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::negotiate::Format;

    fn text(bytes: Result<Vec<u8>, Failure>) -> Value {
        serde_json::from_slice(&bytes.unwrap()).unwrap()
    }

    #[test]
    fn a_list_says_its_kind_once() {
        let pods = Resource::find("", "v1", "pods").unwrap();
        let object =
            Arc::new(json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}}));
        let metadata = ListMetadata {
            version: Version(7),
            continue_token: "t".to_owned(),
            remaining: Some(3),
        };
        let media = Media::default();
        let told = text(list(
            media,
            pods,
            &[Arc::clone(&object)],
            &metadata,
            Wall(0),
        ));
        let expected = json!({
            "kind": "PodList", "apiVersion": "v1",
            "metadata": {"resourceVersion": "7", "continue": "t", "remainingItemCount": 3},
            "items": [{"metadata": {"name": "a"}}],
        });
        assert_eq!(told, expected);
        let media = Media {
            shape: Shape::Metadata(MetaVersion::V1),
            ..Media::default()
        };
        let told = text(list(
            media,
            pods,
            &[object],
            &ListMetadata::default(),
            Wall(0),
        ));
        let expected = json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"resourceVersion": "0"},
            "items": [{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "a"}}],
        });
        assert_eq!(told, expected);
    }

    #[test]
    fn a_status_is_no_row() {
        let pods = Resource::find("", "v1", "pods").unwrap();
        let status = Arc::new(json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}));
        let media = Media {
            shape: Shape::Table(MetaVersion::V1),
            format: Format::Json,
            ..Media::default()
        };
        assert_eq!(text(object(media, pods, &status, Wall(0))), *status);
    }
}
