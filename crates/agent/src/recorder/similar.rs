//! Which events are told alone, which are counted, and which are combined: decided here, carried out by
//! the recorder.
//!
//! Events are *similar* if they are of one container, type, reason and cause. A probe that says something
//! new each time fills its own class and no other, so that what happens once is there to be found.
//!
//! Upstream: client-go tools/record/events_cache.go, EventAggregator.EventAggregate.
//! Shown by: the_same_is_counted_and_the_eleventh_text_is_combined,
//! classes_differ_by_container_type_reason_probe_outcome_and_sort_of_cause.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use probelet_model::time::Wall;

/// How many different texts of one class are told alone.
///
/// Upstream: defaultAggregateMaxEvents.
/// Shown by: the_same_is_counted_and_the_eleventh_text_is_combined.
const TOLD_ALONE: usize = 10;
/// After so long without an event of its class, a new text is told alone again.
///
/// Upstream: defaultAggregateIntervalInSeconds.
/// Shown by: after_ten_silent_minutes_texts_are_told_alone_again_and_the_oldest_go.
const SILENCE: Duration = Duration::from_secs(600);
/// How many events are kept for one pod; each class is left its share.
const KEPT_PER_POD: usize = 100;
/// What the text of a combined event begins with.
///
/// Upstream: EventAggregatorByReasonMessageFunc.
/// Shown by: the_same_is_counted_and_the_eleventh_text_is_combined.
const COMBINED: &str = "(combined from similar events): ";

/// What similar events have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class {
    /// `involvedObject.fieldPath`: the container.
    pub(super) field_path: Option<String>,
    /// `type`.
    pub(super) kind: String,
    /// `reason`.
    pub(super) reason: String,
    cause: Option<Cause>,
}

/// Of a probe: which one, how it went, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cause {
    /// `Liveness probe failed`.
    words: String,
    sort: Sort,
}

/// Sorts of causes that one handler may meet in turn, and that call for different repairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sort {
    TimedOut,
    Refused,
    Status,
    Other,
}

impl Class {
    pub(super) fn of(field_path: Option<String>, kind: &str, reason: &str, message: &str) -> Self {
        let of_probe = matches!(reason, "Unhealthy" | "ProbeWarning");
        let message = message.strip_prefix(COMBINED).unwrap_or(message);
        let cause = message.split_once(": ").filter(|_| of_probe);
        Self {
            field_path,
            kind: kind.to_owned(),
            reason: reason.to_owned(),
            cause: cause.map(|(words, why)| Cause {
                words: words.to_owned(),
                sort: Sort::of(why),
            }),
        }
    }
}

impl Sort {
    fn of(why: &str) -> Self {
        let says = |words: &[&str]| words.iter().any(|words| why.contains(words));
        if why.starts_with("HTTP probe failed with statuscode: ") {
            Self::Status
        } else if says(&["timed out", "i/o timeout", "deadline exceeded"]) {
            Self::TimedOut
        } else if says(&["connection refused"]) {
            Self::Refused
        } else {
            Self::Other
        }
    }
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Write<K> {
    /// The event with this key has happened once more; its text is now this.
    Count(K, String),
    /// A new event, with this text.
    Create(K, String),
}

/// The events of one pod, by their keys in the store.
#[derive(Clone, Debug)]
pub(super) struct PodEvents<K> {
    classes: BTreeMap<Class, Events<K>>,
}

/// The events of one class.
#[derive(Clone, Debug)]
struct Events<K> {
    /// Told alone, the longest silent first, with their texts.
    alone: VecDeque<(String, K)>,
    combined: Option<K>,
    /// How many new texts there were since it was last silent.
    new_texts: usize,
    last: Wall,
}

impl<K> Default for PodEvents<K> {
    fn default() -> Self {
        Self {
            classes: BTreeMap::new(),
        }
    }
}

impl<K: Clone + PartialEq> PodEvents<K> {
    /// Takes in an event that was written before. To be called in the order in which they last happened.
    pub(super) fn restore(&mut self, class: Class, message: String, key: K, last: Wall) {
        let events = self.class(class, last);
        events.last = last;
        if message.starts_with(COMBINED) {
            events.combined = Some(key);
        } else {
            events.new_texts += 1;
            events.alone.push_back((message, key));
        }
    }

    /// What is to be done about an event, and which old ones have to go for it. `key` is taken for a new
    /// one.
    pub(super) fn happened(
        &mut self,
        class: Class,
        message: &str,
        now: Wall,
        key: impl FnOnce() -> K,
    ) -> (Write<K>, Vec<K>) {
        let events = self.class(class, now);
        let write = events.happened(message, now, key);
        let mut gone = Vec::new();
        if events.alone.len() > TOLD_ALONE {
            gone.extend(events.alone.pop_front().map(|(_, key)| key));
        }
        gone.extend(self.make_room());
        (write, gone)
    }

    /// All keys.
    pub(super) fn into_keys(self) -> impl Iterator<Item = K> {
        self.classes.into_values().flat_map(|events| {
            let alone = events.alone.into_iter().map(|(_, key)| key);
            alone.chain(events.combined)
        })
    }

    fn class(&mut self, class: Class, now: Wall) -> &mut Events<K> {
        self.classes.entry(class).or_insert_with(|| Events {
            alone: VecDeque::new(),
            combined: None,
            new_texts: 0,
            last: now,
        })
    }

    /// The class with the most events gives one, of those the one that was silent longest.
    fn make_room(&mut self) -> Option<K> {
        let count =
            |events: &Events<K>| events.alone.len() + usize::from(events.combined.is_some());
        if self.classes.values().map(count).sum::<usize>() <= KEPT_PER_POD {
            return None;
        }
        let (class, largest) = self
            .classes
            .iter_mut()
            .max_by_key(|(_, events)| (count(events), std::cmp::Reverse(events.last)))?;
        let gone = match largest.alone.pop_front() {
            Some((_, key)) => Some(key),
            None => largest.combined.take(),
        };
        if count(largest) == 0 {
            let class = class.clone();
            self.classes.remove(&class);
        }
        gone
    }
}

impl<K: Clone + PartialEq> Events<K> {
    fn happened(&mut self, message: &str, now: Wall, key: impl FnOnce() -> K) -> Write<K> {
        if now.since(self.last) > SILENCE {
            self.new_texts = 0;
        }
        self.last = now;
        let known = self.alone.iter().position(|(text, _)| text == message);
        if let Some((text, key)) = known.and_then(|known| self.alone.remove(known)) {
            self.alone.push_back((text.clone(), key.clone()));
            return Write::Count(key, text);
        }
        if self.new_texts < TOLD_ALONE {
            self.new_texts += 1;
            let key = key();
            self.alone.push_back((message.to_owned(), key.clone()));
            return Write::Create(key, message.to_owned());
        }
        let text = format!("{COMBINED}{message}");
        match &self.combined {
            Some(key) => Write::Count(key.clone(), text),
            None => Write::Create(self.combined.insert(key()).clone(), text),
        }
    }
}

#[cfg(test)]
mod tests;
