//! Random requests against a plain model: the objects by name, and each version's whole list.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Create {
        name: u8,
        value: u8,
    },
    /// From the version read last (`fresh`), from an older one, or from none.
    Update {
        name: u8,
        value: u8,
        from: From,
    },
    Patch {
        name: u8,
        value: u8,
    },
    Delete {
        name: u8,
    },
    Page {
        limit: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum From {
    Fresh,
    Older,
    None,
}

fn step() -> impl Strategy<Value = Step> {
    let (name, value) = (0..6_u8, 0..3_u8);
    let from = prop_oneof![Just(From::Fresh), Just(From::Older), Just(From::None)];
    prop_oneof![
        3 => (name.clone(), value.clone()).prop_map(|(name, value)| Step::Create { name, value }),
        3 => (name.clone(), value.clone(), from)
            .prop_map(|(name, value, from)| Step::Update { name, value, from }),
        2 => (name.clone(), value).prop_map(|(name, value)| Step::Patch { name, value }),
        1 => name.prop_map(|name| Step::Delete { name }),
        1 => (1..4_usize).prop_map(|limit| Step::Page { limit }),
    ]
}

/// What there is, and what there was.
#[derive(Default)]
struct Model {
    now: BTreeMap<String, (u8, Version)>,
    /// The version and value before, of objects that have had one.
    older: BTreeMap<String, Version>,
    newest: Version,
}

impl Model {
    fn written(&mut self, name: &str, value: u8, version: Version) {
        if let Some((before, had)) = self.now.get(name) {
            if *before == value {
                assert_eq!(*had, version, "what changes nothing is no change");
                return;
            }
            self.older.insert(name.to_owned(), *had);
        }
        assert!(version > self.newest, "versions only grow");
        self.newest = version;
        self.now.insert(name.to_owned(), (value, version));
    }

    fn list(&self) -> Vec<(String, u8, Version)> {
        let all = self.now.iter();
        all.map(|(name, (value, version))| (name.clone(), *value, *version))
            .collect()
    }
}

fn told(listed: &Listed) -> Vec<(String, u8, Version)> {
    listed
        .objects
        .iter()
        .map(|object| {
            let value = object.value["data"]["key"].as_str().unwrap();
            assert_eq!(version_of(&object.value), object.version);
            (
                object.key.name.clone(),
                value.parse().unwrap(),
                object.version,
            )
        })
        .collect()
}

/// A list that is being read page by page.
struct Reading {
    expected: Vec<(String, u8, Version)>,
    read: Vec<(String, u8, Version)>,
    token: String,
    version: Version,
}

async fn take(registry: &Registry, model: &mut Model, reading: &mut Option<Reading>, step: Step) {
    match step {
        Step::Create { name, value } => {
            let name = format!("n{name}");
            let body = config(&name, &value.to_string());
            let answer = registry.create(&at("configmaps"), body, &by("test")).await;
            match (answer, model.now.contains_key(&name)) {
                (Ok(written), false) => model.written(&name, value, version_of(&written.value)),
                (Err(failure), true) => assert_eq!(failure.reason, "AlreadyExists"),
                (answer, there) => panic!("{answer:?} while {there}"),
            }
        }
        Step::Update { name, value, from } => {
            let name = format!("n{name}");
            let there = model.now.get(&name).map(|(_, version)| *version);
            let version = match from {
                From::Fresh => there,
                From::Older => model.older.get(&name).copied(),
                From::None => None,
            };
            let mut body = config(&name, &value.to_string());
            if let Some(version) = version {
                body["metadata"]["resourceVersion"] = json!(version.to_string());
            }
            let target = at(&format!("configmaps/{name}"));
            let answer = registry.update(&target, body, &by("test")).await;
            let stale = version.is_some_and(|version| Some(version) != there);
            match (answer, there) {
                (Err(failure), None) => assert_eq!(failure.reason, "NotFound"),
                (Err(failure), Some(_)) if stale => assert_eq!(failure.reason, "Conflict"),
                (Ok(written), Some(_)) if !stale => {
                    model.written(&name, value, version_of(&written.value));
                }
                (answer, there) => panic!("{answer:?} while at {there:?}, from {version:?}"),
            }
        }
        Step::Patch { name, value } => {
            let name = format!("n{name}");
            let value_text = value.to_string();
            let patch = json!({
                "metadata": {"labels": {"value": value_text}}, "data": {"key": value_text},
            });
            let target = at(&format!("configmaps/{name}"));
            let answer = registry
                .patch(&target, PatchType::Merge, patch, &by("test"))
                .await;
            match (answer, model.now.contains_key(&name)) {
                (Ok(written), true) => model.written(&name, value, version_of(&written.value)),
                (Err(failure), false) => assert_eq!(failure.reason, "NotFound"),
                (answer, there) => panic!("{answer:?} while {there}"),
            }
        }
        Step::Delete { name } => {
            let name = format!("n{name}");
            let target = at(&format!("configmaps/{name}"));
            let answer = registry.delete(&target, &DeleteOptions::default()).await;
            match (answer, model.now.remove(&name)) {
                (Ok(written), Some(_)) => {
                    assert!(written.deleted);
                    let version = version_of(&written.value);
                    assert!(version > model.newest);
                    model.newest = version;
                    model.older.remove(&name);
                }
                (Err(failure), None) => assert_eq!(failure.reason, "NotFound"),
                (answer, there) => panic!("{answer:?} while {there:?}"),
            }
        }
        Step::Page { limit } => {
            let token = reading.as_ref().map_or("", |reading| &reading.token);
            let options = ListOptions {
                limit,
                continue_token: token.to_owned(),
                ..ListOptions::default()
            };
            let listed = registry.list(&at("configmaps"), &options).unwrap();
            let mut now = reading.take().unwrap_or_else(|| Reading {
                expected: model.list(),
                read: Vec::new(),
                token: String::new(),
                version: listed.version,
            });
            assert_eq!(listed.version, now.version, "all pages are of one version");
            now.read.extend(told(&listed));
            let left = now.expected.len() - now.read.len();
            assert_eq!(listed.remaining.unwrap_or(0), left);
            if listed.continue_token.is_empty() {
                assert_eq!(
                    now.read, now.expected,
                    "the pages are the first page's list"
                );
            } else {
                now.token = listed.continue_token;
                *reading = Some(now);
            }
        }
    }
}

async fn agree(registry: &Registry, steps: Vec<Step>) -> Model {
    let mut model = Model {
        newest: registry.store.version(),
        ..Model::default()
    };
    let mut reading = None;
    for step in steps {
        take(registry, &mut model, &mut reading, step).await;
        let listed = registry
            .list(&at("configmaps"), &ListOptions::default())
            .unwrap();
        assert_eq!(told(&listed), model.list());
        assert_eq!(listed.version, model.newest);
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn requests_do_what_a_plain_list_of_objects_does(steps in prop::collection::vec(step(), 1..60)) {
        Runtime::new().unwrap().block_on(agree(&registry(), steps));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn acknowledged_writes_are_there_when_the_file_is_opened_again(
        steps in prop::collection::vec(step(), 1..20),
    ) {
        let (directory, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let registry = over(Store::open(directory.path()).unwrap());
        let model = Runtime::new().unwrap().block_on(agree(&registry, steps));
        // The file as it is at this moment is what a kill would leave.
        for file in std::fs::read_dir(directory.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        let again = over(Store::open(copy.path()).unwrap());
        let listed = again.list(&at("configmaps"), &ListOptions::default()).unwrap();
        prop_assert_eq!(told(&listed), model.list());
    }
}
