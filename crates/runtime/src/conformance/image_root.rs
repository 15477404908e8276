//! The root file system of a container with an image.
use super::layers::{Layer, sh_on};
use crate::{Runtime, StartContainerError};
use std::fs;
use std::time::Duration;

use super::world::*;

pub const SLEEP: &str = "exec sleep 1000";

pub async fn what_is_the_hosts_own_is_masked<R: Runtime>(world: World<R>) {
    let base = Layer::busybox(world.dir.path());
    let uid = world.pod("masks", Vec::new()).await;
    let mut of_host = sh("host", SLEEP);
    of_host.name = "host".into();
    let mut unmasked = sh_on(&[&base], "unmasked", SLEEP);
    unmasked.name = "unmasked".into();
    unmasked.security.unmasked_proc = true;
    for config in [sh_on(&[&base], "image", SLEEP), of_host, unmasked] {
        world.runtime.start_container(&uid, config).await.unwrap();
    }
    let masked = "for f in kcore keys timer_list sched_debug latency_stats interrupts; do \
            test ! -e /proc/$f || test ! -s /proc/$f -a \"$(head -c 1 /proc/$f | wc -c)\" = 0 || echo $f; done; \
            for d in /sys/firmware /proc/acpi /proc/scsi \
            /sys/devices/system/cpu/cpu*/thermal_throttle; do test ! -d $d || ls $d; done; \
            for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/sys/vm/drop_caches; do \
            (echo h > $f) 2>/dev/null && echo $f; done; touch /sys/new 2>/dev/null && echo sys; true";
    for id in ["image", "host"] {
        assert_eq!(world.output(&uid, id, masked).await, "", "{id}");
    }
    let over = "grep -c ' /\\(proc/\\|sys/firmware\\)' /proc/mounts";
    let output = world.exec(&uid, "unmasked", over).await;
    assert_eq!(output.stdout, b"0\n", "{output:?}");
    let masks: u32 = world.output(&uid, "image", over).await.parse().unwrap();
    assert!(masks > 6, "{masks}");
    let sys = "touch /sys/new 2>/dev/null; stat -f -c %T /sys; ls /sys/class/net";
    let output = world.output(&uid, "image", sys).await;
    assert!(output.starts_with("sysfs\nlo"), "{output}");
    let of_host = fs::read_dir("/sys/class/net").unwrap().flatten();
    for name in of_host.filter_map(|entry| entry.file_name().into_string().ok()) {
        let is_seen = output.lines().any(|line| line == name);
        assert!(!is_seen || name == "lo", "the pod's own network: {name}");
    }
    let dev = "test -c /dev/null -a -c /dev/tty -a -e /dev/pts/ptmx -a -d /dev/mqueue && \
            grep -c -E ' /dev(/pts|/shm|/mqueue)? ' /proc/mounts; readlink /dev/fd; echo x > /dev/shm/x";
    assert_eq!(world.output(&uid, "image", dev).await, "4\n/proc/self/fd");
}

pub async fn a_privileged_container_has_the_hosts_devices<R: Runtime>(world: World<R>) {
    let base = Layer::busybox(world.dir.path());
    let uid = world.pod("privileged", Vec::new()).await;
    let mut config = sh_on(&[&base], "c", SLEEP);
    config.security.privileged = true;
    world.runtime.start_container(&uid, config).await.unwrap();
    let count = |list: &str| list.split_whitespace().count();
    let devices = world
        .output(
            &uid,
            "c",
            "find /dev -type c -o -type b | grep -v /dev/pts/",
        )
        .await;
    let host = std::process::Command::new("find")
        .args(
            "/dev ( -type c -o -type b ) -not -path /dev/pts/* -not -name console -not -name ptmx"
                .split(' '),
        )
        .output()
        .unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    assert!(count(&host) > 6);
    assert_eq!(count(&devices), count(&host), "{devices}\n{host}");
    let mounts = "grep -E ' /(sys|proc)(/.*)? ' /proc/mounts | grep -v ' /sys/fs/cgroup tmpfs ' | grep -v -E '^[^ ]+ [^ ]+ [^ ]+ rw' | wc -l";
    assert_eq!(world.output(&uid, "c", mounts).await, "0");
}

