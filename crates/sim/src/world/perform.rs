//! Effects carried out.

use std::sync::Arc;
use std::time::Duration;

use probelet_engine::effect::{Effect, HookMoment};
use probelet_engine::input::{
    AttemptId, ContainerFailure, Image, ImageFailure, Input, OperationId, PodFailure,
};
use probelet_model::id::{ContainerId, ContainerName, PodUid};
use probelet_model::pod::{Hook, Pod};
use probelet_model::probe::{ProbeKind, ProberError};

use super::attempt::{Cut, Target, attempt};
use super::sandbox::{Question, RunBegins};
use super::{Call, What, World};
use crate::script::{HookScript, OnTerm, Pull, Run};

/// What goes wrong with one effect beside what scripts say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// It takes effect and is answered so much later. A stop and a removal are not slow.
    Slow(Duration),
    /// It takes effect, and its answer never comes.
    Lost,
    /// It takes effect, and is answered twice. Only attempts, hooks and starts of pods are.
    Twice,
    /// It takes no effect, and the answer is the runtime's error. Of a stop nobody hears.
    Fails(String),
}

impl Fault {
    fn delay(&self) -> Duration {
        match self {
            Self::Slow(delay) => *delay,
            Self::None | Self::Lost | Self::Twice | Self::Fails(_) => Duration::ZERO,
        }
    }
}

impl World {
    /// Carries out an effect under a fault; gives back those that are none of the world's business:
    /// what is to be remembered, committed, recorded and told.
    pub fn perform(&mut self, effect: Effect, fault: Fault) -> Option<Effect> {
        match effect {
            Effect::StartPod { operation, pod } => self.start_pod(operation, &pod, fault),
            Effect::LookUpImage {
                operation,
                pod,
                container,
                image,
            } => self.look_up_image(operation, pod.uid.clone(), &container, &image, fault),
            Effect::PullImage {
                operation,
                pod,
                container,
                image,
            } => self.pull_image(operation, pod.uid.clone(), &container, image, fault),
            Effect::StartContainer {
                operation,
                pod,
                container,
                id,
                restart_count,
                image: _,
            } => self.start_container(
                RunBegins {
                    sandbox: self.pods.get(&pod.uid).and_then(|pod| pod.sandbox()),
                    pod: pod.uid.clone(),
                    operation,
                    id,
                    name: container,
                    restart_count,
                    lost: fault == Fault::Lost,
                },
                fault,
            ),
            Effect::RunHook {
                operation,
                pod,
                container: _,
                id,
                hook,
                moment,
                timeout,
            } => {
                let asked = AskedHook {
                    operation,
                    pod: pod.uid.clone(),
                    id,
                    hook,
                    moment,
                    timeout,
                };
                self.run_hook(asked, fault);
            }
            Effect::StopContainer {
                pod,
                container,
                grace,
            } => self.stop_container(&pod, &container, grace, &fault),
            Effect::RemovePod { operation, pod } => self.remove_pod(operation, pod, fault),
            Effect::StartAttempt {
                attempt,
                pod,
                container,
                id,
                kind,
            } => self.start_attempt(attempt, pod, &container, &id, kind, fault),
            effect @ (Effect::Remember { .. }
            | Effect::Commit(_)
            | Effect::Event(_)
            | Effect::Report(_)
            | Effect::PodEnded { .. }) => return Some(effect),
        }
        None
    }

    fn start_pod(&mut self, operation: OperationId, pod: &Pod, fault: Fault) {
        let Some(world) = self.pods.get(&pod.uid) else {
            return;
        };
        let answer = |result| Input::PodStarted {
            pod: pod.uid.clone(),
            operation,
            result,
        };
        let stands = answer(Ok(world.ip().into()));
        let delay = fault.delay();
        let input = match fault {
            Fault::Fails(reason) => {
                let input = answer(Err(PodFailure::Sandbox(reason)));
                return self.call(Duration::ZERO, Call::Known(input));
            }
            Fault::Lost => None,
            Fault::Twice => {
                self.call(Duration::ZERO, Call::Known(stands.clone()));
                Some(stands)
            }
            Fault::None | Fault::Slow(_) => Some(stands),
        };
        let pod = pod.uid.clone();
        self.call(delay, Call::SandboxStands { pod, input });
    }

    fn remove_pod(&mut self, operation: OperationId, pod: PodUid, fault: Fault) {
        let answer = |result| Input::PodRemoved {
            pod: pod.clone(),
            operation,
            result,
        };
        let input = match fault {
            Fault::Fails(reason) => {
                let input = answer(Err(reason));
                return self.call(Duration::ZERO, Call::Known(input));
            }
            Fault::Lost => None,
            Fault::None | Fault::Slow(_) | Fault::Twice => Some(answer(Ok(()))),
        };
        self.call(Duration::ZERO, Call::SandboxIsGone { pod, input });
    }

