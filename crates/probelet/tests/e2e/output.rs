//! What `up` shows: lines, JSON, and a live view on a terminal.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, channel};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use serde_json::{Value, json};

use crate::rig::{
    PATIENCE, PodValue, Rig, User, each, file_probe, service, shell, try_until, until,
};

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
fn what_a_user_cannot_give_is_said_once_and_of_the_pod() {
    each(|rig| {
        let mut pod = rig.pod("asks", &shell("exec sleep 1000"));
        pod["spec"]["securityContext"] = json!({ "fsGroup": 5, "supplementalGroups": [7] });
        let limits = json!({ "limits": { "cpu": "1", "memory": "64Mi" } });
        let pod = pod.with("resources", limits);
        let file = rig.manifest("asks.json", &[&pod]);
        let said = rig
            .run("up", &["--detach", "-f", file.to_str().unwrap()])
            .done();
        let notices: Vec<&str> = said
            .err
            .lines()
            .filter(|line| line.starts_with("notice: "))
            .collect();
        let log = std::fs::read_to_string(rig.data_dir.join("agent.log")).unwrap();
        for notice in &notices {
            assert_eq!(log.matches(notice).count(), 1, "{log}");
        }
        let status = rig.status_when("the pod", |status| status.is_ready("asks"));
        let warned: Vec<&str> = status
            .of("Event")
            .filter_map(|event| event["reason"].as_str())
            .filter(|reason| reason.ends_with("NotSupported"))
            .collect();
        // What this user has depends on the host; what is said of it in both places must be the same.
        let lacks = |words: &str| notices.iter().any(|notice| notice.contains(words));
        let wanted = [
            (
                lacks("supplementalGroups and fsGroup"),
                "FSGroupNotSupported",
            ),
            (
                lacks("supplementalGroups and fsGroup"),
                "SupplementalGroupsNotSupported",
            ),
            (lacks("CPU is neither"), "LimitsNotSupported"),
            (lacks("memory is not limited"), "LimitsNotSupported"),
        ];
        let wanted: Vec<&str> = wanted
            .iter()
            .filter_map(|(lacks, reason)| lacks.then_some(*reason))
            .collect();
        assert_eq!(warned, wanted, "{notices:?}");
        let is_nobody = rig.user == User::Nobody;
        assert!(!is_nobody || notices.len() == 2, "{notices:?}");
        rig.run("down", &["--delete"]).done();
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
        let mut terminal = Terminal::open();
        let modes = terminal.modes();
        let mut command = rig.command("up", &["-f", file.to_str().unwrap()]);
        let mut child = command
            .stdin(terminal.end())
            .stdout(terminal.end())
            .stderr(terminal.end())
            .spawn()
            .unwrap();
        terminal.shows("the table", |text| {
            text.contains("NAME   READY   STATUS    RESTARTS   AGE")
                && text.contains("good   1/1     Running   0 ")
        });
        terminal.shows("both probes", |text| {
            text.contains("pod/rude main Readiness: \u{1b}[31mfailed 3/3\u{1b}[0m, verdict Failure")
                && text
                    .contains("pod/good main Readiness: \u{1b}[32mok 1/1\u{1b}[0m, verdict Success")
        });
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let status = until("the end", || child.try_wait().unwrap());
        assert!(status.success(), "{status}");
        terminal.shows("the last words", |text| text.contains("pod/good deleted"));
        assert_eq!(terminal.modes(), modes);
        leaves_nothing_behind(&terminal.text());
    });
}

/// A terminal of 100 columns and 30 rows, seen from the side of the person.
struct Terminal {
    master: OwnedFd,
    /// Kept open, so that the terminal outlives the program.
    own_end: File,
    pieces: Receiver<Vec<u8>>,
    shown: Vec<u8>,
}

impl Terminal {
    fn open() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize {
            ws_row: 30,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).unwrap();
        let (sender, pieces) = channel();
        let mut reader = File::from(master.try_clone().unwrap());
        // Ends with the terminal.
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut piece) {
                if sender.send(piece[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            own_end: open_end(&master),
            master,
            pieces,
            shown: Vec::new(),
        }
    }

    /// The program's side.
    fn end(&self) -> File {
        open_end(&self.master)
    }

    fn modes(&self) -> String {
        format!("{:?}", tcgetattr(&self.own_end).unwrap())
    }

    fn text(&mut self) -> String {
        self.shown.extend(self.pieces.try_iter().flatten());
        String::from_utf8_lossy(&self.shown).into_owned()
    }

    fn shows(&mut self, what: &str, is: impl Fn(&str) -> bool) {
        if try_until(PATIENCE, || is(&self.text()).then_some(())).is_none() {
            panic!("waited for {what} in {:?}", self.text());
        }
    }
}

fn open_end(master: &OwnedFd) -> File {
    let path = ptsname(master, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    File::from(rustix::fs::open(path, flags, Mode::empty()).unwrap())
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
