//! A scenario from its YAML.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use probelet_model::field::{FieldError, FieldPath};
use probelet_model::id::ContainerName;
use probelet_model::manifest::{Diagnostic, Diagnostics, Position};
use probelet_model::pod::Pod;
use probelet_model::status::ConditionKind;
use probelet_model::yaml::{self, Node, SyntaxError};

use super::fields::{Errors, Field};
use super::{Action, AgentRestart, Event, Scenario};
use crate::script::{ContainerScript, HookScript, OnTerm, OwnExit, Pull, Run};

/// Exit codes as a shell sees them.
pub(super) const CODES: std::ops::RangeInclusive<i32> = 0..=255;

pub(super) fn scenario(source: &str, text: &str, pods: &[Pod]) -> Result<Scenario, Diagnostics> {
    let document = document(text).map_err(|error| {
        Diagnostics(vec![Diagnostic {
            source: source.to_owned(),
            position: Some(error.at),
            error: FieldError {
                path: FieldPath::root(),
                message: error.message,
            },
        }])
    })?;
    let mut reader = Reader {
        errors: Errors::new(source, &document),
        pods,
    };
    let root = reader.errors.root();
    let scenario = reader.scenario(&root);
    let mut found = reader.errors.found;
    if found.is_empty() {
        return Ok(scenario);
    }
    found.sort_by_key(|error| error.position);
    Err(Diagnostics(found))
}

/// The only document there is.
fn document(text: &str) -> Result<Node, SyntaxError> {
    let mut documents = yaml::documents(text).into_iter();
    let Some(first) = documents.next() else {
        let at = Position { line: 1, column: 1 };
        let message = "no scenario in it".to_owned();
        return Err(SyntaxError { at, message });
    };
    let first = first?;
    match documents.next() {
        None => Ok(first),
        Some(second) => {
            let at = second?.at();
            let message = "one scenario a file: this is a second document".to_owned();
            Err(SyntaxError { at, message })
        }
    }
}

pub(super) struct Reader<'a> {
    pub(super) errors: Errors<'a>,
    pods: &'a [Pod],
}

impl<'a> Reader<'a> {
    fn scenario(&mut self, root: &Field<'a>) -> Scenario {
        let known = ["duration", "restartAgentAt", "containers", "events"];
        if !self.errors.object(root, &known) {
            return Scenario::default();
        }
        self.errors.required(root, "duration");
        let duration = root.get("duration").map_or(Duration::ZERO, |field| {
            let before = self.errors.found.len();
            let duration = self.errors.duration_of(&field);
            if duration.is_zero() && self.errors.found.len() == before {
                self.errors.invalid(&field, "more than zero");
            }
            duration
        });
        let end = Some(duration).filter(|duration| !duration.is_zero());
        Scenario {
            duration,
            agent_restarts: self.agent_restarts(root, end),
            containers: self.containers(root),
            events: self.events(root, end),
        }
    }

    fn agent_restarts(&mut self, root: &Field<'a>, end: Option<Duration>) -> Vec<AgentRestart> {
        let Some(list) = root.get("restartAgentAt") else {
            return Vec::new();
        };
        let mut restarts = Vec::new();
        let mut free_from = Duration::ZERO;
        for field in self.errors.elements(&list) {
            let restart = if field.is_object() {
                self.errors.object(&field, &["at", "downFor"]);
                AgentRestart {
                    at: self.at(&field, end),
                    down_for: self.errors.duration(&field, "downFor"),
                }
            } else {
                AgentRestart {
                    at: self.errors.moment(&field, end),
                    down_for: Duration::ZERO,
                }
            };
            if restart.at < free_from {
                let message = "Invalid value: must not be before the restart above it is over";
                self.errors.add(field.path.clone(), message);
            }
            free_from = restart.at.saturating_add(restart.down_for);
            restarts.push(restart);
        }
        restarts
    }

