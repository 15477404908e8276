//! The words of the command line.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use probelet_agent::Egress;
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
    /// Pull, load, list and remove images.
    ///
    /// Images are kept in the data directory, by content, for all its Pods; an agent may run or not.
    Image(Image),
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
    /// The runtimeClassName of Pods that name none: `host` runs them on the host's own files. Without it they
    /// run the files of their images.
    #[arg(long, value_name = "CLASS")]
    pub(crate) default_runtime_class: Option<String>,
    /// Where Pods get their addresses from.
    #[arg(long, value_name = "CIDR", default_value_t = Cidr::default())]
    pub(crate) pod_cidr: Cidr,
    /// How Pods reach each other and the outside: bridge (needs root; makes a bridge, an nftables table of its
    /// own, and lets this host pass traffic on), pasta (without root; the package passt), none, or auto: the
    /// first of these that can be had.
    #[arg(long, value_name = "WAY", env = "PROBELET_EGRESS", default_value_t = Egress::Auto)]
    pub(crate) egress: Egress,
    /// The most processes and threads of each Pod that is started from now on, as the kubelet's podPidsLimit. -1
    /// is as many as the host allows.
    #[arg(long, value_name = "COUNT", default_value_t = -1, allow_negative_numbers = true, value_parser = pids_limit)]
    pub(crate) pod_pids_limit: i64,
    #[command(flatten)]
    pub(crate) registries: Registries,
    #[command(flatten)]
    pub(crate) api: Api,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// In a pod there is at least one process, and its init.
fn pids_limit(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(limit) if limit == -1 || limit > 0 => Ok(limit),
        Ok(_) | Err(_) => Err("it is a number above 0, or -1 for none".to_owned()),
    }
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

#[derive(Args, Debug)]
pub(crate) struct Image {
    #[command(subcommand)]
    pub(crate) command: ImageCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Pull an image from its registry, as the agent does for a Pod.
    ///
    /// Logins are those of docker: config.json in $DOCKER_CONFIG, else in ~/.docker, with its credential
    /// helpers. HTTPS_PROXY, HTTP_PROXY and NO_PROXY are followed, and SSL_CERT_FILE names more certificates.
    Pull(ImagePull),
    /// Load images from an archive of `docker save`, or from an OCI layout, packed or as a folder.
    Load(ImageLoad),
    /// List the images that are here, and how many Pods hold each.
    Ls(ImageLs),
    /// Remove names of images, and with its last name an image. What a Pod holds stays.
    Rm(ImageRm),
    /// Remove images that have no name, and what is left of pulls that were given up.
    Prune(ImagePrune),
}

#[derive(Args, Debug)]
pub(crate) struct ImagePull {
    /// What to pull, as in a Pod: nginx, quay.io/team/app:v1, host:5000/app@sha256:...
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,
    #[command(flatten)]
    pub(crate) registries: Registries,
    /// Print nothing but names and ids.
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// How registries are reached.
#[derive(Args, Debug)]
pub(crate) struct Registries {
    /// Let this registry have any certificate, or speak HTTP. May be given several times. Loopback addresses
    /// are such registries always.
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]")]
    pub(crate) insecure: Vec<String>,
    /// Ask this mirror before the registry, for example `docker.io=https://mirror.example.com`. May be given
    /// several times. With http:// it is asked without TLS.
    #[arg(long = "registry-mirror", value_name = "HOST=URL")]
    pub(crate) mirrors: Vec<String>,
}

impl Registries {
    pub(crate) fn read(&self) -> anyhow::Result<probelet_image::Registries> {
        let mut registries = probelet_image::Registries::default();
        for host in &self.insecure {
            registries
                .add_insecure(host)
                .context("--insecure-registry")?;
        }
        for mirror in &self.mirrors {
            registries.add_mirror(mirror).context("--registry-mirror")?;
        }
        Ok(registries)
    }
}

#[derive(Args, Debug)]
pub(crate) struct ImageLoad {
    /// Archive (tar, tar.gz or tar.zst) or folder, or - for standard input.
    #[arg(short = 'i', long = "input", value_name = "FILE|DIR|-")]
    pub(crate) input: PathBuf,
    /// Name for an image that has none there, or the repository for one that has only a tag.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) name: Option<String>,
    /// Print nothing but names and ids.
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Args, Debug)]
pub(crate) struct ImageLs {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args, Debug)]
pub(crate) struct ImageRm {
    /// Name, or id or the beginning of one: by its id an image goes with all its names.
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Args, Debug)]
pub(crate) struct ImagePrune {
    /// Remove every image that no Pod holds.
    #[arg(short = 'a', long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

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
