//! Security contexts of pods and containers.

use std::path::PathBuf;

use super::*;
use crate::pod::{Pod, User};
use crate::security::{FsGroup, Namespaces, PodSecurity, Seccomp, Security};

#[track_caller]
fn in_pod_context(context: &str, expected: &[&str]) {
    check_at(
        "spec.securityContext",
        &format!("securityContext: {{{context}}}"),
        expected,
        in_spec,
    );
}

#[track_caller]
fn in_own_context(context: &str, expected: &[&str]) {
    check_at(
        "spec.containers[0].securityContext",
        &format!("securityContext: {{{context}}}"),
        expected,
        in_container,
    );
}

/// `@` in the expected lines is `place`.
#[track_caller]
fn check_at(place: &str, text: &str, expected: &[&str], check: fn(&str, &[&str])) {
    let expected: Vec<String> = expected
        .iter()
        .map(|line| line.replacen('@', place, 1))
        .collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check(text, &expected);
}

fn read(spec: &str, container: &str) -> Pod {
    let text = PodText {
        spec: &format!("runtimeClassName: ''\n{spec}"),
        container: &format!("image: a\n{container}"),
        ..PodText::default()
    };
    pod(&text.yaml())
}

#[test]
fn security_contexts_are_read() {
    let nothing = read("", "");
    assert_eq!(nothing.security, PodSecurity::default());
    assert_eq!(nothing.namespaces, Namespaces::default());
    assert_eq!(nothing.containers[0].security, Security::default());
    let read = read(
        "hostIPC: true\nshareProcessNamespace: true\n\
         initContainers: [{name: a, image: a, securityContext: {runAsNonRoot: false, seccompProfile: {type: Unconfined}}}]\n\
         securityContext:\n  runAsUser: 5\n  runAsNonRoot: true\n  supplementalGroups: [7, 8]\n  \
         supplementalGroupsPolicy: Strict\n  fsGroup: 9\n  fsGroupChangePolicy: OnRootMismatch\n  \
         sysctls: [{name: net/ipv4/tcp_syncookies, value: '0'}]\n  \
         seccompProfile: {type: Localhost, localhostProfile: a/b.json}",
        "securityContext:\n  runAsGroup: 6\n  privileged: false\n  allowPrivilegeEscalation: false\n  \
         readOnlyRootFilesystem: true\n  procMount: Default\n  \
         capabilities: {add: [net_admin, CAP_SYS_TIME], drop: [all]}",
    );
    assert_eq!(
        read.namespaces,
        Namespaces {
            host_pid: false,
            host_ipc: true,
            one_pid: true,
        }
    );
    assert_eq!(
        read.security,
        PodSecurity {
            supplemental_groups: vec![7, 8],
            strict_groups: true,
            fs_group: Some(FsGroup {
                gid: 9,
                on_root_mismatch: true,
            }),
            sysctls: vec![("net.ipv4.tcp_syncookies".to_owned(), "0".to_owned())],
        }
    );
    let own = &read.containers[0];
    assert_eq!(
        own.user,
        User {
            uid: Some(5),
            gid: Some(6),
        }
    );
    let profile = Seccomp::Localhost(PathBuf::from("a/b.json"));
    assert_eq!(
        own.security,
        Security {
            may_escalate: false,
            add: vec!["NET_ADMIN".to_owned(), "SYS_TIME".to_owned()],
            drop: vec!["ALL".to_owned()],
            read_only_root: true,
            non_root: true,
            seccomp: profile,
            ..Security::default()
        }
    );
    let init = &read.init_containers[0].security;
    assert_eq!(
        (init.non_root, &init.seccomp),
        (false, &Seccomp::Unconfined)
    );
}

#[test]
fn a_group_of_volumes_needs_no_policy() {
    for (context, on_root_mismatch) in [
        ("fsGroup: 0", false),
        ("fsGroup: 0, fsGroupChangePolicy: Always", false),
        ("fsGroup: 0, fsGroupChangePolicy: OnRootMismatch", true),
    ] {
        let read = read(&format!("securityContext: {{{context}}}"), "");
        let expected = FsGroup {
            gid: 0,
            on_root_mismatch,
        };
        assert_eq!(read.security.fs_group, Some(expected), "{context}");
    }
    let policy = "securityContext: {fsGroupChangePolicy: Always}";
    assert_eq!(read(policy, "").security.fs_group, None);
}

