//! docs/lints.md, made from the table of lints.

use crate::ignore::ANNOTATION;
use crate::lint::LINTS;

/// The whole document.
#[must_use]
pub fn lints() -> String {
    let mut out = format!(
        "# The lints of `probelet check`\n\n\
         This page is made from `crates/check/src/lint/table.rs`; a test compares the two.\n\n\
         An error does not work at all; a warning will go wrong in an ordinary week; an info may well be meant. \
         `--fail-on` says from which severity on the exit code is 1 (default: warning). A lint is left out for a whole \
         run with `--ignore ID`, and for one object with the annotation\n\n\
         ```yaml\nmetadata:\n  annotations:\n    {ANNOTATION}: probe-host-set, liveness-tcp-only\n```\n\n\
         on the object or on its Pod template.\n\n\
         ## How times are computed\n\n\
         {TIMES}\n\n\
         ## The lints\n\n| Lint | Severity | Found |\n|---|---|---|\n"
    );
    for lint in LINTS {
        let row = format!(
            "| [`{0}`](#{0}) | {1} | {2} |\n",
            lint.id, lint.severity, lint.what
        );
        out.push_str(&row);
    }
    for lint in LINTS {
        out.push_str(&format!(
            "\n### {}\n\n**{}**: {}.\n\n{}\n",
            lint.id, lint.severity, lint.what, lint.why
        ));
        for (title, text) in [("Numbers", lint.numbers), ("Instead", lint.fix)] {
            if !text.is_empty() {
                out.push_str(&format!("\n{title}: {text}\n"));
            }
        }
        if !lint.upstream.is_empty() {
            out.push_str(&format!("\nUpstream: {}.\n", lint.upstream));
        }
    }
    out
}

const TIMES: &str = "\
A probe looks once every `periodSeconds`, at a phase that nobody chooses; an attempt that hangs takes `timeoutSeconds`; \
there is one attempt at a time. All times are worst cases over the phase, from the fields alone: a cluster adds up to \
about 2 s until the kubelet acts on a verdict.

| Column | From | Until | Time |
|---|---|---|---|
| acts within | a healthy target begins to hang | the verdict: unready, or killed | period + (failureThreshold - 1) * max(period, timeout) + timeout |
| if refused | a healthy target begins to refuse | the verdict | failureThreshold * period; for grpc as if it hung, since it tries again until its timeout |
| stops within | the verdict | the container has stopped, at the latest | the probe's terminationGracePeriodSeconds, else the Pod's; at least 2 s, and 2 s after a preStop hook that uses it up |
| recovers within | the target is well | ready again | successThreshold * max(period, timeout) + timeout |
| slowest start | the container runs | a start that long is surely allowed, to: one that refuses for longer is surely killed | initialDelay - 1 s + (failureThreshold - 1) * period, to: initialDelay + failureThreshold * period |

Errors are not counted, whatever the threshold: a port name that is missing, a program that is not there, an HTTP body \
that stalls after its head. A target that fails so is never acted upon. The second that \
the slowest start loses to an initial delay is the kubelet's: it counts the delay from the whole second in which the \
container started. Without an initial delay nothing is lost. After a crash of the container, failures \
counted before it count on, so the first start after one may be allowed less.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_repository_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/lints.md");
        let page = std::fs::read_to_string(path).unwrap();
        assert!(
            page == lints(),
            "docs/lints.md is not what the table says; the example `lints` prints it"
        );
    }
}
