//! What the shim does about commands beside a container's main program, and about those who join that.

use probelet_model::id::ContainerId;
use probelet_runtime::{ExecError, ExecRequest, SessionRequest, Streams};

use super::container::Container;
use super::exec::Exec;
use super::session::Session;
use super::{Asker, Shim, exec, session};
use crate::protocol::Answer;
use crate::text;

impl Shim {
    pub(super) fn exec(&mut self, asker: Asker, id: ContainerId, request: ExecRequest) {
        let Some(place) = self.live.get(&id).and_then(Container::running) else {
            return self.agents.answer(
                asker,
                Answer::Executed(Err(ExecError::NotRunning(id))),
                Vec::new(),
            );
        };
        match Exec::start(&mut self.stack, self.privilege, id, place, &request, asker) {
            Ok(exec) => {
                self.execs.insert(self.next_exec, exec);
                self.next_exec += 1;
            }
            Err(error) => self
                .agents
                .answer(asker, Answer::Executed(Err(error)), Vec::new()),
        }
    }

    pub(super) fn exec_ready(&mut self, key: u64, part: exec::Part) {
        let Some(exec) = self.execs.get_mut(&key) else {
            return;
        };
        // A container that ends takes its commands with it, so what its init has said about that is older.
        let container = self.live.get_mut(&exec.container);
        let running = container.is_some_and(|container| {
            container.read_channel();
            container.running().is_some()
        });
        let over = part == exec::Part::Guardian && exec.reap();
        let answer = exec.take(part, running);
        if over {
            self.execs.remove(&key);
        }
        if let Some((asker, answer)) = answer {
            self.agents
                .answer(asker, Answer::Executed(answer), Vec::new());
        }
    }

    pub(super) fn open_exec(&mut self, asker: Asker, id: ContainerId, request: SessionRequest) {
        let started = match self.live.get(&id).and_then(Container::running) {
            Some(place) => {
                Session::start(&mut self.stack, self.privilege, id, place, &request, asker)
            }
            None => Err(ExecError::NotRunning(id)),
        };
        match started {
            Ok(session) => {
                self.sessions.insert(self.next_exec, session);
                self.next_exec += 1;
            }
            Err(error) => self.answer_session((asker, Err(error))),
        }
    }

    pub(super) fn session_ready(&mut self, key: u64, part: session::Part) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let container = self.live.get_mut(&session.container);
        let container_runs = container.is_some_and(|container| {
            container.read_channel();
            container.running().is_some()
        });
        let over = part == session::Part::Guardian && session.reap();
        let opened = session.take(container_runs);
        if over {
            self.sessions.remove(&key);
        }
        if let Some(opened) = opened {
            self.answer_session(opened);
        }
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

    fn answer_session(&mut self, (asker, opened): session::Opened) {
        let (answer, fds) = match opened {
            Ok(near) => (Ok(near.kinds), near.fds),
            Err(error) => (Err(error), Vec::new()),
        };
        self.agents.answer(asker, Answer::Session(answer), fds);
    }
}
