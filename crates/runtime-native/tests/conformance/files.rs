//! What containers see of files: volumes and the host.
use crate::suite::*;

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
        let data = world.path("data").display().to_string();
        let mounts = world
            .output(&uid, "c", "cut -d' ' -f5 /proc/self/mountinfo")
            .await;
        let seen = |line: &&str| line.starts_with(&data) && **line != data;
        assert_eq!(mounts.lines().find(seen), None, "{mounts}");
        assert_ne!(
            world
                .exec(&uid, "c", &format!("test -e {data}/run"))
                .await
                .exit_code,
            0
        );
    });
}
