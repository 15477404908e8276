//! Other pods.

use probelet_model::id::PodUid;
use probelet_runtime::{Runtime, Started};

use crate::ground::Prison;
use crate::suite::{eventually, own, pod, run, sh};

/// Another pod with a host class container that runs a script of perl.
async fn neighbour(prison: &Prison, script: &str) -> (PodUid, Started) {
    let uid = PodUid::from("neighbour");
    let runtime = &prison.world.runtime;
    runtime
        .start_pod(pod("neighbour", own("10.213.0.77"), Vec::new()))
        .await
        .unwrap();
    let script = format!("exec perl -e '$|=1; {script}; print qq(up\\n); sleep 1000'");
    let started = runtime
        .start_container(&uid, sh("neighbour", &script))
        .await
        .unwrap();
    let log = runtime.log_dir().join(probelet_runtime::log_path(
        "default",
        "pod-neighbour",
        &uid,
        &"main".into(),
        0,
    ));
    eventually(async || {
        let text = std::fs::read_to_string(&log).ok()?;
        text.contains("up").then_some(())
    })
    .await;
    (uid, started)
}

#[test]
fn processes_of_another_pod_are_not_there() {
    run(async {
        let prison = Prison::ordinary().await;
        let (_, started) = neighbour(&prison, "1").await;
        prison
            .refuses(&["is_there", &started.pid.to_string()])
            .await;
    });
}

#[test]
fn abstract_sockets_of_another_pod_are_out_of_reach() {
    run(async {
        let prison = Prison::ordinary().await;
        let script = r#"use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, pack("Sxa*", AF_UNIX, "next-door")) or die; listen(S, 5) or die"#;
        neighbour(&prison, script).await;
        prison.refuses(&["abstract_socket", "next-door"]).await;
    });
}

#[test]
fn shared_memory_of_another_pod_is_out_of_reach() {
    run(async {
        let prison = Prison::ordinary().await;
        neighbour(&prison, "shmget(4711, 4096, 01000 | 0666) // die").await;
        prison.refuses(&["shared_memory", "4711"]).await;
    });
}

#[test]
fn a_container_changes_its_own_copy_of_the_image_and_no_other() {
    run(async {
        let prison = Prison::ordinary().await;
        let output = prison
            .exec(
                "main",
                &[
                    "sh",
                    "-c",
                    "echo changed > /etc/passwd; rm /bin/ls; touch /new",
                ],
            )
            .await;
        assert_eq!(output.exit_code, 0);
        prison.start(prison.waiting("other")).await;
        let seen = prison
            .exec("other", &["sh", "-c", "cat /etc/passwd; ls /"])
            .await;
        let seen = String::from_utf8(seen.stdout).unwrap();
        assert!(
            seen.starts_with("root:x:0:0") && !seen.contains("new"),
            "{seen}"
        );
        let on_host = prison.image();
        let passwd = std::fs::read_to_string(on_host.join("etc/passwd")).unwrap();
        assert!(passwd.starts_with("root:"), "{passwd}");
        assert!(!on_host.join("new").exists() && on_host.join("bin/ls").is_symlink());
    });
}
