//! A simulation as a picture: one SVG, or one HTML page that holds it.
//!
//! Records go in, text comes out; nothing is read and nothing is measured, so the same records give the same
//! bytes. What users wrote is escaped, and nothing outside the file is referred to.
//!
//! From above to below: title and figures, the time axis, and for each pod its conditions, its containers each
//! with its probes, and its events. In a probe's lane height is trouble: an attempt that agrees with a good
//! verdict lies at the bottom, failures climb towards failureThreshold, and at the top the verdict is Failure.
//! Shape tells what colour tells, for those who do not see the colour.
//!
//! Start reading at [`svg`]; then `story`, which makes spans and marks of the records, and `picture`, which
//! puts lanes under each other.

mod axis;
mod lanes;
mod legend;
mod page;
mod paint;
mod picture;
mod span;
mod story;
mod text;
mod words;

#[cfg(test)]
mod tests;

use story::Story;

use crate::record::{At, Record};

/// How a picture is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Its heading; may be anything.
    pub title: String,
    /// Where the time axis ends; by default at the last record.
    pub end: Option<At>,
}

/// Pods that get lanes of their own; of those beyond only their number is told.
pub const MAX_PODS: usize = 12;

/// The picture of `records`, which are in the order of time.
///
/// A whole SVG document, 1200 pixels wide, light or dark as the reader prefers.
#[must_use]
pub fn svg(records: &[Record], options: &Options) -> String {
    picture::draw(&Story::of(records, options.end, MAX_PODS), &options.title)
}

/// A page with the picture of `records`, which are in the order of time, and a table of them.
///
/// A whole HTML document that loads nothing. Attempts that say the same again share a row, and of very many
/// rows the first 4,000 are there; the page says so.
#[must_use]
pub fn html(records: &[Record], options: &Options) -> String {
    page::write(records, options)
}