    fn look_up_image(
        &mut self,
        operation: OperationId,
        pod: PodUid,
        name: &ContainerName,
        image: &str,
        fault: Fault,
    ) {
        let world = self.pods.get(&pod);
        let lacks = world.is_some_and(|world| world.lacks_image(name));
        let absent = self.absent.contains(image) || (lacks && !self.pulled.contains(image));
        let there = (!absent).then(|| known_image(image));
        let delay = fault.delay();
        let result = match fault {
            Fault::Lost => return,
            Fault::Fails(reason) => Err(ImageFailure::Failed(reason)),
            Fault::None | Fault::Slow(_) | Fault::Twice => Ok(there),
        };
        let input = Input::ImageLookedUp {
            pod,
            operation,
            result,
        };
        self.call(delay, Call::Known(input));
    }

    fn pull_image(
        &mut self,
        operation: OperationId,
        pod: PodUid,
        name: &ContainerName,
        image: String,
        fault: Fault,
    ) {
        let world = self.pods.get_mut(&pod);
        let script = world.map_or_else(Pull::default, |world| world.next_pull(name));
        let pulled = known_image(&image);
        let answer = |result| Input::ImagePulled {
            pod,
            operation,
            result,
        };
        let delay = script.after.saturating_add(fault.delay());
        if let Some(reason) = script.fails {
            let input = answer(Err(ImageFailure::Failed(reason)));
            return self.call(delay, Call::Known(input));
        }
        let input = match fault {
            Fault::Fails(reason) => {
                let input = answer(Err(ImageFailure::Failed(reason)));
                return self.call(Duration::ZERO, Call::Known(input));
            }
            Fault::Lost => None,
            Fault::Twice => {
                let input = answer(Ok(pulled));
                self.call(Duration::ZERO, Call::Known(input.clone()));
                Some(input)
            }
            Fault::None | Fault::Slow(_) => Some(answer(Ok(pulled))),
        };
        self.call(delay, Call::ImageIsThere { image, input });
    }

    fn start_container(&mut self, begins: RunBegins, fault: Fault) {
        if let Fault::Fails(reason) = fault {
            let input = Input::ContainerStarted {
                pod: begins.pod,
                operation: begins.operation,
                result: Err(ContainerFailure::Create(reason)),
            };
            return self.call(Duration::ZERO, Call::Known(input));
        }
        let world = self.pods.get(&begins.pod);
        let script = world.and_then(|world| world.script(&begins.name, begins.restart_count));
        let takes = script.map_or(Duration::ZERO, |run| run.start_after) + fault.delay();
        self.call(takes, Call::RunBegins(Box::new(begins)));
    }

    /// A start takes effect: in the sandbox it was asked for, if that still stands.
    pub(super) fn begin_run(&mut self, begins: RunBegins) -> Option<Input> {
        let now = self.now();
        let world = self.pods.get_mut(&begins.pod)?;
        let script = world.script(&begins.name, begins.restart_count);
        let fails = script.and_then(|run| run.start_fails.clone());
        let exit = script.and_then(|run| run.exit);
        let result = if begins.sandbox.is_none() || world.sandbox() != begins.sandbox {
            let reason = format!("pod {} has no sandbox", begins.pod);
            Err(ContainerFailure::Create(reason))
        } else if let Some(reason) = fails {
            Err(ContainerFailure::Start(reason))
        } else {
            world.begin(&begins, now.wall, now.mono);
            if let Some(exit) = exit {
                let ends = What::RunEnds {
                    pod: begins.pod.clone(),
                    id: begins.id,
                    code: exit.code,
                    signal: exit.out_of_memory.then_some(9),
                    out_of_memory: exit.out_of_memory,
                };
                self.later(exit.at, ends);
            }
            Ok(now.wall)
        };
        (!begins.lost).then_some(Input::ContainerStarted {
            pod: begins.pod,
            operation: begins.operation,
            result,
        })
    }

    fn run_hook(&mut self, asked: AskedHook, fault: Fault) {
        let running = self
            .pods
            .get(&asked.pod)
            .and_then(|pod| pod.running(&asked.id));
        let takes = match running {
            None => Some((Duration::ZERO, Err("the container does not run".to_owned()))),
            Some((run, _)) => asked.takes(run),
        };
        let (takes, result) = match (takes, fault) {
            (_, Fault::Lost) => return,
            (None, Fault::None | Fault::Slow(_) | Fault::Twice) => {
                // Only the end of the run answers.
                self.note_under_way(&asked.pod, &asked.id, Question::Hook(asked.operation));
                return;
            }
            (_, Fault::Fails(reason)) => (Duration::ZERO, Err(reason)),
            (Some((takes, result)), Fault::Slow(delay)) => (takes + delay, result),
            (Some((takes, result)), Fault::Twice) => {
                let input = asked.answer(result.clone());
                self.call(takes, Call::Known(input));
                (takes, result)
            }
            (Some(answer), Fault::None) => answer,
        };
        let input = asked.answer(result);
        let question = Question::Hook(asked.operation);
        self.call_of_run(takes, &asked.pod, &asked.id, question, input);
    }

