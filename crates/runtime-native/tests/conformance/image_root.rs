//! The root file system of a container with an image.
use crate::suite::*;
use probelet_runtime::Runtime;
use probelet_runtime::conformance::image_root::*;
use probelet_runtime::conformance::layers::{Layer, sh_on};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn layers_are_one_tree() {
    run(async {
        let mut world = World::native();
        let base = Layer::busybox(world.dir.path());
        base.file("data/kept", "base");
        base.file("data/changed", "base");
        base.file("data/gone", "base");
        base.file("hidden/below", "base");
        base.file("gone-dir/file", "base");
        let middle = Layer::new(world.dir.path(), "middle");
        middle.file("data/changed", "middle");
        middle.whiteout("data/gone");
        middle.whiteout("gone-dir");
        middle.opaque("hidden");
        middle.file("hidden/above", "middle");
        let top = Layer::new(world.dir.path(), "top");
        top.file("gone-dir/new", "top");
        let layers = [&base, &middle, &top];
        let uid = world.pod("layers", Vec::new()).await;
        let tree = "cd /; echo $(ls data hidden gone-dir) $(cat data/kept data/changed hidden/above gone-dir/new)";
        let expect = "data: changed kept gone-dir: new hidden: above basemiddlemiddletop";
        for (id, count) in [("a", 0), ("b", 1), ("c", 2)] {
            let mut config = sh_on(
                &layers,
                id,
                "test ! -e /mine && echo x > /mine; rm /data/kept; exit 5",
            );
            config.restart_count = count;
            world.runtime.start_container(&uid, config).await.unwrap();
            assert_eq!(world.exit(id).await.code, 5);
        }
        let roots = world.path("data/run/layers/roots");
        eventually(async || (fs::read_dir(&roots).unwrap().count() <= 2).then_some(())).await;
        let mut config = sh_on(&layers, "d", SLEEP);
        config.restart_count = 3;
        world.runtime.start_container(&uid, config).await.unwrap();
        assert_eq!(world.output(&uid, "d", tree).await, expect);
        // Of the runs before, the last is kept.
        eventually(async || (fs::read_dir(&roots).unwrap().count() == 2).then_some(())).await;
        let kind = "grep ' / / ' /proc/self/mountinfo | grep -c ' - overlay '; pwd";
        assert_eq!(world.output(&uid, "d", kind).await, "1\n/");
        assert_eq!(fs::read_to_string(base.path("data/kept")).unwrap(), "base");
        assert!(!top.path("mine").exists() && !base.path("mine").exists());
        world.runtime.remove_pod(&uid).await.unwrap();
        assert!(!world.kept("layers").exists());
    });
}

#[test]
fn more_layers_than_overlayfs_takes_are_copied() {
    run(async {
        let world = World::native();
        let place = world.dir.path();
        let base = Layer::busybox(place);
        base.file("hidden/below", "base");
        base.file("gone/file", "base");
        base.file("one", "same");
        fs::hard_link(base.path("one"), base.path("two")).unwrap();
        base.link("link", "one");
        fs::set_permissions(base.path("one"), fs::Permissions::from_mode(0o640)).unwrap();
        let many: Vec<Layer> = (0..510)
            .map(|number| {
                let layer = Layer::new(place, &number.to_string());
                layer.file(&format!("many/{number}"), "x");
                layer.file("last", &number.to_string());
                layer
            })
            .collect();
        many[5].whiteout("gone");
        many[6].opaque("hidden");
        many[7].whiteout("many/3");
        let layers: Vec<&Layer> = std::iter::once(&base).chain(&many).collect();
        let uid = world.pod("many", Vec::new()).await;
        let script = "cat /last; echo; ls /many | wc -l; ls /hidden; test ! -e /gone && echo gone; \
            cat /two; stat -c '%a %h' /one; readlink /link; grep -c ' / overlay' /proc/mounts";
        for (id, count, overlays) in [("all", 510, "0"), ("less", 150, "1"), ("again", 509, "0")] {
            let mut config = sh_on(&layers[..=count], id, SLEEP);
            config.name = id.into();
            world.runtime.start_container(&uid, config).await.unwrap();
            let output = world.exec(&uid, id, script).await;
            let expect = format!(
                "{}\n{}\ngone\nsame640 2\none\n{overlays}\n",
                count - 1,
                count - 1
            );
            assert_eq!(String::from_utf8_lossy(&output.stdout), expect, "{id}");
        }
        let log = fs::read_to_string(world.path("data/run/many/shim.log")).unwrap();
        assert_eq!(log.matches("gets a copy of its image").count(), 1, "{log}");
        let used = async || {
            let usage = world.runtime.usage(&uid).await.unwrap();
            usage.containers["all"].root
        };
        let before = used().await;
        let write = "head -c 300000 /dev/urandom > /written";
        world.output(&uid, "all", write).await;
        let written = used().await - before;
        assert!((300_000..340_000).contains(&written), "{before} {written}");
        world.runtime.remove_pod(&uid).await.unwrap();
        assert!(!world.kept("many").exists());
    });
}

