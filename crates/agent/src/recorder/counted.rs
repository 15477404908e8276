//! What an attempt counted for, in the words that end its event.
//!
//! Differs: upstream's event says what the attempt saw and not what it counts for; here `kubectl describe`
//! tells that too, behind upstream's text: `Readiness probe failed: ... [failure 2 of 3, 12ms]`.

use std::time::Duration;

use probelet_engine::effect::Counted;
use probelet_model::probe::ProbeKind;

/// What stands between upstream's text and ours. It is looked for from the end.
const OPEN: &str = " [failure ";
const OPEN_WARNING: &str = " [success ";

/// ` [failure 2 of 3, 12ms]`, with what follows from it once the threshold is met.
pub(super) fn words(counted: &Counted, failed: bool) -> String {
    let Counted {
        probe,
        run,
        threshold,
        duration,
        ..
    } = *counted;
    let open = if failed { OPEN } else { OPEN_WARNING };
    let count = if run > threshold {
        format!("{run}, threshold {threshold}")
    } else {
        format!("{run} of {threshold}")
    };
    let follows = match (failed && run >= threshold, probe) {
        (false, _) => "",
        (true, ProbeKind::Readiness) => ": the container is not ready",
        (true, ProbeKind::Startup | ProbeKind::Liveness) => ": the container is killed",
    };
    format!("{open}{count}, {}{follows}]", brief(duration))
}

/// A text with room behind it for [`words`], on the line that it ends with: what a command has printed ends
/// in a line break.
pub(super) fn room(message: &str) -> &str {
    message.trim_end_matches(['\r', '\n'])
}

/// A text as it was before [`words`] were put behind it.
pub(super) fn without(message: &str) -> &str {
    let open = [OPEN, OPEN_WARNING]
        .into_iter()
        .filter_map(|open| message.rfind(open))
        .max();
    match open {
        Some(open) if message.ends_with(']') => &message[..open],
        Some(_) | None => message,
    }
}

fn brief(duration: Duration) -> String {
    let micros = duration.as_micros();
    if micros < 1_000 {
        format!("{micros}us")
    } else if micros < 10_000 {
        format!("{:.1}ms", duration.as_secs_f64() * 1e3)
    } else if micros < 1_000_000 {
        format!("{}ms", duration.as_millis())
    } else {
        format!("{:.1}s", duration.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_ends_with_what_its_attempt_counts_for() {
        let counted = |probe, run, millis| Counted {
            probe,
            run,
            threshold: 3,
            duration: Duration::from_millis(millis),
            changed: false,
        };
        for (counted, failed, expected) in [
            (
                counted(ProbeKind::Readiness, 2, 12),
                true,
                " [failure 2 of 3, 12ms]",
            ),
            (
                counted(ProbeKind::Readiness, 3, 1),
                true,
                " [failure 3 of 3, 1.0ms: the container is not ready]",
            ),
            (
                counted(ProbeKind::Readiness, 9, 1000),
                true,
                " [failure 9, threshold 3, 1.0s: the container is not ready]",
            ),
            (
                counted(ProbeKind::Liveness, 3, 0),
                true,
                " [failure 3 of 3, 0us: the container is killed]",
            ),
            (
                counted(ProbeKind::Liveness, 1, 5),
                false,
                " [success 1 of 3, 5.0ms]",
            ),
        ] {
            let words = words(&counted, failed);
            assert_eq!(words, expected);
            for message in [
                "it [says] so",
                "two\nlines\r\n\n",
                "Readiness probe failed: ",
            ] {
                let told = format!("{}{words}", room(message));
                assert_eq!(without(&told), room(message));
                assert!(!told.contains("\n ["), "{told}");
            }
        }
        assert_eq!(without("it [failure once] said"), "it [failure once] said");
    }
}
