//! Upstream's validation, and the domain types that come out of it.
//!
//! Each function reads one wire type at one path, notes every error and answers the domain type all the
//! same; where there was an error the answer means nothing, and the whole object is refused.
//!
//! Upstream: pkg/apis/core/validation/validation.go, as of Kubernetes 1.35.

pub(crate) mod container;
pub(crate) mod hook;
pub(crate) mod meta;
pub(crate) mod names;
pub(crate) mod pod;
pub(crate) mod probe;
pub(crate) mod quantity;
pub(crate) mod service;
pub(crate) mod volume;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::field::{FieldError, FieldPath};
use crate::pod::Protocol;
use crate::probe::PortRef;

/// The errors of one object, in the order they were found.
#[derive(Debug, Default)]
pub(crate) struct Errors(Vec<FieldError>);

impl Errors {
    pub(crate) fn into_vec(self) -> Vec<FieldError> {
        self.0
    }

    fn add(&mut self, error: FieldError) {
        self.0.push(error);
    }

    fn required(&mut self, path: FieldPath, detail: &str) {
        self.add(FieldError::required(path, detail));
    }

    fn invalid(&mut self, path: FieldPath, value: impl Into<Value>, detail: &str) {
        self.add(FieldError::invalid(path, value, detail));
    }

    /// One `Invalid value` for each of `details`.
    fn invalid_each(&mut self, path: &FieldPath, value: impl Into<Value>, details: Vec<String>) {
        let value = value.into();
        for detail in details {
            self.invalid(path.clone(), value.clone(), &detail);
        }
    }
}

/// Whole seconds that may not be negative.
///
/// Upstream: ValidateNonnegativeField.
fn seconds(value: Option<i32>, path: FieldPath, errors: &mut Errors) -> Duration {
    Duration::from_secs(non_negative(value.unwrap_or(0).into(), path, errors))
}

fn non_negative(value: i64, path: FieldPath, errors: &mut Errors) -> u64 {
    u64::try_from(value).unwrap_or_else(|_| {
        errors.invalid(path, value, "must be greater than or equal to 0");
        0
    })
}

/// Upstream: apimachinery pkg/util/validation, IsValidPortNum.
fn port_number(value: i32, path: FieldPath, errors: &mut Errors) -> u16 {
    u16::try_from(value)
        .ok()
        .filter(|number| *number > 0)
        .unwrap_or_else(|| {
            errors.invalid(path, value, "must be between 1 and 65535, inclusive");
            0
        })
}

/// Upstream: ValidatePortNumOrName.
fn port_ref(value: &IntOrString, path: FieldPath, errors: &mut Errors) -> PortRef {
    match value {
        IntOrString::Int(number) => PortRef::Number(port_number(*number, path, errors)),
        IntOrString::String(name) => {
            errors.invalid_each(&path, name.as_str(), names::port_name(name));
            PortRef::Name(name.clone())
        }
    }
}

fn protocol(value: Option<&str>, path: FieldPath, errors: &mut Errors) -> Protocol {
    match value {
        Some("TCP") => Protocol::Tcp,
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        Some(other) => {
            errors.add(FieldError::unsupported(
                path,
                other,
                &["SCTP", "TCP", "UDP"],
            ));
            Protocol::Tcp
        }
        None => {
            errors.required(path, "");
            Protocol::Tcp
        }
    }
}

/// A text that means the same as none when it is empty.
fn filled(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}
