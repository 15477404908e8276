//! `probelet simulate`.

mod input;

use std::io::{self, BufWriter, ErrorKind, IsTerminal, StdoutLock, Write};
use std::process::ExitCode;

use anyhow::Context;
use probelet_model::pod::Pod;
use probelet_sim::draw;
use probelet_sim::record::{At, Record};
use probelet_sim::simulation::Simulation;
use probelet_sim::table::Table;

use self::input::Input;
use crate::cli::{Drawn, Simulate};

/// The exit code of input that is wrong.
const INVALID: u8 = 2;
/// A picture is made of no more records: they are all in memory at once, half a gigabyte of them. A day of
/// three probes a second makes 260,000.
const MOST_DRAWN: usize = 4_000_000;

pub(crate) fn run(options: &Simulate) -> ExitCode {
    let input = match input::read(options) {
        Ok(input) => input,
        Err(errors) => {
            for error in errors {
                eprintln!("error: {error}");
            }
            return ExitCode::from(INVALID);
        }
    };
    match show(options, input) {
        // Whoever read it has read enough.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
        Ok(()) => ExitCode::SUCCESS,
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let of = |error: &io::Error| error.kind() == ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().is_some_and(of);
        let json = cause.downcast_ref::<serde_json::Error>();
        io || json.is_some_and(|error| error.io_error_kind() == Some(ErrorKind::BrokenPipe))
    })
}

/// Writes the simulation as it goes, or draws it when it is over.
fn show(options: &Simulate, input: Input) -> anyhow::Result<()> {
    let Input {
        pods,
        services,
        scenario,
    } = input;
    let coloured = io::stdout().is_terminal();
    let mut table = Table::new(&pods, coloured);
    let title = title(options, &pods);
    let end = At(u64::try_from(scenario.duration.as_nanos()).unwrap_or(u64::MAX));
    let how = draw::Options {
        title,
        end: Some(end),
    };
    let simulation = Simulation::new(pods, services, &scenario, options.seed);
    match options.format {
        Drawn::Table => write(|out| {
            for record in simulation {
                table.write(&record, out)?;
            }
            Ok(())
        }),
        Drawn::Jsonl => write(|out| {
            for record in simulation {
                serde_json::to_writer(&mut *out, &record)?;
                out.write_all(b"\n")?;
            }
            Ok(())
        }),
        Drawn::Svg => {
            let text = draw::svg(&gathered(simulation, MOST_DRAWN)?, &how);
            write(|out| Ok(out.write_all(text.as_bytes())?))
        }
        Drawn::Html => {
            let text = draw::html(&gathered(simulation, MOST_DRAWN)?, &how);
            write(|out| Ok(out.write_all(text.as_bytes())?))
        }
    }
}

/// All records, where they are no more than `most`.
fn gathered(records: impl Iterator<Item = Record>, most: usize) -> anyhow::Result<Vec<Record>> {
    let records: Vec<Record> = records.take(most.saturating_add(1)).collect();
    if records.len() > most {
        anyhow::bail!(
            "more than {most} records are too many for a picture: shorten the scenario's duration, simulate fewer \
             Pods, or print the records with -o jsonl"
        );
    }
    Ok(records)
}

/// Standard output, written in large pieces.
type Out = BufWriter<StdoutLock<'static>>;

/// Writes to standard output.
fn write(tell: impl FnOnce(&mut Out) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    tell(&mut out)
        .and_then(|()| Ok(out.flush()?))
        .context("standard output")
}

/// `pod web, slow-start.yaml`.
fn title(options: &Simulate, pods: &[Pod]) -> String {
    let pods = match pods {
        [pod] => format!("pod {}", pod.meta.name),
        pods => format!("{} pods", pods.len()),
    };
    let scenario = &options.scenario;
    let name = scenario.file_name().unwrap_or(scenario.as_os_str());
    format!("{pods}, {}", name.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use probelet_sim::record::What;

    use super::*;

    #[test]
    fn what_is_too_much_for_a_picture_is_not_drawn() {
        let record = Record {
            t: Some(At(0)),
            pod: None,
            what: What::Scenario {
                message: String::new(),
            },
        };
        let many = |count| std::iter::repeat_n(record.clone(), count);
        assert_eq!(gathered(many(3), 3).unwrap().len(), 3);
        let error = gathered(many(4), 3).unwrap_err().to_string();
        assert!(error.starts_with("more than 3 records"), "{error}");
        // A simulation without an end is not waited for.
        assert!(gathered(std::iter::repeat(record.clone()), 3).is_err());
    }
}
