//! What is done to a node: the input log that a seed makes, and that is made small when it breaks one.

use std::fmt;
use std::time::Duration;

use probelet_engine::effect::Effect;

use super::Plan;
use super::cast::{APPS, Cast};
use super::chance::Chance;
use crate::world::Fault;

/// One deed and when it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// Since the node began.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What is done. Pods and Services are known by their places in the cast; what does not apply when its
/// time has come is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A pod is applied.
    Apply(usize),
    /// It gets the label that this Service asks for.
    Relabel(usize, usize),
    /// Its first container gets another image.
    Retag(usize, u64),
    /// The condition of its readiness gate is set.
    Gate(usize, bool),
    /// It is deleted with this grace.
    Delete(usize, Duration),
    /// It is stopped, and its object stays.
    Stop(usize),
    /// A Service is applied.
    Serve(usize),
    /// The agent dies.
    Crash {
        /// So many effects later; 0 is at once.
        effects: u32,
        /// Until the next one starts.
        down: Duration,
        /// How many of the last commits never reached the disk.
        lost: usize,
    },
    /// The next call of this sort goes wrong.
    Break(Call, Fault),
    /// A sandbox goes, with all in it.
    LoseSandbox(usize),
    /// The image of its first container is removed from where images are kept.
    RemoveImage(usize),
    /// A container's run is ended by somebody else, with this code.
    Kill(usize, usize, i32),
    /// The wall clock is set, by so many seconds.
    StepWall(i64),
    /// One of the last answers comes once more.
    Again(usize),
    /// The engine is woken though nothing is due.
    Wake,
}

/// The calls that can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`Effect::StartPod`].
    StartPod,
    /// [`Effect::LookUpImage`].
    LookUpImage,
    /// [`Effect::PullImage`].
    PullImage,
    /// [`Effect::StartContainer`].
    StartContainer,
    /// [`Effect::RunHook`].
    RunHook,
    /// [`Effect::RemovePod`].
    RemovePod,
    /// [`Effect::StartAttempt`].
    StartAttempt,
}

impl Call {
    /// The sort that an effect is of. A stop is of none: that one is asked for again by nobody.
    #[must_use]
    pub const fn of(effect: &Effect) -> Option<Self> {
        match effect {
            Effect::StartPod { .. } => Some(Self::StartPod),
            Effect::LookUpImage { .. } => Some(Self::LookUpImage),
            Effect::PullImage { .. } => Some(Self::PullImage),
            Effect::StartContainer { .. } => Some(Self::StartContainer),
            Effect::RunHook { .. } => Some(Self::RunHook),
            Effect::RemovePod { .. } => Some(Self::RemovePod),
            Effect::StartAttempt { .. } => Some(Self::StartAttempt),
            Effect::StopContainer { .. }
            | Effect::Remember { .. }
            | Effect::Commit(_)
            | Effect::Event(_)
            | Effect::Report(_)
            | Effect::PodEnded { .. } => None,
        }
    }

    /// A way in which it can go wrong. Lost is only what ends with its container: every other answer of a
    /// runtime comes as long as its agent lives.
    fn fault(self, chance: &mut Chance) -> Fault {
        let slow = |chance: &mut Chance| Fault::Slow(chance.half_seconds(40));
        let fails = || Fault::Fails("the runtime is out of order".to_owned());
        match (self, chance.below(4)) {
            (Self::StartAttempt | Self::RunHook, 0) => Fault::Lost,
            (Self::StartAttempt | Self::RunHook | Self::StartPod | Self::PullImage, 1) => {
                Fault::Twice
            }
            (Self::RemovePod, _) | (_, 2) => fails(),
            (
                Self::StartAttempt
                | Self::RunHook
                | Self::StartPod
                | Self::LookUpImage
                | Self::PullImage
                | Self::StartContainer,
                _,
            ) => slow(chance),
        }
    }
}

