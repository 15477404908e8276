//! Random operations, on the store and on a plain list of all it ever was.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{Change, ChangeKind, Settings};

#[derive(Clone, Debug)]
enum Operation {
    Create {
        name: u8,
        text: u8,
    },
    /// `stale` by so many versions; `None` does not care.
    Update {
        name: u8,
        stale: Option<u64>,
        text: u8,
    },
    Delete {
        name: u8,
        stale: Option<u64>,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    let stale = || prop_oneof![Just(None), Just(Some(0)), (1_u64..3).prop_map(Some)];
    prop_oneof![
        (0..4_u8, 0..3_u8).prop_map(|(name, text)| Operation::Create { name, text }),
        (0..4_u8, stale(), 0..3_u8).prop_map(|(name, stale, text)| Operation::Update {
            name,
            stale,
            text
        }),
        (0..4_u8, stale()).prop_map(|(name, stale)| Operation::Delete { name, stale }),
    ]
}

/// Transactions, and whether the store is closed and opened again after each.
fn script() -> impl Strategy<Value = Vec<(Vec<Operation>, bool)>> {
    prop::collection::vec(
        (
            prop::collection::vec(operation(), 1..4),
            prop::bool::weighted(0.05),
        ),
        1..40,
    )
}

/// What an object is known by here: its version and its text.
type State = BTreeMap<String, (u64, String)>;

/// All states the store has been in, by version.
#[derive(Debug)]
struct Reference {
    states: Vec<(u64, State)>,
}

impl Reference {
    fn newest(&self) -> &(u64, State) {
        self.states.last().unwrap()
    }

    /// What the transaction should do: the states it adds, or that it is refused.
    fn expect(&self, operations: &[Operation]) -> Option<Vec<(u64, State)>> {
        let (mut version, mut state) = self.newest().clone();
        let mut added = Vec::new();
        for operation in operations {
            let before = state.clone();
            match operation {
                Operation::Create { name, text } => {
                    let taken = state.insert(format!("{name}"), (version + 1, format!("{text}")));
                    if taken.is_some() {
                        return None;
                    }
                }
                Operation::Update { name, stale, text } => {
                    let current = state.get_mut(&format!("{name}"))?;
                    if stale.unwrap_or(0) > 0 {
                        return None;
                    }
                    if current.1 != format!("{text}") {
                        *current = (version + 1, format!("{text}"));
                    }
                }
                Operation::Delete { name, stale } => {
                    state.remove(&format!("{name}"))?;
                    if stale.unwrap_or(0) > 0 {
                        return None;
                    }
                }
            }
            if state != before {
                version += 1;
                added.push((version, state.clone()));
            }
        }
        Some(added)
    }
}

fn run(store: &Store, operations: &[Operation]) -> Option<Version> {
    let ran = store.transact(Durability::Derived, |tx| {
        for operation in operations {
            let expected = |name: u8, stale: Option<u64>| {
                let version = tx
                    .get(&pod(&name.to_string()))
                    .map_or(9, |object| object.version.0);
                stale.map(|stale| Version(version.wrapping_sub(stale)))
            };
            match *operation {
                Operation::Create { name, text } => {
                    tx.create(pod(&name.to_string()), value(&text.to_string()))?;
                }
                Operation::Update { name, stale, text } => {
                    let expected = expected(name, stale);
                    tx.update(pod(&name.to_string()), expected, value(&text.to_string()))?;
                }
                Operation::Delete { name, stale } => {
                    let expected = expected(name, stale);
                    tx.delete(&pod(&name.to_string()), expected)?;
                }
            }
        }
        Ok::<_, WriteError>(())
    });
    ran.ok().map(|((), version)| version)
}

fn state(store: &Store) -> (u64, State) {
    let (objects, version) = store.list(Kind::Pod);
    let state = objects.into_iter().map(|object| {
        assert_eq!(
            object.value["metadata"]["resourceVersion"],
            json!(object.version.to_string())
        );
        (
            object.key.name.clone(),
            (object.version.0, text(&object.value).to_owned()),
        )
    });
    (version.0, state.collect())
}

fn apply(state: &mut State, change: &Change) {
    let entry = (change.version.0, text(&change.object).to_owned());
    let before = match change.kind {
        ChangeKind::Added | ChangeKind::Modified => state.insert(change.key.name.clone(), entry),
        ChangeKind::Deleted => state.remove(&change.key.name),
    };
    assert_eq!(
        before.is_none(),
        change.kind == ChangeKind::Added,
        "{change:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_store_is_what_a_list_of_versions_says(script in script()) {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { remembered_changes: 8, ..Settings::default() };
        let mut store = Store::open_with(dir.path(), settings).unwrap();
        let mut reference = Reference { states: vec![(0, State::new())] };
        let mut remembered_since = 0;
        for (operations, reopen) in script {
            let expected = reference.expect(&operations);
            let version = run(&store, &operations);
            prop_assert_eq!(version.is_some(), expected.is_some());
            reference.states.extend(expected.into_iter().flatten());
            if reopen {
                drop(store);
                store = Store::open_with(dir.path(), settings).unwrap();
                remembered_since = reference.newest().0;
            }
            prop_assert_eq!(&state(&store), reference.newest());
            // From each version there has been: the list of then and the events since make the list of now.
            for (from, then) in &reference.states {
                let oldest = remembered_since.max(reference.newest().0.saturating_sub(8));
                let watch = store.watch(Version(*from));
                prop_assert_eq!(watch.is_ok(), *from >= oldest);
                let Ok(mut watch) = watch else { continue };
                let mut replayed = then.clone();
                let mut last = *from;
                while let Some(change) = watch.try_next().unwrap() {
                    prop_assert_eq!(change.version.0, last + 1);
                    last = change.version.0;
                    apply(&mut replayed, &change);
                }
                prop_assert_eq!(&(last, replayed), reference.newest());
            }
        }
    }
}
