//! Whatever a rollout meets, it stays within its bounds.

use proptest::prelude::*;

use super::*;

/// What happens to a Deployment, one after the other.
#[derive(Clone, Debug)]
enum Deed {
    /// A template of so many seconds to readiness; `None` never gets there.
    Template(Option<u64>),
    Replicas(u64),
    Pause(bool),
    /// Recreate, or a rolling update.
    Recreate(bool),
    /// Seconds pass.
    Wait(u64),
    /// A pod dies, as pods do.
    PodFails(usize),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => proptest::option::weighted(0.8, 0_u64..12).prop_map(Deed::Template),
        1 => (0_u64..12).prop_map(Deed::Replicas),
        1 => any::<bool>().prop_map(Deed::Pause),
        1 => any::<bool>().prop_map(Deed::Recreate),
        6 => (0_u64..30).prop_map(Deed::Wait),
        1 => (0_usize..12).prop_map(Deed::PodFails),
    ]
}

fn bound() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0_u64..5).prop_map(Value::from),
        (0_u64..101).prop_map(|percent| format!("{percent}%").into()),
    ]
}

fn do_it(world: &mut World, deed: &Deed, count: usize) {
    match deed {
        Deed::Template(ready_after) => set_image(world, &format!("image-{count}"), *ready_after),
        Deed::Replicas(replicas) => {
            change(world, |web| web["spec"]["replicas"] = (*replicas).into())
        }
        Deed::Pause(paused) => change(world, |web| web["spec"]["paused"] = (*paused).into()),
        Deed::Recreate(true) => change(world, |web| {
            web["spec"]["strategy"] = json!({ "type": "Recreate" });
        }),
        Deed::Recreate(false) => change(world, |web| {
            web["spec"]["strategy"] = json!({
                "type": "RollingUpdate",
                "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 1 },
            });
        }),
        Deed::Wait(seconds) => world.run_for(*seconds),
        Deed::PodFails(index) => {
            let pods = world.list(Kind::Pod);
            let Some(pod) = pods.get(*index).filter(|pod| !object::is_deleting(pod)) else {
                return;
            };
            world.change(&object::key(Kind::Pod, pod), |pod| {
                pod["status"] = json!({ "phase": "Failed" });
            });
        }
    }
    world.settle();
}

/// Pods that have failed are none any more.
fn alive(world: &World) -> i64 {
    let pods = world.list(Kind::Pod);
    let alive = pods
        .iter()
        .filter(|pod| !object::is_deleting(pod) && pod["status"]["phase"] != "Failed");
    i64::try_from(alive.count()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// With scaling and all: when the dust settles, a Deployment that is not paused and whose last template is
    /// good is complete, and nobody has anything to do. And at no time are there more pods than the largest size
    /// it has had, with its surge.
    #[test]
    fn every_script_ends_well(
        deeds in proptest::collection::vec(deed(), 1..12),
        max_surge in bound(),
        max_unavailable in bound(),
        min_ready_seconds in 0_u64..4,
        recreate in any::<bool>(),
        reversed in any::<bool>(),
    ) {
        let mut world = World::new();
        world.reversed = reversed;
        let mut web = web(0, 0);
        web["spec"]["minReadySeconds"] = min_ready_seconds.into();
        web["spec"]["strategy"] = if recreate {
            json!({ "type": "Recreate" })
        } else {
            json!({
                "type": "RollingUpdate",
                "rollingUpdate": { "maxSurge": max_surge, "maxUnavailable": max_unavailable },
            })
        };
        world.create(Kind::Deployment, web);
        let largest = Rc::new(Cell::new(0));
        world.check = Some(Box::new(move |world| {
            largest.set(largest.get().max(Spec::of(&get(world)).max_pods()));
            let alive = alive(world);
            assert!(alive <= largest.get(), "{alive} of {}", largest.get());
        }));
        world.run_for(20);
        for (count, deed) in deeds.iter().enumerate() {
            do_it(&mut world, deed, count);
        }
        change(&mut world, |web| web["spec"]["paused"] = false.into());
        set_image(&mut world, "last", Some(3));
        world.run_for(5000);
        let wanted = Spec::of(&get(&world)).replicas;
        prop_assert_eq!(size(&world, "last"), wanted);
        prop_assert_eq!(alive(&world), wanted);
        let [_, reason, _] = progressing(&world);
        prop_assert_eq!(reason.as_str(), "NewReplicaSetAvailable");
    }

    /// A rolling update alone, of one good template after another, healthy at the beginning: never more than
    /// `replicas + maxSurge` pods, never less than `replicas - maxUnavailable` available ones.
    #[test]
    fn a_rollout_stays_within_its_bounds(
        replicas in 1_u64..14,
        max_surge in bound(),
        max_unavailable in bound(),
        min_ready_seconds in 0_u64..4,
        templates in proptest::collection::vec((proptest::option::weighted(0.7, 0_u64..10), 0_u64..40), 1..6),
        reversed in any::<bool>(),
    ) {
        let mut world = World::new();
        world.reversed = reversed;
        let mut web = deployment("web", replicas, &pod("first", Some(2)));
        web["spec"]["minReadySeconds"] = min_ready_seconds.into();
        web["spec"]["strategy"]["rollingUpdate"] =
            json!({ "maxSurge": max_surge, "maxUnavailable": max_unavailable });
        let spec = Spec::of(&web);
        world.create(Kind::Deployment, web);
        world.run_for(20);
        prop_assert_eq!(world.available(min_ready_seconds), usize::try_from(replicas).unwrap());
        let most = usize::try_from(spec.max_pods()).unwrap();
        let least = usize::try_from(spec.min_available()).unwrap();
        world.check = Some(Box::new(move |world| {
            let (alive, available) = (world.alive(), world.available(min_ready_seconds));
            assert!(alive <= most, "{alive} pods, {most} at most");
            assert!(available >= least, "{available} available, {least} at least");
        }));
        for (count, (ready_after, wait)) in templates.iter().enumerate() {
            set_image(&mut world, &format!("image-{count}"), *ready_after);
            world.run_for(*wait);
        }
        set_image(&mut world, "last", Some(1));
        world.run_for(2000);
        prop_assert_eq!(world.alive(), usize::try_from(replicas).unwrap());
        prop_assert_eq!(size(&world, "last"), spec.replicas);
    }
}
