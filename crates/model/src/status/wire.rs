//! A status as it is written: the conditions of others and this node's own are one list.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{Condition, ConditionKind, ForeignCondition, PodStatus};

/// All of a status but its conditions, which `PodStatus` leaves out of its own derived shape.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<AnyCondition<'a>>,
    #[serde(flatten, serialize_with = "PodStatus::serialize")]
    rest: &'a PodStatus,
}

#[derive(Serialize)]
#[serde(untagged)]
enum AnyCondition<'a> {
    Foreign(&'a ForeignCondition),
    Own(&'a Condition),
}

impl Serialize for PodStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let foreign = self.foreign_conditions.iter().map(AnyCondition::Foreign);
        let own = self.conditions.iter().map(AnyCondition::Own);
        let written = Written {
            conditions: foreign.chain(own).collect(),
            rest: self,
        };
        written.serialize(serializer)
    }
}

#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    conditions: Vec<Value>,
    #[serde(flatten, deserialize_with = "PodStatus::deserialize")]
    rest: PodStatus,
}

impl<'de> Deserialize<'de> for PodStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Read {
            conditions,
            rest: mut status,
        } = Read::deserialize(deserializer)?;
        for value in conditions {
            if is_own(&value) {
                let own = serde_json::from_value(value).map_err(D::Error::custom)?;
                status.conditions.push(own);
            } else {
                let foreign = serde_json::from_value(value).map_err(D::Error::custom)?;
                status.foreign_conditions.push(foreign);
            }
        }
        Ok(status)
    }
}

fn is_own(condition: &Value) -> bool {
    let kind = condition.get("type").and_then(Value::as_str);
    kind.is_some_and(|kind| ConditionKind::ALL.iter().any(|own| own.as_str() == kind))
}

/// The conditions of others in the wire object of a Pod. One that has no type or no status is nobody's, and
/// left out.
pub(crate) fn foreign_conditions(pod: &Value) -> Vec<ForeignCondition> {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let foreign = conditions
        .into_iter()
        .flatten()
        .filter(|condition| !is_own(condition));
    foreign
        .filter_map(|condition| ForeignCondition::deserialize(condition).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::time::Wall;

    #[test]
    fn conditions_of_others_stand_before_our_own_and_are_read_back_as_they_were() {
        let wire = json!({
            "phase": "Running",
            "podIP": "10.0.0.1",
            "conditions": [
                {
                    "type": "example.com/gate",
                    "status": "True",
                    "lastProbeTime": null,
                    "lastTransitionTime": "2026-11-24T00:00:00Z",
                    "reason": "Why",
                },
                {"type": "DisruptionTarget", "status": "Unknown"},
                {"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-24T00:00:01Z"},
            ],
        });
        let status: PodStatus = serde_json::from_value(wire.clone()).unwrap();
        let kinds: Vec<&str> = status
            .foreign_conditions
            .iter()
            .map(|condition| condition.kind.as_str())
            .collect();
        assert_eq!(kinds, ["example.com/gate", "DisruptionTarget"]);
        assert_eq!(status.foreign_conditions[0].rest["reason"], "Why");
        assert_eq!(status.conditions.len(), 1);
        assert_eq!(status.conditions[0].kind, ConditionKind::Ready);
        assert_eq!(serde_json::to_value(&status).unwrap(), wire);
        assert_eq!(
            foreign_conditions(&json!({"status": wire})),
            status.foreign_conditions
        );
    }

    #[test]
    fn our_own_conditions_come_last_in_whatever_order_they_were() {
        let own = json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": Wall::default()});
        let foreign = json!({"type": "other", "status": "False"});
        let status: PodStatus =
            serde_json::from_value(json!({"phase": "Pending", "conditions": [own, foreign]}))
                .unwrap();
        let written = serde_json::to_value(&status).unwrap();
        assert_eq!(written["conditions"], json!([foreign, own]));
    }

    #[test]
    fn a_status_without_conditions_has_no_list() {
        let status = PodStatus::default();
        assert_eq!(
            serde_json::to_value(&status).unwrap(),
            json!({"phase": "Pending"})
        );
        let read: PodStatus = serde_json::from_value(json!({"phase": "Pending"})).unwrap();
        assert_eq!(read, status);
    }

    #[test]
    fn a_condition_of_ours_that_is_wrong_is_an_error_and_no_foreign_one() {
        for conditions in [
            json!([{"type": "Ready", "status": "True"}]),
            json!([{"status": "True"}]),
            json!([5]),
        ] {
            let wire = json!({"phase": "Pending", "conditions": conditions});
            assert!(
                serde_json::from_value::<PodStatus>(wire).is_err(),
                "{conditions}"
            );
        }
        let wire =
            json!({"status": {"conditions": [5, {"type": "a"}, {"type": "b", "status": "True"}]}});
        assert_eq!(foreign_conditions(&wire).len(), 1);
    }
}
