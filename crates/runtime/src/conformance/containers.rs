//! Containers: how they start, run, log and end.
use crate::{ExecError, ExecRequest, Runtime, StartContainerError};
use probelet_model::pod::User;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::layers::{Layer, sh_on};
use super::world::*;

pub async fn exit_codes_and_signals_are_exact<R: Runtime>(mut world: World<R>) {
    let pod = world.pod("codes", Vec::new()).await;
    for (id, script, code, signal) in [
        ("ok", "true", 0, None),
        ("seven", "exit 7", 7, None),
        ("term", "kill -TERM $$", 143, Some(15)),
        ("segv", "kill -SEGV $$", 139, Some(11)),
        (
            "orphans",
            "sleep 1000 & setsid sleep 1000 & exit 3",
            3,
            None,
        ),
    ] {
        let started = world.sh(&pod, id, script).await;
        let exit = world.exit(id).await;
        assert_eq!((exit.code, exit.signal), (code, signal), "{script}");
        assert!(exit.finished_at >= started.started_at, "{script}");
        assert!(!is_running(started.pid), "{script}");
    }
}

pub async fn commands_that_cannot_be_executed_are_named<R: Runtime>(world: World<R>) {
    let pod = world.pod("nocmd", Vec::new()).await;
    let mut in_file = sh("d", "true");
    in_file.working_dir = Some("/etc/passwd".into());
    let command = |text: &str| StartContainerError::Command(text.into());
    for (config, expect) in [
        (
            container("a", &["nosuch"]),
            r#"exec: "nosuch": executable file not found in $PATH"#,
        ),
        (
            container("b", &["/no/such"]),
            r#"exec: "/no/such": stat /no/such: no such file or directory"#,
        ),
        (
            container("c", &["/etc/passwd"]),
            r#"exec: "/etc/passwd": permission denied"#,
        ),
        (
            in_file,
            "chdir to working directory \"/etc/passwd\": not a directory",
        ),
    ] {
        assert_eq!(
            world.runtime.start_container(&pod, config).await,
            Err(command(expect))
        );
    }
    let nowhere = world
        .runtime
        .start_container(&"none".into(), sh("e", "true"))
        .await;
    assert_eq!(nowhere, Err(StartContainerError::NoPod("none".into())));
    world.sh(&pod, "f", "exec sleep 1000").await;
    let argv = vec!["nosuch".to_owned()];
    let failed = world
        .runtime
        .exec(
            &pod,
            &id("f"),
            ExecRequest {
                argv,
                ..request("")
            },
        )
        .await;
    let text = r#"exec: "nosuch": executable file not found in $PATH"#;
    assert_eq!(failed, Err(ExecError::Command(text.into())));
    assert_eq!(world.runtime.pods().await.unwrap()[0].containers.len(), 1);
}

pub async fn what_the_kernel_does_not_execute_has_begun_and_ends_with_1<R: Runtime>(
    mut world: World<R>,
) {
    let base = Layer::busybox(world.dir.path());
    for (name, content) in [
        ("script", "echo hi\n"),
        ("lost", "#!/no/such\n"),
        ("bin/found", ""),
    ] {
        base.file(name, content);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(base.path(name), mode).unwrap();
    }
    let pod = world.pod("noexec", Vec::new()).await;
    world
        .runtime
        .start_container(&pod, sh_on(&[&base], "beside", "exec sleep 1000"))
        .await
        .unwrap();
    let long = "x".repeat(200 * 1024);
    for (name, argv, expect) in [
        ("a", vec!["/script"], "exec /script: exec format error"),
        ("b", vec!["/lost"], "exec /lost: no such file or directory"),
        ("c", vec!["found"], "exec /bin/found: exec format error"),
        (
            "d",
            vec!["true", &long],
            "exec /bin/true: argument list too long",
        ),
    ] {
        let argv: Vec<String> = argv.into_iter().map(str::to_owned).collect();
        let mut config = sh_on(&[&base], name, "");
        config.name = name.into();
        config.argv = argv.clone();
        config.env = vec![("PATH".into(), "/bin".into())];
        world.runtime.start_container(&pod, config).await.unwrap();
        let exit = world.exit(name).await;
        assert_eq!((exit.code, exit.signal), (1, None), "{name}");
        let path = crate::log_path("default", "pod-noexec", &pod, &name.into(), 0);
        let log = fs::read_to_string(world.runtime.log_dir().join(path)).unwrap();
        assert!(log.ends_with(&format!(" stderr F {expect}\n")), "{log}");
        let request = ExecRequest {
            argv,
            ..request("")
        };
        let output = world.runtime.exec(&pod, &id("beside"), request).await;
        let output = output.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.exit_code, said), (1, format!("{expect}\n")));
    }
}

