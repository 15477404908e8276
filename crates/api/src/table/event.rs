//! Events, in either of their two shapes.

use probelet_model::time::Wall;
use serde_json::Value;

use super::age;
use super::cells::{name_of, number, text};

/// The row of an event.
///
/// Upstream: pkg/printers/internalversion/printers.go, printEvent.
/// Shown by: events_say_when_what_and_how_often.
pub(super) fn cells(object: &Value, now: Wall) -> Vec<Value> {
    // A field has one name in `v1` and another in `events.k8s.io/v1`.
    let either = |old: &str, new: &str| match &object[old] {
        Value::Null => &object[new],
        value => value,
    };
    let first = either("firstTimestamp", "deprecatedFirstTimestamp");
    let first = if age::stamp_of(first).is_some() {
        age::since(first, now)
    } else {
        age::since(&object["eventTime"], now)
    };
    let last = either("lastTimestamp", "deprecatedLastTimestamp");
    let last = if age::stamp_of(last).is_some() {
        age::since(last, now)
    } else {
        first.clone()
    };
    let series = &object["series"];
    let (last, count) = if series.is_object() {
        (
            age::since(&series["lastObservedTime"], now),
            number(&series["count"]),
        )
    } else {
        // One that was seen once may have no count.
        let count = number(either("count", "deprecatedCount"));
        (last, count.max(1))
    };
    let about = either("involvedObject", "regarding");
    let kind = text(&about["kind"]).to_lowercase();
    let about_name = text(&about["name"]);
    let target = if about_name.is_empty() {
        kind
    } else {
        format!("{kind}/{about_name}")
    };
    let source = either("source", "deprecatedSource");
    let reporter = either("reportingComponent", "reportingController");
    let message = text(either("message", "note")).trim();
    vec![
        last.into(),
        text(&object["type"]).into(),
        text(&object["reason"]).into(),
        target.into(),
        text(&about["fieldPath"]).into(),
        told_by(source, text(reporter), text(&object["reportingInstance"])).into(),
        message.into(),
        first.into(),
        count.into(),
        name_of(object).into(),
    ]
}

/// Who has told of it, and where: `kubelet, host`.
///
/// Upstream: the same file, formatEventSource.
/// Shown by: events_say_when_what_and_how_often.
fn told_by(source: &Value, reporter: &str, instance: &str) -> String {
    let first =
        |first: &str, second: &str| if first.is_empty() { second } else { first }.to_owned();
    let component = first(text(&source["component"]), reporter);
    let host = first(text(&source["host"]), instance);
    if host.is_empty() {
        component
    } else {
        format!("{component}, {host}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_say_when_what_and_how_often() {
        let now = Wall(1_700_000_000_000_000_000);
        let about = json!({"kind": "Pod", "name": "web", "fieldPath": "spec.containers{app}"});
        let rows = [
            (
                json!({
                    "metadata": {"name": "e"}, "type": "Warning", "reason": "Unhealthy", "involvedObject": about,
                    "message": " Liveness probe failed\n", "count": 3, "source": {"component": "kubelet", "host": "n"},
                    "firstTimestamp": "2023-11-14T22:11:20Z", "lastTimestamp": "2023-11-14T22:13:10Z",
                }),
                json!([
                    "10s",
                    "Warning",
                    "Unhealthy",
                    "pod/web",
                    "spec.containers{app}",
                    "kubelet, n",
                    "Liveness probe failed",
                    "2m",
                    3,
                    "e"
                ]),
            ),
            // Of the new kind: by eventTime, without a count.
            (
                json!({
                    "metadata": {"name": "e"}, "type": "Normal", "reason": "Started", "regarding": {"kind": "Node"},
                    "note": "n", "eventTime": "2023-11-14T22:13:15.000000Z", "reportingController": "c",
                    "reportingInstance": "i",
                }),
                json!([
                    "5s", "Normal", "Started", "node", "", "c, i", "n", "5s", 1, "e"
                ]),
            ),
            // A series.
            (
                json!({
                    "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "a"}, "reportingComponent": "c",
                    "eventTime": "2023-11-14T22:03:20.000000Z",
                    "series": {"count": 7, "lastObservedTime": "2023-11-14T22:13:19.000000Z"},
                }),
                json!(["1s", "", "", "pod/a", "", "c", "", "10m", 7, "e"]),
            ),
            (
                json!({"metadata": {"name": "e"}}),
                json!(["<unknown>", "", "", "", "", "", "", "<unknown>", 1, "e"]),
            ),
        ];
        for (event, expected) in rows {
            assert_eq!(Value::Array(cells(&event, now)), expected);
        }
    }
}
