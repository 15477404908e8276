//! What the shim does about commands beside a container's main program, and about those who join that.

use probelet_model::id::ContainerId;
use probelet_model::time::Mono;
use probelet_runtime::{ExecError, ExecOutput, ExecRequest, SessionRequest, Streams};
use rustix::io::Errno;

use super::container::Container;
use super::runner::{self, Runner, Told};
use super::running::Running;
use super::session::{self, Session};
use super::{Asker, Shim};
use crate::layout::KILLED;
use crate::protocol::{Answer, Ending};
use crate::{sys, text};

impl Shim {
    /// An attempt of an agent that knows no exec channels.
    pub(super) fn exec(&mut self, asker: Asker, id: &ContainerId, request: ExecRequest) {
        let attempt = self.next_attempt;
        match self.runner_of(id) {
            Ok(runner) => {
                runner.relay(attempt, request, asker);
                self.next_attempt = attempt.wrapping_add(1) % crate::attempt::first_id(1);
            }
            Err(error) => self.answer_exec(asker, Err(error)),
        }
    }

    /// A way to the container's runner, for the agent.
    pub(super) fn open_exec_channel(&mut self, asker: Asker, id: &ContainerId) {
        let opened = self.runner_of(id).and_then(|runner| {
            let channel = runner.exec_channel();
            channel.map_err(|errno: Errno| {
                ExecError::Runtime(format!("start command: {}", text::reason(errno)))
            })
        });
        let (answer, fds) = match opened {
            Ok((near, number)) => (Ok(number), vec![near]),
            Err(error) => (Err(error), Vec::new()),
        };
        self.agents.answer(asker, Answer::ExecChannel(answer), fds);
    }

    /// An attempt's time is over. Nobody may have asked: its agent may have died.
    pub(super) fn end_attempt(&mut self, id: &ContainerId, attempt: u32, asker: Option<Asker>) {
        let runner = self.live.get_mut(id);
        let runner = runner.and_then(Container::standing_runner_mut);
        let ending = match runner {
            Some(runner) => runner.end_attempt(attempt, asker),
            None => Some(Ending::Gone),
        };
        if let (Some(ending), Some(asker)) = (ending, asker) {
            self.answer_end((asker, ending));
        }
    }

    pub(super) fn open_exec(&mut self, asker: Asker, id: &ContainerId, request: SessionRequest) {
        let key = self.next_key;
        self.next_key += 1;
        let made = match self.live.get(id).and_then(Container::running) {
            Some(place) => Session::new(id.clone(), &place, key, request, asker),
            None => Err(ExecError::NotRunning(id.clone())),
        };
        let started = made.and_then(|(session, command, streams)| {
            self.runner_of(id)?.start_command(command, streams);
            self.sessions.insert(key, session);
            Ok(())
        });
        if let Err(error) = started {
            self.answer_session((asker, Err(error)));
        }
    }

    /// The runner of a container that runs.
    fn runner_of(&mut self, id: &ContainerId) -> Result<&mut Runner, ExecError> {
        let not_running = || ExecError::NotRunning(id.clone());
        let container = self.live.get_mut(id).ok_or_else(not_running)?;
        if container.running().is_none() {
            return Err(not_running());
        }
        container
            .runner()
            .map_err(|errno| ExecError::Runtime(format!("start command: {}", text::reason(errno))))
    }

    /// A container's runner has told something, or is gone.
    pub(super) fn runner_ready(&mut self, id: &ContainerId) {
        let runner = self.live.get_mut(id);
        let Some(runner) = runner.and_then(Container::standing_runner_mut) else {
            return;
        };
        let (all, stands) = runner.take();
        for told in all {
            match told {
                Told::Begun(key, pid) => {
                    if let Some(command) = Running::of(pid) {
                        self.begin(key, command);
                    }
                }
                Told::NotExecuted(key, text, process) => {
                    self.strays.extend(process.and_then(Running::of));
                    self.refuse(key, ExecError::Command(text));
                    self.reap_strays();
                }
                Told::Broken(key, text) => self.refuse(key, ExecError::Runtime(text)),
                Told::Attempted(attempt, outcome) => self.relayed(id, attempt, outcome),
                Told::Overdue(attempt) => self.end_attempt(id, attempt, None),
                Told::Heard => {}
            }
        }
        if !stands {
            self.lose_runner(id);
        }
        // What has begun may have ended, and have told of that before it could be understood.
        self.end_commands();
    }

