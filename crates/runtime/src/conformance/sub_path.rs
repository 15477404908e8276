//! Parts of volumes.
use crate::{Runtime, StartContainerError, VolumeFile, VolumeFiles};
use probelet_model::pod::{HostPathType, Volume, VolumeMount, VolumeSource};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::world::*;

pub const SLEEP: &str = "exec sleep 1000";

pub fn part(volume: &str, path: &str, sub_path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        sub_path: Some(sub_path.into()),
        ..mount(volume, path, read_only)
    }
}

pub async fn a_sub_path_is_made_and_mounted<R: Runtime>(world: World<R>) {
    let host = world.path("host");
    fs::create_dir_all(host.join("there")).unwrap();
    fs::write(host.join("there/file"), "of the host").unwrap();
    symlink("there", host.join("link")).unwrap();
    fs::set_permissions(&host, fs::Permissions::from_mode(0o751)).unwrap();
    let files = Volume {
        name: "files".into(),
        source: VolumeSource::Files {
            sources: Vec::new(),
            mode: 0o644,
        },
    };
    let volumes = vec![
        empty_dir("empty", false, None),
        empty_dir("ram", true, None),
        host_path("host", &host, HostPathType::Directory),
        files,
    ];
    let mut config = pod("parts", own("10.213.0.9"), volumes);
    let content = VolumeFiles {
        files: vec![VolumeFile {
            path: "key".into(),
            mode: 0o644,
            content: b"value".into(),
        }],
    };
    config.volume_files.insert("files".into(), content);
    world.runtime.start_pod(config).await.unwrap();
    let uid = "parts".into();
    let mut config = sh("c", SLEEP);
    config.mounts = vec![
        part("empty", "/m/made", "a/b/./c", false),
        part("ram", "/m/ram", "x", false),
        part("host", "/m/host", "new/dir", false),
        part("host", "/m/link", "link", true),
        part("host", "/m/file", "link/file", false),
        part("files", "/m/key", "key", false),
        part("empty", "/m/all", "", false),
    ];
    world.runtime.start_container(&uid, config).await.unwrap();
    let script = "cd /m; for d in made ram host file; do test -d $d && echo $d > $d/f; done; echo more >> file; \
            cat link/file key; touch link/no key/no 2>/dev/null; ls all; stat -c %a made ram host";
    let output = world.output(&uid, "c", script).await;
    assert_eq!(output, "of the hostmore\nvaluea\n777\n777\n751");
    assert_eq!(
        fs::read_to_string(host.join("new/dir/f")).unwrap(),
        "host\n"
    );
    let made = world.kept("parts").join("volumes/empty/a/b/c/f");
    assert_eq!(fs::read_to_string(made).unwrap(), "made\n");
}

pub async fn no_sub_path_leads_out_of_its_volume<R: Runtime>(world: World<R>) {
    let victim = world.path("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("file"), "secret").unwrap();
    let uid = world.pod("escape", vec![empty_dir("v", false, None)]).await;
    let volume = world.kept("escape").join("volumes/v");
    let links: [(&str, &Path); 6] = [
        ("abs", &victim),
        ("root", Path::new("/")),
        ("up", Path::new("../../../../../victim")),
        ("magic", Path::new("/proc/self/root")),
        ("dangling", Path::new("/nowhere/at/all")),
        ("chain", Path::new("up")),
    ];
    for (name, to) in links {
        symlink(to, volume.join(name)).unwrap();
    }
    fs::write(volume.join("plain"), "").unwrap();
    let rows = [
        ("abs", "prepare subPath"),
        ("abs/file", "prepare subPath"),
        ("abs/new", "prepare subPath"),
        ("root", "prepare subPath"),
        ("root/etc/passwd", "prepare subPath"),
        ("up", "prepare subPath"),
        ("up/new", "prepare subPath"),
        ("magic/etc", "prepare subPath"),
        ("chain/file", "prepare subPath"),
        ("dangling", "prepare subPath"),
        ("dangling/new", "prepare subPath"),
        ("../v", "prepare subPath"),
        ("new/../../../..", "create subPath directory"),
        ("/etc", "prepare subPath"),
        ("plain/below", "prepare subPath"),
    ];
    for (number, (path, what)) in rows.into_iter().enumerate() {
        let mut config = sh(&format!("e{number}"), SLEEP);
        config.mounts = vec![part("v", "/m", path, false)];
        let text = format!("failed to {what} for volumeMount \"v\" of container \"main\"");
        let started = world.runtime.start_container(&uid, config).await;
        assert_eq!(started, Err(StartContainerError::Config(text)), "{path}");
    }
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 1);
    assert!(!Path::new("/nowhere").exists());
    let mut config = sh("expr", SLEEP);
    config.mounts = vec![VolumeMount {
        sub_path: None,
        sub_path_expr: Some("$(X)".into()),
        ..mount("v", "/m", false)
    }];
    let started = world.runtime.start_container(&uid, config).await;
    let text = "volume \"v\": subPathExpr has not been expanded";
    assert_eq!(started, Err(StartContainerError::Config(text.into())));
}
