//! The process that unpacks a layer: it reads what others wrote, so it is apart from everything else.
//!
//! `PROGRAM unpack layer …` reads a layer, compressed or not, from its standard input, and writes its files
//! into an empty directory; `PROGRAM unpack remove …` removes what such a process wrote. It answers on its
//! standard output with a line of JSON, or on standard error with why not.
//!
//! As root, or as root of a user namespace, its root directory is the one it writes to. In any case no path of
//! a layer is looked up but below that ([`tree`]).

pub(crate) mod members;
pub(crate) mod stream;
mod tree;

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::process::{Resource, Rlimit};
use serde::{Deserialize, Serialize};

use self::members::{Kind, Members};
use self::stream::Bounded;
use self::tree::Tree;
use crate::digest::{Digest, Hashing};

/// A layer has no more members than this.
const MOST_MEMBERS: u64 = 2_000_000;
/// A layer is no more bytes than this, unpacked; nor are its files together, holes in them included.
const MOST_BYTES: u64 = 64 << 30;
/// More than this is only unpacked from a layer that is at least a hundredth of it. gzip can do a thousand to
/// one, which no files do but those made for it.
const SUSPICIOUS_BYTES: u64 = 1 << 30;
const MOST_RATIO: u64 = 100;
/// Memory of the process: the largest window of zstd, paths of directories, and what the program needs.
const MOST_MEMORY: u64 = 2 << 30;

/// Whom the files of a layer belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// Whoever the layer says, devices too: the process is root.
    Kept,
    /// Whoever the layer says, in a user namespace; there are no devices.
    Mapped,
    /// The user that unpacks; there are no devices.
    Squashed,
}

/// Which attribute hides what layers below have in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opaque {
    Trusted,
    User,
}

/// What was unpacked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unpacked {
    /// Bytes of its files, holes in them included.
    pub(crate) size: u64,
    pub(crate) members: u64,
    /// Devices and attributes that could not be made, for want of rights.
    pub(crate) left_out: u64,
}

/// What the process is to unpack, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) into: PathBuf,
    pub(crate) diff_id: Digest,
    /// Bytes that come on standard input.
    pub(crate) bytes: u64,
    pub(crate) owners: Owners,
    pub(crate) opaque: Opaque,
}

/// A layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("failed to extract \"{path}\": {what}")]
    Member { path: String, what: io::Error },
    /// In the words of docker's pkg/archive.
    #[error("\"{0}\" is outside of the root (breakout)")]
    Breakout(String),
    #[error("wrong diff id calculated on extraction: {got}, expected {expected}")]
    WrongContent { got: Digest, expected: Digest },
    #[error("a layer of more than {MOST_MEMBERS} files")]
    Members,
    #[error("files of {0} bytes")]
    TooLarge(u64),
    #[error("invalid layer: {0}")]
    Archive(io::Error),
    #[error("{0}")]
    Io(io::Error),
}

impl Owners {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Mapped => "mapped",
            Self::Squashed => "squashed",
        }
    }
}

impl Opaque {
    fn word(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::User => "user",
        }
    }

    fn attribute(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }
}

impl Job {
    /// The arguments that say it to [`unpack_main`].
    pub(crate) fn args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["layer".into(), self.into.clone().into()];
        args.push(self.diff_id.as_str().into());
        args.push(self.bytes.to_string().into());
        args.push(self.owners.word().into());
        args.push(self.opaque.word().into());
        args
    }

    fn parse(args: &[OsString]) -> Option<Self> {
        let [into, diff_id, bytes, owners, opaque] = args else {
            return None;
        };
        Some(Self {
            into: into.into(),
            diff_id: Digest::from_str(diff_id.to_str()?).ok()?,
            bytes: bytes.to_str()?.parse().ok()?,
            owners: match owners.to_str()? {
                "kept" => Owners::Kept,
                "mapped" => Owners::Mapped,
                "squashed" => Owners::Squashed,
                _ => return None,
            },
            opaque: match opaque.to_str()? {
                "trusted" => Opaque::Trusted,
                "user" => Opaque::User,
                _ => return None,
            },
        })
    }
}

/// The word before all others that has the process enter a user namespace first.
pub(crate) const MAPPED_IDS: &str = "--mapped-ids";

/// Arguments for a process that removes a directory.
pub(crate) fn remove_args(path: &Path) -> Vec<OsString> {
    vec!["remove".into(), path.into()]
}

