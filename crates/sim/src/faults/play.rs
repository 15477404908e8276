//! One run of one log: deeds at their times, faults at the calls they are meant for, and everybody looks.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use probelet_engine::BackOffLimits;
use probelet_engine::input::Input;
use probelet_model::id::PodUid;
use probelet_model::pod::Pod;
use probelet_model::status::ForeignCondition;
use probelet_model::time::Mono;

use super::cast::{APPS, Cast, GATE};
use super::checks::Breach;
use super::deed::{Deed, What};
use super::eyes::{Death, Eyes};
use super::rest::unrest;
use super::sink::Sink;
use super::{Plan, Stats};
use crate::node::{Node, Settings, Spread};

/// More inputs than any seed needs: one that needs more goes in circles.
const MOST_INPUTS: u64 = 200_000;

/// Plays a log on a cast.
///
/// # Errors
/// The first thing that was wrong.
pub(super) fn play(seed: u64, cast: &Cast, log: &[Deed], plan: &Plan) -> Result<Stats, Breach> {
    let mut player = Player {
        cast,
        node: Node::new(Settings {
            name: "node".to_owned(),
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            back_off: BackOffLimits::default(),
            spread: Spread::Seeded(seed),
        }),
        eyes: Eyes::new(),
        boot_at: None,
    };
    player.node.boot(&mut player.eyes);
    for deed in log {
        player.until(deed.at)?;
        player.act(&deed.what);
        player.content()?;
    }
    player.until(plan.length)?;
    player.leave_alone();
    player.wait(plan.patience, "every pod that should run runs", unrest)?;
    player.delete_all();
    player.wait(plan.patience, "every deleted pod is gone", |node| {
        let left = node
            .pods()
            .next()
            .or_else(|| node.world().sandboxes().next());
        left.map(|pod| format!("{pod} is still there"))
    })?;
    Ok(player.eyes.stats)
}

struct Player<'a> {
    cast: &'a Cast,
    node: Node,
    eyes: Eyes,
    /// When the next agent starts, if there is none.
    boot_at: Option<Mono>,
}

