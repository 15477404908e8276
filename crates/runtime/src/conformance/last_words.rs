//! Termination messages: what a container says last, and what it cannot do with the file for it.
use crate::{ContainerConfig, Exit, Runtime, StartContainerError};
use probelet_model::pod::TerminationMessage;
use std::path::PathBuf;

use super::world::*;

pub fn at(id: &str, path: impl Into<PathBuf>, script: &str) -> ContainerConfig {
    let termination_message = TerminationMessage {
        path: path.into(),
        fall_back_to_logs: false,
    };
    ContainerConfig {
        termination_message,
        ..sh(id, script)
    }
}

pub fn or_log(id: &str, script: &str) -> ContainerConfig {
    let mut config = sh(id, script);
    config.termination_message.fall_back_to_logs = true;
    config
}

pub fn message(exit: &Exit) -> &str {
    exit.message.as_deref().unwrap_or_default()
}

pub async fn a_run_begins_with_an_empty_file<R: Runtime>(mut world: World<R>) {
    let pod = world.pod("fresh", Vec::new()).await;
    world
        .sh(&pod, "one", "echo one > /dev/termination-log")
        .await;
    assert_eq!(message(&world.exit("one").await), "one\n");
    world
        .sh(&pod, "two", "cat /dev/termination-log; exit 1")
        .await;
    assert_eq!(world.exit("two").await.message, None);
}

pub async fn the_log_stands_in_only_for_a_failure_without_a_file<R: Runtime>(mut world: World<R>) {
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
}

pub async fn a_hostile_container_harms_nobody_and_its_exit_is_told<R: Runtime>(
    mut world: World<R>,
) {
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
}

pub async fn what_cannot_be_mounted_is_said<R: Runtime>(world: World<R>) {
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
            Err(StartContainerError::Start(text.into())),
            "{path}"
        );
    }
}
