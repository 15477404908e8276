//! The annotation that allows a lint on an object.

use std::collections::BTreeSet;

use probelet_model::manifest::survey::Subject;

use crate::lint::{self, UNKNOWN_IGNORE};
use crate::report::Finding;
use crate::site;

/// Its value is ids of lints, joined by commas; on the object, or on its template.
pub(crate) const ANNOTATION: &str = "check.probelet.dev/ignore";

/// Takes out what the object allows, and reports what it allows in vain.
pub(crate) fn apply(subject: &Subject, findings: &mut Vec<Finding>) {
    let mut allowed = BTreeSet::new();
    let mut unknown = Vec::new();
    for (path, text) in subject.annotations(ANNOTATION) {
        for id in text.split(',').map(str::trim).filter(|id| !id.is_empty()) {
            if lint::find(id).is_some() {
                allowed.insert(id);
            } else {
                let message = format!("there is no lint {id:?}");
                let help = UNKNOWN_IGNORE.advice();
                unknown.push(site::finding(
                    subject,
                    &UNKNOWN_IGNORE,
                    path.clone(),
                    message,
                    help,
                ));
            }
        }
    }
    findings.retain(|finding| !allowed.contains(finding.lint.id));
    findings.extend(unknown);
}
