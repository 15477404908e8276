//! exec.

use std::sync::atomic::Ordering;
use std::time::Duration;

use probelet_model::probe::OutcomeStatus::{Failure, Success};
use probelet_model::probe::{Code, Handler, OutcomeStatus};
use probelet_probe::Report;

use crate::ground::{Fault, Host, PATIENT, SHORT, run_at};

async fn run(runtime: &Host, command: &[&str], timeout: Duration) -> Report {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    run_at(runtime, None, 1, Handler::Exec { command }, timeout).await
}

async fn shell(script: &str) -> (OutcomeStatus, String, Option<Code>) {
    let report = run(&Host::default(), &["sh", "-c", script], PATIENT).await;
    assert_eq!(report.tries, 1);
    let outcome = report.result.unwrap();
    (outcome.status, outcome.output, outcome.code)
}

#[tokio::test]
async fn c21_exit_codes() {
    let (out, both) = ("well\n".to_owned(), "out\nerr\n".to_owned());
    assert_eq!(
        shell("echo well").await,
        (Success, out, Some(Code::Exit(0)))
    );
    assert_eq!(
        shell("echo err >&2; echo out; exit 1").await,
        (Failure, both, Some(Code::Exit(1)))
    );
}

#[tokio::test]
async fn c22_output_is_cut() {
    let (status, output, _) = shell("head -c 11264 /dev/zero | tr '\\0' x; echo tail >&2").await;
    assert_eq!((status, output.len()), (Success, 10_240));
    let (_, output, _) =
        shell("head -c 10000 /dev/zero | tr '\\0' x; head -c 10000 /dev/zero | tr '\\0' y >&2")
            .await;
    assert_eq!((output.len(), output.matches('y').count()), (10_240, 240));
}

#[tokio::test]
async fn c23_a_command_that_takes_too_long() {
    let report = run(
        &Host::default(),
        &["sh", "-c", "echo \"a\"; exec sleep 10"],
        SHORT,
    )
    .await;
    assert!(report.duration >= SHORT);
    let outcome = report.result.unwrap();
    let expected = r#"command timed out: "sh -c echo \"a\"; exec sleep 10" timed out after 200ms"#;
    assert_eq!(
        (outcome.status, outcome.output.as_str(), outcome.code),
        (Failure, expected, None)
    );
    assert_eq!(report.tries, 1);
}

#[tokio::test]
async fn c24_a_failing_runtime_is_asked_three_times() {
    let host = Host {
        fault: Some(Fault::Fails),
        ..Host::default()
    };
    let report = run(&host, &["true"], PATIENT).await;
    assert_eq!(
        report.result.unwrap_err().message,
        "the shim does not answer"
    );
    assert_eq!((report.tries, host.asked.load(Ordering::Relaxed)), (3, 3));
    let report = run(&Host::default(), &["/no/such/command"], PATIENT).await;
    assert!(report.result.unwrap_err().message.contains("No such file"));
    assert_eq!(report.tries, 3);
}

#[tokio::test]
async fn c25_only_literal_variables_are_expanded() {
    let report = run(
        &Host::default(),
        &["echo", "$(A)", "$(B)", "$$(A)"],
        PATIENT,
    )
    .await;
    assert_eq!(report.result.unwrap().output, "literal $(B) $(A)\n");
}
