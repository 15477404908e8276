//! What of root's power processes in containers have.
use crate::{ContainerConfig, Runtime, StartContainerError};
use probelet_model::pod::User;
use probelet_model::security::Security;

use super::world::*;

/// Without MKNOD, those of containerd and Docker.
pub const DEFAULT: u64 = 0xa004_25fb;

pub const NET_ADMIN: u64 = 1 << 12;
pub const KILL: u64 = 1 << 5;

pub fn bounded(id: &str, script: &str, security: Security) -> ContainerConfig {
    ContainerConfig {
        security,
        ..sh(id, script)
    }
}

/// One line of a `/proc/<pid>/status`.
pub fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.strip_prefix(':'))
        .unwrap_or_else(|| panic!("{name} in {status}"))
        .trim()
}

pub fn set(status: &str, name: &str) -> u64 {
    u64::from_str_radix(field(status, name), 16).unwrap()
}

/// Of the main program, of a command, and of one with streams of its own.
pub async fn statuses(world: &World<impl Runtime>, pod: &str, id: &str) -> [String; 3] {
    let pod = pod.into();
    let main = world.output(&pod, id, "cat /proc/2/status").await;
    let beside = world.output(&pod, id, "cat /proc/self/status").await;
    let asked = session("cat /proc/self/status", ALL, false);
    let session = world.runtime.open_exec(&pod, &id.into(), asked).await;
    let own = Reader::new(session.unwrap().stdout.unwrap()).text().await;
    [main, beside, own]
}

pub fn named(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub async fn capabilities_are_those_of_containerd<R: Runtime>(world: World<R>) {
    let pod = world.pod("capabilities", Vec::new()).await;
    world.sh(&pod, "c", "exec sleep 1000").await;
    for status in statuses(&world, "capabilities", "c").await {
        for (name, expect) in [
            ("CapBnd", DEFAULT),
            ("CapPrm", DEFAULT),
            ("CapEff", DEFAULT),
            ("CapInh", 0),
            ("CapAmb", 0),
        ] {
            assert_eq!(set(&status, name), expect, "{name}");
        }
        assert_eq!(field(&status, "NoNewPrivs"), "0");
    }
}

pub async fn another_user_has_none_but_could_get_them<R: Runtime>(world: World<R>) {
    let pod = world.pod("user", Vec::new()).await;
    let security = Security {
        add: named(&["NET_ADMIN"]),
        ..Security::default()
    };
    let mut config = bounded("c", "exec sleep 1000", security);
    config.user = User {
        uid: Some(1000),
        gid: None,
    };
    world.runtime.start_container(&pod, config).await.unwrap();
    for status in statuses(&world, "user", "c").await {
        assert!(field(&status, "Uid").starts_with("1000"), "{status}");
        for (name, expect) in [
            ("CapBnd", DEFAULT | NET_ADMIN),
            ("CapPrm", 0),
            ("CapEff", 0),
            ("CapInh", 0),
            ("CapAmb", 0),
        ] {
            assert_eq!(set(&status, name), expect, "{name}");
        }
    }
    let written = world.output(&pod, "c", "echo it > /dev/stdout").await;
    assert_eq!(written, "it");
}

pub async fn capabilities_are_added_and_dropped<R: Runtime>(world: World<R>) {
    let pod = world.pod("added", Vec::new()).await;
    for (id, add, drop, expect) in [
        (
            "a",
            &["NET_ADMIN"][..],
            &["KILL"][..],
            (DEFAULT | NET_ADMIN) & !KILL,
        ),
        ("b", &[], &["ALL"], 0),
        ("d", &["NET_ADMIN"], &["ALL"], NET_ADMIN),
    ] {
        let security = Security {
            add: named(add),
            drop: named(drop),
            ..Security::default()
        };
        let config = bounded(id, "exec sleep 1000", security);
        world.runtime.start_container(&pod, config).await.unwrap();
        for status in statuses(&world, "added", id).await {
            assert_eq!(set(&status, "CapBnd"), expect, "{id}");
            assert_eq!(set(&status, "CapEff"), expect, "{id}");
        }
    }
    let refused = bounded(
        "x",
        "true",
        Security {
            add: named(&["FLY"]),
            ..Security::default()
        },
    );
    let refused = world.runtime.start_container(&pod, refused).await;
    let Err(StartContainerError::Create(text)) = refused else {
        panic!("{refused:?}");
    };
    assert!(text.contains("\"FLY\""), "{text}");
}

pub async fn a_privileged_container_has_all_there_is<R: Runtime>(world: World<R>) {
    let pod = world.pod("privileged", Vec::new()).await;
    let security = Security {
        privileged: true,
        ..Security::default()
    };
    let config = bounded("c", "exec sleep 1000", security);
    world.runtime.start_container(&pod, config).await.unwrap();
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    // In a user namespace of its own, whoever is root has all.
    let all = match set(&own, "CapEff") {
        0 => 0x1ff_ffff_ffff,
        own => own,
    };
    for status in statuses(&world, "privileged", "c").await {
        assert_eq!(set(&status, "CapEff"), all);
        assert_eq!(field(&status, "Seccomp"), "0");
    }
    let script = "mkdir /tmp/m && mount -t tmpfs none /tmp/m && stat -fc %T /tmp/m";
    assert_eq!(world.output(&pod, "c", script).await, "tmpfs");
}

pub async fn privileges_are_not_gained_where_that_is_not_allowed<R: Runtime>(world: World<R>) {
    let pod = world.pod("escalation", Vec::new()).await;
    for (id, uid) in [("root", 0), ("user", 1000)] {
        let security = Security {
            may_escalate: false,
            ..Security::default()
        };
        let mut config = bounded(id, "exec sleep 1000", security);
        config.user.uid = Some(uid);
        world.runtime.start_container(&pod, config).await.unwrap();
        for status in statuses(&world, "escalation", id).await {
            assert_eq!(field(&status, "NoNewPrivs"), "1");
            assert_eq!(field(&status, "Seccomp"), "2");
        }
    }
}
