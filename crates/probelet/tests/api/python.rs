//! The official Python client.

use std::path::Path;
use std::process::Command;

use crate::node::Node;

/// The client from PyPI. Its own dependencies are whatever it asks for.
const CLIENT: &str = "kubernetes==37.0.2";

#[test]
fn a_python_program_runs_unchanged() {
    let python = environment();
    let node = Node::start();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/client.py");
    let output = Command::new(python)
        .arg(program)
        .arg(node.kubeconfig())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        node.log()
    );
    assert_eq!(output.stdout, b"as on any other cluster\n");
    node.finish();
}

/// An interpreter that has the client, made once for a build directory.
fn environment() -> std::path::PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(CLIENT.replace("==", "-"));
    let python = dir.join("bin/python");
    let has_client = || {
        let mut ask = Command::new(&python);
        ask.args(["-c", "import kubernetes.stream"]);
        ask.output().is_ok_and(|output| output.status.success())
    };
    if !has_client() {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&dir));
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", CLIENT]));
        assert!(has_client(), "{CLIENT} is not what it should be");
    }
    python
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
