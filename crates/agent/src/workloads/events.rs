//! What is told of ReplicaSets and Deployments, as events of the store.

use std::collections::BTreeMap;
use std::time::Duration;

use probelet_model::id::{Kind, ObjectKey};
use probelet_model::time::Wall;
use probelet_store::{Durability, Store, TransactError, Transaction, WriteError};
use probelet_workloads::{Event, event_expiry, namespaces};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::objects;

/// How many different texts of one kind are told alone.
///
/// Upstream: client-go tools/record/events_cache.go, defaultAggregateMaxEvents.
/// Shown by: many_events_of_one_kind_become_one.
const TOLD_ALONE: usize = 10;
/// Texts older than this do not count among them.
///
/// Upstream: client-go tools/record/events_cache.go, defaultAggregateIntervalInSeconds.
/// Shown by: many_events_of_one_kind_become_one.
const COUNTED: Duration = Duration::from_secs(600);
/// What the text of a combined event begins with.
///
/// Upstream: client-go tools/record/events_cache.go, EventAggregatorByReasonMessageFunc.
/// Shown by: many_events_of_one_kind_become_one.
const COMBINED: &str = "(combined from similar events): ";
/// The longest part of an object's name in the name of an event.
const LONGEST_NAME: usize = 236;

/// What sets apart events that are similar: uid of the object, type and reason.
type Class = [String; 3];

/// Which texts have been told of all but pods, and when last; kept up to date change by change.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    texts: BTreeMap<Class, BTreeMap<ObjectKey, Wall>>,
}

impl Told {
    pub(super) fn observe(
        &mut self,
        key: &ObjectKey,
        before: Option<&Value>,
        after: Option<&Value>,
    ) {
        let is_of_pod = |event: &Value| event["involvedObject"]["kind"] == "Pod";
        if after.or(before).is_some_and(is_of_pod) {
            return;
        }
        if let Some(class) = before.map(class_of)
            && let Some(texts) = self.texts.get_mut(&class)
        {
            texts.remove(key);
            if texts.is_empty() {
                self.texts.remove(&class);
            }
        }
        let is_combined = |event: &Value| {
            let message = event["message"].as_str();
            message.is_some_and(|message| message.starts_with(COMBINED))
        };
        if let Some(event) = after.filter(|event| !is_combined(event)) {
            let last = Wall::deserialize(&event["lastTimestamp"]).unwrap_or_default();
            let texts = self.texts.entry(class_of(event)).or_default();
            texts.insert(key.clone(), last);
        }
    }

    /// How many texts of a class were told lately.
    fn lately(&self, class: &Class, now: Wall) -> usize {
        let texts = self.texts.get(class).into_iter().flatten();
        texts
            .filter(|(_, last)| now.since(**last) <= COUNTED)
            .count()
    }
}

/// Records events as part of a transaction. One that says the same again is counted; of many that differ in
/// their text alone the later ones become one.
///
/// It knows nothing but what is in the store, so that a restart counts on.
///
/// Upstream: client-go tools/record/event.go and events_cache.go.
/// Differs: an event's name ends in a hash of what it says, where upstream's ends in the time: what is said
/// again finds its event by that. None is dropped by a rate limit.
/// Shown by: what_is_said_again_is_counted, many_events_of_one_kind_become_one.
pub(super) struct Events<'a, 'b> {
    transaction: &'a mut Transaction<'b>,
    told: &'a Told,
    now: Wall,
    /// How many texts of a class this transaction adds to those that were told.
    added: BTreeMap<Class, usize>,
}

impl<'a, 'b> Events<'a, 'b> {
    pub(super) const fn new(
        transaction: &'a mut Transaction<'b>,
        told: &'a Told,
        now: Wall,
    ) -> Self {
        Self {
            transaction,
            told,
            now,
            added: BTreeMap::new(),
        }
    }

