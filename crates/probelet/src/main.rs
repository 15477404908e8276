//! Kubernetes container probes on any Linux host, as one binary: the commands and their words.
//!
//! `probelet shim` and `probelet unpack` are not commands for people: they are this program as the parent of
//! one pod's containers, and as what unpacks a layer of an image, and they leave before anything of the big
//! program is set up.
//!
//! It is not a place for work: every command is a few calls of `probelet-agent` and `probelet-model`.
//!
//! Start reading at [`cli::Command`], then `up`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program's words go there"
)]

mod check;
mod cli;
mod down;
mod image;
mod kubeconfig;
mod simulate;
mod status;
mod up;
mod view;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

/// The word that makes this program a shim.
const SHIM: &str = "shim";
/// The word that makes this program unpack a layer of an image.
const UNPACK: &str = "unpack";

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(first) if first == SHIM => return probelet_agent::shim_main(args),
        Some(first) if first == UNPACK => return probelet_agent::image_store::unpack_main(args),
        _ => {}
    }
    let cli = cli::Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("PROBELET_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: cli::Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        cli::Command::Up(options) => wait(up::run(options))?,
        cli::Command::Down(options) => wait(down::run(options))?,
        cli::Command::Status(options) => wait(status::run(options))?,
        cli::Command::Kubeconfig(options) => kubeconfig::run(&options)?,
        cli::Command::Check(options) => return Ok(check::run(&options)),
        cli::Command::Simulate(options) => return Ok(simulate::run(&options)),
        cli::Command::Image(options) => wait(image::run(options))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Carries out a command that waits for things.
fn wait(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(command)
}
