//! What holds of every object and every patch.

use std::collections::BTreeSet;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::kinds::merge_item;
use crate::patch::{merge, strategic};

/// A `MergeItem` as somebody would write it: merged lists have no two elements of one name.
fn item() -> impl Strategy<Value = Value> {
    let leaf = (option::of("[ab]"), option::of("[12]")).prop_map(|(value, other)| {
        let mut item = Map::new();
        item.extend(value.map(|value| ("value".to_owned(), value.into())));
        item.extend(other.map(|other| ("other".to_owned(), other.into())));
        Value::Object(item)
    });
    leaf.prop_recursive(3, 24, 4, |item| {
        (
            option::of(btree_map("[a-f]", item, 0..4)),
            option::of(vec(0_u8..9, 0..5)),
            option::of(btree_map("[x-z]", "[a-c]", 0..3)),
            option::of("[ab]"),
        )
            .prop_map(|(list, numbers, map, value)| {
                let mut item = Map::new();
                if let Some(list) = list {
                    let list: Vec<Value> = list
                        .into_iter()
                        .rev()
                        .map(|(name, mut item)| {
                            item["name"] = name.into();
                            item
                        })
                        .collect();
                    item.insert("mergingList".to_owned(), list.into());
                }
                if let Some(numbers) = numbers {
                    let numbers: BTreeSet<u8> = numbers.into_iter().collect();
                    item.insert(
                        "mergingIntList".to_owned(),
                        numbers.into_iter().collect::<Vec<u8>>().into(),
                    );
                }
                item.extend(map.map(|map| ("simpleMap".to_owned(), json!(map))));
                item.extend(value.map(|value| ("value".to_owned(), value.into())));
                Value::Object(item)
            })
    })
}

/// Any JSON, with the words that mean something to a patch among its keys.
fn anything() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("$patch".to_owned()),
        Just("$retainKeys".to_owned()),
        Just("$setElementOrder/mergingList".to_owned()),
        Just("$deleteFromPrimitiveList/mergingIntList".to_owned()),
        Just("mergingList".to_owned()),
        Just("mergingIntList".to_owned()),
        Just("retainKeysMap".to_owned()),
        Just("name".to_owned()),
        "[a-c/$]{0,3}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (0_u8..4).prop_map(Value::from),
        "(replace|delete|merge|name|[ab])".prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            btree_map(key.clone(), inner, 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// All names of a merged list, in order.
fn names(item: &Value) -> Vec<Value> {
    item["mergingList"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|element| element["name"].clone())
        .collect()
}

proptest! {
    #[test]
    fn a_patch_of_nothing_changes_nothing(object in item()) {
        prop_assert_eq!(strategic(merge_item(), &object, &json!({})), Ok(object.clone()));
        prop_assert_eq!(merge(&object, &json!({})), Ok(object));
    }

    #[test]
    fn an_object_is_its_own_patch(object in item()) {
        prop_assert_eq!(strategic(merge_item(), &object, &object), Ok(object.clone()));
        prop_assert_eq!(merge(&object, &object), Ok(object));
    }

    #[test]
    fn a_patch_of_nothing_before_it_is_what_comes_of_it(patch in item()) {
        prop_assert_eq!(strategic(merge_item(), &json!({}), &patch), Ok(patch));
    }

    #[test]
    fn a_patch_once_carried_out_changes_nothing_more(object in item(), patch in item()) {
        let once = strategic(merge_item(), &object, &patch).unwrap();
        prop_assert_eq!(strategic(merge_item(), &once, &patch), Ok(once));
        let once = merge(&object, &patch).unwrap();
        prop_assert_eq!(merge(&once, &patch), Ok(once));
    }

    #[test]
    fn an_order_that_names_all_is_the_order(object in item(), rotate in 0_usize..4) {
        let mut order = names(&object);
        let by = rotate.min(order.len());
        order.rotate_left(by);
        let directive: Vec<Value> = order.iter().map(|name| json!({ "name": name })).collect();
        let patch = json!({ "$setElementOrder/mergingList": directive });
        let ordered = strategic(merge_item(), &object, &patch).unwrap();
        prop_assert_eq!(names(&ordered), order);
        // And it is the same elements still.
        let sorted = |item: &Value| {
            let mut list = item["mergingList"].as_array().cloned().unwrap_or_default();
            list.sort_by_key(Value::to_string);
            list
        };
        prop_assert_eq!(sorted(&ordered), sorted(&object));
    }

    #[test]
    fn a_merged_list_has_the_names_of_both(object in item(), patch in item()) {
        let merged = strategic(merge_item(), &object, &patch).unwrap();
        let of = |item: &Value| names(item).iter().map(Value::to_string).collect::<BTreeSet<_>>();
        let both: BTreeSet<String> = of(&object).union(&of(&patch)).cloned().collect();
        prop_assert_eq!(names(&merged).len(), both.len());
        prop_assert_eq!(of(&merged), both);
    }

    #[test]
    fn no_patch_brings_anything_down(object in anything(), patch in anything()) {
        let strategic = strategic(merge_item(), &object, &patch);
        prop_assert!(strategic.is_err() || patch.is_object());
        let merge = merge(&object, &patch);
        prop_assert_eq!(merge.is_err(), !patch.is_object());
    }
}
