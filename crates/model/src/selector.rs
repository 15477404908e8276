//! Label selectors of objects: `matchLabels` and `matchExpressions`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::field::FieldPath;
use crate::validate::{Errors, selector};

/// Which objects are meant, by their labels. One without any rule means all of them.
///
/// Upstream: apimachinery pkg/apis/meta/v1/helpers.go, LabelSelectorAsSelector; pkg/labels/selector.go,
/// Requirement.Matches.
/// Shown by: a_selectors_expressions_all_hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// `matchLabels`: each must be there with this value.
    pub labels: BTreeMap<String, String>,
    /// `matchExpressions`: each must hold.
    pub expressions: Vec<Expression>,
}

/// One of `matchExpressions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    /// `key`.
    pub key: String,
    /// `operator` and `values`.
    pub rule: Rule,
}

/// What an [`Expression`] says of the label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It is there with one of these values.
    In(Vec<String>),
    /// It is not there, or with another value.
    NotIn(Vec<String>),
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

impl LabelSelector {
    /// A selector as it stands in an object; `None` if there is none, or none that would have been let in.
    #[must_use]
    pub fn from_value(wire: &Value) -> Option<Self> {
        let wire = Option::deserialize(wire).ok()??;
        let mut errors = Errors::default();
        let selector = selector::selector(&wire, &FieldPath::root(), &mut errors)?;
        errors.into_vec().is_empty().then_some(selector)
    }

    /// Whether it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.expressions.is_empty()
    }

    /// Whether an object is meant whose labels have these values.
    #[must_use]
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        let has = |(key, value): (&String, &String)| label(key) == Some(value);
        self.labels.iter().all(has)
            && self
                .expressions
                .iter()
                .all(|expression| expression.rule.holds(label(&expression.key)))
    }
}

impl Rule {
    fn holds(&self, value: Option<&str>) -> bool {
        let is_one = |of: &[String]| value.is_some_and(|value| of.iter().any(|one| one == value));
        match self {
            Self::In(values) => is_one(values),
            Self::NotIn(values) => !is_one(values),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selectors_expressions_all_hold() {
        let texts = |values: &[&str]| values.iter().map(|text| (*text).to_owned()).collect();
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        for (key, rule, expected) in [
            ("a", Rule::In(texts(&["0", "1"])), true),
            ("a", Rule::In(texts(&["0"])), false),
            ("b", Rule::In(texts(&["0"])), false),
            ("a", Rule::NotIn(texts(&["0"])), true),
            ("a", Rule::NotIn(texts(&["1"])), false),
            ("b", Rule::NotIn(texts(&["1"])), true),
            ("a", Rule::Exists, true),
            ("b", Rule::Exists, false),
            ("a", Rule::DoesNotExist, false),
            ("b", Rule::DoesNotExist, true),
        ] {
            let expression = Expression {
                key: key.to_owned(),
                rule,
            };
            let mut selector = LabelSelector {
                labels: labels.clone(),
                expressions: vec![expression],
            };
            let label = |key: &str| labels.get(key).map(String::as_str);
            assert_eq!(selector.matches(label), expected, "{selector:?}");
            assert!(!selector.matches(|_| None));
            selector.expressions.clear();
            assert!(selector.matches(label));
            selector.labels.clear();
            assert!(selector.is_empty() && selector.matches(|_| None));
        }
    }

    #[test]
    fn a_selector_is_read_as_it_is_let_in() {
        let read = LabelSelector::from_value(&json!({
            "matchLabels": { "a": "1" },
            "matchExpressions": [{ "key": "b", "operator": "Exists" }],
        }));
        let expected = LabelSelector {
            labels: BTreeMap::from([("a".to_owned(), "1".to_owned())]),
            expressions: vec![Expression {
                key: "b".to_owned(),
                rule: Rule::Exists,
            }],
        };
        assert_eq!(read, Some(expected));
        assert_eq!(
            LabelSelector::from_value(&json!({})),
            Some(LabelSelector::default())
        );
        for none in [
            Value::Null,
            json!("a=1"),
            json!({ "matchLabels": { "a": "no value" } }),
            json!({ "matchExpressions": [{ "key": "b", "operator": "Nonsense" }] }),
        ] {
            assert_eq!(LabelSelector::from_value(&none), None, "{none}");
        }
    }
}
