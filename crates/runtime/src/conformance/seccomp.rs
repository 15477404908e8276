//! Which system calls processes in containers may make.
use super::capabilities::{bounded, field, statuses};
use crate::Runtime;
use probelet_model::security::{Seccomp, Security};

use super::world::*;

/// Prints the error numbers that system calls without arguments end with.
pub fn errors(calls: &[libc::c_long]) -> String {
    format!(
        "exec python3 -c 'import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nfor call in {calls:?}:\n \
         ctypes.set_errno(0); libc.syscall(call, 0, 0, 0, 0, 0, 0); print(ctypes.get_errno())'"
    )
}

pub fn with(seccomp: Seccomp) -> Security {
    Security {
        seccomp,
        ..Security::default()
    }
}

pub async fn the_default_profile_is_on<R: Runtime>(world: World<R>) {
    let pod = world.pod("default", Vec::new()).await;
    for (id, uid) in [("root", 0), ("user", 1000)] {
        let mut config = sh(id, "exec sleep 1000");
        config.user.uid = Some(uid);
        world.runtime.start_container(&pod, config).await.unwrap();
        for status in statuses(&world, "default", id).await {
            assert_eq!(field(&status, "Seccomp"), "2");
            assert_eq!(field(&status, "Seccomp_filters"), "1");
        }
        let calls = [
            libc::SYS_clone3,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_mount,
            libc::SYS_bpf,
            libc::SYS_io_uring_setup,
            libc::SYS_kexec_load,
            500,
        ];
        let errors = world.output(&pod, id, &errors(&calls)).await;
        let errors: Vec<&str> = errors.lines().collect();
        assert_eq!(errors, ["38", "1", "1", "1", "1", "1", "1", "38"]);
        // In a new user namespace it would be root, with all there is.
        let unshared = world.exec(&pod, id, "unshare --user true").await;
        let said = String::from_utf8_lossy(&unshared.stderr);
        assert!(said.contains("Operation not permitted"), "{said}");
    }
}

pub async fn what_is_not_confined_has_no_filter<R: Runtime>(world: World<R>) {
    let pod = world.pod("unconfined", Vec::new()).await;
    let config = bounded("c", "exec sleep 1000", with(Seccomp::Unconfined));
    world.runtime.start_container(&pod, config).await.unwrap();
    for status in statuses(&world, "unconfined", "c").await {
        assert_eq!(field(&status, "Seccomp"), "0");
    }
    // No clone3 without arguments: an error of its own.
    let error = world.output(&pod, "c", &errors(&[libc::SYS_clone3])).await;
    assert_eq!(error, "22");
}
