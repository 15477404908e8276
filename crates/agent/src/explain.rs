//! What each probe does at the moment, written where `kubectl describe` shows it.
//!
//! Every probe of a pod has an annotation, `readiness.status.probelet.dev/<container>`, that says how its last
//! attempt counted, or why none is made. It changes when that changes, not with every attempt: a probe that
//! goes on succeeding, or failing, writes nothing.
//!
//! Differs: upstream keeps this to itself; a Kubernetes tool that does not know the annotations passes them on.

use std::collections::{BTreeMap, BTreeSet};

use probelet_engine::Skip;
use probelet_engine::report::{Report, What};
use probelet_model::id::{ContainerName, ObjectKey, PodUid};
use probelet_model::probe::ProbeKind;
use probelet_store::{Durability, Store, WriteError};

use crate::happening::skip_words;
use crate::objects;

/// What comes after the kind of the probe and before the name of the container.
const SUFFIX: &str = ".status.probelet.dev/";
/// `kubectl describe` cuts an annotation, its name and its value together, at 140 characters.
const LONGEST: usize = 90;

/// What is known of the probes of all pods.
#[derive(Debug, Default)]
pub(crate) struct Explanations {
    pods: BTreeMap<PodUid, BTreeMap<(ContainerName, ProbeKind), Statement>>,
    changed: BTreeSet<PodUid>,
}

/// What is said of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    sort: Sort,
    text: String,
}

/// A statement of another sort is always news; of the same, only while a run of attempts is short of its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Succeeds,
    Fails,
    Error,
    Skipped,
}

/// Whether an annotation is one of these.
pub(crate) fn is_explanation(annotation: &str) -> bool {
    annotation
        .split_once(SUFFIX)
        .is_some_and(|(kind, _)| ProbeKind::ALL.iter().any(|known| word(*known) == kind))
}

const fn word(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Startup => "startup",
        ProbeKind::Readiness => "readiness",
        ProbeKind::Liveness => "liveness",
    }
}

impl Explanations {
    /// Takes in what the engine tells.
    pub(crate) fn take(&mut self, report: &Report) {
        let Some((statement, is_counting)) = statement(&report.what) else {
            return;
        };
        let probes = self.pods.entry(report.pod.clone()).or_default();
        let place = (report.container.clone(), report.kind);
        let is_news = probes.get(&place).is_none_or(|before| {
            before.sort != statement.sort || (is_counting && *before != statement)
        });
        if is_news {
            probes.insert(place, statement);
            self.changed.insert(report.pod.clone());
        }
    }

    /// A pod has ended.
    pub(crate) fn forget(&mut self, pod: &PodUid) {
        self.pods.remove(pod);
        self.changed.remove(pod);
    }

    /// Writes what has changed.
    pub(crate) fn write(&mut self, store: &Store, key_of: impl Fn(&PodUid) -> Option<ObjectKey>) {
        if self.changed.is_empty() {
            return;
        }
        let changed = std::mem::take(&mut self.changed);
        let written = store.transact(Durability::Derived, |transaction| {
            for pod in &changed {
                let Some(key) = key_of(pod) else { continue };
                let Some(there) = objects::pod(transaction, &key, pod) else {
                    continue;
                };
                let mut value = (*there).clone();
                let metadata = objects::metadata_of(&mut value);
                let annotations = metadata
                    .entry("annotations")
                    .or_insert_with(|| serde_json::json!({}));
                for ((container, kind), statement) in self.pods.get(pod).into_iter().flatten() {
                    let name = format!("{}{SUFFIX}{container}", word(*kind));
                    annotations[name] = statement.text.as_str().into();
                }
                transaction.update(key, None, value)?;
            }
            Ok::<_, WriteError>(())
        });
        if let Err(error) = written {
            tracing::warn!("cannot write what probes do: {error}");
        }
    }
}

