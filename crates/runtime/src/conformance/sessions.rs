//! Commands with streams of their own.
use crate::{ExecError, Runtime, Session, SessionRequest, Streams};
use probelet_model::pod::User;
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs;

use super::world::*;

pub async fn open(world: &World<impl Runtime>, pod: &str, request: SessionRequest) -> Session {
    let opened = world
        .runtime
        .open_exec(&pod.into(), &id("c"), request)
        .await;
    opened.unwrap()
}

/// A session on a terminal: its one end both ways, and the rest of it.
pub async fn open_terminal(
    world: &World<impl Runtime>,
    pod: &str,
    script: &str,
) -> (Writer, Reader, Session) {
    let mut session = open(world, pod, session(script, ALL, true)).await;
    assert!(session.stderr.is_none(), "comes with stdout");
    let stdin = Writer::new(session.stdin.take().unwrap());
    let stdout = Reader::new(session.stdout.take().unwrap());
    (stdin, stdout, session)
}

pub fn set_size(session: &Session, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(session.terminal.as_ref().unwrap(), size).unwrap();
}

pub async fn streams_are_separate_and_the_exit_code_is_exact<R: Runtime>(world: World<R>) {
    let pod = world.pod("streams", Vec::new()).await;
    let mut config = sh("c", "exec sleep 1000");
    config.env = vec![("A".into(), "b c".into())];
    config.working_dir = Some("/usr".into());
    config.user = User {
        uid: Some(1),
        gid: None,
    };
    world.runtime.start_container(&pod, config).await.unwrap();
    let script =
        "read line; echo \"$line $A\"; pwd >&2; id -u >&2; cat; echo > /dev/stderr; exit 7";
    let mut session = open(&world, "streams", session(script, ALL, false)).await;
    assert!(session.terminal.is_none());
    let stdin = Writer::new(session.stdin.take().unwrap());
    let (stdout, stderr) = (
        Reader::new(session.stdout.take().unwrap()),
        Reader::new(session.stderr.take().unwrap()),
    );
    stdin.write(b"first\n").await.unwrap();
    assert_eq!(stdout.read_until("\n").await, "first b c\n");
    stdin.write(b"and the ").await.unwrap();
    stdin.write(b"rest").await.unwrap();
    drop(stdin);
    assert_eq!(stdout.text().await, "and the rest");
    assert_eq!(stderr.text().await, "/usr\n1\n\n");
    assert_eq!(outcome(session.ended).await, Ok(7));
}

pub async fn a_signal_counts_on_from_128<R: Runtime>(world: World<R>) {
    let pod = world.pod("signal", Vec::new()).await;
    world.sh(&pod, "c", "exec sleep 1000").await;
    for (script, code) in [
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
        ("exit 0", 0),
    ] {
        let session = open(&world, "signal", session(script, ALL, false)).await;
        assert_eq!(outcome(session.ended).await, Ok(code), "{script}");
    }
}

pub async fn what_is_not_wanted_reads_nothing_and_is_thrown_away<R: Runtime>(world: World<R>) {
    let pod = world.pod("unwanted", Vec::new()).await;
    let before = fs::metadata("/dev/null").unwrap();
    let mut config = sh("c", "exec sleep 1000");
    config.user = User {
        uid: Some(1),
        gid: None,
    };
    world.runtime.start_container(&pod, config).await.unwrap();
    let script = "cat; head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; exit 3";
    for tty in [false, true] {
        // On a terminal, nobody who might write to it is an end of input that never comes.
        let script = script.trim_start_matches(if tty { "cat; " } else { "" });
        let wanted = Streams::default();
        let opened = open(&world, "unwanted", session(script, wanted, tty)).await;
        assert!(opened.stdin.is_none() && opened.stdout.is_none() && opened.stderr.is_none());
        assert_eq!(outcome(opened.ended).await, Ok(3));
    }
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata("/dev/null").unwrap().uid(), before.uid());
}

pub async fn megabytes_go_both_ways_at_once<R: Runtime>(world: World<R>) {
    let pod = world.pod("bulk", Vec::new()).await;
    world.sh(&pod, "c", "exec sleep 1000").await;
    let mut session = open(&world, "bulk", session("tee /dev/stderr", ALL, false)).await;
    let sent: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let stdin = Writer::new(session.stdin.take().unwrap());
    let (stdout, stderr) = (
        Reader::new(session.stdout.take().unwrap()),
        Reader::new(session.stderr.take().unwrap()),
    );
    let send = async {
        stdin.write(&sent).await.unwrap();
        drop(stdin);
    };
    let ((), out, err) = tokio::join!(send, stdout.read_to_end(), stderr.read_to_end());
    assert!(out == sent && err == sent, "{} {}", out.len(), err.len());
    assert_eq!(outcome(session.ended).await, Ok(0));
}

