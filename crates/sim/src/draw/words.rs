//! A record in words, for the table of a page.

use crate::record::{AttemptOutcome, ContainerStateKind, EndpointState, Record, What};

/// The cells of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words<'a> {
    /// What sort of record: the word that filters it.
    pub(super) sort: &'static str,
    /// What it is about: a container, a probe of one, or the pod.
    pub(super) about: String,
    /// What it says.
    pub(super) text: String,
    /// What the target or the event said.
    pub(super) message: &'a str,
    /// Whether something is wrong.
    pub(super) bad: bool,
}

/// The cells of `record`.
pub(super) fn of(record: &Record) -> Words<'_> {
    let words = |sort, about: String, text: String, message, bad| Words {
        sort,
        about,
        text,
        message,
        bad,
    };
    match &record.what {
        What::Attempt {
            container,
            probe,
            outcome,
            run,
            threshold,
            message,
        } => {
            let about = format!("{container} {}", probe.as_str().to_lowercase());
            let (text, bad) = match outcome {
                AttemptOutcome::Success => (format!("success {run}/{threshold}"), false),
                AttemptOutcome::Warning => (format!("warning {run}/{threshold}"), true),
                AttemptOutcome::Failure => (format!("failure {run}/{threshold}"), true),
                AttemptOutcome::Error => ("error".to_owned(), true),
            };
            words("attempt", about, text, message, bad)
        }
        What::Verdict {
            container,
            probe,
            result,
        } => {
            let about = format!("{container} {}", probe.as_str().to_lowercase());
            let bad = *result == probelet_model::probe::Verdict::Failure;
            words("verdict", about, format!("verdict {result}"), "", bad)
        }
        What::Container {
            container,
            state,
            reason,
            exit_code,
            restart_count,
            ready,
            started,
        } => {
            let state = match state {
                ContainerStateKind::Waiting => "waiting".to_owned(),
                ContainerStateKind::Running => "running".to_owned(),
                ContainerStateKind::Terminated => format!("terminated, exit {exit_code}"),
            };
            let ready = if *ready { ", ready" } else { ", not ready" };
            let started = if *started { ", started" } else { "" };
            let text = format!("{state}{started}{ready}, restarts {restart_count}");
            let bad = reason.ends_with("BackOff") || reason == "Error";
            words("container", container.clone(), text, reason, bad)
        }
        What::Condition {
            condition,
            status,
            reason,
        } => {
            let bad = status != "True";
            words(
                "condition",
                "pod".to_owned(),
                format!("{condition} {status}"),
                reason,
                bad,
            )
        }
        What::Phase { phase } => {
            let text = format!("phase {}", phase.as_str());
            words("phase", "pod".to_owned(), text, "", false)
        }
        What::Endpoint { state, terminating } => {
            let state = match state {
                EndpointState::Ready => "gets traffic",
                EndpointState::NotReady => "gets no traffic",
                EndpointState::Absent => "not listed",
            };
            let terminating = if *terminating { ", terminating" } else { "" };
            words(
                "endpoint",
                "pod".to_owned(),
                format!("{state}{terminating}"),
                "",
                false,
            )
        }
        What::Event {
            event_type,
            reason,
            message,
            container,
        } => {
            let about = container.clone().unwrap_or_else(|| "pod".to_owned());
            let bad = *event_type == "Warning";
            words("event", about, (*reason).to_owned(), message, bad)
        }
        What::Skip {
            container,
            probe,
            reason,
        } => {
            let about = format!("{container} {}", probe.as_str().to_lowercase());
            words("skip", about, "no attempt".to_owned(), reason, false)
        }
        What::Scenario { message } => words(
            "scenario",
            "scenario".to_owned(),
            message.clone(),
            "",
            false,
        ),
        What::Summary { .. } => words("summary", "pod".to_owned(), "the end".to_owned(), "", false),
    }
}
