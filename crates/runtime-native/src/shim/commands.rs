//! What the shim does about commands beside a container's main program, and about those who join that.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use probelet_model::id::ContainerId;
use probelet_model::time::Mono;
use probelet_runtime::{ExecError, ExecRequest, SessionRequest, Streams};
use rustix::io::Errno;

use super::container::Container;
use super::exec::{Answered, Exec, OUTPUT_WAITS, Running};
use super::session::{self, Session};
use super::{Asker, Shim, runner};
use crate::protocol::Answer;
use crate::{clock, sys, text};

impl Shim {
    pub(super) fn exec(&mut self, asker: Asker, id: ContainerId, request: ExecRequest) {
        let made = match self.live.get(&id).and_then(Container::running) {
            Some(place) => Exec::new(id.clone(), &place, request, asker),
            None => Err(ExecError::NotRunning(id.clone())),
        };
        let ordered = made.and_then(|(exec, order, streams)| {
            let key = self.order(&id, &order, streams, clock::mono() + OUTPUT_WAITS)?;
            self.execs.insert(key, exec);
            Ok(())
        });
        if let Err(error) = ordered {
            self.answer_exec((asker, Err(error)));
        }
    }

    pub(super) fn open_exec(&mut self, asker: Asker, id: ContainerId, request: SessionRequest) {
        let made = match self.live.get(&id).and_then(Container::running) {
            Some(place) => Session::new(id.clone(), &place, request, asker),
            None => Err(ExecError::NotRunning(id.clone())),
        };
        let ordered = made.and_then(|(session, order, streams)| {
            let key = self.order(&id, &order, streams, clock::mono())?;
            self.sessions.insert(key, session);
            Ok(())
        });
        if let Err(error) = ordered {
            self.answer_session((asker, Err(error)));
        }
    }

    /// Orders a command of the container's runner; answers with a number of its own.
    fn order(
        &mut self,
        id: &ContainerId,
        order: &runner::Order,
        streams: Vec<OwnedFd>,
        answered_from: Mono,
    ) -> Result<u64, ExecError> {
        let container = self.live.get_mut(id);
        let container = container.ok_or_else(|| ExecError::NotRunning(id.clone()))?;
        let runner = container.runner().map_err(|errno: Errno| {
            ExecError::Runtime(format!("start command: {}", text::reason(errno)))
        })?;
        let key = self.next_exec;
        self.next_exec += 1;
        runner.order(key, order, streams, answered_from);
        Ok(key)
    }

    /// A container's runner has answered, or is gone.
    pub(super) fn runner_ready(&mut self, id: &ContainerId) {
        let Some((answers, stands)) = self.live.get_mut(id).and_then(Container::take_answers)
        else {
            return;
        };
        for (key, answer) in answers {
            match answer {
                runner::Answer::Begun(pid) => {
                    if let Some(command) = Running::of(pid) {
                        self.begin(key, command);
                    }
                }
                runner::Answer::NotExecuted(text, process) => {
                    self.strays.extend(process.and_then(Running::of));
                    self.refuse(key, ExecError::Command(text));
                    self.reap_strays();
                }
                runner::Answer::Broken(text) => self.refuse(key, ExecError::Runtime(text)),
            }
        }
        if !stands {
            self.lose_runner(id);
        }
        // What has begun may have ended, and have told of that before it could be understood.
        self.end_commands();
    }

    /// Does without the container's runner, whatever it was about to do.
    pub(super) fn lose_runner(&mut self, id: &ContainerId) {
        let Some(runner) = self.live.get_mut(id).and_then(Container::forget_runner) else {
            return;
        };
        let (ending, lost) = runner.give_up();
        self.strays.extend(ending);
        for key in lost {
            let text = "the process that starts the container's commands has ended";
            self.refuse(key, ExecError::Runtime(text.into()));
        }
    }

    fn begin(&mut self, key: u64, command: Running) {
        if let Some(exec) = self.execs.get_mut(&key) {
            exec.begin(command);
        } else if let Some(session) = self.sessions.get_mut(&key)
            && let Some(opened) = session.begin(command)
        {
            self.answer_session(opened);
        }
    }

