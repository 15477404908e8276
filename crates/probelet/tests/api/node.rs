//! A node of its own for one conversation, and the shell that its commands run in.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How often is looked whether a node listens, at most; far longer than it takes.
const PATIENCE: u32 = 12_000;
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
/// How long one command may take; `kubectl` waits for ever where nothing comes.
const LONGEST_COMMAND: u32 = 60;
/// The first that can `wait --for=create`, and forwards ports over WebSocket.
const OLDEST_KUBECTL_MINOR: u32 = 31;
/// The ordinary user that root becomes.
const NOBODY: u32 = 65534;

/// What a node is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Pods that name no runtime class run on the host's files; as whoever runs the tests.
    Host,
    /// Pods run their images; as whoever runs the tests.
    Images,
    /// The same as an ordinary user; root alone can become one.
    ImagesAsNobody,
}

/// A node with nothing on it.
pub(crate) struct Node {
    work: TempDir,
    sort: Sort,
    agent: Child,
}

/// What a command said, and how it ended.
pub(crate) struct Said {
    /// Exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// Both outputs, standard error last.
    pub(crate) text: String,
}

impl Node {
    pub(crate) fn start() -> Self {
        Self::start_as(Sort::Host)
    }

    pub(crate) fn start_as(sort: Sort) -> Self {
        kubectl_is_new_enough();
        let work = TempDir::with_prefix("probelet-api-").unwrap();
        if sort == Sort::ImagesAsNobody {
            chown(work.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            // The one that was built may lie where others cannot look.
            let program = work.path().join("probelet");
            std::fs::copy(env!("CARGO_BIN_EXE_probelet"), &program).unwrap();
            std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        }
        let agent = agent(work.path(), sort);
        let mut node = Self { work, sort, agent };
        node.wait_until_it_listens();
        let said = node.shell("kubectl get --raw /readyz");
        assert_eq!(said.code, Some(0), "{}\n{}", said.text, node.log());
        node
    }

    /// The agent is killed without a word.
    pub(crate) fn kill(&mut self) {
        self.agent.kill().unwrap();
        self.agent.wait().unwrap();
    }

    /// Another agent takes up what a killed one has left.
    pub(crate) fn start_again(&mut self) {
        // The next one listens elsewhere.
        std::fs::remove_file(self.kubeconfig()).unwrap();
        self.agent = agent(self.work.path(), self.sort);
        self.wait_until_it_listens();
    }

    /// The agent writes the kubeconfig as soon as it listens.
    fn wait_until_it_listens(&mut self) {
        let mut looks = 0;
        while !self.kubeconfig().exists() {
            looks += 1;
            let ended = self.agent.try_wait().unwrap();
            assert!(
                looks < PATIENCE && ended.is_none(),
                "the node does not serve, {ended:?}:\n{}",
                self.log()
            );
            std::thread::park_timeout(BETWEEN_LOOKS);
        }
    }

    /// Runs a command in the shell as the node's user, with its kubeconfig, and in the directory of manifests or,
    /// as another user, the one beside the data directory.
    pub(crate) fn shell(&self, command: &str) -> Said {
        self.shell_within(command, LONGEST_COMMAND)
    }

    /// The same for one that may take so many seconds.
    pub(crate) fn shell_within(&self, command: &str, seconds: u32) -> Said {
        let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/files");
        let mut timeout = Command::new("timeout");
        let dir = match self.sort {
            Sort::Host | Sort::Images => files.as_path(),
            Sort::ImagesAsNobody => self.work(),
        };
        let output = become_user(&mut timeout, self.sort)
            .args([
                "--kill-after=5",
                &seconds.to_string(),
                "bash",
                "-c",
                command,
            ])
            .current_dir(dir)
            .env("KUBECONFIG", self.kubeconfig())
            .env("PROBELET_DATA_DIR", self.data_dir())
            .env("PROBELET", program(self.work(), self.sort))
            .env("HOME", self.work.path())
            .env("TMP", self.work.path())
            .env("EDITOR", "false")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text =
            [output.stdout, output.stderr].map(|out| String::from_utf8_lossy(&out).into_owned());
        Said {
            code: output.status.code(),
            text: text.concat(),
        }
    }

    /// Everything is stopped and gone.
    pub(crate) fn finish(mut self) {
        let output = probelet(self.work.path(), self.sort, "down")
            .arg("--delete")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        self.agent.wait().unwrap();
    }

    /// What the agent has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.work.path().join("agent.log")).unwrap_or_default()
    }

    /// Where the kubeconfig is.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.data_dir().join("kubeconfig")
    }

    /// A directory beside the data directory.
    pub(crate) fn work(&self) -> &Path {
        self.work.path()
    }

    /// The agent's process.
    pub(crate) fn agent(&self) -> u32 {
        self.agent.id()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.work.path().join("data")
    }
}

impl Drop for Node {
    /// After a failure nothing may be left running either.
    fn drop(&mut self) {
        if matches!(self.agent.try_wait(), Ok(None)) {
            let _stopped = probelet(self.work.path(), self.sort, "down")
                .arg("--delete")
                .output();
            if let Some(pid) = Pid::from_raw(self.agent.id().cast_signed()) {
                let _gone_already = kill_process(pid, Signal::KILL);
            }
            let _reaped = self.agent.wait();
        }
    }
}

/// Says so where it is not, before hundreds of lines differ for that reason.
fn kubectl_is_new_enough() {
    let output = Command::new("kubectl")
        .args(["version", "--client", "-o", "json"])
        .output();
    let output = output.expect("kubectl is on PATH");
    let version: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let version = &version["clientVersion"];
    // Those of some clouds say `32+`.
    let minor = version["minor"].as_str().unwrap_or_default();
    let minor: u32 = minor.trim_end_matches('+').parse().unwrap_or_default();
    assert!(
        minor >= OLDEST_KUBECTL_MINOR,
        "kubectl 1.{OLDEST_KUBECTL_MINOR} or newer is needed, this one is {}",
        version["gitVersion"]
    );
}

fn program(work: &Path, sort: Sort) -> PathBuf {
    match sort {
        Sort::Host | Sort::Images => env!("CARGO_BIN_EXE_probelet").into(),
        Sort::ImagesAsNobody => work.join("probelet"),
    }
}

fn become_user(command: &mut Command, sort: Sort) -> &mut Command {
    match sort {
        Sort::Host | Sort::Images => command,
        Sort::ImagesAsNobody => command.uid(NOBODY).gid(NOBODY),
    }
}

fn probelet(work: &Path, sort: Sort, subcommand: &str) -> Command {
    let mut command = Command::new(program(work, sort));
    become_user(&mut command, sort)
        .arg(subcommand)
        .arg("--data-dir")
        .arg(work.join("data"))
        // Nothing of this host's network is touched.
        .env("PROBELET_EGRESS", "none")
        .current_dir(work);
    command
}

fn agent(work: &Path, sort: Sort) -> Child {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(work.join("agent.log"))
        .unwrap();
    let mut command = probelet(work, sort, "up");
    if sort == Sort::Host {
        command.args(["--default-runtime-class", "host"]);
    }
    command
        .args(["--api-port", "0"])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}
