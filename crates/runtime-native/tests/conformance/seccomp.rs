//! Which system calls processes in containers may make.
use crate::suite::*;
use probelet_model::security::{Seccomp, Security};
use probelet_runtime::conformance::capabilities::{bounded, field, statuses};
use probelet_runtime::conformance::seccomp::*;
use probelet_runtime::{Runtime, StartContainerError};
use std::fs;

#[test]
fn a_profile_of_the_node_is_used() {
    run(async {
        let world = World::native();
        let pod = world.pod("node", Vec::new()).await;
        let profiles = world.path("data/seccomp/profiles");
        fs::create_dir_all(&profiles).unwrap();
        // Also what the processes would need that stand behind a command.
        let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
            "syscalls": [
                {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "args": null},
                {"names": ["recvmsg", "sendmsg", "setns"], "action": "SCMP_ACT_KILL_PROCESS"},
                {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 12, "op": "SCMP_CMP_EQ"}]}
            ]}"#;
        fs::write(profiles.join("mine.json"), profile).unwrap();
        for (id, uid, may_escalate) in [
            ("a", 0, true),
            ("b", 1000, true),
            ("d", 0, false),
            ("e", 1000, false),
        ] {
            let security = Security {
                may_escalate,
                ..with(Seccomp::Localhost("profiles/mine.json".into()))
            };
            let mut config = bounded(id, "mkdir /tmp/main; exec sleep 1000", security);
            config.user.uid = Some(uid);
            world.runtime.start_container(&pod, config).await.unwrap();
            for status in statuses(&world, "node", id).await {
                assert_eq!(field(&status, "Seccomp"), "2");
            }
            let script = "mkdir /tmp/beside; kill -12 $$; kill -0 $$ && ls -A /tmp";
            let output = world.exec(&pod, id, script).await;
            assert_eq!((output.exit_code, &output.stdout[..]), (0, &b""[..]));
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("Input/output error"), "{said}");
            assert!(said.contains("Operation not permitted"), "{said}");
        }
    });
}

#[test]
fn a_profile_that_cannot_be_loaded_is_said() {
    run(async {
        let world = World::native();
        let pod = world.pod("missing", Vec::new()).await;
        let data = fs::canonicalize(world.path("data")).unwrap();
        fs::create_dir_all(data.join("seccomp")).unwrap();
        fs::write(data.join("seccomp/broken.json"), "{").unwrap();
        for (id, name) in [("a", "none.json"), ("b", "broken.json")] {
            let config = bounded(id, "true", with(Seccomp::Localhost(name.into())));
            let refused = world.runtime.start_container(&pod, config).await;
            let Err(StartContainerError::Create(text)) = refused else {
                panic!("{refused:?}");
            };
            let file = data.join("seccomp").join(name).display().to_string();
            let expect = if name == "none.json" {
                format!(
                    "cannot load seccomp profile \"{file}\": open {file}: no such file or directory"
                )
            } else {
                format!("decoding seccomp profile failed \"{file}\": ")
            };
            assert!(text.starts_with(&expect), "{text}");
        }
    });
}
