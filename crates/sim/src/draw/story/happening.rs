//! Events worth a place in the picture, with those that say the same made one.

use probelet_model::probe::ProbeKind;
use probelet_model::status::Phase;

use crate::record::At;

/// One event, or several of the same in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Happening<'a> {
    pub(in super::super) from: At,
    /// When the last of them was.
    pub(in super::super) to: At,
    pub(in super::super) times: u32,
    /// In a word.
    pub(in super::super) label: &'a str,
    /// For people; of the last one.
    pub(in super::super) message: &'a str,
    /// About which container.
    pub(in super::super) container: Option<&'a str>,
    pub(in super::super) warning: bool,
}

impl Happening<'_> {
    /// `Readiness` and so on, if it is about an attempt: the word that the texts of those begin with.
    pub(in super::super) fn probe(&self) -> Option<&str> {
        let is = matches!(self.label, "Unhealthy" | "ProbeWarning");
        is.then(|| first_word(self.message))
    }

    /// Which of two gets the place for a label: the lower number. What ends containers comes first, what
    /// the lanes of the probes show anyhow comes last.
    pub(in super::super) fn rank(&self) -> u8 {
        match self.label {
            "Started" => 2,
            "Unhealthy" | "ProbeWarning" => 3,
            "Killing" | "Failed" | "Succeeded" => 0,
            _ => 1,
        }
    }
}

/// Events while they come in.
#[derive(Debug, Default)]
pub(super) struct Happenings<'a> {
    told: Vec<Happening<'a>>,
    /// Those that the next one of the same may go into.
    open: Vec<Open<'a>>,
}

/// A happening that may go on: what it is about, and where it is.
#[derive(Debug)]
struct Open<'a> {
    container: Option<&'a str>,
    reason: &'a str,
    /// Readiness and the like, or whatever the text begins with.
    topic: &'a str,
    index: usize,
}

impl<'a> Happenings<'a> {
    /// A Kubernetes event. Steps on the way to a start that went well are left out: the container's lane has
    /// them.
    pub(super) fn event(
        &mut self,
        at: At,
        event_type: &str,
        reason: &'static str,
        message: &'a str,
        container: Option<&'a str>,
    ) {
        let warning = event_type == "Warning";
        if !warning && !matches!(reason, "Killing" | "Started") {
            return;
        }
        let goes_on = matches!(reason, "Unhealthy" | "ProbeWarning" | "BackOff");
        let topic = first_word(message);
        if goes_on {
            let same = |open: &&Open<'_>| {
                (open.container, open.reason, open.topic) == (container, reason, topic)
            };
            if let Some(open) = self.open.iter().find(same) {
                let happening = &mut self.told[open.index];
                happening.to = at;
                happening.times += 1;
                happening.message = message;
                return;
            }
            self.open.push(Open {
                container,
                reason,
                topic,
                index: self.told.len(),
            });
        } else {
            // What comes after it is about another run.
            self.open.retain(|open| open.container != container);
        }
        self.told.push(Happening {
            from: at,
            to: at,
            times: 1,
            label: reason,
            message,
            container,
            warning,
        });
    }

    /// A probe succeeded: its next failure is another matter.
    pub(super) fn success(&mut self, container: &str, probe: ProbeKind) {
        let about =
            |open: &Open<'_>| open.container == Some(container) && open.topic == probe.as_str();
        self.open.retain(|open| !about(open));
    }

    /// A phase that is never left.
    pub(super) fn phase(&mut self, at: At, phase: Phase) {
        if phase.is_terminal() {
            self.told.push(Happening {
                from: at,
                to: at,
                times: 1,
                label: phase.as_str(),
                message: "the pod's phase, which it keeps",
                container: None,
                warning: phase == Phase::Failed,
            });
        }
    }

    pub(super) fn finish(self) -> Vec<Happening<'a>> {
        self.told
    }
}

/// `Liveness` of `Liveness probe failed: ...`.
fn first_word(message: &str) -> &str {
    message.split(' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_in_a_row_is_one() {
        let mut happenings = Happenings::default();
        let unhealthy = |happenings: &mut Happenings<'static>, at, message| {
            happenings.event(At(at), "Warning", "Unhealthy", message, Some("web"));
        };
        happenings.event(At(0), "Normal", "Pulled", "", Some("web"));
        unhealthy(&mut happenings, 1, "Liveness probe failed: a");
        unhealthy(&mut happenings, 2, "Readiness probe failed: a");
        unhealthy(&mut happenings, 3, "Liveness probe failed: b");
        happenings.success("web", ProbeKind::Readiness);
        unhealthy(&mut happenings, 4, "Readiness probe failed: a");
        unhealthy(&mut happenings, 5, "Liveness probe failed: c");
        happenings.event(At(6), "Normal", "Killing", "", Some("web"));
        unhealthy(&mut happenings, 7, "Liveness probe failed: d");
        let told = happenings.finish();
        let told: Vec<_> = told
            .iter()
            .map(|told| (told.from.0, told.to.0, told.times, told.label))
            .collect();
        assert_eq!(
            told,
            [
                (1, 5, 3, "Unhealthy"),
                (2, 2, 1, "Unhealthy"),
                (4, 4, 1, "Unhealthy"),
                (6, 6, 1, "Killing"),
                (7, 7, 1, "Unhealthy"),
            ]
        );
    }
}
