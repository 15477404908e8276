//! What an exec probe runs.

use std::time::Duration;

use probelet_model::probe::{Handler, Probe, ProbeKind};
use serde_json::Value;

use crate::lint::{
    EXEC_DEFAULT_TIMEOUT, EXEC_NEEDS_SHELL, EXEC_PROBE_COST, EXEC_VARIABLE_NOT_EXPANDED,
};
use crate::report::Finding;
use crate::site::Site;
use crate::timing::{self, Seconds, Timing};

use super::port::consequence;

/// What means something to a shell alone.
const OPERATORS: &[&str] = &[
    "&",
    "&&",
    "|",
    "||",
    ";",
    ">",
    ">>",
    "<",
    "2>&1",
    "2>/dev/null",
    ">/dev/null",
];
/// Programs that run others, or to which an operator means something.
const TAKES_OPERATORS: &[&str] = &[
    "sh", "bash", "ash", "dash", "busybox", "env", "test", "[", "expr", "find",
];
/// A period as short as this is often.
const OFTEN: Duration = Duration::from_secs(2);
/// CPU of one exec attempt with containerd and runc, in ms: see the lint.
const COST: (f64, f64) = (31.0, 49.0);

pub(super) fn commands(site: &Site<'_>, found: &mut Vec<Finding>) {
    for (kind, probe) in site.probes() {
        if let Handler::Exec { command } = &probe.handler {
            timeout(site, kind, probe, found);
            shell(site, kind, command, found);
            variables(site, kind, command, found);
            cost(site, kind, probe, found);
        }
    }
}

fn timeout(site: &Site<'_>, kind: ProbeKind, probe: &Probe, found: &mut Vec<Finding>) {
    let path = site.probe_path(kind, "timeoutSeconds");
    let is_written = site
        .written(&path)
        .is_some_and(|seconds| seconds.as_i64() != Some(0));
    // A millisecond annotation may say it instead.
    if is_written || probe.timeout != Duration::from_secs(1) {
        return;
    }
    found.push(site.finding(
        &EXEC_DEFAULT_TIMEOUT,
        path,
        format!(
            "the command gets 1 s, the default; where it takes longer, {} acts within {}",
            kind.as_str().to_lowercase(),
            Seconds(Timing::of(probe).acts_within),
        ),
        EXEC_DEFAULT_TIMEOUT.advice(),
    ));
}

fn shell(site: &Site<'_>, kind: ProbeKind, command: &[String], found: &mut Vec<Finding>) {
    let Some((program, arguments)) = command.split_first() else {
        return;
    };
    let takes_operators = TAKES_OPERATORS.contains(&program.rsplit('/').next().unwrap_or_default());
    let operator = arguments
        .iter()
        .find(|argument| OPERATORS.contains(&argument.as_str()));
    let message = if program.contains(char::is_whitespace) {
        format!("no program is called {program:?}; {}", consequence(kind))
    } else if let (Some(operator), false) = (operator, takes_operators) {
        format!("{program} gets {operator:?} as an argument, as there is no shell")
    } else {
        return;
    };
    found.push(site.finding(
        &EXEC_NEEDS_SHELL,
        site.probe_path(kind, "exec.command"),
        message,
        format!(
            "write command: [sh, -c, {}]",
            Value::from(command.join(" "))
        ),
    ));
}

/// A `$(VAR)` of a variable that does not stand in the manifest is left as it is; `$$` stands for `$`.
///
/// Upstream: third_party/forked/golang/expansion/expand.go, Expand.
/// Shown by: commands.
fn variables(site: &Site<'_>, kind: ProbeKind, command: &[String], found: &mut Vec<Finding>) {
    let env = site.written(&site.path("env")).and_then(Value::as_array);
    let from: Vec<&str> = env
        .into_iter()
        .flatten()
        .filter(|variable| {
            variable
                .get("valueFrom")
                .is_some_and(|from| !from.is_null())
        })
        .filter_map(|variable| variable.get("name")?.as_str())
        .collect();
    for name in from {
        let reference = format!("$({name})");
        let is_used = command
            .iter()
            .any(|argument| argument.replace("$$", "").contains(&reference));
        if is_used {
            found.push(site.finding(
                &EXEC_VARIABLE_NOT_EXPANDED,
                site.probe_path(kind, "exec.command"),
                format!("{reference} is left as it is, as {name} comes from valueFrom"),
                EXEC_VARIABLE_NOT_EXPANDED.advice(),
            ));
        }
    }
}

fn cost(site: &Site<'_>, kind: ProbeKind, probe: &Probe, found: &mut Vec<Finding>) {
    if probe.period > OFTEN || kind == ProbeKind::Startup {
        return;
    }
    let percent = |cost: f64| (timing::rate(probe) * cost / 10.0).round();
    found.push(site.finding(
        &EXEC_PROBE_COST,
        site.probe_path(kind, "periodSeconds"),
        format!(
            "a process every {} in each Pod: about {} to {} % of a CPU with containerd and runc",
            Seconds(probe.period),
            percent(COST.0),
            percent(COST.1),
        ),
        "raise periodSeconds, or let the program answer httpGet or grpc".to_owned(),
    ));
}
