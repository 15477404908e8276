//! Real kubectl against a live node: what it is told, and what it prints.
//!
//! Each file of `transcripts/` is a conversation with a node of its own, read from top to bottom by
//! `transcript`: a command after `$`, its exit code if that is not 0, the lines it prints, and after `>` what a
//! real API server would have it print, where that is something else.

use std::path::{Path, PathBuf};

use crate::node::Node;
use crate::transcript::Transcript;

/// How many commands the issue of this table was to have.
const AT_LEAST: usize = 90;

fn transcripts() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/transcripts");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn run(name: &str) {
    let path = transcripts()
        .into_iter()
        .find(|path| path.file_stem().is_some_and(|stem| stem == name))
        .unwrap();
    let transcript = Transcript::read(&path);
    let node = Node::start();
    transcript.play(&node);
    node.finish();
}

macro_rules! conversations {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*

        #[test]
        fn every_transcript_is_played_and_they_are_enough() {
            let paths = transcripts();
            let names: Vec<_> = paths.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
            let mut played = [$(stringify!($name)),*];
            played.sort_unstable();
            assert_eq!(names, played);
            let commands: usize = paths.iter().map(|path| Transcript::read(path).commands()).sum();
            assert!(commands >= AT_LEAST, "{commands} commands");
        }
    };
}

conversations! {
    access
    apply
    configuration
    delete
    deployments
    describe
    discovery
    get
    node_and_namespaces
    patches
    services
    streams
    top
    wrong
}
