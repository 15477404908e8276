//! A pod's own lane: the condition Ready, and below it the pod's place in the endpoints of its Service.

use super::Sheet;
use super::bars::{self, Bar};
use crate::draw::paint::{Anchor, Strokes};
use crate::draw::span::Span;
use crate::draw::story::{Conditions, Endpoint, PodStory};
use crate::draw::text;
use crate::record::EndpointState;

/// How high the lane is, with the gap below it.
pub(in super::super) const HEIGHT: f64 = 36.0;

/// Draws the lane below `y`.
pub(in super::super) fn draw(sheet: &mut Sheet, y: f64, pod: &PodStory<'_>) {
    sheet.name("lane", (20.0, y + 14.0), "Ready");
    let ready: Vec<Bar> = pod.ready.iter().map(condition).collect();
    bars::draw(sheet, y, 20.0, &ready);
    sheet.name("small", (20.0, y + 29.0), "traffic");
    let traffic: Vec<Bar> = pod.endpoint.iter().filter_map(endpoint).collect();
    bars::draw(sheet, y + 23.0, 6.0, &traffic);
}

fn condition(span: &Span<Conditions<'_>>) -> Bar {
    let length = text::duration(span.length());
    let Conditions { ready, reason } = span.what;
    let (class, word) = if ready {
        ("b-ready", "Ready")
    } else {
        ("b-not", "not Ready")
    };
    Bar {
        from: span.from,
        to: span.to,
        class,
        title: format!("{word} for {length} {reason}")
            .trim_end()
            .to_owned(),
        labels: vec![format!("{word} {length}"), word.to_owned()],
    }
}

fn endpoint(span: &Span<Endpoint>) -> Option<Bar> {
    let (class, word) = match (span.what.state, span.what.terminating) {
        (EndpointState::Absent, _) => return None,
        (EndpointState::Ready, _) => ("e-ready", "gets traffic"),
        (EndpointState::NotReady, true) => ("e-term", "terminating, gets no traffic"),
        (EndpointState::NotReady, false) => ("e-not", "listed, gets no traffic"),
    };
    Some(Bar {
        from: span.from,
        to: span.to,
        class,
        title: format!("{word} for {}", text::duration(span.length())),
        labels: Vec::new(),
    })
}

/// How high [`service`] is, with the gap below it.
pub(in super::super) const SERVICE: f64 = 44.0;

/// Draws how many of `pods` got traffic.
pub(in super::super) fn service(sheet: &mut Sheet, y: f64, spans: &[Span<usize>], pods: usize) {
    sheet.name("pod", (12.0, y + 16.0), "Service");
    sheet.name("small", (12.0, y + 31.0), "pods in traffic");
    let height = 34.0;
    let many = spans.len() > bars::MOST_BARS;
    let bars: Vec<Bar> = spans
        .iter()
        .map(|span| {
            let length = text::duration(span.length());
            Bar {
                from: span.from,
                to: span.to,
                class: match span.what {
                    0 => "b-not",
                    _ if many => "b-ready",
                    _ => "v-none",
                },
                title: format!("{} of {pods} for {length}", span.what),
                labels: Vec::new(),
            }
        })
        .collect();
    bars::draw(sheet, y, height, &bars);
    if many {
        return;
    }
    let share = |number: usize| {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        f64::from(number) / f64::from(u32::try_from(pods.max(1)).unwrap_or(u32::MAX))
    };
    let mut level = Strokes::default();
    for span in spans.iter().filter(|span| span.what > 0) {
        let (from, to) = (sheet.axis.x(span.from), sheet.axis.x(span.to));
        let h = height * share(span.what);
        level.block(from, y + height - h, to - from, h);
    }
    sheet.paint.strokes("b-ready", &level, "");
    for span in spans {
        let (from, to) = (sheet.axis.x(span.from), sheet.axis.x(span.to));
        let label = format!("{} of {pods}", span.what);
        let labels = [label, span.what.to_string()];
        if let Some(label) = text::fitting(labels, 11.0, to - from - 8.0) {
            let place = (from + 4.0, y + height - 5.0);
            sheet.paint.text("on", place, Anchor::Start, &label);
        }
    }
}
