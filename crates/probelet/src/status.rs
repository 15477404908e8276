//! `probelet status`.

use anyhow::Context;
use probelet_agent::control::{self, AskError, Request};
use probelet_agent::data_dir::DataDir;
use probelet_agent::snapshot;
use serde_json::Value;

use crate::cli::{Format, Status};
use crate::up::print_line;
use crate::view::table;

/// What a data directory holds.
pub(crate) struct Fetched {
    /// One `v1` List.
    pub(crate) list: Value,
    /// It is what was last written down, as no agent runs.
    pub(crate) stale: bool,
}

pub(crate) async fn run(options: Status) -> anyhow::Result<()> {
    let data_dir = options.place.data_dir()?;
    let Fetched { list, stale } = fetch(&data_dir).await?;
    if stale {
        eprintln!(
            "no agent runs in {}; this is its last word",
            data_dir.path().display()
        );
    }
    match options.output.format {
        Some(Format::Json) => print_line(&serde_json::to_string_pretty(&list)?),
        None => print_table(&list),
    }
    Ok(())
}

pub(crate) async fn fetch(data_dir: &DataDir) -> anyhow::Result<Fetched> {
    let mut list = None;
    let asked = control::ask(data_dir, &Request::Status, |value| {
        list = Some(value);
        false
    });
    match (asked.await, list) {
        (Ok(()), Some(list)) => Ok(Fetched { list, stale: false }),
        (Err(AskError::NoAgent { .. }), _) => {
            anyhow::ensure!(
                data_dir.path().exists(),
                "nothing has ever run in {}",
                data_dir.path().display()
            );
            let store = probelet_agent::stored(data_dir.path())?;
            Ok(Fetched {
                list: snapshot::list(&store),
                stale: true,
            })
        }
        (Err(error), _) => Err(error.into()),
        (Ok(()), None) => Err(anyhow::anyhow!("the agent answered nothing")).context("status"),
    }
}

pub(crate) fn print_table(list: &Value) {
    for line in table::lines(list, probelet_agent::clock::now().wall) {
        print_line(&line);
    }
}
