//! Cgroups: limits, who is killed for memory, which devices, and that nothing of them is left. Who runs the tests
//! without root, or where no cgroup can be made, has none; then a case says so by name.

use std::fs;
use std::path::{Path, PathBuf};

use probelet_model::pod::HostPathType;
use probelet_model::resources::{Amounts, Qos, Resources};
use probelet_runtime::{ContainerConfig, Event, Network, PodConfig, Runtime};
use probelet_runtime_native::NativeRuntime;
use rustix::process::{Signal, kill_process};

use crate::suite::{
    Native, OfNative, World, eventually, host_path, mount, native, own, pod, request, run, sh,
};

const NONE: [PathBuf; 0] = [];

fn limits(cpu_milli: Option<u64>, memory: Option<u64>) -> Resources {
    let amounts = Amounts {
        cpu_milli,
        memory,
        ephemeral_storage: None,
    };
    Resources {
        requests: amounts,
        limits: amounts,
    }
}

fn limited(id: &str, script: &str, resources: Resources) -> ContainerConfig {
    ContainerConfig {
        resources,
        ..sh(id, script)
    }
}

/// The cgroups of a process that Probelet has made, by what they are for; version 2 is for "".
fn cgroups(pid: u32) -> Vec<(String, PathBuf)> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let own = text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let root = match controllers {
            "" if Path::new("/sys/fs/cgroup/unified").exists() => "/sys/fs/cgroup/unified".into(),
            "" => PathBuf::from("/sys/fs/cgroup"),
            controllers => Path::new("/sys/fs/cgroup").join(controllers),
        };
        let path = path.trim_start_matches('/');
        path.contains("probelet/")
            .then(|| (controllers.to_owned(), root.join(path)))
    });
    own.collect()
}

/// What stands in one of a process's cgroup files, by its name in version 1 and in version 2.
fn setting(pid: u32, file: &str, unified: &str) -> Option<String> {
    let found = cgroups(pid).into_iter().find_map(|(of, dir)| {
        let file = if of.is_empty() { unified } else { file };
        fs::read_to_string(dir.join(file)).ok()
    });
    found.map(|text| text.trim().to_owned())
}

/// Every cgroup of a world's pods with this text in its name.
fn cgroups_with(world: &World<NativeRuntime>, text: &str) -> Vec<PathBuf> {
    let (mut found, mut dirs) = (Vec::new(), world.dir.cgroups());
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push(entry.path());
                if entry.file_name().to_string_lossy().contains(text) {
                    found.push(entry.path());
                }
            }
        }
    }
    found
}

/// Whether there are cgroups for this process; says so if not.
fn has_cgroups(pid: u32, case: &str) -> bool {
    let there = !cgroups(pid).is_empty();
    assert!(
        there || !rustix::process::geteuid().is_root() || !Path::new("/sys/fs/cgroup").exists(),
        "root has cgroups"
    );
    if !there {
        println!("{case}: not here, no cgroup can be made by this user");
    }
    there
}

fn pod_with(uid: &str, resources: Resources, qos: Qos) -> PodConfig {
    PodConfig {
        resources,
        qos,
        ..pod(uid, own("10.213.0.9"), Vec::new())
    }
}

