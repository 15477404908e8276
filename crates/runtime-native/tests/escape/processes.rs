//! Processes outside, and process 1 where that is Probelet's own.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::ground::{Prison, no_escalation, refused};
use crate::suite::run;

refused! { in of_the_host:
    process_1_is_not_traced: "trace" "1";
    process_1_is_not_seized: "seize" "1";
    memory_of_process_1_is_not_read: "read_memory" "1";
    memory_of_process_1_is_not_opened: "open_read" "/proc/1/mem";
    the_program_of_process_1_is_not_opened: "open_read" "/proc/1/exe";
    the_environment_of_process_1_is_not_read: "open_read" "/proc/1/environ";
    descriptors_of_process_1_are_not_opened: "open_descriptors" "1";
    descriptors_of_process_1_are_not_taken: "take_descriptor" "1";
    mounts_of_process_1_are_not_joined: "join_namespace" "1" "mnt";
    processes_of_process_1_are_not_joined: "join_namespace" "1" "pid";
    the_network_of_process_1_is_not_joined: "join_namespace" "1" "net";
    users_of_process_1_are_not_joined: "join_namespace" "1" "user";
    process_1_has_no_more_power_than_the_container: "more_power" "1";
}

refused! {
    no_user_namespace_is_made: "new_namespaces";
    no_mount_namespace_is_made: "new_mount_namespace";
    no_user_namespace_is_cloned: "clone_user_namespace";
    no_user_namespace_is_cloned_by_the_new_call: "clone3_user_namespace";
    no_descriptor_is_left_to_an_attempt: "leaked_descriptors";
    only_processes_of_the_container_are_seen: "count_processes" "2";
}

#[test]
fn a_process_of_the_host_is_not_there() {
    run(async {
        let prison = Prison::ordinary().await;
        prison
            .refuses(&["is_there", &std::process::id().to_string()])
            .await;
    });
}

#[test]
fn no_descriptor_is_left_to_a_main_program() {
    run(async {
        let mut prison = Prison::with(Vec::new(), |_| {}).await;
        prison
            .start(prison.container("main", &["escape", "leaked_descriptors"]))
            .await;
        assert_eq!(prison.world.exit("main").await.code, 1);
    });
}

#[test]
fn a_setuid_program_does_not_escalate_where_that_is_forbidden() {
    if !rustix::process::geteuid().is_root() {
        println!("no file of the image belongs to anybody else without root");
        return;
    }
    run(async {
        let prison = Prison::with(Vec::new(), |_| {}).await;
        let mut config = prison.waiting("main");
        config.user.uid = Some(1000);
        config.security = no_escalation();
        prison.start(config).await;
        prison.refuses(&["become_root"]).await;
    });
}

/// With SYS_PTRACE a container may do with process 1 what it likes.
#[test]
fn who_may_trace_process_1_has_won_nothing() {
    run(async {
        let prison = Prison::with(Vec::new(), |_| {}).await;
        let mut config = prison.waiting_of_the_host("main");
        config.security.add = vec!["SYS_PTRACE".to_owned()];
        prison.start(config).await;
        prison.refuses(&["more_power", "1"]).await;
        prison.refuses(&["other_roots", &prison.secret()]).await;
    });
}

/// The same where containers share their processes: process 1 is the pod's, and each has one that waits.
#[test]
fn who_may_trace_what_the_pod_shares_has_won_nothing() {
    run(async {
        let prison = Prison::sharing_processes().await;
        for id in ["other", "main"] {
            let mut config = prison.waiting(id);
            config.security.add = vec!["SYS_PTRACE".to_owned()];
            prison.start(config).await;
        }
        let found = prison
            .exec("main", &["sh", "-c", "cd /proc; echo [0-9]*"])
            .await;
        let found = String::from_utf8(found.stdout).unwrap();
        let lasting: Vec<&str> = found.split_whitespace().collect();
        assert!(lasting.len() >= 5, "{lasting:?}");
        for pid in lasting {
            if prison
                .exec("main", &["ls", &format!("/proc/{pid}")])
                .await
                .exit_code
                == 0
            {
                prison.refuses(&["more_power", pid]).await;
            }
        }
        prison.refuses(&["other_roots", &prison.secret()]).await;
    });
}

/// CVE-2019-5736: the command is `/proc/self/exe`, which is the shim's program for a last time, and what the kernel
/// runs for it is the image's.
#[test]
fn the_shims_program_is_not_changed() {
    let Some(place) = interpreter_of(&crate::ground::shim()) else {
        println!("the shim wants no dynamic loader: an image has no code to run in its place");
        return;
    };
    run(async {
        let mut prison = Prison::with(Vec::new(), |image| {
            let place = image.join(place.trim_start_matches('/'));
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy(crate::ground::loader(), &place).unwrap();
            std::os::unix::fs::symlink("/proc/self/exe", image.join("bin/entry")).unwrap();
        })
        .await;
        for (id, program) in [("direct", "/proc/self/exe"), ("link", "/bin/entry")] {
            prison.start(prison.container(id, &[program])).await;
            assert_eq!(prison.world.exit(id).await.code, 1, "{program}");
        }
        prison.start(prison.waiting("main")).await;
        for program in ["/proc/self/exe", "/bin/entry"] {
            let output = prison.exec("main", &[program]).await;
            assert_eq!(output.exit_code, 1, "{program} beside the main program");
        }
    });
}

/// The path of the dynamic loader that an ELF program names, of 64 bits and this machine's order of bytes.
fn interpreter_of(program: &Path) -> Option<String> {
    const INTERPRETER: u32 = 3;
    let bytes = fs::read(program).unwrap();
    let number = |at: usize| {
        let number = u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
        usize::try_from(number).unwrap()
    };
    let half = |at: usize| u16::from_ne_bytes(bytes[at..at + 2].try_into().unwrap()) as usize;
    let (first, size, count) = (number(0x20), half(0x36), half(0x38));
    let headers = (0..count).map(|index| first + index * size);
    let mut of_kind = headers.filter(|at| bytes[*at..*at + 4] == INTERPRETER.to_ne_bytes());
    let header = of_kind.next()?;
    let (start, length) = (number(header + 8), number(header + 0x20));
    let path = &bytes[start..start + length - 1];
    Some(String::from_utf8(path.to_vec()).unwrap())
}

#[test]
fn the_shims_socket_is_out_of_reach() {
    run(async {
        let prison = Prison::ordinary().await;
        let socket = prison.world.path("data/run/prison/shim.sock");
        assert!(socket.exists());
        prison
            .refuses(&["socket_file", &socket.display().to_string()])
            .await;
    });
}

#[test]
fn an_abstract_socket_of_the_host_is_out_of_reach() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("probelet-escape-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    run(async {
        let prison = Prison::ordinary().await;
        prison.refuses(&["abstract_socket", &name]).await;
    });
}
