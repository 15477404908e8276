//! What is told alone, counted, combined and let go.

use super::*;

/// Events of a pod, keyed by when they were made.
#[derive(Default)]
struct World {
    events: PodEvents<usize>,
    kept: BTreeMap<usize, (String, u32)>,
    made: usize,
    now: Wall,
}

impl World {
    fn tell(&mut self, container: &str, reason: &str, message: &str) {
        let path = Some(format!("spec.containers{{{container}}}"));
        let class = Class::of(path, "Warning", reason, message);
        let next = self.made;
        let (write, gone) = self.events.happened(class, message, self.now, || next);
        match write {
            Write::Count(key, text) => {
                let (_, count) = self.kept.remove(&key).unwrap();
                self.kept.insert(key, (text, count + 1));
            }
            Write::Create(key, text) => {
                assert_eq!(self.kept.insert(key, (text, 1)), None);
                self.made += 1;
            }
        }
        for key in gone {
            self.kept.remove(&key).expect("what goes was there");
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    fn texts(&self) -> Vec<(&str, u32)> {
        let texts = self.kept.values();
        texts.map(|(text, count)| (text.as_str(), *count)).collect()
    }

    fn has(&self, text: &str) -> bool {
        self.kept.values().any(|(kept, _)| kept == text)
    }
}

#[test]
fn the_same_is_counted_and_the_eleventh_text_is_combined() {
    let mut world = World::default();
    for second in 0..10 {
        world.tell(
            "a",
            "Unhealthy",
            &format!("Liveness probe failed: at {second}"),
        );
    }
    world.tell("a", "Unhealthy", "Liveness probe failed: at 3");
    assert_eq!(world.kept.len(), 10);
    for second in 10..500 {
        world.tell(
            "a",
            "Unhealthy",
            &format!("Liveness probe failed: at {second}"),
        );
    }
    world.tell("a", "Unhealthy", "Liveness probe failed: at 3");
    assert_eq!(world.kept.len(), 11);
    let texts = world.texts();
    assert_eq!(texts[3], ("Liveness probe failed: at 3", 3));
    let combined = "(combined from similar events): Liveness probe failed: at 499";
    assert_eq!(texts[10], (combined, 490));
}

#[test]
fn classes_differ_by_container_type_reason_probe_outcome_and_sort_of_cause() {
    let one = |container: &str, kind: &str, reason: &str, message: &str| {
        Class::of(Some(container.into()), kind, reason, message)
    };
    let timed_out = "Liveness probe failed: command timed out: \"x\" timed out after 1s";
    let base = one(
        "a",
        "Warning",
        "Unhealthy",
        "Liveness probe failed: 10:01 no",
    );
    let same = [
        one(
            "a",
            "Warning",
            "Unhealthy",
            "Liveness probe failed: 10:02 yes: no",
        ),
        one(
            "a",
            "Warning",
            "Unhealthy",
            "(combined from similar events): Liveness probe failed: 10:03",
        ),
    ];
    for same in same {
        assert_eq!(same, base);
    }
    let others = [
        one(
            "b",
            "Warning",
            "Unhealthy",
            "Liveness probe failed: 10:01 no",
        ),
        one(
            "a",
            "Normal",
            "Unhealthy",
            "Liveness probe failed: 10:01 no",
        ),
        one("a", "Warning", "BackOff", "Liveness probe failed: 10:01 no"),
        one(
            "a",
            "Warning",
            "Unhealthy",
            "Readiness probe failed: 10:01 no",
        ),
        one(
            "a",
            "Warning",
            "Unhealthy",
            "Liveness probe errored: 10:01 no",
        ),
        one("a", "Warning", "Unhealthy", timed_out),
        one(
            "a",
            "Warning",
            "Unhealthy",
            "Liveness probe failed: Get \"http://10.213.0.2:80/\": dial tcp 10.213.0.2:80: connect: \
             connection refused",
        ),
        one(
            "a",
            "Warning",
            "Unhealthy",
            "Liveness probe failed: HTTP probe failed with statuscode: 503",
        ),
    ];
    let different: std::collections::BTreeSet<_> = others.iter().chain([&base]).collect();
    assert_eq!(different.len(), 9);
    let [one, two] = ["Error: a", "Error: b"].map(|text| one("a", "Warning", "Failed", text));
    assert_eq!(one, two, "only probes have causes");
}

#[test]
fn a_talkative_probe_pushes_nothing_else_out() {
    let mut world = World::default();
    world.tell(
        "a",
        "Unhealthy",
        "Liveness probe failed: HTTP probe failed with statuscode: 503",
    );
    world.tell(
        "a",
        "Killing",
        "Container a failed liveness probe, will be restarted",
    );
    for second in 0..5000 {
        for container in ["a", "b", "c"] {
            for probe in ["Liveness", "Readiness", "Startup"] {
                let text = format!("{probe} probe failed: at {second}");
                world.tell(container, "Unhealthy", &text);
            }
        }
        world.pass(1);
    }
    assert_eq!(world.kept.len(), 100);
    assert!(world.has("Liveness probe failed: HTTP probe failed with statuscode: 503"));
    assert!(world.has("Container a failed liveness probe, will be restarted"));
    assert!(world.has("(combined from similar events): Startup probe failed: at 4999"));
}

#[test]
fn after_ten_silent_minutes_texts_are_told_alone_again_and_the_oldest_go() {
    let mut world = World::default();
    for text in 0..20 {
        world.tell("a", "Unhealthy", &format!("Liveness probe failed: {text}"));
    }
    world.pass(600);
    world.tell("a", "Unhealthy", "Liveness probe failed: still one");
    assert!(world.has("(combined from similar events): Liveness probe failed: still one"));
    world.pass(601);
    world.tell("a", "Unhealthy", "Liveness probe failed: new");
    assert!(world.has("Liveness probe failed: new"));
    assert!(!world.has("Liveness probe failed: 0"));
    assert_eq!(world.kept.len(), 11);
}

#[test]
fn what_was_there_before_is_counted_on() {
    let mut events: PodEvents<usize> = PodEvents::default();
    let class = |text: &str| Class::of(None, "Warning", "Unhealthy", text);
    let combined = "(combined from similar events): Liveness probe failed: 11";
    for text in 0..10 {
        let text = format!("Liveness probe failed: {text}");
        events.restore(class(&text), text, 0, Wall::default());
    }
    events.restore(class(combined), combined.into(), 77, Wall::default());
    let (write, gone) = events.happened(
        class("Liveness probe failed: 12"),
        "Liveness probe failed: 12",
        Wall::default(),
        || 1,
    );
    let text = "(combined from similar events): Liveness probe failed: 12".to_owned();
    assert_eq!((write, gone), (Write::Count(77, text), Vec::new()));
    assert_eq!(events.into_keys().count(), 11);
}
