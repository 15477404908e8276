//! Images that want out of their root.
use super::layers::{Layer, sh_on};
use crate::{Runtime, StartContainerError};
use std::fs;
use std::os::unix::fs::symlink;

use super::world::*;

pub const SLEEP: &str = "exec sleep 1000";

pub async fn symlinks_that_others_make_in_a_volume_are_not_followed_out<R: Runtime>(
    world: World<R>,
) {
    let base = Layer::busybox(world.dir.path());
    let victim = world.path("victim");
    fs::create_dir(&victim).unwrap();
    let volumes = vec![empty_dir("v", false, None), empty_dir("w", false, None)];
    let uid = world.pod("swap", volumes).await;
    let volume = world.kept("swap").join("volumes/v");
    symlink(&victim, volume.join("abs")).unwrap();
    let mut config = sh_on(&[&base], "c", SLEEP);
    config.mounts = vec![mount("v", "/v", false), mount("w", "/v/abs/deep", false)];
    world.runtime.start_container(&uid, config).await.unwrap();
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
    let script = format!("echo x > {}/deep/x; ls /v/abs/deep", victim.display());
    assert_eq!(world.output(&uid, "c", &script).await, "x");
    assert!(world.kept("swap").join("volumes/w/x").exists());
}

pub async fn volumes_that_an_image_asks_for_stay_inside_too<R: Runtime>(world: World<R>) {
    let base = Layer::busybox(world.dir.path());
    let victim = world.path("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("of-the-host"), "").unwrap();
    let up = "../".repeat(20);
    base.link(
        "out",
        format!("{up}{}", victim.strip_prefix("/").unwrap().display()),
    );
    base.link("fds", "/proc/self/fd");
    base.file("plain", "");
    let uid = world.pod("asks", Vec::new()).await;
    let over_root = "make the image's volumes: volume of the image: cannot be mounted over /";
    for (id, path, expect) in [
        ("a", "/out", None),
        ("b", "/out/x/../deep", None),
        ("c", "/", Some(over_root)),
        (
            "d",
            "/bin/../..",
            Some("volume of the image: cannot be mounted over /"),
        ),
        (
            "e",
            "/plain",
            Some("copy the image's volume /plain: not a directory"),
        ),
        (
            "f",
            "/proc/x",
            Some("volume of the image: \"/proc/x\" cannot be mounted because it is inside /proc"),
        ),
    ] {
        let mut config = sh_on(&[&base], id, SLEEP);
        config.name = id.into();
        config.image.as_mut().unwrap().volumes = vec![path.into()];
        let started = world.runtime.start_container(&uid, config).await;
        match expect {
            Some(text) => {
                let text = text.to_owned();
                let refused = if text.contains("the image's volume") {
                    StartContainerError::Create(text)
                } else {
                    StartContainerError::Start(text)
                };
                assert_eq!(started, Err(refused));
            }
            None => {
                started.unwrap();
                let script = format!("echo x > {path}/new; ls {path}; ls {}", victim.display());
                let seen = world.output(&uid, id, &script).await;
                assert!(
                    seen.starts_with("new") && !seen.contains("of-the-host"),
                    "{seen}"
                );
            }
        }
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 1, "{path}");
    }
}
