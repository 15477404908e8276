//! What the runtime tells of a pod's containers: they have started, or could not, or have ended.

use probelet_model::id::ContainerId;
use probelet_model::status::Terminated;
use probelet_model::time::Wall;

use super::{PodMachine, waiting};
use crate::container::{AfterStop, Begun, ExitedRun, State, terminated};
use crate::effect::EventKind;
use crate::input::{ContainerFailure, Exit, OperationId};
use crate::node::Turn;

use super::sandbox::SANDBOX_RETRY;

impl PodMachine {
    pub(crate) fn container_started(
        &mut self,
        operation: OperationId,
        result: Result<Wall, ContainerFailure>,
        turn: &mut Turn<'_>,
    ) {
        let found = self.containers.iter().position(
            |container| matches!(&container.state, State::Starting { operation: awaited, .. } if *awaited == operation),
        );
        let Some(index) = found else {
            return turn.stale();
        };
        let State::Starting {
            id,
            restart_count,
            image,
            exit,
            ..
        } = self.containers[index].state.clone()
        else {
            return;
        };
        self.changed = true;
        self.synchronise = true;
        match result {
            Ok(started_at) => {
                self.tell(
                    index,
                    EventKind::Normal,
                    "Created",
                    "Container created",
                    turn,
                );
                self.tell(
                    index,
                    EventKind::Normal,
                    "Started",
                    "Container started",
                    turn,
                );
                let asked = self.ask_post_start(index, turn);
                let begun = Begun {
                    id: id.clone(),
                    image,
                    started_at,
                };
                let hook = asked.as_ref().map(|(operation, _)| *operation);
                self.containers[index].run_began(begun, restart_count, hook, turn.now);
                turn.out.extend(asked.map(|(_, effect)| effect));
                if let Some(exit) = exit {
                    self.container_exited(&id, exit, turn);
                }
            }
            Err(failure @ (ContainerFailure::Config(_) | ContainerFailure::Create(_))) => {
                let (reason, message) = match failure {
                    ContainerFailure::Config(message) => ("CreateContainerConfigError", message),
                    ContainerFailure::Create(message) | ContainerFailure::Start(message) => {
                        ("CreateContainerError", message)
                    }
                };
                let container = &mut self.containers[index];
                container.state = State::Idle;
                container.waiting = Some(waiting(reason, message.clone()));
                container.retry_at = Some(turn.now.mono + SANDBOX_RETRY);
                let text = format!("Error: {message}");
                self.tell(index, EventKind::Warning, "Failed", &text, turn);
            }
            Err(ContainerFailure::Start(message)) => {
                // containerd keeps such a container with exit code 128 and this reason.
                let exit = Exit {
                    code: 128,
                    signal: None,
                    out_of_memory: false,
                    finished_at: turn.now.wall,
                    message: None,
                };
                let terminated = Terminated {
                    reason: Some("StartError".to_owned()),
                    message: Some(message.clone()),
                    ..terminated(&id, turn.now.wall, exit)
                };
                let exited = ExitedRun {
                    id,
                    at: turn.now.mono,
                    terminated,
                };
                let container = &mut self.containers[index];
                container.waiting = None;
                container.take_image(image);
                container.run_ended(exited, restart_count);
                self.tell(
                    index,
                    EventKind::Normal,
                    "Created",
                    "Container created",
                    turn,
                );
                let text = format!("Error: {message}");
                self.tell(index, EventKind::Warning, "Failed", &text, turn);
            }
        }
    }

    pub(crate) fn container_exited(&mut self, id: &ContainerId, exit: Exit, turn: &mut Turn<'_>) {
        let found = self.containers.iter().position(|container| {
            let starting =
                matches!(&container.state, State::Starting { id: starting, .. } if starting == id);
            starting || container.run().is_some_and(|run| run.id == *id)
        });
        // An exit is told at least once, so one that is known already is nothing new.
        let Some(index) = found else {
            return turn.stale();
        };
        let container = &mut self.containers[index];
        if let State::Starting { exit: early, .. } = &mut container.state {
            *early = Some(exit);
            return;
        }
        let (run, then) = match container.state.clone() {
            State::PostStart { run, .. } => {
                self.ended_during_post_start(index, turn);
                (run, AfterStop::Policy)
            }
            State::Running(run) => (run, AfterStop::Policy),
            State::Stopping { run, then, .. } => (run, then),
            State::Idle | State::Fetching(_) | State::Starting { .. } => return,
        };
        self.changed = true;
        self.synchronise = true;
        let exited = ExitedRun {
            at: turn.mono_of(exit.finished_at),
            terminated: terminated(&run.id, run.started_at, exit),
            id: run.id,
        };
        let container = &mut self.containers[index];
        container.run_ended(exited, container.restart_count());
        if let AfterStop::Restart { newest_exit } = then {
            container.start_over = Some(newest_exit);
        }
    }

    /// An event about the container at `index`.
    pub(super) fn tell(
        &self,
        index: usize,
        kind: EventKind,
        reason: &'static str,
        message: &str,
        turn: &mut Turn<'_>,
    ) {
        let name = self.containers[index].name.clone();
        self.event(turn, Some(&name), kind, reason, message.to_owned());
    }
}