#[test]
fn limits_are_in_the_containers_own_cgroups() {
    run(async {
        let world = World::native();
        let asked = limits(Some(250), Some(64 << 20));
        let config = pod_with("cg-limits", asked, Qos::Guaranteed);
        world.runtime.start_pod(config).await.unwrap();
        let uid = "cg-limits".into();
        let config = limited("c", "sleep 1000", asked);
        let started = world.runtime.start_container(&uid, config).await.unwrap();
        if !has_cgroups(started.pid, "limits_are_in_the_containers_own_cgroups") {
            return;
        }
        let setting = |file, unified| setting(started.pid, file, unified);
        assert!(
            [Some("67108864".to_owned())].contains(&setting("memory.limit_in_bytes", "memory.max"))
        );
        let shares = setting("cpu.shares", "cpu.weight");
        assert!(
            matches!(shares.as_deref(), Some("256" | "35")),
            "{shares:?}"
        );
        let quota = setting("cpu.cfs_quota_us", "cpu.max");
        assert!(
            matches!(quota.as_deref(), Some("25000" | "25000 100000")),
            "{quota:?}"
        );
        // The pod's, above them, have what all containers have together.
        let (_, dir) = cgroups(started.pid)
            .into_iter()
            .find(|(of, _)| of.is_empty() || of == "memory")
            .unwrap();
        let pod = dir.parent().unwrap();
        assert!(pod.ends_with("podcg-limits"), "{pod:?}");
        let of_pod = fs::read_to_string(pod.join("memory.limit_in_bytes"))
            .or_else(|_| fs::read_to_string(pod.join("memory.max")));
        assert_eq!(of_pod.unwrap().trim(), "67108864");

        // All pods together weigh as much as the host has CPUs.
        let weights = world.dir.cgroups().into_iter().filter_map(|dir| {
            fs::read_to_string(dir.join("cpu.shares"))
                .or_else(|_| fs::read_to_string(dir.join("cpu.weight")))
                .ok()
        });
        let weights: Vec<String> = weights.collect();
        let cpus = std::thread::available_parallelism().unwrap().get();
        assert!(!weights.is_empty());
        for weight in weights {
            let weight: usize = weight.trim().parse().unwrap();
            assert!(cpus == 1 || weight > 100, "{weight} for {cpus}");
        }

        // A command beside the main program is in the same, a session too, and the shim is in none.
        let beside = world.output(&uid, "c", "cat /proc/self/cgroup").await;
        for (_, dir) in cgroups(started.pid) {
            let path = dir.to_string_lossy();
            let (_, below) = path.split_once("/probelet/").unwrap();
            assert!(beside.contains(below), "{below} not in {beside}");
        }
        let shim = world.dir.shim("cg-limits").unwrap();
        assert_eq!(cgroups(shim.as_raw_nonzero().get().unsigned_abs()), []);
    });
}

#[test]
fn a_container_that_uses_up_its_memory_is_killed_and_says_so() {
    run(async {
        let mut world = World::native();
        let uid = world.pod("cg-oom", Vec::new()).await;
        let started = world.sh(&uid, "first", "sleep 1000").await;
        if !has_cgroups(
            started.pid,
            "a_container_that_uses_up_its_memory_is_killed_and_says_so",
        ) {
            return;
        }
        let config = limited("c", "exec tail /dev/zero", limits(None, Some(24 << 20)));
        world.runtime.start_container(&uid, config).await.unwrap();
        let exit = world.exit("c").await;
        assert_eq!((exit.code, exit.signal), (137, Some(9)));
        assert!(exit.out_of_memory);
        // One that is only killed does not say so.
        let stopped = world
            .runtime
            .stop_container(&uid, &"first".into(), std::time::Duration::ZERO)
            .await;
        stopped.unwrap();
        let exit = world.exit("first").await;
        assert!(!exit.out_of_memory, "{exit:?}");
    });
}

#[test]
fn what_uses_up_the_memory_in_a_command_is_killed_too() {
    run(async {
        let world = World::native();
        let uid = world.pod("cg-oom-exec", Vec::new()).await;
        let config = limited("c", "sleep 1000", limits(None, Some(24 << 20)));
        let started = world.runtime.start_container(&uid, config).await.unwrap();
        if !has_cgroups(
            started.pid,
            "what_uses_up_the_memory_in_a_command_is_killed_too",
        ) {
            return;
        }
        let output = world
            .runtime
            .exec(&uid, &"c".into(), request("exec tail /dev/zero"))
            .await;
        // With `memory.oom.group`, the whole container goes with it.
        assert!(
            output.as_ref().is_ok_and(|output| output.exit_code == 137) || output.is_err(),
            "{output:?}"
        );
    });
}

