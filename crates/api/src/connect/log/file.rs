//! Reading a log file from where it is to begin, a piece at a time.

use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::entries::Telling;
use super::follow::Follow;
use super::options::Options;

/// How much is read, and told, at a time.
const READ: usize = 64 * 1024;

/// A log that is being told.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    /// The file that has taken its place, to be read when this one has been.
    next: Option<File>,
    telling: Telling,
    /// What has been read and not told: the beginning of an entry.
    read: BytesMut,
}

impl Log {
    /// Opens a file and goes to where it is to begin.
    pub(super) async fn open(path: &Path, options: &Options) -> io::Result<Self> {
        let mut file = File::open(path).await?;
        if let Some(entries) = options.tail {
            let start = tail(&mut file, entries).await?;
            file.seek(SeekFrom::Start(start)).await?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            next: None,
            telling: Telling::new(options),
            read: BytesMut::new(),
        })
    }

    /// The next piece of text, never empty; `None` at the end, which a log that is followed has when its run has.
    pub(super) async fn next(&mut self, mut follow: Option<&mut Follow>) -> Option<Bytes> {
        let mut told = Vec::new();
        while told.is_empty() && !self.telling.is_over() {
            self.read.reserve(READ);
            match self.file.read_buf(&mut self.read).await {
                Ok(0) => {
                    if !self.goes_on(follow.as_deref_mut(), &mut told).await {
                        break;
                    }
                }
                Ok(_) => self.tell(&mut told),
                Err(error) => {
                    tracing::debug!("reading {}: {error}", self.path.display());
                    break;
                }
            }
        }
        (!told.is_empty()).then(|| told.into())
    }

    /// At the end of the file: whether there may be more, after some waiting if need be.
    async fn goes_on(&mut self, follow: Option<&mut Follow>, told: &mut Vec<u8>) -> bool {
        // What was written between the last look and the change of files has been read now.
        if let Some(next) = self.next.take() {
            self.finish(told);
            self.file = next;
            return true;
        }
        if let Some(follow) = follow {
            let runs = follow.goes_on();
            self.next = self.replacement().await;
            if self.next.is_some() {
                return true;
            }
            if runs {
                follow.wait().await;
                return true;
            }
            // What it wrote before it was seen to have ended is in the file by now.
            if follow.looks_again() {
                return true;
            }
        }
        self.finish(told);
        false
    }

    /// Tells the entries that have been read whole.
    fn tell(&mut self, told: &mut Vec<u8>) {
        while !self.telling.is_over()
            && let Some(end) = self.read.iter().position(|&byte| byte == b'\n')
        {
            let line = self.read.split_to(end + 1);
            self.telling.tell(&line[..end], told);
        }
    }

    /// Tells what is left of a file, which nobody goes on writing.
    fn finish(&mut self, told: &mut Vec<u8>) {
        let line = self.read.split();
        if !line.is_empty() && !self.telling.is_over() {
            self.telling.tell(&line, told);
        }
    }

    /// The file that is at the path by now, if that is another: the log has been rotated.
    async fn replacement(&self) -> Option<File> {
        let ours = self.file.metadata().await.ok()?;
        let there = tokio::fs::metadata(&self.path).await.ok()?;
        if (ours.dev(), ours.ino()) == (there.dev(), there.ino()) {
            return None;
        }
        File::open(&self.path).await.ok()
    }
}

/// Where the last entries of a file begin. Read from its end in blocks, however long it is.
///
/// Upstream: kubelet pkg/util/tail/tail.go, FindTailLineStartIndex.
/// Shown by: the_end_of_a_file_is_found.
async fn tail(file: &mut File, entries: u64) -> io::Result<u64> {
    let mut right = file.seek(SeekFrom::End(0)).await?;
    let mut block = Vec::new();
    // The end of the last entry is not the beginning of another.
    let mut ends = 0;
    while right > 0 {
        let size = right.min(READ as u64);
        let left = right - size;
        file.seek(SeekFrom::Start(left)).await?;
        block.clear();
        (&mut *file).take(size).read_to_end(&mut block).await?;
        for (at, _) in block
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
        {
            ends += 1;
            if ends > entries {
                return Ok(left + at as u64 + 1);
            }
        }
        right = left;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_file_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let check = async |content: &str, entries, expected: u64| {
            std::fs::write(&path, content).unwrap();
            let mut file = File::open(&path).await.unwrap();
            assert_eq!(tail(&mut file, entries).await.unwrap(), expected);
        };
        check("", 0, 0).await;
        check("", 5, 0).await;
        check("a\nb\nc\n", 0, 6).await;
        check("a\nb\nc\n", 1, 4).await;
        check("a\nb\nc\n", 3, 0).await;
        check("a\nb\nc\n", 9, 0).await;
        // As upstream: what is not ended yet counts for nothing.
        check("a\nb\nc", 1, 2).await;
        check("a\nb\nc", 0, 4).await;
        let long = "0123456\n".repeat(40_000);
        check(&long, 1, 319_992).await;
        check(&long, 20_000, 160_000).await;
        check(&long, 40_000, 0).await;
    }
}
