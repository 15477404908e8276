//! The capabilities of Linux, by name.

use super::Errors;
use crate::field::FieldPath;
use crate::security::CAPABILITIES;

/// `capabilities.add` or `capabilities.drop`: upper case, without `CAP_`; `ALL` is one of them.
///
/// Differs: upstream takes any text, and a container with a name that there is not fails to start. `CAP_`
/// may stand before a name, which some runtimes take and others do not.
/// Shown by: capabilities_are_validated, security_contexts_are_read.
pub(super) fn names(wire: &[String], path: &FieldPath, errors: &mut Errors) -> Vec<String> {
    let mut names = Vec::new();
    for (index, written) in wire.iter().enumerate() {
        let upper = written.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if upper != "ALL" && !CAPABILITIES.contains(&name) {
            let detail = "must be a capability of Linux, for example NET_ADMIN, or ALL";
            errors.invalid(path.index(index), written.as_str(), detail);
        }
        names.push(name.to_owned());
    }
    names
}
