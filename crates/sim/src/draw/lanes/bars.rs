//! Spans side by side in one lane.

use super::Sheet;
use crate::draw::axis::Axis;
use crate::draw::paint::{Anchor, Strokes};
use crate::draw::text;
use crate::record::At;

/// One span to be drawn.
#[derive(Debug)]
pub(in super::super) struct Bar {
    pub(in super::super) from: At,
    pub(in super::super) to: At,
    /// How it looks.
    pub(in super::super) class: &'static str,
    /// For a reader who points at it.
    pub(in super::super) title: String,
    /// What may stand in it: the first that fits, if any does.
    pub(in super::super) labels: Vec<String>,
}

/// Where a word begins in its bar: to the right of a mark that may stand on the bar's edge.
const INSET: f64 = 14.0;

/// With more bars than this each would be a few pixels wide, and the lane tells shares of time instead.
pub(in super::super) const MOST_BARS: usize = 240;

/// How wide a share is.
const COLUMN: f64 = 4.0;

/// Draws bars of height `h` below `y`.
pub(in super::super) fn draw(sheet: &mut Sheet, y: f64, h: f64, bars: &[Bar]) {
    if bars.len() > MOST_BARS {
        return shares(sheet, y, h, bars);
    }
    for bar in bars {
        let (from, to) = (sheet.axis.x(bar.from), sheet.axis.x(bar.to));
        let width = (to - from).max(0.8);
        sheet
            .paint
            .rect(&format!("b {}", bar.class), [from, y, width, h], &bar.title);
    }
    for bar in bars {
        let (from, to) = (sheet.axis.x(bar.from), sheet.axis.x(bar.to));
        if let Some(label) =
            text::fitting(bar.labels.iter().cloned(), 11.0, to - from - INSET - 8.0)
        {
            let place = (from + INSET, y + h / 2.0 + 4.0);
            sheet.paint.text("on", place, Anchor::Start, &label);
        }
    }
}

/// For each column of pixels, how much of its time each class had, one upon the other.
fn shares(sheet: &mut Sheet, y: f64, h: f64, bars: &[Bar]) {
    let mut classes: Vec<(&str, Strokes)> = Vec::new();
    for bar in bars {
        if classes.iter().all(|(known, _)| *known != bar.class) {
            classes.push((bar.class, Strokes::default()));
        }
    }
    classes.sort_by_key(|(class, _)| *class);
    // Of each class the block under way: from, to (not included), top, height. Neighbours alike are one.
    let mut blocks: Vec<[f64; 4]> = vec![[0.0; 4]; classes.len()];
    for (x, shares) in share_columns(&sheet.axis, bars, &classes) {
        let mut top = y + h;
        for (index, share) in shares.into_iter().enumerate() {
            // Even the least share is seen.
            let least = if share > 0.0 { 1.0 } else { 0.0 };
            let height = (share * h).round().max(least).min(top - y);
            top -= height;
            let [from, to, last_top, last_height] = blocks[index];
            if (to, last_top, last_height) == (x, top, height) {
                blocks[index][1] = (x + COLUMN).min(sheet.axis.right());
            } else {
                flush(&mut classes[index].1, [from, to, last_top, last_height]);
                blocks[index] = [x, (x + COLUMN).min(sheet.axis.right()), top, height];
            }
        }
    }
    for ((_, strokes), block) in classes.iter_mut().zip(blocks) {
        flush(strokes, block);
    }
    for (class, strokes) in &classes {
        let title = format!("{} changes: each column tells shares of time", bars.len());
        sheet.paint.strokes(&format!("b {class}"), strokes, &title);
    }
}

fn flush(strokes: &mut Strokes, [from, to, top, height]: [f64; 4]) {
    if height > 0.0 {
        strokes.block(from, top, to - from, height);
    }
}

/// The columns from left to right, each with the share of each class.
fn share_columns(axis: &Axis, bars: &[Bar], classes: &[(&str, Strokes)]) -> Vec<(f64, Vec<f64>)> {
    let mut columns: Vec<(f64, Vec<f64>)> = Vec::new();
    let mut x = axis.left();
    while x < axis.right() {
        columns.push((x, vec![0.0; classes.len()]));
        x += COLUMN;
    }
    let mut first = 0;
    for bar in bars {
        let (from, to) = (axis.x(bar.from), axis.x(bar.to));
        while first + 1 < columns.len() && columns[first].0 + COLUMN <= from {
            first += 1;
        }
        let class = classes
            .iter()
            .position(|(known, _)| *known == bar.class)
            .expect("the classes are those of the bars");
        for (x, shares) in &mut columns[first..] {
            if *x >= to {
                break;
            }
            shares[class] += (to.min(*x + COLUMN) - from.max(*x)).max(0.0) / COLUMN;
        }
    }
    columns
}
