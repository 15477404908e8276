//! What probes meet, from a scenario's YAML: the lists of answers.

use super::fields::Field;
use super::read::{CODES, Reader};
use crate::script::{Exec, Grpc, Http, Paths, Tcp, Timeline};

impl<'a> Reader<'a> {
    pub(super) fn paths(&mut self, field: &Field<'a>) -> Paths {
        let mut paths = Vec::new();
        for (path, field) in self.errors.entries(field) {
            if !path.starts_with('/') {
                let message = format!("Invalid value: {path:?}: must begin with /");
                self.errors.add(field.path.clone(), message);
            }
            paths.push((path, self.steps(&field, Self::http)));
        }
        Paths::new(paths)
    }

    pub(super) fn timeline<T>(
        &mut self,
        run: &Field<'a>,
        name: &str,
        answer: fn(&mut Self, &Field<'a>) -> Option<T>,
    ) -> Option<Timeline<T>> {
        let field = run.get(name)?;
        Some(self.steps(&field, answer))
    }

    fn steps<T>(
        &mut self,
        list: &Field<'a>,
        answer: fn(&mut Self, &Field<'a>) -> Option<T>,
    ) -> Timeline<T> {
        let mut steps = Vec::new();
        let mut last = None;
        for field in self.errors.elements(list) {
            let answer = answer(self, &field);
            let before = self.errors.found.len();
            let from = self.errors.duration(&field, "from");
            if self.errors.found.len() > before {
                continue;
            }
            if last.is_some_and(|last| from <= last) {
                let message = format!(
                    "Invalid value: {:?}: must be later than that of the entry above it",
                    probelet_model::go::duration(from)
                );
                self.errors.add(field.path.field("from"), message);
            }
            last = Some(from);
            steps.extend(answer.map(|answer| (from, answer)));
        }
        Timeline::new(steps)
    }

    fn http(&mut self, step: &Field<'a>) -> Option<Http> {
        let known = [
            "from", "status", "body", "latency", "refuse", "hang", "stall",
        ];
        if !self.errors.object(step, &known) {
            return None;
        }
        let what = self
            .errors
            .one_of(step, &["status", "refuse", "hang", "stall"])?;
        if what != "status" {
            self.errors.mark(step, what);
            self.only_beside(step, &["body", "latency"], "status");
        }
        Some(match what {
            "refuse" => Http::Refuses,
            "hang" => Http::Hangs,
            "stall" => Http::Stalls,
            _ => Http::Says {
                // In range, as it is checked.
                status: u16::try_from(self.errors.integer(step, "status", 200..=599, 200))
                    .unwrap_or(200),
                body: self.errors.text(step, "body"),
                latency: self.errors.duration(step, "latency"),
            },
        })
    }

    pub(super) fn tcp(&mut self, step: &Field<'a>) -> Option<Tcp> {
        if !self
            .errors
            .object(step, &["from", "accept", "latency", "refuse", "hang"])
        {
            return None;
        }
        let what = self.errors.one_of(step, &["accept", "refuse", "hang"])?;
        let accepts = what == "accept" && self.errors.flag(step, "accept");
        if !accepts {
            self.only_beside(step, &["latency"], "accept: true");
        }
        if what != "accept" {
            self.errors.mark(step, what);
        }
        Some(match what {
            "hang" => Tcp::Hangs,
            _ if accepts => Tcp::Accepts {
                latency: self.errors.duration(step, "latency"),
            },
            _ => Tcp::Refuses,
        })
    }

    pub(super) fn grpc(&mut self, step: &Field<'a>) -> Option<Grpc> {
        if !self
            .errors
            .object(step, &["from", "serving", "latency", "refuse", "hang"])
        {
            return None;
        }
        let what = self.errors.one_of(step, &["serving", "refuse", "hang"])?;
        if what != "serving" {
            self.errors.mark(step, what);
            self.only_beside(step, &["latency"], "serving");
        }
        Some(match what {
            "refuse" => Grpc::Refuses,
            "hang" => Grpc::Hangs,
            _ => Grpc::Says {
                serving: self.errors.flag(step, "serving"),
                latency: self.errors.duration(step, "latency"),
            },
        })
    }

    pub(super) fn exec(&mut self, step: &Field<'a>) -> Option<Exec> {
        let known = ["from", "exitCode", "output", "latency", "hang", "error"];
        if !self.errors.object(step, &known) {
            return None;
        }
        let what = self.errors.one_of(step, &["exitCode", "hang", "error"])?;
        if what != "exitCode" {
            self.only_beside(step, &["output", "latency"], "exitCode");
        }
        Some(match what {
            "hang" => {
                self.errors.mark(step, what);
                Exec::Hangs
            }
            "error" => Exec::CannotRun(self.errors.text(step, "error")),
            _ => Exec::Ends {
                code: self.errors.integer(step, "exitCode", CODES, 0),
                output: self.errors.text(step, "output"),
                latency: self.errors.duration(step, "latency"),
            },
        })
    }

    fn only_beside(&mut self, step: &Field<'a>, names: &[&'static str], beside: &str) {
        for name in names {
            let why = format!("may only be set beside {beside}");
            self.errors.forbidden(step, name, &why);
        }
    }
}
