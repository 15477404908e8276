//! Volumes, and what can be planted in them.

use std::fs;
use std::os::unix::fs::symlink;

use probelet_model::pod::HostPathType;
use probelet_runtime::{Runtime, StartContainerError};

use crate::ground::{Prison, SECRET, sub_path};
use crate::suite::{empty_dir, host_path, mount, run};

/// Starts a container with that sub path of a volume in which another has planted a link to `target`, and
/// answers with the error, or with what is to be seen there.
async fn planted(target: &str, path: &str) -> Result<String, StartContainerError> {
    let prison = Prison::with(vec![empty_dir("shared", false, None)], |_| {}).await;
    let target = target.replace("SECRET", &prison.secret());
    let mut config = prison.waiting("planter");
    config.mounts = vec![mount("shared", "/shared", false)];
    prison.start(config).await;
    let output = prison
        .exec("planter", &["ln", "-s", &target, "/shared/link"])
        .await;
    assert_eq!(output.exit_code, 0);
    let mut config = prison.waiting("victim");
    config.mounts = vec![sub_path("shared", "/mnt", path)];
    prison
        .world
        .runtime
        .start_container(&prison.pod, config)
        .await?;
    let seen = prison
        .exec("victim", &["sh", "-c", "cat /mnt; ls -a /mnt /mnt/*"])
        .await;
    Ok(String::from_utf8_lossy(&seen.stdout).into_owned())
}

#[track_caller]
fn leads_nowhere(target: &'static str, path: &'static str) {
    run(async {
        match planted(target, path).await {
            Err(StartContainerError::Config(error)) => println!("{error}"),
            Err(error) => panic!("{error}"),
            Ok(seen) => panic!("mounted, and shows {seen}"),
        }
    });
}

#[test]
fn a_planted_link_to_the_root_is_no_sub_path() {
    leads_nowhere("/", "link");
}

#[test]
fn a_planted_link_to_a_file_of_the_host_is_no_sub_path() {
    leads_nowhere("SECRET", "link");
}

#[test]
fn a_planted_link_upwards_is_no_sub_path() {
    leads_nowhere("../../../../../../../..", "link");
}

#[test]
fn nothing_below_a_planted_link_is_a_sub_path() {
    leads_nowhere("/etc", "link/below");
}

#[test]
fn a_planted_link_into_proc_is_no_sub_path() {
    leads_nowhere("/proc/self/root", "link");
}

#[test]
fn a_sub_path_does_not_go_up() {
    run(async {
        let prison = Prison::with(vec![empty_dir("shared", false, None)], |_| {}).await;
        let mut config = prison.waiting("main");
        config.mounts = vec![sub_path("shared", "/mnt", "../../..")];
        let started = prison.world.runtime.start_container(&prison.pod, config);
        assert!(matches!(started.await, Err(StartContainerError::Config(_))));
    });
}

#[test]
fn a_sub_path_of_a_host_path_stays_in_it() {
    run(async {
        let outside = tempfile::tempdir().unwrap();
        let shared = outside.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::write(outside.path().join("secret"), SECRET).unwrap();
        symlink("../secret", shared.join("link")).unwrap();
        let volumes = vec![host_path("shared", &shared, HostPathType::Directory)];
        let prison = Prison::with(volumes, |_| {}).await;
        let mut config = prison.waiting("main");
        config.mounts = vec![sub_path("shared", "/mnt", "link")];
        let started = prison.world.runtime.start_container(&prison.pod, config);
        assert!(matches!(started.await, Err(StartContainerError::Config(_))));
    });
}

