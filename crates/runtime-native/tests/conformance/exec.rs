//! Commands beside containers.
use crate::suite::*;

#[test]
fn what_starts_commands_is_unseen_and_can_be_replaced() {
    run(async {
        let world = World::native();
        let pod = world.pod("replaced", Vec::new()).await;
        world.sh(&pod, "c", "exec sleep 1000").await;
        let seen = world.output(&pod, "c", "ps ax -o pid=,args=").await;
        // The init, the main program, and the two that look.
        assert_eq!(seen.lines().count(), 4, "{seen}");
        let shim = world.dir.shim("replaced").unwrap().as_raw_nonzero().get();
        let runner = || {
            let children = std::fs::read_dir("/proc").unwrap().flatten();
            let pids = children.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            // Of the shim's children the one that is in its own pid namespace.
            pids.filter(|pid: &i32| {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
                status.is_ok_and(|status| {
                    status.contains(&format!("\nPPid:\t{shim}\n"))
                        && status.contains(&format!("\nNSpid:\t{pid}\n"))
                })
            })
            .collect::<Vec<i32>>()
        };
        let first = runner();
        assert_eq!(first.len(), 1);
        let pid = rustix::process::Pid::from_raw(first[0]).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        eventually(async || runner().is_empty().then_some(())).await;
        assert_eq!(world.output(&pod, "c", "echo again").await, "again");
        assert_ne!(runner(), first);
    });
}