    /// TERM now, KILL after the grace; asked again, KILL can only come sooner.
    fn stop_container(&mut self, pod: &PodUid, id: &ContainerId, grace: Duration, fault: &Fault) {
        if matches!(fault, Fault::Fails(_)) {
            return;
        }
        let Some((first, run)) = self.pods.get_mut(pod).and_then(|pod| pod.term(id)) else {
            return;
        };
        let on_term = run.map_or_else(OnTerm::default, |run| run.on_term);
        let ends = |code, signal| What::RunEnds {
            pod: pod.clone(),
            id: id.clone(),
            code,
            signal,
            out_of_memory: false,
        };
        if first && !grace.is_zero() {
            match on_term {
                OnTerm::Dies => self.later(Duration::ZERO, ends(143, Some(15))),
                OnTerm::Exits { after, code } => self.later(after, ends(code, None)),
                OnTerm::Ignores => {}
            }
        }
        self.later(grace, ends(137, Some(9)));
    }

    fn start_attempt(
        &mut self,
        id: AttemptId,
        pod: Arc<Pod>,
        name: &ContainerName,
        container: &ContainerId,
        kind: ProbeKind,
        fault: Fault,
    ) {
        let since = self.now().mono;
        let default = Run::default();
        let world = self.pods.get(&pod.uid);
        let spec = pod.container(name.as_str());
        let (Some(world), Some(spec)) = (world, spec) else {
            return;
        };
        let Some(probe) = spec.probe(kind) else {
            return;
        };
        let running = world.running(container);
        let target = Target {
            spec,
            id: container,
            ip: world.ip(),
            run: running.map(|(run, began)| (run.unwrap_or(&default), since.since(began))),
        };
        let seen = attempt(&target, probe);
        let twice = fault == Fault::Twice;
        let (takes, result) = match fault {
            Fault::Lost => return,
            Fault::Fails(message) => (Duration::ZERO, Err(ProberError { message })),
            Fault::Slow(delay) => (seen.after + delay, seen.result),
            Fault::None | Fault::Twice => (seen.after, seen.result),
        };
        let input = Input::AttemptFinished {
            pod: pod.uid.clone(),
            attempt: id,
            result,
            duration: takes,
        };
        if twice {
            self.call(takes, Call::Known(input.clone()));
        }
        if takes.is_zero() || seen.cut == Cut::Unseen {
            return self.call(takes, Call::Known(input));
        }
        let uid = pod.uid.clone();
        let question = Question::Attempt {
            attempt: id,
            pod,
            kind,
            since,
        };
        self.call_of_run(takes, &uid, container, question, input);
    }

    /// A call that its run's end answers too, whichever comes first.
    fn call_of_run(
        &mut self,
        after: Duration,
        pod: &PodUid,
        id: &ContainerId,
        question: Question,
        input: Input,
    ) {
        let call = match self.note_under_way(pod, id, question) {
            Some(ticket) => Call::OfRun {
                pod: pod.clone(),
                id: id.clone(),
                ticket,
                input,
            },
            None => Call::Known(input),
        };
        self.call(after, call);
    }

    fn note_under_way(
        &mut self,
        pod: &PodUid,
        id: &ContainerId,
        question: Question,
    ) -> Option<u64> {
        let agent = self.agents;
        self.pods.get_mut(pod)?.waits(id, agent, question)
    }
}

/// An image, as a store of images knows it.
fn known_image(image: &str) -> Image {
    Image {
        id: format!("sha256:{image}"),
        name: image.to_owned(),
        status_id: format!("{image}@sha256:{image}"),
        size: 1 << 20,
    }
}

/// A hook that was asked for.
#[derive(Debug)]
struct AskedHook {
    operation: OperationId,
    pod: PodUid,
    id: ContainerId,
    hook: Hook,
    moment: HookMoment,
    timeout: Option<Duration>,
}

impl AskedHook {
    /// How long it takes, and how it ends; `None` if it never does.
    fn takes(&self, run: Option<&Run>) -> Option<(Duration, Result<(), String>)> {
        let script = run.map(|run| match self.moment {
            HookMoment::PostStart => &run.post_start,
            HookMoment::PreStop => &run.pre_stop,
        });
        let (takes, result) = match (&self.hook, script) {
            (Hook::Sleep(duration), _) => (*duration, Ok(())),
            (Hook::Handler(_), None) => (Duration::ZERO, Ok(())),
            (Hook::Handler(_), Some(HookScript::Ends { after, code: 0 })) => (*after, Ok(())),
            (Hook::Handler(_), Some(HookScript::Ends { after, code })) => {
                (*after, Err(format!("command exited with {code}")))
            }
            (Hook::Handler(_), Some(HookScript::Hangs)) => (Duration::MAX, Ok(())),
        };
        match self.timeout {
            Some(limit) if takes >= limit => Some((limit, Err("timed out".to_owned()))),
            _ if takes == Duration::MAX => None,
            _ => Some((takes, result)),
        }
    }

    fn answer(&self, result: Result<(), String>) -> Input {
        Input::HookFinished {
            pod: self.pod.clone(),
            operation: self.operation,
            result,
        }
    }
}
