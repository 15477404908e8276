//! What comes before what.

use std::collections::BTreeSet;

use probelet_engine::effect::Effect;
use probelet_engine::input::Input;
use probelet_model::id::PodUid;
use probelet_model::time::Now;

use super::{Checker, Facts, Seen};

/// What must outlive a crash is written down before anything follows from it.
#[derive(Default)]
pub(super) struct RememberedFirst {
    /// Pods of which something else was asked for since the last input.
    acted: BTreeSet<PodUid>,
}

impl Checker for RememberedFirst {
    fn name(&self) -> &'static str {
        "what is remembered comes first"
    }

    fn see(&mut self, _now: Now, seen: Seen<'_>, facts: &Facts) -> Result<(), String> {
        let effect = match seen {
            Seen::Asked(effect) => effect,
            Seen::Told(_) | Seen::Drained(_) | Seen::Died => {
                self.acted.clear();
                return Ok(());
            }
        };
        if let Effect::Remember { pod, .. } = effect {
            if self.acted.contains(pod) {
                return Err(format!("{pod} is remembered after it has acted"));
            }
            return Ok(());
        }
        if let Effect::StartContainer {
            pod, container, id, ..
        } = effect
        {
            let memory = facts.pod(&pod.uid).and_then(|facts| facts.memory.as_ref());
            let noted = memory.and_then(|memory| memory.containers.get(container)?.id.as_ref());
            if noted != Some(id) {
                return Err(format!(
                    "{container} of {} is started and nobody remembers",
                    pod.meta.name
                ));
            }
        }
        if let Effect::LookUpImage { pod, container, .. }
        | Effect::PullImage { pod, container, .. } = effect
        {
            let memory = facts.pod(&pod.uid).and_then(|facts| facts.memory.as_ref());
            if memory.is_none_or(|memory| memory.containers[container].id.is_none()) {
                return Err(format!(
                    "{container} of {} waits for its image and nobody remembers",
                    pod.meta.name
                ));
            }
        }
        if let Effect::StopContainer { pod, container, .. } = effect {
            let memory = facts.pod(pod).and_then(|facts| facts.memory.as_ref());
            let noted = memory.is_some_and(|memory| {
                let mut runs = memory.containers.values();
                runs.any(|run| run.id.as_ref() == Some(container) && run.stopping.is_some())
            });
            if !noted {
                return Err(format!(
                    "{container} of {pod} is stopped and nobody remembers"
                ));
            }
        }
        match effect {
            Effect::Commit(commit) => {
                self.acted
                    .extend(commit.statuses.iter().map(|(pod, _)| pod.clone()));
            }
            Effect::StartPod { pod, .. }
            | Effect::LookUpImage { pod, .. }
            | Effect::PullImage { pod, .. }
            | Effect::StartContainer { pod, .. }
            | Effect::RunHook { pod, .. }
            | Effect::StartAttempt { pod, .. } => {
                self.acted.insert(pod.uid.clone());
            }
            Effect::StopContainer { pod, .. }
            | Effect::RemovePod { pod, .. }
            | Effect::PodEnded { pod, .. } => {
                self.acted.insert(pod.clone());
            }
            Effect::Event(event) => {
                self.acted.insert(event.pod.clone());
            }
            Effect::Report(report) => {
                self.acted.insert(report.pod.clone());
            }
            Effect::Remember { .. } => {}
        }
        Ok(())
    }
}

/// A container is started only while none of its runs runs.
pub(super) struct OneRun;

impl Checker for OneRun {
    fn name(&self) -> &'static str {
        "one run of a container at a time"
    }

    fn see(&mut self, _now: Now, seen: Seen<'_>, facts: &Facts) -> Result<(), String> {
        let Seen::Asked(Effect::StartContainer { pod, container, .. }) = seen else {
            return Ok(());
        };
        let other = facts
            .running
            .iter()
            .find(|(_, of)| of.0 == pod.uid && of.1 == *container);
        match other {
            Some((id, _)) => Err(format!(
                "{container} of {} is started while {id} runs",
                pod.meta.name
            )),
            None => Ok(()),
        }
    }
}

/// When everything of an input is done nothing is overdue, and after a `Wake` not even due.
#[derive(Default)]
pub(super) struct DeadlineAhead {
    woken: bool,
}

impl Checker for DeadlineAhead {
    fn name(&self) -> &'static str {
        "the next deadline is never in the past"
    }

    fn see(&mut self, now: Now, seen: Seen<'_>, _facts: &Facts) -> Result<(), String> {
        match seen {
            Seen::Told(input) => self.woken = matches!(input, Input::Wake),
            Seen::Drained(Some(at)) if at < now.mono || (self.woken && at == now.mono) => {
                return Err(format!("it is {:?}, and the deadline {at:?}", now.mono));
            }
            Seen::Drained(_) | Seen::Asked(_) | Seen::Died => {}
        }
        Ok(())
    }
}
