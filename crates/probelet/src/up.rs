//! `probelet up`.

use std::io::{IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use probelet_agent::control::{self, Request};
use probelet_agent::{Agent, ApiOptions, Options};
use probelet_model::id::ObjectKey;
use probelet_model::manifest::{self, Loaded, ManifestObject, Source};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::broadcast::error::RecvError;

use crate::cli::{Format, Up};
use crate::status;
use crate::view::{JsonLines, Lines, Live, View};

/// How a line on standard error begins that says what pods cannot be given on this host.
const NOTICE: &str = "notice: ";

/// How long a detached agent may take to answer.
const DETACH_PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn run(options: Up) -> anyhow::Result<()> {
    let standard_input = read_standard_input(&options)?;
    let objects = load(&options, standard_input.as_deref())?;
    if options.detach {
        return detach(&options, standard_input.as_deref(), &objects).await;
    }
    if options.detached {
        // The shell that started this must be able to go. It fails if there is nothing to leave.
        let _own_session_already = rustix::process::setsid();
    }
    foreground(&options, objects).await
}

async fn foreground(options: &Up, objects: Vec<ManifestObject>) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let named: Vec<ObjectKey> = objects.iter().map(|object| object.key.clone()).collect();
    let mut agent = Agent::start(Options {
        data_dir: options.place.data_dir()?,
        pod_cidr: options.pod_cidr,
        egress: options.egress,
        pod_pids_limit: u64::try_from(options.pod_pids_limit).ok(),
        shim_command: shim_command()?,
        unpack_command: unpack_command()?,
        registries: options.registries.read()?,
        api: Some(ApiOptions {
            address: SocketAddr::new(options.api.listen, options.api.api_port),
            to_others: options.api.listen_to_others,
            token_auth_file: options.api.token_auth_file.clone(),
        }),
        default_runtime_class: options.default_runtime_class.clone(),
        stop: false,
        apply: objects,
        notice: |sentence| eprintln!("{NOTICE}{sentence}"),
    })
    .await?;
    let mut view = view(options);
    for (key, applied) in agent.applied().to_vec() {
        view.say(&format!("{} {}", object_name(&key), applied.as_str()));
    }
    if let Some(address) = agent.api_address() {
        let kubeconfig = options.place.data_dir()?.kubeconfig();
        view.say(&format!(
            "the API is at https://{address}; for kubectl: export KUBECONFIG={}",
            kubeconfig.display()
        ));
    }
    let mut happenings = agent.follow();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let asked = loop {
        tokio::select! {
            happening = happenings.recv() => match happening {
                Ok(happening) => view.show(&happening),
                Err(RecvError::Lagged(missed)) => view.say(&format!("({missed} happenings were too quick to show)")),
                Err(RecvError::Closed) => {}
            },
            _ = second.tick(), if view.moves() => view.refresh(agent.store()),
            () = agent.ended() => break Asked::Down,
            asked = signals.next() => break asked,
        }
    };
    match asked {
        Asked::Down => view.say("ended by probelet down"),
        Asked::Interrupt if !named.is_empty() => {
            view.say("deleting what this run brought in; Ctrl-C again to end its grace");
            delete(&agent, &named, &mut *view, &mut happenings, &mut signals).await;
        }
        Asked::Interrupt | Asked::Terminate => view.say(&format!(
            "the agent ends; Pods go on. `probelet up` takes them up again, `probelet down` stops them ({})",
            options.place.data_dir()?.path().display(),
        )),
    }
    agent.end().await;
    while let Ok(happening) = happenings.try_recv() {
        view.show(&happening);
    }
    view.end();
    Ok(())
}

/// Deletes and waits, showing what happens meanwhile.
async fn delete(
    agent: &Agent,
    named: &[ObjectKey],
    view: &mut dyn View,
    happenings: &mut tokio::sync::broadcast::Receiver<probelet_agent::happening::Happening>,
    signals: &mut Signals,
) {
    let deletion = agent.delete(named);
    let mut gone = std::pin::pin!(deletion.gone());
    let mut hurried = false;
    loop {
        tokio::select! {
            () = &mut gone => break,
            happening = happenings.recv() => if let Ok(happening) = happening { view.show(&happening) },
            asked = signals.next() => match asked {
                Asked::Terminate => return,
                Asked::Interrupt if hurried => {}
                Asked::Interrupt | Asked::Down => {
                    hurried = true;
                    view.say("ending the grace");
                    deletion.hurry();
                }
            },
        }
    }
}

fn view(options: &Up) -> Box<dyn View> {
    match options.output.format {
        Some(Format::Json) => Box::new(JsonLines),
        None if std::io::stdout().is_terminal() => Box::new(Live::default()),
        None => Box::new(Lines),
    }
}

