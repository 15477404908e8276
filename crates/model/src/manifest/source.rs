//! Where manifests come from.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::diagnostic::Diagnostic;
use crate::yaml::Position;

/// Far more than anybody writes, and little enough to be held in memory.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// What a directory's manifests end in.
const EXTENSIONS: &[&str] = &["json", "yaml", "yml"];

/// A manifest, or a directory of manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, or a directory, of which the `.json`, `.yaml` and `.yml` files are read in order of their
    /// names; directories in it are not.
    Path(PathBuf),
    /// What was read from standard input.
    Stdin(String),
    /// A text that came another way.
    Text {
        /// What messages call it.
        name: String,
        /// The manifest.
        text: String,
    },
}

/// One text to be parsed.
pub(super) struct Document {
    pub(super) name: String,
    pub(super) text: String,
}

impl Source {
    /// What messages call it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Stdin(_) => "-".to_owned(),
            Self::Text { name, .. } => name.clone(),
        }
    }

    /// Its texts: one, unless it is a directory.
    pub(super) fn read(&self) -> Result<Vec<Document>, Diagnostic> {
        match self {
            Self::Path(path) if path.is_dir() => {
                read_dir(path)?.iter().map(|path| read_file(path)).collect()
            }
            Self::Path(path) => Ok(vec![read_file(path)?]),
            Self::Stdin(text) | Self::Text { text, .. } => Ok(vec![Document {
                name: self.name(),
                text: text.clone(),
            }]),
        }
    }
}

/// The manifests in a directory, by the ends of their names; directories in it are not gone into.
///
/// Upstream: cli-runtime pkg/resource/visitor.go, ExpandPathsToFileVisitors.
/// Shown by: files_and_directories_are_read.
fn read_dir(dir: &Path) -> Result<Vec<PathBuf>, Diagnostic> {
    let failed =
        |error: std::io::Error| Diagnostic::whole(&dir.display().to_string(), error.to_string());
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_manifest = path
            .extension()
            .is_some_and(|end| EXTENSIONS.iter().any(|known| end == *known));
        if is_manifest && !path.is_dir() {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        let message =
            "recognized file extensions are [.json .yaml .yml], and no file in it has one";
        return Err(Diagnostic::whole(&dir.display().to_string(), message));
    }
    paths.sort();
    Ok(paths)
}

fn read_file(path: &Path) -> Result<Document, Diagnostic> {
    let name = path.display().to_string();
    let failed = |error: std::io::Error| {
        let message = match error.kind() {
            ErrorKind::NotFound => format!("the path {name:?} does not exist"),
            _ => error.to_string(),
        };
        Diagnostic::whole(&name, message)
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|size| size > MAX_BYTES) {
        return Err(Diagnostic::whole(
            &name,
            format!("larger than {} MiB", MAX_BYTES >> 20),
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Document { name, text }),
        Err(error) => {
            let good =
                String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
            Err(Diagnostic::at(&name, end_of(&good), "not UTF-8"))
        }
    }
}

/// The place right behind `text`.
fn end_of(text: &str) -> Position {
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let (before, last) = text
        .rsplit_once('\n')
        .map_or((0, text), |(lines, last)| (lines.split('\n').count(), last));
    Position {
        line: narrow(before + 1),
        column: narrow(last.chars().count() + 1),
    }
}
