//! A running `probelet up`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::wait::{Deadline, PATIENCE, until};

/// An agent in the foreground. Dropping it ends the agent alone, with SIGTERM.
#[derive(Debug)]
pub(crate) struct Up {
    child: Child,
    lines: Receiver<String>,
    /// All lines that have been read.
    seen: Vec<String>,
    /// How many of them a wait has looked at.
    looked_at: usize,
    errors: PathBuf,
}

impl Up {
    /// Starts `command`, whose standard error goes to the file `errors`.
    pub(crate) fn start(mut command: Command, errors: PathBuf) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        // Ends with the process, which alone holds the other end.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            lines,
            seen: Vec::new(),
            looked_at: 0,
            errors,
        }
    }

    /// The next line, from where the last wait ended, that `is` one; everything before it is passed over.
    pub(crate) fn line(&mut self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let deadline = Deadline::after(PATIENCE);
        loop {
            while let Some(line) = self.seen.get(self.looked_at) {
                self.looked_at += 1;
                if is(line) {
                    return line.clone();
                }
            }
            let left = deadline.left().unwrap_or_default();
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("waited {PATIENCE:?} for {what}"),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended before there was {what}"),
            }
        }
    }

    /// The next happening (`-o json`) that `is` one.
    pub(crate) fn happening(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        parse(&self.line(what, |line| is(&parse(line))))
    }

    /// The next happening of one type to one object.
    pub(crate) fn next(&mut self, object: &str, kind: &str) -> Value {
        self.happening(&format!("{kind} of {object}"), |happening| {
            happening["name"] == object && happening["type"] == kind
        })
    }

    /// The status of one of a pod's containers that `is` so.
    pub(crate) fn container(
        &mut self,
        pod: &str,
        container: &str,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Value {
        let happening = self.happening(&format!("{container} of {pod} {what}"), |happening| {
            let status = &happening["container"];
            happening["name"] == pod && status["name"] == container && is(status)
        });
        happening["container"].clone()
    }

    /// The pod's container runs.
    pub(crate) fn running(&mut self, pod: &str) -> Value {
        self.happening(&format!("{pod} running"), |happening| {
            happening["name"] == pod && happening["container"]["state"]["running"].is_object()
        })
    }

    /// The pod's condition Ready has become `ready`.
    pub(crate) fn ready(&mut self, pod: &str, ready: bool) -> Value {
        let status = if ready { "True" } else { "False" };
        self.happening(&format!("{pod} Ready {status}"), |happening| {
            let condition = &happening["condition"];
            happening["name"] == pod
                && condition["type"] == "Ready"
                && condition["status"] == status
        })
    }

    /// The same as happenings (`-o json`).
    pub(crate) fn happenings(&mut self) -> Vec<Value> {
        self.seen().iter().map(|line| parse(line)).collect()
    }

    /// What was read so far, and what has come since.
    pub(crate) fn seen(&mut self) -> &[String] {
        self.seen.extend(self.lines.try_iter());
        &self.seen
    }

    /// What it has said on standard error.
    pub(crate) fn errors(&self) -> String {
        fs::read_to_string(&self.errors).unwrap()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits until it has ended by itself, and has been read to the end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let status = until("the end of the agent", || self.child.try_wait().unwrap());
        let deadline = Deadline::after(PATIENCE);
        while let Ok(line) = self.lines.recv_timeout(deadline.left().unwrap_or_default()) {
            self.seen.push(line);
        }
        status
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn end_with(mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.ended()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("standard error of the agent:\n{}", self.errors());
            let seen = self.seen();
            let newest = seen.len().saturating_sub(40);
            eprintln!("its newest lines:\n{}", seen[newest..].join("\n"));
            let _ended_already = self.child.kill();
            let _ended_already = self.child.wait();
        } else if self.child.try_wait().unwrap().is_none() {
            self.signal(Signal::TERM);
            let status = self.ended();
            assert!(status.success(), "{status}: {}", self.errors());
        }
    }
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in line {line:?}"))
}
