//! `metrics.k8s.io`: what the pods and the node use, as `kubectl top` asks for it.
//!
//! Nobody measures as long as nobody asks. What was measured for one question is kept, so that the next one has
//! something to compare with: the CPU's rate is that of the time between the two, ten seconds to a minute. The first
//! question, and one that comes later than that, measures twice, one second apart.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use probelet_model::id::PodUid;
use probelet_model::time::Now;
use probelet_runtime::{Runtime, Usage};
use probelet_store::Object;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Registry;
use crate::failure::Failure;
use crate::request::{ListOptions, Target};
use crate::resource::{METRICS, Resource};

/// The shortest time between two measurements of which a rate is told.
const SHORTEST: Duration = Duration::from_secs(1);
/// The rate is of this time at least, once there was a question so long ago.
const USUAL: Duration = Duration::from_secs(10);
/// The longest.
const LONGEST: Duration = Duration::from_secs(60);

/// What the node as a whole uses: asked whenever somebody wants to know.
pub type OfNode = Arc<dyn Fn() -> Option<Usage> + Send + Sync>;

/// Who uses: a pod, or the node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Node,
    Pod(PodUid),
}

/// What its parts use: a pod's containers, by name; the node's only part is called "".
type Parts = BTreeMap<String, Usage>;

/// One measurement.
#[derive(Clone, Debug)]
struct Sample {
    at: Now,
    parts: Parts,
}

/// The measurements that later ones are compared with. Each is forgotten after [`LONGEST`].
#[derive(Default)]
pub(crate) struct Samples(Mutex<HashMap<Subject, Sample>>);

impl fmt::Debug for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Samples").finish_non_exhaustive()
    }
}

/// What is told of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rates {
    at: Now,
    window: Duration,
    /// In billionths of a CPU, and bytes, by part.
    parts: BTreeMap<String, (u64, u64)>,
}

impl Rates {
    /// What was used between two measurements. A part that is new, or has begun anew, has used what it has since then.
    fn between(before: &Sample, now: &Sample) -> Self {
        let window = now.at.mono.since(before.at.mono);
        let part = |(name, used): (&String, &Usage)| {
            let begun = before.parts.get(name).map(|before| before.cpu);
            let begun = begun.filter(|begun| *begun <= used.cpu).unwrap_or_default();
            let nanos = (used.cpu - begun).as_nanos() * 1_000_000_000 / window.as_nanos().max(1);
            let rate = u64::try_from(nanos).unwrap_or(u64::MAX);
            (name.clone(), (rate, used.memory))
        };
        Self {
            at: now.at,
            window,
            parts: now.parts.iter().map(part).collect(),
        }
    }
}

/// Who measures.
pub(crate) struct Meter<'a, R> {
    pub(crate) registry: &'a Registry,
    pub(crate) runtime: &'a Arc<R>,
    pub(crate) samples: &'a Samples,
    pub(crate) of_node: Option<&'a OfNode>,
    pub(crate) clock: fn() -> Now,
}

