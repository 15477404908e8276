//! What the probes of a manifest will do, computed without running anything.
//!
//! [`check`] takes what [`probelet_model::manifest::survey`] has read and answers a [`Report`]: what an API
//! server would refuse, what the [lints](lint::LINTS) found, and for each probe the [times](timing::Timing) that
//! follow from its fields. [`text`], [`json`] and [`sarif`] write the report down.
//!
//! It is not a linter of style: every lint says what will happen, with the numbers, and what to write
//! instead. It runs nothing, and knows of the probed programs only what their manifests say.
//!
//! Start reading at [`timing::Timing`], then `lint/table.rs`, which has every lint in its own words; the
//! files of `rules` find them.

mod ignore;
pub mod json;
pub mod lint;
pub mod paper;
pub mod report;
mod rules;
pub mod sarif;
mod site;
mod span;
pub mod text;
pub mod timing;

use std::collections::BTreeSet;

use probelet_model::decode::Object;
use probelet_model::manifest::survey::Survey;

pub use self::lint::{Lint, Severity};
pub use self::report::{Finding, ProbeFact, Report};
use self::site::Site;

/// Checks what manifests hold. Findings of lints whose ids are in `ignored` are left out.
#[must_use]
pub fn check(survey: &Survey, ignored: &BTreeSet<&str>) -> Report {
    let mut found = Vec::new();
    let mut probes = Vec::new();
    for subject in &survey.subjects {
        let mut own = Vec::new();
        match &subject.object {
            Object::Pod(pod) => {
                rules::pod(subject, pod, &mut own);
                for site in Site::all(subject, pod) {
                    rules::container(&site, &mut own);
                    probes.extend(site.facts());
                }
            }
            Object::Service(service) => {
                rules::service::service(subject, service, &survey.subjects, &mut own);
            }
            Object::Other => {}
        }
        ignore::apply(subject, &mut own);
        found.extend(own);
    }
    found.retain(|finding| !ignored.contains(finding.lint.id));
    Report::new(survey, found, probes)
}
