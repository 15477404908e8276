//! Joining the streams of a container's main process: stdin, terminals, and copies of the output.
use crate::{ContainerConfig, ExecError, Runtime, Session, Streams};
use probelet_model::id::PodUid;
use probelet_model::pod::User;
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs;
use std::path::Path;

use super::world::*;

/// A container whose stdin is open.
pub fn open_stdin(script: &str) -> ContainerConfig {
    ContainerConfig {
        stdin: true,
        ..sh("c", script)
    }
}

pub async fn join(world: &World<impl Runtime>, pod: &PodUid) -> Session {
    world.runtime.attach(pod, &id("c"), ALL).await.unwrap()
}

pub fn stdin(session: &mut Session) -> Writer {
    Writer::new(session.stdin.take().unwrap())
}

pub fn stdout(session: &mut Session) -> Reader {
    Reader::new(session.stdout.take().unwrap())
}

/// The text of a run's log, without stamps.
pub fn log(log_dir: &Path, pod: &str) -> String {
    let path = log_dir.join(format!("default_pod-{pod}_{pod}/main/0.log"));
    let log = fs::read_to_string(path).unwrap();
    log.lines()
        .map(|line| format!("{}\n", line.split_once(' ').unwrap().1))
        .collect()
}

pub async fn several_see_what_comes_after_they_joined<R: Runtime>(mut world: World<R>) {
    let pod = world.pod("several", Vec::new()).await;
    let script = "echo early; read a; echo one $a; read b; echo two $b; echo err >&2; exit 9";
    world
        .runtime
        .start_container(&pod, open_stdin(script))
        .await
        .unwrap();
    let early = async || {
        log(world.runtime.log_dir(), "several")
            .contains("early")
            .then_some(())
    };
    eventually(early).await;
    let mut first = join(&world, &pod).await;
    let (into, one) = (stdin(&mut first), stdout(&mut first));
    into.write(b"x\n").await.unwrap();
    assert_eq!(one.read_until("\n").await, "one x\n");
    let mut second = join(&world, &pod).await;
    let (into_too, two) = (stdin(&mut second), stdout(&mut second));
    into_too.write(b"y\n").await.unwrap();
    assert_eq!(one.text().await, "two y\n");
    assert_eq!(two.text().await, "two y\n");
    for mut session in [first, second] {
        let stderr = Reader::new(session.stderr.take().unwrap());
        assert_eq!(stderr.text().await, "err\n");
        assert_eq!(outcome(session.ended).await, Ok(9));
    }
    assert_eq!(world.exit("c").await.code, 9);
    assert_eq!(
        log(world.runtime.log_dir(), "several").replace("stderr F err\n", ""),
        "stdout F early\nstdout F one x\nstdout F two y\n"
    );
    let late = world.runtime.attach(&pod, &id("c"), ALL).await.unwrap_err();
    assert_eq!(late, ExecError::NotRunning(id("c")));
}

pub async fn stdin_is_shared_and_stays<R: Runtime>(world: World<R>) {
    let pod = world.pod("stays", Vec::new()).await;
    world
        .runtime
        .start_container(&pod, open_stdin("cat; echo end"))
        .await
        .unwrap();
    for round in ["one\n", "two\n"] {
        let mut session = join(&world, &pod).await;
        let (stdin, stdout) = (stdin(&mut session), stdout(&mut session));
        stdin.write(round.as_bytes()).await.unwrap();
        assert_eq!(stdout.read_until("\n").await, round);
    }
}

pub async fn stdin_once_ends_with_the_first_who_had_it<R: Runtime>(mut world: World<R>) {
    let pod = world.pod("once", Vec::new()).await;
    let config = ContainerConfig {
        stdin_once: true,
        ..open_stdin("cat; echo end; read x; exit 2")
    };
    world.runtime.start_container(&pod, config).await.unwrap();
    // Who does not want it, does not take it.
    let mut watcher = world
        .runtime
        .attach(
            &pod,
            &id("c"),
            Streams {
                stdin: false,
                ..ALL
            },
        )
        .await
        .unwrap();
    let mut first = join(&world, &pod).await;
    let second = join(&world, &pod).await;
    assert!(second.stdin.is_none());
    let into = stdin(&mut first);
    into.write(b"all\n").await.unwrap();
    drop((into, first));
    assert_eq!(stdout(&mut watcher).text().await, "all\nend\n");
    assert_eq!(outcome(watcher.ended).await, Ok(2));
    assert_eq!(outcome(second.ended).await, Ok(2));
    assert_eq!(world.exit("c").await.code, 2);
}

pub async fn without_a_stdin_there_is_none_to_join<R: Runtime>(world: World<R>) {
    let pod = world.pod("none", Vec::new()).await;
    for (id, tty) in [("c", false), ("t", true)] {
        let config = ContainerConfig {
            tty,
            ..sh(id, "read x; exec sleep 1000")
        };
        world.runtime.start_container(&pod, config).await.unwrap();
        let session = world.runtime.attach(&pod, &id.into(), ALL).await.unwrap();
        assert!(session.stdin.is_none());
        assert_eq!(session.terminal.is_some(), tty);
    }
}

