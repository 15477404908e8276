//! What `up` shows: lines, JSON, and a live view on a terminal.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;
use std::sync::mpsc::channel;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::{Value, json};

use crate::rig::{PodValue, Rig, User, each, file_probe, service, shell, until};

/// A pod whose probe writes on the terminal of whoever lets it: bell, title, colour, clear.
fn rude(rig: &Rig) -> Value {
    let script = r"printf '\033]0;owned\007\033[2J\033[31mred\r\nsecond\tline\302\233'; exit 1";
    rig.pod("rude", &shell("exec sleep 1000")).with(
        "readinessProbe",
        json!({ "exec": { "command": shell(script) }, "periodSeconds": 1 }),
    )
}

#[test]
fn piped_it_is_a_line_an_event() {
    each(|rig| {
        let file = rig.manifest("rude.json", &[&rude(rig), &service("rude", &json!(80))]);
        let mut up = rig.start(&["-f", file.to_str().unwrap()]);
        up.line("created", |line| line == "pod/rude created");
        up.line("running", |line| {
            line.ends_with("pod/rude main Running, not ready")
        });
        let failed = up.line("a third failure", |line| line.contains("probe failed 3/3"));
        let (stamp, rest) = failed.split_once(' ').unwrap();
        assert_eq!(stamp.len(), "2026-01-01T00:00:00Z".len(), "{failed}");
        assert!(
            rest.starts_with("pod/rude main Readiness probe failed 3/3"),
            "{failed}"
        );
        assert!(rest.contains("(exit code 1, "), "{failed}");
        assert!(rest.ends_with("red  second line"), "{failed:?}");
        assert!(
            up.seen()
                .iter()
                .all(|line| !line.contains(char::is_control)),
            "{:?}",
            up.seen()
        );
        up.signal(Signal::INT);
        assert!(up.ended().success());
        let last = up.seen().last().unwrap();
        assert!(last.ends_with("pod/rude deleted"), "{last}");
    });
}

#[test]
fn as_json_every_line_is_an_object_and_nothing_else_is_printed() {
    each(|rig| {
        let mut up = rig.up(&[&rig.manifest("rude.json", &[&rude(rig)])]);
        let failed = up.next("rude", "attempt");
        assert_eq!(
            failed["message"].as_str().unwrap(),
            "\u{1b}]0;owned\u{7}\u{1b}[2J\u{1b}[31mred\r\nsecond\tline\u{9b}",
            "JSON keeps what was said"
        );
        up.signal(Signal::INT);
        assert!(up.ended().success());
        for line in up.seen() {
            let happening: Value = serde_json::from_str(line).unwrap();
            for field in ["time", "kind", "namespace", "name", "type"] {
                assert!(happening[field].is_string(), "{line}");
            }
        }
        assert!(up.errors().contains("pod/rude created"), "{}", up.errors());
    });
}

#[test]
fn on_a_terminal_it_is_a_live_view_that_leaves_the_terminal_whole() {
    each(|rig| {
        let dir = rig.dir("switch");
        File::create(dir.join("ready")).unwrap();
        let good = rig
            .pod("good", &shell("exec sleep 1000"))
            .with("readinessProbe", file_probe("/switch/ready"))
            .with_switch(&dir);
        let file = rig.manifest("pods.json", &[&rude(rig), &good]);
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize {
            ws_row: 30,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).unwrap();
        let terminal = || {
            let path = ptsname(&master, Vec::new()).unwrap();
            File::options()
                .read(true)
                .write(true)
                .open(path.to_str().unwrap())
                .unwrap()
        };
        let modes = rustix::termios::tcgetattr(terminal()).unwrap();
        let mut child = rig
            .command("up", &["-f", file.to_str().unwrap()])
            .stdin(terminal())
            .stdout(terminal())
            .stderr(Stdio::from(terminal()))
            .spawn()
            .unwrap();
        let held = terminal();
        let (sender, pieces) = channel();
        let mut reader = File::from(master);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut piece) {
                if sender.send(piece[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let mut shown = Vec::new();
        until("the table and both probes", || {
            shown.extend(pieces.try_iter().flatten());
            let text = String::from_utf8_lossy(&shown);
            let has = |part: &str| text.contains(part);
            (has("NAME")
                && has("RESTARTS")
                && has("pod/rude main Readiness: ")
                && has("1/1      Running".trim())
                && has("failed\u{20}3/3"))
            .then_some(())
        });
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let status = until("the end", || child.try_wait().unwrap());
        assert!(status.success(), "{status}");
        until("the last words", || {
            shown.extend(pieces.try_iter().flatten());
            String::from_utf8_lossy(&shown)
                .contains("pod/good deleted")
                .then_some(())
        });
        let after = rustix::termios::tcgetattr(&held).unwrap();
        assert_eq!(
            format!("{after:?}"),
            format!("{modes:?}"),
            "the terminal's modes"
        );
        leaves_nothing_behind(&String::from_utf8_lossy(&shown));
        assert!(matches!(rig.user, User::Own | User::Nobody));
    });
}

/// Only colours, "up" and "erase below" are written, and the last colour is none.
fn leaves_nothing_behind(shown: &str) {
    let mut colour = "0";
    for sequence in shown.split('\u{1b}').skip(1) {
        let sequence = sequence
            .strip_prefix('[')
            .unwrap_or_else(|| panic!("{sequence:?}"));
        let end = sequence
            .find(|character: char| character.is_ascii_alphabetic())
            .unwrap();
        let (parameters, rest) = sequence.split_at(end);
        match &rest[..1] {
            "m" => colour = parameters,
            "A" => assert!(parameters.parse::<u16>().is_ok(), "{sequence:?}"),
            "J" => assert_eq!(parameters, ""),
            _ => panic!("{sequence:?}"),
        }
    }
    assert_eq!(colour, "0");
    assert!(!shown.contains('\u{7}'));
    assert!(!shown.contains('\u{9b}'));
}
