use probelet_model::probe::{ProbeKind, Verdict};

use super::text::width;
use super::{Options, html, svg};
use crate::record::{At, AttemptOutcome, ContainerStateKind, EndpointState, Record, What};

/// Records made by hand.
#[derive(Default)]
struct Tale {
    records: Vec<Record>,
    pod: Option<String>,
}

impl Tale {
    fn tell(&mut self, at: f64, what: What) {
        let t = std::time::Duration::from_secs_f64(at).as_nanos();
        self.records.push(Record {
            t: Some(At(u64::try_from(t).unwrap())),
            pod: self.pod.clone(),
            what,
        });
    }

    fn attempt(&mut self, at: f64, probe: ProbeKind, outcome: AttemptOutcome, run: u32) {
        self.tell(
            at,
            What::Attempt {
                container: "web".to_owned(),
                probe,
                outcome,
                run,
                threshold: 3,
                message: "HTTP probe failed with statuscode: 503".to_owned(),
            },
        );
    }

    fn verdict(&mut self, at: f64, probe: ProbeKind, result: Verdict) {
        let container = "web".to_owned();
        self.tell(
            at,
            What::Verdict {
                container,
                probe,
                result,
            },
        );
    }

    fn container(&mut self, at: f64, state: ContainerStateKind, reason: &str, restarts: u32) {
        self.tell(
            at,
            What::Container {
                container: "web".to_owned(),
                state,
                reason: reason.to_owned(),
                exit_code: if restarts > 0 { 137 } else { 0 },
                restart_count: restarts,
                ready: state == ContainerStateKind::Running,
                started: state == ContainerStateKind::Running,
            },
        );
    }

    fn event(&mut self, at: f64, event_type: &'static str, reason: &'static str, message: &str) {
        self.tell(
            at,
            What::Event {
                event_type,
                reason,
                message: message.to_owned(),
                container: Some("web".to_owned()),
            },
        );
    }

    fn ready(&mut self, at: f64, ready: bool) {
        self.tell(
            at,
            What::Condition {
                condition: "Ready".to_owned(),
                status: if ready { "True" } else { "False" }.to_owned(),
                reason: if ready { "" } else { "ContainersNotReady" }.to_owned(),
            },
        );
        let state = if ready {
            EndpointState::Ready
        } else {
            EndpointState::NotReady
        };
        self.tell(
            at,
            What::Endpoint {
                state,
                terminating: false,
            },
        );
    }

    fn summary(&mut self, restarts: u32, attempts: u64) {
        self.records.push(Record {
            t: None,
            pod: self.pod.clone(),
            what: What::Summary {
                time_to_ready: Some(1.0),
                unready_seconds: 12.5,
                restarts,
                attempts,
            },
        });
    }
}

/// A container that a liveness probe kills over and over, until it waits.
fn restarts(times: u32) -> Vec<Record> {
    use {AttemptOutcome::*, ContainerStateKind::*, ProbeKind::Liveness};
    let mut tale = Tale::default();
    tale.container(0.0, Waiting, "ContainerCreating", 0);
    let mut at = 0.0;
    for restart in 0..times {
        tale.container(at, Running, "", restart);
        tale.event(at, "Normal", "Started", "Container started");
        tale.verdict(at, Liveness, Verdict::Success);
        tale.ready(at + 1.0, true);
        tale.attempt(at + 1.0, Liveness, Success, 1);
        for run in 1..=3 {
            at += 2.0;
            tale.attempt(at, Liveness, Failure, run);
            tale.event(
                at,
                "Warning",
                "Unhealthy",
                "Liveness probe failed: HTTP 503",
            );
        }
        tale.verdict(at, Liveness, Verdict::Failure);
        tale.event(
            at,
            "Normal",
            "Killing",
            "Container web failed liveness probe",
        );
        tale.container(at, Waiting, "CrashLoopBackOff", restart);
        tale.ready(at, false);
        tale.event(
            at,
            "Warning",
            "BackOff",
            "Back-off restarting failed container",
        );
        at += f64::from(restart) * 3.0;
    }
    tale.summary(times, u64::from(times) * 4);
    tale.records
}

fn options(title: &str) -> Options {
    Options {
        title: title.to_owned(),
        end: None,
    }
}

/// The elements in the order they begin, if the document is well formed: name, attributes, text before the next.
fn elements(document: &str) -> Vec<(&str, &str, &str)> {
    let mut found = Vec::new();
    let mut open = Vec::new();
    for part in document.split('<').skip(1) {
        let (tag, text) = part.split_once('>').expect("each tag ends");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "tags are nested");
            continue;
        }
        let tag_body = tag.strip_suffix('/').unwrap_or(tag);
        let (name, attributes) = tag_body.split_once(' ').unwrap_or((tag_body, ""));
        assert_eq!(attributes.matches('"').count() % 2, 0, "{tag}");
        if tag_body == tag {
            open.push(name);
        }
        found.push((name, attributes, text));
    }
    assert_eq!(open, Vec::<&str>::new(), "all tags are closed");
    found
}

fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let begin = attributes.find(&format!("{name}=\""))? + name.len() + 2;
    attributes[begin..].split('"').next()
}