impl Player<'_> {
    fn begun(&self) -> Mono {
        let now = self.node.world().now().mono;
        let elapsed = u64::try_from(self.node.world().elapsed().as_nanos()).unwrap_or(u64::MAX);
        Mono(now.0.saturating_sub(elapsed))
    }

    fn until(&mut self, elapsed: Duration) -> Result<(), Breach> {
        let end = self.begun() + elapsed;
        while self.step(end)? {}
        Ok(())
    }

    /// The next thing happens, if it does until `end`.
    fn step(&mut self, end: Mono) -> Result<bool, Breach> {
        let more = if self.node.engine().is_some() {
            self.node.step(end, &mut self.eyes)
        } else {
            let now = self.node.world().now().mono;
            let at = *self.boot_at.get_or_insert(now + self.eyes.death.down);
            for (pod, status) in self.eyes.bury(self.node.world().now()) {
                self.node.put_back(&pod, status);
            }
            self.node.run_until(at.min(end), &mut self.eyes);
            if at <= end {
                self.boot_at = None;
                self.boot()?;
            }
            at <= end
        };
        self.content()?;
        Ok(more)
    }

    fn boot(&mut self) -> Result<(), Breach> {
        self.eyes.sink = Sink::new();
        let pods: Vec<PodUid> = self.node.pods().cloned().collect();
        for uid in pods {
            if let Some((pod, Some(status))) = self.node.pod(&uid) {
                self.eyes.sink.put_pod(pod, status)?;
            }
        }
        self.node.boot(&mut self.eyes);
        Ok(())
    }

    fn content(&mut self) -> Result<(), Breach> {
        if self.eyes.stats.inputs > MOST_INPUTS {
            let what = format!("{MOST_INPUTS} inputs are not enough");
            return Err(Breach {
                checker: "the node comes to rest",
                what,
            });
        }
        self.eyes.breach.take().map_or(Ok(()), Err)
    }

    fn act(&mut self, what: &What) {
        if let What::Apply(index)
        | What::Relabel(index, _)
        | What::Retag(index, _)
        | What::Gate(index, _)
        | What::Delete(index, _)
        | What::Stop(index) = what
            && self.eyes.ended.contains(&self.cast.pods[*index].pod.uid)
        {
            // It was stopped and has ended, and is its owner's from now on.
            return;
        }
        let (node, eyes) = (&mut self.node, &mut self.eyes);
        match what {
            What::Apply(index) => {
                let part = &self.cast.pods[*index];
                let known = node.pod(&part.pod.uid).map(|(pod, _)| (**pod).clone());
                let pod = known.unwrap_or_else(|| part.pod.clone());
                self.apply(*index, pod);
            }
            What::Relabel(index, app) => self.change(*index, |pod| {
                pod.meta
                    .labels
                    .insert("app".to_owned(), APPS[*app].to_owned());
            }),
            What::Retag(index, tag) => self.change(*index, |pod| {
                pod.containers[0].image = format!("example/app:{tag}");
            }),
            What::Gate(index, open) => self.change(*index, |pod| {
                let status = if *open { "True" } else { "False" };
                pod.foreign_conditions = vec![ForeignCondition {
                    kind: GATE.to_owned(),
                    status: status.to_owned(),
                    rest: serde_json::Map::new(),
                }];
            }),
            What::Delete(index, grace) => {
                node.delete(&self.cast.pods[*index].pod.uid, Some(*grace), eyes);
            }
            What::Stop(index) => {
                node.stop(&self.cast.pods[*index].pod.uid, eyes);
            }
            What::Serve(index) => node.serve(self.cast.services[*index].clone(), eyes),
            What::Crash {
                effects,
                down,
                lost,
            } => {
                let now = *effects == 0 && node.engine().is_some();
                eyes.death = Death {
                    after: (!now).then_some(*effects),
                    lost: *lost,
                    down: *down,
                    untold: now || eyes.death.untold,
                };
                if now {
                    node.crash();
                }
            }
            What::Break(call, fault) => eyes.broken.push((*call, fault.clone())),
            What::LoseSandbox(index) => {
                let pod = &self.cast.pods[*index].pod.uid;
                if let Some(input) = node.world_mut().lose_sandbox(pod) {
                    node.tell(input, eyes);
                }
            }
            What::RemoveImage(index) => {
                let uid = &self.cast.pods[*index].pod.uid;
                let image = node
                    .pod(uid)
                    .map(|(pod, _)| pod.containers[0].image.clone());
                if let Some(image) = image {
                    node.world_mut().remove_image(&image);
                }
            }
            What::Kill(index, nth, code) => {
                let pod = &self.cast.pods[*index].pod;
                let standing = node.world().standing(&pod.uid);
                let alive = standing.iter().flat_map(|standing| &standing.containers);
                let alive: Vec<_> = alive.filter(|run| run.exit.is_none()).collect();
                if let Some(run) = alive.get(nth % alive.len().max(1)) {
                    let ended = node.world_mut().end_run(&pod.uid, &run.id, *code, None);
                    if let Some(input) = ended {
                        node.tell(input, eyes);
                    }
                }
            }
            What::StepWall(seconds) => node.world_mut().step_wall(seconds * 1_000_000_000),
            What::Again(nth) => {
                if let Some(answer) = eyes.answers.get(*nth).cloned() {
                    node.tell(answer, eyes);
                }
            }
            What::Wake => node.tell(Input::Wake, eyes),
        }
    }

    fn apply(&mut self, index: usize, pod: Pod) {
        let part = &self.cast.pods[index];
        self.node
            .apply(pod, part.ip, part.script.clone(), &mut self.eyes);
    }

    fn change(&mut self, index: usize, change: impl FnOnce(&mut Pod)) {
        let uid = &self.cast.pods[index].pod.uid;
        if let Some((pod, _)) = self.node.pod(uid) {
            let mut changed = (**pod).clone();
            change(&mut changed);
            changed.meta.generation += 1;
            self.apply(index, changed);
        }
    }

    /// Nothing goes wrong any more, and what was never answered is.
    fn leave_alone(&mut self) {
        self.eyes.broken.clear();
        self.eyes.death.after = None;
        for answer in std::mem::take(&mut self.eyes.owed) {
            self.node.tell(answer, &mut self.eyes);
        }
    }

    fn delete_all(&mut self) {
        let pods: Vec<PodUid> = self.node.pods().cloned().collect();
        for pod in pods {
            self.node
                .delete(&pod, Some(Duration::from_secs(3)), &mut self.eyes);
        }
    }

    /// Waits until nothing is wrong any more.
    fn wait(
        &mut self,
        patience: Duration,
        checker: &'static str,
        wrong: impl Fn(&Node) -> Option<String>,
    ) -> Result<(), Breach> {
        let end = self.node.world().now().mono + patience;
        let mut looks_at = Mono(0);
        loop {
            let more = self.step(end)?;
            let now = self.node.world().now().mono;
            if more && now < looks_at {
                continue;
            }
            looks_at = now + Duration::from_secs(1);
            match wrong(&self.node) {
                None => return Ok(()),
                Some(what) if !more => return Err(Breach { checker, what }),
                Some(_) => {}
            }
        }
    }
}
