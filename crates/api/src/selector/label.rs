//! Label selectors: `app=web,tier in (a, b),!canary`.

mod parse;

use std::collections::BTreeSet;
use std::fmt;

use probelet_model::label;
use serde_json::Value;

use parse::Parser;

/// Requirements, all of which labels have to meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

/// What is asked of one label.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equals,
    NotEquals,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

impl LabelSelector {
    /// Reads a selector as it is written in a query; empty selects everything.
    ///
    /// Upstream: apimachinery pkg/labels/selector.go, Parse.
    /// Shown by: objects_match_by_labels_and_fields, what_cannot_be_selected_by_is_a_bad_request.
    ///
    /// # Errors
    /// What is wrong with it, as upstream says it.
    pub fn parse(selector: &str) -> Result<Self, String> {
        let mut requirements = Parser::of(selector).parse()?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self(requirements))
    }

    /// The selector of a `LabelSelector` object: `matchLabels` and `matchExpressions`. What is not of its shape
    /// has been refused when it was stored, and is passed over.
    ///
    /// Upstream: apimachinery pkg/apis/meta/v1/helpers.go, LabelSelectorAsSelector.
    /// Shown by: a_selector_is_written_as_it_is_read.
    #[must_use]
    pub fn of(selector: &Value) -> Self {
        let labels = selector["matchLabels"].as_object().into_iter().flatten();
        let mut requirements: Vec<Requirement> = labels
            .map(|(key, value)| Requirement {
                key: key.clone(),
                operator: Operator::Equals,
                values: value.as_str().map(str::to_owned).into_iter().collect(),
            })
            .collect();
        for expression in selector["matchExpressions"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let operator = match expression["operator"].as_str() {
                Some("In") => Operator::In,
                Some("NotIn") => Operator::NotIn,
                Some("Exists") => Operator::Exists,
                Some("DoesNotExist") => Operator::DoesNotExist,
                _ => continue,
            };
            let values = expression["values"].as_array().into_iter().flatten();
            requirements.push(Requirement {
                key: expression["key"].as_str().unwrap_or_default().to_owned(),
                operator,
                values: values
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect(),
            });
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self(requirements)
    }

    /// Whether it selects everything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `metadata.labels` of an object meet it.
    #[must_use]
    pub fn matches(&self, labels: &Value) -> bool {
        self.0.iter().all(|requirement| requirement.matches(labels))
    }
}

impl fmt::Display for LabelSelector {
    /// As it is read.
    ///
    /// Upstream: apimachinery pkg/labels/selector.go, Requirement.String.
    /// Shown by: a_selector_is_written_as_it_is_read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, requirement) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            operator,
            values,
        } = self;
        let list = || {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            values.join(",")
        };
        match operator {
            Operator::Equals => write!(f, "{key}={}", list()),
            Operator::NotEquals => write!(f, "{key}!={}", list()),
            Operator::In => write!(f, "{key} in ({})", list()),
            Operator::NotIn => write!(f, "{key} notin ({})", list()),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{}", list()),
            Operator::LessThan => write!(f, "{key}<{}", list()),
        }
    }
}

impl Requirement {
    /// A requirement whose values fit its operator.
    ///
    /// Upstream: apimachinery pkg/labels/selector.go, NewRequirement.
    /// Shown by: what_cannot_be_selected_by_is_a_bad_request.
    fn new(key: String, operator: Operator, values: BTreeSet<String>) -> Result<Self, String> {
        let mut errors = Vec::new();
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => errors.push(
                "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
                    .to_owned(),
            ),
            Operator::GreaterThan | Operator::LessThan => {
                let no_number = values.iter().filter(|value| value.parse::<i64>().is_err());
                errors.extend(no_number.map(|value| {
                    format!(
                        "values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an \
                         integer"
                    )
                }));
            }
            _ => {}
        }
        for (number, value) in values.iter().enumerate() {
            let wrong = label::value_errors(value);
            if !wrong.is_empty() {
                errors.push(format!(
                    "values[{number}][{key}]: Invalid value: {value:?}: {}",
                    wrong.join("; ")
                ));
            }
        }
        match errors.as_slice() {
            [] => Ok(Self {
                key,
                operator,
                values,
            }),
            [error] => Err(error.clone()),
            several => Err(format!("[{}]", several.join(", "))),
        }
    }

    /// Whether some labels meet it.
    ///
    /// Upstream: apimachinery pkg/labels/selector.go, Requirement.Matches.
    /// Shown by: objects_match_by_labels_and_fields.
    fn matches(&self, labels: &Value) -> bool {
        let value = labels.get(&self.key).and_then(Value::as_str);
        let among = || value.is_some_and(|value| self.values.contains(value));
        let number = |text: &str| text.parse::<i64>().ok();
        let numbers = || {
            let asked = self.values.first().and_then(|text| number(text));
            value.and_then(number).zip(asked)
        };
        match self.operator {
            Operator::Equals | Operator::In => among(),
            Operator::NotEquals | Operator::NotIn => !among(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => numbers().is_some_and(|(value, asked)| value > asked),
            Operator::LessThan => numbers().is_some_and(|(value, asked)| value < asked),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_is_written_as_it_is_read() {
        let selector = LabelSelector::of(&json!({
            "matchLabels": {"b": "1", "a": "2"},
            "matchExpressions": [
                {"key": "c", "operator": "In", "values": ["y", "x"]},
                {"key": "d", "operator": "NotIn", "values": ["x"]},
                {"key": "e", "operator": "Exists"},
                {"key": "f", "operator": "DoesNotExist"},
            ],
        }));
        let text = "a=2,b=1,c in (x,y),d notin (x),e,!f";
        assert_eq!(selector.to_string(), text);
        assert_eq!(LabelSelector::parse(text), Ok(selector));
        assert_eq!(
            LabelSelector::parse("a!=1, b>2 ,c<3").unwrap().to_string(),
            "a!=1,b>2,c<3"
        );
        assert_eq!(
            LabelSelector::parse("in in (notin, in)")
                .unwrap()
                .to_string(),
            "in in (in,notin)"
        );
        assert_eq!(
            LabelSelector::parse("a in (,b)").unwrap().to_string(),
            "a in (,b)"
        );
        assert!(LabelSelector::of(&json!({})).is_empty());
    }
}
