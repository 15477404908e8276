//! `probelet check`.

use std::collections::BTreeSet;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use probelet_check::lint::LINTS;
use probelet_check::text::Look;
use probelet_check::{Report, Severity, json, sarif, text};
use probelet_model::manifest::Source;
use probelet_model::manifest::survey::survey;
use serde_json::{Value, json};

use crate::cli::{Check, CheckFormat, FailOn};

/// Something that `--fail-on` asks for was found.
const FOUND: u8 = 1;
/// A manifest is invalid or could not be read.
const INVALID: u8 = 2;

pub(crate) fn run(options: &Check) -> ExitCode {
    carry_out(options).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(INVALID)
    })
}

fn carry_out(options: &Check) -> anyhow::Result<ExitCode> {
    if options.list {
        print(&list(options.format))?;
        return Ok(ExitCode::SUCCESS);
    }
    let survey = survey(&sources(&options.filenames)?);
    let ignored: BTreeSet<&str> = options.ignore.iter().copied().collect();
    let report = probelet_check::check(&survey, &ignored);
    print(&match options.format {
        None => text::write(&report, look()),
        Some(CheckFormat::Json) => pretty(&json::value(&report)),
        Some(CheckFormat::Sarif) => pretty(&sarif::value(&report, env!("CARGO_PKG_VERSION"))),
    })?;
    Ok(verdict(&report, options.fail_on))
}

fn verdict(report: &Report, fail_on: FailOn) -> ExitCode {
    let least = match fail_on {
        FailOn::Error => Some(Severity::Error),
        FailOn::Warning => Some(Severity::Warning),
        FailOn::Info => Some(Severity::Info),
        FailOn::Never => None,
    };
    if !report.invalid.is_empty() {
        ExitCode::from(INVALID)
    } else if least.is_some_and(|least| report.has(least)) {
        ExitCode::from(FOUND)
    } else {
        ExitCode::SUCCESS
    }
}

/// Standard input is read once, however often it is named.
fn sources(filenames: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut is_read = false;
    for name in filenames {
        if name.as_os_str() != "-" {
            sources.push(Source::Path(name.clone()));
        } else if !std::mem::replace(&mut is_read, true) {
            let text =
                std::io::read_to_string(std::io::stdin().lock()).context("standard input")?;
            sources.push(Source::Stdin(text));
        }
    }
    Ok(sources)
}

fn look() -> Look {
    let stdout = std::io::stdout();
    let is_terminal = stdout.is_terminal();
    let asked_not_to = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let size = rustix::termios::tcgetwinsize(stdout)
        .ok()
        .filter(|_| is_terminal);
    let width = size
        .map(|size| usize::from(size.ws_col))
        .filter(|width| *width > 0);
    Look {
        color: is_terminal && !asked_not_to,
        width: width.unwrap_or(Look::default().width),
    }
}

fn list(format: Option<CheckFormat>) -> String {
    if format.is_some() {
        let lints = LINTS.iter().map(|lint| {
            json!({
                "id": lint.id,
                "severity": lint.severity.as_str(),
                "what": lint.what,
                "why": lint.why,
                "numbers": lint.numbers,
                "fix": lint.fix,
                "upstream": lint.upstream,
            })
        });
        return pretty(&Value::Array(lints.collect()));
    }
    let blocks = LINTS.iter().map(|lint| {
        format!(
            "{} ({}): {}\n    {}\n    {}\n",
            lint.id, lint.severity, lint.what, lint.why, lint.fix
        )
    });
    blocks.collect::<Vec<_>>().join("\n")
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// That nobody reads to the end is nothing wrong.
fn print(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