pub async fn a_terminal_loses_nothing_of_what_was_last<R: Runtime>(world: World<R>) {
    let pod = world.pod("last", Vec::new()).await;
    world.sh(&pod, "c", "exec sleep 1000").await;
    let script = "head -c 300000 /dev/zero | tr '\\0' x; exit 1";
    let (_stdin, stdout, session) = open_terminal(&world, "last", script).await;
    assert_eq!(stdout.read_to_end().await, vec![b'x'; 300_000]);
    assert_eq!(outcome(session.ended).await, Ok(1));
    // A little, read only when the end has been told.
    for _ in 0..20 {
        let (_stdin, stdout, session) = open_terminal(&world, "last", "echo last").await;
        assert_eq!(outcome(session.ended).await, Ok(0));
        assert_eq!(stdout.text().await, "last\r\n");
    }
}

pub async fn thirty_sessions_at_once<R: Runtime>(world: World<R>) {
    let world = std::sync::Arc::new(world);
    let pod = world.pod("many", Vec::new()).await;
    world.sh(&pod, "c", "exec sleep 1000").await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..30 {
        let world = std::sync::Arc::clone(&world);
        tasks.spawn(async move {
            let script = format!("echo {number}; exit {number}");
            let request = session(&script, ALL, number % 2 == 0);
            let mut opened = open(&world, "many", request).await;
            let stdout = Reader::new(opened.stdout.take().unwrap());
            let text = stdout.text().await;
            assert_eq!(text.trim_end(), number.to_string());
            assert_eq!(outcome(opened.ended).await, Ok(number));
        });
    }
    tasks.join_all().await;
    world.runtime.remove_pod(&pod).await.unwrap();
}

