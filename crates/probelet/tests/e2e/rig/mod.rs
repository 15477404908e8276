//! A place to run the program in: a data directory of its own, as root and as an ordinary user.
//!
//! [`each`] runs one test once for every user there is to be had, at the same time. Each run has a [`Rig`]:
//! it starts the program, asks it for its status, and in the end makes sure that nothing is left of what
//! the run has started. Start reading at [`each`], then [`Rig`].

mod http;
mod manifest;
mod processes;
mod status;
mod up;
mod wait;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

pub(crate) use self::http::get;
pub(crate) use self::manifest::{PodValue, SERVER, deployment, file_probe, server, service, shell};
pub(crate) use self::processes::{Process, mounts, naming, with_argument};
pub(crate) use self::status::Status;
pub(crate) use self::up::Up;
pub(crate) use self::wait::{PATIENCE, clock, try_until, until};

/// The ordinary user that root becomes.
const NOBODY: u32 = 65534;

/// As whom the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// Whoever runs the tests.
    Own,
    /// [`NOBODY`]; to be had by root alone.
    Nobody,
}

/// Runs a test as every user there is to be had, at the same time.
pub(crate) fn each(test: impl Fn(&Rig) + Sync) {
    let test = &test;
    std::thread::scope(|scope| {
        for user in users() {
            let name = format!(
                "{} as {user:?}",
                std::thread::current().name().unwrap_or("test")
            );
            let run = move || {
                let rig = Rig::new(user);
                test(&rig);
                rig.finish();
            };
            std::thread::Builder::new()
                .name(name)
                .spawn_scoped(scope, run)
                .unwrap();
        }
    });
}

/// The users there are to be had; says so if there is no ordinary one among them.
pub(crate) fn users() -> Vec<User> {
    let is_root = rustix::process::geteuid().is_root();
    let ordinary = if is_root { User::Nobody } else { User::Own };
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "true"]);
    become_user(&mut unshare, ordinary);
    let namespaces = unshare.output().is_ok_and(|output| output.status.success());
    if !namespaces {
        eprintln!("skipped as an ordinary user: no user namespaces are to be had here");
    }
    match (is_root, namespaces) {
        (true, true) => vec![User::Own, User::Nobody],
        (true, false) | (false, true) => vec![User::Own],
        (false, false) => Vec::new(),
    }
}

fn become_user(command: &mut Command, user: User) {
    if user == User::Nobody {
        command.uid(NOBODY).gid(NOBODY);
    }
}

/// What a command that has ended has left.
#[derive(Debug)]
pub(crate) struct Said {
    /// Exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// That it went well.
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{} {}", self.out, self.err);
        self
    }
}

/// A data directory, and a directory around it for whatever a test needs.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) user: User,
    pub(crate) data_dir: PathBuf,
    work: TempDir,
    program: Arc<Program>,
    number: u32,
    finished: bool,
}

