//! `probelet image`.

mod progress;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Context, bail};
use probelet_agent::image_store;
use probelet_image::{ImageStore, Listed, Progress, Registries, RemoveError, Removed};
use serde_json::json;

use self::progress::Shown;
use crate::cli::{
    Format, Image, ImageCommand, ImageLoad, ImageLs, ImagePrune, ImagePull, ImageRm, Place,
};
use crate::status;
use crate::up::{print_line, unpack_command};
use crate::view::table;

pub(crate) async fn run(options: Image) -> anyhow::Result<()> {
    match options.command {
        ImageCommand::Pull(options) => pull(options).await,
        ImageCommand::Load(options) => load(options).await,
        ImageCommand::Ls(options) => list(&options).await,
        ImageCommand::Rm(options) => remove(&options).await,
        ImageCommand::Prune(options) => prune(&options).await,
    }
}

/// The store of a data directory.
fn open(place: &Place) -> anyhow::Result<ImageStore> {
    open_with(place, Registries::default())
}

fn open_with(place: &Place, registries: Registries) -> anyhow::Result<ImageStore> {
    let data_dir = place.data_dir()?;
    data_dir.create()?;
    image_store::open(&data_dir, unpack_command()?, registries)
        .with_context(|| data_dir.images().display().to_string())
}

async fn pull(options: ImagePull) -> anyhow::Result<()> {
    let store = open_with(&options.place, options.registries.read()?)?;
    let mut failed = 0;
    for image in &options.images {
        let (progress, shown) = progress(options.quiet);
        let pulled = store.pull_with(image, Vec::new(), progress).await;
        drop(shown);
        match pulled {
            Ok(pulled) => print_line(&format!("{image} {}", pulled.id.0)),
            Err(error) if options.images.len() == 1 => return Err(error.into()),
            Err(error) => {
                failed += 1;
                eprintln!("error: {error}");
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} not pulled", options.images.len());
    }
    Ok(())
}

async fn load(options: ImageLoad) -> anyhow::Result<()> {
    let store = open(&options.place)?;
    let name = options.name.as_deref();
    let (progress, shown) = progress(options.quiet);
    let loaded = if options.input == Path::new("-") {
        store.load_stream(std::io::stdin(), name, progress).await
    } else {
        store.load(&options.input, name, progress).await
    };
    drop(shown);
    for image in loaded.with_context(|| options.input.display().to_string())? {
        let id = &image.image.id.0;
        if image.names.is_empty() {
            print_line(&format!("<none> {id}"));
            if !options.quiet {
                eprintln!("{id} has no name there; --name gives it one");
            }
        }
        for name in image.names {
            print_line(&format!("{name} {id}"));
        }
    }
    Ok(())
}

/// What to tell, and what shows it until it is dropped.
fn progress(quiet: bool) -> (Progress, Option<Shown>) {
    if quiet {
        return (Progress::none(), None);
    }
    let shown = Shown::new(std::io::stderr().is_terminal());
    (shown.progress(), Some(shown))
}

async fn list(options: &ImageLs) -> anyhow::Result<()> {
    let images = open(&options.place)?.list().await?;
    match options.output.format {
        Some(Format::Json) => {
            let mut pods = Pods::default();
            if images.iter().any(|listed| !listed.holders.is_empty()) {
                pods = Pods::of(&options.place).await;
            }
            let images: Vec<_> = images.iter().map(|one| image_json(one, &pods)).collect();
            print_line(&serde_json::to_string_pretty(&json!({ "images": images }))?);
        }
        None => {
            let rows: Vec<Vec<String>> = images.iter().flat_map(rows).collect();
            let heads = ["REPOSITORY", "TAG", "IMAGE ID", "SIZE", "PODS"];
            for line in table::columns(&heads, &rows) {
                print_line(&line);
            }
        }
    }
    Ok(())
}

/// Namespaces and names of pods, by uid.
#[derive(Default)]
struct Pods(BTreeMap<String, (String, String)>);

impl Pods {
    /// Those of a data directory; none if nobody can tell.
    async fn of(place: &Place) -> Self {
        let fetched = async { status::fetch(&place.data_dir()?).await };
        let list = match fetched.await {
            Ok(fetched) => fetched.list,
            Err(error) => {
                tracing::debug!("pods have no names: {error:#}");
                return Self::default();
            }
        };
        let pods = list["items"].as_array().into_iter().flatten();
        let pods = pods.filter(|object| object["kind"] == "Pod").map(|pod| {
            let text = |field: &str| {
                let text = pod["metadata"][field].as_str();
                text.unwrap_or_default().to_owned()
            };
            (text("uid"), (text("namespace"), text("name")))
        });
        Self(pods.collect())
    }

    /// One that is not there any more has nothing but its uid.
    fn json(&self, uid: &str) -> serde_json::Value {
        match self.0.get(uid) {
            Some((namespace, name)) => json!({ "namespace": namespace, "name": name, "uid": uid }),
            None => json!({ "uid": uid }),
        }
    }

    fn words(&self, uid: &str) -> String {
        match self.0.get(uid) {
            Some((namespace, name)) => format!("{namespace}/{name}"),
            None => uid.to_owned(),
        }
    }
}

fn image_json(listed: &Listed, pods: &Pods) -> serde_json::Value {
    let image = &listed.image;
    let held_by: Vec<_> = listed.holders.iter().map(|uid| pods.json(uid)).collect();
    json!({
        "id": image.id.0,
        "repoTags": image.tags,
        "repoDigests": image.digests,
        "size": image.size,
        "heldBy": held_by,
    })
}

/// One row a name.
fn rows(listed: &Listed) -> Vec<Vec<String>> {
    const NONE: &str = "<none>";
    let image = &listed.image;
    let hex = image.id.0.split(':').next_back().unwrap_or_default();
    let id: String = hex.chars().take(12).collect();
    let row = |repository: &str, tag: &str| {
        vec![
            repository.to_owned(),
            tag.to_owned(),
            id.clone(),
            size(image.size),
            listed.holders.len().to_string(),
        ]
    };
    if image.tags.is_empty() {
        let digest = image.digests.first();
        let repository = digest.and_then(|digest| digest.split('@').next());
        return vec![row(repository.unwrap_or(NONE), NONE)];
    }
    let split = |tag: &String| match tag.rsplit_once(':') {
        Some((repository, tag)) => row(repository, tag),
        None => row(tag, NONE),
    };
    image.tags.iter().map(split).collect()
}

/// Bytes as docker shows them: three digits, and units of a thousand.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes}B");
    }
    let (mut whole, mut rest, mut unit) = (bytes / 1000, bytes % 1000, 0);
    while whole >= 1000 && unit + 1 < UNITS.len() {
        (whole, rest, unit) = (whole / 1000, whole % 1000, unit + 1);
    }
    let unit = UNITS[unit];
    match whole {
        0..10 => format!("{whole}.{:02}{unit}", rest / 10),
        10..100 => format!("{whole}.{}{unit}", rest / 100),
        _ => format!("{whole}{unit}"),
    }
}

