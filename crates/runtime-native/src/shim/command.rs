//! A command as it is executed: its words, its environment, where, and as whom.

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

use probelet_model::go;
use rustix::fs::{Access, AtFlags, CWD, FileType, accessat, stat};
use rustix::io::Errno;
use rustix::process::{chdir, getcwd, ioctl_tiocsctty, setsid, umask};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::sys::{self, Signals, StringTable};
use crate::text;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a command could not be executed.
///
/// Upstream: runc libcontainer/standard_init_linux.go and setns_init_linux.go, Init; Go's os/exec, LookPath.
/// Shown by: programs_are_looked_up_as_upstream, commands_that_cannot_be_executed_are_named,
/// what_the_kernel_does_not_execute_has_begun_and_ends_with_1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CommandError {
    #[error("exec: {}: executable file not found in $PATH", go::quote(.0))]
    NotInPath(String),
    #[error("exec: {}: cannot run executable found relative to current directory", go::quote(.0))]
    InCurrentDir(String),
    #[error("exec: {}: stat {program}: {}", go::quote(.program), text::reason(*.errno))]
    NotThere { program: String, errno: Errno },
    #[error("exec: {}: {}", go::quote(.program), text::reason(*.errno))]
    NotExecutable { program: String, errno: Errno },
    /// The kernel would not, only then: for upstream's runtimes the command has begun by now, so this is said on its
    /// stderr, and it ends with [`NOT_EXECUTED`].
    #[error("exec {path}: {}", text::reason(*.errno))]
    Execute { path: String, errno: Errno },
    #[error("chdir to working directory \"{dir}\": {}", text::reason(*.errno))]
    WorkingDir { dir: String, errno: Errno },
    #[error("working directory \"{0}\": must be an absolute path")]
    RelativeDir(String),
    #[error("working directory \"{0}\": outside of the container's root")]
    OutsideOfRoot(String),
    #[error("{0}: string with a NUL byte")]
    Nul(&'static str),
    #[error("run as user {uid}: {reason}")]
    User { uid: u32, reason: String },
    #[error("prepare standard streams: {}", text::reason(*.0))]
    Streams(Errno),
}

/// The exit code of a command that the kernel would not execute.
pub(super) const NOT_EXECUTED: i32 = 1;

/// An environment, ready to be handed to the kernel.
pub(super) struct Environment {
    table: StringTable,
    path: String,
}

impl Environment {
    /// The container's own variables, and what every process, and one on a terminal, may expect to find
    /// where they lack it.
    ///
    /// Upstream: containerd pkg/oci/spec_opts.go, WithTTY (`TERM`).
    /// Shown by: a_container_may_run_on_a_terminal, a_terminal_has_a_size_and_tells_of_a_new_one.
    pub(super) fn new(
        own: &[(String, String)],
        home: &str,
        hostname: &str,
        on_terminal: bool,
    ) -> Result<Self, CommandError> {
        let value = |name: &str| {
            own.iter()
                .rev()
                .find(|(own, _)| own == name)
                .map(|(_, value)| value.as_str())
        };
        let path = value("PATH").unwrap_or(DEFAULT_PATH).to_owned();
        let defaults = [
            ("PATH", DEFAULT_PATH),
            ("HOME", home),
            ("HOSTNAME", hostname),
        ];
        let missing = defaults
            .into_iter()
            .chain(on_terminal.then_some(("TERM", "xterm")))
            .filter(|(name, _)| value(name).is_none());
        let own = own
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let strings = missing
            .chain(own)
            .map(|(name, value)| CString::new(format!("{name}={value}")));
        let strings: Result<Vec<CString>, _> = strings.collect();
        let table = StringTable::new(strings.map_err(|_nul| CommandError::Nul("env"))?);
        Ok(Self { table, path })
    }
}

/// A command's words, ready to be handed to the kernel.
pub(super) struct Words {
    table: StringTable,
    program: String,
    /// Where it may be, in this order: one path, or one for each directory of `PATH`.
    candidates: Vec<CString>,
}

/// What is wrong with a file that is to be executed.
enum Unfit {
    NotThere(Errno),
    NotExecutable(Errno),
}

