//! The scenarios of examples/scenarios: each does what its comment says, is mended by what its comment says, and
//! looks as its picture in docs/scenarios.
//!
//! `UPDATE=1 cargo test -p probelet-sim --test examples` draws the pictures and writes the figures anew.

#![cfg(test)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use probelet_model::manifest::{self, Options, Source};
use probelet_model::pod::Pod;
use probelet_sim::draw;
use probelet_sim::record::{At, Record, What};
use probelet_sim::scenario::Scenario;
use probelet_sim::simulation::{self, Simulation};

/// What a scenario's comment promises.
struct Promise {
    name: &'static str,
    replicas: u32,
    told: Figures,
    mended: Option<Mended>,
}

/// What a comment says to change in the pod, and what comes of it.
struct Mended {
    from: &'static str,
    to: &'static str,
    told: Figures,
}

/// Of the summaries, over all pods.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Figures {
    ready_after: Option<f64>,
    unready_seconds: f64,
    restarts: u32,
    /// How the run ended of which the last word is.
    exit_code: i32,
}

const PROMISES: &[Promise] = &[
    promise("slow-start", told(None, 0.0, 7).with_exit(143)),
    promise("slow-start-mended", told(Some(40.0), 0.0, 0)),
    promise("dependency-outage", told(Some(20.0), 67.0, 2)).mended(
        "{path: /ready, port: http} # mend: /alive",
        "{path: /alive, port: http}",
        told(Some(20.0), 55.0, 0),
    ),
    promise("flapping", told(Some(4.0), 30.0, 0)).mended(
        "failureThreshold: 1",
        "failureThreshold: 3",
        told(Some(4.0), 16.0, 0),
    ),
    promise("flapping-damped", told(Some(4.0), 16.0, 0)),
    promise(
        "thundering-restart",
        told(Some(10.0), 375.0, 10).with_exit(143),
    )
    .with_replicas(5)
    .mended(
        "{path: /ready, port: http} # mend: /alive",
        "{path: /alive, port: http}",
        told(Some(10.0), 175.0, 0),
    ),
    promise(
        "prestop-longer-than-grace",
        told(Some(5.0), 0.0, 0).with_exit(137),
    )
    .mended(
        "terminationGracePeriodSeconds: 30",
        "terminationGracePeriodSeconds: 60",
        told(Some(5.0), 0.0, 0),
    ),
    promise("exec-timeout", told(Some(5.0), 20.0, 1)).mended(
        "timeoutSeconds: 1",
        "timeoutSeconds: 5",
        told(Some(5.0), 0.0, 0),
    ),
    promise("crash-loop", told(Some(2.0), 322.0, 6).with_exit(1)),
    promise("drain", told(Some(4.0), 13.0, 0)),
    promise("agent-restart", told(Some(5.0), 5.0, 1).with_exit(143)),
    promise("sidecar", told(Some(17.0), 3.0, 0)),
    promise("missing-port", told(None, 0.0, 0)),
];

const fn promise(name: &'static str, told: Figures) -> Promise {
    Promise {
        name,
        replicas: 1,
        told,
        mended: None,
    }
}

const fn told(ready_after: Option<f64>, unready_seconds: f64, restarts: u32) -> Figures {
    Figures {
        ready_after,
        unready_seconds,
        restarts,
        exit_code: 0,
    }
}

impl Figures {
    const fn with_exit(self, exit_code: i32) -> Self {
        Self { exit_code, ..self }
    }
}

impl Promise {
    const fn with_replicas(self, replicas: u32) -> Self {
        Self { replicas, ..self }
    }

    const fn mended(self, from: &'static str, to: &'static str, told: Figures) -> Self {
        let mended = Some(Mended { from, to, told });
        Self { mended, ..self }
    }

