//! What is compared.

use std::fmt::Write as _;

use probelet_model::probe::{ProbeKind, Verdict};
use probelet_model::status::Phase;

use super::case::Seen;

/// One thing that happened, and in which second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) at: u64,
    pub(crate) what: What,
}

/// A run of the container is known by how many were before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// An attempt, about that run.
    Attempt(ProbeKind, u32, Seen),
    /// An attempt was counted as the how-manieth of its sort in a row.
    Counted(ProbeKind, u32),
    /// A verdict about a run, another than before; the last one where one look gave two.
    Verdict(ProbeKind, u32, Verdict),
    /// The same, as whoever watches is told of it.
    Told(ProbeKind, Verdict),
    /// The event that goes before a kill.
    Killing(String),
    /// TERM, and so many seconds to KILL.
    Stop(u64),
    /// A run is asked for.
    Start(u32),
    /// CrashLoopBackOff shows, with the wait in its message, or shows no more.
    BackOff(Option<u64>),
    Phase(Phase),
    Started(bool),
    Ready(bool),
}

impl Entry {
    /// Entries of one lane keep their order inside a second; between lanes it says nothing.
    const fn lane(&self) -> (u64, u8) {
        let lane = match self.what {
            What::Attempt(kind, ..) => kind as u8,
            What::Counted(kind, _) => 3 + kind as u8,
            What::Verdict(kind, ..) => 6 + kind as u8,
            What::Killing(_) => 9,
            What::Stop(_) => 10,
            What::Start(_) => 11,
            What::Phase(_) => 12,
            What::Started(_) => 13,
            What::Ready(_) => 14,
            What::BackOff(_) => 15,
            What::Told(kind, _) => 16 + kind as u8,
        };
        (self.at, lane)
    }
}

/// A trace in the order in which two can be compared.
pub(crate) fn in_lanes(mut trace: Vec<Entry>) -> Vec<Entry> {
    trace.sort_by_key(Entry::lane);
    trace
}

/// Both traces around the place where they part; `None` if they do not.
pub(crate) fn difference(kubelet: &[Entry], engine: &[Entry]) -> Option<String> {
    let longest = kubelet.len().max(engine.len());
    let first = (0..longest).find(|index| kubelet.get(*index) != engine.get(*index))?;
    let mut text = format!("{:>6}  {:<58} {}\n", "", "kubelet", "engine");
    let shown = |entry: Option<&Entry>| {
        entry.map_or_else(String::new, |Entry { at, what }| {
            format!("{at:>5}s {what:?}")
        })
    };
    for index in first.saturating_sub(25)..longest.min(first + 10) {
        let mark = if index == first { "here >" } else { "" };
        let (kubelet, engine) = (shown(kubelet.get(index)), shown(engine.get(index)));
        let _ = writeln!(text, "{mark:>6}  {kubelet:<58} {engine}");
    }
    Some(text)
}
