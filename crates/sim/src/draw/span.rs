//! Spans of time, and how a row of changes becomes them.

use std::time::Duration;

use crate::record::At;

/// Something that holds from one time to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span<T> {
    pub(super) from: At,
    pub(super) to: At,
    pub(super) what: T,
}

impl<T> Span<T> {
    /// How long.
    pub(super) const fn length(&self) -> Duration {
        Duration::from_nanos(self.to.0.saturating_sub(self.from.0))
    }
}

/// What holds now, and the spans before it.
#[derive(Clone, Debug)]
pub(super) struct Track<T> {
    spans: Vec<Span<T>>,
    open: Option<(At, T)>,
}

impl<T> Default for Track<T> {
    fn default() -> Self {
        Self {
            spans: Vec::new(),
            open: None,
        }
    }
}

impl<T: PartialEq> Track<T> {
    /// What holds now.
    pub(super) fn now(&self) -> Option<&T> {
        self.open.as_ref().map(|(_, what)| what)
    }

    /// From `at` on `what` holds. Holding on changes nothing, and what held for no time at all leaves no span.
    pub(super) fn change(&mut self, at: At, what: T) {
        if self.now() == Some(&what) {
            return;
        }
        self.close(at);
        match self.spans.pop() {
            // What was left for no time at all was not left.
            Some(last) if last.to == at && last.what == what => {
                self.open = Some((last.from, last.what));
            }
            other => {
                self.spans.extend(other);
                self.open = Some((at, what));
            }
        }
    }

    /// From `at` on nothing holds.
    pub(super) fn close(&mut self, at: At) {
        if let Some((from, what)) = self.open.take()
            && from < at
        {
            self.spans.push(Span { from, to: at, what });
        }
    }

    /// All spans, the last one until `end`.
    pub(super) fn finish(mut self, end: At) -> Vec<Span<T>> {
        self.close(end);
        self.spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_become_spans() {
        let mut track = Track::default();
        track.change(At(0), 'a');
        track.change(At(5), 'a');
        track.change(At(9), 'b');
        track.change(At(9), 'c');
        track.close(At(10));
        track.change(At(12), 'c');
        let span = |from, to, what| Span {
            from: At(from),
            to: At(to),
            what,
        };
        assert_eq!(
            track.finish(At(20)),
            [span(0, 9, 'a'), span(9, 10, 'c'), span(12, 20, 'c')]
        );
    }

    #[test]
    fn what_was_left_for_no_time_was_not_left() {
        let mut track = Track::default();
        track.change(At(0), 'a');
        track.change(At(9), 'b');
        track.change(At(9), 'a');
        assert_eq!(
            track.finish(At(20)),
            [Span {
                from: At(0),
                to: At(20),
                what: 'a'
            }]
        );
    }
}