#[test]
fn a_container_gets_no_more_of_a_cpu_than_its_limit() {
    run(async {
        let world = World::native();
        let uid = world.pod("cg-cpu", Vec::new()).await;
        let config = limited("c", "while :; do :; done", limits(Some(50), None));
        let started = world.runtime.start_container(&uid, config).await.unwrap();
        if !has_cgroups(
            started.pid,
            "a_container_gets_no_more_of_a_cpu_than_its_limit",
        ) {
            return;
        }
        eventually(async || {
            let stat = setting(started.pid, "cpu.stat", "cpu.stat").filter(|stat| {
                let throttled = stat
                    .lines()
                    .find_map(|line| line.strip_prefix("nr_throttled "));
                throttled.is_some_and(|count| count != "0")
            });
            stat.map(drop)
        })
        .await;
    });
}

#[test]
fn a_device_that_is_not_a_usual_one_cannot_be_opened() {
    run(async {
        let world = World::native();
        let device = ["/dev/net/tun", "/dev/kmsg", "/dev/loop-control"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let Some(device) = device else {
            println!("a_device_that_is_not_a_usual_one_cannot_be_opened: this host has none");
            return;
        };
        let volumes = vec![host_path("device", device, HostPathType::CharDevice)];
        let uid = world.pod("cg-device", volumes).await;
        let with = |id: &str, privileged| {
            let mut config = sh(id, "sleep 1000");
            config.security.privileged = privileged;
            config.name = id.into();
            config.mounts = vec![mount("device", "/tmp/device", false)];
            config
        };
        let started = world
            .runtime
            .start_container(&uid, with("usual", false))
            .await
            .unwrap();
        let here = cgroups(started.pid).iter().any(|(of, _)| of == "devices");
        if !here {
            println!(
                "a_device_that_is_not_a_usual_one_cannot_be_opened: not here, no devices cgroup of version 1"
            );
            return;
        }
        let open = "exec 3</tmp/device";
        let refused = world.exec(&uid, "usual", open).await;
        assert_ne!(refused.exit_code, 0);
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(why.contains("not permitted"), "{why}");
        let usual = "for d in null zero full random urandom; do exec 3</dev/$d || exit 1; done";
        world.output(&uid, "usual", usual).await;
        world
            .runtime
            .start_container(&uid, with("privileged", true))
            .await
            .unwrap();
        world.output(&uid, "privileged", open).await;
    });
}

#[test]
fn the_kernel_is_told_which_pod_to_kill_first() {
    run(async {
        let world = World::native();
        let uid = world.pod("cg-score", Vec::new()).await;
        world.sh(&uid, "c", "sleep 1000").await;
        let score = |pid: &str| format!("cat /proc/{pid}/oom_score_adj");
        assert_eq!(world.output(&uid, "c", &score("1")).await, "1000");
        assert_eq!(world.output(&uid, "c", &score("self")).await, "1000");
        let shim = world.dir.shim("cg-score").unwrap();
        let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
        let file = format!("/proc/{}/oom_score_adj", shim.as_raw_nonzero());
        assert_eq!(fs::read_to_string(file).unwrap(), own);

        let mut config = pod("cg-sidecar", Network::Host, Vec::new());
        config.qos = Qos::Burstable;
        world.runtime.start_pod(config).await.unwrap();
        let uid = "cg-sidecar".into();
        let total = rustix::system::sysinfo();
        let half = total.totalram * u64::from(total.mem_unit) / 2;
        for (id, asked, counts) in [("main", half, None), ("sidecar", 1, Some(half))] {
            let mut config = sh(id, "exec sleep 1000");
            config.name = id.into();
            config.resources.requests.memory = Some(asked);
            config.memory_that_counts = counts;
            world.runtime.start_container(&uid, config).await.unwrap();
            // A thousandth of all may be lost to rounding; what may not be lowered stays.
            let told: i32 = world.output(&uid, id, &score("1")).await.parse().unwrap();
            assert!((500..=501).contains(&told), "{id} {told}");
        }
    });
}

#[test]
fn a_pod_can_have_no_more_processes_than_it_may() {
    run(async {
        let mut world = World::native();
        world.runtime = native(world.dir.path()).with_pod_pids_limit(8);
        world.events = world.runtime.events();
        let uid = world.pod("cg-pids", Vec::new()).await;
        let started = world.sh(&uid, "first", "sleep 1000").await;
        if setting(started.pid, "pids.max", "pids.max").is_none() {
            println!("a_pod_can_have_no_more_processes_than_it_may: not here, no pids cgroup");
            return;
        }
        let many = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1000 & done; exit 0";
        let config = ContainerConfig {
            name: "many".into(),
            ..sh("c", many)
        };
        world.runtime.start_container(&uid, config).await.unwrap();
        let exit = world.exit("c").await;
        assert_ne!(exit.code, 0, "{exit:?}");
    });
}

#[test]
fn cgroups_go_with_the_run_and_with_the_pod() {
    run(async {
        let mut world = World::native();
        let uid = world.pod("cg-gone", Vec::new()).await;
        let started = world.sh(&uid, "stays", "sleep 1000").await;
        if !has_cgroups(started.pid, "cgroups_go_with_the_run_and_with_the_pod") {
            return;
        }
        let config = ContainerConfig {
            name: "other".into(),
            ..sh("cg-ends", "setsid sleep 1000 & exit 0")
        };
        world.runtime.start_container(&uid, config).await.unwrap();
        world.exit("cg-ends").await;
        assert_eq!(cgroups_with(&world, "cg-ends"), NONE);
        assert_ne!(cgroups_with(&world, "podcg-gone"), NONE);
        world.runtime.remove_pod(&uid).await.unwrap();
        assert_eq!(cgroups_with(&world, "podcg-gone"), NONE);
        // Nor is a place for more pods of this data directory left.
        assert_eq!(world.dir.cgroups(), NONE);
    });
}

#[test]
fn the_cgroups_of_a_pod_whose_shim_was_killed_go_too() {
    run(async {
        let mut world = World::native();
        let uid = world.pod("cg-killed", Vec::new()).await;
        let started = world.sh(&uid, "c", "sleep 1000").await;
        if !has_cgroups(
            started.pid,
            "the_cgroups_of_a_pod_whose_shim_was_killed_go_too",
        ) {
            return;
        }
        kill_process(world.dir.shim("cg-killed").unwrap(), Signal::KILL).unwrap();
        assert_eq!(world.event().await, Event::PodLost { pod: uid.clone() });
        assert_eq!(cgroups_with(&world, "podcg-killed"), NONE);

        // The same while no agent was there.
        world.pod("cg-killed", Vec::new()).await;
        let started = world.sh(&uid, "d", "sleep 1000").await;
        assert!(!cgroups(started.pid).is_empty());
        let shim = world.dir.shim("cg-killed").unwrap();
        world.runtime = native(world.dir.path());
        world.events = world.runtime.events();
        kill_process(shim, Signal::KILL).unwrap();
        world.runtime.pods().await.unwrap();
        assert_eq!(cgroups_with(&world, "podcg-killed"), NONE);

        // And of one of which nothing but a cgroup is left.
        world.pod("cg-other", Vec::new()).await;
        for place in world.dir.cgroups() {
            fs::create_dir_all(place.join("podcg-nobody/run")).unwrap();
        }
        world.runtime = native(world.dir.path());
        world.events = world.runtime.events();
        world.runtime.pods().await.unwrap();
        assert_eq!(cgroups_with(&world, "podcg-nobody"), NONE);
        assert_ne!(cgroups_with(&world, "podcg-other"), NONE);
        world.runtime.remove_pod(&uid).await.unwrap();
    });
}
