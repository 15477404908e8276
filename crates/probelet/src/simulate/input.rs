//! What `probelet simulate` is given: manifests, of which it makes Pods, and a scenario.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
use probelet_model::manifest::survey::{Owner, Subject, Survey, survey};
use probelet_model::manifest::{Diagnostics, Object, Origin, Source};
use probelet_model::pod::Pod;
use probelet_model::service::Service;
use probelet_sim::scenario::Scenario;
use probelet_sim::simulation::replicas;

use crate::cli::{MOST_PODS, Simulate};

/// A scenario is written by hand; this is a few hundred times what that makes.
const MAX_SCENARIO_BYTES: u64 = 4 << 20;

/// What is simulated.
pub(super) struct Input {
    pub(super) pods: Vec<Pod>,
    pub(super) services: Vec<Service>,
    pub(super) scenario: Scenario,
}

/// Everything that is wrong with any of the input, or none of it.
pub(super) fn read(options: &Simulate) -> Result<Input, Vec<String>> {
    let lines =
        |errors: Diagnostics| -> Vec<String> { errors.0.iter().map(ToString::to_string).collect() };
    let stdin = Path::new("-");
    if options.filename == stdin && options.scenario == stdin {
        return Err(vec!["only one of the two can be standard input".to_owned()]);
    }
    let chain = |error: anyhow::Error| vec![format!("{error:#}")];
    let source = if options.filename == stdin {
        Source::Stdin(text(stdin).map_err(chain)?)
    } else {
        Source::Path(options.filename.clone())
    };
    let manifests = Manifests::of(survey(&[source]))?;
    let pods = manifests.pods(options)?;
    let written = text(&options.scenario).map_err(chain)?;
    let name = options.scenario.display().to_string();
    let scenario = Scenario::read(&name, &written, &pods).map_err(lines)?;
    Ok(Input {
        pods,
        services: manifests.services,
        scenario,
    })
}

/// What the manifests hold.
struct Manifests {
    groups: Vec<Group>,
    services: Vec<Service>,
}

/// A Pod, or the Pods of one template.
struct Group {
    owner: Owner,
    origin: Origin,
    pod: Pod,
    count: u32,
}

impl Manifests {
    /// Errors: what an API server would refuse, and an object that is there twice. What only `probelet up` does
    /// not carry out is no hindrance, as nothing is run; that the simulation knows nothing of it is said.
    fn of(survey: Survey) -> Result<Self, Vec<String>> {
        if !survey.errors.is_empty() {
            return Err(survey.errors.iter().map(ToString::to_string).collect());
        }
        let (mut groups, mut services) = (Vec::new(), Vec::new());
        let (mut seen, mut twice) = (BTreeSet::new(), Vec::new());
        for subject in survey.subjects {
            let Subject { owner, origin, .. } = &subject;
            // One that ends so is a generateName, of which there may be many.
            if !owner.name.ends_with('-') && !seen.insert(owner.clone()) {
                twice.push(format!("{origin}: {owner} is there twice"));
            }
            let left_out = subject.not_carried_out.iter();
            let left_out: Vec<String> = left_out.map(|error| error.path.to_string()).collect();
            if !left_out.is_empty() {
                let fields = left_out.join(", ");
                eprintln!("note: {origin}: not simulated: {fields}");
            }
            match subject.object {
                Object::Pod(pod) => groups.push(Group {
                    owner: subject.owner,
                    origin: subject.origin,
                    pod: *pod,
                    count: subject.replicas.unwrap_or(1),
                }),
                Object::Service(service) => services.push(service),
                Object::Other => {}
            }
        }
        if twice.is_empty() {
            Ok(Self { groups, services })
        } else {
            Err(twice)
        }
    }

    /// The Pods that are to be simulated, no two of one name.
    fn pods(&self, options: &Simulate) -> Result<Vec<Pod>, Vec<String>> {
        let name = options.filename.display();
        let wrong = |what: String| Err(vec![format!("{name}: {what}")]);
        let asked = match (self.groups.len(), options.replicas) {
            (0, _) => return wrong("no Pod in it".to_owned()),
            (1, asked) => asked,
            (_, None) => None,
            (count, Some(_)) => {
                return wrong(format!(
                    "{count} Pods in it, and --replicas needs exactly one"
                ));
            }
        };
        let counts = self.groups.iter().map(|group| u64::from(group.count));
        let all: u64 = asked.map_or_else(|| counts.sum(), u64::from);
        match all {
            0 => return wrong("it asks for 0 Pods; --replicas says another number".to_owned()),
            all if all > u64::from(MOST_PODS) => {
                return wrong(format!(
                    "it asks for {all} Pods, more than {MOST_PODS}; --replicas says another number"
                ));
            }
            _ => {}
        }
        let mut taken = BTreeSet::new();
        let mut pods = Vec::new();
        for group in &self.groups {
            if asked.is_none() && group.count == 0 {
                let Group { owner, origin, .. } = group;
                eprintln!("note: {origin}: not simulated: {owner}, which asks for 0 Pods");
            }
            let named = group.pods(asked, &taken);
            taken.extend(named.iter().map(|pod| pod.meta.name.clone()));
            pods.extend(named);
        }
        Ok(pods)
    }
}

impl Group {
    /// Its Pods, by names that are not taken: the owner's name, where need be with its kind, its namespace, or a
    /// number behind it.
    fn pods(&self, asked: Option<u32>, taken: &BTreeSet<String>) -> Vec<Pod> {
        let Owner {
            kind,
            namespace,
            name,
        } = &self.owner;
        let base = name.trim_end_matches('-');
        let kind = kind.to_lowercase();
        let usual = [
            base.to_owned(),
            format!("{base}-{kind}"),
            format!("{base}-{kind}-{namespace}"),
        ];
        let numbered = (2_u32..).map(|number| format!("{base}-{number}"));
        let attempts = usual.into_iter().chain(numbered);
        let mut free = attempts.map(|name| self.named(name, asked)).filter(|pods| {
            let mut names = pods.iter().map(|pod| &pod.meta.name);
            names.all(|name| !taken.contains(name))
        });
        free.next().unwrap_or_default()
    }

    /// Its Pods, by a name: those of a template, and those that were asked for, with their indices behind it.
    fn named(&self, name: String, asked: Option<u32>) -> Vec<Pod> {
        let mut pod = self.pod.clone();
        pod.meta.name = name;
        match asked {
            Some(count) => replicas(&pod, count),
            None if self.owner.kind == "Pod" => vec![pod],
            None => replicas(&pod, self.count),
        }
    }
}

/// All of a file, or of standard input.
fn text(path: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        let mut stdin = io::stdin().lock().take(MAX_SCENARIO_BYTES);
        stdin.read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(MAX_SCENARIO_BYTES).read_to_end(&mut bytes))
    };
    let size = read.with_context(|| path.display().to_string())?;
    if u64::try_from(size).is_ok_and(|size| size == MAX_SCENARIO_BYTES) {
        anyhow::bail!("{}: 4 MiB or more", path.display());
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        anyhow::anyhow!("{}:{line}: not UTF-8", path.display())
    })
}
