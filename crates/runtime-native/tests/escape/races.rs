//! Moments in which something of Probelet's is inside the container, or on its way to something there.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use probelet_runtime::Runtime;

use crate::ground::{Prison, SECRET, shim, sub_path};
use crate::suite::{empty_dir, mount, run};

/// How often a command enters the container while somebody lies in wait.
const ENTRIES: u32 = 200;
/// How many containers start while somebody changes what they are to mount.
const STARTS: usize = 30;

#[test]
fn the_program_of_whoever_enters_is_not_to_be_had() {
    run(async {
        let mut prison = Prison::with(Vec::new(), |_| {}).await;
        let shim = fs::metadata(shim()).unwrap().ino().to_string();
        let argv = ["escape", "program_of_who_enters", &shim];
        prison.start(prison.container("main", &argv)).await;
        for _ in 0..ENTRIES {
            assert_eq!(prison.exec("main", &["true"]).await.exit_code, 0);
        }
        assert_eq!(prison.enough("main").await.code, 1, "it was refused");
    });
}

/// CVE-2021-30465 and its kin: what was a directory when it was looked at is a symlink when it is mounted.
#[test]
fn a_sub_path_that_turns_into_a_link_leads_nowhere() {
    run(async {
        let outside = tempfile::tempdir().unwrap();
        fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(outside.path().join("secret"), SECRET).unwrap();
        let mut prison = Prison::with(vec![empty_dir("shared", false, None)], |_| {}).await;
        let mut config = prison.waiting("planter");
        config.mounts = vec![mount("shared", "/shared", false)];
        prison.start(config).await;
        let plant = format!(
            "mkdir /shared/a; echo inside > /shared/a/secret; ln -s {} /shared/b",
            outside.path().display()
        );
        let planted = prison.exec("planter", &["sh", "-c", &plant]).await;
        assert_eq!(planted.exit_code, 0);
        let mut config = prison.container(
            "swapper",
            &["escape", "swap_names", "/shared/a", "/shared/b"],
        );
        config.mounts = vec![mount("shared", "/shared", false)];
        prison.start(config).await;
        let (mut mounted, mut refused) = (0, 0);
        for turn in 0..STARTS {
            // Half of them to be made.
            let path = if turn % 2 == 0 {
                "a".to_owned()
            } else {
                format!("a/made-{turn}")
            };
            let id = format!("victim-{turn}");
            let mut config = prison.waiting(&id);
            config.mounts = vec![sub_path("shared", "/mnt", &path)];
            let runtime = &prison.world.runtime;
            if runtime.start_container(&prison.pod, config).await.is_err() {
                refused += 1;
                continue;
            }
            mounted += 1;
            let look = "cat /mnt/secret /mnt/../mnt/secret; touch /mnt/from-inside";
            let seen = prison.exec(&id, &["sh", "-c", look]).await;
            let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
            assert!(!seen.contains(SECRET), "{path}: {seen}");
        }
        println!("{mounted} mounted, {refused} refused");
        let swapper = prison.enough("swapper").await;
        assert_eq!(swapper.code, 1, "it went on swapping");
        let left: Vec<_> = fs::read_dir(outside.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "nothing was made outside: {left:?}");
    });
}
