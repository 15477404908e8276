//! Whom containers run as, and which ids there are.

use std::fs;
use std::os::unix::fs::MetadataExt;

use probelet_model::pod::User;
use probelet_model::security::Seccomp;
use probelet_runtime::{ExecError, Network, Runtime, StartContainerError};
use rustix::process::{Signal, kill_process};

use crate::suite::*;
use probelet_runtime::conformance::layers::{Ids, Layer, ids, sh_on};

const SLEEP: &str = "exec sleep 1000";

#[test]
fn an_images_user_is_looked_up_in_the_image() {
    run(async {
        let world = World::native();
        let base = Layer::busybox(world.dir.path());
        let mut config = pod("users", Network::Host, Vec::new());
        config.security.supplemental_groups = vec![70];
        world.runtime.start_pod(config).await.unwrap();
        let uid = "users".into();
        // Of the image, of the pod; user, groups, home.
        let rows = [
            ("web", None, None, "33", "44 4 55 70", "/var/www"),
            ("33:7", None, None, "33", "7 4 55 70", "/var/www"),
            ("web:log", None, Some(9), "33", "9 4 55 70", "/var/www"),
            ("4000", None, None, "4000", "0 70", "/"),
            ("web", Some(1234), None, "1234", "1234 55 70", "/"),
            ("", None, None, "0", "0 70", "/root"),
        ];
        for (number, (image, user, group, id, groups, home)) in rows.into_iter().enumerate() {
            let name = format!("u{number}");
            let script = "echo $(id -u) $(id -G) $HOME > /dev/termination-log; exec sleep 1000";
            let mut config = sh_on(&[&base], &name, script);
            config.name = name.as_str().into();
            config.image_user = image.into();
            config.user = User {
                uid: user,
                gid: group,
            };
            world.runtime.start_container(&uid, config).await.unwrap();
            let said = "echo $(id -u) $(id -G) $HOME";
            let expect = match ids() {
                // Further groups cannot be had.
                Ids::One => format!("{id} {} {home}", groups.split(' ').next().unwrap()),
                Ids::Root | Ids::Many => format!("{id} {groups} {home}"),
            };
            assert_eq!(world.output(&uid, &name, said).await, expect, "{image}");
            let written = world.path("data/run/users/messages").join(&name);
            let main = eventually(async || {
                let text = fs::read_to_string(&written).unwrap();
                (!text.is_empty()).then_some(text)
            });
            assert_eq!(main.await.trim(), expect, "{image}");
        }
    });
}

#[test]
fn a_user_that_the_image_lacks_is_named() {
    run(async {
        let world = World::native();
        let base = Layer::busybox(world.dir.path());
        let uid = world.pod("none", Vec::new()).await;
        for (id, image, text) in [
            (
                "a",
                "nobody-here",
                "image user \"nobody-here\": no users found",
            ),
            ("b", "web:no", "image user \"web:no\": no groups found"),
            ("c", "a:b:c", "invalid USER value a:b:c"),
        ] {
            let mut config = sh_on(&[&base], id, SLEEP);
            config.image_user = image.into();
            let started = world.runtime.start_container(&uid, config).await;
            assert_eq!(started, Err(StartContainerError::Create(text.into())));
            let root = world.path("data/run/none/roots").join(id);
            eventually(async || (!root.exists()).then_some(())).await;
        }
    });
}

