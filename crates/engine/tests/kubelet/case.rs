//! What is tried: one pod with one container, and all that happens to it, in whole seconds.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use probelet_model::pod::RestartPolicy;
use probelet_model::probe::ProbeKind;

/// A container with what its runs do and its probes meet.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) policy: RestartPolicy,
    /// The pod's terminationGracePeriodSeconds.
    pub(crate) grace: u64,
    pub(crate) startup: Option<ProbeCase>,
    pub(crate) readiness: Option<ProbeCase>,
    pub(crate) liveness: Option<ProbeCase>,
    pub(crate) pre_stop: Option<HookCase>,
    /// One for each run; the last repeats.
    pub(crate) lives: Vec<Life>,
    /// Of what falls into one second, whether ticks come before what the runtime tells.
    pub(crate) ticks_first: bool,
}

/// A probe's numbers, and what its attempts see.
#[derive(Clone, Debug)]
pub(crate) struct ProbeCase {
    pub(crate) delay: u64,
    pub(crate) period: u64,
    pub(crate) success: u32,
    pub(crate) failure: u32,
    pub(crate) grace: Option<u64>,
    /// One for each attempt, over and over.
    pub(crate) script: Vec<Seen>,
}

/// What one attempt sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Success,
    Warning,
    Failure,
    Error,
}

/// What one run does.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    /// From the request to the start.
    pub(crate) start_takes: u64,
    /// Its age when it ends by itself, and with which code.
    pub(crate) exits: Option<(u64, i32)>,
    /// How long it takes to end when told to, and with which code; `None` waits for KILL.
    pub(crate) on_term: Option<(u64, i32)>,
}

/// How a preStop hook goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HookCase {
    Ends { after: u64, well: bool },
    Hangs,
}

impl Case {
    pub(crate) const fn probe(&self, kind: ProbeKind) -> Option<&ProbeCase> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref(),
            ProbeKind::Readiness => self.readiness.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
        }
    }

    /// The life of the run that so many were before.
    pub(crate) fn life(&self, run: u32) -> &Life {
        let last = self.lives.len() - 1;
        &self.lives[usize::try_from(run).map_or(last, |run| run.min(last))]
    }
}

impl ProbeCase {
    /// What the attempt sees that so many were before.
    pub(crate) fn sees(&self, attempt: usize) -> Seen {
        self.script[attempt % self.script.len()]
    }
}

impl Life {
    /// How long after TERM the run ends, and with which code.
    pub(crate) fn ends_when_told(&self, grace: u64) -> (u64, i32) {
        self.on_term
            .filter(|(after, _)| *after < grace)
            .unwrap_or((grace, 137))
    }
}

/// Any case.
pub(crate) fn any_case() -> impl Strategy<Value = Case> {
    let policy = prop_oneof![
        4 => Just(RestartPolicy::Always),
        2 => Just(RestartPolicy::OnFailure),
        1 => Just(RestartPolicy::Never)
    ];
    let probes = (
        option::of(probe(Just(1), any_grace())),
        option::of(probe(1..4_u32, Just(None))),
        option::of(probe(Just(1), any_grace())),
    );
    let hook = option::weighted(
        0.25,
        prop_oneof![
            4 => (0..8_u64, any::<bool>()).prop_map(|(after, well)| HookCase::Ends { after, well }),
            1 => Just(HookCase::Hangs)
        ],
    );
    let pod = (policy, 0..20_u64, hook, vec(life(), 1..4), any::<bool>());
    (probes, pod).prop_map(|((startup, readiness, liveness), pod)| {
        let (policy, grace, pre_stop, lives, ticks_first) = pod;
        Case {
            policy,
            grace,
            startup,
            readiness,
            liveness,
            pre_stop,
            lives,
            ticks_first,
        }
    })
}

fn any_grace() -> impl Strategy<Value = Option<u64>> {
    option::weighted(0.3, 1..25_u64)
}

fn probe(
    success: impl Strategy<Value = u32>,
    grace: impl Strategy<Value = Option<u64>>,
) -> impl Strategy<Value = ProbeCase> {
    // Long periods leave the quiet in which a back-off grows and is forgotten.
    let period = prop_oneof![6 => 1..11_u64, 1 => 60..400_u64];
    let seen = prop_oneof![
        6 => Just(Seen::Success),
        5 => Just(Seen::Failure),
        1 => Just(Seen::Warning),
        1 => Just(Seen::Error)
    ];
    (
        0..13_u64,
        period,
        success,
        1..5_u32,
        grace,
        vec(seen, 1..13),
    )
        .prop_map(
            |(delay, period, success, failure, grace, script)| ProbeCase {
                delay,
                period,
                success,
                failure,
                grace,
                script,
            },
        )
}

fn life() -> impl Strategy<Value = Life> {
    let code = prop_oneof![Just(0), Just(1)];
    let exits = option::of((prop_oneof![7 => 0..60_u64, 1 => 590..720_u64], code));
    let on_term = option::weighted(0.8, (0..12_u64, prop_oneof![Just(0), Just(143)]));
    let start_takes = prop_oneof![2 => Just(0), 1 => 1..6_u64];
    (start_takes, exits, on_term).prop_map(|(start_takes, exits, on_term)| Life {
        start_takes,
        exits,
        on_term,
    })
}
