//! The group of a pod's volumes.
use super::layers::{Ids, ids};
use crate::{PodConfig, Runtime, VolumeFile, VolumeFiles};
use probelet_model::pod::{Volume, VolumeSource};
use probelet_model::security::FsGroup;
use probelet_model::volume::{DownwardSource, FileSource};

use super::world::*;

pub fn files(content: &str) -> VolumeFiles {
    VolumeFiles {
        files: vec![VolumeFile {
            path: "dir/key".into(),
            mode: 0o400,
            content: content.into(),
        }],
    }
}

pub fn with_group(uid: &str, mut volumes: Vec<Volume>) -> PodConfig {
    let source = FileSource::Downward(vec![probelet_model::volume::DownwardFile {
        path: "dir/key".into(),
        mode: Some(0o400),
        source: DownwardSource::Field("metadata.name".into()),
    }]);
    volumes.push(Volume {
        name: "files".into(),
        source: VolumeSource::Files {
            sources: vec![source],
            mode: 0o400,
        },
    });
    let mut config = pod(uid, own("10.213.0.9"), volumes);
    config.volume_files.insert("files".into(), files("one"));
    config.security.fs_group = Some(FsGroup {
        gid: 2000,
        on_root_mismatch: false,
    });
    config
}

/// How a container shows the group.
pub fn group() -> &'static str {
    if ids() == Ids::One { "1000" } else { "2000" }
}

pub async fn the_group_of_files_that_are_updated<R: Runtime>(world: World<R>) {
    world
        .runtime
        .start_pod(with_group("update", Vec::new()))
        .await
        .unwrap();
    let uid = "update".into();
    let mut config = sh("c", "exec sleep 1000");
    config.user.uid = Some(1000);
    config.user.gid = Some(1000);
    config.mounts = vec![mount("files", "/m", false)];
    world.runtime.start_container(&uid, config).await.unwrap();
    world
        .runtime
        .update_volume(&uid, "files", files("two"))
        .await
        .unwrap();
    let script = "cat /m/dir/key; stat -L -c ' %a %g' /m/dir/key";
    let expect = format!("two 440 {}", group());
    assert_eq!(world.output(&uid, "c", script).await, expect);
}
