//! `probelet kubeconfig`.

use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, bail};
use probelet_agent::kubeconfig::{self, NAME, ReadError};
use serde_json::Value;

use crate::cli::Kubeconfig;

pub(crate) fn run(options: &Kubeconfig) -> anyhow::Result<()> {
    let path = options.place.data_dir()?.kubeconfig();
    let ours = match kubeconfig::read(&path) {
        Err(ReadError::File { source, .. }) if source.kind() == ErrorKind::NotFound => bail!(
            "there is no {} yet: it is written when `probelet up` starts with this data directory",
            path.display()
        ),
        read => read?,
    };
    if !options.merge {
        println!("{}", path.display());
        return Ok(());
    }
    let own = own_path()?;
    let theirs = match kubeconfig::read(&own) {
        Err(ReadError::File { source, .. }) if source.kind() == ErrorKind::NotFound => Value::Null,
        read => read?,
    };
    let merged =
        kubeconfig::merge_into(theirs, &ours).with_context(|| own.display().to_string())?;
    if let Some(directory) = own.parent() {
        std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    kubeconfig::write(&own, &merged)?;
    println!(
        "context {NAME} is in {} now, and is the current one",
        own.display()
    );
    Ok(())
}

/// The user's own kubeconfig, as kubectl chooses the file that it writes to: client-go's `GetDefaultFilename`.
fn own_path() -> anyhow::Result<PathBuf> {
    if let Some(list) = std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) {
        let mut paths: Vec<PathBuf> = std::env::split_paths(&list)
            .filter(|path| !path.as_os_str().is_empty())
            .collect();
        let first = paths.iter().position(|path| path.exists());
        let chosen = first.or_else(|| paths.len().checked_sub(1));
        return Ok(paths.swap_remove(chosen.context("KUBECONFIG names no file")?));
    }
    let home = std::env::var_os("HOME").context("neither KUBECONFIG nor HOME is set")?;
    Ok(PathBuf::from(home).join(".kube/config"))
}