impl Rig {
    pub(crate) fn new(user: User) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let work = TempDir::with_prefix("probelet-e2e-").unwrap();
        let mut data_dir = work.path().join("data");
        if number.is_multiple_of(2) {
            // Longer than a Unix socket's address may be.
            data_dir = work.path().join("d".repeat(120)).join("data");
        }
        let rig = Self {
            user,
            data_dir,
            work,
            program: Program::reachable(),
            number,
            finished: false,
        };
        rig.give(rig.work.path(), 0o755);
        let parent = rig.data_dir.parent().unwrap();
        fs::create_dir_all(parent).unwrap();
        rig.give(parent, 0o755);
        rig
    }

    /// A name that no other test gives to a Service, so that its address is its own.
    pub(crate) fn unique(&self, name: &str) -> String {
        format!("{name}-{:x}-{}", std::process::id(), self.number)
    }

    /// A path beside the data directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// A fresh directory that anybody may write to.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        self.give(&path, 0o777);
        path
    }

    /// A file that anybody may read.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        self.give(&path, 0o644);
        path
    }

    /// A manifest of these objects.
    pub(crate) fn manifest(&self, name: &str, objects: &[&Value]) -> PathBuf {
        let documents: Vec<String> = objects
            .iter()
            .map(|object| format!("{object:#}\n"))
            .collect();
        self.file(name, &documents.join("---\n"))
    }

    fn give(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        if self.user == User::Nobody {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    /// A pod of one container that [`naming`] finds.
    pub(crate) fn pod(&self, name: &str, command: &Value) -> Value {
        manifest::pod(name, command, &self.data_dir)
    }

    /// The program with a subcommand, this data directory and more.
    pub(crate) fn command(&self, subcommand: &str, more: &[&str]) -> Command {
        let mut command = Command::new(&self.program.path);
        command
            .arg(subcommand)
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(more)
            .current_dir(self.work.path())
            // Nothing of this host's network is touched.
            .env("PROBELET_EGRESS", "none")
            .env_remove("PROBELET_DATA_DIR")
            .env_remove("PROBELET_LOG");
        become_user(&mut command, self.user);
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, subcommand: &str, more: &[&str]) -> Said {
        self.run_with(subcommand, more, Stdio::null())
    }

    pub(crate) fn run_with(&self, subcommand: &str, more: &[&str], stdin: Stdio) -> Said {
        let mut command = self.command(subcommand, more);
        command.stdin(stdin);
        ended(command, self.work.path())
    }

    /// `probelet up -o json` with these files.
    pub(crate) fn up(&self, files: &[&Path]) -> Up {
        let mut more = vec!["-o", "json"];
        for file in files {
            more.extend(["-f", file.to_str().unwrap()]);
        }
        self.start(&more)
    }

    /// `probelet up` with these arguments.
    pub(crate) fn start(&self, more: &[&str]) -> Up {
        let errors = self.work.path().join("agent.err");
        Up::start(self.command("up", more), errors)
    }

    /// What `probelet status -o json` says.
    pub(crate) fn status(&self) -> Status {
        let said = self.run("status", &["-o", "json"]).done();
        Status(serde_json::from_str(&said.out).unwrap())
    }

    /// The first status that `is` so.
    pub(crate) fn status_when(&self, what: &str, is: impl Fn(&Status) -> bool) -> Status {
        let mut newest = None;
        let found = try_until(PATIENCE, || {
            let said = self.run("status", &["-o", "json"]);
            // Until the agent has made its data directory there is nothing to tell of.
            let status = Status(serde_json::from_str(&said.out).ok()?);
            if is(&status) {
                return Some(status);
            }
            newest = Some(status);
            None
        });
        found.unwrap_or_else(|| panic!("waited {PATIENCE:?} for {what}: {newest:#?}"))
    }

    /// What of this data directory runs.
    pub(crate) fn processes(&self) -> Vec<Process> {
        naming(&self.data_dir)
    }

    /// That nothing runs and nothing is mounted, and that `before` are gone.
    pub(crate) fn assert_nothing_runs(&self, before: &[Process]) {
        let left = |list: Vec<Process>| (!list.is_empty()).then_some(list);
        // Reaping is the init system's where a process has outlived its parent, and takes a moment.
        let gone = try_until(Duration::from_secs(2), || {
            let known = before.iter().filter(|process| process.exists()).cloned();
            left(known.chain(self.processes()).collect())
                .is_none()
                .then_some(())
        });
        assert!(
            gone.is_some(),
            "left: {:#?} of {before:#?}",
            self.processes()
        );
        assert_eq!(mounts(&self.data_dir), [""; 0]);
    }

    /// That the data directory holds no more than an agent's own files.
    pub(crate) fn assert_data_dir_is_empty(&self) {
        let names = |path: &Path| {
            let mut names: Vec<String> = fs::read_dir(path)
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        for inside in ["run", "logs", "memory", "images/holds"] {
            assert_eq!(names(&self.data_dir.join(inside)), [""; 0], "{inside}");
        }
        let own = [
            "agent.log",
            "images",
            "kubeconfig",
            "lock",
            "logs",
            "memory",
            "objects.redb",
            "pki",
            "run",
        ];
        let there = names(&self.data_dir);
        assert!(
            there.iter().all(|name| own.contains(&name.as_str())),
            "{there:?}"
        );
    }

    /// Ends everything, and makes sure that nothing is left.
    pub(crate) fn finish(mut self) {
        if self.data_dir.exists() {
            let before = self.processes();
            self.run("down", &["--delete"]).done();
            self.assert_nothing_runs(&before);
            self.assert_data_dir_is_empty();
        }
        self.finished = true;
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !self.finished {
            for process in self.processes() {
                process.kill();
            }
        }
    }
}

/// Runs a command to its end. What it says goes through files, so that nobody it leaves behind is waited
/// for.
fn ended(mut command: Command, work: &Path) -> Said {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let [out, err] = ["out", "err"].map(|name| work.join(format!("{number}.{name}")));
    let mut child = command
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let status = try_until(PATIENCE, || child.try_wait().unwrap());
    if status.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let [out, err] = [out, err].map(|path| {
        let text = fs::read(&path).unwrap();
        fs::remove_file(path).unwrap();
        String::from_utf8(text).unwrap()
    });
    let status = status.unwrap_or_else(|| panic!("{command:?} does not end: {out} {err}"));
    Said {
        code: status.code(),
        out,
        err,
    }
}

/// The program, where every user can reach it.
#[derive(Debug)]
struct Program {
    path: PathBuf,
    /// Where the copy is, if one was needed.
    _copy: Option<TempDir>,
}

impl Program {
    /// The one that was built, or a copy of it if it lies where others may not look. There is no more than
    /// one copy at a time.
    fn reachable() -> Arc<Self> {
        static COPY: Mutex<Weak<Program>> = Mutex::new(Weak::new());
        let mut known = COPY
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = known.upgrade() {
            return known;
        }
        let built = PathBuf::from(env!("CARGO_BIN_EXE_probelet"));
        let open_to_all = |path: &Path| {
            fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
        };
        let program = if built.ancestors().all(open_to_all) {
            Self {
                path: built,
                _copy: None,
            }
        } else {
            let dir = TempDir::with_prefix("probelet-e2e-").unwrap();
            fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
            let path = dir.path().join("probelet");
            fs::copy(&built, &path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
            Self {
                path,
                _copy: Some(dir),
            }
        };
        let program = Arc::new(program);
        *known = Arc::downgrade(&program);
        program
    }
}
