//! Attempts as they go over an exec channel: from the agent to the process that starts a container's commands, and
//! back. The shim hands out the channel, and ends what takes too long; else it has no part in it, as each process more
//! that has to wake up costs a tenth of what running `true` does.
//!
//! An answer is a line of JSON, and after it what the command wrote, as it is.
//!
//! Both sides may come from different builds, see [`crate::protocol`].

use std::time::Duration;

use probelet_runtime::{ExecError, ExecOutput, ExecRequest};
use serde::{Deserialize, Serialize};

/// One that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// Chosen by the agent, from [`first_id`] on.
    pub(crate) id: u32,
    pub(crate) request: ExecRequest,
}

/// The first id of a channel, so that another channel of the same container does not use its ids.
pub(crate) fn first_id(channel: u8) -> u32 {
    u32::from(channel) << 24
}

/// How long after its time an attempt is ended whose agent has not seen to that, as it has died.
pub(crate) const WITHOUT_AGENT: Duration = Duration::from_secs(1);

/// What has come of one.
pub(crate) type Outcome = Result<ExecOutput, ExecError>;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    id: u32,
    end: Result<Ended, ExecError>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Ended {
    exit_code: i32,
    /// How much of what follows is stdout; the rest is stderr.
    stdout: usize,
}

/// An answer as it travels.
pub(crate) fn to_bytes(id: u32, outcome: Outcome) -> Vec<u8> {
    let (end, output) = match outcome {
        Ok(output) => {
            let ExecOutput {
                exit_code,
                stdout,
                stderr,
            } = output;
            let ended = Ended {
                exit_code,
                stdout: stdout.len(),
            };
            (Ok(ended), [stdout, stderr])
        }
        Err(error) => (Err(error), Default::default()),
    };
    let head = Head { id, end };
    let mut bytes = serde_json::to_vec(&head).expect("it has string keys and no fallible parts");
    bytes.push(b'\n');
    output
        .iter()
        .for_each(|stream| bytes.extend_from_slice(stream));
    bytes
}

/// The same, back; `None` if it is no answer.
pub(crate) fn from_bytes(bytes: &[u8]) -> Option<(u32, Outcome)> {
    let end_of_head = bytes.iter().position(|&byte| byte == b'\n')?;
    let (head, output) = bytes.split_at(end_of_head);
    let Head { id, end } = serde_json::from_slice(head).ok()?;
    let outcome = match end {
        Ok(Ended { exit_code, stdout }) => {
            let (stdout, stderr) = output[1..].split_at_checked(stdout)?;
            Ok(ExecOutput {
                exit_code,
                stdout: stdout.to_owned(),
                stderr: stderr.to_owned(),
            })
        }
        Err(error) => Err(error),
    };
    Some((id, outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_arrives_as_it_was_sent() {
        let output = ExecOutput {
            exit_code: 3,
            stdout: b"a\nb\0".to_vec(),
            stderr: vec![0xff, b'\n'],
        };
        let outcomes = [
            Ok(output),
            Ok(ExecOutput::default()),
            Err(ExecError::TimedOut),
            Err(ExecError::Command("exec: \"a\nb\"".into())),
        ];
        for (id, outcome) in (7..).zip(outcomes) {
            let bytes = to_bytes(id, outcome.clone());
            assert_eq!(from_bytes(&bytes), Some((id, outcome)));
        }
    }

    #[test]
    fn what_is_no_answer_is_not_taken_for_one() {
        let too_short = br#"{"id":1,"end":{"Ok":{"exit_code":0,"stdout":5}}}
four"#;
        for bytes in [&b""[..], b"{}", b"{}\n", b"\n", too_short] {
            assert_eq!(from_bytes(bytes), None);
        }
    }
}