impl<R: Runtime> Meter<'_, R> {
    /// Answers for a collection or for one object.
    ///
    /// Upstream: metrics-server pkg/api/pod.go and node.go; pkg/storage/pod.go, GetMetrics.
    /// Differs: the rate is of the time since the question before, and only if that is too long ago, or there was
    /// none, of one second; upstream measures every 15 s whether anybody asks or not.
    /// Shown by: pods_tell_what_they_use, the_node_tells_what_it_uses, one_that_does_not_run_has_no_metrics.
    ///
    /// # Errors
    /// [`Failure`] (404) if there is no such pod or node, or nothing is known of it.
    pub(crate) async fn answer(
        &self,
        target: &Target,
        options: &ListOptions,
    ) -> Result<Value, Failure> {
        let plural = target.resource.plural;
        let of = Resource::find("", "v1", plural).expect("what is measured is an object too");
        let of = Target {
            resource: of,
            ..target.clone()
        };
        let objects = match &target.name {
            Some(_) => vec![self.registry.get(&of)?],
            None => self.registry.list(&of, options)?.objects,
        };
        let subject = |object: &Object| subject(object, self.registry.node_name());
        let subjects = objects.iter().filter_map(subject).collect();
        let rates = self.rates(subjects).await;
        let told = objects.iter().filter_map(|object| {
            let rates = rates.get(&subject(object)?)?;
            Some(metrics(target.resource, object, rates))
        });
        let mut told: Vec<Value> = told.collect();
        if let Some(name) = &target.name {
            return told.pop().ok_or_else(|| unknown(target, name));
        }
        Ok(json!({
            "kind": format!("{}List", target.resource.kind),
            "apiVersion": target.resource.api_version(),
            "metadata": {},
            "items": told,
        }))
    }

    /// Measures, a second time where there is nothing to compare with.
    async fn rates(&self, subjects: Vec<Subject>) -> HashMap<Subject, Rates> {
        let first = self.measure(subjects).await;
        let now = (self.clock)().mono;
        let (mut told, mut again) = (HashMap::new(), Vec::new());
        {
            let mut known = self
                .samples
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            known.retain(|_, sample| now.since(sample.at.mono) <= LONGEST);
            for (subject, sample) in first {
                match known.get(&subject) {
                    Some(before) if sample.at.mono.since(before.at.mono) >= SHORTEST => {
                        told.insert(subject.clone(), Rates::between(before, &sample));
                        if sample.at.mono.since(before.at.mono) >= USUAL {
                            known.insert(subject, sample);
                        }
                    }
                    Some(_) => again.push(subject),
                    None => {
                        known.insert(subject.clone(), sample);
                        again.push(subject);
                    }
                }
            }
        }
        if !again.is_empty() {
            tokio::time::sleep(SHORTEST).await;
            let second = self.measure(again).await;
            let known = self
                .samples
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            for (subject, sample) in second {
                if let Some(before) = known.get(&subject) {
                    told.insert(subject, Rates::between(before, &sample));
                }
            }
        }
        told
    }

    /// All of them at one time. Who cannot be measured is left out.
    async fn measure(&self, subjects: Vec<Subject>) -> Vec<(Subject, Sample)> {
        let (mut pods, mut samples) = (JoinSet::new(), Vec::new());
        for subject in subjects {
            match subject {
                Subject::Node => {
                    let used = self.of_node.and_then(|of_node| of_node());
                    samples.extend(used.map(|used| {
                        let parts = [(String::new(), used)].into();
                        let at = (self.clock)();
                        (Subject::Node, Sample { at, parts })
                    }));
                }
                Subject::Pod(uid) => {
                    let (runtime, clock) = (Arc::clone(self.runtime), self.clock);
                    pods.spawn(async move {
                        let usage = runtime.usage(&uid).await;
                        let usage = usage
                            .inspect_err(|error| tracing::debug!(pod = %uid, "usage: {error}"))
                            .ok()?;
                        let parts = usage.containers.into_iter();
                        let parts = parts.map(|(name, used)| (name.to_string(), used)).collect();
                        Some((Subject::Pod(uid), Sample { at: clock(), parts }))
                    });
                }
            }
        }
        while let Some(measured) = pods.join_next().await {
            samples.extend(measured.ok().flatten());
        }
        // A pod whose containers have all just ended uses nothing that could be told.
        samples.retain(|(_, sample)| !sample.parts.is_empty());
        samples
    }
}

/// Whose usage an object's is; `None` of a pod that does not run, and of another node.
fn subject(object: &Object, this_node: &str) -> Option<Subject> {
    if object.value["kind"] == "Node" {
        return (object.key.name == this_node).then_some(Subject::Node);
    }
    (object.value["status"]["phase"] == "Running").then(|| {
        let uid = object.value["metadata"]["uid"].as_str();
        Subject::Pod(PodUid::from(uid.unwrap_or_default()))
    })
}

