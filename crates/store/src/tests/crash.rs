//! The death of the process in the middle of writing.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::*;

const DIR: &str = "PROBELET_STORE_CRASH_DIR";

/// Not a test by itself: the process that is killed. Writes for ever, and says which synced writes it
/// was told are done; between them derived ones, in transactions of two that belong together.
#[test]
#[ignore = "run by no_acknowledged_write_is_lost, in a process of its own"]
fn writes_until_it_is_killed() {
    let dir = PathBuf::from(std::env::var_os(DIR).expect("started by the test that kills it"));
    let store = Store::open(&dir).unwrap();
    let mut out = std::io::stdout();
    for number in 0_u64.. {
        let text = number.to_string();
        let both = store.transact(Durability::Derived, |tx| {
            tx.put_any(pod("left"), value(&text))?;
            tx.put_any(pod("right"), value(&text))
        });
        both.unwrap();
        let name = format!("synced-{}", number % 7);
        let version = put(&store, Durability::Synced, &name, &text);
        writeln!(out, "done {name} {number} {version}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn no_acknowledged_write_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut newest = Version(0);
    for round in 0..25 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "tests::crash::writes_until_it_is_killed",
                "--ignored",
                "--nocapture",
            ])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
        let lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let mut killed = false;
        // The kill falls somewhere into the writes after the last line read; lines that were written
        // before it and are read after it count as well.
        for line in lines {
            let mut words = line.split(' ').skip_while(|word| *word != "done").skip(1);
            let (Some(name), Some(number), Some(version)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            acknowledged.insert(name.to_owned(), number.parse().unwrap());
            let version: Version = version.parse().unwrap();
            assert!(version > newest, "round {round}: {version} after {newest}");
            newest = version;
            if !killed && acknowledged.values().max() >= Some(&(round * 3 % 17)) {
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        assert!(killed, "round {round}: the child ended by itself");
        let store = Store::open_read_only(dir.path()).unwrap();
        for (name, number) in &acknowledged {
            let found: u64 = text(&store.get(&pod(name)).unwrap().value).parse().unwrap();
            assert!(
                found >= *number,
                "round {round}: {name} is {found}, and {number} was acknowledged"
            );
        }
        let [left, right] = ["left", "right"].map(|name| store.get(&pod(name)).unwrap());
        assert_eq!(
            text(&left.value),
            text(&right.value),
            "round {round}: half a transaction"
        );
        assert_eq!(right.version, Version(left.version.0 + 1));
        assert!(store.version() >= newest);
    }
}