    /// The field `at`, which must be there. Of what comes after the end nothing would be seen.
    fn at(&mut self, of: &Field<'a>, end: Option<Duration>) -> Duration {
        self.errors.required(of, "at");
        of.get("at")
            .map_or(Duration::ZERO, |field| self.errors.moment(&field, end))
    }

    fn containers(&mut self, root: &Field<'a>) -> BTreeMap<ContainerName, Arc<ContainerScript>> {
        let Some(field) = root.get("containers") else {
            return BTreeMap::new();
        };
        let mut containers = BTreeMap::new();
        for (name, field) in self.errors.entries(&field) {
            if !self.pods.iter().any(|pod| pod.container(&name).is_some()) {
                let mut there: Vec<&str> = self
                    .pods
                    .iter()
                    .flat_map(Pod::all_containers)
                    .map(|container| container.name.as_str())
                    .collect();
                there.sort_unstable();
                there.dedup();
                let message = format!("Not found: {name:?}: there is {}", some_of(&there));
                self.errors.add(field.path.clone(), message);
            }
            if !self.errors.object(&field, &["pulls", "runs"]) {
                continue;
            }
            if field.get("pulls").is_none() {
                self.errors.required(&field, "runs");
            }
            let mut list = |name| {
                let list = field.get(name);
                list.map_or_else(Vec::new, |list| self.errors.elements(&list))
            };
            let (pulls, runs) = (list("pulls"), list("runs"));
            let script = ContainerScript {
                runs: runs.iter().map(|run| self.run(run)).collect(),
                pulls: pulls.iter().map(|pull| self.pull(pull)).collect(),
            };
            let name = ContainerName::from(name);
            containers.insert(name, Arc::new(script));
        }
        containers
    }

    fn pull(&mut self, pull: &Field<'a>) -> Pull {
        if !self.errors.object(pull, &["after", "fails"]) {
            return Pull::default();
        }
        let fails = pull.get("fails").is_some();
        Pull {
            after: self.errors.duration(pull, "after"),
            fails: fails.then(|| self.errors.text(pull, "fails")),
        }
    }

    fn run(&mut self, run: &Field<'a>) -> Run {
        let known = [
            "startAfter",
            "startFails",
            "exitAt",
            "exitCode",
            "outOfMemory",
            "onTerm",
            "postStart",
            "preStop",
            "http",
            "tcp",
            "grpc",
            "exec",
        ];
        if !self.errors.object(run, &known) {
            return Run::default();
        }
        let start_fails = run.get("startFails").map(|field| {
            self.errors.object(&field, &["message"]);
            self.errors.required(&field, "message");
            for name in &known[2..] {
                self.errors
                    .forbidden(run, name, "may not be set beside startFails");
            }
            self.errors.text(&field, "message")
        });
        if run.get("exitAt").is_none() {
            for name in ["exitCode", "outOfMemory"] {
                self.errors
                    .forbidden(run, name, "may only be set beside exitAt");
            }
        }
        let out_of_memory = self.errors.flag(run, "outOfMemory");
        let usual = if out_of_memory { 137 } else { 0 };
        Run {
            start_after: self.errors.duration(run, "startAfter"),
            start_fails,
            exit: run.get("exitAt").map(|field| OwnExit {
                at: self.errors.duration_of(&field),
                code: self.errors.integer(run, "exitCode", CODES, usual),
                out_of_memory,
            }),
            on_term: run
                .get("onTerm")
                .map_or_else(OnTerm::default, |field| self.on_term(&field)),
            post_start: self.hook(run, "postStart"),
            pre_stop: self.hook(run, "preStop"),
            http: run.get("http").map(|field| self.paths(&field)),
            tcp: self.timeline(run, "tcp", Self::tcp),
            grpc: self.timeline(run, "grpc", Self::grpc),
            exec: self.timeline(run, "exec", Self::exec),
        }
    }

