//! The two clocks, as plain values. Nobody in this crate reads them; see `probelet-agent`'s clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point on the host's monotonic clock (`CLOCK_MONOTONIC`), for deadlines.
///
/// Units: nanoseconds since boot. The same for every process of one boot, so a value written down
/// before a restart of the agent still means the same afterwards; after a reboot it means nothing.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Mono(pub u64);

impl Mono {
    /// Time since `earlier`, zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// A point on the wall clock, for stamps that people and clients read; never for deadlines.
///
/// Units: nanoseconds since the Unix epoch. On the wire RFC 3339 in whole seconds, as Kubernetes'
/// `metav1.Time`; [`Wall::micros_rfc3339`] gives the form of `metav1.MicroTime`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub i64);

impl Wall {
    /// Cut to whole seconds, as every stamp that has been through a Kubernetes status is.
    ///
    /// Upstream: kubelet pkg/kubelet/status/status_manager.go, normalizeStatus.
    /// Shown by: wall_is_written_in_whole_seconds_and_read_back.
    #[must_use]
    pub const fn whole_seconds(self) -> Self {
        Self(self.0.div_euclid(1_000_000_000) * 1_000_000_000)
    }

    /// Time since `earlier`, zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 with microseconds: `2026-11-23T10:00:00.123456Z`.
    #[must_use]
    pub fn micros_rfc3339(self) -> String {
        format!("{:.6}", self.timestamp())
    }

    /// RFC 3339 with nanoseconds, the stamp of a container log line.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/logs/logs.go, timeFormatIn.
    /// Shown by: wall_is_written_in_whole_seconds_and_read_back.
    #[must_use]
    pub fn nanos_rfc3339(self) -> String {
        format!("{:.9}", self.timestamp())
    }

    fn timestamp(self) -> jiff::Timestamp {
        jiff::Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

impl Add<Duration> for Wall {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub<Duration> for Wall {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(nanos))
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}", self.whole_seconds().timestamp())
    }
}

impl Serialize for Wall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Wall {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let stamp: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        i64::try_from(stamp.as_nanosecond())
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// Both clocks, read once for one turn of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub mono: Mono,
    /// For stamps.
    pub wall: Wall,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_is_written_in_whole_seconds_and_read_back() {
        let wall = Wall(1_700_000_000_987_654_321);
        assert_eq!(wall.to_string(), "2023-11-14T22:13:20Z");
        assert_eq!(wall.micros_rfc3339(), "2023-11-14T22:13:20.987654Z");
        assert_eq!(wall.nanos_rfc3339(), "2023-11-14T22:13:20.987654321Z");
        let json = serde_json::to_string(&wall).unwrap();
        assert_eq!(
            serde_json::from_str::<Wall>(&json).unwrap(),
            wall.whole_seconds()
        );
    }

    #[test]
    fn differences_never_go_below_zero() {
        assert_eq!(Mono(5).since(Mono(9)), Duration::ZERO);
        assert_eq!(Wall(5).since(Wall(9)), Duration::ZERO);
    }
}
