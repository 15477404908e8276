//! Volumes that are made of objects.
use crate::suite::*;
use probelet_model::volume::FileSource;
use probelet_runtime::conformance::volume_files::*;
use probelet_runtime::{Event, Runtime};
use rustix::process::{Signal, kill_process};
use std::fs;

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
            !world.kept("modes").join("volumes/secret/key").exists(),
            "not on the host"
        );
        let written = fs::read_to_string(world.path("data/run/modes/config.json")).unwrap();
        assert!(
            !written.contains("\"one\"") && written.contains("secret"),
            "{written}"
        );
        // What is remembered of a pod is without what is in its volumes.
        let records = world.runtime.pods().await.unwrap();
        assert!(records[0].config.volume_files.is_empty());
        world.runtime.remove_pod(&uid).await.unwrap();
        assert!(!world.kept("modes").exists());
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
fn what_is_in_memory_is_bounded_and_not_swapped() {
    run(async {
        let world = World::native();
        let content = files(&[("key", 0o400, "one")]);
        let mut config = pod_with(
            "bounded",
            vec![(volume("secret", FileSource::Secret), content)],
        );
        config.volumes.push(empty_dir("any", true, None));
        config.volumes.push(empty_dir("small", true, Some(1 << 20)));
        config.resources.limits.memory = Some(64 << 20);
        world.runtime.start_pod(config).await.unwrap();
        let uid = "bounded".into();
        let mut container = sh("c", "exec sleep 1000");
        container.mounts = ["secret", "any", "small"]
            .map(|name| mount(name, format!("/run/v/{name}"), false))
            .into();
        world
            .runtime
            .start_container(&uid, container)
            .await
            .unwrap();
        let swappable = !rustix::process::geteuid().is_root() || kernel() < (6, 4);
        for (name, size) in [
            ("secret", "size=65536k"),
            ("any", "size=65536k"),
            ("small", "size=1024k"),
        ] {
            let script = format!("grep ' /run/v/{name} ' /proc/mounts");
            let line = world.output(&uid, "c", &script).await;
            let options: Vec<&str> = line.split([',', ' ']).collect();
            assert!(options.contains(&size), "{line}");
            assert!(swappable || options.contains(&"noswap"), "{line}");
        }
    });
}

fn kernel() -> (u32, u32) {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split('.').map_while(|part| part.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap_or(0))
}