fn unknown(target: &Target, name: &str) -> Failure {
    let name = if target.namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{}/{name}", target.namespace)
    };
    // As upstream calls them: by their kind.
    let plural = if target.resource.namespaced {
        "podmetrics"
    } else {
        "nodemetrics"
    };
    let message = format!("{plural}.{METRICS} {name:?} not found");
    let mut failure = Failure::new(404, "NotFound", message);
    failure.details = json!({"name": name, "group": METRICS, "kind": plural});
    failure
}

/// A PodMetrics or NodeMetrics.
fn metrics(resource: &Resource, object: &Object, rates: &Rates) -> Value {
    let usage = |(cpu, memory): &(u64, u64)| json!({"cpu": nanos(*cpu), "memory": bytes(*memory)});
    let mut metadata = json!({
        "name": object.key.name,
        "creationTimestamp": rates.at.wall.to_string(),
    });
    if !object.key.namespace.is_empty() {
        metadata["namespace"] = object.key.namespace.as_str().into();
    }
    if let Some(labels) = object.value["metadata"].get("labels") {
        metadata["labels"] = labels.clone();
    }
    let millis = u64::try_from(rates.window.as_millis()).unwrap_or(u64::MAX);
    let mut told = json!({
        "kind": resource.kind,
        "apiVersion": resource.api_version(),
        "metadata": metadata,
        "timestamp": rates.at.wall.to_string(),
        "window": probelet_model::go::duration(Duration::from_millis(millis)),
    });
    if resource.namespaced {
        let parts = rates.parts.iter();
        told["containers"] = parts
            .map(|(name, used)| json!({"name": name, "usage": usage(used)}))
            .collect();
    } else {
        told["usage"] = usage(&rates.parts.get("").copied().unwrap_or_default());
    }
    told
}

/// A quantity of billionths, as upstream writes it: with the largest unit that leaves a whole number.
fn nanos(amount: u64) -> String {
    scaled(amount, 1000, &["n", "u", "m", ""])
}

/// A quantity of bytes.
fn bytes(amount: u64) -> String {
    scaled(amount, 1024, &["", "Ki", "Mi", "Gi", "Ti"])
}

fn scaled(mut amount: u64, step: u64, units: &[&str]) -> String {
    let mut unit = 0;
    while amount > 0 && amount.is_multiple_of(step) && unit + 1 < units.len() {
        amount /= step;
        unit += 1;
    }
    if amount == 0 {
        return "0".to_owned();
    }
    format!("{amount}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use probelet_model::time::{Mono, Wall};

    use super::*;

    #[test]
    fn quantities_are_whole_numbers_of_the_largest_unit() {
        let cpu = [0, 1, 1000, 1500, 2_000_000, 3_000_000_000].map(nanos);
        assert_eq!(cpu, ["0", "1n", "1u", "1500n", "2m", "3"]);
        let memory = [0, 1000, 1024, 3 << 20, 1 << 50].map(bytes);
        assert_eq!(memory, ["0", "1000", "1Ki", "3Mi", "1024Ti"]);
    }

    #[test]
    fn a_rate_is_of_the_time_between_two_measurements() {
        let sample = |seconds: u64, cpu: &[(&str, u64)]| Sample {
            at: Now {
                mono: Mono(seconds * 1_000_000_000),
                wall: Wall(0),
            },
            parts: cpu
                .iter()
                .map(|(name, millis)| {
                    let used = Usage {
                        cpu: Duration::from_millis(*millis),
                        memory: 7,
                        ..Usage::default()
                    };
                    ((*name).to_owned(), used)
                })
                .collect(),
        };
        let before = sample(10, &[("a", 1000), ("b", 5000), ("gone", 1)]);
        let now = sample(14, &[("a", 3000), ("b", 400), ("new", 4)]);
        let rates = Rates::between(&before, &now);
        assert_eq!(rates.window, Duration::from_secs(4));
        let told: Vec<_> = rates.parts.into_iter().collect();
        let expected = [("a", 500_000_000), ("b", 100_000_000), ("new", 1_000_000)];
        assert_eq!(
            told,
            expected.map(|(name, rate)| (name.to_owned(), (rate, 7)))
        );
    }
}
