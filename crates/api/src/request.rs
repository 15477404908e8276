//! What a request is about, and how it wants to be answered, once its path and query have been read.

use probelet_store::Version;

use crate::resource::{Resource, Subresource};

/// What a request is about.
#[derive(Clone, Debug)]
pub struct Target {
    /// The resource.
    pub resource: &'static Resource,
    /// The namespace in the path; empty for a resource without, and for a list over all namespaces.
    pub namespace: String,
    /// The object; `None` for the whole collection.
    pub name: Option<String>,
    /// What of the object.
    pub subresource: Option<&'static Subresource>,
}

/// How a write is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// `dryRun=All`: everything but the write.
    pub dry_run: bool,
    /// `fieldManager`, or what the client calls itself (the part of its User-Agent before the first `/`).
    pub field_manager: String,
    /// `fieldValidation`.
    pub field_validation: FieldValidation,
    /// `force`, of an apply.
    pub force: bool,
}

/// What becomes of fields that nobody knows.
///
/// Upstream: apiserver pkg/endpoints/handlers/create.go; Warn is what it does when nothing is said.
/// Shown by: unknown_fields_are_refused_warned_of_or_dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// They are dropped.
    Ignore,
    /// They are dropped, and a warning says so.
    #[default]
    Warn,
    /// They are an error.
    Strict,
}

/// Which objects of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// `labelSelector`, as it was written.
    pub label_selector: String,
    /// `fieldSelector`, as it was written.
    pub field_selector: String,
    /// `limit`; 0 is all.
    pub limit: usize,
    /// `continue`, of the page before.
    pub continue_token: String,
    /// `resourceVersion`.
    pub version: Option<Version>,
    /// `resourceVersionMatch=Exact`: as it was at `version`, not a later one.
    pub exact: bool,
}

/// What a DELETE asks for: its body's `DeleteOptions`, or its query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// `gracePeriodSeconds`.
    pub grace: Option<u64>,
    /// `preconditions.uid`.
    pub uid: Option<String>,
    /// `preconditions.resourceVersion`.
    pub version: Option<Version>,
    /// `propagationPolicy`.
    pub propagation: Option<Propagation>,
    /// `dryRun=All`.
    pub dry_run: bool,
}

/// What becomes of the objects that an object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They stay, and are nobody's.
    Orphan,
    /// They go after it: the default.
    Background,
    /// They go before it.
    Foreground,
}

/// A patch, with its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// `application/json-patch+json`.
    Json,
    /// `application/merge-patch+json`.
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
    /// `application/apply-patch+yaml`.
    Apply,
}