/// What there is to say, and whether it counts towards a verdict that has not been reached.
fn statement(what: &What) -> Option<(Statement, bool)> {
    let said = |sort, text: String| Statement {
        sort,
        text: cut(&text),
    };
    match what {
        What::Attempt {
            status,
            output,
            run,
            threshold,
            ..
        } => {
            let is_counting = run <= threshold;
            let count = if run < threshold {
                format!("{run} of {threshold}")
            } else {
                format!("{threshold} of {threshold} or more")
            };
            let statement = if status.is_success() {
                let count = if run < threshold {
                    format!(", {count}")
                } else {
                    String::new()
                };
                said(Sort::Succeeds, format!("succeeds{count}"))
            } else {
                let first = output.lines().next().unwrap_or_default();
                said(Sort::Fails, format!("fails, {count}: {first}"))
            };
            Some((statement, is_counting))
        }
        What::Error { message, .. } => Some((
            said(Sort::Error, format!("cannot be made: {message}")),
            true,
        )),
        // The one before it says more.
        What::Skipped(Skip::AttemptUnderWay) | What::Verdict(_) => None,
        What::Skipped(skip) => Some((said(Sort::Skipped, skip_words(skip).1), true)),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(LONGEST - 3).collect();
    short.push_str("...");
    short
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use probelet_model::id::Kind;
    use probelet_model::probe::{OutcomeStatus, Verdict};
    use serde_json::{Value, json};

    use super::*;

    fn attempt(status: OutcomeStatus, run: u32, threshold: u32, output: &str) -> What {
        What::Attempt {
            status,
            output: output.to_owned(),
            code: None,
            duration: Duration::ZERO,
            run,
            threshold,
            verdict: Verdict::Failure,
            changed: false,
        }
    }

    #[test]
    fn a_probe_says_what_it_does_when_that_changes() {
        let store = Store::in_memory();
        let key = ObjectKey::new(Kind::Pod, "default", "web");
        let pod = json!({ "metadata": { "uid": "u", "annotations": { "mine": "x" } } });
        store
            .transact(Durability::Derived, |transaction| {
                transaction.create(key.clone(), pod).map(drop)
            })
            .unwrap();
        let mut explanations = Explanations::default();
        let annotation = "readiness.status.probelet.dev/c";
        let mut last: Value = Value::Null;
        for (what, expected) in [
            (
                What::Skipped(Skip::WaitsForStartup),
                Some("waits for the startup probe to succeed"),
            ),
            (
                attempt(OutcomeStatus::Failure, 1, 2, "refused\nat once"),
                Some("fails, 1 of 2: refused"),
            ),
            (What::Skipped(Skip::AttemptUnderWay), None),
            (
                attempt(OutcomeStatus::Failure, 2, 2, "refused"),
                Some("fails, 2 of 2 or more: refused"),
            ),
            (attempt(OutcomeStatus::Failure, 3, 2, "refused again"), None),
            (attempt(OutcomeStatus::Success, 1, 1, ""), Some("succeeds")),
            (attempt(OutcomeStatus::Success, 2, 1, ""), None),
        ] {
            explanations.take(&Report {
                pod: PodUid::from("u"),
                container: ContainerName::from("c"),
                kind: ProbeKind::Readiness,
                what,
            });
            let before = store.version();
            explanations.write(&store, |_| Some(key.clone()));
            let annotations = store.get(&key).unwrap().value["metadata"]["annotations"].clone();
            match expected {
                Some(expected) => assert_eq!(annotations[annotation], expected),
                None => {
                    assert_eq!(store.version(), before, "nothing is written");
                    assert_eq!(annotations, last);
                }
            }
            assert_eq!(annotations["mine"], "x");
            last = annotations;
        }
    }

    #[test]
    fn its_annotations_are_known_and_short() {
        for (annotation, is_one) in [
            ("readiness.status.probelet.dev/web", true),
            ("startup.status.probelet.dev/web", true),
            ("readiness.probe.probelet.dev/web", false),
            ("x.status.probelet.dev/web", false),
        ] {
            assert_eq!(is_explanation(annotation), is_one, "{annotation}");
        }
        assert_eq!(cut(&"é".repeat(200)).chars().count(), LONGEST);
    }
}