pub async fn a_read_only_root_leaves_volumes_writable<R: Runtime>(world: World<R>) {
    let base = Layer::busybox(world.dir.path());
    let uid = world.pod("ro", vec![empty_dir("v", false, None)]).await;
    let mut of_host = sh("host", SLEEP);
    of_host.name = "host".into();
    for mut config in [sh_on(&[&base], "image", SLEEP), of_host] {
        let id = config.id.clone();
        config.security.read_only_root = true;
        config.mounts = vec![mount("v", "/v/deep", false)];
        world.runtime.start_container(&uid, config).await.unwrap();
        let script = "for d in / /etc /tmp /v; do touch $d/x 2>/dev/null && echo $d; done; \
                for d in /v/deep /dev/shm; do echo x > $d/x || echo not $d; done; echo words > /dev/termination-log";
        let output = world.exec(&uid, id.as_str(), script).await;
        assert_eq!(
            (output.exit_code, &output.stdout[..]),
            (0, &b""[..]),
            "{id} {output:?}"
        );
    }
}

pub async fn of_a_read_only_root_the_hosts_file_is_writable<R: Runtime>(world: World<R>) {
    let base = Layer::busybox(world.dir.path());
    let mut config = pod("names", own("10.213.0.9"), Vec::new());
    config.hosts = Some("127.0.0.1 localhost\n".into());
    config.resolv_conf = Some("nameserver 10.0.0.1\n".into());
    world.runtime.start_pod(config).await.unwrap();
    let uid = "names".into();
    let mut config = sh_on(&[&base], "c", SLEEP);
    config.security.read_only_root = true;
    world.runtime.start_container(&uid, config).await.unwrap();
    let script = "cd /etc; for f in hosts resolv.conf hostname; do (echo '# more' >> $f) 2>/dev/null && echo $f; done; \
        tail -n 1 hosts";
    assert_eq!(world.output(&uid, "c", script).await, "hosts\n# more");
}

pub async fn hosts_and_resolv_conf_are_the_pods<R: Runtime>(world: World<R>) {
    let base = Layer::busybox(world.dir.path());
    base.file("etc/hosts", "of the image");
    base.link("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf");
    let volumes = vec![empty_dir("v", false, None)];
    let mut config = pod("names", own("10.213.0.9"), volumes);
    config.hosts = Some("127.0.0.1 localhost\n".into());
    config.resolv_conf = Some("nameserver 10.0.0.1\n".into());
    world.runtime.start_pod(config).await.unwrap();
    let uid = "names".into();
    let mut of_host = sh("host", SLEEP);
    of_host.name = "host".into();
    let script = "cat /etc/hosts /etc/resolv.conf; echo '# more' >> /etc/hosts";
    for config in [sh_on(&[&base], "image", SLEEP), of_host] {
        let id = config.id.clone();
        world.runtime.start_container(&uid, config).await.unwrap();
        let output = world.output(&uid, id.as_str(), script).await;
        assert!(output.starts_with("127.0.0.1 localhost\n"), "{output}");
        assert!(output.ends_with("nameserver 10.0.0.1"), "{output}");
    }
    assert_eq!(
        world
            .output(&uid, "image", "cat /etc/hostname; hostname")
            .await,
        "pod-names\npod-names"
    );
    let mut config = sh_on(&[&base], "mounted", SLEEP);
    config.name = "mounted".into();
    config.mounts = vec![mount("v", "/etc/hosts/", false)];
    let error = world
        .runtime
        .start_container(&uid, config)
        .await
        .unwrap_err();
    let text = "volume \"v\": mount at /etc/hosts/: not a directory";
    assert_eq!(
        error,
        StartContainerError::Start(text.into()),
        "the volume's, not the pod's"
    );

    let uid = world.pod("nameless", Vec::new()).await;
    let config = sh_on(&[&base], "c", SLEEP);
    world.runtime.start_container(&uid, config).await.unwrap();
    assert_eq!(
        world.output(&uid, "c", "cat /etc/hosts").await,
        "of the image"
    );
}