    pub(super) fn record(&mut self, event: &Event) -> Result<(), WriteError> {
        if self.namespace_ends(&event.about.namespace) {
            return Ok(());
        }
        let key = key_of(event, &event.message);
        if self.transaction.get(&key).is_some() {
            return self.count(&key, &event.message);
        }
        let class = [
            event.uid.clone(),
            event.kind.as_str().to_owned(),
            event.reason.to_owned(),
        ];
        let told = self.told.lately(&class, self.now);
        let added = self.added.entry(class).or_default();
        if told + *added < TOLD_ALONE {
            *added += 1;
            return self.create(key, event, &event.message);
        }
        let key = key_of(event, COMBINED);
        let message = format!("{COMBINED}{}", event.message);
        if self.transaction.get(&key).is_some() {
            self.count(&key, &message)
        } else {
            self.create(key, event, &message)
        }
    }

    fn count(&mut self, key: &ObjectKey, message: &str) -> Result<(), WriteError> {
        let Some(there) = self.transaction.get(key) else {
            return Err(WriteError::NotFound(key.clone()));
        };
        let mut value = Value::clone(&there.value);
        value["message"] = message.into();
        value["count"] = (value["count"].as_u64().unwrap_or(0) + 1).into();
        value["lastTimestamp"] = self.now.to_string().into();
        self.transaction.update(key.clone(), None, value).map(drop)
    }

    fn create(&mut self, key: ObjectKey, event: &Event, message: &str) -> Result<(), WriteError> {
        let about = self.transaction.get(&event.about);
        let version = about.map(|about| about.version.to_string());
        let mut involved = json!({
            "apiVersion": event.about.kind.api_version(),
            "kind": event.about.kind.as_str(),
            "namespace": event.about.namespace,
            "name": event.about.name,
            "uid": event.uid,
        });
        if let Some(version) = version {
            involved["resourceVersion"] = version.into();
        }
        let rest = json!({
            "involvedObject": involved,
            "reason": event.reason,
            "message": message,
            "type": event.kind.as_str(),
            "count": 1,
            "firstTimestamp": self.now.to_string(),
            "lastTimestamp": self.now.to_string(),
            "eventTime": null,
            "source": { "component": event.component },
            "reportingComponent": event.component,
            "reportingInstance": "",
        });
        let value = objects::made(&key, self.now, &rest);
        self.transaction.create(key, value).map(drop)
    }

    /// Nothing new comes into a namespace that is being deleted.
    fn namespace_ends(&self, name: &str) -> bool {
        let key = ObjectKey::new(Kind::Namespace, "", name);
        let namespace = self.transaction.get(&key);
        namespace.is_some_and(|namespace| namespaces::ends(&namespace.value))
    }
}

/// Removes the events that have had their time; when the next one will have.
pub(super) fn drop_old(
    store: &Store,
    recorder: &str,
    now: Wall,
) -> Result<Option<Wall>, TransactError<WriteError>> {
    let dropped = store.transact(Durability::Derived, |transaction| {
        let all = transaction.list(Kind::Event).into_iter();
        let (old, kept): (Vec<_>, Vec<_>) = all
            .filter_map(|event| {
                let at = event_expiry::expires(&event.value, recorder)?;
                Some((event.key.clone(), at))
            })
            .partition(|(_, at)| *at <= now);
        for (key, _) in &old {
            transaction.delete(key, None)?;
        }
        Ok(kept.into_iter().map(|(_, at)| at).min())
    });
    dropped.map(|(next, _)| next)
}

fn class_of(event: &Value) -> Class {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    [
        text(&event["involvedObject"]["uid"]),
        text(&event["type"]),
        text(&event["reason"]),
    ]
}

fn key_of(event: &Event, message: &str) -> ObjectKey {
    let parts = [
        event.uid.as_str(),
        event.component,
        event.kind.as_str(),
        event.reason,
        message,
    ];
    let hash = parts
        .iter()
        .flat_map(|part| part.bytes().chain([0]))
        .fold(FNV_OFFSET, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let name = &event.about.name;
    let name = name.get(..LONGEST_NAME).unwrap_or(name);
    ObjectKey::new(
        Kind::Event,
        &event.about.namespace,
        format!("{name}.{hash:016x}"),
    )
}

/// FNV-1a, 64 bits.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