/// Starts the same command without --detach, and returns when that agent answers.
async fn detach(
    options: &Up,
    standard_input: Option<&str>,
    objects: &[ManifestObject],
) -> anyhow::Result<()> {
    let data_dir = options.place.data_dir()?;
    if data_dir.is_locked() {
        // Found again, with the right words, by the process that would be left running.
        data_dir.lock()?;
    }
    data_dir.create()?;
    let log_path = data_dir.agent_log();
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&log_path);
    let log = log.with_context(|| log_path.display().to_string())?;
    let log_start = log.metadata()?.len();
    let args = std::env::args_os().skip(1).filter(|arg| arg != "--detach");
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .args(args)
        .arg("--detached")
        .env("PROBELET_DATA_DIR", data_dir.path())
        .stdin(if standard_input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    if let (Some(text), Some(mut pipe)) = (standard_input, child.stdin.take()) {
        tokio::io::AsyncWriteExt::write_all(&mut pipe, text.as_bytes()).await?;
    }
    let process = child.id().unwrap_or_default();
    let answered = async {
        let mut again = tokio::time::interval(Duration::from_millis(20));
        loop {
            again.tick().await;
            let answers = control::ask(&data_dir, &Request::Status, |_| true)
                .await
                .is_ok();
            // An agent that was quicker answers too; then the one started here ends, and says why.
            if answers && data_dir.holder() == Some(process) {
                return;
            }
        }
    };
    tokio::select! {
        () = answered => {}
        ended = child.wait() => {
            let said = said_since(&log_path, log_start);
            bail!("the agent ended at once ({}):\n{}", ended?, said.trim_end());
        }
        () = tokio::time::sleep(DETACH_PATIENCE) => {
            bail!("process {process} does not answer; see {}", log_path.display());
        }
    }
    // Who is not to look into the log has to hear it as well.
    let said = said_since(&log_path, log_start);
    for notice in said.lines().filter(|line| line.starts_with(NOTICE)) {
        eprintln!("{notice}");
    }
    for object in objects {
        println!("{} applied", object_name(&object.key));
    }
    println!(
        "agent runs in the background as process {process}; log: {}",
        log_path.display()
    );
    status::print_table(&status::fetch(&data_dir).await?.list);
    Ok(())
}

fn said_since(log: &Path, start: u64) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let start = usize::try_from(start).unwrap_or(0).min(text.len());
    String::from_utf8_lossy(&text[start..]).into_owned()
}

fn read_standard_input(options: &Up) -> anyhow::Result<Option<String>> {
    if !options.filenames.iter().any(|name| name.as_os_str() == "-") {
        return Ok(None);
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("standard input")?;
    Ok(Some(text))
}

/// All manifests, or all that is wrong with them.
fn load(options: &Up, standard_input: Option<&str>) -> anyhow::Result<Vec<ManifestObject>> {
    if options.filenames.is_empty() {
        return Ok(Vec::new());
    }
    let source = |name: &PathBuf| match standard_input {
        Some(text) if name.as_os_str() == "-" => Source::Stdin(text.to_owned()),
        Some(_) | None => Source::Path(name.clone()),
    };
    let sources: Vec<Source> = options.filenames.iter().map(source).collect();
    let defaults = manifest::Options {
        default_runtime_class: options.default_runtime_class.clone(),
    };
    match manifest::load(&sources, &defaults) {
        Ok(Loaded { objects, warnings }) => {
            for warning in warnings {
                eprintln!("warning: {warning}");
            }
            Ok(objects)
        }
        Err(errors) => {
            let count = errors.0.len();
            for error in &errors.0[..count.saturating_sub(1)] {
                eprintln!("error: {error}");
            }
            match errors.0.last() {
                Some(last) => bail!("{last}"),
                None => bail!("the manifests could not be read"),
            }
        }
    }
}

/// This program, as a shim.
pub(crate) fn shim_command() -> anyhow::Result<Vec<std::ffi::OsString>> {
    this_program(crate::SHIM)
}

/// This program, as what unpacks layers of images.
pub(crate) fn unpack_command() -> anyhow::Result<Vec<std::ffi::OsString>> {
    this_program(crate::UNPACK)
}

fn this_program(word: &str) -> anyhow::Result<Vec<std::ffi::OsString>> {
    let program = std::env::current_exe().context("cannot tell which program this is")?;
    Ok(vec![program.into(), word.into()])
}

/// As kubectl names an object, `pod/web` or `deployment.apps/web`, with the namespace where it is not the default
/// one.
///
/// Upstream: cli-runtime pkg/printers/name.go, NamePrinter.PrintObj.
/// Shown by: objects_are_named_as_kubectl_names_them.
pub(crate) fn object_name(key: &ObjectKey) -> String {
    let kind = key.kind.as_str().to_lowercase();
    let resource = match key.kind.api_version().split_once('/') {
        Some((group, _)) => format!("{kind}.{group}"),
        None => kind,
    };
    if !key.kind.is_namespaced() || key.namespace == "default" {
        format!("{resource}/{}", key.name)
    } else {
        format!("{resource}/{} ({})", key.name, key.namespace)
    }
}

/// What the outside asks of a running command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Interrupt,
    Terminate,
    Down,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.hang_up.recv() => Asked::Terminate,
        }
    }
}

/// Writes a line, and forgets about a reader that has gone.
pub(crate) fn print_line(line: &str) {
    let mut out = std::io::stdout().lock();
    let _reader_has_gone = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use probelet_model::id::Kind;

    use super::*;

    #[test]
    fn objects_are_named_as_kubectl_names_them() {
        for (kind, namespace, expected) in [
            (Kind::Pod, "default", "pod/web"),
            (Kind::ConfigMap, "own", "configmap/web (own)"),
            (Kind::Namespace, "", "namespace/web"),
            (Kind::Deployment, "default", "deployment.apps/web"),
            (Kind::RuntimeClass, "", "runtimeclass.node.k8s.io/web"),
        ] {
            let key = ObjectKey::new(kind, namespace, "web");
            assert_eq!(object_name(&key), expected);
        }
    }
}
