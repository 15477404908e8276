//! The rules: each looks at one container, Pod or Service and reports what one lint is about.

mod command;
mod pace;
mod pair;
mod port;
pub(crate) mod service;
mod start;
mod stop;

use probelet_model::manifest::survey::Subject;
use probelet_model::pod::Pod;

use crate::lint::NOT_CARRIED_OUT;
use crate::report::Finding;
use crate::site::{self, Site};

/// How many fields are named before the rest is counted.
const NAMED: usize = 5;

/// What is about a Pod as a whole.
pub(crate) fn pod(subject: &Subject, pod: &Pod, found: &mut Vec<Finding>) {
    start::progress_deadline(subject, pod, found);
    not_carried_out(subject, found);
}

/// What is about one container.
pub(crate) fn container(site: &Site<'_>, found: &mut Vec<Finding>) {
    pace::timeout_exceeds_period(site, found);
    pace::single_failure(site, found);
    pair::liveness_beside_readiness(site, found);
    start::long_delay(site, found);
    start::shorter_than_readiness_delay(site, found);
    start::beside_initial_delay(site, found);
    command::commands(site, found);
    port::ports(site, found);
    port::hosts(site, found);
    port::tcp_only(site, found);
    stop::grace_ignored(site, found);
    stop::exit_zero(site, found);
}

/// One finding for all the fields of an object.
pub(crate) fn not_carried_out(subject: &Subject, found: &mut Vec<Finding>) {
    let fields = &subject.not_carried_out;
    let Some(first) = fields.first() else {
        return;
    };
    let mut names: Vec<String> = fields
        .iter()
        .take(NAMED)
        .map(|field| field.path.to_string())
        .collect();
    if fields.len() > NAMED {
        names.push(format!("and {} more", fields.len() - NAMED));
    }
    found.push(site::finding(
        subject,
        &NOT_CARRIED_OUT,
        first.path.clone(),
        format!("`probelet up` does not carry out {}", names.join(", ")),
        NOT_CARRIED_OUT.advice(),
    ));
}

#[cfg(test)]
mod tests;
