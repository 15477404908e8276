//! A container's lane: what state it was in, how its runs ended, and the number of each restart.

use super::Sheet;
use super::bars::{self, Bar};
use crate::draw::paint::{Anchor, Strokes};
use crate::draw::span::Span;
use crate::draw::story::{ContainerStory, State};
use crate::draw::text;
use crate::record::ContainerStateKind;

/// How high the lane is, with the gap below it.
pub(in super::super) const HEIGHT: f64 = 28.0;

/// How high its bars are.
const BAR: f64 = 22.0;

/// Draws the lane below `y`.
pub(in super::super) fn draw(sheet: &mut Sheet, y: f64, container: &ContainerStory<'_>) {
    sheet.name("lane", (20.0, y + 15.0), container.name);
    let states: Vec<Bar> = container
        .states
        .iter()
        .map(|span| state(span, container))
        .collect();
    bars::draw(sheet, y, BAR, &states);
    ready(sheet, y + BAR - 3.0, container);
    restarts(sheet, y + BAR / 2.0, container);
}

fn state(span: &Span<State<'_>>, container: &ContainerStory<'_>) -> Bar {
    let length = text::duration(span.length());
    let State {
        kind,
        reason,
        exit_code,
        restart_count,
        started,
    } = span.what;
    let fresh = container
        .restarts
        .iter()
        .find(|restart| restart.at == span.from);
    let (class, word) = match kind {
        ContainerStateKind::Waiting if reason.ends_with("BackOff") => ("back", reason.to_owned()),
        ContainerStateKind::Waiting if reason.is_empty() => ("b-wait", "waiting".to_owned()),
        ContainerStateKind::Waiting => ("b-wait", reason.to_owned()),
        ContainerStateKind::Running if started => ("b-run", "running".to_owned()),
        ContainerStateKind::Running => ("b-new", "not started yet".to_owned()),
        ContainerStateKind::Terminated if exit_code == 0 => ("b-end", "exit 0".to_owned()),
        ContainerStateKind::Terminated => ("b-died", format!("exit {exit_code}")),
    };
    let labels = match fresh {
        Some(restart) => vec![
            format!("{word} {length} after exit {}", restart.code),
            format!("after exit {}", restart.code),
            format!("exit {}", restart.code),
        ],
        None if kind == ContainerStateKind::Terminated => vec![word.clone()],
        None => vec![format!("{word} {length}"), word.clone()],
    };
    Bar {
        from: span.from,
        to: span.to,
        class,
        title: format!(
            "{}: {word} for {length} from {} on, {}",
            container.name,
            text::seconds(span.from.as_secs()),
            text::count(u64::from(restart_count), "restart"),
        ),
        labels,
    }
}

/// A line below a container that counts as ready.
fn ready(sheet: &mut Sheet, y: f64, container: &ContainerStory<'_>) {
    let bars: Vec<Bar> = container
        .ready
        .iter()
        .map(|span| Bar {
            from: span.from,
            to: span.to,
            class: "u",
            title: format!("ready for {}", text::duration(span.length())),
            labels: Vec::new(),
        })
        .collect();
    bars::draw(sheet, y, 3.0, &bars);
}

/// A numbered mark where a run begins, as long as the one before it leaves room, and a line where one ended that
/// no other followed at once.
fn restarts(sheet: &mut Sheet, y: f64, container: &ContainerStory<'_>) {
    // Of very many the numbers are milestones, not to hide the states.
    let gap = if container.restarts.len() > 50 {
        40.0
    } else {
        1.0
    };
    let mut free = f64::MIN;
    for restart in &container.restarts {
        let x = sheet.axis.x(restart.at);
        let number = restart.number.to_string();
        let half = (text::width(&number, 10.0) / 2.0 + 3.0).max(8.0);
        if x - half < free {
            continue;
        }
        free = x + half + gap;
        let title = format!(
            "restart {number} at {}, after exit code {}",
            text::seconds(restart.at.as_secs()),
            restart.code
        );
        sheet
            .paint
            .pill([x - half, y - 8.0, half * 2.0, 16.0], &title);
        let place = (x, y + 3.6);
        sheet
            .paint
            .text("pill-text", place, Anchor::Middle, &number);
    }
    for exit in &container.exits {
        let restarted = container
            .restarts
            .iter()
            .any(|restart| restart.at == exit.at);
        let x = sheet.axis.x(exit.at);
        if !restarted && container.exits.len() <= bars::MOST_BARS {
            let mut notch = Strokes::default();
            notch.upright(x, y - 13.0, y + 13.0);
            let title = format!(
                "exit code {} at {}",
                exit.code,
                text::seconds(exit.at.as_secs())
            );
            let class = if exit.code == 0 { "lead" } else { "stem" };
            sheet.paint.strokes(class, &notch, &title);
        }
    }
}