pub async fn shared_memory_is_the_pods<R: Runtime>(world: World<R>) {
    let base = Layer::busybox(world.dir.path());
    let uid = world.pod("shm", Vec::new()).await;
    let mut other = sh("b", SLEEP);
    other.name = "other".into();
    world
        .runtime
        .start_container(&uid, sh_on(&[&base], "a", SLEEP))
        .await
        .unwrap();
    world.runtime.start_container(&uid, other).await.unwrap();
    world.output(&uid, "a", "echo shared > /dev/shm/x").await;
    assert_eq!(world.output(&uid, "b", "cat /dev/shm/x").await, "shared");
    let apart = world.pod("apart", Vec::new()).await;
    world
        .runtime
        .start_container(&apart, sh_on(&[&base], "c", SLEEP))
        .await
        .unwrap();
    assert_eq!(world.output(&apart, "c", "ls /dev/shm").await, "");
}

pub async fn working_directories_are_made_and_the_stop_signal_of_the_image_is_sent<R: Runtime>(
    mut world: World<R>,
) {
    let base = Layer::busybox(world.dir.path());
    base.link("srv", "../../../opt");
    let uid = world.pod("stop", Vec::new()).await;
    for (id, signal, code) in [("quit", 3, 9), ("realtime", 37, 10)] {
        let script =
            "trap 'exit 9' QUIT; trap 'exit 10' 37; trap '' TERM; while :; do sleep 0.05; done";
        let mut config = sh_on(&[&base], id, script);
        config.name = id.into();
        config.stop_signal = Some(signal);
        config.working_dir = Some("/srv/a/b".into());
        world.runtime.start_container(&uid, config).await.unwrap();
        let output = world.output(&uid, id, "pwd; stat -c '%a %u %g' /opt/a/b");
        assert_eq!(output.await, "/opt/a/b\n755 0 0");
        let ready = "grep -q 'SigCgt:.*[1-9a-f]' /proc/1/status";
        let is_ready = async || world.exec(&uid, id, ready).await.exit_code == 0;
        eventually(async || is_ready().await.then_some(())).await;
        let grace = Duration::from_secs(15);
        let run = id.into();
        let stopped = world.runtime.stop_container(&uid, &run, grace);
        stopped.await.unwrap();
        assert_eq!(world.exit(id).await.code, code, "{id}");
    }
}

pub async fn the_command_of_an_image_is_process_1<R: Runtime>(mut world: World<R>) {
    let base = Layer::busybox(world.dir.path());
    let uid = world.pod("first", Vec::new()).await;
    let script =
        "trap 'echo reloaded' HUP; trap 'exit 6' USR1; echo $$; while :; do sleep 0.05; done";
    let config = sh_on(&[&base], "c", script);
    let started = world.runtime.start_container(&uid, config).await.unwrap();
    let log = world.runtime.log_dir().join(crate::log_path(
        "default",
        "pod-first",
        &uid,
        &"main".into(),
        0,
    ));
    let log = async |text: &str| {
        eventually(async || {
            let log = fs::read_to_string(&log).ok()?;
            log.lines().any(|line| line.ends_with(text)).then_some(())
        })
        .await;
    };
    log(" F 1").await;
    let outside = fs::read(format!("/proc/{}/cmdline", started.pid)).unwrap();
    assert!(outside.starts_with(b"sh\0-c\0trap"), "{outside:?}");
    let inside = world
        .output(&uid, "c", "tr '\\0' ' ' < /proc/1/cmdline")
        .await;
    assert!(inside.starts_with("sh -c trap"), "{inside}");
    world.exec(&uid, "c", "kill -HUP 1").await;
    log(" F reloaded").await;
    world
        .exec(&uid, "c", "echo said beside > /proc/1/fd/1")
        .await;
    log(" F said beside").await;
    // A signal that it does not handle, the kernel drops.
    assert_eq!(world.output(&uid, "c", "kill -TERM 1; echo on").await, "on");
    world.exec(&uid, "c", "kill -USR1 1").await;
    let exit = world.exit("c").await;
    assert_eq!((exit.code, exit.signal), (6, None));

    let mut config = sh_on(&[&base], "deaf", SLEEP);
    config.name = "deaf".into();
    world.runtime.start_container(&uid, config).await.unwrap();
    let (deaf, grace) = (id("deaf"), Duration::from_millis(300));
    let stopped = world.runtime.stop_container(&uid, &deaf, grace);
    stopped.await.unwrap();
    let exit = world.exit("deaf").await;
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
}
