//! Termination messages: what a container says last, and what it cannot do with the file for it.

use std::fs;
use std::path::{Path, PathBuf};

use probelet_model::pod::{HostPathType, TerminationMessage, User};
use probelet_runtime::{ContainerConfig, Exit, Network, Runtime, StartContainerError};

use crate::suite::*;

fn at(id: &str, path: impl Into<PathBuf>, script: &str) -> ContainerConfig {
    let termination_message = TerminationMessage {
        path: path.into(),
        fall_back_to_logs: false,
    };
    ContainerConfig {
        termination_message,
        ..sh(id, script)
    }
}

fn or_log(id: &str, script: &str) -> ContainerConfig {
    let mut config = sh(id, script);
    config.termination_message.fall_back_to_logs = true;
    config
}

fn message(exit: &Exit) -> &str {
    exit.message.as_deref().unwrap_or_default()
}

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
fn a_run_begins_with_an_empty_file() {
    run(async {
        let mut world = World::native();
        let pod = world.pod("fresh", Vec::new()).await;
        world
            .sh(&pod, "one", "echo one > /dev/termination-log")
            .await;
        assert_eq!(message(&world.exit("one").await), "one\n");
        world
            .sh(&pod, "two", "cat /dev/termination-log; exit 1")
            .await;
        assert_eq!(world.exit("two").await.message, None);
    });
}

#[test]
fn the_log_stands_in_only_for_a_failure_without_a_file() {
    run(async {
        let mut world = World::native();
        let pod = world.pod("fall", Vec::new()).await;
        let rows = [
            (
                or_log("fails", "echo out; echo err >&2; exit 1"),
                Some("out\nerr\n"),
            ),
            (or_log("ends well", "echo out"), None),
            (
                or_log(
                    "has words",
                    "echo mine > /dev/termination-log; echo out; exit 1",
                ),
                Some("mine\n"),
            ),
            (or_log("silent", "exit 1"), None),
            (sh("file only", "echo out; exit 1"), None),
        ];
        for (config, expect) in rows {
            let id = config.id.to_string();
            world.runtime.start_container(&pod, config).await.unwrap();
            assert_eq!(world.exit(&id).await.message.as_deref(), expect, "{id}");
        }
    });
}

#[test]
fn a_hostile_container_harms_nobody_and_its_exit_is_told() {
    run(async {
        let mut world = World::native();
        let pod = world.pod("hostile", Vec::new()).await;
        let file = "/dev/termination-log";
        // The exit codes show that the container could not do it.
        let rows = [
            ("symlink", format!("ln -sf /etc/passwd {file}"), true, 0),
            (
                "rename",
                format!("echo x > /dev/x; mv -f /dev/x {file}"),
                true,
                0,
            ),
            ("remove", format!("rm -f {file}"), true, 0),
            ("unmount", format!("umount {file}"), true, 0),
            ("fifo", format!("rm -f {file}; mkfifo {file}"), true, 0),
            ("huge", format!("truncate -s 100G {file}"), false, 4096),
            (
                "locked",
                format!("echo -n hi > {file}; chmod 0 {file}"),
                false,
                2,
            ),
            ("binary", format!("printf 'a\\377b' > {file}"), false, 5),
        ];
        for (id, script, fails, length) in rows {
            world.sh(&pod, id, &script).await;
            let exit = world.exit(id).await;
            assert_eq!(exit.code != 0, fails, "{id}: {exit:?}");
            assert_eq!(message(&exit).len(), length, "{id}");
        }
    });
}

#[test]
fn what_cannot_be_mounted_is_said() {
    run(async {
        let world = World::native();
        let pod = world.pod("odd", Vec::new()).await;
        let rows = [
            (
                "/proc/msg",
                "terminationMessagePath: \"/proc/msg\" cannot be mounted because it is inside /proc",
            ),
            (
                "/etc",
                "terminationMessagePath: mount at /etc: is a directory",
            ),
            (
                "/etc/passwd/msg",
                "terminationMessagePath: mount at /etc/passwd/msg: not a directory",
            ),
        ];
        for (index, (path, text)) in rows.into_iter().enumerate() {
            let config = at(&format!("odd-{index}"), path, "true");
            let error = world.runtime.start_container(&pod, config).await;
            assert_eq!(
                error,
                Err(StartContainerError::Create(text.into())),
                "{path}"
            );
        }
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
