//! How long ago, as people say it.

use probelet_model::time::Wall;
use serde_json::Value;

/// How long before `now` a stamp is; `<unknown>` if there is none.
///
/// Upstream: pkg/printers/internalversion/printers.go, translateTimestampSince.
/// Shown by: a_stamp_that_is_not_there_is_unknown.
pub(super) fn since(stamp: &Value, now: Wall) -> String {
    match stamp_of(stamp) {
        Some(stamp) => human(now.0.saturating_sub(stamp.0)),
        None => "<unknown>".to_owned(),
    }
}

/// A stamp, if there is one.
pub(super) fn stamp_of(stamp: &Value) -> Option<Wall> {
    // By a reference: a stamp is read once for every row.
    serde::Deserialize::deserialize(stamp).ok()
}

/// Nanoseconds as people say them.
///
/// Upstream: apimachinery pkg/util/duration/duration.go, HumanDuration.
/// Shown by: durations_get_coarser.
pub(super) fn human(nanos: i64) -> String {
    let seconds = nanos / 1_000_000_000;
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let two = |big: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 {
            format!("{big}{unit}")
        } else {
            format!("{big}{unit}{small}{small_unit}")
        }
    };
    match () {
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 2 * 60 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if minutes < 3 * 60 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 8 * 24 => two(days, "d", hours % 24, "h"),
        () if days < 2 * 365 => format!("{days}d"),
        () if days < 8 * 365 => two(years, "y", days % 365, "d"),
        () => format!("{years}y"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_get_coarser() {
        const MINUTE: i64 = 60;
        const HOUR: i64 = 60 * MINUTE;
        const DAY: i64 = 24 * HOUR;
        const YEAR: i64 = 365 * DAY;
        let rows = [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (1, "1s"),
            (70, "70s"),
            (119, "119s"),
            (2 * MINUTE, "2m"),
            (6 * MINUTE + 40, "6m40s"),
            (9 * MINUTE + 59, "9m59s"),
            (10 * MINUTE + 30, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + 5 * MINUTE, "3h5m"),
            (8 * HOUR + 30 * MINUTE, "8h"),
            (2 * DAY - 1, "47h"),
            (2 * DAY, "2d"),
            (2 * DAY + 5 * HOUR, "2d5h"),
            (8 * DAY + 5 * HOUR, "8d"),
            (2 * YEAR - DAY, "729d"),
            (2 * YEAR, "2y"),
            (2 * YEAR + 3 * DAY, "2y3d"),
            (8 * YEAR + 3 * DAY, "8y"),
        ];
        for (seconds, expected) in rows {
            assert_eq!(human(seconds * 1_000_000_000), expected, "{seconds} s");
        }
    }

    #[test]
    fn a_stamp_that_is_not_there_is_unknown() {
        let now = Wall(1_700_000_000_000_000_000);
        assert_eq!(since(&Value::Null, now), "<unknown>");
        assert_eq!(since(&"".into(), now), "<unknown>");
        assert_eq!(since(&"2023-11-14T22:13:15Z".into(), now), "5s");
        assert_eq!(since(&"2023-11-14T22:13:15.500000Z".into(), now), "4s");
    }
}
