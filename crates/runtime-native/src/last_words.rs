//! A container's last words: the file it may write them to, and what is read of it, or of the log, when it
//! has ended.
//!
//! The file is the shim's own, one for each run, and bound over the container's path; the container can
//! fill it, but neither replace nor remove it. It is read as if it could: without following, without
//! waiting, and never more than is kept.
//!
//! Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, getTerminationMessage and
//! readLastStringFromContainerLogs; pkg/kubelet/container/runtime.go (the bounds).
//! Shown by: the_end_of_the_file_is_kept, the_end_of_the_log_stands_in_for_an_empty_file,
//! the_log_stands_in_only_for_a_failure_without_a_file.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::text;

/// So much of the file is kept, in bytes.
///
/// Upstream: kubelet pkg/kubelet/container/runtime.go, MaxContainerTerminationMessageLength.
/// Shown by: the_end_of_the_file_is_kept.
const MAX_FILE: usize = 4096;
/// So much of the log is kept, in bytes.
///
/// Upstream: kubelet pkg/kubelet/container/runtime.go, MaxContainerTerminationMessageLogLength.
/// Shown by: the_end_of_the_log_stands_in_for_an_empty_file.
const MAX_LOG: usize = 2048;
/// So much of the log is kept, in lines of its own.
///
/// Upstream: kubelet pkg/kubelet/container/runtime.go, MaxContainerTerminationMessageLogLines.
/// Shown by: the_end_of_the_log_stands_in_for_an_empty_file.
const MAX_LOG_LINES: usize = 80;
/// What is read of the log: without the line that is cut at its start, which is 16 KiB at most, it holds
/// either [`MAX_LOG_LINES`] or more than [`MAX_LOG`] of output.
const LOG_CHUNK: usize = 64 * 1024;

/// Makes the file of one run, empty, for whatever user writes to it.
///
/// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, makeMounts.
/// Shown by: whoever_the_container_runs_as_may_write.
pub(crate) fn make(file: &Path) -> io::Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).open(file)?;
    // Whatever the umask.
    made.set_permissions(Permissions::from_mode(0o666))
}

/// What is in `file`; if that is nothing, and a log is given, the end of the log. A file that cannot be
/// read says so in its place, as upstream.
pub(crate) fn read(file: &Path, log: Option<&Path>) -> Option<String> {
    let written = match end_of(file, MAX_FILE) {
        Ok(written) => kept(&written, MAX_FILE),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => format!(
            "Error on reading termination log {}: {}",
            file.display(),
            text::of_io(&error)
        ),
    };
    let words = match log {
        Some(log) if written.is_empty() => match end_of(log, LOG_CHUNK) {
            Ok(chunk) => kept(&output_of(&chunk), MAX_LOG),
            Err(error) => format!(
                "Error on reading termination message from logs: {}",
                text::of_io(&error)
            ),
        },
        Some(_) | None => written,
    };
    (!words.is_empty()).then_some(words)
}

