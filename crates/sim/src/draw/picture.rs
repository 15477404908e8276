//! The whole picture: lanes under each other, between the axis above and the legend below.

use super::axis::Axis;
use super::lanes::{Sheet, container, events, pod, probe};
use super::legend;
use super::paint::{Anchor, Paint, Strokes};
use super::story::{Figures, PodStory, Story};
use super::text::{self, Escaped};
use crate::record::{AttemptOutcome, What};

/// How wide the picture is, and where the lanes begin and end in it.
pub(super) const WIDTH: f64 = 1200.0;
const LEFT: f64 = 132.0;
const RIGHT: f64 = 1180.0;

/// How high the row is that says what the scenario does.
const CUES: f64 = 18.0;

/// With more marks than this, those that need one have no title of their own.
const MOST_TITLES: usize = 700;

/// Draws `story` under `title`.
pub(super) fn draw(story: &Story<'_>, title: &str) -> String {
    let mut sheet = Sheet {
        paint: Paint::default(),
        over: Paint::default(),
        axis: Axis::new(LEFT, RIGHT, story.end),
        titles: telling_marks(story) <= MOST_TITLES,
    };
    let head = head(&mut sheet, story, title);
    let lanes_end = lanes(&mut sheet, head + 10.0, story);
    let height = legend::draw(&mut sheet.paint, lanes_end + 12.0, story) + 10.0;
    let mut behind = Paint::default();
    let tick_line = if story.marks.is_empty() {
        head
    } else {
        head - CUES
    };
    grid(&mut behind, &sheet.axis, (tick_line, head), lanes_end);
    cues(&mut sheet, head - 5.0, lanes_end, story);
    frame(title, height, &behind.finish(), &sheet, story)
}

/// Attempts that want a title each, in lanes that show each attempt.
fn telling_marks(story: &Story<'_>) -> usize {
    story
        .pods
        .iter()
        .flat_map(|pod| &pod.containers)
        .flat_map(|container| &container.probes)
        .filter(|probe| probe.attempts.len() <= probe::MOST_MARKS)
        .flat_map(|probe| &probe.attempts)
        .filter(|attempt| attempt.decides || attempt.outcome != AttemptOutcome::Success)
        .count()
}

/// Title and figures; gives the height at which the axis lies.
fn head(sheet: &mut Sheet, story: &Story<'_>, title: &str) -> f64 {
    let shown = text::cut(title, 17.0, WIDTH - 32.0);
    sheet
        .paint
        .text("title", (16.0, 30.0), Anchor::Start, &shown);
    let figures = figures(&story.figures);
    sheet
        .paint
        .text("figures", (16.0, 52.0), Anchor::Start, &figures);
    if story.marks.is_empty() {
        82.0
    } else {
        82.0 + CUES
    }
}

/// The figures of a simulation in one line.
pub(super) fn figures(figures: &Figures) -> String {
    let several = figures.pods > 1;
    let mut parts = Vec::new();
    if several {
        parts.push(format!("{} pods", figures.pods));
    }
    parts.push(match figures.ready_after.as_slice() {
        [] => "never Ready".to_owned(),
        [only] if !several => format!("Ready after {}", text::seconds(*only)),
        [first, .., last] if first < last && figures.ready_after.len() == figures.pods => format!(
            "Ready after {} to {}",
            text::seconds(*first),
            text::seconds(*last)
        ),
        all if all.len() == figures.pods => {
            format!("Ready after {} each", text::seconds(all[0]))
        }
        some => format!("{} of them ever Ready", some.len()),
    });
    if figures.unready_seconds > 0.0 {
        let unready = text::seconds(figures.unready_seconds);
        let sum = if several { " in all" } else { "" };
        parts.push(format!("then not Ready for {unready}{sum}"));
    }
    parts.push(text::count(figures.restarts, "restart"));
    parts.push(text::count(figures.attempts, "attempt"));
    parts.join(" · ")
}

