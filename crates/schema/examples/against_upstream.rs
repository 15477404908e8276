//! Reads every protobuf body of Kubernetes' own round-trip test data that is of a kind known here, and compares
//! it with the JSON beside it: every field of every kind once. To be run when the tables were made anew.
//!
//! ```text
//! cargo run -p probelet-schema --example against_upstream -- <k8s.io/api>/testdata/HEAD
//! ```

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use probelet_schema::protobuf::{DecodeError, decode};
use serde_json::{Map, Value};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args_os().nth(1);
    let directory = PathBuf::from(directory.ok_or("usage: against_upstream <directory>")?);
    let (mut read, mut differences) = (0, Vec::new());
    for entry in fs::read_dir(&directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "pb") {
            continue;
        }
        let expected: Value = serde_json::from_slice(&fs::read(path.with_extension("json"))?)?;
        let kind = expected["kind"].as_str().unwrap_or("?").to_owned();
        match decode(&fs::read(&path)?) {
            Ok(object) => {
                read += 1;
                compare(&kind, &object, &expected, &mut differences);
            }
            Err(DecodeError::UnknownKind { .. }) => {}
            Err(error) => differences.push(format!("{}: {error}", path.display())),
        }
    }
    if read == 0 || !differences.is_empty() {
        return Err(format!("{read} bodies read\n{}", differences.join("\n")).into());
    }
    #[expect(clippy::print_stdout, reason = "printing is what it is for")]
    {
        println!("{read} bodies read, all as their JSON");
    }
    Ok(())
}

fn compare(path: &str, read: &Value, expected: &Value, differences: &mut Vec<String>) {
    match (read, expected) {
        (Value::Object(read), Value::Object(expected)) => {
            for name in read.keys().chain(expected.keys()) {
                let of = |map: &Map<String, Value>| map.get(name).cloned().unwrap_or_default();
                compare(
                    &format!("{path}.{name}"),
                    &of(read),
                    &of(expected),
                    differences,
                );
            }
        }
        (Value::Array(read), Value::Array(expected)) if read.len() == expected.len() => {
            for (place, (read, expected)) in read.iter().zip(expected).enumerate() {
                compare(&format!("{path}[{place}]"), read, expected, differences);
            }
        }
        _ if read == expected => {}
        _ => differences.push(format!("{path}: {read}, but upstream {expected}")),
    }
}