    /// The records of the scenario, and its end; with a change to the pod's text.
    fn simulate(&self, change: Option<(&str, &str)>) -> (Vec<Record>, At) {
        let name = self.name;
        let directory = root().join("examples/scenarios").join(name);
        let read = |file| fs::read_to_string(directory.join(file)).unwrap();
        let mut text = read("pod.yaml");
        if let Some((from, to)) = change {
            assert!(text.contains(from), "{name}: {from}");
            text = text.replace(from, to);
        }
        let source = Source::Text {
            name: format!("{name}/pod.yaml"),
            text,
        };
        let loaded = manifest::load(&[source], &Options::default())
            .unwrap_or_else(|errors| panic!("{errors}"));
        assert!(loaded.warnings.is_empty(), "{name}: {:?}", loaded.warnings);
        let [object] = loaded.objects.as_slice() else {
            panic!("{name}: one object a manifest");
        };
        let manifest::Object::Pod(pod) = &object.object else {
            panic!("{name}: the object is a pod");
        };
        let pods: Vec<Pod> = if self.replicas > 1 {
            simulation::replicas(pod, self.replicas)
        } else {
            vec![Pod::clone(pod)]
        };
        let source = format!("{name}/scenario.yaml");
        let scenario = Scenario::read(&source, &read("scenario.yaml"), &pods)
            .unwrap_or_else(|errors| panic!("{errors}"));
        let end = At(u64::try_from(scenario.duration.as_nanos()).unwrap());
        let records = Simulation::new(pods, Vec::new(), &scenario, None).collect();
        (records, end)
    }

    fn picture(&self) -> String {
        let (records, end) = self.simulate(None);
        let options = draw::Options {
            title: self.name.to_owned(),
            end: Some(end),
        };
        let picture = draw::svg(&records, &options);
        assert!(
            picture.len() < 300_000,
            "{}: {} bytes",
            self.name,
            picture.len()
        );
        picture
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sum(records: &[Record]) -> Figures {
    let mut sum = told(None, 0.0, 0);
    for record in records {
        match &record.what {
            What::Summary {
                time_to_ready,
                unready_seconds,
                restarts,
                ..
            } => {
                sum.ready_after = sum.ready_after.or(*time_to_ready);
                sum.unready_seconds += unready_seconds;
                sum.restarts += restarts;
            }
            What::Container { exit_code, .. } => sum.exit_code = *exit_code,
            _ => {}
        }
    }
    sum
}

#[test]
fn each_does_what_its_comment_says() {
    let mut wrong = Vec::new();
    for promise in PROMISES {
        let mut check = |told, change, word| {
            let found = sum(&promise.simulate(change).0);
            if found != told {
                wrong.push(format!("{}{word}: {found:?}", promise.name));
            }
        };
        check(promise.told, None, "");
        if let Some(mended) = &promise.mended {
            check(mended.told, Some((mended.from, mended.to)), " mended");
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn each_example_is_promised_something() {
    let directory = fs::read_dir(root().join("examples/scenarios")).unwrap();
    let there: BTreeSet<String> = directory
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let promised = PROMISES.iter().map(|promise| promise.name.to_owned());
    assert_eq!(there, promised.collect());
}

#[test]
fn pictures_and_their_figures_are_up_to_date() {
    let directory = root().join("docs/scenarios");
    let mut readme = fs::read_to_string(directory.join("README.md")).unwrap();
    for promise in PROMISES {
        let (name, picture) = (promise.name, promise.picture());
        readme = with_figures(&readme, name, &figures_of(&picture));
        up_to_date(&directory.join(format!("{name}.svg")), &picture);
    }
    up_to_date(&directory.join("README.md"), &readme);
}

/// The line of figures in a picture.
fn figures_of(picture: &str) -> String {
    let (_, rest) = picture.split_once("<desc>").unwrap();
    rest.split("</desc>").next().unwrap().to_owned()
}

/// The index with other figures below a scenario's picture.
fn with_figures(readme: &str, name: &str, figures: &str) -> String {
    let picture = format!("]({name}.svg)\n\n> ");
    let (before, rest) = readme
        .split_once(&picture)
        .unwrap_or_else(|| panic!("README.md has no {name}.svg with its figures below it"));
    assert!(before.contains(&format!("\n## {name}\n")), "{name}");
    let (_, after) = rest.split_once('\n').unwrap();
    format!("{before}{picture}{figures}\n{after}")
}

fn up_to_date(path: &Path, text: &str) {
    if env::var_os("UPDATE").is_some() {
        return fs::write(path, text).unwrap();
    }
    let stored = fs::read_to_string(path).unwrap_or_default();
    let path = path.file_name().unwrap();
    assert!(
        stored == text,
        "{path:?} is not what is drawn now; UPDATE=1 writes it"
    );
}
