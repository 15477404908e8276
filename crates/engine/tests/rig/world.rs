//! What the engine decides about: sandboxes, runs of containers, and targets of probes, as planned.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use probelet_engine::effect::HookMoment;
use probelet_engine::input::{Exit, PodFailure, Standing, StandingContainer};
use probelet_model::id::{ContainerId, ContainerName, PodUid};
use probelet_model::pod::Pod;
use probelet_model::probe::{Outcome, OutcomeStatus, ProbeKind, ProberError};
use probelet_model::time::{Mono, Wall};

use super::images::Images;
use super::plan::{ContainerPlan, HookPlan, Life, PodPlan, SandboxFailure, Says};

/// All pods that somebody has planned.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) images: Images,
    pods: BTreeMap<PodUid, PodWorld>,
}

#[derive(Debug)]
struct PodWorld {
    ip: IpAddr,
    stands: bool,
    /// How many sandboxes there were.
    sandboxes: u32,
    sandbox_failures: Vec<SandboxFailure>,
    sandbox_takes: Duration,
    removal_failures: u32,
    actors: BTreeMap<ContainerName, Actor>,
    /// Oldest first.
    runs: Vec<RunRecord>,
}

#[derive(Debug)]
struct Actor {
    plan: ContainerPlan,
    /// How many starts were asked for.
    starts: usize,
    /// How many attempts each probe has made.
    attempts: BTreeMap<ProbeKind, usize>,
}

/// One run as the runtime knows it.
#[derive(Clone, Debug)]
pub(crate) struct RunRecord {
    pub(crate) id: ContainerId,
    pub(crate) name: ContainerName,
    pub(crate) restart_count: u32,
    pub(crate) started_at: Wall,
    pub(crate) since: Mono,
    pub(crate) life: Life,
    pub(crate) exit: Option<Exit>,
    /// When KILL comes, once TERM has.
    pub(crate) kill_at: Option<Mono>,
}

impl World {
    pub(crate) fn plan(&mut self, plan: &PodPlan) {
        let last = u8::try_from(self.pods.len() + 1).expect("few pods");
        let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        let actor = |plan: &ContainerPlan| Actor {
            plan: plan.clone(),
            starts: 0,
            attempts: BTreeMap::new(),
        };
        let world = PodWorld {
            ip,
            stands: false,
            sandboxes: 0,
            sandbox_failures: plan.sandbox_failures.clone(),
            sandbox_takes: plan.sandbox_takes,
            removal_failures: plan.removal_failures,
            actors: plan
                .containers
                .iter()
                .map(|plan| (plan.spec.name.clone(), actor(plan)))
                .collect(),
            runs: Vec::new(),
        };
        self.pods.entry(plan.pod.uid.clone()).or_insert(world);
    }

    fn pod(&mut self, uid: &PodUid) -> &mut PodWorld {
        self.pods.get_mut(uid).expect("the pod is planned")
    }

    fn actor(&mut self, uid: &PodUid, name: &ContainerName) -> &mut Actor {
        let actors = &mut self.pod(uid).actors;
        actors.get_mut(name).expect("the container is planned")
    }

    /// How long making the sandbox takes, and how it goes.
    pub(crate) fn make_sandbox(&mut self, uid: &PodUid) -> (Duration, Result<IpAddr, PodFailure>) {
        let pod = self.pod(uid);
        let result = if pod.sandbox_failures.is_empty() {
            Ok(pod.ip)
        } else {
            Err(match pod.sandbox_failures.remove(0) {
                SandboxFailure::Volume => PodFailure::Volume("no such directory".to_owned()),
                SandboxFailure::Other => PodFailure::Sandbox("no more namespaces".to_owned()),
            })
        };
        (pod.sandbox_takes, result)
    }

    pub(crate) fn sandbox_stands(&mut self, uid: &PodUid) {
        let pod = self.pod(uid);
        pod.stands = true;
        pod.sandboxes += 1;
    }

    /// Nothing of the sandbox is left, and no record of what was in it.
    pub(crate) fn sandbox_goes(&mut self, uid: &PodUid) {
        let pod = self.pod(uid);
        pod.stands = false;
        pod.runs.clear();
    }

    /// Which sandbox stands, if one does.
    pub(crate) fn sandbox(&self, uid: &PodUid) -> Option<u32> {
        let pod = self.pods.get(uid)?;
        pod.stands.then_some(pod.sandboxes)
    }

    /// The life that the next run is to have.
    pub(crate) fn next_life(&mut self, uid: &PodUid, name: &ContainerName) -> Life {
        let actor = self.actor(uid, name);
        let last = actor.plan.lives.len() - 1;
        let life = actor.plan.lives[actor.starts.min(last)].clone();
        actor.starts += 1;
        life
    }

