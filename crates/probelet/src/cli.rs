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

/// One simulation holds no more Pods: with ten thousand it needs some 200 MB.
pub(crate) const MOST_PODS: u32 = 10_000;

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
    /// Print where the kubeconfig of a data directory is, for kubectl.
    ///
    /// `export KUBECONFIG=$(probelet kubeconfig)` is all that kubectl needs. Whoever can read the file is the
    /// node's administrator.
    Kubeconfig(Kubeconfig),
    /// Show what probes will do, in virtual time: the engine that runs Pods, on a Pod and a scenario.
    ///
    /// The scenario says when containers start, answer, hang, fail and end (docs/scenarios.md); everything
    /// else is as on a real node, and a day takes a second. Nothing is run, and no data directory is needed.
    /// The same input gives the same output, byte for byte.
    Simulate(Simulate),
    /// Say what the probes of manifests will do, and what is wrong with them, without running anything.
    ///
    /// Validates Pods and Services, and the Pod templates of Deployments, StatefulSets, DaemonSets,
    /// ReplicaSets, ReplicationControllers, Jobs and CronJobs, as an API server does; computes how soon each
    /// probe acts and how slow a start it allows; and reports what will go wrong. Objects of other kinds are
    /// counted. Lints are allowed on one object by its annotation check.probelet.dev/ignore, ids joined by commas.
    Check(Check),
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
    pub(crate) api: Api,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Where the Kubernetes API is served, and to whom.
#[derive(Args, Debug)]
pub(crate) struct Api {
    /// Port of the Kubernetes API; if it is taken the next free one. 0 is any free one.
    #[arg(long, value_name = "PORT", default_value_t = 6443)]
    pub(crate) api_port: u16,
    /// Address the Kubernetes API is served at. Another than loopback needs --listen-to-others as well.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(crate) listen: std::net::IpAddr,
    /// Let --listen name an address that other hosts reach. Whoever has a certificate or a token is let in.
    #[arg(long)]
    pub(crate) listen_to_others: bool,
    /// Bearer tokens that are let in, a line each: TOKEN,USER,UID,"GROUP,GROUP".
    #[arg(long, value_name = "FILE")]
    pub(crate) token_auth_file: Option<PathBuf>,
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
pub(crate) struct Kubeconfig {
    /// Add it to your own kubeconfig (the file that kubectl writes to), as the context `probelet`, and make
    /// that the current one. What else is there stays.
    #[arg(long)]
    pub(crate) merge: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Args, Debug)]
#[command(after_help = CHECK_EXIT_CODES)]
pub(crate) struct Check {
    /// Manifest to check: a file, a directory, or - for standard input. May be given several times.
    #[arg(
        short = 'f',
        long = "filename",
        value_name = "FILE|DIR|-",
        required_unless_present = "list",
        num_args = 1..
    )]
    pub(crate) filenames: Vec<PathBuf>,
    /// The least severity that makes the exit code 1.
    #[arg(long, value_name = "SEVERITY", default_value = "warning")]
    pub(crate) fail_on: FailOn,
    /// Leave out what this lint finds. May be given several times, or with several ids joined by commas.
    #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = lint_id)]
    pub(crate) ignore: Vec<&'static str>,
    /// List all lints, and check nothing.
    #[arg(long, conflicts_with = "filenames")]
    pub(crate) list: bool,
    /// Print JSON, or SARIF 2.1.0 for code hosts.
    #[arg(short = 'o', long = "output", value_name = "FORMAT")]
    pub(crate) format: Option<CheckFormat>,
}

const CHECK_EXIT_CODES: &str = "Exit codes: 0 nothing found that --fail-on asks for, 1 something found, \
    2 a manifest that is invalid or cannot be read, or wrong usage.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// What does not work at all.
    Error,
    /// And what will go wrong in an ordinary week.
    Warning,
    /// And what is worth knowing.
    Info,
    /// Nothing.
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    /// One JSON object.
    Json,
    /// One SARIF log.
    Sarif,
}

fn lint_id(text: &str) -> Result<&'static str, String> {
    let lint = probelet_check::lint::find(text);
    let lint = lint.ok_or("there is no such lint; probelet check --list names all")?;
    Ok(lint.id)
}

#[derive(Args, Debug)]
#[command(after_help = SIMULATE_EXIT_CODES)]
pub(crate) struct Simulate {
    /// Manifest with the Pod, or with several, or with Deployments and other kinds that make Pods; Services in
    /// it are followed. A file, a directory, or - for standard input.
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR|-")]
    pub(crate) filename: PathBuf,
    /// What happens to it: a file, or - for standard input.
    #[arg(long, value_name = "FILE|-")]
    pub(crate) scenario: PathBuf,
    /// Start the agent together with the Pods, and spread first looks over their periods, by this seed.
    /// Without it every probe looks at once.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Simulate so many Pods like the one in the manifest, named NAME-0 and so on. Default: what the
    /// manifest says, 1 of a Pod.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_PODS)))]
    pub(crate) replicas: Option<u32>,
    /// How to show it.
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub(crate) format: Drawn,
}

const SIMULATE_EXIT_CODES: &str = "Exit codes: 0 simulated, 1 the output could not be written, \
    2 a Pod or a scenario that is wrong, or wrong usage.";

/// How a simulation is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Drawn {
    /// Lines for people.
    Table,
    /// One JSON object a line.
    Jsonl,
    /// A picture.
    Svg,
    /// A page with the picture and a table, which needs no other file.
    Html,
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
