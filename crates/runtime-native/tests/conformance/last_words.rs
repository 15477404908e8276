//! Termination messages: what a container says last, and what it cannot do with the file for it.
use crate::suite::*;
use probelet_model::pod::{HostPathType, User};
use probelet_runtime::conformance::last_words::*;
use probelet_runtime::{Network, Runtime};
use std::fs;
use std::path::Path;

#[test]
fn the_message_is_what_is_in_the_file_wherever_that_is() {
    run(async {
        let mut world = World::native();
        let outside = world.path("outside");
        fs::create_dir(&outside).unwrap();
        let volumes = vec![
            empty_dir("scratch", false, None),
            host_path("outside", &outside, HostPathType::Directory),
        ];
        let pod = world.pod("words", volumes).await;
        let mut in_volume = at("volume", "/scratch/msg", "echo ok > /scratch/msg");
        in_volume.mounts = vec![mount("scratch", "/scratch", false)];
        let mut read_only = at("ro", "/outside/msg", "echo ok > /outside/msg");
        read_only.mounts = vec![mount("outside", "/outside", true)];
        let mut as_user = sh("user", "echo ok > /dev/termination-log");
        as_user.user = User {
            uid: Some(4000),
            gid: None,
        };
        for config in [
            sh("default", "echo ok > /dev/termination-log; exit 3"),
            at("root", "/termination", "echo ok > /termination"),
            at(
                "deep",
                "/usr/share/some/where",
                "echo ok > /usr/share/some/where",
            ),
            at("there", "/etc/passwd", "echo ok > /etc/passwd"),
            at("tmp", "/tmp/msg", "echo ok > /tmp/msg"),
            in_volume,
            read_only,
            as_user,
        ] {
            let id = config.id.to_string();
            world.runtime.start_container(&pod, config).await.unwrap();
            assert_eq!(message(&world.exit(&id).await), "ok\n", "{id}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        for path in ["/dev/termination-log", "/termination", "/usr/share/some"] {
            assert!(!Path::new(path).exists(), "{path} of the host");
        }
        let left = fs::read_dir(world.path("data/run/words/messages")).unwrap();
        assert_eq!(left.count(), 0, "read files are removed");
    });
}

#[test]
fn the_message_survives_the_agent_and_the_shim() {
    run(async {
        let mut world = World::native();
        let config = pod("lasting", Network::Host, Vec::new());
        world.runtime.start_pod(config).await.unwrap();
        let pod = "lasting".into();
        world
            .sh(&pod, "ended", "echo one > /dev/termination-log")
            .await;
        world.exit("ended").await;
        let mut failing = or_log("cut", "echo from the log; exec sleep 1000");
        failing.name = "other".into();
        world.runtime.start_container(&pod, failing).await.unwrap();
        let log = world.path("data/logs/default_pod-lasting_lasting/other/0.log");
        eventually(async || {
            fs::read_to_string(&log)
                .ok()
                .filter(|text| !text.is_empty())
        })
        .await;

        let next = native(world.dir.path());
        let records = next.pods().await.unwrap();
        let exit = records[0].containers[0].exit.as_ref().unwrap();
        assert_eq!(message(exit), "one\n");

        let shim = world.dir.shim("lasting").unwrap();
        rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
        let pid = shim.as_raw_nonzero().get().unsigned_abs();
        eventually(async || (!is_running(pid)).then_some(())).await;
        let records = native(world.dir.path()).pods().await.unwrap();
        let exits = records[0]
            .containers
            .iter()
            .map(|record| record.exit.as_ref().unwrap());
        let told: Vec<_> = exits.map(|exit| (exit.code, message(exit))).collect();
        assert_eq!(told, [(0, "one\n"), (137, "from the log\n")]);
    });
}
