//! Where images are loaded from: a folder, or an archive whose parts are found by name.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::LoadError;
use crate::manifest;
use crate::unpack::members::{Kind, Member, Members};
use crate::unpack::stream::{Bounded, decompressed};

/// An archive has no more members than this.
const MOST_MEMBERS: usize = 1_000_000;
/// An archive that has to be copied first is no larger than this, decompressed.
const MOST_BYTES: u64 = 64 << 30;
/// Links of an archive lead to links so often.
const MOST_LINKS: u32 = 16;

pub(super) enum Source {
    Folder(PathBuf),
    Archive {
        file: Arc<File>,
        parts: BTreeMap<String, Place>,
    },
}

pub(super) enum Place {
    At { offset: u64, length: u64 },
    Link(String),
}

/// What is said of a file that does not even begin as an archive.
const NOT_A_TAR: &str = "not a tar archive, plain or compressed, as `docker save` writes one";

fn next<R: Read>(members: &mut Members<R>, is_first: bool) -> io::Result<Option<Member>> {
    members.next().map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof if is_first => {
            io::Error::new(io::ErrorKind::InvalidData, NOT_A_TAR)
        }
        _ => error,
    })
}

/// A part of a file.
pub(super) struct Section {
    pub(super) file: Arc<File>,
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl Source {
    pub(super) fn open(path: &Path, scratch: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        if metadata.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        let mut file = File::open(path)?;
        let mut start = [0; 4];
        let is_plain = metadata.is_file() && {
            let read = file.read(&mut start)?;
            file.seek(SeekFrom::Start(0))?;
            !is_compressed(&start[..read])
        };
        if is_plain {
            Self::archive(file)
        } else {
            Self::spool(file, scratch)
        }
    }

    /// Copies a stream to where it can be read in any order, in a file without a name.
    pub(super) fn spool(stream: impl Read, scratch: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = scratch.join(format!("load-{}-{number}", std::process::id()));
        // Left behind by one of that number that died.
        crate::files::if_there(fs::remove_file(&path))?;
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        fs::remove_file(&path)?;
        io::copy(
            &mut Bounded::new(decompressed(stream)?, MOST_BYTES),
            &mut file,
        )?;
        file.seek(SeekFrom::Start(0))?;
        Self::archive(file)
    }

    fn archive(file: File) -> io::Result<Self> {
        let mut parts = BTreeMap::new();
        let mut members = Members::new(Counted {
            reader: BufReader::with_capacity(64 << 10, &file),
            bytes: 0,
        });
        while let Some(member) = next(&mut members, parts.is_empty())? {
            let place = match member.kind {
                Kind::File {
                    size: length,
                    pieces: None,
                } => Place::At {
                    offset: members.reader().bytes,
                    length,
                },
                Kind::Link(target) => Place::Link(name(&[], &target)),
                Kind::Symlink(target) => {
                    let end = member
                        .path
                        .iter()
                        .rposition(|byte| *byte == b'/')
                        .unwrap_or(0);
                    Place::Link(name(&member.path[..end], &target))
                }
                _ => continue,
            };
            parts.insert(name(&[], &member.path), place);
            if parts.len() > MOST_MEMBERS {
                return Err(io::Error::other("an archive of absurdly many files"));
            }
        }
        drop(members);
        Ok(Self::Archive {
            file: Arc::new(file),
            parts,
        })
    }

    fn find(&self, part: &str) -> io::Result<Option<Section>> {
        match self {
            Self::Folder(folder) => {
                let plain = name(&[], part.as_bytes());
                let Some(file) = crate::files::if_there(File::open(folder.join(plain)))? else {
                    return Ok(None);
                };
                let length = file.metadata()?.len();
                Ok(Some(Section {
                    file: Arc::new(file),
                    offset: 0,
                    length,
                }))
            }
            Self::Archive { file, parts } => {
                let mut part = name(&[], part.as_bytes());
                for _ in 0..MOST_LINKS {
                    match parts.get(&part) {
                        Some(Place::At { offset, length }) => {
                            return Ok(Some(Section {
                                file: Arc::clone(file),
                                offset: *offset,
                                length: *length,
                            }));
                        }
                        Some(Place::Link(target)) => part.clone_from(target),
                        None => return Ok(None),
                    }
                }
                Ok(None)
            }
        }
    }

    pub(super) fn section(&self, part: &str) -> Result<Section, LoadError> {
        self.find(part)?
            .ok_or_else(|| LoadError::Missing(part.to_owned()))
    }

    /// A part that is read whole, if it is there.
    pub(super) fn small(&self, part: &str) -> Result<Option<Vec<u8>>, LoadError> {
        let Some(section) = self.find(part)? else {
            return Ok(None);
        };
        if section.length > manifest::MOST_BYTES {
            return Err(LoadError::Invalid {
                name: part.to_owned(),
                what: format!("{} bytes are too many", section.length),
            });
        }
        let mut bytes = Vec::new();
        section.reader().read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

impl Section {
    pub(super) fn reader(&self) -> SectionReader {
        SectionReader {
            file: Arc::clone(&self.file),
            at: self.offset,
            end: self.offset.saturating_add(self.length),
        }
    }
}

/// Reads a part of a file, wherever others read it.
pub(super) struct SectionReader {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for SectionReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.end - self.at;
        let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += u64::try_from(read).unwrap_or(0);
        Ok(read)
    }
}

/// Knows how far it has come.
pub(super) struct Counted<R> {
    reader: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.bytes += u64::try_from(read).unwrap_or(0);
        Ok(read)
    }
}

fn is_compressed(start: &[u8]) -> bool {
    matches!(start, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd])
}

/// A path from the top, without `.` and `..`, seen from a directory unless it is absolute.
fn name(directory: &[u8], path: &[u8]) -> String {
    let mut parts: Vec<&[u8]> = Vec::new();
    let directory = if path.starts_with(b"/") {
        &[]
    } else {
        directory
    };
    for part in directory
        .split(|b| *b == b'/')
        .chain(path.split(|b| *b == b'/'))
    {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    String::from_utf8_lossy(&parts.join(&b'/')).into_owned()
}