pub async fn term_is_ignored_until_the_grace_is_over<R: Runtime>(mut world: World<R>) {
    let pod = world.pod("stop", Vec::new()).await;
    world
        .sh(
            &pod,
            "deaf",
            "trap '' TERM; sleep 1000 & setsid sleep 1000 & while :; do sleep 1; done",
        )
        .await;
    world.sh(&pod, "plain", "exec sleep 1000").await;
    world
        .sh(&pod, "polite", "trap 'exit 5' TERM; sleep 1000 & wait")
        .await;
    eventually(async || {
        (world
            .output(&pod, "polite", "ps ax | grep -c '[s]leep 1000'")
            .await
            != "0")
            .then_some(())
    })
    .await;
    let hour = Duration::from_secs(3600);
    world
        .runtime
        .stop_container(&pod, &id("plain"), hour)
        .await
        .unwrap();
    let exit = world.exit("plain").await;
    assert_eq!((exit.code, exit.signal), (143, Some(15)));
    world
        .runtime
        .stop_container(&pod, &id("polite"), hour)
        .await
        .unwrap();
    assert_eq!(world.exit("polite").await.code, 5);
    world
        .runtime
        .stop_container(&pod, &id("deaf"), hour)
        .await
        .unwrap();
    let kept = world.output(&pod, "deaf", "echo still here").await;
    assert_eq!(kept, "still here");
    world
        .runtime
        .stop_container(&pod, &id("deaf"), Duration::from_millis(50))
        .await
        .unwrap();
    let exit = world.exit("deaf").await;
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    world
        .runtime
        .stop_container(&pod, &id("deaf"), hour)
        .await
        .unwrap();
    world
        .runtime
        .stop_container(&pod, &id("never"), hour)
        .await
        .unwrap();
}

pub async fn environment_directory_and_user<R: Runtime>(world: World<R>) {
    let pod = world.pod("env", Vec::new()).await;
    let mut config = sh("c", "exec sleep 1000");
    config.env = vec![
        ("A".into(), "b c".into()),
        ("HOSTNAME".into(), "mine".into()),
    ];
    config.working_dir = Some("/made/for me".into());
    config.user = User {
        uid: Some(1),
        gid: None,
    };
    world.runtime.start_container(&pod, config).await.unwrap();
    assert_eq!(
        world
            .output(
                &pod,
                "c",
                "echo $A $HOSTNAME > /dev/stdout; pwd; id -u; id -g"
            )
            .await,
        "b c mine\n/made/for me\n1\n1"
    );
    let home = fs::read_to_string("/etc/passwd").unwrap();
    let home = home
        .lines()
        .find(|line| line.split(':').nth(2) == Some("1"))
        .unwrap()
        .split(':')
        .nth(5)
        .unwrap();
    assert_eq!(world.output(&pod, "c", "echo $HOME").await, home);
    world.sh(&pod, "d", "exec sleep 1000").await;
    let root = "root\npod-env\n/\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n/";
    assert_eq!(
        world
            .output(
                &pod,
                "d",
                "id -un; hostname; pwd; echo $PATH; readlink /proc/self/root"
            )
            .await,
        root
    );
    let names = world
        .output(&pod, "d", "env | cut -d= -f1 | sort | tr '\\n' ' '")
        .await;
    assert_eq!(names, "HOME HOSTNAME PATH PWD");
    let signals = world
        .output(
            &pod,
            "d",
            "grep -E 'SigIgn|SigBlk' /proc/self/status | tr -d '\\t'",
        )
        .await;
    assert_eq!(signals, "SigBlk:0000000000000000\nSigIgn:0000000000000000");
    assert_eq!(
        world
            .output(&pod, "d", "ls /proc/self/fd | tr '\\n' ' '")
            .await,
        "0 1 2 3"
    );
}

pub async fn logs_have_the_cri_format_and_all_of_the_output<R: Runtime>(mut world: World<R>) {
    let uid = world.pod("logs", Vec::new()).await;
    world
        .sh(
            &uid,
            "c",
            "echo one; echo two >&2; head -c 20000 /dev/zero | tr '\\0' x; echo; printf end",
        )
        .await;
    world.exit("c").await;
    let path = crate::log_path("default", "pod-logs", &uid, &"main".into(), 0);
    let log = fs::read_to_string(world.runtime.log_dir().join(path)).unwrap();
    let mut lines: Vec<&str> = log
        .lines()
        .map(|line| line.split_once(' ').unwrap().1)
        .collect();
    let stamps: Vec<&str> = log
        .lines()
        .map(|line| line.split_once(' ').unwrap().0)
        .collect();
    assert!(
        stamps
            .iter()
            .all(|stamp| stamp.len() == 30 && stamp.ends_with('Z')),
        "{stamps:?}"
    );
    lines.retain(|line| *line != "stderr F two");
    let long = format!("stdout P {}", "x".repeat(16384));
    let rest = format!("stdout F {}", "x".repeat(20000 - 16384));
    assert_eq!(lines, ["stdout F one", &long, &rest, "stdout P end"]);
}

pub async fn of_the_ended_runs_of_a_container_the_last_is_kept<R: Runtime>(mut world: World<R>) {
    let uid = world.pod("runs", Vec::new()).await;
    for restart_count in 0..3 {
        let run = format!("run{restart_count}");
        let mut config = sh(&run, "echo hello");
        config.restart_count = restart_count;
        world.runtime.start_container(&uid, config).await.unwrap();
        world.exit(&run).await;
    }
    let mut config = container("failed", &["nosuch"]);
    config.restart_count = 3;
    world
        .runtime
        .start_container(&uid, config)
        .await
        .unwrap_err();
    let logs = world.runtime.log_dir().join("default_pod-runs_runs/main");
    let names = async || {
        let entries = fs::read_dir(&logs).unwrap().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.sort();
        (names == ["2.log"]).then_some(())
    };
    eventually(names).await;
    let pods = world.runtime.pods().await.unwrap();
    let kept: Vec<_> = pods[0]
        .containers
        .iter()
        .map(|record| record.id.as_str())
        .collect();
    assert_eq!(kept, ["run2"]);
}