pub async fn commands_that_cannot_be_executed_fail_to_open<R: Runtime>(world: World<R>) {
    let pod = world.pod("nocmd", Vec::new()).await;
    world.sh(&pod, "c", "exec sleep 1000").await;
    for (program, text) in [
        (
            "nosuch",
            r#"exec: "nosuch": executable file not found in $PATH"#,
        ),
        ("/etc/passwd", r#"exec: "/etc/passwd": permission denied"#),
    ] {
        for tty in [false, true] {
            let request = SessionRequest {
                argv: vec![program.into()],
                ..session("", ALL, tty)
            };
            let opened = world.runtime.open_exec(&pod, &id("c"), request).await;
            assert_eq!(opened.unwrap_err(), ExecError::Command(text.into()));
        }
    }
    for pod in [&pod, &"none".into()] {
        let request = session("true", ALL, false);
        let opened = world.runtime.open_exec(pod, &id("x"), request).await;
        assert_eq!(opened.unwrap_err(), ExecError::NotRunning(id("x")));
    }
}

pub async fn a_terminal_has_a_size_and_tells_of_a_new_one<R: Runtime>(world: World<R>) {
    let pod = world.pod("tty", Vec::new()).await;
    let mut config = sh("c", "exec sleep 1000");
    config.env = vec![("TERM".into(), "dumb".into())];
    world.runtime.start_container(&pod, config).await.unwrap();
    let script = "read go; trap 'stty size; exit 5' WINCH; tty; echo $TERM; stty size; \
            test -t 0 -a -t 1 -a -t 2 && ls -l $(tty) | cut -c1-10; echo ready; while :; do sleep 0.01; done";
    let (stdin, stdout, session) = open_terminal(&world, "tty", script).await;
    set_size(&session, 40, 100);
    stdin.write(b"go\r").await.unwrap();
    let text = stdout.read_until("ready\r\n").await;
    assert_eq!(
        text,
        "go\r\n/dev/pts/0\r\nxterm\r\n40 100\r\ncrw--w----\r\nready\r\n"
    );
    set_size(&session, 25, 81);
    assert_eq!(stdout.text().await, "25 81\r\n");
    assert_eq!(outcome(session.ended).await, Ok(5));
    drop((stdin, stdout, session.terminal));
    assert_eq!(world.output(&pod, "c", "ls /dev/pts").await, "ptmx");
}

pub async fn a_terminal_controls_its_jobs<R: Runtime>(world: World<R>) {
    let pod = world.pod("jobs", Vec::new()).await;
    let mut config = sh("c", "exec sleep 1000");
    config.user = User {
        uid: Some(1),
        gid: None,
    };
    world.runtime.start_container(&pod, config).await.unwrap();
    // ^C ends what is in the foreground, and not the shell that waits for it.
    let script = "trap : INT; cat; echo code $?; echo x > /dev/tty; echo y > $(tty); exit 4";
    let (stdin, stdout, session) = open_terminal(&world, "jobs", script).await;
    stdin.write(b"echo\r").await.unwrap();
    stdout.read_until("echo\r\necho\r\n").await;
    stdin.write(b"\x03").await.unwrap();
    let text = stdout.text().await;
    assert_eq!(text, "^Ccode 130\r\nx\r\ny\r\n");
    assert_eq!(outcome(session.ended).await, Ok(4));
    // What an interactive shell says that has no terminal of its own.
    let (stdin, stdout, session) = open_terminal(&world, "jobs", "exec sh -i").await;
    stdin.write(b"exit 8\r").await.unwrap();
    let text = stdout.text().await;
    assert!(!text.contains("job control"), "{text}");
    assert_eq!(outcome(session.ended).await, Ok(8));
    // ^D is the end of input.
    let (stdin, stdout, session) = open_terminal(&world, "jobs", "cat; echo end").await;
    stdin.write(b"\x04").await.unwrap();
    assert_eq!(stdout.text().await, "end\r\n");
    assert_eq!(outcome(session.ended).await, Ok(0));
}

pub async fn a_dropped_session_closes_its_streams_and_ends_nothing<R: Runtime>(world: World<R>) {
    let pod = world.pod("dropped", Vec::new()).await;
    world.sh(&pod, "c", "exec sleep 1000").await;
    // It reads the end, cannot write any more, and goes on.
    let script = "trap '' PIPE; cat > /dev/null; until ! echo 2> /dev/null; do :; done; echo > /tmp/went-on; \
            exec sleep 993";
    let opened = open(&world, "dropped", session(script, ALL, false)).await;
    drop(opened);
    eventually(async || {
        let output = world
            .exec(&pod, "c", "test -e /tmp/went-on && pgrep -x -f 'sleep 993'")
            .await;
        (output.exit_code == 0).then_some(())
    })
    .await;
    // A terminal that goes is hung up, which ends a program that does not mind it otherwise.
    let script = "trap 'echo > /tmp/hung-up; exit' HUP; echo ready; while :; do sleep 0.01; done";
    let (stdin, stdout, session) = open_terminal(&world, "dropped", script).await;
    stdout.read_until("ready").await;
    drop((stdin, stdout, session));
    eventually(async || {
        let output = world.exec(&pod, "c", "test -e /tmp/hung-up").await;
        (output.exit_code == 0).then_some(())
    })
    .await;
}

pub async fn a_session_ends_with_its_container<R: Runtime>(mut world: World<R>) {
    let pod = world.pod("ends", Vec::new()).await;
    world.sh(&pod, "c", "exec sleep 1000").await;
    let mut opened = open(
        &world,
        "ends",
        session("echo hello; exec sleep 992", ALL, false),
    )
    .await;
    let stdout = Reader::new(opened.stdout.take().unwrap());
    assert_eq!(stdout.read_until("\n").await, "hello\n");
    world
        .runtime
        .stop_container(&pod, &id("c"), std::time::Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(stdout.text().await, "");
    assert_eq!(outcome(opened.ended).await, Ok(137));
    world.exit("c").await;
    world.runtime.remove_pod(&pod).await.unwrap();
}

pub async fn sessions_asked_of_a_container_that_starts_wait_for_it<R: Runtime>(world: World<R>) {
    let pod = world.pod("early", Vec::new()).await;
    let config = crate::ContainerConfig {
        stdin: true,
        ..sh("c", "read x; echo $x; exec sleep 1000")
    };
    let c = id("c");
    let started = world.runtime.start_container(&pod, config);
    let opened = world
        .runtime
        .open_exec(&pod, &c, session("echo hi", ALL, true));
    let joined = world.runtime.attach(&pod, &c, ALL);
    let (started, opened, joined) = tokio::join!(started, opened, joined);
    started.unwrap();
    let (mut opened, mut joined) = (opened.unwrap(), joined.unwrap());
    assert_eq!(
        Reader::new(opened.stdout.take().unwrap()).text().await,
        "hi\r\n"
    );
    let stdin = Writer::new(joined.stdin.take().unwrap());
    stdin.write(b"there\n").await.unwrap();
    let stdout = Reader::new(joined.stdout.take().unwrap());
    assert_eq!(stdout.read_until("\n").await, "there\n");
}

pub async fn a_daemon_that_holds_the_streams_does_not_hold_the_end_up<R: Runtime>(world: World<R>) {
    let pod = world.pod("daemon", Vec::new()).await;
    world.sh(&pod, "c", "exec sleep 1000").await;
    let script = "setsid sleep 990 & echo started; exit 2";
    let mut opened = open(&world, "daemon", session(script, ALL, false)).await;
    let stdout = Reader::new(opened.stdout.take().unwrap());
    assert_eq!(outcome(opened.ended).await, Ok(2));
    assert_eq!(stdout.read_until("\n").await, "started\n");
    let find = "ps -o ppid= -p $(pgrep -x -f 'sleep 990')";
    eventually(async || {
        let parent = world.exec(&pod, "c", find).await.stdout;
        (String::from_utf8_lossy(&parent).trim() == "1").then_some(())
    })
    .await;
}

pub async fn a_closed_end_is_told_to_who_writes<R: Runtime>(world: World<R>) {
    let pod = world.pod("closed", Vec::new()).await;
    world.sh(&pod, "c", "exec sleep 1000").await;
    let script = "exec 0<&- 1>&-; exec sleep 1000";
    let mut opened = open(&world, "closed", session(script, ALL, false)).await;
    let stdin = Writer::new(opened.stdin.take().unwrap());
    let stdout = Reader::new(opened.stdout.take().unwrap());
    assert_eq!(stdout.text().await, "", "ends though the command does not");
    let told = async {
        loop {
            if let Err(error) = stdin.write(&[0; 4096]).await {
                return error.kind();
            }
        }
    };
    assert_eq!(told.await, std::io::ErrorKind::BrokenPipe);
}
