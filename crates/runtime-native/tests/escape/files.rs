//! Files of the host.

use probelet_model::pod::HostPathType;

use crate::ground::{Prison, SECRET, refused};
use crate::suite::{self, host_path, mount, run};

refused! {
    mounts_of_the_host_are_not_reached_by_handle: "by_handle" "/etc/passwd";
    disks_have_no_device: "open_read" "/dev/vda";
}

/// An attempt at the file of the host that holds the secret.
fn at_secret(attempt: &str, before: &str) {
    run(async {
        let prison = Prison::ordinary().await;
        let path = format!("{before}{}", prison.secret());
        prison.refuses(&[attempt, &path]).await;
    });
}

#[test]
fn a_file_of_the_host_is_not_there() {
    at_secret("open_read", "");
}

#[test]
fn the_root_of_process_1_is_the_containers() {
    at_secret("open_read", "/proc/1/root");
}

#[test]
fn the_working_directory_of_process_1_does_not_lead_out() {
    at_secret("open_read", "/proc/1/cwd/../../../..");
}

#[test]
fn the_root_of_no_process_leads_out() {
    at_secret("other_roots", "");
}

#[test]
fn dots_end_at_the_root() {
    at_secret("dot_dot", "");
}

#[test]
fn a_root_within_the_root_does_not_lead_out() {
    at_secret("chroot_breakout", "");
}

#[test]
fn the_hosts_files_in_the_host_class_stay_read_only() {
    run(async {
        let world = <suite::World<_> as suite::Native>::native();
        std::fs::copy(crate::ground::program(), world.path("escape")).unwrap();
        let volumes = vec![host_path("tools", world.dir.path(), HostPathType::Unset)];
        let pod = world.pod("host", volumes).await;
        let mut config = suite::container("main", &["sleep", "1000"]);
        config.mounts = vec![mount("tools", "/tools", true)];
        probelet_runtime::Runtime::start_container(&world.runtime, &pod, config)
            .await
            .unwrap();
        for attempt in [
            "touch /usr/escaped",
            "touch /etc/escaped",
            "touch /tools/escaped",
            "/tools/escape remount_writable /usr && touch /usr/escaped",
            "/tools/escape set_writable /usr && touch /usr/escaped",
            "/tools/escape remount_writable /tools && touch /tools/escaped",
            "/tools/escape new_namespaces && touch /usr/escaped",
        ] {
            let output = world.exec(&pod, "main", attempt).await;
            assert_ne!(output.exit_code, 0, "{attempt}");
        }
        assert!(!world.path("escaped").exists());
    });
}

#[test]
fn a_working_directory_is_not_somebody_elses_descriptor() {
    run(async {
        let prison = Prison::with(Vec::new(), |_| {}).await;
        for fd in 3..16 {
            for dir in [
                format!("/proc/self/fd/{fd}/../../../../../../.."),
                format!("/proc/self/fd/{fd}"),
            ] {
                let id = format!("c{fd}-{}", dir.len());
                let mut config = prison.waiting(&id);
                config.working_dir = Some(dir);
                let started = probelet_runtime::Runtime::start_container(
                    &prison.world.runtime,
                    &prison.pod,
                    config,
                )
                .await;
                if started.is_ok() {
                    let relative = format!("cat .{0} ../../../../..{0}", prison.secret());
                    let output = prison.exec(&id, &["sh", "-c", &relative]).await;
                    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
                    assert!(!seen.contains(SECRET), "by descriptor {fd}");
                }
            }
        }
    });
}
