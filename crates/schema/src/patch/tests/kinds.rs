//! A kind that has every sort of list, as upstream's tests have it.

use std::sync::OnceLock;

use serde_json::json;

use crate::Schema;
use crate::definitions::Types;

/// `MergeItem`: lists that are merged and lists that are not, of objects and of numbers; and itself.
pub(super) fn merge_item() -> &'static Schema {
    static ITEM: OnceLock<&'static Schema> = OnceLock::new();
    ITEM.get_or_init(|| {
        let item = json!({ "$ref": "#/components/schemas/test.MergeItem" });
        let text = json!({ "type": "string" });
        let number = json!({ "type": "integer", "format": "int32" });
        let list = |items: &serde_json::Value, strategy: &str, key: &str| {
            json!({
                "type": "array",
                "items": items,
                "x-kubernetes-patch-strategy": strategy,
                "x-kubernetes-patch-merge-key": key,
            })
        };
        let scalars = json!({
            "type": "array",
            "items": number,
            "x-kubernetes-patch-strategy": "merge",
        });
        let definitions = json!({
            "test.MergeItem": {
                "properties": {
                    "name": text,
                    "value": text,
                    "other": text,
                    "mergingList": list(&item, "merge", "name"),
                    "nonMergingList": { "type": "array", "items": item },
                    "mergingIntList": scalars,
                    "nonMergingIntList": { "type": "array", "items": number },
                    "mergeItemPtr": list(&item, "merge", "name"),
                    "replacingItem": { "type": "object" },
                    "simpleMap": { "type": "object", "additionalProperties": text },
                    "retainKeysMap": {
                        "allOf": [{ "$ref": "#/components/schemas/test.RetainKeysMergeItem" }],
                        "x-kubernetes-patch-strategy": "retainKeys",
                    },
                    "retainKeysMergingList": list(&item, "merge,retainKeys", "name"),
                },
            },
            "test.RetainKeysMergeItem": {
                "properties": {
                    "name": text,
                    "value": text,
                    "other": text,
                    "simpleMap": { "type": "object", "additionalProperties": text },
                    "mergingIntList": scalars,
                    "mergingList": list(&item, "merge", "name"),
                    "nonMergingList": { "type": "array", "items": item },
                },
            },
        });
        Types::of(definitions.as_object().unwrap())
            .get("test.MergeItem")
            .unwrap()
    })
}