    fn relayed(&mut self, id: &ContainerId, attempt: u32, outcome: crate::attempt::Outcome) {
        let runner = self.live.get_mut(id);
        let runner = runner.and_then(Container::standing_runner_mut);
        let Some(asker) = runner.and_then(|runner| runner.take_relayed(attempt)) else {
            return;
        };
        let lost = match &outcome {
            Ok(output) => output.exit_code == KILLED,
            Err(error) => matches!(error, ExecError::Runtime(_)),
        };
        let outcome = if lost && !self.runs(id) {
            Err(ExecError::NotRunning(id.clone()))
        } else {
            outcome
        };
        self.answer_exec(asker, outcome);
    }

    /// Does without the container's runner, whatever it was about to do.
    pub(super) fn lose_runner(&mut self, id: &ContainerId) {
        let Some(runner) = self.live.get_mut(id).and_then(Container::forget_runner) else {
            return;
        };
        let left = runner.give_up();
        self.strays.extend(left.ending);
        left.ended
            .into_iter()
            .for_each(|ended| self.answer_end(ended));
        let lost = || ExecError::Runtime(runner::LOST.into());
        for key in left.commands {
            self.refuse(key, lost());
        }
        for asker in left.relayed {
            let error = self.reason(id, lost());
            self.answer_exec(asker, Err(error));
        }
    }

    fn begin(&mut self, key: u64, command: Running) {
        if let Some(session) = self.sessions.get_mut(&key)
            && let Some(opened) = session.begin(command)
        {
            self.answer_session(opened);
        }
    }

    /// Ends a command that has not been executed.
    fn refuse(&mut self, key: u64, error: ExecError) {
        let Some(session) = self.sessions.remove(&key) else {
            return;
        };
        let error = self.reason(&session.container, error);
        if let Some(opened) = session.refuse(error) {
            self.answer_session(opened);
        }
    }

    /// The reason is another if the container has ended.
    fn reason(&mut self, id: &ContainerId, error: ExecError) -> ExecError {
        match error {
            ExecError::Runtime(_) if !self.runs(id) => ExecError::NotRunning(id.clone()),
            error => error,
        }
    }

    /// Whether a container runs: one that ends takes its commands with it, so what its init has said about that, or
    /// the kernel, is older than their ends.
    pub(super) fn runs(&mut self, id: &ContainerId) -> bool {
        self.live.get_mut(id).is_some_and(|container| {
            container.read_channel();
            container.running().is_some() && !container.is_about_to_end()
        })
    }

    /// Some child has ended: a command, what has ended one, or a runner.
    pub(super) fn children_have_ended(&mut self) {
        sys::children_have_ended(&self.child_signals);
        for id in self.with_runner() {
            self.runner_ready(&id);
        }
        self.take_ended_attempts(Mono(0));
        self.end_commands();
        self.reap_strays();
    }

    fn with_runner(&self) -> Vec<ContainerId> {
        let live = self.live.iter();
        let with_runner = live.filter(|(_, container)| container.standing_runner().is_some());
        with_runner.map(|(id, _)| id.clone()).collect()
    }

    fn take_ended_attempts(&mut self, now: Mono) {
        let mut answers = Vec::new();
        for container in self.live.values_mut() {
            if let Some(runner) = container.standing_runner_mut() {
                let (ended, left) = runner.take_ended(now);
                answers.extend(ended);
                self.strays.extend(left);
            }
        }
        answers.into_iter().for_each(|ended| self.answer_end(ended));
    }

    /// Answers for those that are over.
    fn end_commands(&mut self) {
        self.sessions.retain(|_, session| !session.take());
    }

    /// Of commands that take too long, or never begin.
    pub(super) fn keep_command_deadlines(&mut self, now: Mono) {
        let runners = self.live.values().filter_map(Container::standing_runner);
        let deadlines = runners.filter_map(Runner::deadline);
        if deadlines.min().is_some_and(|at| at <= now) {
            self.take_ended_attempts(now);
            self.lose_stuck_runners(now);
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

    fn lose_stuck_runners(&mut self, now: Mono) {
        let is_stuck = |container: &Container| {
            let runner = container.standing_runner();
            runner.is_some_and(|runner| runner.is_stuck(now))
        };
        let stuck = self.live.iter().filter(|(_, it)| is_stuck(it));
        for id in stuck.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
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

    fn answer_exec(&mut self, asker: Asker, outcome: Result<ExecOutput, ExecError>) {
        self.agents
            .answer(asker, Answer::Executed(outcome), Vec::new());
    }

    fn answer_end(&mut self, (asker, ending): runner::Ended) {
        self.agents
            .answer(asker, Answer::AttemptEnded(ending), Vec::new());
    }

    fn answer_session(&mut self, (asker, opened): session::Opened) {
        let (answer, fds) = match opened {
            Ok(near) => (Ok(near.kinds), near.fds),
            Err(error) => (Err(error), Vec::new()),
        };
        self.agents.answer(asker, Answer::Session(answer), fds);
    }
}
