//! A label selector.

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as api;

use super::{Errors, meta, names};
use crate::field::FieldPath;
use crate::selector::{Expression, LabelSelector, Rule};

/// A label selector; `None` if an operator is none of those there are.
///
/// Upstream: apimachinery pkg/apis/meta/v1/validation/validation.go, ValidateLabelSelector.
/// Shown by: selectors_are_validated.
pub(crate) fn selector(
    wire: &api::LabelSelector,
    path: &FieldPath,
    errors: &mut Errors,
) -> Option<LabelSelector> {
    let labels = wire.match_labels.clone().unwrap_or_default();
    meta::labels(&labels, &path.field("matchLabels"), errors);
    let path = path.field("matchExpressions");
    let wire = wire.match_expressions.iter().flatten().enumerate();
    let expressions: Vec<Option<Expression>> = wire
        .map(|(index, wire)| expression(wire, &path.index(index), errors))
        .collect();
    Some(LabelSelector {
        labels,
        expressions: expressions.into_iter().collect::<Option<_>>()?,
    })
}

/// One of its expressions.
///
/// Upstream: ValidateLabelSelectorRequirement.
/// Shown by: selectors_are_validated.
fn expression(
    wire: &api::LabelSelectorRequirement,
    path: &FieldPath,
    errors: &mut Errors,
) -> Option<Expression> {
    let values = wire.values.clone().unwrap_or_default();
    let rule = match wire.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.required(path.field("values"), detail);
            None
        }
        "In" => Some(Rule::In(values.clone())),
        "NotIn" => Some(Rule::NotIn(values.clone())),
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.forbidden(path.field("values"), detail);
            None
        }
        "Exists" => Some(Rule::Exists),
        "DoesNotExist" => Some(Rule::DoesNotExist),
        other => {
            let detail = "not a valid selector operator";
            errors.invalid(path.field("operator"), other, detail);
            None
        }
    };
    let key = wire.key.as_str();
    errors.invalid_each(&path.field("key"), key, names::label_key(key));
    for (index, value) in values.iter().enumerate() {
        let path = path.field("values").index(index);
        errors.invalid_each(&path, value.as_str(), names::label_value(value));
    }
    Some(Expression {
        key: key.to_owned(),
        rule: rule?,
    })
}