    /// Ends a command that has not been executed. The reason is another if the container has ended.
    fn refuse(&mut self, key: u64, error: ExecError) {
        let exec = self.execs.remove(&key);
        let session = self.sessions.remove(&key);
        let of_exec = exec.as_ref().map(|exec| exec.container.clone());
        let of_session = session.as_ref().map(|session| session.container.clone());
        let Some(id) = of_exec.or(of_session) else {
            return;
        };
        let error = match error {
            ExecError::Runtime(_) if !runs(&mut self.live, &id) => ExecError::NotRunning(id),
            error => error,
        };
        if let Some(exec) = exec {
            self.answer_exec(exec.refuse(error));
        } else if let Some(opened) = session.and_then(|session| session.refuse(error)) {
            self.answer_session(opened);
        }
    }

    /// Some child has ended: a command, what has ended one, or a runner.
    pub(super) fn children_have_ended(&mut self) {
        sys::children_have_ended(&self.child_signals);
        let with_runner = self
            .live
            .iter()
            .filter(|(_, container)| container.has_runner());
        for id in with_runner.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.runner_ready(&id);
        }
        self.end_commands();
        self.reap_strays();
    }

    /// Answers for those that are over.
    fn end_commands(&mut self) {
        let live = &mut self.live;
        let mut answers = Vec::new();
        self.execs.retain(|_, exec| {
            let id = exec.container.clone();
            let answered = exec.take_end(|| runs(live, &id));
            let over = answered.is_some();
            answers.extend(answered);
            !over
        });
        self.sessions.retain(|_, session| !session.take());
        for answered in answers {
            self.answer_exec(answered);
        }
    }

    pub(super) fn exec_ready(&mut self, key: u64, stream: usize) {
        if let Some(exec) = self.execs.get_mut(&key) {
            exec.take_output(stream);
        }
    }

    /// Of commands that take too long, or never begin.
    pub(super) fn keep_command_deadlines(&mut self, now: Mono) {
        let due = self.execs.iter().filter(|(_, exec)| exec.is_due(now));
        for key in due.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.exec_due(key);
        }
        let due = self
            .sessions
            .iter()
            .filter(|(_, session)| session.deadline() <= now);
        let due: Vec<_> = due.map(|(_, session)| session.container.clone()).collect();
        for id in due {
            self.lose_runner(&id);
        }
    }

    fn exec_due(&mut self, key: u64) {
        let Some(exec) = self.execs.get(&key) else {
            return;
        };
        let id = exec.container.clone();
        if exec.is_ending() {
            if let Some((answered, left)) = self.execs.remove(&key).map(Exec::give_up) {
                self.strays.extend(left);
                self.answer_exec(answered);
            }
            return;
        }
        if !exec.has_begun() {
            // Its answer may have come just now.
            self.runner_ready(&id);
        }
        let Some(exec) = self.execs.get_mut(&key) else {
            return;
        };
        let has_begun = exec.has_begun();
        if let Some(answered) = exec.end() {
            self.execs.remove(&key);
            self.answer_exec(answered);
        }
        if !has_begun {
            // Somebody in the container has stopped it, or its program comes from a disk that does not answer.
            self.lose_runner(&id);
        }
    }

    /// Reaps what nobody waits for.
    pub(super) fn reap_strays(&mut self) {
        self.strays.retain(|stray| stray.reap().is_none());
    }

    pub(super) fn attach(&mut self, asker: Asker, id: ContainerId, streams: Streams) {
        let container = self.live.get_mut(&id);
        let joined = match container.filter(|it| it.running().is_some()) {
            Some(container) => container
                .attach(streams, &mut self.attachments)
                .map_err(|errno| ExecError::Runtime(format!("attach: {}", text::reason(errno)))),
            None => Err(ExecError::NotRunning(id)),
        };
        self.answer_session((asker, joined));
    }

    fn answer_exec(&mut self, (asker, answer): Answered) {
        self.agents
            .answer(asker, Answer::Executed(answer), Vec::new());
    }

    fn answer_session(&mut self, (asker, opened): session::Opened) {
        let (answer, fds) = match opened {
            Ok(near) => (Ok(near.kinds), near.fds),
            Err(error) => (Err(error), Vec::new()),
        };
        self.agents.answer(asker, Answer::Session(answer), fds);
    }
}

/// Whether a container runs: one that ends takes its commands with it, so what its init has said about that is older
/// than their ends.
fn runs(live: &mut BTreeMap<ContainerId, Container>, id: &ContainerId) -> bool {
    live.get_mut(id).is_some_and(|container| {
        container.read_channel();
        container.running().is_some()
    })
}
