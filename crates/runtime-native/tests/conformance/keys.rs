//! The kernel's keyrings.

use std::process::Command;

use probelet_model::security::Seccomp;
use probelet_runtime::Runtime;

use crate::suite::*;

/// Set where the session keyring has the key.
const HAS_KEY: &str = "PROBELET_TEST_HAS_KEY";
const TEST: &str = "keys::keys_of_whoever_started_the_agent_are_not_the_containers";

/// add_key and keyctl.
#[cfg(target_arch = "x86_64")]
const CALLS: (i32, i32) = (248, 250);
#[cfg(not(target_arch = "x86_64"))]
const CALLS: (i32, i32) = (217, 219);

/// Says whether the session keyring has the key, and describes it.
fn search() -> String {
    let (_, keyctl) = CALLS;
    format!(
        r#"$t = "user"; $n = "probelet-key"; print syscall({keyctl}, 10, -3, $t, $n, 0) > 0 ? "found " : "none ";
        $d = "\0" x 200; syscall({keyctl}, 6, -3, $d, 200); print $d =~ s/\0.*//sr"#
    )
}

#[test]
fn keys_of_whoever_started_the_agent_are_not_the_containers() {
    if std::env::var_os(HAS_KEY).is_none() {
        let (add_key, keyctl) = CALLS;
        let script = format!(
            r#"syscall({keyctl}, 1, 0) > 0 or die $!; $t = "user"; $n = "probelet-key"; $v = "v";
            syscall({add_key}, $t, $n, $v, 1, -3) > 0 or die $!; exec @ARGV"#
        );
        let own = std::env::current_exe().unwrap();
        let output = Command::new("perl")
            .args(["-e", &script])
            .arg(own)
            .args(["--exact", TEST])
            .env(HAS_KEY, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("test result: ok. 1 passed"), "{text}{errors}");
        return;
    }
    let here = Command::new("perl").args(["-e", &search()]).output();
    assert!(here.unwrap().stdout.starts_with(b"found keyring;"));
    run(async {
        let mut world = World::native();
        let pod = world.pod("keys", Vec::new()).await;
        let script = format!("exec perl -e '{}' > /dev/termination-log", search());
        let mut config = sh("c", &script);
        config.security.seccomp = Seccomp::Unconfined;
        world.runtime.start_container(&pod, config).await.unwrap();
        let told = world.exit("c").await.message.unwrap();
        assert!(
            told.starts_with("none keyring;") && told.contains(";_ses.c"),
            "{told:?}"
        );
        let mut config = sh("d", "exec sleep 1000");
        config.security.seccomp = Seccomp::Unconfined;
        world.runtime.start_container(&pod, config).await.unwrap();
        let search = format!("exec perl -e '{}'", search());
        let told = world.output(&pod, "d", &search).await;
        assert!(
            told.starts_with("none keyring;") && told.contains(";_ses.d"),
            "{told:?}"
        );
        world.runtime.remove_pod(&pod).await.unwrap();
    });
}
