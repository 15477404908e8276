//! A log that grows is kept in several files, none of which is large.

use std::fs;
use std::path::PathBuf;

use probelet_runtime::Runtime;

use crate::suite::{Native, World, run};

#[test]
fn a_log_is_rotated_and_nothing_of_it_is_lost_or_left() {
    run(async {
        let mut world = World::native();
        let uid = world.pod("log-rotates", Vec::new()).await;
        // 24 MB in lines of 100 bytes: three files, two of which are full.
        let script = "i=100000; while [ $i -lt 340000 ]; do \
             echo \"$i aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"; \
             i=$((i + 1)); done";
        world.sh(&uid, "c", script).await;
        assert_eq!(world.exit("c").await.code, 0);
        let dir = world
            .path("data/logs")
            .join("default_pod-log-rotates_log-rotates/main");
        let mut files: Vec<PathBuf> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        // The current one has the shortest name and comes last.
        files.sort_by_key(|path| (path.ends_with("0.log"), path.clone()));
        assert!(files.len() >= 3, "{files:?}");
        for file in &files {
            let size = fs::metadata(file).unwrap().len();
            assert!(size < 11 << 20, "{file:?}: {size}");
        }
        let text: String = files
            .iter()
            .map(|file| fs::read_to_string(file).unwrap())
            .collect();
        let numbers = text.lines().map(|line| line.split(' ').nth(3).unwrap());
        assert!(numbers.eq((100_000..340_000).map(|number| number.to_string())));
        world.runtime.remove_pod(&uid).await.unwrap();
        assert!(!dir.exists());
    });
}
