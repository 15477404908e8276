//! When there may be attempts, and when one may kill.

use probelet_engine::effect::Effect;
use probelet_model::probe::ProbeKind;
use probelet_model::time::Now;

use super::facts::killing_probe;
use super::{Checker, Facts, Seen};

/// A probe has one attempt under way at most.
pub(super) struct OneAtATime;

impl Checker for OneAtATime {
    fn name(&self) -> &'static str {
        "one attempt in flight per probe"
    }

    fn see(&mut self, _now: Now, seen: Seen<'_>, facts: &Facts) -> Result<(), String> {
        let Seen::Asked(Effect::StartAttempt {
            pod,
            container,
            kind,
            attempt,
            ..
        }) = seen
        else {
            return Ok(());
        };
        let key = (pod.uid.clone(), container.clone(), *kind);
        match facts.under_way.get(&key) {
            Some((before, _)) => Err(format!(
                "{kind} of {container} in {}: {attempt:?} begins while {before:?} is under way",
                pod.meta.name
            )),
            None => Ok(()),
        }
    }
}

/// Neither liveness nor readiness before the startup probe of the same run has succeeded, and no startup
/// probe after.
pub(super) struct StartupFirst;

impl Checker for StartupFirst {
    fn name(&self) -> &'static str {
        "no liveness or readiness before startup success"
    }

    fn see(&mut self, _now: Now, seen: Seen<'_>, facts: &Facts) -> Result<(), String> {
        let Seen::Asked(Effect::StartAttempt {
            pod,
            container,
            kind,
            id,
            ..
        }) = seen
        else {
            return Ok(());
        };
        let spec = pod.container(container.as_str());
        if spec.is_none_or(|spec| spec.startup.is_none()) {
            return Ok(());
        }
        let started = facts.started.contains(id);
        if started == (*kind != ProbeKind::Startup) {
            return Ok(());
        }
        let word = if started { "has" } else { "has not" };
        Err(format!(
            "{kind} of {container} in {} looks at a run whose startup probe {word} succeeded",
            pod.meta.name
        ))
    }
}

/// A pod that ends is asked about readiness only.
pub(super) struct LeftInPeace;

impl Checker for LeftInPeace {
    fn name(&self) -> &'static str {
        "a terminating pod gets no liveness probe"
    }

    fn see(&mut self, _now: Now, seen: Seen<'_>, facts: &Facts) -> Result<(), String> {
        let Seen::Asked(Effect::StartAttempt {
            pod,
            container,
            kind,
            ..
        }) = seen
        else {
            return Ok(());
        };
        let ending = facts.pod(&pod.uid).is_none_or(|pod| pod.ending);
        if ending && *kind != ProbeKind::Readiness {
            return Err(format!(
                "{kind} of {container} in {}, which ends",
                pod.meta.name
            ));
        }
        Ok(())
    }
}

/// A probe kills only after failureThreshold failures in a row. Agents that die in between change nothing.
pub(super) struct EarnedKill;

impl Checker for EarnedKill {
    fn name(&self) -> &'static str {
        "a probe kill needs failureThreshold failures in a row"
    }

    fn see(&mut self, _now: Now, seen: Seen<'_>, facts: &Facts) -> Result<(), String> {
        let Seen::Asked(Effect::Event(event)) = seen else {
            return Ok(());
        };
        let (Some(kind), Some(name)) = (killing_probe(&event.message), &event.container) else {
            return Ok(());
        };
        if event.reason != "Killing" {
            return Ok(());
        }
        let pod = facts
            .pod(&event.pod)
            .ok_or_else(|| format!("{} is unknown", event.pod))?;
        let spec = pod.pod.container(name.as_str());
        let probe = spec.and_then(|spec| spec.probe(kind));
        let needed = probe.map_or(u32::MAX, |probe| probe.failure_threshold);
        let failures = facts.row(&event.pod, name, kind).failures;
        if failures < needed {
            return Err(format!(
                "{:?} in {} after {failures} failures in a row, {needed} are needed",
                event.message, pod.pod.meta.name
            ));
        }
        Ok(())
    }
}
