//! Pods, scripts, crashes and inputs by chance: the rig's checks hold whatever comes.

use proptest::collection::vec;
use proptest::prelude::*;

use probelet_engine::input::ImageFailure;
use probelet_model::pod::{PullPolicy, RestartPolicy};
use probelet_model::probe::ProbeKind;
use probelet_model::status::ContainerState;

use crate::rig::images::{ImagePlan, absent, present};
use crate::rig::plan::{
    ContainerPlan, HookPlan, PodPlan, ProbePlan, SandboxFailure, Start, container, every, init,
    pod, secs, service,
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

fn a_container(name: &'static str) -> BoxedStrategy<ContainerPlan> {
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
    let plan = (probes, life).prop_map(move |((startup, readiness, liveness), life)| {
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
    });
    (plan, 0..3_u8, pull_policy())
        .prop_map(|(plan, tag, policy)| plan.image(&format!("example/app:{tag}"), policy))
        .boxed()
}

fn pull_policy() -> impl Strategy<Value = PullPolicy> {
    prop_oneof![
        1 => Just(PullPolicy::Always),
        4 => Just(PullPolicy::IfNotPresent),
        1 => Just(PullPolicy::Never)
    ]
}

/// An image that is there or not, and goes wrong a few times at first.
fn an_image() -> impl Strategy<Value = ImagePlan> {
    let failure = prop_oneof![
        2 => Just(ImageFailure::Failed("manifest unknown".to_owned())),
        1 => Just(ImageFailure::Name("no name".to_owned())),
    ];
    let pulls = vec((0..20_u8, failure.clone()), 0..3);
    (any::<bool>(), vec(failure, 0..2), pulls, 0..20_u8).prop_map(|(there, looks, pulls, takes)| {
        let mut plan = if there { present() } else { absent() };
        for failure in looks {
            plan = plan.look_fails(failure);
        }
        for (seconds, failure) in pulls {
            plan = plan.pull(f64::from(seconds), Err(failure));
        }
        plan.pull(f64::from(takes), Ok(()))
    })
}

/// An ordinary init container that fails a few times at first.
fn an_init_container(name: &'static str) -> impl Strategy<Value = ContainerPlan> {
    (0..10_u8, 0..3_usize, 0..10_u8).prop_map(move |(starts, failures, takes)| {
        let mut plan = init(name, f64::from(takes)).start_takes(f64::from(starts) / 10.0);
        for _ in 0..failures {
            let ends_well = plan.lives.pop().expect("there is a first life");
            let mut fails = ends_well.clone();
            fails.ends = Some((secs(0.5), 1));
            plan.lives.extend([fails, ends_well]);
        }
        plan
    })
}

/// What stands in `initContainers`.
fn init_containers(
    ordinary: &'static str,
    beside: &'static str,
) -> BoxedStrategy<Vec<ContainerPlan>> {
    let hook = || {
        (0..5_u8, any::<bool>())
            .prop_map(|(after, well)| HookPlan::Ends(secs(f64::from(after)), well))
    };
    let sidecar = move || {
        let hooks = proptest::option::of(vec(hook(), 1..3));
        (a_container(beside), hooks).prop_map(|(plan, hooks)| {
            let plan = plan.policy(RestartPolicy::Always);
            match hooks {
                Some(hooks) => plan.post_start(&hooks),
                None => plan,
            }
        })
    };
    prop_oneof![
        3 => Just(Vec::new()),
        1 => an_init_container(ordinary).prop_map(|one| vec![one]),
        1 => sidecar().prop_map(|one| vec![one]),
        1 => (an_init_container(ordinary), sidecar()).prop_map(|(one, two)| vec![one, two]),
        1 => (sidecar(), an_init_container(ordinary)).prop_map(|(one, two)| vec![one, two]),
    ]
    .boxed()
}

/// Hooks, and a policy of its own, for one of the regular containers.
fn seasoned(plan: impl Strategy<Value = ContainerPlan>) -> impl Strategy<Value = ContainerPlan> {
    let hook = (0..5_u8, any::<bool>())
        .prop_map(|(after, well)| HookPlan::Ends(secs(f64::from(after)), well));
    let policy = prop_oneof![
        Just(RestartPolicy::Always),
        Just(RestartPolicy::OnFailure),
        Just(RestartPolicy::Never)
    ];
    let hooks = proptest::option::of(vec(hook, 1..3));
    let own = proptest::option::of((policy, any::<bool>()));
    (plan, hooks, own).prop_map(|(mut plan, hooks, own)| {
        if let Some(hooks) = hooks {
            plan = plan.post_start(&hooks);
        }
        if let Some((policy, ruled)) = own {
            plan = plan.policy(policy);
            if ruled {
                plan = plan.rule(true, &[1, 143]);
            }
        }
        plan
    })
}

fn a_pod(
    name: &'static str,
    [ordinary, beside, first, second]: [&'static str; 4],
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
        init_containers(ordinary, beside),
        seasoned(a_container(first)),
        proptest::option::of(a_container(second)),
    );
    let deadline = prop_oneof![4 => Just(None), 1 => (1..200_u8).prop_map(Some)];
    let world = (deadline, any::<bool>());
    (policy, failures, containers, 0..20_u8, world).prop_map(
        move |(policy, failures, (init, first, second), takes, (deadline, on_host))| {
            let mut plan = pod(name)
                .policy(policy)
                .grace(6.0)
                .sandbox_fails(&failures)
                .sandbox_takes(f64::from(takes) / 10.0)
                .with(first);
            for container in init {
                plan = plan.init(container);
            }
            if let Some(seconds) = deadline {
                plan = plan.active_deadline(f64::from(seconds));
            }
            if let Some(second) = second {
                plan = plan.with(second);
            }
            plan.pod.on_host = on_host;
            plan
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
            let pod = rig.pod(name);
            let containers: Vec<_> = pod.all_containers().collect();
            let container = containers[usize::from(which) % containers.len()];
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
            if let Some(init) = other.init_containers.first_mut() {
                init.image = format!("example/app:{which}");
            }
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
        let init = status.init_container_statuses.iter();
        for container in init.chain(&status.container_statuses) {
            let said = match &container.state {
                ContainerState::Running(_) => container.container_id.clone(),
                ContainerState::Waiting(_) | ContainerState::Terminated(_) => None,
            };
            let name = pod.as_str().trim_start_matches("uid-");
            let runs = rig
                .run_id(name, &container.name)
                .map(|id| format!("probelet://{id}"));
            // One whose postStart hook has not gone well is not told of yet.
            let spec = rig.pod(name).container(&container.name).cloned();
            let hooked = spec.is_some_and(|spec| spec.post_start.is_some());
            assert!(
                said == runs || (said.is_none() && hooked),
                "{} of {name}: {said:?}, {runs:?}",
                container.name
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_checks_hold_whatever_comes(
        first in a_pod("p", ["i", "s", "a", "b"]),
        second in a_pod("q", ["j", "t", "c", "d"]),
        images in vec(an_image(), 3),
        deeds in vec((0..400_u16, any::<bool>(), deed()), 0..20),
    ) {
        let mut rig = Rig::new();
        for app in ["p", "x", "y"] {
            rig.serve(service(app, app));
        }
        for (tag, image) in images.into_iter().enumerate() {
            rig.world.images.plan(&format!("example/app:{tag}"), image);
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
