//! What statuses may tell after one another.

use std::sync::Arc;

use probelet_engine::effect::Effect;
use probelet_model::id::{ContainerName, PodUid};
use probelet_model::probe::ProbeKind;
use probelet_model::status::{ContainerState, ContainerStatus, PodStatus};
use probelet_model::time::Now;

use super::{Checker, Facts, Seen};

/// The statuses that an effect commits.
fn committed(seen: Seen<'_>) -> &[(PodUid, Arc<PodStatus>)] {
    match seen {
        Seen::Asked(Effect::Commit(commit)) => &commit.statuses,
        Seen::Asked(_) | Seen::Told(_) | Seen::Drained(_) | Seen::Died => &[],
    }
}

fn runs(container: &ContainerStatus) -> bool {
    matches!(container.state, ContainerState::Running(_))
}

/// `ready` and `started` of a run that runs on change only because of an attempt; not because an agent
/// died, and not because a commit was lost.
pub(super) struct NothingFlips;

impl Checker for NothingFlips {
    fn name(&self) -> &'static str {
        "nothing flips without an attempt"
    }

    fn see(&mut self, _now: Now, seen: Seen<'_>, facts: &Facts) -> Result<(), String> {
        for (uid, status) in committed(seen) {
            let Some(pod) = facts.pod(uid) else { continue };
            for spec in pod.pod.all_containers() {
                let name = &spec.name;
                let (Some(old), Some(new)) = (
                    pod.status.container(name.as_str()),
                    status.container(name.as_str()),
                ) else {
                    continue;
                };
                if !runs(old) || !runs(new) || old.container_id != new.container_id {
                    continue;
                }
                let starts = old.started != Some(true) && new.started == Some(true);
                let row = facts.row(uid, name, ProbeKind::Readiness);
                let wrong = if old.started == Some(true) && new.started != Some(true) {
                    Some("is not started any more")
                } else if starts && spec.startup.is_some() && !is_started(facts, uid, name) {
                    Some("is started though no startup attempt has succeeded")
                } else if spec.readiness.is_some() && !old.ready && new.ready && !row.has_succeeded
                {
                    Some("is ready though no attempt has succeeded")
                } else if old.ready && !new.ready && !row.has_failed {
                    Some("is not ready any more though no attempt has failed")
                } else {
                    None
                };
                if let Some(wrong) = wrong {
                    return Err(format!(
                        "{name} in {} runs on and {wrong}",
                        pod.pod.meta.name
                    ));
                }
            }
        }
        Ok(())
    }
}

fn is_started(facts: &Facts, pod: &PodUid, name: &ContainerName) -> bool {
    let mut running = facts.running.iter();
    running.any(|(id, of)| of.0 == *pod && of.1 == *name && facts.started.contains(id))
}

/// A terminal phase is never left, restarts are never taken back, also not by an agent that comes after a
/// crash. What never reached the disk cannot be known.
pub(super) struct NothingGoesBack;

impl Checker for NothingGoesBack {
    fn name(&self) -> &'static str {
        "no committed status goes back"
    }

    fn see(&mut self, _now: Now, seen: Seen<'_>, facts: &Facts) -> Result<(), String> {
        for (uid, status) in committed(seen) {
            let Some(pod) = facts.pod(uid) else { continue };
            let (old, new) = (pod.kept.phase, status.phase);
            let name = &pod.pod.meta.name;
            if old.is_terminal() && old != new {
                return Err(format!("{name} was {old:?} and is {new:?}"));
            }
            for spec in pod.pod.all_containers() {
                let count = |status: &PodStatus| {
                    let container = status.container(spec.name.as_str());
                    container.map_or(0, |container| container.restart_count)
                };
                let (old, new) = (count(&pod.kept), count(status));
                if new < old {
                    return Err(format!(
                        "{} in {name} had {old} restarts and has {new}",
                        spec.name
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Only what runs is started, only what is started is ready, and a pod is Ready only if all of it is.
pub(super) struct ReadyAddsUp;

impl Checker for ReadyAddsUp {
    fn name(&self) -> &'static str {
        "Ready adds up"
    }

    fn see(&mut self, _now: Now, seen: Seen<'_>, facts: &Facts) -> Result<(), String> {
        for (uid, status) in committed(seen) {
            let Some(pod) = facts.pod(uid) else { continue };
            for container in &status.container_statuses {
                let started = container.started == Some(true);
                if (started && !runs(container)) || (container.ready && !started) {
                    return Err(format!(
                        "{} in {}: ready {}, started {started}, {:?}",
                        container.name, pod.pod.meta.name, container.ready, container.state
                    ));
                }
            }
            let all = status
                .container_statuses
                .iter()
                .all(|container| container.ready);
            if status.is_ready() && !all {
                return Err(format!(
                    "{} is Ready, and not all of it is",
                    pod.pod.meta.name
                ));
            }
        }
        Ok(())
    }
}
