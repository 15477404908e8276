//! What containers see of files: volumes and the host.
use crate::{Network, Runtime, StartPodError};
use probelet_model::pod::HostPathType;
use std::fs;

use super::world::*;

pub async fn volumes_of_every_type_are_checked<R: Runtime>(world: World<R>) {
    fs::write(world.path("file"), "content").unwrap();
    let file = world.path("file");
    for (kind, what) in [
        (HostPathType::Directory, "a directory"),
        (HostPathType::Socket, "a socket file"),
        (HostPathType::CharDevice, "a character device"),
        (HostPathType::BlockDevice, "a block device"),
    ] {
        let config = pod("checks", Network::Host, vec![host_path("v", &file, kind)]);
        let text = format!(
            "MountVolume.SetUp failed for volume \"v\" : hostPath type check failed: {} is not {what}",
            file.display()
        );
        assert_eq!(
            world.runtime.start_pod(config).await,
            Err(StartPodError::Volume(text))
        );
    }
    assert!(
        !world.kept("checks").exists(),
        "a pod that could not be made leaves nothing"
    );
    let (dir, made) = (world.path("a/b"), world.path("made"));
    let volumes = vec![
        host_path("dir", &dir, HostPathType::DirectoryOrCreate),
        host_path("made", &made, HostPathType::FileOrCreate),
        host_path("file", &file, HostPathType::File),
        host_path("later", world.path("later"), HostPathType::Unset),
    ];
    let uid = world.pod("checks", volumes).await;
    assert!(dir.is_dir() && made.is_file());
    let mut config = sh("c", "exec sleep 1000");
    config.mounts = vec![
        mount("dir", "/etc/added/deep", false),
        mount("made", "/etc/added/deep/file", false),
        mount("file", "/nowhere/on/host", true),
        mount("later", "/usr/lib/later", false),
    ];
    world.runtime.start_container(&uid, config).await.unwrap();
    assert!(world.path("later").is_dir());
    let script = "echo x > /etc/added/deep/new; echo y > /etc/added/deep/file; echo z > /usr/lib/later/new; \
            cat /nowhere/on/host; echo no > /nowhere/on/host";
    let output = world.exec(&uid, "c", script).await;
    assert_eq!(
        (output.exit_code, &output.stdout[..]),
        (2, &b"content"[..]),
        "{output:?}"
    );
    assert_eq!(fs::read_to_string(dir.join("new")).unwrap(), "x\n");
    assert_eq!(fs::read_to_string(made).unwrap(), "y\n");
    assert_eq!(fs::read_to_string(world.path("later/new")).unwrap(), "z\n");
    assert_eq!(fs::read_to_string(file).unwrap(), "content");
}

pub async fn empty_dirs_are_shared_outlive_containers_and_end_with_the_pod<R: Runtime>(
    mut world: World<R>,
) {
    let uid = world
        .pod(
            "empty",
            vec![
                empty_dir("disk", false, None),
                empty_dir("ram", true, Some(65536)),
            ],
        )
        .await;
    let with = |mut config: crate::ContainerConfig, read_only| {
        config.mounts = vec![
            mount("disk", "/disk", read_only),
            mount("ram", "/ram", read_only),
        ];
        config
    };
    let script = "stat -c %a /disk /ram > /disk/modes; echo one > /disk/f; echo two > /ram/f; mkdir -m 0 /disk/locked; \
            head -c 100000 /dev/zero > /ram/big";
    world
        .runtime
        .start_container(&uid, with(sh("a", script), false))
        .await
        .unwrap();
    assert_eq!(
        world.exit("a").await.code,
        1,
        "the memory volume has a limit"
    );
    world
        .runtime
        .start_container(&uid, with(sh("b", "exec sleep 1000"), true))
        .await
        .unwrap();
    assert_eq!(
        world
            .output(
                &uid,
                "b",
                "cat /disk/modes /disk/f /ram/f; stat -f -c %T /ram"
            )
            .await,
        "777\n777\none\ntwo\ntmpfs"
    );
    assert_ne!(world.exec(&uid, "b", "echo > /disk/g").await.exit_code, 0);
    assert_ne!(world.exec(&uid, "b", "echo > /ram/g").await.exit_code, 0);
    world.runtime.remove_pod(&uid).await.unwrap();
    assert!(!world.kept("empty").exists());
}

pub async fn root_in_a_container_cannot_make_the_host_writable<R: Runtime>(world: World<R>) {
    let uid = world.pod("root", Vec::new()).await;
    // Both the main program and a command beside it; Docker's set is a80425fb, and MKNOD is left out of it.
    let bounded = "grep -qx 'CapBnd:.00000000a00425fb' /proc/self/status";
    world
        .sh(&uid, "c", &format!("{bounded} && exec sleep 1000"))
        .await;
    for (script, expected) in [
        (bounded, 0),
        (
            "mount -o remount,rw,bind /usr 2>/dev/null; echo > /usr/new",
            2,
        ),
        (
            "unshare -Urm sh -c 'mount -o remount,rw,bind /usr; echo > /usr/new' 2>/dev/null",
            1,
        ),
    ] {
        let output = world.exec(&uid, "c", script).await;
        assert_eq!(output.exit_code, expected, "{script}: {output:?}");
    }
}