impl Words {
    /// Of a non-empty argv, to be looked up in the environment's `PATH`.
    pub(super) fn new(argv: &[String], env: &Environment) -> Result<Self, CommandError> {
        let nul = |_| CommandError::Nul("command");
        let program = argv.first().cloned().unwrap_or_default();
        let strings: Result<Vec<CString>, _> = argv
            .iter()
            .map(|word| CString::new(word.as_str()))
            .collect();
        let table = StringTable::new(strings.map_err(nul)?);
        let candidates: Result<Vec<CString>, _> = if program.contains('/') {
            CString::new(program.as_str()).map(|path| vec![path])
        } else if program.is_empty() || env.path.is_empty() {
            Ok(Vec::new())
        } else {
            let dirs = env
                .path
                .split(':')
                .map(|dir| match dir.trim_end_matches('/') {
                    "" if dir.is_empty() => format!("./{program}"),
                    dir => format!("{dir}/{program}"),
                });
            dirs.map(CString::new).collect()
        };
        Ok(Self {
            table,
            program,
            candidates: candidates.map_err(nul)?,
        })
    }

    /// The file to execute. To be called as the final user, in the working directory.
    pub(super) fn look_up(&self) -> Result<&CStr, CommandError> {
        let program = self.program.clone();
        if program.contains('/') {
            let path = self.candidates.first().map_or(c"", |path| path.as_c_str());
            return match check(path) {
                Ok(()) => Ok(path),
                Err(Unfit::NotThere(errno)) => Err(CommandError::NotThere { program, errno }),
                Err(Unfit::NotExecutable(errno)) => {
                    Err(CommandError::NotExecutable { program, errno })
                }
            };
        }
        let mut candidates = self.candidates.iter();
        match candidates.find(|path| check(path).is_ok()) {
            Some(path) if path.to_bytes().starts_with(b"/") => Ok(path),
            Some(_) => Err(CommandError::InCurrentDir(program)),
            None => Err(CommandError::NotInPath(program)),
        }
    }

    /// Replaces the calling process by the command; returns only if that fails.
    pub(super) fn execute(&self, path: &CStr, env: &Environment) -> CommandError {
        let errno = sys::execve(path, &self.table, &env.table);
        let path = path.to_string_lossy().into_owned();
        CommandError::Execute { path, errno }
    }
}

/// Whether a file is a program, as far as can be told without executing it.
fn check(path: &CStr) -> Result<(), Unfit> {
    let stat = stat(path).map_err(Unfit::NotThere)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Unfit::NotExecutable(Errno::ISDIR));
    }
    match accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        // A profile may forbid to ask.
        Err(Errno::NOSYS | Errno::PERM) if stat.st_mode & 0o111 != 0 => Ok(()),
        Err(Errno::NOSYS | Errno::PERM) => Err(Unfit::NotExecutable(Errno::ACCESS)),
        told => told.map_err(Unfit::NotExecutable),
    }
}

/// The three streams that a fresh program begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct StandardStreams<'a> {
    /// `None`: it reads nothing.
    pub(super) stdin: Option<BorrowedFd<'a>>,
    pub(super) stdout: BorrowedFd<'a>,
    pub(super) stderr: BorrowedFd<'a>,
    /// Stdin is a terminal, which becomes the program's own.
    pub(super) on_terminal: bool,
}

impl<'a> StandardStreams<'a> {
    /// All there are.
    pub(super) fn all(&self) -> impl Iterator<Item = BorrowedFd<'a>> {
        self.stdin.into_iter().chain([self.stdout, self.stderr])
    }
}

/// Says on stderr what went wrong, as what has begun as a command.
pub(super) fn say(error: &CommandError) {
    let line = format!("{error}\n");
    let _nobody_reads = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
}

/// Makes the calling process what every fresh program may expect: default signals, a session of its own,
/// a usual umask, and no descriptor but the three. Without a stdin of its own it keeps the shim's, which is
/// `/dev/null`.
pub(super) fn prepare(streams: &StandardStreams<'_>) -> Result<(), CommandError> {
    sys::set_signals(Signals::Default);
    umask(rustix::fs::Mode::from_raw_mode(0o022));
    take_streams(streams)
}

/// The same for one whose signals and umask are as they should be.
pub(super) fn take_streams(streams: &StandardStreams<'_>) -> Result<(), CommandError> {
    // Fails only for the leader of a group, which a fresh child never is.
    let _already = setsid();
    let attempt = || {
        if let Some(stdin) = streams.stdin {
            dup2_stdin(stdin)?;
        }
        dup2_stdout(streams.stdout)?;
        dup2_stderr(streams.stderr)?;
        if streams.on_terminal {
            ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        sys::close_range_from(3, true)
    };
    attempt().map_err(CommandError::Streams)
}

/// Whether a process is in its working directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    Yes,
    /// Whoever it is may not go there.
    Denied,
}

