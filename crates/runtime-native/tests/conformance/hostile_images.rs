//! Images that want out of their root.
use crate::suite::*;
use probelet_runtime::conformance::hostile_images::*;
use probelet_runtime::conformance::layers::{Ids, Layer, ids, sh_on};
use probelet_runtime::{Runtime, StartContainerError};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::fs;

#[test]
fn hostile_images_stay_inside() {
    run(async {
        let world = World::native();
        let place = world.dir.path();
        let victim = world.path("victim");
        fs::create_dir(&victim).unwrap();
        let up = format!(
            "{}{}",
            "../".repeat(20),
            victim.strip_prefix("/").unwrap().display()
        );
        let mut config = pod(
            "hostile",
            own("10.213.0.9"),
            vec![empty_dir("v", false, None)],
        );
        config.hosts = Some("hosts".into());
        config.resolv_conf = Some("resolv".into());
        world.runtime.start_pod(config).await.unwrap();
        let uid = "hostile".into();
        let base = Layer::busybox(place);
        base.file("data", "");
        let ordinary =
            |name: &str| format!("filesystem \"{name}\" must be mounted on ordinary directory");
        // What the image makes of a name, and how the start ends.
        type Make = fn(&Layer, &str);
        let link: Make = |layer, to| layer.link("data", to);
        let rows: [(Make, &str, Option<String>); 16] = [
            (
                link,
                "/var/../..",
                Some("volume \"v\": cannot be mounted over /".into()),
            ),
            (
                |layer, _| layer.file("proc", "a file"),
                "",
                Some(ordinary("proc")),
            ),
            (
                |layer, to| layer.link("proc", to),
                &up,
                Some(ordinary("proc")),
            ),
            (
                |layer, to| layer.link("sys", to),
                &up,
                Some(ordinary("sys")),
            ),
            (
                |layer, to| layer.link("dev", to),
                &up,
                Some(ordinary("dev")),
            ),
            (
                |layer, to| layer.link("dev", to),
                "/etc",
                Some(ordinary("dev")),
            ),
            (|layer, to| layer.link("etc", to), "/", None),
            (|layer, to| layer.link("etc", to), &up, None),
            (link, &up, None),
            (
                link,
                "/proc/1/root/tmp",
                Some("volume \"v\": mount at /data: too many levels of symbolic links".into()),
            ),
            (
                link,
                "/proc/self/fd/3",
                Some("volume \"v\": mount at /data: too many levels of symbolic links".into()),
            ),
            (
                link,
                "data",
                Some("volume \"v\": mount at /data: too many levels of symbolic links".into()),
            ),
            (link, "/dev/shm/deep", None),
            (
                |layer, to| layer.link("etc/hosts", to),
                &up,
                Some("/etc/hosts: mount at /etc/hosts: is a directory".into()),
            ),
            (
                |layer, to| layer.link("etc/resolv.conf", to),
                "../../../../nowhere/deep",
                None,
            ),
            (|layer, to| layer.link("etc/passwd", to), "/dev/zero", None),
        ];
        for (number, (make, to, expect)) in rows.into_iter().enumerate() {
            let id = format!("h{number}");
            let layer = Layer::new(place, &id);
            make(&layer, to);
            let mut config = sh_on(&[&base, &layer], &id, SLEEP);
            config.name = id.as_str().into();
            config.mounts = vec![mount("v", "/data", false)];
            if fs::symlink_metadata(layer.path("data")).is_err() {
                layer.dir("data", 0o755);
            }
            let started = world.runtime.start_container(&uid, config).await;
            match expect {
                Some(text) if id == "h13" => {
                    // Nothing of that name in the image: it is made there.
                    assert!(started.is_ok(), "{id}: {started:?} {text}");
                }
                Some(text) => assert_eq!(started, Err(StartContainerError::Start(text)), "{id}"),
                None => {
                    started.unwrap_or_else(|error| panic!("{id}: {error}"));
                    let script = "echo x > /data/x; cat /etc/hosts; ls -d / /proc/1";
                    let output = world.output(&uid, &id, script).await;
                    assert_eq!(output, "hosts/\n/proc/1", "{id}");
                }
            }
            assert_eq!(fs::read_dir(&victim).unwrap().count(), 0, "{id}");
            assert!(!place.parent().unwrap().join("nowhere").exists());
        }
    });
}

#[test]
fn devices_in_an_image_are_but_names() {
    run(async {
        if ids() != Ids::Root {
            println!("devices in an image: only root can make one");
            return;
        }
        let world = World::native();
        let base = Layer::busybox(world.dir.path());
        let (kind, mode) = (FileType::CharacterDevice, Mode::from_raw_mode(0o666));
        mknodat(CWD, base.path("zero"), kind, mode, makedev(1, 5)).unwrap();
        let volume = world.path("volume");
        fs::create_dir(&volume).unwrap();
        let uid = world
            .pod("devices", vec![empty_dir("v", false, None)])
            .await;
        let mut config = sh_on(&[&base], "c", SLEEP);
        config.mounts = vec![mount("v", "/v", false)];
        world.runtime.start_container(&uid, config).await.unwrap();
        mknodat(
            CWD,
            world.kept("devices").join("volumes/v/zero"),
            kind,
            mode,
            makedev(1, 5),
        )
        .unwrap();
        let script = "test -c /zero -a -c /v/zero && ! head -c 1 /zero && ! head -c 1 /v/zero";
        let output = world.exec(&uid, "c", script).await;
        assert_eq!(output.exit_code, 0, "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(text.matches("Permission denied").count(), 2, "{text}");
    });
}
