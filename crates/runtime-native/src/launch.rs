//! Starting a shim.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use probelet_runtime::StartPodError;
use rustix::event::{PollFd, PollFlags, poll};

use crate::clock;
use crate::layout::{self, PodDir};
use crate::protocol::ShimConfig;
use crate::removal;
use crate::text;
use crate::volume_files::{self, Content};

/// How long making a sandbox may take: a hostPath on a slow network file system is looked at in it.
const LIMIT: Duration = Duration::from_secs(60);

/// Starts a shim in a directory made for it, and waits until its sandbox stands. Blocks.
pub(crate) fn launch(
    command: &[OsString],
    dir: &PodDir,
    config: &ShimConfig,
    content: &Content,
) -> Result<Child, StartPodError> {
    let prepared = clear(command, dir)
        .and_then(|()| {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir.path())
        })
        .and_then(|()| layout::write_json(&dir.config(), config))
        .and_then(|()| spawn(command, dir, content));
    let mut child = prepared.map_err(|error| failed("start shim", &error))?;
    let stood_up = answer_of(&mut child).unwrap_or_else(|error| Err(failed("start shim", &error)));
    if let Err(error) = stood_up {
        undo(child, command, dir);
        return Err(error);
    }
    Ok(child)
}

/// Ends a shim that nobody knows of yet, and removes what it has made. Blocks.
pub(crate) fn undo(mut shim: Child, command: &[OsString], dir: &PodDir) {
    let gone = shim.kill().and_then(|()| shim.wait());
    let cgroups = || match layout::read_json::<ShimConfig>(&dir.config()) {
        Ok(config) => config.cgroups.remove_pod(&config.pod.uid),
        // It had none yet.
        Err(_) => Ok(()),
    };
    if let Err(error) = gone
        .and_then(|_| cgroups())
        .and_then(|()| clear(command, dir))
    {
        tracing::warn!(dir = %dir.path().display(), %error, "could not clean up after a shim");
    }
}

/// Without `pre_exec` or a change of user, with which the standard library would have to fork this whole
/// process instead of spawning; the shim changes itself. Without environment, because containers see it
/// in the `/proc` of their first process.
fn spawn(command: &[OsString], dir: &PodDir, content: &Content) -> io::Result<Child> {
    let stdin = if content.is_empty() {
        Stdio::null()
    } else {
        volume_files::pack(content)?.into()
    };
    let (program, args) = command
        .split_first()
        .ok_or_else(|| io::Error::other("there is no shim command"))?;
    Command::new(program)
        .args(args)
        .arg(dir.path())
        .env_clear()
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
}

fn answer_of(child: &mut Child) -> io::Result<Result<(), StartPodError>> {
    let mut stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let deadline = clock::mono() + LIMIT;
    let mut answer = Vec::new();
    loop {
        if poll(
            &mut [PollFd::new(&stdout, PollFlags::IN)],
            Some(&clock::until(deadline)),
        )? == 0
        {
            return Err(io::Error::other(format!(
                "it did not stand after {} s",
                LIMIT.as_secs()
            )));
        }
        let mut buffer = [0; 1024];
        match stdout.read(&mut buffer)? {
            0 => break,
            length => answer.extend_from_slice(&buffer[..length]),
        }
    }
    serde_json::from_slice(&answer).map_err(|_cut| io::Error::other("it died without saying why"))
}

fn failed(what: &str, error: &io::Error) -> StartPodError {
    StartPodError::Sandbox(format!("{what}: {}", text::of_io(error)))
}

/// Removes what a shim before has left, but for emptyDir volumes, which live as long as the pod.
fn clear(command: &[OsString], dir: &PodDir) -> io::Result<()> {
    let entries = match fs::read_dir(dir.path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path == dir.volumes() {
            continue;
        }
        if path.is_dir() {
            removal::remove_tree(command, &path)?
        } else {
            fs::remove_file(&path)?
        }
    }
    // Both fail if there is a volume to keep.
    let _kept = fs::remove_dir(dir.volumes()).and_then(|()| fs::remove_dir(dir.path()));
    Ok(())
}
