//! From the entries of a log file to the text that is told.

use super::options::Options;

/// One entry of a file in the format of the CRI: `<RFC 3339> <stdout|stderr> <F|P> <text>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry<'a> {
    stamp: &'a [u8],
    text: &'a [u8],
    /// The line goes on in the next entry of its stream.
    partial: bool,
}

impl<'a> Entry<'a> {
    /// Reads one, without the end of its line; `None` if it is none.
    ///
    /// Upstream: cri-client pkg/logs/logs.go, parseCRILog.
    /// Shown by: entries_become_text_as_they_do_upstream.
    fn read(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(4, |&byte| byte == b' ');
        let (stamp, stream, tags) = (parts.next()?, parts.next()?, parts.next()?);
        let text = parts.next()?;
        let is_stamp = stamp.len() > 19 && stamp[0].is_ascii_digit();
        let known = matches!(stream, b"stdout" | b"stderr");
        let tag = tags.split(|&byte| byte == b':').next();
        (is_stamp && known).then_some(Self {
            stamp,
            text,
            partial: tag == Some(b"P"),
        })
    }
}

/// Makes text of entries, one after the other.
///
/// Upstream: cri-client pkg/logs/logs.go, logWriter.
/// Shown by: entries_become_text_as_they_do_upstream.
#[derive(Clone, Debug)]
pub(super) struct Telling {
    timestamps: bool,
    /// The first stamp that is told, as the file has them: they sort as texts.
    since: Option<String>,
    /// How many bytes may still be told.
    left: Option<u64>,
    /// How many entries may still be.
    entries: Option<u64>,
    /// The last entry was the end of its line.
    at_start: bool,
}

impl Telling {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            timestamps: options.timestamps,
            since: options.since.map(|since| since.nanos_rfc3339()),
            left: options.limit,
            // Who follows gets what comes after as well.
            entries: options.tail.filter(|_| !options.follow),
            at_start: true,
        }
    }

    /// Whether all has been told that was asked for.
    pub(super) fn is_over(&self) -> bool {
        self.left == Some(0) || self.entries == Some(0)
    }

    /// Tells one entry, without the end of its line. What is none is passed over.
    pub(super) fn tell(&mut self, line: &[u8], told: &mut Vec<u8>) {
        let Some(entry) = Entry::read(line) else {
            return;
        };
        let early = self.since.as_ref().map(String::as_bytes);
        if early.is_none_or(|since| entry.stamp >= since) {
            let mark = told.len();
            if self.timestamps && self.at_start {
                told.extend_from_slice(entry.stamp);
                told.push(b' ');
            }
            told.extend_from_slice(entry.text);
            if !entry.partial {
                told.push(b'\n');
            }
            self.cut(mark, told);
        }
        if let Some(entries) = &mut self.entries {
            *entries = entries.saturating_sub(1);
        }
        self.at_start = !entry.partial;
    }

    /// Takes back what is over the limit.
    fn cut(&mut self, mark: usize, told: &mut Vec<u8>) {
        if let Some(left) = &mut self.left {
            let may = usize::try_from(*left).unwrap_or(usize::MAX);
            told.truncate(mark.saturating_add(may));
            let told = u64::try_from(told.len() - mark).unwrap_or(u64::MAX);
            *left = left.saturating_sub(told);
        }
    }
}

#[cfg(test)]
mod tests {
    use probelet_model::time::Wall;

    use super::*;

    const LOG: &[&str] = &[
        "1970-01-01T00:00:01.000000000Z stdout F one",
        "1970-01-01T00:00:02.000000000Z stderr P tw",
        "not an entry at all",
        "1970-01-01T00:00:03.000000000Z stderr F o",
        "1970-01-01T00:00:04.000000000Z stdout F:x ",
        "1970-01-01T00:00:05.000000000Z stdout P end",
    ];

    fn check(options: &Options, expected: &str) {
        let mut telling = Telling::new(options);
        let mut told = Vec::new();
        for line in LOG {
            if !telling.is_over() {
                telling.tell(line.as_bytes(), &mut told);
            }
        }
        assert_eq!(String::from_utf8(told).unwrap(), expected);
    }

    #[test]
    fn entries_become_text_as_they_do_upstream() {
        check(&Options::default(), "one\ntwo\n\nend");
        let timestamps = Options {
            timestamps: true,
            ..Options::default()
        };
        check(
            &timestamps,
            "1970-01-01T00:00:01.000000000Z one\n1970-01-01T00:00:02.000000000Z two\n1970-01-01T00:00:04.000000000Z \n1970-01-01T00:00:05.000000000Z end",
        );
        let since = |nanos| Options {
            since: Some(Wall(nanos)),
            ..Options::default()
        };
        check(&since(1_000_000_000), "one\ntwo\n\nend");
        check(&since(1_000_000_001), "two\n\nend");
        let limit = |limit| Options {
            limit: Some(limit),
            ..Options::default()
        };
        check(&limit(5), "one\nt");
        check(&limit(4), "one\n");
        let tail = Options {
            tail: Some(3),
            ..Options::default()
        };
        check(&tail, "one\ntwo\n");
        let follow = Options {
            follow: true,
            ..tail
        };
        check(&follow, "one\ntwo\n\nend");
    }
}
