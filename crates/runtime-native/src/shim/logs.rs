//! One container's log file, in the format of the CRI: a line of output becomes
//! `<RFC 3339 with nanoseconds> <stdout|stderr> <F|P> <text>`, `P` for a piece of a line whose end is
//! still to come.
//!
//! Upstream: kubelet pkg/kubelet/logs/container_log_manager.go, rotateLog (sizes and names), and
//! containerd internal/cri/io/logger.go, redirectLogs and readLine (the format).
//! Differs: the size is looked at with every write and not every ten seconds, and rotated files are not
//! compressed.
//! Shown by: lines_are_full_long_ones_cut_and_the_last_one_partial,
//! rotation_keeps_five_files_and_removal_leaves_none, logs_have_the_cri_format_and_all_of_the_output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use probelet_model::time::Wall;

/// Longest piece of a line that is written as one.
const MAX_LINE: usize = 16 * 1024;
/// A file that has reached this size, in bytes, is rotated.
///
/// Upstream: kubelet pkg/kubelet/apis/config/v1beta1/defaults.go, containerLogMaxSize.
/// Shown by: rotation_keeps_five_files_and_removal_leaves_none.
const MAX_FILE: u64 = 10 * 1024 * 1024;
/// So many files are kept of a log, with the current one.
///
/// Upstream: kubelet pkg/kubelet/apis/config/v1beta1/defaults.go, containerLogMaxFiles.
/// Shown by: rotation_keeps_five_files_and_removal_leaves_none.
const MAX_FILES: usize = 5;

/// One of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// The log of one run of a container.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    max_size: u64,
    /// Of each stream, the line whose end has not come yet.
    open_lines: [Vec<u8>; 2],
}

impl Log {
    /// Opens, or goes on with, the file at `path`; its directory is made.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file = open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path,
            file,
            size,
            max_size: MAX_FILE,
            open_lines: Default::default(),
        })
    }

    /// Takes what a stream has produced.
    pub(super) fn take(&mut self, stream: Stream, output: &[u8], now: Wall) -> io::Result<()> {
        let stamp = now.nanos_rfc3339();
        let mut lines = Vec::with_capacity(output.len() + 64);
        let open = &mut self.open_lines[stream as usize];
        for piece in output.split_inclusive(|&byte| byte == b'\n') {
            let (text, ended) = piece
                .strip_suffix(b"\n")
                .map_or((piece, false), |text| (text, true));
            open.extend_from_slice(text);
            while open.len() > MAX_LINE {
                let rest = open.split_off(MAX_LINE);
                add_line(&mut lines, &stamp, stream, 'P', open);
                *open = rest;
            }
            if ended {
                // A terminal ends its lines so.
                if open.last() == Some(&b'\r') {
                    open.pop();
                }
                add_line(&mut lines, &stamp, stream, 'F', open);
                open.clear();
            }
        }
        self.write(&lines, now)
    }

    /// Writes out the lines whose end will never come.
    pub(super) fn finish(&mut self, now: Wall) -> io::Result<()> {
        let stamp = now.nanos_rfc3339();
        let mut lines = Vec::new();
        for stream in [Stream::Out, Stream::Err] {
            let open = std::mem::take(&mut self.open_lines[stream as usize]);
            if !open.is_empty() {
                add_line(&mut lines, &stamp, stream, 'P', &open);
            }
        }
        self.write(&lines, now)
    }

    fn write(&mut self, lines: &[u8], now: Wall) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.size >= self.max_size {
            self.rotate(now)?;
        }
        self.file.write_all(lines)?;
        self.size += lines.len() as u64;
        Ok(())
    }

    fn rotate(&mut self, now: Wall) -> io::Result<()> {
        let mut rotated = self.path.clone().into_os_string();
        rotated.push(format!(".{}", file_stamp(now)));
        fs::rename(&self.path, rotated)?;
        self.file = open(&self.path)?;
        self.size = 0;
        let old = rotated_files(&self.path)?;
        for file in old.iter().rev().skip(MAX_FILES - 1) {
            fs::remove_file(file)?;
        }
        Ok(())
    }
}

/// Removes the log of a run, with its rotated files.
pub(super) fn remove(path: &Path) {
    for file in rotated_files(path).into_iter().flatten() {
        let _gone = fs::remove_file(file);
    }
    let _gone = fs::remove_file(path);
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(path)
}

/// The rotated files that belong to the log at `path`, oldest first.
fn rotated_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(dir), Some(name)) = (
        path.parent(),
        path.file_name().and_then(|name| name.to_str()),
    ) else {
        return Ok(Vec::new());
    };
    let prefix = format!("{name}.");
    let belongs = |file: &PathBuf| {
        file.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
    };
    let mut files: Vec<PathBuf> = fs::read_dir(dir)?
        .flatten()
        .map(|entry| entry.path())
        .filter(belongs)
        .collect();
    files.sort();
    Ok(files)
}

/// `20261123-100000.123456789`: upstream's stamp, with a fraction to stay unique and in order within a
/// second.
fn file_stamp(now: Wall) -> String {
    now.nanos_rfc3339()
        .replace(['-', ':', 'Z'], "")
        .replace('T', "-")
}

fn add_line(lines: &mut Vec<u8>, stamp: &str, stream: Stream, tag: char, text: &[u8]) {
    let name = match stream {
        Stream::Out => "stdout",
        Stream::Err => "stderr",
    };
    lines.extend_from_slice(format!("{stamp} {name} {tag} ").as_bytes());
    lines.extend_from_slice(text);
    lines.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: &str = "1970-01-01T00:00:01.000000005Z";
    const NOW: Wall = Wall(1_000_000_005);

    #[test]
    fn lines_are_full_long_ones_cut_and_the_last_one_partial() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web/0.log");
        let mut log = Log::open(path.clone()).unwrap();
        log.take(Stream::Out, b"one\ntw", NOW).unwrap();
        log.take(Stream::Err, b"!\n", NOW).unwrap();
        log.take(Stream::Out, b"o\n\r\na\rb\r", NOW).unwrap();
        log.take(Stream::Out, b"\nend", NOW).unwrap();
        log.take(Stream::Err, &[b'x'; MAX_LINE + 1], NOW).unwrap();
        log.take(Stream::Err, b"\n", NOW).unwrap();
        log.finish(NOW).unwrap();
        let long = "x".repeat(MAX_LINE);
        let expected = [
            "stdout F one",
            "stderr F !",
            "stdout F two",
            "stdout F ",
            "stdout F a\rb",
            "LONG",
            "stderr F x",
            "stdout P end",
        ];
        let expected: String = expected
            .map(|line| format!("{STAMP} {line}\n").replace("LONG", &format!("stderr P {long}")))
            .concat();
        assert_eq!(fs::read_to_string(path).unwrap(), expected);
    }

    #[test]
    fn rotation_keeps_five_files_and_removal_leaves_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = Log::open(path.clone()).unwrap();
        assert_eq!(log.max_size, 10 * 1024 * 1024);
        log.max_size = 1;
        for second in 0..9 {
            log.take(Stream::Out, b"line\n", Wall(second * 1_000_000_000))
                .unwrap();
        }
        let rotated = rotated_files(&path).unwrap();
        let names: Vec<_> = rotated
            .iter()
            .map(|file| file.file_name().unwrap().to_str().unwrap())
            .collect();
        let kept = [5, 6, 7, 8].map(|second| format!("0.log.19700101-00000{second}.000000000"));
        assert_eq!(names, kept);
        remove(&path);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
