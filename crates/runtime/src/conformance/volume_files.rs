//! Volumes that are made of objects.
use crate::{PodConfig, Runtime, RuntimeError, StartPodError, VolumeFile, VolumeFiles};
use probelet_model::pod::{User, Volume, VolumeSource};
use probelet_model::volume::{FileSource, KeysOf};
use rustix::process::Pid;
use std::fs;

use super::world::*;

pub type Make = fn(KeysOf) -> FileSource;

pub fn volume(name: &str, source: Make) -> Volume {
    let keys = KeysOf {
        name: "object".into(),
        items: Vec::new(),
        optional: false,
    };
    Volume {
        name: name.into(),
        source: VolumeSource::Files {
            sources: vec![source(keys)],
            mode: 0o644,
        },
    }
}

pub fn files(content: &[(&str, u32, &str)]) -> VolumeFiles {
    let files = content.iter().map(|(path, mode, text)| VolumeFile {
        path: (*path).into(),
        mode: *mode,
        content: text.as_bytes().into(),
    });
    VolumeFiles {
        files: files.collect(),
    }
}

pub fn pod_with(uid: &str, volumes: Vec<(Volume, VolumeFiles)>) -> PodConfig {
    let names = volumes
        .iter()
        .map(|(volume, files)| (volume.name.clone(), files.clone()));
    PodConfig {
        volume_files: names.collect(),
        ..pod(
            uid,
            own("10.213.0.9"),
            volumes.into_iter().map(|(volume, _)| volume).collect(),
        )
    }
}

pub async fn a_volume_of_files_cannot_be_written_to<R: Runtime>(world: World<R>) {
    let content = files(&[("key", 0o666, "one")]);
    let config = pod_with("ro", vec![(volume("v", FileSource::ConfigMap), content)]);
    world.runtime.start_pod(config).await.unwrap();
    let uid = "ro".into();
    let mut container = sh("c", "exec sleep 1000");
    container.mounts = vec![mount("v", "/v", false)];
    world
        .runtime
        .start_container(&uid, container)
        .await
        .unwrap();
    for script in [
        "echo > /v/key",
        "echo > /v/new",
        "rm /v/key",
        "rm /v/..data",
    ] {
        let output = world.exec(&uid, "c", script).await;
        assert_ne!(output.exit_code, 0, "{script}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("Read-only file system"),
            "{script}: {output:?}"
        );
    }
}

pub async fn an_update_is_seen_at_one_moment<R: Runtime>(mut world: World<R>) {
    let content = |n: usize| {
        let (n, gone) = (n.to_string(), format!("gone{n}"));
        files(&[("a", 0o444, &n), ("b", 0o444, &n), (&gone, 0o444, "")])
    };
    let volumes = [
        (volume("disk", FileSource::ConfigMap), content(0)),
        (volume("ram", FileSource::Secret), content(0)),
    ];
    world
        .runtime
        .start_pod(pod_with("moment", volumes.into()))
        .await
        .unwrap();
    let uid = "moment".into();
    // Within one directory both files are of one update, and none is ever missing.
    let script = "while :; do for v in /disk /ram; do \
            read a < $v/a || exit 4; [ -e $v/b ] || exit 5; \
            d=$(readlink $v/..data) || exit 6; \
            cmp -s $v/$d/a $v/$d/b || exit 7; \
            if [ $v = /ram ] && [ \"$a\" = 200 ]; then exit 0; fi; done; done";
    let script = script.replace("read a < $v/a", "a=$(cat $v/a)");
    let mut container = sh("c", &script);
    container.mounts = vec![mount("disk", "/disk", true), mount("ram", "/ram", true)];
    container.user = User {
        uid: Some(4000),
        gid: None,
    };
    world
        .runtime
        .start_container(&uid, container)
        .await
        .unwrap();
    for n in 1..=200 {
        for volume in ["disk", "ram"] {
            world
                .runtime
                .update_volume(&uid, volume, content(n))
                .await
                .unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let exit = world.exit("c").await;
    assert_eq!(exit.code, 0, "{exit:?}");
    // What was replaced goes; what is the same replaces nothing.
    let place = world.kept("moment").join("volumes/disk");
    let names = || {
        let mut names: Vec<String> = fs::read_dir(&place)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let left = eventually(async || Some(names()).filter(|names| names.len() == 5)).await;
    assert_eq!(left[1..], ["..data", "a", "b", "gone200"]);
    world
        .runtime
        .update_volume(&uid, "disk", content(200))
        .await
        .unwrap();
    assert_eq!(names(), left);
}

/// What a process holds in memory, in kB.
pub fn resident(process: Pid) -> u64 {
    let file = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = fs::read_to_string(file).unwrap();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

pub async fn what_cannot_be_written_is_said_and_changes_nothing<R: Runtime>(world: World<R>) {
    let set_up = |uid, volume: Volume, content| {
        let mut config = pod_with(uid, vec![(volume, VolumeFiles::default())]);
        config.volume_files = content;
        world.runtime.start_pod(config)
    };
    let outside = files(&[("../out", 0o644, "")]);
    let refused = set_up(
        "refused",
        volume("v", FileSource::Secret),
        [("v".to_owned(), outside.clone())].into(),
    );
    let text =
        "MountVolume.SetUp failed for volume \"v\" : invalid path: must not contain '..': ../out";
    assert_eq!(refused.await, Err(StartPodError::Volume(text.into())));
    let missing = set_up("refused", volume("v", FileSource::Secret), [].into());
    let text = "MountVolume.SetUp failed for volume \"v\" : its files were not given";
    assert_eq!(missing.await, Err(StartPodError::Volume(text.into())));
    assert!(!world.kept("refused").exists());

    let uid = "there".into();
    let config = pod_with(
        "there",
        vec![
            (
                volume("v", FileSource::ConfigMap),
                files(&[("a", 0o644, "1")]),
            ),
            (empty_dir("scratch", false, None), VolumeFiles::default()),
        ],
    );
    world.runtime.start_pod(config).await.unwrap();
    let update = async |pod: &str, volume: &str| {
        let (pod, files) = (pod.into(), outside.clone());
        let updated = world.runtime.update_volume(&pod, volume, files);
        updated.await.unwrap_err()
    };
    assert_eq!(
        update("none", "v").await,
        RuntimeError::NoPod("none".into())
    );
    let failed = |volume: &str, why: &str| {
        RuntimeError::Failed(format!("update volume \"{volume}\" of pod there: {why}"))
    };
    for volume in ["w", "scratch"] {
        let why = format!("the pod has no volume of files \"{volume}\"");
        assert_eq!(update("there", volume).await, failed(volume, &why));
    }
    let why = "invalid path: must not contain '..': ../out";
    assert_eq!(update("there", "v").await, failed("v", why));
    let mut container = sh("c", "exec sleep 1000");
    container.mounts = vec![mount("v", "/v", true)];
    world
        .runtime
        .start_container(&uid, container)
        .await
        .unwrap();
    assert_eq!(world.output(&uid, "c", "cat /v/a").await, "1");
}
