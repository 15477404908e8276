//! Pods, scripts, crashes and inputs by chance: the rig's checks hold whatever comes.

use proptest::collection::vec;
use proptest::prelude::*;

use probelet_model::pod::RestartPolicy;
use probelet_model::probe::ProbeKind;
use probelet_model::status::ContainerState;

use crate::rig::plan::{
    ContainerPlan, HookPlan, PodPlan, ProbePlan, SandboxFailure, Start, container, every, pod,
    secs, service,
};
use crate::rig::{Rig, uid};

/// Something that somebody does.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Crash,
    CrashFor(u8),
    ForgetAndCrash,
    Lose,
    LoseWhileDown,
    Kill(u8),
    Relabel(u8),
    Retag(u8),
    Delete(u8),
    Stop,
    StepWall(i16),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => Just(Deed::Crash),
        2 => (1..60_u8).prop_map(Deed::CrashFor),
        1 => Just(Deed::ForgetAndCrash),
        1 => Just(Deed::Lose),
        1 => Just(Deed::LoseWhileDown),
        3 => any::<u8>().prop_map(Deed::Kill),
        2 => (0..3_u8).prop_map(Deed::Relabel),
        1 => (0..3_u8).prop_map(Deed::Retag),
        1 => (0..40_u8).prop_map(Deed::Delete),
        1 => Just(Deed::Stop),
        1 => any::<i16>().prop_map(Deed::StepWall),
    ]
}

fn probe() -> impl Strategy<Value = ProbePlan> {
    (1..12_u8, 1..4_u32, 0..8_u8).prop_map(|(period, failures, delay)| {
        every(f64::from(period) / 2.0)
            .failures(failures)
            .delay(f64::from(delay))
    })
}

fn script() -> impl Strategy<Value = String> {
    vec(
        prop_oneof![5 => Just('s'), 4 => Just('f'), 1 => Just('w'), 1 => Just('e')],
        1..12,
    )
    .prop_map(|letters| letters.into_iter().collect())
}

fn a_container(name: &'static str) -> impl Strategy<Value = ContainerPlan> {
    let probes = (
        proptest::option::of((probe(), script())),
        proptest::option::of((probe(), script(), 1..3_u32, 0..30_u8)),
        proptest::option::of((probe(), script(), 0..30_u8)),
    );
    let life = (
        0..20_u8,
        proptest::option::of((0..60_u8, prop_oneof![Just(0), Just(1)])),
        proptest::option::of((0..8_u8, prop_oneof![Just(0), Just(143)])),
        prop_oneof![
            8 => Just(Start::Well),
            1 => Just(Start::CannotCreate),
            1 => Just(Start::CannotExecute)
        ],
        proptest::option::of((0..9_u8, any::<bool>())),
    );
    (probes, life).prop_map(move |((startup, readiness, liveness), life)| {
        let (starts, ends, on_term, start, hook) = life;
        let mut plan = container(name).start_takes(f64::from(starts) / 10.0);
        if let Some((probe, script)) = startup {
            plan = plan.startup(probe, &script);
        }
        if let Some((probe, script, successes, latency)) = readiness {
            plan = plan.readiness(probe.successes(successes), &script);
            plan = plan.latency(ProbeKind::Readiness, f64::from(latency) / 10.0);
        }
        if let Some((probe, script, latency)) = liveness {
            plan = plan.liveness(probe, &script);
            plan = plan.latency(ProbeKind::Liveness, f64::from(latency) / 10.0);
        }
        plan = match on_term {
            Some((after, code)) => plan.on_term(f64::from(after), code),
            None => plan.ignores_term(),
        };
        if let Some((after, code)) = ends {
            plan = plan.exits(f64::from(after), code);
        }
        if let Some((after, well)) = hook {
            plan = plan.pre_stop(HookPlan::Ends(secs(f64::from(after)), well));
        }
        plan.then(move |life| life.start = start)
            .then(|life| life.start = Start::Well)
    })
}