/// What the hidden command `unpack` does, with the arguments after that word. Nothing else may run in the
/// process.
///
/// `enter` makes the process root of a user namespace with the user's subordinate ids; it is called, first of
/// all, if the store was opened with `mapped_ids`.
pub fn unpack_main(
    args: impl Iterator<Item = OsString>,
    enter: impl FnOnce() -> io::Result<()>,
) -> ExitCode {
    let mut args: Vec<OsString> = args.collect();
    if args.first().is_some_and(|first| first == MAPPED_IDS) {
        args.remove(0);
        if let Err(error) = enter() {
            return fail(&format!("user namespace: {error}"));
        }
    }
    let done = match args.split_first() {
        Some((word, rest)) if word == "layer" => match Job::parse(rest) {
            Some(job) => layer(&job).map_err(|error| error.to_string()),
            None => Err(USAGE.to_owned()),
        },
        Some((word, [path])) if word == "remove" => {
            remove(Path::new(path)).map_err(|error| format!("{}: {error}", path.display()))
        }
        _ => Err(USAGE.to_owned()),
    };
    let done = done.and_then(|unpacked| {
        let line = serde_json::to_string(&unpacked).map_err(|error| error.to_string())?;
        writeln!(io::stdout(), "{line}").map_err(|error| error.to_string())
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => fail(&text),
    }
}

const USAGE: &str = "this is not a command for people";

fn fail(text: &str) -> ExitCode {
    // Nobody may listen.
    let _closed = writeln!(io::stderr(), "{text}");
    ExitCode::FAILURE
}

/// What a layer of so many bytes may unpack to.
fn most_bytes(packed: u64) -> u64 {
    let most = packed.saturating_mul(MOST_RATIO);
    most.clamp(SUSPICIOUS_BYTES, MOST_BYTES)
}

fn layer(job: &Job) -> Result<Unpacked, UnpackError> {
    let root = confine(job).map_err(UnpackError::Io)?;
    let plain = stream::decompressed(io::stdin().lock()).map_err(UnpackError::Archive)?;
    let plain = Bounded::new(plain, most_bytes(job.bytes));
    let hasher = job.diff_id.hasher();
    unpack(Hashing::new(plain, hasher), root, job)
}

fn unpack(plain: Hashing<impl Read>, root: OwnedFd, job: &Job) -> Result<Unpacked, UnpackError> {
    let mut members = Members::new(plain);
    let mut tree = Tree::new(root, job.owners, job.opaque);
    let mut unpacked = Unpacked::default();
    while let Some(member) = members.next().map_err(UnpackError::Archive)? {
        unpacked.members += 1;
        if unpacked.members > MOST_MEMBERS {
            return Err(UnpackError::Members);
        }
        if let Kind::File { size, .. } = member.kind {
            unpacked.size = unpacked.size.saturating_add(size);
        }
        if unpacked.size > MOST_BYTES {
            return Err(UnpackError::TooLarge(unpacked.size));
        }
        tree.add(member, &mut members)?;
    }
    let mut plain = members.into_inner();
    // What comes after the last member is part of what the digest is of.
    io::copy(&mut plain, &mut io::sink()).map_err(UnpackError::Archive)?;
    let got = plain.hasher.finish();
    if got != job.diff_id {
        let expected = job.diff_id.clone();
        return Err(UnpackError::WrongContent { got, expected });
    }
    unpacked.left_out = tree.finish()?;
    Ok(unpacked)
}

/// Gives up what the process does not need, and goes to the directory it writes to.
fn confine(job: &Job) -> io::Result<OwnedFd> {
    rustix::thread::set_no_new_privs(true)?;
    limit(Resource::As, MOST_MEMORY)?;
    limit(Resource::Core, 0)?;
    rustix::process::umask(Mode::empty());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, &job.into, flags, Mode::empty())?;
    // Whoever finds the directory left behind can tell by this whether the process still writes to it.
    rustix::fs::flock(&root, FlockOperation::NonBlockingLockExclusive)?;
    rustix::process::fchdir(&root)?;
    if job.owners != Owners::Squashed {
        rustix::process::chroot(".")?;
    }
    Ok(root)
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let now = rustix::process::getrlimit(resource);
    let most = now.maximum.map_or(most, |maximum| maximum.min(most));
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    Ok(rustix::process::setrlimit(resource, limit)?)
}

fn remove(path: &Path) -> io::Result<Unpacked> {
    rustix::thread::set_no_new_privs(true)?;
    let (parent, name): (OwnedFd, OsString) = tree::open_parent(path)?;
    tree::remove(&parent, OsStr::new(&name))?;
    Ok(Unpacked::default())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// One of a gigabyte takes long to make, so the limit is lower here.
    #[test]
    fn what_unpacks_to_far_more_than_it_is_is_refused() {
        let zeros = vec![0; 4 << 20];
        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        bomb.write_all(&zeros).unwrap();
        let bomb = bomb.finish().unwrap();
        assert!(bomb.len() * 900 < zeros.len());
        let dir = tempfile::tempdir().unwrap();
        let job = Job {
            into: dir.path().to_owned(),
            diff_id: Digest::of(&zeros),
            bytes: bomb.len().try_into().unwrap(),
            owners: Owners::Squashed,
            opaque: Opaque::User,
        };
        let try_with = |limit| {
            let root = rustix::fs::open(dir.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
            let plain = stream::decompressed(Cursor::new(&bomb)).unwrap();
            let plain = Hashing::new(Bounded::new(plain, limit), job.diff_id.hasher());
            unpack(plain, root, &job)
        };
        let refused = try_with((4 << 20) - 1).unwrap_err().to_string();
        assert_eq!(
            refused,
            "invalid layer: it unpacks to far more than it is: a decompression bomb"
        );
        assert_eq!(try_with(4 << 20).unwrap().members, 0);
    }

    #[test]
    fn what_a_layer_may_unpack_to_grows_with_it() {
        assert_eq!(most_bytes(1000), SUSPICIOUS_BYTES);
        assert_eq!(most_bytes(100 << 20), 10_000 << 20);
        assert_eq!(most_bytes(u64::MAX), MOST_BYTES);
    }
}