#[test]
fn a_link_of_the_image_does_not_lead_a_volume_out() {
    run(async {
        let outside = tempfile::tempdir().unwrap();
        let place = outside.path().to_owned();
        let prison = Prison::with(vec![empty_dir("shared", false, None)], |image| {
            let up = format!("../../../../../../..{}", place.display());
            symlink(up, image.join("data")).unwrap();
            symlink(&place, image.join("absolute")).unwrap();
        })
        .await;
        for (id, path) in [("one", "/data/below"), ("two", "/absolute/below")] {
            let mut config = prison.waiting(id);
            config.mounts = vec![mount("shared", path, false)];
            let started = prison.world.runtime.start_container(&prison.pod, config);
            println!("{path}: {:?}", started.await);
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    });
}

#[test]
fn links_of_the_image_in_the_place_of_etc_dev_and_proc_lead_nowhere() {
    for name in ["etc", "dev", "proc", "sys"] {
        run(async {
            let outside = tempfile::tempdir().unwrap();
            let place = outside.path().to_owned();
            let prison = Prison::with(Vec::new(), |image| {
                let _not_there = fs::remove_dir_all(image.join(name));
                symlink(&place, image.join(name)).unwrap();
            })
            .await;
            let config = prison.waiting("main");
            let started = prison
                .world
                .runtime
                .start_container(&prison.pod, config)
                .await;
            println!("{name}: {started:?}");
            assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "{name}");
        });
    }
}

#[test]
fn last_words_are_not_read_from_elsewhere() {
    run(async {
        let mut prison = Prison::with(Vec::new(), |_| {}).await;
        let script = format!(
            "rm -f /dev/termination-log; ln -sf {0} /dev/termination-log; exit 3",
            prison.secret()
        );
        prison
            .start(prison.container("main", &["sh", "-c", &script]))
            .await;
        let exit = prison.world.exit("main").await;
        assert_eq!(exit.code, 3);
        assert!(!exit.message.unwrap_or_default().contains(SECRET));
    });
}

/// A device that one container makes in what it shares is for another no more than a name.
#[test]
fn a_device_in_a_shared_volume_is_only_a_name() {
    if !rustix::process::geteuid().is_root() {
        println!("nobody makes a device without root");
        return;
    }
    run(async {
        let prison = Prison::with(vec![empty_dir("shared", false, None)], |_| {}).await;
        for id in ["maker", "main"] {
            let mut config = prison.waiting(id);
            config.mounts = vec![mount("shared", "/tmp", false)];
            config.security.add = vec!["MKNOD".to_owned()];
            prison.start(config).await;
        }
        prison
            .refuses_in("maker", &["make_device", "c", "1", "5"])
            .await;
        assert_eq!(
            prison.exec("maker", &["ls", "/tmp/device"]).await.exit_code,
            0
        );
        prison.refuses(&["open_read", "/tmp/device"]).await;
        prison.refuses(&["open_write", "/tmp/device"]).await;
    });
}

/// A program in a volume that runs as user 0 for whoever calls it is not there for the host's users to call.
#[test]
fn a_setuid_program_in_a_volume_is_not_for_users_of_the_host() {
    if !rustix::process::geteuid().is_root() {
        println!("without root there is no other user to ask");
        return;
    }
    run(async {
        let prison = Prison::with(vec![empty_dir("shared", false, None)], |_| {}).await;
        let mut config = prison.waiting("main");
        config.mounts = vec![mount("shared", "/shared", false)];
        prison.start(config).await;
        let script = "busybox cp /bin/escape /shared/escape; busybox chmod 4777 /shared/escape";
        assert_eq!(
            prison.exec("main", &["sh", "-c", script]).await.exit_code,
            0
        );
        let planted = prison.world.path("data/run/prison/volumes/shared/escape");
        assert!(planted.exists());
        let called = std::process::Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args(["sh", "-c", "\"$0\" become_root now"])
            .arg(&planted)
            .output()
            .unwrap();
        assert!(!called.status.success(), "{called:?}");
        assert!(called.stdout.is_empty(), "it was called: {called:?}");
    });
}

#[test]
fn a_read_only_volume_stays_so() {
    run(async {
        let prison = Prison::with(vec![empty_dir("shared", false, None)], |_| {}).await;
        let mut config = prison.waiting("main");
        config.mounts = vec![mount("shared", "/shared", true)];
        prison.start(config).await;
        prison.refuses(&["remount_writable", "/shared"]).await;
        prison.refuses(&["set_writable", "/shared"]).await;
        prison.refuses(&["unmount", "/shared"]).await;
        let output = prison.exec("main", &["touch", "/shared/file"]).await;
        assert_ne!(output.exit_code, 0);
    });
}
