//! The words of the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use probelet_agent::data_dir::DataDir;
use probelet_agent::pod_ip::Cidr;

/// Kubernetes container probes on any Linux host.
///
/// Runs Pods and Services from their Kubernetes YAML without a cluster, a daemon or root: probes the
/// containers as the kubelet does, restarts what fails, and sends a Service's traffic to ready Pods only.
#[derive(Debug, Parser)]
#[command(name = "probelet", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed (a manifest that is wrong, a data directory in use), \
    2 wrong usage.\nEnvironment: PROBELET_LOG=debug shows what the agent does, on standard error.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run Pods and Services, and show what happens to them.
    ///
    /// Ctrl-C deletes what the files of this run name, each Pod within its grace (a second Ctrl-C ends the
    /// grace); without files it ends the agent alone. SIGTERM and SIGHUP always end the agent alone: the
    /// containers go on, and the next `probelet up` takes them up as they are.
    Up(Up),
    /// Stop every Pod within its grace, and the agent, whether it runs or not.
    Down(Down),
    /// Show Pods, and Services with their endpoints.
    Status(Status),
}

#[derive(Args, Debug)]
pub(crate) struct Up {
    /// Manifest to apply: a file, a directory, or - for standard input. May be given several times. Without
    /// it, what the data directory holds is taken up.
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR|-")]
    pub(crate) filenames: Vec<PathBuf>,
    /// Leave the agent running in the background.
    #[arg(long)]
    pub(crate) detach: bool,
    /// This is the process that --detach leaves running.
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
    /// The runtimeClassName of Pods that name none. Only `host` is carried out.
    #[arg(long, value_name = "CLASS")]
    pub(crate) default_runtime_class: Option<String>,
    /// Where Pods get their addresses from.
    #[arg(long, value_name = "CIDR", default_value_t = Cidr::default())]
    pub(crate) pod_cidr: Cidr,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args, Debug)]
pub(crate) struct Down {
    /// Delete the objects too, so that the next `probelet up` finds nothing.
    #[arg(long)]
    pub(crate) delete: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Args, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args, Debug)]
pub(crate) struct Place {
    /// Where the agent keeps its state. Default: /var/lib/probelet for root, else
    /// $XDG_STATE_HOME/probelet or ~/.local/state/probelet.
    #[arg(long, value_name = "DIR", env = "PROBELET_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

impl Place {
    pub(crate) fn data_dir(&self) -> anyhow::Result<DataDir> {
        let path = self.data_dir.clone().unwrap_or_else(|| {
            let variable = |name| std::env::var_os(name).map(PathBuf::from);
            DataDir::default_path(
                rustix::process::geteuid().is_root(),
                variable("XDG_STATE_HOME"),
                variable("HOME"),
            )
        });
        // Shims outlive this process and its working directory.
        Ok(DataDir::new(std::path::absolute(path)?))
    }
}

#[derive(Args, Debug)]
pub(crate) struct Output {
    /// Print JSON.
    #[arg(short = 'o', long = "output", value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// JSON; where things happen, one object a line.
    Json,
}