#[test]
fn security_contexts_of_pods_are_validated() {
    let range = "must be between 0 and 2147483647, inclusive";
    in_pod_context(
        "supplementalGroups: [1, -1], fsGroup: -2, runAsGroup: 2147483648",
        &[
            &format!("@.fsGroup: Invalid value: -2: {range}"),
            &format!("@.runAsGroup: Invalid value: 2147483648: {range}"),
            &format!("@.supplementalGroups[1]: Invalid value: -1: {range}"),
        ],
    );
    for (context, expected) in [
        (
            "fsGroupChangePolicy: Never",
            "@.fsGroupChangePolicy: Unsupported value: \"Never\": supported values: \"Always\", \"OnRootMismatch\"",
        ),
        (
            "supplementalGroupsPolicy: ''",
            "@.supplementalGroupsPolicy: Unsupported value: \"\": supported values: \"Merge\", \"Strict\"",
        ),
        (
            "windowsOptions: {runAsUserName: a}",
            "@.windowsOptions: not carried out yet",
        ),
        (
            "seLinuxOptions: {level: a}",
            "@.seLinuxOptions: not carried out yet",
        ),
        (
            "seLinuxChangePolicy: Recursive",
            "@.seLinuxChangePolicy: not carried out yet",
        ),
    ] {
        in_pod_context(context, &[expected]);
    }
    in_spec(
        "hostPID: true\nshareProcessNamespace: true",
        &[
            "spec.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
        ],
    );
    in_spec("hostPID: true\nshareProcessNamespace: false", &[]);
}

#[test]
fn sysctls_are_validated() {
    let one = |name: &str| format!("sysctls: [{{name: {name}, value: '1'}}]");
    for name in [
        "kernel.shm_rmid_forced",
        "kernel/shm_rmid_forced",
        "net.ipv4.tcp_rmem",
    ] {
        in_pod_context(&one(name), &[]);
    }
    for name in ["kernel.msgmax", "net.core.somaxconn", "vm/swappiness", "a"] {
        let expected =
            format!("@.sysctls[0].name: \"{name}\" is not carried out yet: only safe sysctls are");
        in_pod_context(&one(name), &[&expected]);
    }
    in_pod_context(&one("''"), &["@.sysctls[0].name: Required value"]);
    let long = format!("{}a", "a.".repeat(127));
    for name in ["a..b", "i.-", "Net.a", "a.", ".a", "a/", long.as_str()] {
        let expected = format!(
            "@.sysctls[0].name: Invalid value: \"{name}\": must have at most 253 characters and match regex \
             ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
        );
        in_pod_context(&one(name), &[&expected]);
    }
    in_pod_context(
        "sysctls: [{name: net.ipv4.tcp_rmem, value: a}, {name: net.ipv4.tcp_rmem, value: b}]",
        &["@.sysctls[1].name: Duplicate value: \"net.ipv4.tcp_rmem\""],
    );
    for (shared, name) in [
        ("hostNetwork", "net.ipv4.tcp_rmem"),
        ("hostIPC", "kernel.shm_rmid_forced"),
        ("hostIPC", "kernel.sem"),
        ("hostIPC", "fs/mqueue/msg_max"),
    ] {
        let spec = format!("{shared}: true\nsecurityContext: {{{}}}", one(name));
        let expected = format!(
            "spec.securityContext.sysctls[0].name: Invalid value: \"{name}\": may not be specified when '{shared}' is true"
        );
        in_spec(&spec, &[&expected]);
    }
    let spec = format!(
        "hostIPC: true\nsecurityContext: {{{}}}",
        one("net.ipv4.tcp_rmem")
    );
    in_spec(&spec, &[]);
}

#[test]
fn seccomp_profiles_are_validated() {
    for (profile, expected) in [
        ("type: RuntimeDefault", &[][..]),
        ("type: Localhost, localhostProfile: a/b", &[]),
        (
            "localhostProfile: a",
            &[
                "@.type: Required value: type is required when seccompProfile is set",
                "@.localhostProfile: Invalid value: {\"localhostProfile\":\"a\",\"type\":\"\"}: can only be set when \
                 seccomp type is Localhost",
            ],
        ),
        (
            "type: Docker",
            &[
                "@.type: Unsupported value: \"Docker\": supported values: \"Localhost\", \"RuntimeDefault\", \"Unconfined\"",
            ],
        ),
        (
            "type: Localhost",
            &["@.localhostProfile: Required value: must be set when seccomp type is Localhost"],
        ),
        (
            "type: Localhost, localhostProfile: /a",
            &["@.localhostProfile: Invalid value: \"/a\": must be a relative path"],
        ),
        (
            "type: Localhost, localhostProfile: a/../../b",
            &["@.localhostProfile: Invalid value: \"a/../../b\": must not contain '..'"],
        ),
        (
            "type: Unconfined, localhostProfile: a",
            &[
                "@.localhostProfile: Invalid value: {\"localhostProfile\":\"a\",\"type\":\"Unconfined\"}: can only be \
                 set when seccomp type is Localhost",
            ],
        ),
    ] {
        let context = format!("securityContext: {{seccompProfile: {{{profile}}}}}");
        check_at(
            "spec.securityContext.seccompProfile",
            &context,
            expected,
            in_spec,
        );
        check_at(
            "spec.containers[0].securityContext.seccompProfile",
            &context,
            expected,
            in_container,
        );
    }
}