pub async fn a_container_may_run_on_a_terminal<R: Runtime>(mut world: World<R>) {
    let pod = world.pod("tty", Vec::new()).await;
    let script = "tty; echo $TERM; echo console > /dev/console; echo err >&2; \
            while read line; do echo \"<$line>\"; stty size; done; exit 3";
    let config = ContainerConfig {
        tty: true,
        user: User {
            uid: Some(1),
            gid: None,
        },
        ..open_stdin(script)
    };
    world.runtime.start_container(&pod, config).await.unwrap();
    let lines = "stdout F /dev/pts/0\nstdout F xterm\nstdout F console\nstdout F err\n";
    let logged = async || (log(world.runtime.log_dir(), "tty") == lines).then_some(());
    eventually(logged).await;
    let mut session = join(&world, &pod).await;
    assert!(session.stderr.is_none());
    let (stdin, stdout) = (stdin(&mut session), stdout(&mut session));
    let size = Winsize {
        ws_row: 33,
        ws_col: 77,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(session.terminal.as_ref().unwrap(), size).unwrap();
    stdin.write(b"hello\r").await.unwrap();
    let text = stdout.read_until("77\r\n").await;
    assert_eq!(text, "hello\r\n<hello>\r\n33 77\r\n");
    // Who leaves does not hang it up.
    drop((stdin, stdout, session));
    let mut session = join(&world, &pod).await;
    let (stdin, stdout) = (self::stdin(&mut session), self::stdout(&mut session));
    // A command beside it has another one.
    let beside = session_on_terminal(&world, &pod).await;
    assert_eq!(beside, "/dev/pts/1\r\n");
    stdin.write(b"\x04").await.unwrap();
    stdout.text().await;
    assert_eq!(outcome(session.ended).await, Ok(3));
    assert_eq!(world.exit("c").await.code, 3);
    assert!(log(world.runtime.log_dir(), "tty").contains("stdout F <hello>\nstdout F 33 77\n"));
}

pub async fn session_on_terminal(world: &World<impl Runtime>, pod: &PodUid) -> String {
    let request = session("tty", ALL, true);
    let mut session = world
        .runtime
        .open_exec(pod, &id("c"), request)
        .await
        .unwrap();
    stdout(&mut session).text().await
}

pub async fn one_who_does_not_read_holds_the_log_up_for_a_while_only<R: Runtime>(
    mut world: World<R>,
) {
    let pod = world.pod("slow", Vec::new()).await;
    let script = "read go; i=0; while [ $i -lt 40 ]; do head -c 9999 /dev/zero | tr '\\0' x; echo; i=$((i+1)); done";
    world
        .runtime
        .start_container(&pod, open_stdin(script))
        .await
        .unwrap();
    let mut reader = join(&world, &pod).await;
    let mut stalled = join(&world, &pod).await;
    stdin(&mut reader).write(b"go\n").await.unwrap();
    let stalled_end = stdout(&mut stalled);
    // All of it, though somebody else reads none; and then the container can end.
    assert_eq!(stdout(&mut reader).read_to_end().await.len(), 400_000);
    assert_eq!(outcome(reader.ended).await, Ok(0));
    assert_eq!(world.exit("c").await.code, 0);
    let late = outcome(stalled.ended).await.unwrap_err();
    assert_eq!(
        late,
        ExecError::Runtime("the output was not read for 10 s".into())
    );
    assert!(stalled_end.read_to_end().await.len() < 400_000);
    let logged = log(world.runtime.log_dir(), "slow");
    assert_eq!(logged.matches(&"x".repeat(9999)).count(), 40);
}

pub async fn a_slow_reader_gets_all_of_it_and_only_then_the_end<R: Runtime>(mut world: World<R>) {
    let pod = world.pod("all", Vec::new()).await;
    let script = "read go; head -c 300000 /dev/zero; exit 8";
    world
        .runtime
        .start_container(&pod, open_stdin(script))
        .await
        .unwrap();
    let mut session = join(&world, &pod).await;
    stdin(&mut session).write(b"go\n").await.unwrap();
    let stdout = stdout(&mut session);
    let mut got = 0;
    while got < 300_000 {
        // What is still to be read is more than a pipe holds, or it is not.
        let told = got < 230_000 && session.ended.try_recv().is_ok();
        assert!(!told, "with {got} read");
        got += stdout.read().await.len();
    }
    assert_eq!(outcome(session.ended).await, Ok(8));
    assert_eq!(world.exit("c").await.code, 8);
    world.runtime.remove_pod(&pod).await.unwrap();
}

pub async fn an_agent_that_comes_back_can_join<R: Runtime>(world: World<R>) {
    let pod = world.pod("back", Vec::new()).await;
    for (id, tty) in [("c", false), ("t", true)] {
        let config = ContainerConfig {
            tty,
            id: id.into(),
            ..open_stdin("while read x; do echo \"<$x>\"; done")
        };
        world.runtime.start_container(&pod, config).await.unwrap();
    }
    let world = world.again().await;
    let runtime = &world.runtime;
    for id in ["c", "t"] {
        let mut session = runtime.attach(&pod, &id.into(), ALL).await.unwrap();
        stdin(&mut session).write(b"x\n").await.unwrap();
        stdout(&mut session).read_until("<x>").await;
    }
    runtime.remove_pod(&pod).await.unwrap();
}
