//! Annotations that refine a probe where the Pod API has no field for it, and that a kubelet ignores.
//!
//! The key is `<kind>.probe.probelet.dev/<container>` with a kind of `startup`, `readiness` or `liveness`.
//! The value is a list of `periodMilliseconds=N` and `timeoutMilliseconds=N`, either or both, in any order,
//! with a comma between them; spaces around an entry are ignored, and nowhere else allowed. What is given
//! stands in place of the probe's `periodSeconds` or `timeoutSeconds`, exactly: nothing is rounded.
//!
//! Differs: upstream has no such annotations. One that cannot be carried out is refused like a field, as
//! its author would not learn otherwise that a probe runs slower than was asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Errors;
use crate::field::{FieldError, FieldPath, Segment};
use crate::pod::Container;
use crate::probe::{Probe, ProbeKind};

/// Whose annotations they are.
const DOMAIN: &str = "probe.probelet.dev";

/// Shortest period. More often, looking at a container would be most of what it does, and an ordinary
/// attempt would not be over before the next is due.
const MIN_PERIOD: Duration = Duration::from_millis(10);

/// Shortest timeout: the resolution of the value itself.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// Whether an annotation's key is one that is carried out here, or refused.
pub(crate) fn is_probe_annotation(key: &str) -> bool {
    split(key).is_some()
}

/// Refines the probes of a pod's containers, whose other fields are validated already.
pub(super) fn refine(
    annotations: &BTreeMap<String, String>,
    init_containers: &mut [Container],
    containers: &mut [Container],
    errors: &mut Errors,
) {
    let root = FieldPath::root().field("metadata").field("annotations");
    for (key, value) in annotations {
        let Some((kind, name)) = split(key) else {
            continue;
        };
        let path = root.then(Segment::Key(key.clone()));
        let target = Target {
            kind,
            name,
            init_containers,
            containers,
        };
        let Some(probe) = target.probe(&path, errors) else {
            continue;
        };
        match Refinement::parse(value) {
            Ok(refinement) => refinement.apply(probe),
            Err(detail) => errors.invalid(path, value.as_str(), &detail),
        }
    }
}

/// The kind and the container of a key of ours, either perhaps none that there is.
fn split(key: &str) -> Option<(&str, &str)> {
    let (prefix, name) = key.split_once('/').unwrap_or((key, ""));
    let kind = prefix.strip_suffix(DOMAIN)?;
    match kind.strip_suffix('.') {
        Some(kind) => Some((kind, name)),
        // The bare domain: the kind was forgotten.
        None if kind.is_empty() => Some((kind, name)),
        // Somebody else's domain that ends in the same letters.
        None => None,
    }
}

/// What a key names.
struct Target<'k, 'c> {
    kind: &'k str,
    name: &'k str,
    init_containers: &'c mut [Container],
    containers: &'c mut [Container],
}

impl<'c> Target<'_, 'c> {
    fn probe(self, path: &FieldPath, errors: &mut Errors) -> Option<&'c mut Probe> {
        let Some(kind) = kind(self.kind) else {
            let kinds = ["startup", "readiness", "liveness"];
            errors.unsupported(path.clone(), self.kind, &kinds);
            return None;
        };
        let regular = self
            .containers
            .iter_mut()
            .map(|container| (container, true));
        let init = self.init_containers.iter_mut().map(|container| {
            let may_have_probes = container.is_restartable_init();
            (container, may_have_probes)
        });
        let found = regular
            .chain(init)
            .find(|(container, _)| container.name.as_str() == self.name);
        match found {
            None => errors.add(FieldError::not_found(path.clone(), self.name)),
            Some((_, false)) => {
                let detail = "init containers without restartPolicy=Always have no probes";
                errors.forbidden(path.clone(), detail);
            }
            Some((container, true)) => {
                let probe = container.probe_mut(kind);
                if probe.is_none() {
                    let detail = format!("container {:?} has no {}", self.name, kind.field());
                    errors.forbidden(path.clone(), &detail);
                }
                return probe;
            }
        }
        None
    }
}

fn kind(text: &str) -> Option<ProbeKind> {
    match text {
        "startup" => Some(ProbeKind::Startup),
        "readiness" => Some(ProbeKind::Readiness),
        "liveness" => Some(ProbeKind::Liveness),
        _ => None,
    }
}

/// What an annotation's value says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Refinement {
    period: Option<Duration>,
    timeout: Option<Duration>,
}