/// The last `limit` bytes of a regular file.
///
/// Upstream: pkg/util/tail/tail.go, ReadAtMost.
/// Shown by: the_end_of_the_file_is_kept, an_enormous_file_is_not_read_whole.
fn end_of(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut offset = metadata.len().saturating_sub(limit as u64);
    let mut end = vec![0; limit];
    let mut length = 0;
    while length < limit {
        match file.read_at(&mut end[length..], offset) {
            Ok(0) => break,
            Ok(more) => {
                length += more;
                offset += more as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    end.truncate(length);
    Ok(end)
}

/// The text that the last lines of a log stand for. Only the end of a line that is whole ends one here.
fn output_of(chunk: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = chunk.split_inclusive(|&byte| byte == b'\n').collect();
    // A chunk begins anywhere, so its first line may lack its start; that of a whole file does not.
    let cut = usize::from(chunk.len() == LOG_CHUNK);
    let from = lines.len().saturating_sub(MAX_LOG_LINES).max(cut);
    let mut output = Vec::new();
    for line in lines.into_iter().skip(from) {
        // `<time> <stream> <F|P> <text>`
        let mut parts = line.splitn(4, |&byte| byte == b' ');
        let (tag, text) = (parts.nth(2), parts.next());
        let Some(text) = text else { continue };
        let whole = tag == Some(b"F");
        let text = if whole {
            text
        } else {
            text.strip_suffix(b"\n").unwrap_or(text)
        };
        output.extend_from_slice(text);
    }
    output
}

/// The end of `bytes` as text of at most `limit` bytes. What is no UTF-8 shows as U+FFFD; a character that
/// the limit cuts goes.
fn kept(bytes: &[u8], limit: usize) -> String {
    let end = &bytes[bytes.len().saturating_sub(limit)..];
    let is_rest = |byte: u8| byte & 0b1100_0000 == 0b1000_0000;
    let rest = if bytes.len() >= limit {
        end.iter()
            .take(3)
            .take_while(|&&byte| is_rest(byte))
            .count()
    } else {
        0
    };
    let mut text = String::from_utf8_lossy(&end[rest..]).into_owned();
    // A byte that is no UTF-8 takes three to show.
    let mut over = text.len().saturating_sub(limit);
    while !text.is_char_boundary(over) {
        over += 1;
    }
    text.drain(..over);
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    struct Ground {
        dir: tempfile::TempDir,
    }

    impl Ground {
        fn new() -> Self {
            Self {
                dir: tempfile::tempdir().unwrap(),
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn with(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
            fs::write(self.path(name), content).unwrap();
            self.path(name)
        }
    }

    fn log_line(tag: char, text: &str) -> String {
        format!("2026-11-24T10:00:00.000000001Z stdout {tag} {text}\n")
    }

    #[test]
    fn the_end_of_the_file_is_kept() {
        let ground = Ground::new();
        let long = format!("{}{}", "a".repeat(5000), "z".repeat(4000));
        let ends_in_eight = format!("{}{}", "ä".repeat(3000), "x");
        let rows: [(&[u8], Option<String>); 6] = [
            (b"", None),
            (b"it broke\n", Some("it broke\n".into())),
            (long.as_bytes(), Some(long[9000 - 4096..].into())),
            (b"a\xffb", Some("a\u{fffd}b".into())),
            (
                ends_in_eight.as_bytes(),
                Some(format!("{}x", "ä".repeat(2047))),
            ),
            (&[0xff; 4096], Some("\u{fffd}".repeat(4096 / 3))),
        ];
        for (content, expect) in rows {
            let file = ground.with("file", content);
            assert_eq!(read(&file, None), expect);
        }
        assert_eq!(read(&ground.path("none"), None), None);
    }

    #[test]
    fn a_file_that_is_something_else_is_neither_followed_nor_waited_for() {
        let ground = Ground::new();
        let secret = ground.with("secret", "of the host");
        let file = ground.path("file");
        let expect = |why: &str| {
            let text = format!("Error on reading termination log {}: {why}", file.display());
            assert_eq!(read(&file, Some(&secret)), Some(text));
        };
        std::os::unix::fs::symlink(&secret, &file).unwrap();
        expect("too many levels of symbolic links");
        fs::remove_file(&file).unwrap();
        mknodat(CWD, &file, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        expect("not a regular file");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        expect("not a regular file");
    }

    #[test]
    fn an_enormous_file_is_not_read_whole() {
        let ground = Ground::new();
        let file = ground.with("file", "");
        File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .write_all_at(b"the end", 1 << 40)
            .unwrap();
        let words = read(&file, None).unwrap();
        assert_eq!((words.len(), &words[4089..]), (4096, "the end"));
    }

    #[test]
    fn the_end_of_the_log_stands_in_for_an_empty_file() {
        let ground = Ground::new();
        let empty = ground.with("empty", "");
        let check = |log: String, expect: Option<String>| {
            let log = ground.with("log", log);
            assert_eq!(read(&empty, Some(&log)), expect);
        };
        check(String::new(), None);
        check(
            [
                log_line('F', "one two  three"),
                log_line('F', ""),
                log_line('P', "no e"),
                log_line('P', "nd"),
            ]
            .concat(),
            Some("one two  three\n\nno end".into()),
        );
        let lines: String = (0..200)
            .map(|line| log_line('F', &line.to_string()))
            .collect();
        let last: String = (120..200).map(|line| format!("{line}\n")).collect();
        check(lines, Some(last));
        let wide: String = (0..50).map(|_| log_line('F', &"x".repeat(1000))).collect();
        let line = format!("{}\n", "x".repeat(1000));
        check(wide, Some(format!("{}{line}{line}", &line[1001 - 46..])));
        let pieces: String = (0..10)
            .map(|_| log_line('P', &"y".repeat(16 * 1024)))
            .collect();
        check(pieces, Some("y".repeat(2048)));
        let written = ground.with("file", "my own");
        assert_eq!(
            read(&written, Some(&ground.path("log"))),
            Some("my own".into())
        );
        assert_eq!(
            read(&empty, Some(&ground.path("none"))),
            Some(
                "Error on reading termination message from logs: no such file or directory".into()
            )
        );
    }

    #[test]
    fn whoever_the_container_runs_as_may_write() {
        let ground = Ground::new();
        let file = ground.path("file");
        make(&file).unwrap();
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
        make(&file).unwrap_err();
    }
}
