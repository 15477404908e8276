//! Removing what a pod without root has left whose shim is gone: files of ids that only its user namespace has
//! can be removed only in one like it. The shim's own program makes such a process.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::layout;
use crate::user_namespace::enter_user_namespace;

/// The first of two arguments of a shim that is none: the other is what to remove.
pub(crate) const REMOVE: &str = "--remove";

/// [`layout::remove_tree`], in the agent, whose shim command is `shim`. Blocks.
pub(crate) fn remove_tree(shim: &[OsString], path: &Path) -> io::Result<()> {
    or_in_namespace(layout::remove_tree(path), shim, path)
}

/// Once more, in a user namespace, where a removal has failed for lack of rights.
pub(crate) fn or_in_namespace(
    removed: io::Result<()>,
    shim: &[OsString],
    path: &Path,
) -> io::Result<()> {
    let error = match removed {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => error,
        removed => return removed,
    };
    let Some((program, args)) = shim.split_first() else {
        return Err(error);
    };
    let status = Command::new(program)
        .args(args)
        .arg(REMOVE)
        .arg(path)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if status.success() { Ok(()) } else { Err(error) }
}

/// The whole life of a process that removes.
pub(crate) fn main(path: &OsStr) -> ExitCode {
    let removed = enter_user_namespace().and_then(|_many| layout::remove_tree(Path::new(path)));
    removed.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