#[test]
fn volumes_of_the_image_begin_with_what_it_has_there() {
    run(async {
        let mut world = World::native();
        let base = Layer::busybox(world.dir.path());
        base.dir("data/sub", 0o750);
        base.dir("data", 0o711);
        base.file("data/one", "one");
        fs::hard_link(base.path("data/one"), base.path("data/two")).unwrap();
        base.link("data/escape", "/etc/passwd");
        base.file("covered/image", "image");
        let uid = world
            .pod("volumes", vec![empty_dir("v", false, None)])
            .await;
        let config = |id: &str, count, script: &str| {
            let mut config = sh_on(&[&base], id, script);
            config.restart_count = count;
            let image = config.image.as_mut().unwrap();
            image.volumes = ["/data", "/none/yet", "/covered"].map(Into::into).into();
            config.mounts = vec![
                mount("v", "/covered", false),
                mount("v", "/data/sub/v", false),
            ];
            config
        };
        let first = config("a", 0, "echo x >> /data/one; echo x > /none/yet/x; exit 3");
        world.runtime.start_container(&uid, first).await.unwrap();
        assert_eq!(world.exit("a").await.code, 3);
        world
            .runtime
            .start_container(&uid, config("b", 1, SLEEP))
            .await
            .unwrap();
        let script = "cat /data/one /data/two; stat -c '%a %h' /data /data/sub /data/one; readlink /data/escape; \
            ls /covered /none/yet; grep -c -E ' (/data|/none/yet|/covered) ' /proc/mounts";
        let expect = "oneone711 3\n750 3\n644 2\n/etc/passwd\n/covered:\n\n/none/yet:\n3";
        assert_eq!(world.output(&uid, "b", script).await, expect);
        assert_eq!(fs::read_to_string(base.path("data/one")).unwrap(), "one");
    });
}

#[test]
fn a_container_sees_its_own_control_groups() {
    run(async {
        let world = World::native();
        let base = Layer::busybox(world.dir.path());
        let uid = world.pod("cgroups", Vec::new()).await;
        let script = "cat /proc/self/cgroup > /dev/termination-log; exec sleep 1000";
        let mut config = sh_on(&[&base], "c", script);
        config.resources.limits.memory = Some(64 << 20);
        let started = world.runtime.start_container(&uid, config).await.unwrap();
        let outside = fs::read_to_string(format!("/proc/{}/cgroup", started.pid)).unwrap();
        if !outside.contains("/probelet/") {
            println!("control groups of its own: none can be made here");
            let seen = "ls /sys/fs/cgroup | wc -l; grep -c ' /sys/fs/cgroup ' /proc/mounts; true";
            println!("{}", world.output(&uid, "c", seen).await);
            return;
        }
        let inside = eventually(async || {
            let text = fs::read_to_string(world.path("data/run/cgroups/messages/c")).ok()?;
            (!text.is_empty()).then_some(text)
        });
        let inside = inside.await;
        assert!(!inside.contains("probelet"), "{inside}");
        let beside = world.output(&uid, "c", "cat /proc/self/cgroup").await;
        assert_eq!(beside, inside.trim_end());
        let script = "cd /sys/fs/cgroup; for f in memory/memory.limit_in_bytes memory.max; do \
            if test -e $f; then cat $f; echo 1000000000 > $f && echo changed; fi; done 2>/dev/null; true";
        assert_eq!(world.output(&uid, "c", script).await, "67108864");
        let others = "find /sys/fs/cgroup -mindepth 3 -type d | head -3";
        assert_eq!(world.output(&uid, "c", others).await, "");
    });
}

#[test]
fn an_image_may_run_on_a_terminal_and_its_end_leaves_no_mount() {
    run(async {
        let mut world = World::native();
        let base = Layer::busybox(world.dir.path());
        let uid = world.pod("tty", Vec::new()).await;
        let mut config = sh_on(
            &[&base],
            "c",
            "tty; test -c /dev/console && exec sleep 1000",
        );
        config.tty = true;
        world.runtime.start_container(&uid, config).await.unwrap();
        let log = world.path("data/logs/default_pod-tty_tty/main/0.log");
        let said = async || {
            let text = fs::read_to_string(&log).ok()?;
            text.contains("/dev/pts/0").then_some(())
        };
        eventually(said).await;
        let shim = world.dir.shim("tty").unwrap();
        rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
        assert!(matches!(
            world.event().await,
            probelet_runtime::Event::PodLost { .. }
        ));
        world.runtime.remove_pod(&uid).await.unwrap();
        assert!(!world.kept("tty").exists());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(world.dir.path().to_str().unwrap()));
    });
}

#[test]
fn dev_is_as_large_as_upstreams_and_terminals_belong_to_their_group() {
    run(async {
        let world = World::native();
        let uid = world.pod("dev", Vec::new()).await;
        world.sh(&uid, "c", SLEEP).await;
        let size = "stat -f -c '%b %S' /dev";
        let size = world.output(&uid, "c", size).await;
        let product: u64 = size.split(' ').map(|n| n.parse::<u64>().unwrap()).product();
        assert_eq!(product, 64 << 20);
        let mapped = "awk '$1 <= 5 && 5 < $1 + $3' /proc/self/gid_map";
        let has_group = !world.output(&uid, "c", mapped).await.is_empty();
        let options = world
            .output(&uid, "c", "grep ' /dev/pts ' /proc/mounts")
            .await;
        assert_eq!(options.contains(",gid="), has_group, "{options}");
        assert!(has_group || !rustix::process::geteuid().is_root());
        let (c, tty) = (id("c"), session("stat -c %g:%a $(tty)", ALL, true));
        let made = world.runtime.open_exec(&uid, &c, tty);
        let stdout = Reader::new(made.await.unwrap().stdout.unwrap());
        let told = stdout.text().await;
        assert_eq!(told == "5:620\r\n", has_group, "{told}");
    });
}