/// Goes to the working directory as whoever the process is, before it becomes the final user: a directory that
/// only the one or only the other may enter will do.
///
/// Upstream: runc libcontainer/init_linux.go, finalizeNamespace and verifyCwd.
/// Shown by: a_working_directory_may_be_closed_to_its_user.
pub(super) fn enter_dir_early(dir: &CStr) -> Result<Entered, CommandError> {
    match go_to(dir) {
        Err(CommandError::WorkingDir {
            errno: Errno::ACCESS | Errno::PERM,
            ..
        }) => Ok(Entered::Denied),
        went => went.map(|()| Entered::Yes),
    }
}

/// Goes to the working directory as the final user; one who is there already may stay if the way there is closed.
pub(super) fn enter_dir(dir: &CStr, early: Entered) -> Result<(), CommandError> {
    match go_to(dir) {
        Err(CommandError::WorkingDir {
            errno: Errno::ACCESS | Errno::PERM,
            ..
        }) if early == Entered::Yes => make_sure_of_root(dir),
        went => went,
    }
}

fn go_to(dir: &CStr) -> Result<(), CommandError> {
    if !dir.to_bytes().starts_with(b"/") {
        return Err(CommandError::RelativeDir(
            dir.to_string_lossy().into_owned(),
        ));
    }
    chdir(dir).map_err(|errno| CommandError::WorkingDir {
        dir: dir.to_string_lossy().into_owned(),
        errno,
    })?;
    make_sure_of_root(dir)
}

/// As root, a link of `/proc` may lead to another process's files.
fn make_sure_of_root(dir: &CStr) -> Result<(), CommandError> {
    // The kernel puts a word before what `/` does not lead to, or knows no name for it.
    let is_below_root = getcwd(Vec::new()).is_ok_and(|path| path.to_bytes().starts_with(b"/"));
    if is_below_root {
        return Ok(());
    }
    // Nothing that is started nevertheless is to be found there.
    let _root = chdir("/");
    Err(CommandError::OutsideOfRoot(
        dir.to_string_lossy().into_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Environment {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Environment::new(&pairs, "/home/web", "web-0", false).unwrap()
    }

    #[track_caller]
    fn look_up(program: &str, path: &str) -> String {
        let env = env(&[("PATH", path)]);
        let words = Words::new(&[program.to_owned()], &env).unwrap();
        words.look_up().map_or_else(
            |error| error.to_string(),
            |path| path.to_str().unwrap().to_owned(),
        )
    }

    #[test]
    fn programs_are_looked_up_as_upstream() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, mode: u32| {
            let path = dir.path().join(name);
            std::fs::write(&path, "echo\n").unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&path, mode).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (plain, program) = (file("plain", 0o644), file("program", 0o755));
        let dir = dir.path().to_str().unwrap();
        let not_found =
            |name: &str| format!("exec: \"{name}\": executable file not found in $PATH");
        for (program, path, expect) in [
            ("nosuch", DEFAULT_PATH, not_found("nosuch")),
            ("nosuch", "/etc/passwd:", not_found("nosuch")),
            ("", "/bin", not_found("")),
            ("sh", "", not_found("sh")),
            ("plain", dir, not_found("plain")),
            ("etc", "/", not_found("etc")),
            ("program", &format!("/nowhere:{dir}/"), program.clone()),
            (&program, "", program.clone()),
            (
                "/no/such",
                "/bin",
                r#"exec: "/no/such": stat /no/such: no such file or directory"#.into(),
            ),
            (
                "/etc/passwd/x",
                "/bin",
                r#"exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory"#.into(),
            ),
            (
                &plain,
                "/bin",
                format!("exec: \"{plain}\": permission denied"),
            ),
            ("/etc", "/bin", r#"exec: "/etc": is a directory"#.into()),
            // Of this crate, where its tests run.
            ("src", ":", not_found("src")),
        ] {
            assert_eq!(look_up(program, path), expect, "{program} in {path}");
        }
        let env = env(&[]);
        let words = Words::new(std::slice::from_ref(&program), &env).unwrap();
        // The call fails, so this process goes on.
        let error = words.execute(words.look_up().unwrap(), &env);
        assert_eq!(
            error.to_string(),
            format!("exec {program}: exec format error")
        );
    }

    #[test]
    fn nul_bytes_are_refused() {
        let pairs = [("A".to_owned(), "b\0c".to_owned())];
        assert_eq!(
            Environment::new(&pairs, "/", "h", true).err(),
            Some(CommandError::Nul("env"))
        );
        assert_eq!(
            Words::new(&["a\0".to_owned()], &env(&[])).err(),
            Some(CommandError::Nul("command"))
        );
    }
}