impl Refinement {
    /// Reads a value, or says what is wrong with it first.
    fn parse(value: &str) -> Result<Self, String> {
        let mut refinement = Self::default();
        for entry in value.split(',').map(str::trim) {
            let Some((key, number)) = entry.split_once('=') else {
                return Err(format!("{entry:?} is not of the form key=milliseconds"));
            };
            let (slot, least) = match key {
                "periodMilliseconds" => (&mut refinement.period, MIN_PERIOD),
                "timeoutMilliseconds" => (&mut refinement.timeout, MIN_TIMEOUT),
                _ => {
                    return Err(format!(
                        "unknown key {key:?}; there are periodMilliseconds and timeoutMilliseconds"
                    ));
                }
            };
            let time = milliseconds(number, least).map_err(|detail| format!("{key} {detail}"))?;
            if slot.replace(time).is_some() {
                return Err(format!("{key} is there twice"));
            }
        }
        Ok(refinement)
    }

    fn apply(self, probe: &mut Probe) {
        if let Some(period) = self.period {
            probe.period = period;
        }
        if let Some(timeout) = self.timeout {
            probe.timeout = timeout;
        }
    }
}

/// A whole number of milliseconds, up to what a field of the Pod API could hold.
fn milliseconds(text: &str, least: Duration) -> Result<Duration, String> {
    let is_whole = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_whole {
        return Err(format!("must be a whole number, got {text:?}"));
    }
    let time = text
        .parse::<u32>()
        .ok()
        .map(|number| Duration::from_millis(number.into()));
    let most = Duration::from_millis(i32::MAX.unsigned_abs().into());
    time.filter(|time| (least..=most).contains(time))
        .ok_or_else(|| {
            let (least, most) = (least.as_millis(), most.as_millis());
            format!("must be between {least} and {most}, inclusive")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_exactly_or_not_at_all() {
        let ms = |number| Some(Duration::from_millis(number));
        for (value, period, timeout) in [
            (
                "periodMilliseconds=250,timeoutMilliseconds=100",
                ms(250),
                ms(100),
            ),
            (
                "timeoutMilliseconds=1 , periodMilliseconds=10",
                ms(10),
                ms(1),
            ),
            (" timeoutMilliseconds=2147483647 ", None, ms(2_147_483_647)),
            ("periodMilliseconds=0250", ms(250), None),
        ] {
            assert_eq!(
                Refinement::parse(value),
                Ok(Refinement { period, timeout }),
                "{value}"
            );
        }
        for (value, expected) in [
            ("", "\"\" is not of the form key=milliseconds"),
            ("250", "\"250\" is not of the form key=milliseconds"),
            (
                "periodMilliseconds=250,",
                "\"\" is not of the form key=milliseconds",
            ),
            (
                "period=250",
                "unknown key \"period\"; there are periodMilliseconds and timeoutMilliseconds",
            ),
            (
                "periodMilliseconds =250",
                "unknown key \"periodMilliseconds \"; there are periodMilliseconds and timeoutMilliseconds",
            ),
            (
                "periodMilliseconds=250,periodMilliseconds=250",
                "periodMilliseconds is there twice",
            ),
            (
                "periodMilliseconds=",
                "periodMilliseconds must be a whole number, got \"\"",
            ),
            (
                "periodMilliseconds=+5",
                "periodMilliseconds must be a whole number, got \"+5\"",
            ),
            (
                "timeoutMilliseconds=1.5",
                "timeoutMilliseconds must be a whole number, got \"1.5\"",
            ),
            (
                "timeoutMilliseconds=100ms",
                "timeoutMilliseconds must be a whole number, got \"100ms\"",
            ),
            (
                "periodMilliseconds=9",
                "periodMilliseconds must be between 10 and 2147483647, inclusive",
            ),
            (
                "timeoutMilliseconds=0",
                "timeoutMilliseconds must be between 1 and 2147483647, inclusive",
            ),
            (
                "timeoutMilliseconds=2147483648",
                "timeoutMilliseconds must be between 1 and 2147483647, inclusive",
            ),
            (
                "timeoutMilliseconds=99999999999999999999",
                "timeoutMilliseconds must be between 1 and 2147483647, inclusive",
            ),
        ] {
            assert_eq!(
                Refinement::parse(value),
                Err(expected.to_owned()),
                "{value}"
            );
        }
    }

    #[test]
    fn only_keys_of_our_domain_are_ours() {
        for (key, expected) in [
            ("liveness.probe.probelet.dev/web", Some(("liveness", "web"))),
            ("live.probe.probelet.dev/web", Some(("live", "web"))),
            ("probe.probelet.dev/web", Some(("", "web"))),
            ("liveness.myprobe.probelet.dev/web", None),
            ("liveness.probe.probelet.dev", Some(("liveness", ""))),
            ("probelet.dev/web", None),
            ("liveness.probe.probelet.dev.example/web", None),
        ] {
            assert_eq!(split(key), expected, "{key}");
        }
    }
}
