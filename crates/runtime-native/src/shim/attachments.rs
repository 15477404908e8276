//! Whoever has joined the streams of a container's main process: each gets a copy of what it writes, through
//! pipes of their own.
//!
//! A copy that its reader does not take holds the container's output back, so that nothing of it is lost, as
//! upstream; but not for longer than [`PATIENCE`]. Then that reader's session ends, and container and log go
//! on.
//!
//! Upstream: containerd internal/cri/io/container_io.go, Attach, and pkg/ioutil/writer_group.go, Write.
//! Differs: upstream holds the output back for as long as the reader takes, for ever if it never reads.
//! Shown by: one_who_does_not_read_holds_the_log_up_for_a_while_only, several_see_what_comes_after_they_joined.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use probelet_model::id::ContainerId;
use probelet_model::time::Mono;
use probelet_runtime::ExecError;
use rustix::event::PollFlags;
use rustix::io::{Errno, Result};

use super::logs::Stream;
use super::pipes::{NearEnds, near_reader};
use super::session::{Outcome, tell};

/// How long a reader may take over one piece of output, at most a pipe's worth.
const PATIENCE: Duration = Duration::from_secs(10);

/// All of a pod's.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    all: BTreeMap<u64, Attachment>,
    next: u64,
}

#[derive(Debug)]
struct Attachment {
    container: ContainerId,
    outputs: [Option<Output>; 2],
    /// Takes an [`Outcome`]. When its reader has gone, so has the session.
    ended: OwnedFd,
    /// Of a container that has ended, while its last output waits.
    outcome: Option<Outcome>,
}

/// A copy of one stream.
#[derive(Debug)]
struct Output {
    pipe: OwnedFd,
    waiting: Vec<u8>,
    give_up_at: Option<Mono>,
}

/// One of the descriptors of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// There is room for output, or its reader has gone.
    Output(Stream),
    /// Whoever has joined has gone.
    Ended,
}

impl Attachments {
    /// Adds one to a container that runs. `near` becomes the ends of the session, but for stdin and the
    /// terminal, which are the caller's to add between them.
    pub(super) fn join(
        &mut self,
        container: ContainerId,
        stdout: bool,
        stderr: bool,
    ) -> Result<NearEnds> {
        let mut near = NearEnds::default();
        (near.kinds.stdout, near.kinds.stderr) = (stdout, stderr);
        let (end, ended) = near_reader()?;
        near.fds.push(end);
        let mut output = |wanted: bool| -> Result<Option<Output>> {
            if !wanted {
                return Ok(None);
            }
            let (end, pipe) = near_reader()?;
            rustix::io::ioctl_fionbio(&pipe, true)?;
            near.fds.push(end);
            Ok(Some(Output {
                pipe,
                waiting: Vec::new(),
                give_up_at: None,
            }))
        };
        let outputs = [output(stdout)?, output(stderr)?];
        rustix::io::ioctl_fionbio(&ended, true)?;
        self.all.insert(
            self.next,
            Attachment {
                container,
                outputs,
                ended,
                outcome: None,
            },
        );
        self.next += 1;
        Ok(near)
    }

    /// What to poll for.
    pub(super) fn parts(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags, u64, Part)> {
        self.all.iter().flat_map(|(&key, attachment)| {
            let outputs = attachment.outputs.iter().zip([Stream::Out, Stream::Err]);
            let outputs = outputs.filter_map(move |(output, stream)| {
                let output = output.as_ref()?;
                // Without flags, all that is told is that the reader has gone.
                let flags = if output.waiting.is_empty() {
                    PollFlags::empty()
                } else {
                    PollFlags::OUT
                };
                Some((output.pipe.as_fd(), flags, key, Part::Output(stream)))
            });
            let ended = attachment.ended.as_fd();
            outputs.chain([(ended, PollFlags::empty(), key, Part::Ended)])
        })
    }

    /// Whether a stream of a container is not to be read just now.
    pub(super) fn hold_back(&self, container: &ContainerId, stream: Stream) -> bool {
        self.all.values().any(|attachment| {
            let output = attachment.outputs[stream as usize].as_ref();
            attachment.container == *container
                && output.is_some_and(|output| !output.waiting.is_empty())
        })
    }

    /// Copies what a container has written.
    pub(super) fn feed(
        &mut self,
        container: &ContainerId,
        stream: Stream,
        bytes: &[u8],
        now: Mono,
    ) {
        for attachment in self.all.values_mut() {
            if attachment.container == *container
                && let Some(output) = &mut attachment.outputs[stream as usize]
            {
                output.waiting.extend_from_slice(bytes);
                attachment.write(stream, now);
            }
        }
    }

    /// Deals with a ready descriptor.
    pub(super) fn take(&mut self, key: u64, part: Part, now: Mono) {
        let Some(attachment) = self.all.get_mut(&key) else {
            return;
        };
        let over = match part {
            Part::Ended => true,
            Part::Output(stream) => {
                let gone = attachment.outputs[stream as usize]
                    .as_ref()
                    .is_some_and(|output| output.waiting.is_empty());
                if gone {
                    attachment.outputs[stream as usize] = None;
                }
                attachment.write(stream, now);
                attachment.is_over()
            }
        };
        if over {
            self.all.remove(&key);
        }
    }

    /// Notes how a container has ended, after the last of its output.
    pub(super) fn end(&mut self, container: &ContainerId, code: i32) {
        self.all.retain(|_, attachment| {
            if attachment.container == *container {
                attachment.outcome = Some(Ok(code));
            }
            !attachment.is_over()
        });
    }

