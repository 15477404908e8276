//! What a planner asks for.

use std::time::Duration;

use probelet_model::id::{Kind, ObjectKey};
use probelet_model::time::Wall;
use serde_json::Value;

/// What is to be done, all of it together or none of it, and when to look again if nothing happens until then.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In their order.
    pub actions: Vec<Action>,
    /// What to tell about it.
    pub events: Vec<Event>,
    /// The next moment at which a plan may be another one without anything having changed.
    pub deadline: Option<Wall>,
    /// Something could not be done; it is to be tried again after [`back_off`].
    pub failed: bool,
}

/// One change of one object.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A new object, admitted, without what a server sets (`uid`, `creationTimestamp`).
    Create {
        /// Where it will live.
        key: ObjectKey,
        /// The object.
        value: Value,
    },
    /// `value` in the place of the object, if that is still at the version that `metadata.resourceVersion` of
    /// `value` names.
    Update {
        /// Which object.
        key: ObjectKey,
        /// The whole object.
        value: Value,
    },
    /// A request to delete an object, as [`deletion`](crate::deletion) carries it out.
    Delete {
        /// Which object.
        key: ObjectKey,
        /// The request is void if another one has this key by now.
        uid: String,
        /// What becomes of those that it owns.
        propagation: Propagation,
    },
    /// The object goes at once: it is being deleted, and nothing holds it any more.
    Remove {
        /// Which object.
        key: ObjectKey,
        /// As for [`Action::Delete`].
        uid: String,
    },
}

/// What becomes of the dependants of an object that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted after it.
    Background,
    /// They are deleted before it.
    Foreground,
    /// They stay.
    Orphan,
}

/// Something to tell about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which object.
    pub about: ObjectKey,
    /// Its uid.
    pub uid: String,
    /// `type`.
    pub kind: EventKind,
    /// `reason`.
    pub reason: &'static str,
    /// `message`.
    pub message: String,
    /// `source.component`: the controller that says so upstream.
    pub component: &'static str,
}

/// Whether an event is about something wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It is not.
    Normal,
    /// It is.
    Warning,
}

impl EventKind {
    /// As it is written on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

impl Plan {
    /// Whether nothing is to be done and nothing to be told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.events.is_empty()
    }

    /// Looks again at `at`, or before.
    pub(crate) fn wake_at(&mut self, at: Wall) {
        self.deadline = Some(self.deadline.map_or(at, |before| before.min(at)));
    }
}

/// Makes a new object what a server would store, or says why it would not, in the server's words:
/// `Pod "web-x" is invalid: ...`.
pub type Admit<'a> = &'a dyn Fn(Kind, Value) -> Result<Value, String>;

/// How long to wait after so many failures in a row.
///
/// Upstream: client-go util/workqueue/default_rate_limiters.go, DefaultTypedControllerRateLimiter.
/// Differs: without the bucket of ten a second for all items together.
/// Shown by: waits_double_up_to_a_thousand_seconds.
#[must_use]
pub fn back_off(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_secs(1000);
    let doubled = 2_u32.checked_pow(failures.saturating_sub(1));
    doubled
        .and_then(|times| FIRST.checked_mul(times))
        .map_or(LONGEST, |wait| wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_thousand_seconds() {
        for (failures, millis) in [
            (1, 5),
            (2, 10),
            (3, 20),
            (18, 655_360),
            (19, 1_000_000),
            (40, 1_000_000),
        ] {
            assert_eq!(back_off(failures), Duration::from_millis(millis));
        }
    }
}
