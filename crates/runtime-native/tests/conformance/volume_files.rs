//! Volumes that are made of objects.

use std::fs;

use probelet_model::pod::{User, Volume, VolumeSource};
use probelet_model::volume::{FileSource, KeysOf};
use probelet_runtime::{
    Event, PodConfig, Runtime, RuntimeError, StartPodError, VolumeFile, VolumeFiles,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::suite::*;

type Make = fn(KeysOf) -> FileSource;

fn volume(name: &str, source: Make) -> Volume {
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

fn files(content: &[(&str, u32, &str)]) -> VolumeFiles {
    let files = content.iter().map(|(path, mode, text)| VolumeFile {
        path: (*path).into(),
        mode: *mode,
        content: text.as_bytes().into(),
    });
    VolumeFiles {
        files: files.collect(),
    }
}

fn pod_with(uid: &str, volumes: Vec<(Volume, VolumeFiles)>) -> PodConfig {
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

#[test]
fn files_have_modes_and_secrets_are_in_memory() {
    run(async {
        let world = World::native();
        let content = files(&[("key", 0o400, "one"), ("dir/other", 0o755, "two")]);
        let config = pod_with(
            "modes",
            vec![
                (volume("config", FileSource::ConfigMap), content.clone()),
                (volume("secret", FileSource::Secret), content.clone()),
            ],
        );
        world.runtime.start_pod(config).await.unwrap();
        let uid = "modes".into();
        let mut container = sh("c", "exec sleep 1000");
        container.mounts = vec![
            mount("config", "/etc/config", false),
            mount("secret", "/run/secrets/s", true),
        ];
        world
            .runtime
            .start_container(&uid, container)
            .await
            .unwrap();
        for place in ["/etc/config", "/run/secrets/s"] {
            let script = format!(
                "cd {place}; ls; cat key dir/other; echo; stat -L -c '%a %u' key dir dir/other ..data; \
                readlink key dir; readlink ..data | tr 0-9 d"
            );
            assert_eq!(
                world.output(&uid, "c", &script).await,
                "dir\nkey\nonetwo\n400 0\n755 0\n755 0\n755 0\n..data/key\n..data/dir\n\
                ..dddd_dd_dd_dd_dd_dd.ddddddddd",
                "{place}"
            );
        }
        let kinds =
            "stat -f -c %T /etc/config /run/secrets/s; stat -c %a /etc/config /run/secrets/s";
        let kinds = world.output(&uid, "c", kinds).await;
        let lines: Vec<&str> = kinds.lines().collect();
        assert_eq!(lines[1..], ["tmpfs", "777", "1777"]);
        assert!(
            !world.path("data/run/modes/volumes/secret/key").exists(),
            "not on the host"
        );
        let written = fs::read_to_string(world.path("data/run/modes/config.json")).unwrap();
        assert!(
            !written.contains("one") && written.contains("secret"),
            "{written}"
        );
        // What is remembered of a pod is without what is in its volumes.
        let records = world.runtime.pods().await.unwrap();
        assert!(records[0].config.volume_files.is_empty());
        world.runtime.remove_pod(&uid).await.unwrap();
        assert!(!world.path("data/run/modes").exists());
    });
}

#[test]
fn a_volume_of_files_cannot_be_written_to() {
    run(async {
        let world = World::native();
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
    });
}

#[test]
fn an_update_is_seen_at_one_moment() {
    run(async {
        let mut world = World::native();
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
        let place = world.path("data/run/moment/volumes/disk");
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
    });
}

#[test]
fn a_lost_pod_gets_its_files_anew() {
    run(async {
        let mut world = World::native();
        let config = |n: &str| {
            let content = files(&[("a", 0o444, n), (&format!("only{n}"), 0o444, "")]);
            let volumes = [
                (volume("disk", FileSource::ConfigMap), content.clone()),
                (volume("ram", FileSource::Secret), content),
            ];
            pod_with("lost", volumes.into())
        };
        world.runtime.start_pod(config("1")).await.unwrap();
        kill_process(world.dir.shim("lost").unwrap(), Signal::KILL).unwrap();
        let uid: probelet_model::id::PodUid = "lost".into();
        assert_eq!(world.event().await, Event::PodLost { pod: uid.clone() });
        world.runtime.start_pod(config("2")).await.unwrap();
        let mut container = sh("c", "exec sleep 1000");
        container.mounts = vec![mount("disk", "/disk", true), mount("ram", "/ram", true)];
        world
            .runtime
            .start_container(&uid, container)
            .await
            .unwrap();
        for place in ["/disk", "/ram"] {
            let script = format!("cd {place}; cat a; ls -A | tr '\\n' ' '");
            let seen = world.output(&uid, "c", &script).await;
            let (a, names) = seen.split_at(1);
            let names: Vec<&str> = names.split_whitespace().skip(1).collect();
            assert_eq!(
                (a, &names[..]),
                ("2", &["..data", "a", "only2"][..]),
                "{place}: {seen}"
            );
        }
    });
}

/// What a process holds in memory, in kB.
fn resident(process: Pid) -> u64 {
    let file = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = fs::read_to_string(file).unwrap();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

#[test]
fn large_content_arrives_whole() {
    run(async {
        let world = World::native();
        let large = |letter: &str| files(&[("big", 0o644, &letter.repeat(5_000_000))]);
        let config = pod_with("large", vec![(volume("v", FileSource::Secret), large("a"))]);
        world.runtime.start_pod(config).await.unwrap();
        let uid = "large".into();
        let mut container = sh("c", "exec sleep 1000");
        container.mounts = vec![mount("v", "/v", true)];
        world
            .runtime
            .start_container(&uid, container)
            .await
            .unwrap();
        let count = "tr -d a < /v/big | wc -c; wc -c < /v/big";
        assert_eq!(world.output(&uid, "c", count).await, "0\n5000000");
        let shim = world.dir.shim("large").unwrap();
        let before = resident(shim);
        for letter in ["b", "c", "b"] {
            let updated = world.runtime.update_volume(&uid, "v", large(letter));
            updated.await.unwrap();
        }
        assert_eq!(world.output(&uid, "c", count).await, "5000000\n5000000");
        let after = resident(shim);
        assert!(after < before + 2048, "{before} kB, then {after} kB");
    });
}

#[test]
fn what_cannot_be_written_is_said_and_changes_nothing() {
    run(async {
        let world = World::native();
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
        let text = "MountVolume.SetUp failed for volume \"v\" : invalid path: must not contain '..': ../out";
        assert_eq!(refused.await, Err(StartPodError::Volume(text.into())));
        let missing = set_up("refused", volume("v", FileSource::Secret), [].into());
        let text = "MountVolume.SetUp failed for volume \"v\" : its files were not given";
        assert_eq!(missing.await, Err(StartPodError::Volume(text.into())));
        assert!(!world.path("data/run/refused").exists());

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
    });
}
