//! Very many attempts in one lane: what each column of pixels saw, failures above successes.

use std::collections::BTreeMap;

use super::Sheet;
use crate::draw::paint::Strokes;
use crate::draw::story::Attempt;
use crate::record::AttemptOutcome;

/// How wide a column is.
const COLUMN: f64 = 3.0;

/// What one column saw.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Seen {
    success: bool,
    warning: bool,
    error: bool,
    /// The most that the failures came to; 0 is none at all.
    trouble: f64,
}

/// Draws attempts between `bottom` and `top`.
pub(in super::super) fn draw(sheet: &mut Sheet, bottom: f64, top: f64, attempts: &[Attempt<'_>]) {
    let columns = seen(sheet, attempts);
    let (left, right) = (sheet.axis.left(), sheet.axis.right());
    let mut paint = |class: &str, row: &dyn Fn(&Seen) -> Option<(f64, f64)>| {
        let mut strokes = Strokes::default();
        for (from, to, (y, h)) in runs(columns.iter().map(|(at, seen)| (*at, row(seen)))) {
            let x = left + f64::from(from) * COLUMN;
            let width = (f64::from(to - from) * COLUMN).min(right - x);
            strokes.block(x, y, width, h);
        }
        sheet.paint.strokes(class, &strokes, "");
    };
    paint("c-bad", &|seen| {
        let height = ((bottom - top) * seen.trouble - 4.0).max(7.0);
        (seen.trouble > 0.0).then_some((bottom - 5.0 - height, height))
    });
    paint("c-ok", &|seen| seen.success.then_some((bottom - 3.5, 3.5)));
    paint("c-warn", &|seen| seen.warning.then_some((bottom, 3.5)));
    paint("c-err", &|seen| seen.error.then_some((top - 4.5, 3.5)));
}

/// The columns that saw anything, by their number.
fn seen(sheet: &Sheet, attempts: &[Attempt<'_>]) -> BTreeMap<u32, Seen> {
    let mut columns = BTreeMap::new();
    let (mut number, mut right) = (0_u32, sheet.axis.left() + COLUMN);
    for attempt in attempts {
        let x = sheet.axis.x(attempt.at).min(sheet.axis.right() - 0.1);
        while x >= right {
            number += 1;
            right += COLUMN;
        }
        let seen: &mut Seen = columns.entry(number).or_default();
        match attempt.outcome {
            AttemptOutcome::Success => seen.success = true,
            AttemptOutcome::Warning => seen.warning = true,
            AttemptOutcome::Failure => seen.trouble = seen.trouble.max(attempt.trouble).max(0.1),
            AttemptOutcome::Error => seen.error = true,
        }
    }
    columns
}

/// Neighbours that look the same, as one: from, to (not included), look.
fn runs<T: PartialEq>(columns: impl Iterator<Item = (u32, Option<T>)>) -> Vec<(u32, u32, T)> {
    let mut runs: Vec<(u32, u32, T)> = Vec::new();
    for (at, look) in columns {
        let Some(look) = look else { continue };
        match runs.last_mut() {
            Some((_, to, last)) if *to == at && *last == look => *to += 1,
            _ => runs.push((at, at + 1, look)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::runs;

    #[test]
    fn neighbours_that_look_the_same_are_one() {
        let columns = [
            (1, Some('a')),
            (2, Some('a')),
            (3, Some('b')),
            (4, None),
            (5, Some('b')),
        ];
        assert_eq!(
            runs(columns.into_iter()),
            [(1, 3, 'a'), (3, 4, 'b'), (5, 6, 'b')]
        );
    }
}