#[test]
fn app_armor_is_not_there() {
    for (profile, expected) in [
        ("type: Unconfined", &[][..]),
        (
            "type: RuntimeDefault",
            &["@.type: \"RuntimeDefault\" is not carried out yet"],
        ),
        (
            "type: Localhost, localhostProfile: a",
            &[
                "@.localhostProfile: not carried out yet",
                "@.type: \"Localhost\" is not carried out yet",
            ],
        ),
        (
            "type: Localhost",
            &[
                "@.type: \"Localhost\" is not carried out yet",
                "@.localhostProfile: Required value: must be set when AppArmor type is Localhost",
            ],
        ),
        (
            "type: Localhost, localhostProfile: ' a'",
            &[
                "@.type: \"Localhost\" is not carried out yet",
                "@.localhostProfile: Invalid value: \" a\": must not be padded with whitespace",
            ],
        ),
        (
            "type: Unconfined, localhostProfile: a",
            &[
                "@.localhostProfile: Invalid value: \"a\": can only be set when AppArmor type is Localhost",
            ],
        ),
        (
            "type: ''",
            &["@.type: Required value: type is required when appArmorProfile is set"],
        ),
        (
            "type: unconfined",
            &[
                "@.type: Unsupported value: \"unconfined\": supported values: \"Localhost\", \"RuntimeDefault\", \"Unconfined\"",
            ],
        ),
    ] {
        let context = format!("securityContext: {{appArmorProfile: {{{profile}}}}}");
        check_at(
            "spec.securityContext.appArmorProfile",
            &context,
            expected,
            in_spec,
        );
        check_at(
            "spec.containers[0].securityContext.appArmorProfile",
            &context,
            expected,
            in_container,
        );
    }
}

#[test]
fn security_contexts_of_containers_are_validated() {
    let cannot = |value: &str, what: &str| {
        format!(
            "@: Invalid value: {value}: cannot set `allowPrivilegeEscalation` to false and {what}"
        )
    };
    let privileged = cannot(
        "{\"allowPrivilegeEscalation\":false,\"privileged\":true}",
        "`privileged` to true",
    );
    let admin = cannot(
        "{\"allowPrivilegeEscalation\":false,\"capabilities\":{\"add\":[\"CAP_SYS_ADMIN\"]}}",
        "`capabilities.Add` CAP_SYS_ADMIN",
    );
    for (context, expected) in [
        ("privileged: true", &[][..]),
        ("allowPrivilegeEscalation: false", &[]),
        (
            "allowPrivilegeEscalation: false, privileged: true",
            &[privileged.as_str()],
        ),
        (
            "allowPrivilegeEscalation: false, capabilities: {add: [CAP_SYS_ADMIN]}",
            &[&admin],
        ),
        (
            "allowPrivilegeEscalation: false, capabilities: {add: [SYS_ADMIN]}",
            &[],
        ),
        (
            "allowPrivilegeEscalation: true, privileged: true, capabilities: {add: [CAP_SYS_ADMIN]}",
            &[],
        ),
        ("procMount: Default", &[]),
        (
            "procMount: Unmasked",
            &[
                "@.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`",
            ],
        ),
        (
            "procMount: ''",
            &["@.procMount: Unsupported value: \"\": supported values: \"Default\", \"Unmasked\""],
        ),
        (
            "seLinuxOptions: {level: a}",
            &["@.seLinuxOptions: not carried out yet"],
        ),
        (
            "windowsOptions: {hostProcess: true}",
            &["@.windowsOptions: not carried out yet"],
        ),
    ] {
        in_own_context(context, expected);
    }
}

#[test]
fn capabilities_are_validated() {
    let wrong = |place: &str, name: &str| {
        format!(
            "@.capabilities.{place}: Invalid value: \"{name}\": must be a capability of Linux, for example NET_ADMIN, or ALL"
        )
    };
    for (names, place, name) in [
        ("add: [NET_ADMIN, NET_ADMINS]", "add[1]", "NET_ADMINS"),
        ("drop: ['']", "drop[0]", ""),
        ("drop: [CAP_ALL]", "drop[0]", "CAP_ALL"),
        ("add: [CAP_CAP_BPF]", "add[0]", "CAP_CAP_BPF"),
    ] {
        in_own_context(
            &format!("capabilities: {{{names}}}"),
            &[&wrong(place, name)],
        );
    }
    in_own_context(
        "capabilities: {add: [ALL, bpf, CHECKPOINT_RESTORE], drop: [Mknod]}",
        &[],
    );
}

#[test]
fn a_pod_of_images_may_not_say_yet_that_it_is_not_root() {
    for context in ["runAsNonRoot: true", "runAsNonRoot: true, runAsUser: 0"] {
        let read = read("", &format!("securityContext: {{{context}}}"));
        assert!(read.containers[0].security.non_root, "{context}");
    }
}
