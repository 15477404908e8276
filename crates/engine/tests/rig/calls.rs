//! What the rig does with the engine's effects: notes them, and lets the world answer when it will.

use std::time::Duration;

use probelet_engine::effect::Effect;
use probelet_engine::input::Input;
use probelet_engine::report::What;
use probelet_model::id::{ContainerId, PodUid};
use probelet_model::time::Now;

use super::plan::HookPlan;
use super::trace::Seen;
use super::world::RunRecord;
use super::{Call, Coming, Rig};

impl Rig {
    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Remember { pod, memory } => {
                let text = serde_json::to_string(&memory).expect("memories can be written");
                self.memories.insert(pod.clone(), text);
                self.note(Seen::Remember { pod, memory });
            }
            Effect::Commit(commit) => {
                for (pod, status) in commit.statuses {
                    let text = serde_json::to_string(&*status).expect("statuses can be written");
                    self.statuses.insert(pod.clone(), text);
                    self.note(Seen::Status { pod, status });
                }
                for change in commit.endpoints {
                    self.note(Seen::Endpoints(change));
                }
            }
            Effect::StartPod { operation, pod } => {
                let (takes, result) = self.world.make_sandbox(&pod.uid);
                let result = result.map(Into::into);
                let pod = pod.uid.clone();
                self.note(Seen::StartPod);
                let stands = result.is_ok();
                let input = Input::PodStarted {
                    pod: pod.clone(),
                    operation,
                    result,
                };
                let call = if stands {
                    Call::SandboxStands(pod, input)
                } else {
                    Call::Answer(input)
                };
                self.call(takes, call);
            }
            Effect::LookUpImage {
                operation,
                pod,
                container,
                image,
            } => {
                self.note(Seen::LookUp { container });
                let input = Input::ImageLookedUp {
                    pod: pod.uid.clone(),
                    operation,
                    result: self.world.images.look_up(&image),
                };
                self.call(Duration::ZERO, Call::Answer(input));
            }
            Effect::PullImage {
                operation,
                pod,
                container,
                image,
            } => {
                self.note(Seen::Pull { container });
                let (takes, result) = self.world.images.pull(&image);
                let input = Input::ImagePulled {
                    pod: pod.uid.clone(),
                    operation,
                    result,
                };
                self.call(takes, Call::Answer(input));
            }
            Effect::StartContainer {
                operation,
                pod,
                container,
                id,
                restart_count,
                ..
            } => {
                let life = self.world.next_life(&pod.uid, &container);
                let takes = life.start_takes;
                self.note(Seen::Start {
                    container: container.clone(),
                    id: id.clone(),
                    restart_count,
                });
                let Now { mono, wall } = self.now();
                let run = Box::new(RunRecord {
                    id,
                    name: container,
                    restart_count,
                    started_at: wall,
                    since: mono,
                    life,
                    exit: None,
                    kill_at: None,
                });
                let pod = pod.uid.clone();
                let sandbox = self.world.sandbox(&pod);
                self.call(
                    takes,
                    Call::RunBegins {
                        pod,
                        sandbox,
                        operation,
                        run,
                    },
                );
            }
            Effect::RunHook {
                operation,
                pod,
                container,
                moment,
                timeout,
                ..
            } => {
                let hook = self.world.hook(&pod.uid, &container, moment);
                self.note(Seen::Hook {
                    container,
                    moment,
                    timeout,
                });
                if let HookPlan::Ends(after, well) = hook {
                    let result = if well {
                        Ok(())
                    } else {
                        Err("exit 1".to_owned())
                    };
                    let pod = pod.uid.clone();
                    let input = Input::HookFinished {
                        pod,
                        operation,
                        result,
                    };
                    self.call(after, Call::Answer(input));
                }
            }
            Effect::StopContainer {
                pod,
                container,
                grace,
            } => {
                self.stop_run(&pod, &container, grace);
            }
            Effect::RemovePod { operation, pod } => {
                self.note(Seen::RemovePod);
                let well = self.world.removal_goes_well(&pod);
                let input = Input::PodRemoved {
                    pod: pod.clone(),
                    operation,
                    result: if well { Ok(()) } else { Err("busy".to_owned()) },
                };
                let call = if well {
                    Call::SandboxIsGone(pod, input)
                } else {
                    Call::Answer(input)
                };
                self.call(Duration::ZERO, call);
            }
            Effect::StartAttempt {
                attempt,
                pod,
                container,
                id,
                kind,
            } => {
                let now = self.now().mono;
                let (duration, result) = self.world.attempt(&pod.uid, &container, &id, kind, now);
                self.note(Seen::Attempt {
                    container,
                    kind,
                    id,
                });
                if let Some(result) = result {
                    let pod = pod.uid.clone();
                    let input = Input::AttemptFinished {
                        pod,
                        attempt,
                        result,
                        duration,
                    };
                    self.call(duration, Call::Answer(input));
                }
            }
            Effect::Event(event) => self.note(Seen::Event(event)),
            Effect::Report(report) => {
                let (container, kind) = (report.container, report.kind);
                match report.what {
                    What::Attempt {
                        verdict, changed, ..
                    } => {
                        self.note(Seen::Counted {
                            container,
                            kind,
                            verdict,
                            changed,
                        });
                    }
                    What::Skipped(skip) => self.note(Seen::Skipped {
                        container,
                        kind,
                        skip,
                    }),
                    What::Verdict(verdict) => self.note(Seen::Published {
                        container,
                        kind,
                        verdict,
                    }),
                    What::Error { .. } => {}
                }
            }
            Effect::PodEnded { pod, deleted } => {
                if deleted {
                    self.pods.remove(&pod);
                    self.statuses.remove(&pod);
                    self.memories.remove(&pod);
                }
                self.note(Seen::Ended { deleted });
            }
        }
    }

    /// TERM now, and KILL after the grace; asked again, KILL can only come sooner.
    fn stop_run(&mut self, pod: &PodUid, id: &ContainerId, grace: Duration) {
        let now = self.now().mono;
        let Some(run) = self.world.running(pod, id) else {
            return;
        };
        let first = run.kill_at.is_none();
        let kill_at = now + grace;
        run.kill_at = Some(run.kill_at.map_or(kill_at, |before| before.min(kill_at)));
        let (container, on_term) = (run.name.clone(), run.life.on_term);
        self.note(Seen::Stop { container, grace });
        let ends = |code, signal| Coming::RunEnds {
            pod: pod.clone(),
            id: id.clone(),
            code,
            signal: Some(signal),
        };
        if let (true, Some((after, code))) = (first, on_term) {
            self.later(after, ends(code, 15));
        }
        self.later(grace, ends(137, 9));
    }
}
