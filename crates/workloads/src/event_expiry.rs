//! How long an event is kept.

use std::time::Duration;

use probelet_model::time::Wall;
use serde_json::Value;

use crate::object;

/// How long an event is kept.
///
/// Upstream: cmd/kube-apiserver/app/options, `--event-ttl`.
/// Shown by: an_event_is_kept_for_an_hour_after_it_last_happened.
const KEPT: Duration = Duration::from_secs(3600);

/// When an event goes: an hour after it last happened. `None` for those that `keeper` reports of pods, which go
/// with their pod.
///
/// Differs: upstream counts from the last write to the object, whatever it was.
/// Shown by: an_event_is_kept_for_an_hour_after_it_last_happened.
#[must_use]
pub fn expires(event: &Value, keeper: &str) -> Option<Wall> {
    if event["reportingComponent"] == keeper && event["involvedObject"]["kind"] == "Pod" {
        return None;
    }
    let stamps = [
        &event["lastTimestamp"],
        &event["series"]["lastObservedTime"],
        &event["eventTime"],
        &event["firstTimestamp"],
    ];
    let last = stamps.into_iter().filter_map(object::stamp).max();
    Some(last.or_else(|| object::created(event)).unwrap_or_default() + KEPT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_kept_for_an_hour_after_it_last_happened() {
        let at = |seconds: u64| Wall::default() + Duration::from_secs(seconds);
        let stamp = |seconds: u64| at(seconds).to_string();
        let created = json!({ "creationTimestamp": stamp(100) });
        for (event, expected) in [
            (json!({ "metadata": created }), Some(at(3700))),
            (
                json!({ "metadata": created, "firstTimestamp": stamp(100), "lastTimestamp": stamp(400) }),
                Some(at(4000)),
            ),
            (
                json!({ "metadata": created, "eventTime": "1970-01-01T00:01:40.000000Z",
                    "series": { "lastObservedTime": "1970-01-01T00:10:00.000000Z" } }),
                Some(at(4200)),
            ),
            (
                json!({ "metadata": created, "reportingComponent": "probelet",
                    "involvedObject": { "kind": "Pod" } }),
                None,
            ),
            (
                json!({ "metadata": created, "reportingComponent": "other",
                    "involvedObject": { "kind": "Pod" } }),
                Some(at(3700)),
            ),
        ] {
            assert_eq!(expires(&event, "probelet"), expected, "{event}");
        }
    }
}
