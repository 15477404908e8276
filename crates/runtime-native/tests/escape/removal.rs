//! What a container leaves behind to be removed.

use std::fs;
use std::time::Duration;

use probelet_runtime::Runtime;

use crate::ground::{Prison, SECRET};
use crate::suite::{empty_dir, mount, run};

/// Deeper than most processes may have files open, and longer than a path may be.
const DEPTH: &str = "2200";

/// Has a container make that in its volume and in its root, then removes the pod: all of it goes, and nothing else.
fn goes(script: impl Fn(&str) -> String) {
    run(async {
        let outside = tempfile::tempdir().unwrap();
        let kept = outside.path().join("kept");
        fs::write(&kept, SECRET).unwrap();
        fs::set_permissions(
            outside.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o777),
        )
        .unwrap();
        let prison = Prison::with(vec![empty_dir("shared", false, None)], |_| {}).await;
        let mut config = prison.waiting("main");
        config.mounts = vec![mount("shared", "/shared", false)];
        prison.start(config).await;
        for place in ["/shared", "/tmp"] {
            let script = script(&outside.path().display().to_string());
            let script = format!("set -e; cd {place}; {script}");
            let output = prison.exec("main", &["sh", "-c", &script]).await;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.exit_code, 0, "{script}: {said}");
        }
        let runtime = &prison.world.runtime;
        let removed =
            tokio::time::timeout(Duration::from_secs(20), runtime.remove_pod(&prison.pod));
        removed.await.unwrap().unwrap();
        assert!(!prison.world.path("data/run/prison").exists());
        assert_eq!(fs::read_to_string(&kept).unwrap(), SECRET);
        let mode = fs::metadata(outside.path()).unwrap().permissions();
        let mode = std::os::unix::fs::PermissionsExt::mode(&mode);
        assert_eq!(mode & 0o777, 0o777, "not even its mode has changed");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    });
}

#[test]
fn links_that_lead_out_are_not_followed() {
    goes(|outside| {
        format!(
            "ln -s {outside} a; ln -s {outside}/kept b; mkdir c; ln -s ../../../../../../../../..{outside} c/d; \
             ln -s / e; ln -s . f; ln -s {outside}/ 'g '"
        )
    });
}

#[test]
fn a_tree_deeper_than_any_path_goes() {
    goes(|outside| format!("escape dig . {DEPTH} {outside} || test $? = 1"));
}

#[test]
fn names_of_any_bytes_go() {
    goes(|_| {
        "mkdir -- -rf '*' ' ' \"$(printf 'a\\nb')\" \"$(printf '\\377\\001')\" '...' '..a'; \
         touch -- --help \"$(printf '%0255d' 7)\""
            .to_owned()
    });
}

#[test]
fn directories_without_rights_go() {
    goes(|outside| {
        format!(
            "mkdir -p a/b/c; ln -s {outside} a/b/out; ln -s {outside} a/b/c/out; busybox chmod 0 a/b/c; \
             busybox chmod 0 a/b; busybox chmod 0 a; mkdir d; ln -s {outside} d/out; busybox chmod 555 d"
        )
    });
}

#[test]
fn pipes_sockets_and_programs_go() {
    goes(|_| {
        "busybox mkfifo pipe; busybox cp /bin/escape a; busybox chmod 6777 a; ln a b; mkdir c; ln a c/d".to_owned()
    });
}