/// All lanes from `y` on; gives the height at which they end.
fn lanes(sheet: &mut Sheet, mut y: f64, story: &Story<'_>) -> f64 {
    if !story.in_service.is_empty() {
        let pods = story.pods.len() + story.pods_left_out;
        pod::service(sheet, y, &story.in_service, pods);
        y += pod::SERVICE;
    }
    let several = story.pods.len() > 1;
    for pod in &story.pods {
        y = pod_lanes(sheet, y, pod, several);
    }
    if story.pods_left_out > 0 {
        let more = text::count(
            u64::try_from(story.pods_left_out).unwrap_or(u64::MAX),
            "more pod",
        );
        sheet.name("small", (12.0, y + 12.0), &more);
        y += 20.0;
    }
    y
}

fn pod_lanes(sheet: &mut Sheet, mut y: f64, pod: &PodStory<'_>, several: bool) -> f64 {
    if several {
        sheet.paint.line("frame", [12.0, y + 1.0, RIGHT, y + 1.0]);
        let name = text::cut(pod.name.unwrap_or("pod"), 12.0, 360.0);
        let place = (12.0, y + 17.0);
        sheet.paint.text("pod", place, Anchor::Start, &name);
        if let Some(own) = pod.summary {
            let place = (LEFT.max(24.0 + text::width(&name, 12.0)), y + 17.0);
            let line = figures(&alone(own));
            sheet.paint.text("small", place, Anchor::Start, &line);
        }
        y += 25.0;
    }
    pod::draw(sheet, y, pod);
    y += pod::HEIGHT;
    for story in &pod.containers {
        container::draw(sheet, y, story);
        y += container::HEIGHT;
        for probe in &story.probes {
            probe::draw(sheet, y, probe);
            y += probe::HEIGHT;
        }
    }
    let rows = if several { 1 } else { 4 };
    let named = pod.containers.len() > 1;
    y + events::draw(sheet, y + 2.0, &pod.events, rows, named) + 4.0
}

/// One pod's own figures.
fn alone(summary: &What) -> Figures {
    let mut figures = Figures::default();
    figures.add(summary);
    figures
}

/// The lines of the axis, behind the lanes, and its words above them.
fn grid(behind: &mut Paint, axis: &Axis, (words, y): (f64, f64), end: f64) {
    for (at, word) in axis.ticks() {
        let x = axis.x(at);
        behind.line("grid", [x, y, x, end]);
        behind.text("tick", (x, words - 4.0), Anchor::Middle, &word);
    }
    behind.line("frame", [axis.left(), y, axis.right(), y]);
}

/// What the scenario does: a line through all lanes each, with its words where there is room.
fn cues(sheet: &mut Sheet, y: f64, end: f64, story: &Story<'_>) {
    let mut free = 0.0;
    for (at, message) in &story.marks {
        let x = sheet.axis.x(*at);
        let mut line = Strokes::default();
        line.upright(x, y + 4.0, end);
        let title = format!("{}: {message}", text::seconds(at.as_secs()));
        sheet.paint.strokes("cue", &line, &title);
        let width = text::width(message, 11.0);
        let last = WIDTH - 4.0 - width;
        // In the middle above its line; else beginning there, as far to the right as need be.
        let place = [x - width / 2.0, x - 4.0]
            .map(|left| left.min(last).max(4.0))
            .into_iter()
            .find(|left| *left >= free);
        if let Some(left) = place {
            free = left + width + 8.0;
            sheet
                .paint
                .text("what cue-text", (left, y), Anchor::Start, message);
        }
    }
}

/// The document around what has been drawn.
fn frame(title: &str, height: f64, behind: &str, sheet: &Sheet, story: &Story<'_>) -> String {
    let mut whole = Paint::default();
    let (left, right) = (sheet.axis.left(), sheet.axis.right());
    let end = sheet.axis.end().as_secs();
    let style = include_str!("style.css").trim_end();
    let (title, figures) = (Escaped(title), figures(&story.figures));
    whole.put(format_args!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" class="probelet" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" data-left="{left}" data-right="{right}" data-end="{end}">
<title>{title}</title>
<desc>{figures}</desc>
<style>
{style}
</style>
<defs>
<pattern id="probelet-hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="weave" d="M0 0V6"/></pattern>
<pattern id="probelet-back" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)"><rect class="back-ground" width="7" height="7"/><path class="back-weave" d="M0 0V7"/></pattern>
</defs>
<rect class="bg" width="{WIDTH}" height="{height}"/>
{behind}"#
    ));
    whole.finish() + sheet.paint.drawn() + sheet.over.drawn() + "</svg>\n"
}
