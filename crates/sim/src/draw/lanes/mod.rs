//! The lanes of a picture. Each takes a sheet and the height it begins at, and says how high it is.

pub(super) mod bars;
pub(super) mod columns;
pub(super) mod container;
pub(super) mod events;
pub(super) mod pod;
pub(super) mod probe;

use super::axis::Axis;
use super::paint::{Anchor, Paint};
use super::text;

/// What lanes are drawn on.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) paint: Paint,
    /// What lies above the lines that go through all lanes.
    pub(super) over: Paint,
    pub(super) axis: Axis,
    /// Whether attempts have a title each. Without, a picture of very many stays small.
    pub(super) titles: bool,
}

impl Sheet {
    /// A lane's name to the left of it, cut where the lane begins.
    pub(super) fn name(&mut self, class: &str, (x, y): (f64, f64), name: &str) {
        let shown = text::cut(name, 12.0, self.axis.left() - x - 8.0);
        self.paint.text(class, (x, y), Anchor::Start, &shown);
    }
}