    /// When a reader has had its time.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.all.values().filter_map(Attachment::deadline).min()
    }

    /// Ends the sessions of those who have had their time.
    pub(super) fn keep_deadlines(&mut self, now: Mono) {
        self.all.retain(|_, attachment| {
            let late = attachment.deadline().is_some_and(|at| at <= now);
            if late {
                let text = format!("the output was not read for {} s", PATIENCE.as_secs());
                tell(&attachment.ended, &Err(ExecError::Runtime(text)));
            }
            !late
        });
    }

    /// Whether nobody is left to whom something is to be told.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl Attachment {
    /// Writes what waits, as far as there is room.
    fn write(&mut self, stream: Stream, now: Mono) {
        let slot = &mut self.outputs[stream as usize];
        let Some(output) = slot else { return };
        let mut written = 0;
        while written < output.waiting.len() {
            match rustix::io::write(&output.pipe, &output.waiting[written..]) {
                Ok(length) => written += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_reader_gone) => {
                    *slot = None;
                    return;
                }
            }
        }
        output.waiting.drain(..written);
        if output.waiting.is_empty() {
            // Attached for years, it is not to keep what it once needed.
            output.waiting = Vec::new();
            output.give_up_at = None;
        } else {
            output.give_up_at.get_or_insert(now + PATIENCE);
        }
    }

    fn deadline(&self) -> Option<Mono> {
        let outputs = self.outputs.iter().flatten();
        outputs.filter_map(|output| output.give_up_at).min()
    }

    /// Whether the container has ended and all of its output has been passed on; tells so.
    fn is_over(&self) -> bool {
        let Some(outcome) = &self.outcome else {
            return false;
        };
        let all_passed_on = self
            .outputs
            .iter()
            .flatten()
            .all(|output| output.waiting.is_empty());
        if all_passed_on {
            tell(&self.ended, outcome);
        }
        all_passed_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Mono = Mono(1_000);

    struct Reader {
        ended: OwnedFd,
        stdout: OwnedFd,
    }

    fn join(attachments: &mut Attachments) -> Reader {
        let mut near = attachments.join("c".into(), true, false).unwrap().fds;
        let (Some(stdout), Some(ended)) = (near.pop(), near.pop()) else {
            panic!("two ends");
        };
        Reader { ended, stdout }
    }

    fn read(fd: &OwnedFd) -> std::result::Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; 1 << 20];
        let length = rustix::io::read(fd, &mut bytes[..])?;
        bytes.truncate(length);
        Ok(bytes)
    }

    #[test]
    fn all_of_it_is_passed_on_before_the_end_is_told() {
        let mut attachments = Attachments::default();
        let reader = join(&mut attachments);
        attachments.feed(&"other".into(), Stream::Out, b"not this", NOW);
        attachments.feed(&"c".into(), Stream::Err, b"nor this", NOW);
        let output = vec![b'x'; 200_000];
        attachments.feed(&"c".into(), Stream::Out, &output, NOW);
        assert!(attachments.hold_back(&"c".into(), Stream::Out));
        assert!(!attachments.hold_back(&"c".into(), Stream::Err));
        attachments.end(&"c".into(), 7);
        let mut got = Vec::new();
        while got.len() < output.len() {
            // The end is told when the last of it is in the pipe.
            let told = read(&reader.ended).is_ok_and(|told| told == br#"{"Ok":7}"#);
            assert_eq!(told, got.len() + 65_536 >= output.len());
            if told {
                break;
            }
            got.extend(read(&reader.stdout).unwrap());
            attachments.take(0, Part::Output(Stream::Out), NOW);
        }
        assert!(attachments.is_empty());
        got.extend(read(&reader.stdout).unwrap());
        assert_eq!(got, output);
        assert_eq!(read(&reader.stdout), Ok(Vec::new()));
    }

    #[test]
    fn a_reader_has_its_time_and_no_more() {
        let mut attachments = Attachments::default();
        let (slow, quick) = (join(&mut attachments), join(&mut attachments));
        attachments.feed(&"c".into(), Stream::Out, &[b'x'; 300_000], NOW);
        while let Ok(1..) = read(&quick.stdout).map(|bytes| bytes.len()) {
            attachments.take(1, Part::Output(Stream::Out), NOW);
        }
        assert_eq!(attachments.deadline(), Some(NOW + PATIENCE));
        // Some progress brings no more time.
        let later = Mono(NOW.0 + 1);
        read(&slow.stdout).unwrap();
        attachments.take(0, Part::Output(Stream::Out), later);
        attachments.keep_deadlines(later);
        assert_eq!(attachments.deadline(), Some(NOW + PATIENCE));
        assert!(attachments.hold_back(&"c".into(), Stream::Out));
        attachments.keep_deadlines(NOW + PATIENCE);
        assert!(!attachments.hold_back(&"c".into(), Stream::Out));
        let told = String::from_utf8(read(&slow.ended).unwrap()).unwrap();
        assert!(told.contains("not read for 10 s"), "{told}");
        attachments.end(&"c".into(), 0);
        assert_eq!(read(&quick.ended).unwrap(), br#"{"Ok":0}"#);
    }

    #[test]
    fn who_has_gone_is_forgotten() {
        let mut attachments = Attachments::default();
        let (one, two) = (join(&mut attachments), join(&mut attachments));
        drop(one.stdout);
        attachments.feed(&"c".into(), Stream::Out, b"x", NOW);
        assert_eq!(attachments.parts().count(), 3);
        drop(two.stdout);
        attachments.take(1, Part::Output(Stream::Out), NOW);
        assert_eq!(attachments.parts().count(), 2);
        drop((one.ended, two.ended));
        attachments.take(0, Part::Ended, NOW);
        attachments.take(1, Part::Ended, NOW);
        assert!(attachments.is_empty());
    }
}
