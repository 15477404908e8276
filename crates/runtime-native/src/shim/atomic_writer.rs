//! The files of a volume, all of which change at one moment for whoever reads them.
//!
//! ```text
//! <volume>/..2026_11_28_10_00_00.000000001/   the files themselves
//!          ..data                             -> ..2026_11_28_10_00_00.000000001
//!          <first name of a path>             -> ..data/<first name>
//! ```
//!
//! Upstream: pkg/volume/util/atomic_writer.go, Write.
//! Differs: the directory that has been replaced is the caller's to remove, so that who has just followed
//! `..data` there still finds the file; upstream removes it at once.
//! Shown by: files_are_laid_out_as_upstream, an_update_replaces_everything_or_nothing,
//! an_update_is_seen_at_one_moment.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use probelet_model::time::Wall;
use probelet_runtime::{VolumeFile, VolumeFiles};

use super::ownership;
use crate::{layout, text};

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";
/// Longest file name, in bytes.
const MAX_NAME: usize = 255;
/// Longest path, in bytes.
const MAX_PATH: usize = 4096;

/// Why a volume's files could not be written; what was there before is there still.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("invalid path: {0}")]
    Path(String),
    #[error("write files: {}", text::of_io(.0))]
    Files(#[from] io::Error),
}

/// Makes `files` the content of the volume at `place`, an existing directory. Does nothing if it is that
/// already. Answers with the directory that has been replaced, if there was one. With `group`, the volume
/// belongs to it.
pub(super) fn write(
    place: &Path,
    files: &VolumeFiles,
    now: Wall,
    group: Option<u32>,
) -> Result<Option<PathBuf>, WriteError> {
    let files = by_path(files)?;
    let old = match fs::read_link(place.join(DATA)) {
        Ok(name) => Some(place.join(name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let old_paths = old
        .as_deref()
        .map(paths_in)
        .transpose()?
        .unwrap_or_default();
    if let Some(old) = &old
        && holds(old, &old_paths, &files)?
    {
        return Ok(None);
    }
    let new = make_stamped(place, now)?;
    let swapped = write_all(&new, &files)
        .and_then(|()| group.map_or(Ok(()), |gid| ownership::give(place, gid, true)))
        .and_then(|()| swap(place, &new));
    if let Err(error) = swapped {
        let _half_written = layout::remove_tree(&new);
        return Err(error.into());
    }
    show(place, &old_paths, &files)?;
    Ok(old)
}

/// Removes directories that a writer before this one has replaced and not come to remove.
pub(super) fn remove_replaced(place: &Path) -> io::Result<()> {
    let current = fs::read_link(place.join(DATA)).unwrap_or_default();
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        let is_stamped = entry.file_type()?.is_dir() && starts_with_dots(&entry.file_name());
        if is_stamped && entry.file_name() != current.as_os_str() {
            layout::remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

type ByPath<'a> = BTreeMap<PathBuf, &'a VolumeFile>;

/// The files by their path in its simplest form; of two at one path, the later.
fn by_path(files: &VolumeFiles) -> Result<ByPath<'_>, WriteError> {
    files
        .files
        .iter()
        .map(|file| Ok((checked(&file.path)?, file)))
        .collect()
}

/// A path that leads nowhere but below the volume.
///
/// Upstream: the same file, validatePath (its words too).
/// Shown by: paths_that_lead_elsewhere_are_refused.
fn checked(path: &str) -> Result<PathBuf, WriteError> {
    let invalid = |why: String| Err(WriteError::Path(why));
    if path.is_empty() {
        return invalid("must not be empty: \"\"".into());
    }
    if path.starts_with('/') {
        return invalid(format!("must be relative path: {path}"));
    }
    if path.len() > MAX_PATH {
        return invalid(format!(
            "must be less than or equal to {MAX_PATH} characters"
        ));
    }
    let simple: PathBuf = Path::new(path)
        .components()
        .filter(|component| *component != Component::CurDir)
        .collect();
    if simple.components().any(|part| part == Component::ParentDir) {
        return invalid(format!("must not contain '..': {path}"));
    }
    if simple.iter().any(|name| name.len() > MAX_NAME) {
        return invalid(format!(
            "filenames must be less than or equal to {MAX_NAME} characters"
        ));
    }
    match simple.iter().next() {
        Some(first) if starts_with_dots(first) => {
            invalid(format!("must not start with '..': {path}"))
        }
        Some(_) => Ok(simple),
        None => invalid(format!("must not be empty: {path}")),
    }
}

fn starts_with_dots(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"..")
}

/// Every file below a directory, relative to it.
fn paths_in(dir: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(below) = pending.pop() {
        for entry in fs::read_dir(dir.join(&below))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                pending.push(path);
            } else {
                found.insert(path);
            }
        }
    }
    Ok(found)
}

/// Whether a directory holds these files and no other. Modes do not count, as upstream.
fn holds(dir: &Path, paths: &BTreeSet<PathBuf>, files: &ByPath<'_>) -> io::Result<bool> {
    if !paths.iter().eq(files.keys()) {
        return Ok(false);
    }
    for (path, file) in files {
        if fs::read(dir.join(path))? != file.content {
            return Ok(false);
        }
    }
    Ok(true)
}

fn make_stamped(place: &Path, now: Wall) -> io::Result<PathBuf> {
    let mut nanos = now.0;
    loop {
        let stamp = Wall(nanos).nanos_rfc3339();
        let stamp = stamp.trim_end_matches('Z').replace(['-', ':', 'T'], "_");
        let dir = place.join(format!("..{stamp}"));
        match DirBuilder::new().mode(0o755).create(&dir) {
            Ok(()) => {
                // Whatever the umask.
                fs::set_permissions(&dir, Permissions::from_mode(0o755))?;
                return Ok(dir);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => nanos += 1,
            Err(error) => return Err(error),
        }
    }
}

fn write_all(dir: &Path, files: &ByPath<'_>) -> io::Result<()> {
    for (path, VolumeFile { mode, content, .. }) in files {
        let path = dir.join(path);
        if let Some(parent) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o777)
                .create(parent)?;
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(content)?;
        file.set_permissions(Permissions::from_mode(mode & 0o7777))?;
    }
    Ok(())
}

/// The moment.
fn swap(place: &Path, new: &Path) -> io::Result<()> {
    let next = place.join(NEW_DATA);
    // A writer before this one may have been killed between the two calls below.
    let _none = fs::remove_file(&next);
    symlink(new.file_name().unwrap_or_default(), &next)?;
    fs::rename(next, place.join(DATA))
}

/// Adds links for the names that are new, and removes those that lead nowhere any more.
fn show(place: &Path, old: &BTreeSet<PathBuf>, new: &ByPath<'_>) -> io::Result<()> {
    let shown = first_names(new.keys());
    for name in &shown {
        match symlink(Path::new(DATA).join(name), place.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            linked => linked?,
        }
    }
    for gone in first_names(old.iter()).difference(&shown) {
        fs::remove_file(place.join(gone))?;
    }
    Ok(())
}

fn first_names<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> BTreeSet<OsString> {
    paths
        .filter_map(|path| Some(path.iter().next()?.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-28T10:00:00.000000005Z
    const NOW: Wall = Wall(1_795_860_000_000_000_005);

    fn files(content: &[(&str, u32, &str)]) -> VolumeFiles {
        let files = content.iter().map(|(path, mode, text)| VolumeFile {
            path: (*path).into(),
            mode: *mode,
            content: text.as_bytes().into(),
        });
        VolumeFiles {
            files: files.collect(),
        }
    }

    /// Every entry, as `ls` would show it.
    fn list(dir: &Path) -> Vec<String> {
        let mut lines: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                match fs::read_link(entry.path()) {
                    Ok(target) => format!("{name} -> {}", target.display()),
                    Err(_) => name,
                }
            })
            .collect();
        lines.sort();
        lines
    }

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn files_are_laid_out_as_upstream() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path();
        let content = files(&[
            ("key", 0o400, "one"),
            ("user/./labels", 0o644, "two"),
            ("user//deep/x", 0o4755, "three"),
            ("key", 0o640, "later wins"),
        ]);
        assert_eq!(write(place, &content, NOW, None).unwrap(), None);
        let stamped = "..2026_11_28_10_00_00.000000005";
        assert_eq!(
            list(place),
            [
                stamped.to_owned(),
                format!("..data -> {stamped}"),
                "key -> ..data/key".into(),
                "user -> ..data/user".into(),
            ]
        );
        assert_eq!(fs::read_to_string(place.join("key")).unwrap(), "later wins");
        assert_eq!(
            fs::read_to_string(place.join("user/labels")).unwrap(),
            "two"
        );
        assert_eq!(mode_of(&place.join("key")), 0o640);
        assert_eq!(mode_of(&place.join("user/deep/x")), 0o4755);
        assert_eq!(mode_of(&place.join("user/deep")), 0o755);
        assert_eq!(mode_of(&place.join(stamped)), 0o755);
    }

    #[test]
    fn an_update_replaces_everything_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path();
        let one = files(&[("a", 0o644, "1"), ("gone/x", 0o644, "1"), ("b", 0o644, "")]);
        write(place, &one, NOW, None).unwrap();
        let before = list(place);
        assert_eq!(write(place, &one, Wall(NOW.0 + 9), None).unwrap(), None);
        assert_eq!(list(place), before, "nothing has changed");

        let unwritable = files(&[("a", 0o644, "2"), ("a/b", 0o644, "2")]);
        write(place, &unwritable, Wall(NOW.0 + 9), None).unwrap_err();
        assert_eq!(list(place), before, "nothing is left of what failed");

        let two = files(&[("a", 0o644, "2"), ("new", 0o644, "2"), ("b", 0o644, "")]);
        let old = write(place, &two, NOW, None).unwrap().unwrap();
        assert_eq!(old, place.join("..2026_11_28_10_00_00.000000005"));
        assert_eq!(fs::read_to_string(old.join("a")).unwrap(), "1");
        remove_replaced(place).unwrap();
        let stamped = "..2026_11_28_10_00_00.000000006";
        assert_eq!(
            list(place),
            [
                stamped.to_owned(),
                format!("..data -> {stamped}"),
                "a -> ..data/a".into(),
                "b -> ..data/b".into(),
                "new -> ..data/new".into(),
            ]
        );
        assert_eq!(fs::read_to_string(place.join("a")).unwrap(), "2");

        write(place, &VolumeFiles::default(), NOW, None).unwrap();
        remove_replaced(place).unwrap();
        assert_eq!(list(place).len(), 2, "all keys have gone");
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        let long = "x".repeat(256);
        let deep = "x/".repeat(2049);
        for (path, why) in [
            ("", "must not be empty: \"\""),
            (".", "must not be empty: ."),
            ("/etc/passwd", "must be relative path: /etc/passwd"),
            ("a/../b", "must not contain '..': a/../b"),
            ("..", "must not contain '..': .."),
            ("..data", "must not start with '..': ..data"),
            ("./..data/x", "must not start with '..': ./..data/x"),
            (
                &long,
                "filenames must be less than or equal to 255 characters",
            ),
            (&deep, "must be less than or equal to 4096 characters"),
        ] {
            let error = checked(path).unwrap_err().to_string();
            assert_eq!(error, format!("invalid path: {why}"));
        }
        for path in ["a", "a..b", ".hidden", "a/..b"] {
            assert_eq!(checked(path).unwrap(), Path::new(path));
        }
    }
}
