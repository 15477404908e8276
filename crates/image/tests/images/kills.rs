//! Pulls in processes of their own, which are killed at any point.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use probelet_runtime::Images;

use crate::ground::{Made, Registry, Shelf, assert_is_busybox, noise, open, pause};

/// A process that pulls an image: this test program, running [`pulls_when_it_is_told`] alone.
#[derive(Debug)]
pub(crate) struct Pull {
    pub(crate) command: Command,
}

impl Pull {
    pub(crate) fn of(store: &Path, reference: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "kills::pulls_when_it_is_told", "--nocapture"])
            .env("PROBELET_TEST_STORE", store)
            .env("PROBELET_TEST_PULL", reference)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Self { command }
    }

    pub(crate) fn start(mut self) -> Child {
        self.command.spawn().unwrap()
    }

    pub(crate) fn said(mut self) -> String {
        let output = self.command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

#[tokio::test]
async fn pulls_when_it_is_told() {
    let Some(reference) = std::env::var_os("PROBELET_TEST_PULL") else {
        println!("nobody told it to");
        return;
    };
    let store = open(Path::new(&std::env::var_os("PROBELET_TEST_STORE").unwrap()));
    match store.pull(reference.to_str().unwrap(), Vec::new()).await {
        Ok(image) => println!("pulled: {}", image.id.0),
        Err(error) => println!("failed: {error}"),
    }
}

/// Whatever is there after a kill is whole, and the next pull gets along with it.
#[tokio::test]
async fn a_pull_may_be_killed_at_any_point() {
    const ROUNDS: u32 = 8;
    let registry = Registry::open();
    let made = Made::busybox();
    registry.push(&made, "app:v1").await;
    let reference = registry.reference("app:v1");
    let shelf = Shelf::new();
    // How long one takes.
    let begin = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let said = Pull::of(shelf.dir.path(), &reference).said();
    assert!(said.contains("pulled: "), "{said}");
    let end = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let took = Duration::from_secs((end.tv_sec - begin.tv_sec).unsigned_abs() + 1);
    shelf.store.prune(true).await.unwrap();
    shelf.assert_empty();
    let mut killed = 0;
    for (round, byte) in (0..ROUNDS).zip(noise(11, 100)) {
        let mut pull = Pull::of(shelf.dir.path(), &reference).start();
        pause(took * u32::from(byte) / 256);
        killed += u32::from(pull.try_wait().unwrap().is_none());
        pull.kill().unwrap();
        pull.wait().unwrap();
        for image in shelf.store.images().await.unwrap() {
            assert_is_busybox(&image);
        }
        // Every other time somebody cleans up in between, perhaps while the unpacking process still ends.
        if round % 2 == 0 {
            shelf.store.prune(false).await.unwrap();
        }
        let image = shelf.store.pull(&reference, Vec::new()).await.unwrap();
        assert_is_busybox(&image);
        shelf.store.prune(true).await.unwrap();
        shelf.assert_empty();
    }
    println!("{killed} of {ROUNDS} were killed before they were done");
}
