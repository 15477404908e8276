//! What [`Runtime`] promises, tried on the native runtime with real processes, as whoever runs the tests
//! and, if that is root, once more as an ordinary user.

#[cfg(test)]
mod suite;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;
    use std::time::Duration;

    use probelet_model::pod::{HostPathType, User};
    use probelet_runtime::{
        Event, ExecError, ExecRequest, Network, Runtime, StartContainerError, StartPodError,
    };

    use crate::suite::*;

    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    /// Says a name to whoever connects.
    fn server(name: &str) -> String {
        format!(
            "exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr => \"0.0.0.0\", LocalPort => 8080, \
             Listen => 5) or die $!; while ($c = $s->accept) {{ print $c \"{name}\"; close $c }}'"
        )
    }

    #[test]
    fn exit_codes_and_signals_are_exact() {
        run(async {
            let mut world = World::native();
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
        });
    }

    #[test]
    fn commands_that_cannot_be_executed_are_named() {
        run(async {
            let world = World::native();
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
                    r#"exec: "/no/such": no such file or directory"#,
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
        });
    }

    #[test]
    fn term_is_ignored_until_the_grace_is_over() {
        run(async {
            let mut world = World::native();
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
        });
    }

    #[test]
    fn exec_gives_code_and_output_cut_to_the_limit() {
        run(async {
            let world = World::native();
            let pod = world.pod("exec", Vec::new()).await;
            world.sh(&pod, "c", "exec sleep 1000").await;
            let output = world
                .exec(&pod, "c", "echo out; echo err >&2; exit 9")
                .await;
            assert_eq!(
                (output.exit_code, &output.stdout[..], &output.stderr[..]),
                (9, &b"out\n"[..], &b"err\n"[..])
            );
            assert_eq!(world.exec(&pod, "c", "kill -KILL $$").await.exit_code, 137);
            let output = world
                .exec(
                    &pod,
                    "c",
                    "head -c 3000000 /dev/zero; head -c 20000 /dev/zero >&2",
                )
                .await;
            assert_eq!(
                (output.exit_code, output.stdout.len(), output.stderr.len()),
                (0, 10240, 10240)
            );
            let missing = world.runtime.exec(&pod, &id("x"), request("true")).await;
            assert_eq!(missing, Err(ExecError::NotRunning(id("x"))));
        });
    }

    #[test]
    fn a_timed_out_exec_leaves_nothing_not_even_a_zombie() {
        run(async {
            let world = World::native();
            let pod = world.pod("timeout", Vec::new()).await;
            world.sh(&pod, "c", "exec tail -f /dev/null").await;
            let script = "sleep 999 & setsid sleep 998 & \
                (setsid sh -c 'trap \"\" TERM; sleep 997 & wait' &) ; sleep 996";
            let request = ExecRequest {
                timeout: Duration::from_millis(200),
                ..request(script)
            };
            let timed_out = world.runtime.exec(&pod, &id("c"), request).await;
            assert_eq!(timed_out, Err(ExecError::TimedOut));
            let left = world.output(&pod, "c", "ps ax -o stat=,comm=").await;
            // Of the attempt, that is: its guardian, and the shell and ps that look, may be there.
            let of_attempt = |line: &&str| {
                line.contains("sleep") || line.starts_with('Z') && line.ends_with(" sh")
            };
            assert_eq!(
                left.lines().filter(of_attempt).collect::<Vec<_>>(),
                [""; 0],
                "{left}"
            );
        });
    }

    #[test]
    fn a_daemon_neither_delays_exec_nor_dies_with_it() {
        run(async {
            let world = World::native();
            let pod = world.pod("daemon", Vec::new()).await;
            world.sh(&pod, "c", "exec sleep 1000").await;
            let output = world
                .output(&pod, "c", "setsid sleep 995 & echo started")
                .await;
            assert_eq!(output, "started");
            // The daemon may not have become `sleep` yet, nor the attempt's own parent have left.
            let find = "ps -o ppid= -p $(pgrep -x -f 'sleep 995')";
            eventually(async || {
                let parent = world.exec(&pod, "c", find).await.stdout;
                (String::from_utf8_lossy(&parent).trim() == "1").then_some(())
            })
            .await;
            world.exec(&pod, "c", "pkill -x -f 'sleep 995'").await;
            eventually(async || {
                (world
                    .exec(&pod, "c", "grep -l '^State:.Z' /proc/[0-9]*/status")
                    .await
                    .stdout
                    .is_empty())
                .then_some(())
            })
            .await;
        });
    }

    #[test]
    fn twenty_execs_at_once() {
        run(async {
            let world = std::sync::Arc::new(World::native());
            let pod = world.pod("many", Vec::new()).await;
            world.sh(&pod, "c", "exec sleep 1000").await;
            let mut tasks = tokio::task::JoinSet::new();
            for number in 0..20 {
                let (world, pod) = (std::sync::Arc::clone(&world), pod.clone());
                // Each waits for all the others to be there.
                let script = format!(
                    "mkfifo /tmp/f{number}; : > /tmp/r{number}; \
                    while [ $(ls /tmp | grep -c ^r) -lt 20 ]; do sleep 0.01; done; exit {number}"
                );
                tasks.spawn(async move { world.exec(&pod, "c", &script).await.exit_code });
            }
            let mut codes = tasks.join_all().await;
            codes.sort_unstable();
            assert_eq!(codes, (0..20).collect::<Vec<_>>());
        });
    }

    #[test]
    fn environment_directory_and_user() {
        run(async {
            let world = World::native();
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
                    .output(&pod, "c", "echo $A $HOSTNAME; pwd; id -u; id -g")
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
            let root =
                "root\npod-env\n/\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n/";
            assert_eq!(
                world
                    .output(
                        &pod,
                        "d",
                        "id -un; hostname; pwd; echo $PATH; readlink /proc/1/root"
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
        });
    }

    #[test]
    fn volumes_of_every_type_are_checked() {
        run(async {
            let world = World::native();
            fs::write(world.path("file"), "content").unwrap();
            let file = world.path("file");
            for (kind, what) in [
                (HostPathType::Directory, "a directory"),
                (HostPathType::Socket, "a socket file"),
                (HostPathType::CharDevice, "a character device"),
                (HostPathType::BlockDevice, "a block device"),
            ] {
                let config = pod("checks", Network::Host, vec![host_path("v", &file, kind)]);
                let text = format!(
                    "MountVolume.SetUp failed for volume \"v\" : hostPath type check failed: {} is not {what}",
                    file.display()
                );
                assert_eq!(
                    world.runtime.start_pod(config).await,
                    Err(StartPodError::Volume(text))
                );
            }
            assert!(
                !world.path("data/run/checks").exists(),
                "a pod that could not be made leaves nothing"
            );
            let (dir, made) = (world.path("a/b"), world.path("made"));
            let volumes = vec![
                host_path("dir", &dir, HostPathType::DirectoryOrCreate),
                host_path("made", &made, HostPathType::FileOrCreate),
                host_path("file", &file, HostPathType::File),
                host_path("later", world.path("later"), HostPathType::Unset),
            ];
            let uid = world.pod("checks", volumes).await;
            assert!(dir.is_dir() && made.is_file());
            let mut config = sh("c", "exec sleep 1000");
            config.mounts = vec![
                mount("dir", "/etc/added/deep", false),
                mount("made", "/etc/added/deep/file", false),
                mount("file", "/nowhere/on/host", true),
                mount("later", "/usr/lib/later", false),
            ];
            world.runtime.start_container(&uid, config).await.unwrap();
            assert!(world.path("later").is_dir());
            let script = "echo x > /etc/added/deep/new; echo y > /etc/added/deep/file; echo z > /usr/lib/later/new; \
                cat /nowhere/on/host; echo no > /nowhere/on/host";
            let output = world.exec(&uid, "c", script).await;
            assert_eq!(
                (output.exit_code, &output.stdout[..]),
                (2, &b"content"[..]),
                "{output:?}"
            );
            assert_eq!(fs::read_to_string(dir.join("new")).unwrap(), "x\n");
            assert_eq!(fs::read_to_string(made).unwrap(), "y\n");
            assert_eq!(fs::read_to_string(world.path("later/new")).unwrap(), "z\n");
            assert_eq!(fs::read_to_string(file).unwrap(), "content");
        });
    }

    #[test]
    fn empty_dirs_are_shared_outlive_containers_and_end_with_the_pod() {
        run(async {
            let mut world = World::native();
            let uid = world
                .pod(
                    "empty",
                    vec![
                        empty_dir("disk", false, None),
                        empty_dir("ram", true, Some(65536)),
                    ],
                )
                .await;
            let with = |mut config: probelet_runtime::ContainerConfig, read_only| {
                config.mounts = vec![
                    mount("disk", "/disk", read_only),
                    mount("ram", "/ram", read_only),
                ];
                config
            };
            let script = "stat -c %a /disk /ram; echo one > /disk/f; echo two > /ram/f; mkdir -m 0 /disk/locked; \
                head -c 100000 /dev/zero > /ram/big";
            world
                .runtime
                .start_container(&uid, with(sh("a", script), false))
                .await
                .unwrap();
            assert_eq!(
                world.exit("a").await.code,
                1,
                "the memory volume has a limit"
            );
            world
                .runtime
                .start_container(&uid, with(sh("b", "exec sleep 1000"), true))
                .await
                .unwrap();
            assert_eq!(
                world
                    .output(&uid, "b", "cat /disk/f /ram/f; stat -f -c %T /ram")
                    .await,
                "one\ntwo\ntmpfs"
            );
            assert_ne!(world.exec(&uid, "b", "echo > /disk/g").await.exit_code, 0);
            assert_ne!(world.exec(&uid, "b", "echo > /ram/g").await.exit_code, 0);
            world.runtime.remove_pod(&uid).await.unwrap();
            assert!(!world.path("data/run/empty").exists());
        });
    }

    #[test]
    fn the_host_is_read_only_and_what_is_private_is_not() {
        run(async {
            let world = World::native();
            let uid = world.pod("ro", Vec::new()).await;
            world.sh(&uid, "c", "exec sleep 1000").await;
            for path in [
                "/new",
                "/etc/new",
                "/usr/new",
                "/var/lib/new",
                "/sys/new",
                "/home/new",
            ] {
                assert_ne!(
                    world
                        .exec(&uid, "c", &format!("echo > {path}"))
                        .await
                        .exit_code,
                    0,
                    "{path}"
                );
            }
            let script = "for d in /tmp /run /var/tmp /dev/shm; do echo > $d/new && ls $d | wc -l; done; \
                echo > /dev/null; test -c /dev/urandom && test -e /dev/pts/ptmx && echo devices; \
                ls -d /proc/[0-9]* | wc -l";
            let lines = world.output(&uid, "c", script).await;
            let lines: Vec<&str> = lines.lines().collect();
            assert_eq!(lines[..5], ["1", "1", "1", "1", "devices"]);
            assert!(
                lines[5].parse::<u32>().unwrap() < 10,
                "only its own processes: {lines:?}"
            );
            let mounts = world.output(&uid, "c", "cat /proc/self/mountinfo").await;
            let data = world.path("data").display().to_string();
            assert!(
                !mounts.contains("/old") || !mounts.contains(&format!("{data}/root")),
                "{mounts}"
            );
            assert_ne!(
                world
                    .exec(&uid, "c", &format!("test -e {data}/run"))
                    .await
                    .exit_code,
                0
            );
        });
    }

    #[test]
    fn two_pods_listen_on_one_port() {
        run(async {
            let world = World::native();
            for (uid, ip) in [
                ("left", "10.213.0.21"),
                ("right", "10.213.0.22"),
                ("six", "fd00::7"),
            ] {
                world
                    .runtime
                    .start_pod(pod(uid, own(ip), Vec::new()))
                    .await
                    .unwrap();
            }
            world.sh(&"left".into(), "l", &server("left")).await;
            world.sh(&"right".into(), "r", &server("right")).await;
            assert_eq!(
                world
                    .hear(&"left".into(), "10.213.0.21:8080".parse().unwrap())
                    .await,
                "left"
            );
            for _ in 0..20 {
                assert_eq!(
                    world
                        .hear(&"right".into(), "10.213.0.22:8080".parse().unwrap())
                        .await,
                    "right"
                );
            }
            world.sh(&"six".into(), "s", "exec sleep 1000").await;
            let listening = world
                .runtime
                .tcp_socket(&"six".into(), probelet_runtime::Family::V6)
                .await
                .unwrap();
            let address: std::net::SocketAddr = "[fd00::7]:0".parse().unwrap();
            rustix::net::bind(&listening, &address).unwrap();
            let nobody = world
                .runtime
                .tcp_socket(&"nobody".into(), probelet_runtime::Family::V4)
                .await;
            assert_eq!(nobody.unwrap_err().to_string(), "pod nobody has no sandbox");
        });
    }

    #[test]
    fn a_pod_on_the_hosts_network_is_reached_there() {
        run(async {
            let world = World::native();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            world
                .runtime
                .start_pod(pod("hostnet", Network::Host, Vec::new()))
                .await
                .unwrap();
            let uid = "hostnet".into();
            let script = format!(
                "exec perl -MIO::Socket::INET -e 'IO::Socket::INET->new(\"127.0.0.1:{port}\") or die $!'"
            );
            world.sh(&uid, "c", &script).await;
            listener.accept().await.unwrap();
            let socket = world
                .runtime
                .tcp_socket(&uid, probelet_runtime::Family::V4)
                .await
                .unwrap();
            let socket = tokio::net::TcpSocket::from_std_stream(std::net::TcpStream::from(socket));
            socket
                .connect(listener.local_addr().unwrap())
                .await
                .unwrap();
        });
    }

    #[test]
    fn logs_have_the_cri_format_and_all_of_the_output() {
        run(async {
            let mut world = World::native();
            let uid = world.pod("logs", Vec::new()).await;
            world.sh(&uid, "c", "echo one; echo two >&2; head -c 20000 /dev/zero | tr '\\0' x; echo; printf end").await;
            world.exit("c").await;
            let path = probelet_runtime::log_path("default", "pod-logs", &uid, &"main".into(), 0);
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
        });
    }

    #[test]
    fn an_agent_that_comes_back_finds_all_as_it_was() {
        run(async {
            let world = World::native();
            let uid = world.pod("again", vec![empty_dir("d", false, None)]).await;
            let started = world.sh(&uid, "stays", "exec sleep 1000").await;
            let mut config = sh("ends", "while ! [ -e /d/go ]; do sleep 0.01; done; exit 4");
            config.mounts = vec![mount("d", "/d", false)];
            world.runtime.start_container(&uid, config).await.unwrap();
            let World {
                runtime,
                events,
                dir,
            } = world;
            drop((runtime, events));
            fs::write(dir.path().join("data/run/again/volumes/d/go"), "").unwrap();
            let record = dir.path().join("data/run/again/containers/ends.json");
            eventually(async || {
                fs::read_to_string(&record)
                    .ok()?
                    .contains("\"code\":4")
                    .then_some(())
            })
            .await;
            let runtime = native(dir.path());
            let pods = runtime.pods().await.unwrap();
            assert_eq!(pods.len(), 1);
            assert_eq!(
                pods[0].config,
                pod(
                    "again",
                    own("10.213.0.9"),
                    vec![empty_dir("d", false, None)]
                )
            );
            assert_eq!(pods[0].containers.len(), 2);
            assert_eq!(
                (&pods[0].containers[0].started, &pods[0].containers[0].exit),
                (&started, &None)
            );
            let exit = pods[0].containers[1].exit.clone().unwrap();
            assert_eq!(exit.code, 4);
            let events = runtime.events();
            let mut world = World {
                runtime,
                events,
                dir,
            };
            assert_eq!(world.exit("ends").await, exit);
            assert_eq!(world.output(&uid, "stays", "echo here").await, "here");
            world
                .runtime
                .start_pod(pods[0].config.clone())
                .await
                .unwrap();
            world.runtime.remove_pod(&uid).await.unwrap();
            assert!(!is_running(started.pid));
        });
    }

    #[test]
    fn a_killed_shim_is_a_lost_pod_and_nothing_runs_on() {
        run(async {
            let mut world = World::native();
            let uid = world.pod("lost", vec![empty_dir("d", false, None)]).await;
            let mark = "sleep 1234567";
            let started = world
                .sh(&uid, "c", &format!("{mark} & setsid {mark} & {mark}"))
                .await;
            fs::write(world.path("data/run/lost/volumes/d/kept"), "").unwrap();
            let shim = world.dir.shim("lost").unwrap();
            rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
            assert_eq!(world.event().await, Event::PodLost { pod: uid.clone() });
            assert!(!is_running(started.pid));
            assert_eq!(processes_with(mark), [""; 0]);
            assert!(
                !fs::exists(format!("/proc/{}", shim.as_raw_nonzero())).unwrap(),
                "the shim is reaped"
            );
            let exec = world.runtime.exec(&uid, &id("c"), request("true")).await;
            assert_eq!(exec, Err(ExecError::NotRunning(id("c"))));
            let World {
                runtime,
                events,
                dir,
            } = world;
            drop((runtime, events));
            let runtime = native(dir.path());
            let pods = runtime.pods().await.unwrap();
            assert_eq!(pods[0].containers[0].exit.as_ref().unwrap().code, 137);
            let events = runtime.events();
            let mut world = World {
                runtime,
                events,
                dir,
            };
            assert_eq!(world.event().await, Event::PodLost { pod: uid.clone() });
            world
                .runtime
                .start_pod(pods[0].config.clone())
                .await
                .unwrap();
            assert!(world.path("data/run/lost/volumes/d/kept").exists());
            world.sh(&uid, "c2", "exec sleep 1000").await;
            world.runtime.remove_pod(&uid).await.unwrap();
            assert!(!world.path("data/run/lost").exists());
        });
    }

    #[test]
    fn a_removed_pod_leaves_nothing() {
        run(async {
            let world = World::native();
            let mark = "sleep 7654321";
            let uid = world.pod("gone", vec![empty_dir("ram", true, None)]).await;
            world
                .sh(
                    &uid,
                    "c",
                    &format!("trap '' TERM; {mark} & setsid {mark} & {mark}"),
                )
                .await;
            let c = id("c");
            let exec = world.runtime.exec(&uid, &c, request(mark));
            let (exec, removed) = tokio::join!(exec, async {
                eventually(async || (processes_with(mark).len() > 3).then_some(())).await;
                world.runtime.remove_pod(&uid).await
            });
            removed.unwrap();
            assert_eq!(exec, Err(ExecError::NotRunning(id("c"))));
            assert_eq!(processes_with(mark), [""; 0]);
            assert_eq!(
                processes_with(&world.path("data").display().to_string()),
                [""; 0]
            );
            assert_eq!(fs::read_dir(world.path("data/run")).unwrap().count(), 0);
            assert_eq!(fs::read_dir(world.runtime.log_dir()).unwrap().count(), 0);
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
            assert!(!mounts.contains(world.dir.path().to_str().unwrap()));
            world.runtime.remove_pod(&uid).await.unwrap();
            assert_eq!(world.runtime.pods().await.unwrap(), []);
        });
    }

    #[test]
    fn nonsense_on_the_socket_does_not_hurt_the_shim() {
        run(async {
            use rustix::net::*;
            let mut world = World::native();
            let uid = world.pod("fuzz", Vec::new()).await;
            world.sh(&uid, "c", "exec sleep 1000").await;
            let path = world.path("data/run/fuzz/shim.sock");
            for nonsense in [
                &b"\x00{}"[..],
                b"\x00nonsense",
                b"\x07",
                b"\x00{\"id\":1,\"call\":{\"Sockets\":{\"family\":\"V4\",\"count\":100000}}}",
            ] {
                let socket = socket_with(
                    AddressFamily::UNIX,
                    SocketType::SEQPACKET,
                    SocketFlags::CLOEXEC,
                    None,
                )
                .unwrap();
                connect(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
                send(&socket, nonsense, SendFlags::NOSIGNAL).unwrap();
            }
            // The strangers have replaced this agent, so it takes the pod up again.
            let pods = world.runtime.pods().await.unwrap();
            assert_eq!(pods[0].containers[0].exit, None);
            world
                .runtime
                .stop_container(&uid, &id("c"), Duration::ZERO)
                .await
                .unwrap();
            world.exit("c").await;
        });
    }

    #[test]
    fn all_of_it_as_an_ordinary_user_too() {
        if !is_root() {
            println!("this is an ordinary user already");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let place = |name: &str| dir.path().join(name);
        fs::copy(std::env::current_exe().unwrap(), place("tests")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_probelet-native-shim"), place("shim")).unwrap();
        fs::create_dir(place("tmp")).unwrap();
        std::os::unix::fs::chown(place("tmp"), Some(65534), Some(65534)).unwrap();
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(place("tests"))
            .env("PROBELET_TEST_SHIM", place("shim"))
            .env("TMPDIR", place("tmp"))
            .current_dir("/")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && text.contains("test result: ok"));
    }
}