    fn on_term(&mut self, field: &Field<'a>) -> OnTerm {
        if !self.errors.object(field, &["after", "code", "ignore"]) {
            return OnTerm::default();
        }
        if field.get("ignore").is_some() {
            self.errors.mark(field, "ignore");
            for name in ["after", "code"] {
                self.errors
                    .forbidden(field, name, "may not be set beside ignore");
            }
            return OnTerm::Ignores;
        }
        OnTerm::Exits {
            after: self.errors.duration(field, "after"),
            code: self.errors.integer(field, "code", CODES, 143),
        }
    }

    fn hook(&mut self, run: &Field<'a>, name: &'static str) -> HookScript {
        let Some(field) = run.get(name) else {
            return HookScript::default();
        };
        if !self.errors.object(&field, &["after", "exitCode", "hang"]) {
            return HookScript::default();
        }
        if field.get("hang").is_some() {
            self.errors.mark(&field, "hang");
            for name in ["after", "exitCode"] {
                self.errors
                    .forbidden(&field, name, "may not be set beside hang");
            }
            return HookScript::Hangs;
        }
        HookScript::Ends {
            after: self.errors.duration(&field, "after"),
            code: self.errors.integer(&field, "exitCode", CODES, 0),
        }
    }

    fn events(&mut self, root: &Field<'a>, end: Option<Duration>) -> Vec<Event> {
        let Some(list) = root.get("events") else {
            return Vec::new();
        };
        let mut events = Vec::new();
        for field in self.errors.elements(&list) {
            if self
                .errors
                .object(&field, &["at", "pod", "delete", "condition"])
            {
                let at = self.at(&field, end);
                let pod = self.pod(&field);
                let action = self.action(&field);
                events.extend(action.map(|action| Event { at, pod, action }));
            }
        }
        events.sort_by_key(|event| event.at);
        events
    }

    fn pod(&mut self, event: &Field<'a>) -> Option<String> {
        let field = event.get("pod")?;
        let before = self.errors.found.len();
        let name = self.errors.text(event, "pod");
        if self.errors.found.len() == before && !self.pods.iter().any(|pod| pod.meta.name == name) {
            let there: Vec<&str> = self.pods.iter().map(|pod| pod.meta.name.as_str()).collect();
            let there = some_of(&there);
            self.errors
                .add(field.path, format!("Not found: {name:?}: there is {there}"));
        }
        Some(name)
    }

    fn action(&mut self, event: &Field<'a>) -> Option<Action> {
        let what = self.errors.one_of(event, &["delete", "condition"])?;
        let field = event.get(what)?;
        if what == "delete" {
            self.errors.object(&field, &["gracePeriodSeconds"]);
            let asked = field.get("gracePeriodSeconds").is_some();
            let seconds = self
                .errors
                .integer(&field, "gracePeriodSeconds", 0..=i32::MAX, 0);
            let grace = Duration::from_secs(seconds.unsigned_abs().into());
            return Some(Action::Delete {
                grace: asked.then_some(grace),
            });
        }
        if !self.errors.object(&field, &["type", "status"]) {
            return None;
        }
        self.errors.required(&field, "type");
        self.errors.required(&field, "status");
        let statuses = ["True", "False", "Unknown"];
        let status = self.errors.one_text(&field, "status", &statuses).to_owned();
        let before = self.errors.found.len();
        let kind = self.errors.text(&field, "type");
        if let Some(place) = field.get("type")
            && self.errors.found.len() == before
        {
            if kind.is_empty() {
                self.errors.add(place.path, "Required value");
            } else if ConditionKind::ALL.iter().any(|own| own.as_str() == kind) {
                let message =
                    format!("Forbidden: {kind} is the node's own, and follows from its Pod");
                self.errors.add(place.path, message);
            }
        }
        Some(Action::Condition { kind, status })
    }
}

/// Names joined by commas; of very many the first.
fn some_of(names: &[&str]) -> String {
    const MANY: usize = 10;
    let more = names.len().saturating_sub(MANY);
    let named = names[..names.len() - more].join(", ");
    match more {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