#[test]
fn files_of_other_ids_are_real_where_there_are_many() {
    run(async {
        let world = World::native();
        let base = Layer::busybox(world.dir.path());
        let uid = world.pod("ids", vec![empty_dir("v", false, None)]).await;
        let mut config = sh_on(&[&base], "c", SLEEP);
        config.mounts = vec![mount("v", "/v", false)];
        world.runtime.start_container(&uid, config).await.unwrap();
        let log = fs::read_to_string(world.path("data/run/ids/shim.log")).unwrap();
        if ids() == Ids::One {
            assert_eq!(log.matches("one and the same owner").count(), 1, "{log}");
            assert!(
                log.contains("/etc/subuid has no range of user nobody"),
                "{log}"
            );
            let chown = world.exec(&uid, "c", "chown 5:6 /v").await;
            assert_ne!(chown.exit_code, 0);
            return;
        }
        assert_eq!(log, "");
        let script = "mkdir -m 700 /v/dir /root/dir; touch /v/dir/file /root/dir/file; chown -R 5:6 /v/dir /root/dir; \
            stat -c '%u %g' /v/dir /root/dir/file; chmod 777 /v; \
            su -s /bin/sh web -c 'id; touch /v/mine /v/dir/no' 2>/dev/null; stat -c %u:%g /v/mine; ls /v/dir";
        let expect = "5 6\n5 6\nuid=33(web) gid=44(web) groups=4(adm),44(web),55(log)\n33:44\nfile";
        assert_eq!(world.output(&uid, "c", script).await, expect);
        let owner = fs::metadata(world.path("data/run/ids/volumes/v/dir"))
            .unwrap()
            .uid();
        let expect = if ids() == Ids::Root { 5 } else { 200_004 };
        assert_eq!(owner, expect);

        let mut config = sh_on(&[&base], "beyond", SLEEP);
        config.name = "beyond".into();
        config.user.uid = Some(100_000);
        let started = world.runtime.start_container(&uid, config).await;
        if ids() == Ids::Many {
            let text =
                "run as user 100000: user 100000 is beyond the ids of /etc/subuid and /etc/subgid";
            assert_eq!(started, Err(StartContainerError::Command(text.into())));
        } else {
            started.unwrap();
        }

        // What only a process with these ids can remove goes too, though the shim is gone.
        kill_process(world.dir.shim("ids").unwrap(), Signal::KILL).unwrap();
        world.runtime.remove_pod(&uid).await.unwrap();
        assert!(!world.path("data/run/ids").exists());
    });
}

#[test]
fn a_working_directory_may_be_closed_to_its_user() {
    run(async {
        let world = World::native();
        let base = Layer::busybox(world.dir.path());
        base.dir("root", 0o700);
        let profiles = world.path("data/seccomp");
        fs::create_dir_all(&profiles).unwrap();
        fs::write(
            profiles.join("all.json"),
            r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#,
        )
        .unwrap();
        let mut config = pod("closed", Network::Host, Vec::new());
        config.namespaces.host_pid = true;
        world.runtime.start_pod(config).await.unwrap();
        let uid = "closed".into();
        let of_node = Seccomp::Localhost("all.json".into());
        for (name, seccomp, may_escalate) in [
            ("plain", Seccomp::RuntimeDefault, true),
            ("bound", Seccomp::RuntimeDefault, false),
            ("of-node", of_node.clone(), true),
            ("of-node-bound", of_node, false),
        ] {
            let script = "pwd > /dev/termination-log; exec sleep 1000";
            let mut config = sh_on(&[&base], name, script);
            config.name = name.into();
            config.user.uid = Some(1000);
            config.working_dir = Some("/root".into());
            config.security.seccomp = seccomp;
            config.security.may_escalate = may_escalate;
            world.runtime.start_container(&uid, config).await.unwrap();
            // The second command too.
            for _ in 0..2 {
                assert_eq!(world.output(&uid, name, "pwd").await, "/root", "{name}");
            }
            let written = world.path("data/run/closed/messages").join(name);
            let main = eventually(async || {
                let text = fs::read_to_string(&written).unwrap();
                (!text.is_empty()).then_some(text)
            });
            assert_eq!(main.await, "/root\n", "{name}");
        }
        if ids() != Ids::Root {
            return;
        }
        // What only this program may follow leads nobody to the host's files.
        let script =
            "cd /; rmdir /w; ln -s /proc/1/root /w; echo x > /dev/termination-log; exec sleep 1000";
        let mut config = sh_on(&[&base], "out", script);
        config.name = "out".into();
        config.working_dir = Some("/w".into());
        world.runtime.start_container(&uid, config).await.unwrap();
        let written = world.path("data/run/closed/messages/out");
        eventually(async || {
            fs::metadata(&written)
                .is_ok_and(|it| it.len() > 0)
                .then_some(())
        })
        .await;
        let refused = world.runtime.exec(&uid, &"out".into(), request("ls")).await;
        let text = "chdir to working directory \"/w\": permission denied";
        assert_eq!(refused, Err(ExecError::Command(text.into())));
    });
}
