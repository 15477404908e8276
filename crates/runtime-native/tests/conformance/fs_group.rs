//! The group of a pod's volumes.
use crate::suite::*;
use probelet_model::pod::HostPathType;
use probelet_runtime::Runtime;
use probelet_runtime::conformance::fs_group::*;
use probelet_runtime::conformance::layers::{Ids, ids};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

#[test]
fn volumes_belong_to_the_group() {
    run(async {
        let world = World::native();
        let host = world.path("host");
        fs::create_dir(&host).unwrap();
        fs::set_permissions(&host, fs::Permissions::from_mode(0o755)).unwrap();
        let before = fs::metadata(&host).unwrap();
        let volumes = vec![
            empty_dir("disk", false, None),
            empty_dir("ram", true, None),
            host_path("host", &host, HostPathType::Directory),
        ];
        let config = with_group("group", volumes);
        world.runtime.start_pod(config).await.unwrap();
        let uid = "group".into();
        let mut config = sh("c", "exec sleep 1000");
        config.user.uid = Some(1000);
        config.user.gid = Some(1000);
        config.mounts = vec![
            mount("disk", "/m/disk", false),
            mount("ram", "/m/ram", false),
            mount("files", "/m/files", false),
        ];
        world.runtime.start_container(&uid, config).await.unwrap();
        let script = "cd /m; for d in disk ram; do touch $d/new; stat -c '%a %g' $d; stat -c %g $d/new; done; \
            stat -L -c '%a %g' files/dir/key files/dir; cat files/dir/key";
        let g = group();
        let expect = format!("2777 {g}\n{g}\n2777 {g}\n{g}\n440 {g}\n2755 {g}\none");
        assert_eq!(world.output(&uid, "c", script).await, expect);
        let after = fs::metadata(&host).unwrap();
        assert_eq!((before.mode(), before.gid()), (after.mode(), after.gid()));
        let log = fs::read_to_string(world.path("data/run/group/shim.log")).unwrap();
        let said = usize::from(ids() == Ids::One);
        assert_eq!(
            log.matches("fsGroup 2000 is not among").count(),
            said,
            "{log}"
        );
    });
}