    /// What a hook does.
    pub(crate) fn hook(
        &mut self,
        uid: &PodUid,
        name: &ContainerName,
        moment: HookMoment,
    ) -> HookPlan {
        let actor = self.actor(uid, name);
        match moment {
            HookMoment::PreStop => actor.plan.hook,
            HookMoment::PostStart => {
                let hooks = &actor.plan.post_start;
                // The run that the hook is of has been counted already.
                hooks[(actor.starts - 1).min(hooks.len() - 1)]
            }
        }
    }

    /// Whether the removal of the sandbox goes well this time.
    pub(crate) fn removal_goes_well(&mut self, uid: &PodUid) -> bool {
        let failures = &mut self.pod(uid).removal_failures;
        let well = *failures == 0;
        *failures = failures.saturating_sub(1);
        well
    }

    pub(crate) fn run_begins(&mut self, uid: &PodUid, run: RunRecord) {
        let pod = self.pod(uid);
        assert!(pod.stands, "a container is started only in a sandbox");
        let others = pod.runs.iter().filter(|other| other.name == run.name);
        assert!(
            others.clone().all(|other| other.exit.is_some()),
            "one run of a container at a time"
        );
        assert!(
            others.clone().all(|other| other.id != run.id),
            "ids are not used twice"
        );
        pod.runs.push(run);
    }

    /// The runtime keeps no record any more of the runs of a container that have ended.
    pub(crate) fn prune(&mut self, uid: &PodUid, name: &str) {
        let runs = &mut self.pod(uid).runs;
        runs.retain(|run| run.name.as_str() != name || run.exit.is_none());
    }

    /// Whether this run is a sidecar's that has not been told to end, while a regular container runs.
    pub(crate) fn ends_out_of_turn(&self, pod: &Pod, id: &ContainerId) -> bool {
        let Some(world) = self.pods.get(&pod.uid) else {
            return false;
        };
        let sidecar = |name: &ContainerName| {
            let mut init = pod.init_containers.iter();
            init.any(|spec| spec.name == *name && spec.is_restartable_init())
        };
        let regular = |name: &ContainerName| pod.containers.iter().any(|spec| spec.name == *name);
        let mut running = world.runs.iter().filter(|run| run.exit.is_none());
        running
            .clone()
            .any(|run| run.id == *id && run.kill_at.is_none() && sidecar(&run.name))
            && running.any(|run| regular(&run.name))
    }

    /// The run, if it runs.
    pub(crate) fn running(&mut self, uid: &PodUid, id: &ContainerId) -> Option<&mut RunRecord> {
        let runs = &mut self.pod(uid).runs;
        runs.iter_mut()
            .find(|run| run.id == *id && run.exit.is_none())
    }

    /// The newest run of a container that runs.
    pub(crate) fn running_called(&self, uid: &PodUid, name: &str) -> Option<&RunRecord> {
        let runs = self.pods.get(uid)?.runs.iter();
        runs.rev()
            .find(|run| run.name.as_str() == name && run.exit.is_none())
    }

    /// What an attempt sees and how long it takes; `None` if it never answers.
    pub(crate) fn attempt(
        &mut self,
        uid: &PodUid,
        name: &ContainerName,
        id: &ContainerId,
        kind: ProbeKind,
        now: Mono,
    ) -> (Duration, Option<Result<Outcome, ProberError>>) {
        let since = self.running(uid, id).map(|run| run.since);
        let actor = self.actor(uid, name);
        let made = actor.attempts.entry(kind).or_default();
        let script = &actor.plan.scripts[&kind];
        let letter = match &script.says {
            Says::Letters(letters) => {
                let letters: Vec<char> = letters.chars().collect();
                letters[(*made).min(letters.len() - 1)]
            }
            Says::FailsFromAge(age) => {
                let sick = since.is_none_or(|since| now.since(since) >= *age);
                if sick { 'f' } else { 's' }
            }
        };
        *made += 1;
        (script.latency, answer(letter))
    }

    /// What the runtime says stands.
    pub(crate) fn standing(&self, uid: &PodUid) -> Option<Standing> {
        let pod = self.pods.get(uid).filter(|pod| pod.stands)?;
        let containers = pod.runs.iter().map(|run| StandingContainer {
            id: run.id.clone(),
            name: run.name.clone(),
            restart_count: run.restart_count,
            started_at: run.started_at,
            exit: run.exit.clone(),
        });
        Some(Standing {
            addresses: pod.ip.into(),
            containers: containers.collect(),
        })
    }
}

fn answer(letter: char) -> Option<Result<Outcome, ProberError>> {
    let outcome = |status, output: &str| {
        Some(Ok(Outcome {
            status,
            output: output.to_owned(),
            code: None,
        }))
    };
    match letter {
        's' => outcome(OutcomeStatus::Success, "fine"),
        'w' => outcome(OutcomeStatus::Warning, "odd"),
        'f' => outcome(OutcomeStatus::Failure, "refused"),
        'e' => Some(Err(ProberError {
            message: "port \"x\" not found".to_owned(),
        })),
        '.' => None,
        other => panic!("no attempt is called {other}"),
    }
}
