//! Upstream's validation, and the domain types that come out of it.
//!
//! Each function reads one wire type at one path, notes every error and answers the domain type all the
//! same; where there was an error the answer means nothing, and the whole object is refused.
//!
//! Upstream: pkg/apis/core/validation/validation.go, as of Kubernetes 1.35.
//! Shown by: the_spec_is_validated, containers_are_validated, probes_are_validated, volumes_are_validated,
//! a_service_is_validated.

pub(crate) mod annotation;
mod capability;
pub(crate) mod cluster;
pub(crate) mod config;
mod container;
mod dns;
pub(crate) mod endpoints;
mod environment;
pub(crate) mod event;
mod handler;
mod lifecycle;
mod meta;
mod mount;
pub(crate) mod names;
pub(crate) mod pod;
mod port;
mod probe;
mod resources;
mod restart;
mod security;
pub(crate) mod selector;
pub(crate) mod service;
mod volume;
mod volume_files;
pub(crate) mod workload;

use std::collections::BTreeSet;
use std::net::IpAddr;

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

    fn append(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    fn add(&mut self, error: FieldError) {
        self.0.push(error);
    }

    fn required(&mut self, path: FieldPath, detail: &str) {
        self.add(FieldError::required(path, detail));
    }

    fn forbidden(&mut self, path: FieldPath, detail: &str) {
        self.add(FieldError::forbidden(path, detail));
    }

    fn unsupported(&mut self, path: FieldPath, value: &str, supported: &[&str]) {
        self.add(FieldError::unsupported(path, value, supported));
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

/// What is said of a number that may not be negative.
///
/// Upstream: apimachinery pkg/api/validation/generic.go, IsNegativeErrorMsg.
/// Shown by: probes_are_validated, the_spec_is_validated.
const NEGATIVE: &str = "must be greater than or equal to 0";

/// A count, or a number of seconds, that may not be negative.
///
/// Upstream: ValidateNonnegativeField.
/// Shown by: probes_are_validated.
fn non_negative(value: i32, path: FieldPath, errors: &mut Errors) -> u32 {
    u32::try_from(value).unwrap_or_else(|_| {
        errors.invalid(path, value, NEGATIVE);
        0
    })
}

/// What is said of a text that is no address.
///
/// Upstream: apimachinery pkg/util/validation/ip.go, parseIP.
/// Shown by: endpoints_are_validated, host_aliases_are_read_and_validated.
const NO_ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

/// An IP address.
fn address(text: &str, path: FieldPath, errors: &mut Errors) -> Option<IpAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        errors.invalid(path, text, NO_ADDRESS);
    }
    address
}

/// The elements of a list, each with its path.
fn numbered<'a, T>(list: &'a [T], path: &FieldPath) -> impl Iterator<Item = (&'a T, FieldPath)> {
    let paths = (0..).map(|index| path.index(index));
    list.iter().zip(paths)
}

/// The number of a port, 1 to 65535.
///
/// Upstream: apimachinery pkg/util/validation, IsValidPortNum.
/// Shown by: probes_are_validated.
fn port_number(value: i32, path: FieldPath, errors: &mut Errors) -> u16 {
    u16::try_from(value)
        .ok()
        .filter(|number| *number > 0)
        .unwrap_or_else(|| {
            errors.invalid(path, value, "must be between 1 and 65535, inclusive");
            0
        })
}

/// The number or the name of a port.
///
/// Upstream: ValidatePortNumOrName.
/// Shown by: probes_are_validated.
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
            errors.unsupported(path, other, &["SCTP", "TCP", "UDP"]);
            Protocol::Tcp
        }
        None => {
            errors.required(path, "");
            Protocol::Tcp
        }
    }
}

/// A name that is a DNS label.
fn name(name: &str, path: FieldPath, errors: &mut Errors) {
    if name.is_empty() {
        errors.required(path, "");
    } else {
        errors.invalid_each(&path, name, names::dns_label(name));
    }
}

/// A name that nobody has taken yet; the empty one, wrong in itself, nobody takes.
fn name_once(name: &str, taken: &mut BTreeSet<String>, path: FieldPath, errors: &mut Errors) {
    if !name.is_empty() && !taken.insert(name.to_owned()) {
        errors.add(FieldError::duplicate(path, name));
    }
}

/// A text that means the same as none when it is empty.
fn filled(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}
