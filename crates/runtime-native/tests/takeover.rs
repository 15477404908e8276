//! A new binary takes over the pods of an older one: a shim of an earlier build holds a pod, and an agent of this
//! build finds it. `.ci/takeover` builds that shim and runs this, as whoever runs it and, if that is root, once more
//! as an ordinary user.

#[cfg(test)]
#[path = "conformance/suite.rs"]
#[expect(
    dead_code,
    reason = "shared with the conformance tests, which use all of it"
)]
mod suite;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::time::Duration;

    use probelet_model::pod::{User, Volume, VolumeSource};
    use probelet_model::security::Seccomp;
    use probelet_model::volume::{FileSource, KeysOf};
    use probelet_runtime::{
        ContainerConfig, Event, ExecError, ExecRequest, Exit, ImageRoot, PodConfig, PodRecord,
        Runtime, SessionRequest, Started, Transport, VolumeFile, VolumeFiles,
    };
    use probelet_runtime_native::{NativeRuntime, Options};
    use rustix::process::{Pid, Signal, kill_process};
    use serde_json::Value;

    use crate::suite::*;

    const EARLIER: &str = "PROBELET_TEST_EARLIER_SHIM";

    /// The pod, and the fields of its `config.json` that the agent of the earlier build wrote.
    const POD: &str = "old";
    const CONFIG: [&str; 3] = ["pod", "data_dir", "log_dir"];
    const CONFIG_OF_POD: [&str; 7] = [
        "uid",
        "namespace",
        "name",
        "hostname",
        "network",
        "volumes",
        "volume_files",
    ];

    /// Its containers, by id. The third listens on a port of all addresses and says a name to whoever connects.
    const CONTAINERS: [(&str, &str); 4] = [
        (
            "stays",
            "trap 'exit 3' TERM; echo > /d/up; while :; do sleep 0.05; done",
        ),
        ("reads", "trap '' TERM; while read x; do echo got $x; done"),
        (
            "serves",
            "exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr => \"0.0.0.0\", \
                LocalPort => 8080, Listen => 5) or die $!; while ($c = $s->accept) { print $c \"the pod\"; close $c }'",
        ),
        ("ended", "echo words > /dev/termination-log; exit 4"),
    ];

    /// What stands when the agent of the earlier build has ended, and what that knew of it.
    struct Left {
        /// The agent, which is about to end.
        world: World<NativeRuntime>,
        config: PodConfig,
        runs: BTreeMap<String, (Started, Option<Exit>)>,
        shim: Pid,
    }

    /// Runs a test on what an agent with a shim of an earlier build leaves, if there is one.
    fn with_left(test: impl AsyncFnOnce(Left)) {
        let Some(shim) = std::env::var_os(EARLIER) else {
            println!("not run: {EARLIER} is not given, .ci/takeover builds one");
            return;
        };
        run(async {
            let left = leave(&PathBuf::from(shim)).await;
            test(left).await;
        });
    }

    async fn leave(shim: &Path) -> Left {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            data_dir: dir.path().join("data"),
            shim_command: vec![shim.into()],
        };
        let mut world = World::around(NativeRuntime::new(options).unwrap(), dir, NATIVE);
        let files = Volume {
            name: "config".into(),
            source: VolumeSource::Files {
                sources: vec![FileSource::ConfigMap(KeysOf {
                    name: "object".into(),
                    items: Vec::new(),
                    optional: false,
                })],
                mode: 0o644,
            },
        };
        let config = PodConfig {
            volume_files: [("config".into(), content("one"))].into(),
            ..pod(
                POD,
                own("10.213.0.9"),
                vec![empty_dir("d", false, None), files],
            )
        };
        world.runtime.start_pod(config.clone()).await.unwrap();
        let mut runs = BTreeMap::new();
        for (id, script) in CONTAINERS {
            let run = ContainerConfig {
                stdin: id == "reads",
                ..of_pod(id, script)
            };
            let started = world.runtime.start_container(&POD.into(), run).await;
            runs.insert(id.to_owned(), (started.unwrap(), None));
        }
        let exit = world.exit("ended").await;
        assert_eq!((exit.code, exit.message.as_deref()), (4, Some("words\n")));
        runs.get_mut("ended").unwrap().1 = Some(exit);
        eventually(async || world.kept(POD).join("volumes/d/up").exists().then_some(())).await;
        forget_what_is_new(&world.kept(POD).join("config.json"));
        let shim_of_pod = world.dir.shim(POD).unwrap();
        assert_eq!(program(shim_of_pod), shim);
        Left {
            world,
            config,
            runs,
            shim: shim_of_pod,
        }
    }

    /// Takes out of a pod's `config.json` what the agent of the earlier build had not known.
    fn forget_what_is_new(file: &Path) {
        let mut config: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let fields = config.as_object_mut().unwrap();
        fields.retain(|name, _| CONFIG.contains(&name.as_str()));
        let fields = fields["pod"].as_object_mut().unwrap();
        fields.retain(|name, _| CONFIG_OF_POD.contains(&name.as_str()));
        fs::write(file, config.to_string()).unwrap();
    }

    /// The first run of a container of that name.
    fn of_pod(name: &str, script: &str) -> ContainerConfig {
        ContainerConfig {
            name: name.into(),
            mounts: vec![mount("d", "/d", false), mount("config", "/config", true)],
            ..sh(name, script)
        }
    }

    fn content(text: &str) -> VolumeFiles {
        VolumeFiles {
            files: vec![VolumeFile {
                path: "key".into(),
                mode: 0o644,
                content: text.into(),
            }],
        }
    }

    /// What a process was started as.
    fn program(pid: Pid) -> PathBuf {
        let line = fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap();
        PathBuf::from(line.split('\0').next().unwrap())
    }

    fn is_up(pid: Pid) -> bool {
        is_running(pid.as_raw_nonzero().get().unsigned_abs())
    }

    fn runs(pod: &PodRecord) -> BTreeMap<String, (Started, Option<Exit>)> {
        let runs = pod.containers.iter();
        runs.map(|run| (run.id.to_string(), (run.started.clone(), run.exit.clone())))
            .collect()
    }

    #[test]
    fn all_is_found_as_it_was() {
        with_left(async |left| {
            let World {
                runtime,
                events,
                dir,
            } = left.world;
            drop((runtime, events));
            // Twice: what the first makes of it the second has to understand.
            for _ in 0..2 {
                let runtime = native(dir.path());
                let mut events = runtime.events();
                let pods = runtime.pods().await.unwrap();
                let [found] = &pods[..] else {
                    panic!("{pods:?}");
                };
                let config = PodConfig {
                    volume_files: BTreeMap::new(),
                    ..left.config.clone()
                };
                assert_eq!(found.config, config);
                assert_eq!(runs(found), left.runs);
                let told = Event::Exited {
                    pod: POD.into(),
                    container: id("ended"),
                    exit: left.runs["ended"].1.clone().unwrap(),
                };
                assert_eq!(events.recv().await, Some(told));
                // It stands, so nothing is done.
                runtime.start_pod(found.config.clone()).await.unwrap();
                assert!(events.try_recv().is_err(), "nothing else has happened");
            }
            assert_eq!(dir.shim(POD), Some(left.shim));
            for (started, exit) in left.runs.values() {
                assert_eq!(is_running(started.pid), exit.is_none());
            }
        });
    }

    #[test]
    fn what_runs_goes_on_and_answers() {
        with_left(async |left| {
            let mut world = left.world.again().await;
            let (pod, stays, reads) = (POD.into(), id("stays"), id("reads"));
            assert_eq!(world.output(&pod, "stays", "cat /config/key").await, "one");
            let endless = ExecRequest {
                timeout: Duration::from_millis(50),
                ..request("exec sleep 1000")
            };
            let exec = world.runtime.exec(&pod, &stays, endless).await;
            assert_eq!(exec, Err(ExecError::TimedOut));

            let open = async |request: SessionRequest| {
                let opened = world.runtime.open_exec(&pod, &stays, request).await;
                opened.unwrap()
            };
            let mut opened = open(session("cat; echo error >&2; exit 6", ALL, false)).await;
            let stdin = Writer::new(opened.stdin.take().unwrap());
            stdin.write(b"through").await.unwrap();
            drop(stdin);
            let read = async |end: Option<_>| Reader::new(end.unwrap()).text().await;
            assert_eq!(read(opened.stdout.take()).await, "through");
            assert_eq!(read(opened.stderr.take()).await, "error\n");
            assert_eq!(outcome(opened.ended).await, Ok(6));
            let mut opened = open(session("test -t 0 && echo terminal; exit 7", ALL, true)).await;
            assert_eq!(read(opened.stdout.take()).await, "terminal\r\n");
            assert_eq!(outcome(opened.ended).await, Ok(7));

            let joined = world.runtime.attach(&pod, &reads, ALL).await;
            let mut joined = joined.unwrap();
            let stdin = Writer::new(joined.stdin.take().unwrap());
            let stdout = Reader::new(joined.stdout.take().unwrap());
            stdin.write(b"me\n").await.unwrap();
            assert_eq!(stdout.read_until("\n").await, "got me\n");

            let update = world.runtime.update_volume(&pod, "config", content("two"));
            update.await.unwrap();
            assert_eq!(world.output(&pod, "stays", "cat /config/key").await, "two");
            let address = "10.213.0.9:8080".parse().unwrap();
            assert_eq!(world.hear(&pod, address).await, "the pod");

            let next = ContainerConfig {
                id: id("ended-1"),
                restart_count: 1,
                ..of_pod("ended", "echo again > /dev/termination-log; exit 5")
            };
            world.runtime.start_container(&pod, next).await.unwrap();
            let exit = world.exit("ended-1").await;
            assert_eq!((exit.code, exit.message.as_deref()), (5, Some("again\n")));
            let stop = world.runtime.stop_container(&pod, &stays, PATIENCE);
            stop.await.unwrap();
            assert_eq!(world.exit("stays").await.code, 3);
            let stop = world.runtime.stop_container(&pod, &reads, Duration::ZERO);
            stop.await.unwrap();
            assert_eq!(world.exit("reads").await.code, 137);
            assert_eq!(outcome(joined.ended).await, Ok(137));
        });
    }

    type Change = fn(&mut ContainerConfig);

    /// What an agent of this build may ask of a container, and no shim of the earlier build does.
    const NEW: [(&str, Change); 13] = [
        ("image", |run| {
            run.image = Some(ImageRoot {
                layers: vec!["/".into()],
                volumes: Vec::new(),
            });
        }),
        ("image", |run| run.image_user = "nobody".into()),
        ("securityContext", |run| run.security.privileged = true),
        ("securityContext", |run| run.security.may_escalate = false),
        ("securityContext", |run| {
            run.security.add = vec!["SYS_ADMIN".into()];
        }),
        ("securityContext", |run| {
            run.security.drop = vec!["ALL".into()]
        }),
        ("securityContext", |run| run.security.read_only_root = true),
        ("securityContext", |run| run.security.non_root = true),
        ("securityContext", |run| {
            run.security.seccomp = Seccomp::Localhost("profile".into());
        }),
        ("securityContext", |run| run.security.unmasked_proc = true),
        ("resources.limits", |run| {
            run.resources.limits.memory = Some(1 << 30);
        }),
        ("volumeMounts.subPath", |run| {
            run.mounts[0].sub_path = Some("below".into());
        }),
        ("lifecycle.stopSignal", |run| {
            run.stop_signal = Some(Signal::USR1.as_raw());
        }),
    ];

    #[test]
    fn what_the_old_shim_cannot_do_is_refused_and_harms_nothing() {
        with_left(async |left| {
            let mut world = left.world.again().await;
            let pod = POD.into();
            let old = "the pod was started by an older version, which cannot do that; it can be done once the \
                pod has been started anew";
            let address = "127.213.4.5:80".parse().unwrap();
            let bound = world.runtime.bind(&pod, address, Transport::Tcp).await;
            assert_eq!(
                bound.unwrap_err().to_string(),
                format!("bind 127.213.4.5:80 in pod old: {old}")
            );
            let usage = world.runtime.usage(&pod).await;
            let text = usage.unwrap_err().to_string();
            assert_eq!(text, format!("usage of pod old: {old}"));
            for (field, change) in NEW {
                let mut run = of_pod("new", "exit 0");
                change(&mut run);
                let started = world.runtime.start_container(&pod, run).await;
                let text = started.unwrap_err().to_string();
                assert_eq!(text, format!("{field}: {old}"));
            }
            let runs_of = |dir: PathBuf| fs::read_dir(dir).unwrap().count();
            assert_eq!(runs_of(world.kept(POD).join("containers")), left.runs.len());
            let logs = fs::read_dir(world.path("data/logs")).unwrap().next();
            assert_eq!(runs_of(logs.unwrap().unwrap().path()), left.runs.len());

            // What is carried out by that shim, or was without effect when the pod was started.
            let mut run = of_pod("new", "exit $(id -u)");
            run.user = User {
                uid: Some(1),
                gid: None,
            };
            run.security.non_root = true;
            run.resources.requests.cpu_milli = Some(100);
            run.stop_signal = Some(Signal::TERM.as_raw());
            world.runtime.start_container(&pod, run).await.unwrap();
            assert_eq!(world.exit("new").await.code, 1);
            for (started, exit) in left.runs.values() {
                assert_eq!(is_running(started.pid), exit.is_none());
            }
            assert_eq!(world.output(&pod, "stays", "echo here").await, "here");
        });
    }

    #[test]
    fn nothing_is_left_of_a_removed_pod_and_the_next_has_a_new_shim() {
        with_left(async |left| {
            let world = left.world.again().await;
            let pod = POD.into();
            world.runtime.remove_pod(&pod).await.unwrap();
            assert!(!is_up(left.shim));
            for (started, _) in left.runs.values() {
                assert!(!is_running(started.pid));
            }
            assert!(!world.kept(POD).exists());
            assert_eq!(fs::read_dir(world.path("data/logs")).unwrap().count(), 0);
            assert_eq!(world.dir.cgroups(), [""; 0].map(PathBuf::from));

            world.runtime.start_pod(left.config.clone()).await.unwrap();
            let shim = world.dir.shim(POD).unwrap();
            assert_ne!(Some(program(shim).into()), std::env::var_os(EARLIER));
            let address = "127.213.4.5:80".parse().unwrap();
            let bound = world.runtime.bind(&pod, address, Transport::Tcp).await;
            bound.unwrap();
            let mut run = of_pod("new", "exec sleep 1000");
            run.security.drop = vec!["ALL".into()];
            world.runtime.start_container(&pod, run).await.unwrap();
            world.runtime.remove_pod(&pod).await.unwrap();
        });
    }

    #[test]
    fn a_pod_whose_old_shim_is_killed_is_lost_and_started_anew() {
        with_left(async |left| {
            let mut world = left.world.again().await;
            kill_process(left.shim, Signal::KILL).unwrap();
            let pod = POD.into();
            loop {
                match world.event().await {
                    Event::PodLost { pod: lost } if lost == pod => break,
                    Event::Exited { container, .. } if container == id("ended") => {}
                    other => panic!("{other:?}"),
                }
            }
            for (started, _) in left.runs.values() {
                assert!(!is_running(started.pid));
            }
            world.runtime.start_pod(left.config.clone()).await.unwrap();
            assert_ne!(world.dir.shim(POD), Some(left.shim));
            let run = of_pod("again", "exec sleep 1000");
            world.runtime.start_container(&pod, run).await.unwrap();
            // An emptyDir lives as long as the pod.
            let seen = "test -e /d/up && cat /config/key";
            assert_eq!(world.output(&pod, "again", seen).await, "one");
            world.runtime.remove_pod(&pod).await.unwrap();
        });
    }

    #[test]
    fn what_an_old_shim_has_noted_is_read_when_it_is_dead() {
        with_left(async |left| {
            let World {
                runtime,
                events,
                dir,
            } = left.world;
            drop((runtime, events));
            kill_process(left.shim, Signal::KILL).unwrap();
            let runtime = native(dir.path());
            let pods = runtime.pods().await.unwrap();
            let [found] = &pods[..] else {
                panic!("{pods:?}");
            };
            let found = runs(found);
            assert_eq!(found.len(), left.runs.len());
            for (id, (started, exit)) in &left.runs {
                let (found, ended) = &found[id];
                assert_eq!(found, started);
                let ended = ended.clone().unwrap();
                match exit {
                    Some(exit) => assert_eq!(ended, *exit),
                    None => assert_eq!((ended.code, ended.signal), (137, Some(9))),
                }
                assert!(!is_running(started.pid));
            }
            runtime.remove_pod(&POD.into()).await.unwrap();
            assert!(!dir.path().join("data/run").join(POD).exists());
            assert_eq!(
                fs::read_dir(dir.path().join("data/logs")).unwrap().count(),
                0
            );
        });
    }

    #[test]
    fn all_of_it_as_an_ordinary_user_too() {
        let Some(earlier) = std::env::var_os(EARLIER) else {
            println!("not run: {EARLIER} is not given, .ci/takeover builds one");
            return;
        };
        if !rustix::process::geteuid().is_root() {
            println!("this is an ordinary user already");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let place = |name: &str| dir.path().join(name);
        fs::copy(std::env::current_exe().unwrap(), place("tests")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_probelet-native-shim"), place("shim")).unwrap();
        fs::copy(earlier, place("earlier")).unwrap();
        fs::create_dir(place("tmp")).unwrap();
        std::os::unix::fs::chown(place("tmp"), Some(65534), Some(65534)).unwrap();
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(place("tests"))
            .env("PROBELET_TEST_SHIM", place("shim"))
            .env(EARLIER, place("earlier"))
            .env("TMPDIR", place("tmp"))
            .current_dir("/")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && text.contains("test result: ok"));
    }
}
