//! What is applied, put into what is there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::element::Element;
use super::value::is_atomic;
use crate::{List, Node, Schema};

/// `applied` on top of `live`: nothing goes; where both have a leaf, `applied` has it.
///
/// # Errors
/// The text of what is wrong with a list, with its path.
///
/// Upstream: structured-merge-diff typed/merge.go, TypedValue.Merge.
/// Shown by: lists_are_merged_in_the_order_of_upstream.
pub(super) fn merge(schema: &Schema, live: &Value, applied: &Value) -> Result<Value, String> {
    let merged = merge_some(schema, Some(live), Some(applied))?;
    Ok(merged.unwrap_or(Value::Null))
}

fn merge_some(
    schema: &Schema,
    live: Option<&Value>,
    applied: Option<&Value>,
) -> Result<Option<Value>, String> {
    let leaf = || Ok(applied.or(live).cloned());
    if is_atomic(schema) {
        return leaf();
    }
    match schema.node() {
        Node::List(list) => {
            let [live, applied] = [live, applied].map(|v| v.and_then(Value::as_array));
            let [live, applied] = [live, applied].map(|v| v.map_or(&[][..], Vec::as_slice));
            // Nothing and nothing: the one that is said last stays as it is, null or empty.
            if live.is_empty() && applied.is_empty() {
                return leaf();
            }
            let merged = merge_lists(list, live, applied)?;
            Ok((!merged.is_empty()).then_some(Value::Array(merged)))
        }
        _ => {
            let none = Map::new();
            let [live, applied] = [live, applied].map(|v| v.and_then(Value::as_object));
            let [live, applied] = [live, applied].map(|v| v.unwrap_or(&none));
            if live.is_empty() && applied.is_empty() {
                return leaf();
            }
            let merged = merge_maps(schema, live, applied)?;
            Ok((!merged.is_empty()).then_some(Value::Object(merged)))
        }
    }
}

fn merge_maps(
    schema: &Schema,
    live: &Map<String, Value>,
    applied: &Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    let mut merged = Map::new();
    let new = applied.keys().filter(|name| !live.contains_key(*name));
    for name in live.keys().chain(new) {
        let (live, applied) = (live.get(name), applied.get(name));
        let value = match schema.field(name) {
            Some(field) => {
                merge_some(field, live, applied).map_err(|error| format!(".{name}{error}"))?
            }
            None => applied.or(live).cloned(),
        };
        if let Some(value) = value {
            merged.insert(name.clone(), value);
        }
    }
    Ok(merged)
}

/// The elements of a list, by what they are known by.
struct Index<'v> {
    elements: Vec<Element>,
    /// None for those that are there more than once: they are not merged with anything.
    values: BTreeMap<Element, Option<&'v Value>>,
}

impl<'v> Index<'v> {
    fn of(list: &List, items: &'v [Value], duplicates: bool) -> Result<Self, String> {
        let mut index = Self {
            elements: Vec::new(),
            values: BTreeMap::new(),
        };
        for (place, item) in items.iter().enumerate() {
            let element = Element::of_list(&list.kind, &list.items, item)
                .map_err(|error| format!(": element {place}: {error}"))?;
            let twice = index.values.contains_key(&element);
            if twice && !duplicates {
                return Err(format!(": duplicate entries for key {element}"));
            }
            index
                .values
                .insert(element.clone(), (!twice).then_some(item));
            index.elements.push(element);
        }
        Ok(index)
    }

    fn get(&self, element: &Element) -> Option<&'v Value> {
        self.values.get(element).copied().flatten()
    }
}

/// Both lists' elements: those of both in the order of `applied`, those of `live` alone where they stood
/// between them.
fn merge_lists(list: &List, live: &[Value], applied: &[Value]) -> Result<Vec<Value>, String> {
    let right = Index::of(list, applied, false)?;
    let left = Index::of(list, live, true)?;
    let mut shared = right
        .elements
        .iter()
        .filter(|element| left.values.contains_key(element))
        .peekable();
    let (mut merged, mut taken) = (Vec::new(), BTreeSet::new());
    let mut put = |element: &Element, live: Option<&Value>, applied: Option<&Value>| {
        let value = merge_some(&list.items, live, applied);
        merged.extend(value.map_err(|error| format!("{element}{error}"))?);
        Ok::<(), String>(())
    };
    let (mut l, mut r) = (0, 0);
    loop {
        let (from_left, from_right) = (left.elements.get(l), right.elements.get(r));
        match (from_left, from_right) {
            (Some(element), Some(other)) if element == other => {
                put(element, left.get(element), right.get(element))?;
                taken.insert(element);
                shared.next();
                (l, r) = (l + 1, r + 1);
                continue;
            }
            // One of both, but another is to be next: this one comes when `applied` says so.
            (Some(element), Some(_))
                if right.values.contains_key(element)
                    && shared.peek().is_some_and(|next| *next != element) =>
            {
                l += 1;
                continue;
            }
            (None, None) => break,
            _ => {}
        }
        if let Some(element) = from_left {
            if !right.values.contains_key(element) {
                put(element, live.get(l), None)?;
                l += 1;
                continue;
            }
            if taken.contains(element) {
                l += 1;
            }
        }
        if let Some(element) = from_right {
            put(element, left.get(element), right.get(element))?;
            taken.insert(element);
            shared.next_if_eq(&element);
            r += 1;
        }
    }
    Ok(merged)
}
