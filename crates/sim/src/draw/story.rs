//! Records as a picture needs them: for each pod what held when, and what happened.

mod happening;
mod pod;

use std::collections::BTreeMap;

pub(super) use happening::Happening;
pub(super) use pod::{Attempt, Conditions, ContainerStory, Endpoint, PodStory, ProbeStory, State};

use pod::PodTale;

use super::span::{Span, Track};
use crate::record::{At, EndpointState, Record, What};

/// All that a picture shows.
#[derive(Debug)]
pub(super) struct Story<'a> {
    /// The pods with lanes, in the order they appear.
    pub(super) pods: Vec<PodStory<'a>>,
    /// How many more there are.
    pub(super) pods_left_out: usize,
    /// What the scenario does, once each.
    pub(super) marks: Vec<(At, &'a str)>,
    /// How many pods got traffic; empty if there is but one pod.
    pub(super) in_service: Vec<Span<usize>>,
    /// The figures of all pods together.
    pub(super) figures: Figures,
    /// When it ended; never zero.
    pub(super) end: At,
}

/// The summaries of several pods together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    /// How many there are.
    pub(super) pods: usize,
    /// Seconds until each that ever was Ready was so, in rising order.
    pub(super) ready_after: Vec<f64>,
    /// Seconds not Ready after having been Ready, all added up.
    pub(super) unready_seconds: f64,
    /// Restarts of all containers.
    pub(super) restarts: u64,
    /// Attempts of all probes.
    pub(super) attempts: u64,
}

impl Figures {
    /// One summary more; any other record is none.
    pub(super) fn add(&mut self, what: &What) {
        if let What::Summary {
            time_to_ready,
            unready_seconds,
            restarts,
            attempts,
        } = what
        {
            self.pods += 1;
            self.ready_after.extend(*time_to_ready);
            self.ready_after.sort_by(f64::total_cmp);
            self.unready_seconds += unready_seconds;
            self.restarts += u64::from(*restarts);
            self.attempts += attempts;
        }
    }
}

impl<'a> Story<'a> {
    /// The story of `records`, which are in the order of time, with the first `most_pods` pods in full.
    pub(super) fn of(records: &'a [Record], end: Option<At>, most_pods: usize) -> Self {
        let last = records.iter().filter_map(|record| record.t).max();
        let end = end.or(last).unwrap_or_default().max(At(1_000_000));
        let mut pods: Vec<(Option<&str>, PodTale<'_>)> = Vec::new();
        let mut places: BTreeMap<Option<&str>, usize> = BTreeMap::new();
        let mut figures = Figures::default();
        let mut marks: Vec<(At, &str)> = Vec::new();
        let mut service = Service::default();
        for record in records {
            figures.add(&record.what);
            if let (Some(at), What::Scenario { message }) = (record.t, &record.what) {
                if !marks.contains(&(at, message)) {
                    marks.push((at, message));
                }
                continue;
            }
            let name = record.pod.as_deref();
            let index = *places.entry(name).or_insert_with(|| {
                pods.push((name, PodTale::default()));
                pods.len() - 1
            });
            if let (Some(at), What::Endpoint { state, .. }) = (record.t, &record.what) {
                service.change(at, index, *state);
            }
            if index < most_pods {
                pods[index].1.tell(record);
            }
        }
        let in_service = if pods.len() > 1 {
            service.finish(end)
        } else {
            Vec::new()
        };
        Self {
            pods_left_out: pods.len().saturating_sub(most_pods),
            pods: pods
                .into_iter()
                .take(most_pods)
                .map(|(name, tale)| tale.finish(name, end))
                .collect(),
            marks,
            in_service,
            figures,
            end,
        }
    }
}

/// Who of several pods gets traffic.
#[derive(Debug, Default)]
struct Service {
    ready: Vec<usize>,
    track: Track<usize>,
}

impl Service {
    fn change(&mut self, at: At, pod: usize, state: EndpointState) {
        self.ready.retain(|ready| *ready != pod);
        if state == EndpointState::Ready {
            self.ready.push(pod);
        }
        self.track.change(at, self.ready.len());
    }

    fn finish(self, end: At) -> Vec<Span<usize>> {
        let mut spans = self.track.finish(end);
        if let Some(first) = spans.first().filter(|first| first.from > At(0)) {
            let before = Span {
                from: At(0),
                to: first.from,
                what: 0,
            };
            spans.insert(0, before);
        }
        spans
    }
}
