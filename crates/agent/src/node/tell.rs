//! Telling what happens: to the store as events, and to whoever watches.

use probelet_engine::effect::Event;
use probelet_engine::report::{Report, What as Told};
use probelet_model::id::ObjectKey;
use probelet_model::probe::Code;
use probelet_model::time::Wall;
use probelet_runtime::{Images, Runtime};

use super::Node;
use crate::clock;
use crate::happening::{Happening, What, skip_words};

impl<R: Runtime, I: Images> Node<R, I> {
    pub(super) fn record(&mut self, event: &Event) {
        let Some(key) = self.pods.get(&event.pod).map(|known| known.key.clone()) else {
            return;
        };
        let now = clock::now().wall;
        self.recorder.record(&self.store, &key, event, now);
        let what = What::Event {
            container: event.container.as_ref().map(ToString::to_string),
            event_type: event.kind.as_str(),
            reason: event.reason,
            message: event.message.clone(),
        };
        self.tell_at(now, key, what);
    }

    pub(super) fn report(&mut self, report: Report) {
        self.explanations.take(&report);
        let Some(key) = self.pods.get(&report.pod).map(|known| known.key.clone()) else {
            return;
        };
        self.metrics.take(&report, &key);
        if self.happenings.receiver_count() == 0 {
            return;
        }
        let (container, probe) = (report.container.to_string(), report.kind);
        let what = match report.what {
            Told::Attempt {
                status,
                output,
                code,
                duration,
                run,
                threshold,
                verdict,
                changed,
            } => What::Attempt {
                container,
                probe,
                outcome: status,
                exit_code: code.and_then(|code| {
                    if let Code::Exit(code) = code {
                        Some(code)
                    } else {
                        None
                    }
                }),
                status_code: code.and_then(|code| {
                    if let Code::Http(code) = code {
                        Some(code)
                    } else {
                        None
                    }
                }),
                duration,
                run,
                threshold,
                verdict,
                changed,
                message: output,
            },
            Told::Error { message, duration } => What::Error {
                container,
                probe,
                duration,
                message,
            },
            // Every change by an attempt is told with the attempt, and those without one follow from what the
            // container did.
            Told::Verdict(_) => return,
            Told::Skipped(skip) => {
                let (reason, message) = skip_words(&skip);
                What::Skip {
                    container,
                    probe,
                    reason,
                    message,
                }
            }
        };
        self.tell(key, what);
    }

    pub(super) fn tell(&self, object: ObjectKey, what: What) {
        self.tell_at(clock::now().wall, object, what);
    }

    pub(super) fn tell_at(&self, time: Wall, object: ObjectKey, what: What) {
        let _nobody_watches = self.happenings.send(Happening { time, object, what });
    }
}
