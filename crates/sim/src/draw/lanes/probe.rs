//! A probe's lane: the verdict as a band, each attempt as a mark, and when none was made.

use probelet_model::probe::Verdict;

use super::bars::{self, Bar};
use super::{Sheet, columns};
use crate::draw::axis::Axis;
use crate::draw::paint::Strokes;
use crate::draw::span::Span;
use crate::draw::story::{Attempt, ProbeStory};
use crate::draw::text;
use crate::record::AttemptOutcome;

/// How high the lane is, with the gap below it.
pub(in super::super) const HEIGHT: f64 = 32.0;

/// How high its band is.
const BAND: f64 = 28.0;

/// More attempts than this are told by column.
pub(in super::super) const MOST_MARKS: usize = 200;

/// Draws the lane below `y`.
pub(in super::super) fn draw(sheet: &mut Sheet, y: f64, probe: &ProbeStory<'_>) {
    let name = probe.kind.as_str().to_lowercase();
    sheet.name("lane", (34.0, y + 18.0), &name);
    bars::draw(sheet, y, BAND, &verdicts(probe));
    edges(sheet, y, probe);
    bars::draw(sheet, y + 2.0, BAND - 4.0, &skips(probe));
    let (top, bottom) = (y + 7.0, y + BAND - 7.0);
    if probe.attempts.len() > MOST_MARKS {
        columns::draw(sheet, bottom + 3.0, top - 1.0, &probe.attempts);
    } else {
        marks(sheet, bottom, top, &probe.attempts);
    }
}

fn verdicts(probe: &ProbeStory<'_>) -> Vec<Bar> {
    let bar = |span: &Span<Verdict>| Bar {
        from: span.from,
        to: span.to,
        class: match span.what {
            Verdict::Unknown => "v-none",
            Verdict::Success => "v-ok",
            Verdict::Failure => "v-bad",
        },
        title: format!("{} verdict: {}", probe.kind, span.what),
        labels: Vec::new(),
    };
    probe.verdicts.iter().map(bar).collect()
}

/// A good verdict has its edge below and a bad one above, so that the change is seen without colour.
fn edges(sheet: &mut Sheet, y: f64, probe: &ProbeStory<'_>) {
    if probe.verdicts.len() > bars::MOST_BARS {
        return;
    }
    let (mut good, mut bad) = (Strokes::default(), Strokes::default());
    for span in &probe.verdicts {
        let (from, to) = (sheet.axis.x(span.from), sheet.axis.x(span.to));
        match span.what {
            Verdict::Unknown => {}
            Verdict::Success => good.block(from, y + BAND - 1.0, to - from, 1.0),
            Verdict::Failure => bad.block(from, y, to - from, 1.0),
        }
    }
    sheet.paint.strokes("c-ok", &good, "");
    sheet.paint.strokes("c-bad", &bad, "");
}

fn skips(probe: &ProbeStory<'_>) -> Vec<Bar> {
    let bar = |span: &Span<&str>| Bar {
        from: span.from,
        to: span.to,
        class: "hatch",
        title: format!("no attempt: {}", span.what),
        labels: vec![span.what.to_owned()],
    };
    probe.skips.iter().map(bar).collect()
}

fn marks(sheet: &mut Sheet, bottom: f64, top: f64, attempts: &[Attempt<'_>]) {
    let place = |axis: &Axis, attempt: &Attempt<'_>| {
        (
            axis.x(attempt.at),
            bottom - (bottom - top) * attempt.trouble,
        )
    };
    let (mut plain, mut stems) = (Strokes::default(), Strokes::default());
    for attempt in attempts {
        let (x, y) = place(&sheet.axis, attempt);
        if attempt.outcome == AttemptOutcome::Failure {
            stems.upright(x, bottom + 5.0, y);
        }
        if attempt.outcome == AttemptOutcome::Success && !attempt.decides {
            plain.dot(x, y);
        }
    }
    sheet.paint.strokes("stem", &stems, "");
    sheet.paint.strokes("m-ok", &plain, "");
    for attempt in attempts {
        let (x, y) = place(&sheet.axis, attempt);
        let mut mark = Strokes::default();
        let class = match attempt.outcome {
            AttemptOutcome::Success if !attempt.decides => continue,
            AttemptOutcome::Success => {
                mark.dot(x, y);
                "m-ok"
            }
            AttemptOutcome::Warning => {
                mark.triangle(x, y);
                "m-warn"
            }
            AttemptOutcome::Failure => {
                mark.cross(x, y);
                "m-bad"
            }
            AttemptOutcome::Error => {
                mark.diamond(x, y);
                "m-err"
            }
        };
        let title = if sheet.titles {
            title(attempt)
        } else {
            String::new()
        };
        sheet.paint.strokes(class, &mark, &title);
        if attempt.decides {
            let mut ring = Strokes::default();
            ring.ring(x, y);
            let class = if attempt.outcome == AttemptOutcome::Failure {
                "ring r-bad"
            } else {
                "ring r-ok"
            };
            sheet.paint.strokes(class, &ring, &title);
        }
    }
}

fn title(attempt: &Attempt<'_>) -> String {
    let time = text::seconds(attempt.at.as_secs());
    let what = match attempt.outcome {
        AttemptOutcome::Success => "success",
        AttemptOutcome::Warning => "warning",
        AttemptOutcome::Failure => "failure",
        AttemptOutcome::Error => "error, which counts for nothing",
    };
    let mut title = format!("{time}: {what}");
    if attempt.run > 0 {
        title += &format!(" {} of {}", attempt.run, attempt.threshold);
    }
    if attempt.decides {
        title += ", which decides";
    }
    if !attempt.message.is_empty() {
        title += &format!(
            ": {}",
            attempt.message.chars().take(200).collect::<String>()
        );
    }
    title
}