fn unescaped(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    text.replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

/// No two texts of a picture lie over each other, none is beyond its edges.
#[track_caller]
fn check_texts(picture: &str) {
    let mut boxes: Vec<(f64, f64, f64, String)> = Vec::new();
    for (name, attributes, text) in elements(picture) {
        if name != "text" {
            continue;
        }
        let number = |name| attribute(attributes, name).unwrap().parse::<f64>().unwrap();
        let class = attribute(attributes, "class").unwrap();
        let size = match class {
            "title" => 17.0,
            "figures" => 13.0,
            "pill-text" => 10.0,
            "lane" | "pod" => 12.0,
            _ => 11.0,
        };
        let text = unescaped(text);
        let wide = width(&text, size);
        let from = match attribute(attributes, "text-anchor") {
            Some("middle") => number("x") - wide / 2.0,
            Some("end") => number("x") - wide,
            _ => number("x"),
        };
        assert!(
            from >= 0.0 && from + wide <= 1200.0,
            "{text}: {from} {wide}"
        );
        boxes.push((from, from + wide, number("y"), text));
    }
    for (index, (from, to, y, text)) in boxes.iter().enumerate() {
        for (other_from, other_to, other_y, other) in &boxes[index + 1..] {
            let apart = to <= other_from || other_to <= from || (y - other_y).abs() >= 11.0;
            assert!(apart, "{text:?} and {other:?} at {y} and {other_y}");
        }
    }
}

#[test]
fn texts_never_lie_over_each_other() {
    for times in [1, 3, 8, 20, 60] {
        check_texts(&svg(&restarts(times), &options("restarts")));
    }
}

#[test]
fn the_same_records_give_the_same_bytes() {
    let records = restarts(5);
    assert_eq!(svg(&records, &options("a")), svg(&records, &options("a")));
    assert_eq!(html(&records, &options("a")), html(&records, &options("a")));
}

#[test]
fn what_users_wrote_cannot_leave_its_place() {
    let hostile = "</script><script>alert(\"1\")</script>&'\u{1}";
    let mut tale = Tale {
        pod: Some(hostile.to_owned()),
        ..Tale::default()
    };
    tale.tell(
        0.0,
        What::Skip {
            container: hostile.to_owned(),
            probe: ProbeKind::Readiness,
            reason: hostile.to_owned(),
        },
    );
    tale.event(1.0, "Warning", "Unhealthy", hostile);
    tale.tell(
        2.0,
        What::Scenario {
            message: hostile.to_owned(),
        },
    );
    let picture = svg(&tale.records, &options(hostile));
    assert!(
        elements(&picture)
            .iter()
            .all(|(name, ..)| *name != "script")
    );
    let page = html(&tale.records, &options(hostile));
    assert_eq!(page.matches("<script>").count(), 1);
    assert!(page.contains("default-src 'none'"));
    assert!(!page.contains('\u{1}') && !picture.contains('\u{1}'));
}

#[test]
fn a_day_is_small_and_hides_no_failure() {
    use {AttemptOutcome::*, ProbeKind::*};
    let mut tale = Tale::default();
    tale.container(0.0, ContainerStateKind::Running, "", 0);
    for kind in ProbeKind::ALL {
        tale.verdict(0.0, kind, Verdict::Success);
    }
    for second in 1..86_400_u32 {
        let at = f64::from(second);
        tale.attempt(at, Startup, Success, 1);
        tale.attempt(
            at,
            Readiness,
            if second % 3 == 0 { Failure } else { Success },
            1,
        );
        let lone = second == 50_000;
        tale.attempt(at, Liveness, if lone { Failure } else { Success }, 1);
    }
    let picture = svg(&tale.records, &options("a day"));
    assert!(picture.len() < 60_000, "{} bytes", picture.len());
    check_texts(&picture);
    let failures: Vec<&str> = elements(&picture)
        .iter()
        .filter(|(name, attributes, _)| {
            *name == "path" && attribute(attributes, "class") == Some("c-bad")
        })
        .filter_map(|(_, attributes, _)| attribute(attributes, "d"))
        .collect();
    // The readiness probe's, and then the one of the liveness probe.
    let lone = failures.last().unwrap();
    assert_eq!(lone.matches('M').count(), 1, "{lone}");
    let x: f64 = lone[1..].split(' ').next().unwrap().parse().unwrap();
    let expected = 132.0 + 1048.0 * 50_000.0 / 86_399.0;
    assert!((x - expected).abs() <= 3.0, "{x} {expected}");
    let page = html(&tale.records, &options("a day"));
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert!(page.contains("more rows left out"));
}

#[test]
fn a_day_of_crashes_is_small() {
    let picture = svg(&restarts(2_000), &options("crashes"));
    assert!(picture.len() < 60_000, "{} bytes", picture.len());
    check_texts(&picture);
}

#[test]
fn of_very_many_pods_the_first_are_shown_and_all_are_counted() {
    let mut tale = Tale::default();
    for pod in 0..300 {
        tale.pod = Some(format!("web-{pod}"));
        tale.container(0.0, ContainerStateKind::Running, "", 0);
        tale.ready(1.0, true);
        tale.summary(0, 10);
    }
    let picture = svg(&tale.records, &options("many"));
    assert!(picture.contains("300 pods · Ready after 1s each"));
    assert!(picture.contains("288 more pods"));
    assert!(picture.len() < 100_000, "{} bytes", picture.len());
    check_texts(&picture);
}

#[test]
fn nothing_at_all_is_a_picture_too() {
    let picture = svg(&[], &Options::default());
    assert!(picture.contains("never Ready"));
    elements(&picture);
    assert!(html(&[], &Options::default()).contains("<tbody>\n</tbody>"));
}

#[test]
fn a_failure_climbs_and_the_deciding_one_has_a_ring() {
    let picture = svg(&restarts(1), &options("one"));
    let rings = picture.matches("class=\"ring r-bad\"").count();
    // One in the lane, one in the legend.
    assert_eq!(rings, 2);
    assert!(picture.contains("failure 3 of 3, which decides"));
    assert!(picture.contains("failure 1 of 3: HTTP"));
}
