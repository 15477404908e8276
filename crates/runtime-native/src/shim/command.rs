//! A command as it is executed: its words, its environment, where, and as whom.

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::process::{chdir, ioctl_tiocsctty, setsid, umask};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::sys::{self, Signals, StringTable};
use crate::text;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a command could not be executed.
///
/// Upstream: runc libcontainer, standard_init_linux.go, and Go's os/exec, which name the first word so.
/// Shown by: failures_are_worded_as_upstream, commands_that_cannot_be_executed_are_named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CommandError {
    #[error("exec: \"{0}\": executable file not found in $PATH")]
    NotInPath(String),
    #[error("exec: \"{program}\": {}", text::reason(*.errno))]
    Execute { program: String, errno: Errno },
    #[error("chdir to working directory \"{dir}\": {}", text::reason(*.errno))]
    WorkingDir { dir: String, errno: Errno },
    #[error("{0}: string with a NUL byte")]
    Nul(&'static str),
    #[error("run as user {uid}: {reason}")]
    User { uid: u32, reason: String },
    #[error("prepare standard streams: {}", text::reason(*.0))]
    Streams(Errno),
}

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
    /// What to try to execute, in this order: one path, or one for each directory of `PATH`.
    candidates: Vec<CString>,
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
        } else if program.is_empty() {
            Ok(Vec::new())
        } else {
            let dirs = env
                .path
                .split(':')
                .map(|dir| if dir.is_empty() { "." } else { dir });
            dirs.map(|dir| CString::new(format!("{dir}/{program}")))
                .collect()
        };
        Ok(Self {
            table,
            program,
            candidates: candidates.map_err(nul)?,
        })
    }

    /// Replaces the calling process by the command, as execvp would; returns only if that fails.
    ///
    /// Differs: a file that is no program is an error, where execvp hands it to a shell, as upstream.
    pub(super) fn execute(&self, env: &Environment) -> CommandError {
        let mut denied = false;
        for candidate in &self.candidates {
            match sys::execve(candidate, &self.table, &env.table) {
                Errno::NOENT | Errno::NOTDIR if self.is_looked_up() => {}
                Errno::ACCESS if self.is_looked_up() => denied = true,
                errno => {
                    return CommandError::Execute {
                        program: self.program.clone(),
                        errno,
                    };
                }
            }
        }
        if denied {
            return CommandError::Execute {
                program: self.program.clone(),
                errno: Errno::ACCESS,
            };
        }
        CommandError::NotInPath(self.program.clone())
    }

    fn is_looked_up(&self) -> bool {
        !self.program.contains('/')
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

/// Goes to the working directory. To be called as the final user, who may not be allowed there.
pub(super) fn enter_dir(dir: &CStr) -> Result<(), CommandError> {
    chdir(dir).map_err(|errno| CommandError::WorkingDir {
        dir: dir.to_string_lossy().into_owned(),
        errno,
    })
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
    fn fails(program: &str, path: &str, expect: &str) {
        let env = env(&[("PATH", path)]);
        let words = Words::new(&[program.to_owned()], &env).unwrap();
        // The calls all fail, so this process goes on.
        assert_eq!(words.execute(&env).to_string(), expect);
    }

    #[test]
    fn failures_are_worded_as_upstream() {
        let nowhere = r#"exec: "no-such-command": executable file not found in $PATH"#;
        fails("no-such-command", DEFAULT_PATH, nowhere);
        fails("no-such-command", "/etc/passwd:", nowhere);
        fails(
            "/no/such",
            "/bin",
            r#"exec: "/no/such": no such file or directory"#,
        );
        fails(
            "/etc/passwd",
            "/bin",
            r#"exec: "/etc/passwd": permission denied"#,
        );
        fails(
            "passwd",
            "/nowhere:/etc",
            r#"exec: "passwd": permission denied"#,
        );
        fails(
            "",
            "/bin",
            r#"exec: "": executable file not found in $PATH"#,
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