fn a_pod(
    name: &'static str,
    first: &'static str,
    second: &'static str,
) -> impl Strategy<Value = PodPlan> {
    let policy = prop_oneof![
        3 => Just(RestartPolicy::Always),
        1 => Just(RestartPolicy::OnFailure),
        1 => Just(RestartPolicy::Never)
    ];
    let failures = vec(
        prop_oneof![Just(SandboxFailure::Volume), Just(SandboxFailure::Other)],
        0..3,
    );
    let containers = (
        a_container(first),
        proptest::option::of(a_container(second)),
    );
    (policy, failures, containers, 0..20_u8).prop_map(
        move |(policy, failures, (first, second), takes)| {
            let plan = pod(name)
                .policy(policy)
                .grace(6.0)
                .sandbox_fails(&failures)
                .sandbox_takes(f64::from(takes) / 10.0)
                .with(first);
            match second {
                Some(second) => plan.with(second),
                None => plan,
            }
        },
    )
}

fn act(rig: &mut Rig, name: &str, deed: Deed) {
    let there = rig.engine().pods().any(|pod| *pod == uid(name));
    match deed {
        Deed::Crash => rig.restart_agent(),
        Deed::CrashFor(seconds) => {
            rig.crash();
            rig.run_for(f64::from(seconds));
            rig.boot();
        }
        Deed::ForgetAndCrash => {
            rig.crash();
            rig.start_agent();
            rig.take_up(false, false);
        }
        Deed::Lose if there => rig.lose(name),
        Deed::LoseWhileDown if there => {
            rig.crash();
            rig.world.sandbox_goes(&uid(name));
            rig.boot();
        }
        Deed::Kill(which) if there => {
            let containers = rig.pod(name).containers;
            let container = &containers[usize::from(which) % containers.len()];
            if let Some(id) = rig.run_id(name, container.name.as_str()) {
                rig.end_run(&uid(name), &id, i32::from(which % 3), None);
            }
        }
        Deed::Relabel(which) if there => {
            let mut other = rig.pod(name);
            let app = ["x", "y", "z"][usize::from(which)];
            other.meta.labels.insert("app".to_owned(), app.to_owned());
            rig.apply_again(other);
        }
        Deed::Retag(which) if there => {
            let mut other = rig.pod(name);
            other.containers[0].image = format!("example/app:{which}");
            rig.apply_again(other);
        }
        Deed::Delete(grace) if there => rig.delete(name, f64::from(grace)),
        Deed::Stop if there => rig.stop(name),
        Deed::StepWall(seconds) => rig.step_wall(i64::from(seconds)),
        Deed::Lose
        | Deed::LoseWhileDown
        | Deed::Kill(_)
        | Deed::Relabel(_)
        | Deed::Retag(_)
        | Deed::Delete(_)
        | Deed::Stop => {}
    }
}

/// What the engine says runs, runs, and nothing else does.
fn assert_agreement(rig: &Rig) {
    for pod in rig.engine().pods() {
        let status = rig
            .engine()
            .status(pod)
            .expect("a pod that is run has a status");
        for container in &status.container_statuses {
            let said = match &container.state {
                ContainerState::Running(_) => container.container_id.clone(),
                ContainerState::Waiting(_) | ContainerState::Terminated(_) => None,
            };
            let name = pod.as_str().trim_start_matches("uid-");
            let runs = rig
                .run_id(name, &container.name)
                .map(|id| format!("probelet://{id}"));
            assert_eq!(said, runs, "{} of {name}", container.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_checks_hold_whatever_comes(
        first in a_pod("p", "a", "b"),
        second in a_pod("q", "c", "d"),
        deeds in vec((0..400_u16, any::<bool>(), deed()), 0..20),
    ) {
        let mut rig = Rig::new();
        for app in ["p", "x", "y"] {
            rig.serve(service(app, app));
        }
        rig.apply(first);
        rig.apply(second);
        for (after, which, deed) in deeds {
            rig.run_for(f64::from(after) / 20.0);
            act(&mut rig, if which { "p" } else { "q" }, deed);
            assert_agreement(&rig);
        }
        rig.run_for(30.0);
        for name in ["p", "q"] {
            if rig.engine().pods().any(|pod| *pod == uid(name)) {
                rig.delete(name, 5.0);
            }
        }
        rig.run_for(20.0);
        prop_assert_eq!(rig.engine().pods().count(), 0, "every pod can be got rid of");
    }
}