/// All that is done to a cast, in order.
pub(super) fn draw(chance: &mut Chance, cast: &Cast, plan: &Plan) -> Vec<Deed> {
    let mut deeds: Vec<Deed> = Vec::new();
    let length = u64::try_from(plan.length.as_millis()).unwrap_or(u64::MAX);
    let mut add = |at: u64, what| {
        deeds.push(Deed {
            at: Duration::from_millis(at),
            what,
        });
    };
    for index in 0..cast.services.len() {
        let at = if chance.percent(80) {
            0
        } else {
            chance.below(length)
        };
        add(at, What::Serve(index));
    }
    for index in 0..cast.pods.len() {
        let at = if chance.percent(70) {
            0
        } else {
            chance.below(length / 2)
        };
        add(at, What::Apply(index));
    }
    for _ in 0..chance.index(plan.deeds + 1) {
        let at = chance.below(length);
        add(at, a_deed(chance, cast));
    }
    deeds.sort_by_key(|deed| deed.at);
    deeds
}

fn a_deed(chance: &mut Chance, cast: &Cast) -> What {
    let pod = chance.index(cast.pods.len());
    match chance.below(42) {
        0..8 => What::Crash {
            effects: chance.small(12),
            down: down(chance),
            lost: if chance.percent(40) {
                chance.index(4)
            } else {
                0
            },
        },
        8..20 => {
            let call = chance.pick(&[
                Call::StartAttempt,
                Call::StartAttempt,
                Call::StartAttempt,
                Call::LookUpImage,
                Call::PullImage,
                Call::PullImage,
                Call::StartContainer,
                Call::StartPod,
                Call::RunHook,
                Call::RemovePod,
            ]);
            What::Break(call, call.fault(chance))
        }
        20..22 => What::LoseSandbox(pod),
        22..26 => What::Kill(pod, chance.index(4), chance.pick(&[0, 1, 137])),
        26..29 => What::StepWall(step(chance)),
        29..31 => What::Again(chance.index(8)),
        31 => What::Wake,
        32 => What::Relabel(pod, chance.index(APPS.len())),
        33 => What::Retag(pod, chance.below(3)),
        34..36 => What::Gate(pod, chance.percent(60)),
        36..38 => What::Delete(pod, Duration::from_secs(chance.below(20))),
        38 => What::Stop(pod),
        39..41 => What::RemoveImage(pod),
        _ => What::Apply(pod),
    }
}

/// No time, some seconds, or most of a minute.
fn down(chance: &mut Chance) -> Duration {
    let longest = chance.pick(&[1, 10, 100]);
    chance.half_seconds(longest)
}

/// Seconds or hours, forward or back.
fn step(chance: &mut Chance) -> i64 {
    let seconds = i64::from(chance.small(60)) * chance.pick(&[1, 1, 60, 300]);
    if chance.percent(50) {
        seconds
    } else {
        -seconds
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3}s  ", self.at.as_secs_f64())?;
        match &self.what {
            What::Apply(pod) => write!(f, "pod-{pod} is applied"),
            What::Relabel(pod, app) => write!(f, "pod-{pod} gets the label app={}", APPS[*app]),
            What::Retag(pod, tag) => write!(f, "pod-{pod} gets the image example/app:{tag}"),
            What::Gate(pod, open) => write!(f, "the gate of pod-{pod} is set to {open}"),
            What::Delete(pod, grace) => write!(f, "pod-{pod} is deleted, with {grace:?}"),
            What::Stop(pod) => write!(f, "pod-{pod} is stopped"),
            What::Serve(service) => write!(f, "service-{} is applied", APPS[*service]),
            What::Crash {
                effects: 0,
                down,
                lost,
            } => {
                write!(
                    f,
                    "the agent dies, comes back after {down:?}, {lost} commits lost"
                )
            }
            What::Crash {
                effects,
                down,
                lost,
            } => write!(
                f,
                "the agent dies {effects} effects later, comes back after {down:?}, {lost} commits lost"
            ),
            What::Break(call, fault) => write!(f, "the next {call:?} goes wrong: {fault:?}"),
            What::LoseSandbox(pod) => write!(f, "pod-{pod} loses its sandbox"),
            What::RemoveImage(pod) => write!(f, "the image of pod-{pod} is removed"),
            What::Kill(pod, nth, code) => {
                write!(
                    f,
                    "container {nth} of pod-{pod} is ended from outside, code {code}"
                )
            }
            What::StepWall(seconds) => write!(f, "the wall clock is set by {seconds} s"),
            What::Again(nth) => write!(f, "the answer before the last {nth} comes again"),
            What::Wake => f.write_str("the engine is woken"),
        }
    }
}
