//! A command in the container.

use std::time::Duration;

use probelet_model::id::{ContainerId, PodUid};
use probelet_model::probe::{Code, Outcome, OutcomeStatus, ProberError};
use probelet_runtime::{ExecError, ExecRequest, Runtime};

use crate::{OUTPUT_LIMIT, go, prober_error};

/// Runs `command` (expanded, not empty) in a container; exit code 0 is success.
///
/// The output is all of stdout, then all of stderr, cut to [`OUTPUT_LIMIT`] bytes. A command that does
/// not end within `timeout` is a failure that names the command and shows none of its output.
///
/// Errors: the command could not be run at all, or the runtime failed.
///
/// Upstream: pkg/probe/exec/exec.go, Probe; kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go,
/// RunInContainer; cri-client remote_runtime.go, execSync.
/// Shown by: c21_exit_codes, c23_a_command_that_takes_too_long, c24_a_failing_runtime_is_asked_three_times.
pub async fn attempt<R: Runtime>(
    runtime: &R,
    pod: &PodUid,
    container: &ContainerId,
    command: Vec<String>,
    timeout: Duration,
) -> Result<Outcome, ProberError> {
    let words = command.join(" ");
    let request = ExecRequest {
        argv: command,
        timeout,
        output_limit: OUTPUT_LIMIT,
    };
    match runtime.exec(pod, container, request).await {
        Ok(ended) => {
            let status = if ended.exit_code == 0 {
                OutcomeStatus::Success
            } else {
                OutcomeStatus::Failure
            };
            let mut output = ended.stdout;
            output.extend_from_slice(&ended.stderr);
            Ok(Outcome {
                status,
                output: go::text(&output),
                code: Some(Code::Exit(ended.exit_code)),
            })
        }
        Err(ExecError::TimedOut) => {
            let output = format!(
                "command timed out: {} timed out after {}",
                go::quote(words.as_bytes()),
                go::duration(timeout)
            );
            Ok(Outcome {
                status: OutcomeStatus::Failure,
                output,
                code: None,
            })
        }
        Err(error @ (ExecError::NotRunning(_) | ExecError::Command(_) | ExecError::Runtime(_))) => {
            Err(prober_error(error.to_string()))
        }
    }
}
