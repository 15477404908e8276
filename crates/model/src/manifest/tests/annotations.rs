//! Annotations that refine probes.

use std::time::Duration;

use super::*;

const PROBES: &str = "readinessProbe: {tcpSocket: {port: 1}, timeoutSeconds: 3}\n\
                      livenessProbe: {tcpSocket: {port: 1}, periodSeconds: 7}";

/// A pod with two probes on `main`, one on the sidecar `side`, none on the init container `first`.
fn with(annotation: &str) -> String {
    PodText {
        metadata: &format!("annotations:\n  {annotation}"),
        spec: "initContainers:\n\
               - {name: first, command: [a]}\n\
               - {name: side, command: [a], restartPolicy: Always, startupProbe: {tcpSocket: {port: 1}}}",
        container: PROBES,
    }
    .yaml()
}

#[test]
fn a_probe_is_refined_to_the_millisecond_and_no_other_one() {
    let text = with("readiness.probe.probelet.dev/main: periodMilliseconds=250");
    let container = pod(&text).containers.remove(0);
    let (readiness, liveness) = (container.readiness.unwrap(), container.liveness.unwrap());
    assert_eq!(readiness.period, Duration::from_millis(250));
    assert_eq!(readiness.timeout, Duration::from_secs(3));
    assert_eq!(liveness.period, Duration::from_secs(7));

    let text =
        with("liveness.probe.probelet.dev/main: 'timeoutMilliseconds=1500, periodMilliseconds=10'");
    let container = pod(&text).containers.remove(0);
    let (readiness, liveness) = (container.readiness.unwrap(), container.liveness.unwrap());
    assert_eq!(liveness.period, Duration::from_millis(10));
    assert_eq!(liveness.timeout, Duration::from_millis(1500));
    assert_eq!(readiness.period, Duration::from_secs(10));

    let text = with("startup.probe.probelet.dev/side: timeoutMilliseconds=1");
    let startup = pod(&text).init_containers.remove(1).startup.unwrap();
    assert_eq!(startup.timeout, Duration::from_millis(1));
    assert_eq!(startup.period, Duration::from_secs(10));
}

#[test]
fn the_wire_object_stays_as_it_was_written() {
    let text = with("liveness.probe.probelet.dev/main: periodMilliseconds=250");
    let object = only(load_text(&text));
    let probe = &object.value["spec"]["containers"][0]["livenessProbe"];
    assert_eq!(probe["periodSeconds"], 7);
    let read = crate::pod::Pod::from_value(&object.value).unwrap();
    assert_eq!(Object::Pod(Box::new(read)), object.object);
}

#[test]
fn an_annotation_that_cannot_be_carried_out_is_refused() {
    for (annotation, expected) in [
        (
            "ready.probe.probelet.dev/main: periodMilliseconds=250",
            "@: Unsupported value: \"ready\": supported values: \"startup\", \"readiness\", \"liveness\"",
        ),
        (
            "probe.probelet.dev/main: periodMilliseconds=250",
            "@: Unsupported value: \"\": supported values: \"startup\", \"readiness\", \"liveness\"",
        ),
        (
            "liveness.probe.probelet.dev/other: periodMilliseconds=250",
            "@: Not found: \"other\"",
        ),
        (
            "liveness.probe.probelet.dev: periodMilliseconds=250",
            "@: Not found: \"\"",
        ),
        (
            "liveness.probe.probelet.dev/first: periodMilliseconds=250",
            "@: Forbidden: init containers without restartPolicy=Always have no probes",
        ),
        (
            "startup.probe.probelet.dev/main: periodMilliseconds=250",
            "@: Forbidden: container \"main\" has no startupProbe",
        ),
        (
            "readiness.probe.probelet.dev/side: periodMilliseconds=250",
            "@: Forbidden: container \"side\" has no readinessProbe",
        ),
        (
            "liveness.probe.probelet.dev/main: periodMilliseconds=5",
            "@: Invalid value: \"periodMilliseconds=5\": periodMilliseconds must be between 10 and 2147483647, inclusive",
        ),
        (
            "liveness.probe.probelet.dev/main: periodSeconds=5",
            "@: Invalid value: \"periodSeconds=5\": unknown key \"periodSeconds\"; there are periodMilliseconds and timeoutMilliseconds",
        ),
        (
            "liveness.probe.probelet.dev/main: ''",
            "@: Invalid value: \"\": \"\" is not of the form key=milliseconds",
        ),
    ] {
        let (key, _) = annotation.split_once(": ").unwrap();
        let path = format!("metadata.annotations[{key}]");
        check(&with(annotation), &[&expected.replace('@', &path)]);
    }
}

#[test]
fn an_error_names_the_annotations_line() {
    check_lines(
        &with("liveness.probe.probelet.dev/nobody: periodMilliseconds=250"),
        &[
            "t:6:41: metadata.annotations[liveness.probe.probelet.dev/nobody]: Not found: \"nobody\"",
        ],
    );
}

#[test]
fn the_annotations_of_others_are_left_alone() {
    for annotation in [
        "example.com/liveness.probe.probelet.dev: x",
        "liveness.probe.probelet.dev.example.com/main: x",
        "probelet.dev/liveness: x",
    ] {
        check(&with(annotation), &[]);
    }
}