async fn remove(options: &ImageRm) -> anyhow::Result<()> {
    let store = open(&options.place)?;
    let mut failed = 0;
    for image in &options.images {
        match store.remove(image).await {
            Ok(removed) => print_removed(&removed),
            Err(RemoveError::Held { id, holders }) => {
                let pods = Pods::of(&options.place).await;
                let holders = holders.iter().map(|uid| pods.words(uid)).collect();
                failed += 1;
                eprintln!("error: {}", RemoveError::Held { id, holders });
            }
            Err(error) => {
                failed += 1;
                eprintln!("error: {error}");
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} not removed", options.images.len());
    }
    Ok(())
}

async fn prune(options: &ImagePrune) -> anyhow::Result<()> {
    let removed = open(&options.place)?.prune(options.all).await?;
    print_removed(&removed);
    print_line(&format!("Total reclaimed space: {}", size(removed.freed)));
    Ok(())
}

fn print_removed(removed: &Removed) {
    for name in &removed.untagged {
        print_line(&format!("Untagged: {name}"));
    }
    for id in &removed.deleted {
        print_line(&format!("Deleted: {id}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.00kB"),
            (1_999_999, "1.99MB"),
            (12_345_678, "12.3MB"),
            (187_654_321, "187MB"),
            (u64::MAX, "18446PB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
