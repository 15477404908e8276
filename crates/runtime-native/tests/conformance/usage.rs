//! What a pod uses, as it is told: by cgroups where there are any, else by the processes.
use crate::suite::*;
use probelet_runtime::{ContainerConfig, Runtime};

#[test]
fn usage_tells_how_full_volumes_are() {
    run(async {
        let world = World::native();
        let volumes = vec![
            empty_dir("disk", false, None),
            empty_dir("memory", true, Some(8 << 20)),
        ];
        let uid = world.pod("use-volumes", volumes).await;
        let config = ContainerConfig {
            mounts: vec![
                mount("disk", "/tmp/disk", false),
                mount("memory", "/tmp/memory", false),
            ],
            ..sh("c", "sleep 1000")
        };
        world.runtime.start_container(&uid, config).await.unwrap();
        let fill =
            "for d in disk memory; do head -c 1000000 /dev/urandom > /tmp/$d/f || exit 1; done";
        world.output(&uid, "c", fill).await;
        let usage = world.runtime.usage(&uid).await.unwrap();
        let names: Vec<&str> = usage.volumes.keys().map(String::as_str).collect();
        assert_eq!(names, ["disk", "memory"]);
        assert_eq!(usage.containers["main"].root, 0);
        // What a run of an image writes is kept there.
        let upper = world.path("data/run/use-volumes/roots/c/upper/etc");
        std::fs::create_dir_all(&upper).unwrap();
        std::fs::write(upper.join("file"), vec![1; 300_000]).unwrap();
        let again = world.runtime.usage(&uid).await.unwrap();
        let root = again.containers["main"].root;
        assert!((300_000..340_000).contains(&root), "{root}");
        assert_eq!(again.total.root, root);
        for (name, bytes) in &usage.volumes {
            assert!((1_000_000..1_100_000).contains(bytes), "{name}: {bytes}");
        }
    });
}
