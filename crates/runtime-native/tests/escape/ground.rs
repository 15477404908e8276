//! A prison, a pod beside it, and things of the host to reach for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use probelet_model::id::{ContainerId, PodUid};
use probelet_model::pod::{HostPathType, Volume, VolumeMount};
use probelet_model::security::Security;
use probelet_runtime::{
    ContainerConfig, ExecOutput, ExecRequest, Exit, ImageRoot, Network, PodConfig, Runtime,
};
use probelet_runtime_native::NativeRuntime;

use crate::suite::{Native, World, container, host_path, mount, own, pod};

/// What is in the host's file that no container may read.
pub(crate) const SECRET: &str = "the host's own";

/// The volume with what is in the image.
const PROGRAMS: &str = "programs";

/// `escape.c`, built once.
pub(crate) fn program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("PROBELET_TEST_ESCAPE", "escape.c", &[]))
}

/// `program.c`, built once.
pub(crate) fn loader() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let flags = ["-nostdlib", "-fno-stack-protector"];
    BUILT.get_or_init(|| build("PROBELET_TEST_LOADER", "program.c", &flags))
}

/// Unless the variable says where it is already.
fn build(built: &str, source: &str, flags: &[&str]) -> PathBuf {
    if let Some(built) = std::env::var_os(built) {
        return built.into();
    }
    let program = tempfile::tempdir().unwrap().keep().join("program");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/escape");
    let built = Command::new("cc")
        .args(["-static", "-O1", "-o"])
        .arg(&program)
        .args(flags)
        .arg(sources.join(source))
        .status();
    assert!(built.unwrap().success(), "{source} builds");
    program
}

/// The shim that the tests run.
pub(crate) fn shim() -> PathBuf {
    std::env::var_os("PROBELET_TEST_SHIM")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_probelet-native-shim").into())
        .into()
}

/// A pod whose containers are to be got out of.
pub(crate) struct Prison {
    pub(crate) world: World<NativeRuntime>,
    pub(crate) pod: PodUid,
    image: PathBuf,
}

impl Prison {
    /// With these volumes; the image has busybox, the attempts, and what `furnish` puts into it.
    pub(crate) async fn with(volumes: Vec<Volume>, furnish: impl FnOnce(&Path)) -> Self {
        Self::made(own("10.213.0.9"), volumes, furnish).await
    }

    /// In that network, with nothing more.
    pub(crate) async fn in_network(network: Network) -> Self {
        Self::made(network, Vec::new(), |_| {}).await
    }

    /// Its containers see each other's processes.
    pub(crate) async fn sharing_processes() -> Self {
        let mut config = pod("prison", own("10.213.0.9"), Vec::new());
        config.namespaces.one_pid = true;
        Self::of(config, |_| {}).await
    }

    async fn made(network: Network, volumes: Vec<Volume>, furnish: impl FnOnce(&Path)) -> Self {
        Self::of(pod("prison", network, volumes), furnish).await
    }

    async fn of(mut config: PodConfig, furnish: impl FnOnce(&Path)) -> Self {
        let world = World::native();
        fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let image = world.path("image");
        for dir in ["bin", "etc", "tmp", "root"] {
            fs::create_dir_all(image.join(dir)).unwrap();
        }
        fs::set_permissions(image.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::copy(program(), image.join("bin/escape")).unwrap();
        fs::copy(program(), image.join("bin/escape-setuid")).unwrap();
        let setuid = fs::Permissions::from_mode(0o4755);
        fs::set_permissions(image.join("bin/escape-setuid"), setuid).unwrap();
        fs::copy(busybox(), image.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "sleep", "cat", "ln", "mkdir", "rm", "echo", "ls", "touch", "true",
        ] {
            std::os::unix::fs::symlink("busybox", image.join("bin").join(applet)).unwrap();
        }
        fs::write(image.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        furnish(&image);
        fs::write(world.path("secret"), SECRET).unwrap();
        let programs = host_path(PROGRAMS, &image, HostPathType::Directory);
        config.volumes.push(programs);
        world.runtime.start_pod(config).await.unwrap();
        let pod = "prison".into();
        Self { world, pod, image }
    }

    /// One with an ordinary container, `main`, that waits.
    pub(crate) async fn ordinary() -> Self {
        let prison = Self::with(Vec::new(), |_| {}).await;
        prison.start(prison.waiting("main")).await;
        prison
    }

    /// One with a container without an image, `main`, that waits: its process 1 is Probelet's own.
    pub(crate) async fn of_the_host() -> Self {
        let prison = Self::with(Vec::new(), |_| {}).await;
        prison.start(prison.waiting_of_the_host("main")).await;
        prison
    }

    /// A container without an image that waits, with the attempts in it.
    pub(crate) fn waiting_of_the_host(&self, id: &str) -> ContainerConfig {
        ContainerConfig {
            image: None,
            mounts: vec![mount(PROGRAMS, "/prison", true)],
            env: vec![("PATH".into(), "/prison/bin:/usr/bin:/bin".into())],
            ..self.waiting(id)
        }
    }

    /// An ordinary container that waits.
    pub(crate) fn waiting(&self, id: &str) -> ContainerConfig {
        self.container(id, &["sleep", "1000"])
    }

    /// An ordinary container.
    pub(crate) fn container(&self, id: &str, argv: &[&str]) -> ContainerConfig {
        ContainerConfig {
            name: id.into(),
            image: Some(ImageRoot {
                layers: vec![self.image.clone()],
                volumes: Vec::new(),
            }),
            ..container(id, argv)
        }
    }

    pub(crate) async fn start(&self, config: ContainerConfig) {
        self.world
            .runtime
            .start_container(&self.pod, config)
            .await
            .unwrap();
    }

    /// The image's directory on the host.
    pub(crate) fn image(&self) -> &Path {
        &self.image
    }

    /// The file of the host that holds [`SECRET`].
    pub(crate) fn secret(&self) -> String {
        self.world.path("secret").display().to_string()
    }

    pub(crate) async fn exec(&self, id: &str, argv: &[&str]) -> ExecOutput {
        let request = ExecRequest {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            timeout: std::time::Duration::from_secs(20),
            output_limit: 10 * 1024,
        };
        let id = id.into();
        self.world
            .runtime
            .exec(&self.pod, &id, request)
            .await
            .unwrap()
    }

    /// Tells a container that waits for it that it is enough. What that comes to may end with the container.
    pub(crate) async fn enough(&mut self, id: &str) -> Exit {
        let request = ExecRequest {
            argv: ["touch", "/tmp/enough"].map(str::to_owned).into(),
            timeout: std::time::Duration::from_secs(20),
            output_limit: 0,
        };
        let id = ContainerId::from(id);
        let _may_be_cut_off = self.world.runtime.exec(&self.pod, &id, request).await;
        self.world.exit(id.as_str()).await
    }

    /// Makes an attempt in the container `main`: it has to be refused.
    #[track_caller]
    pub(crate) fn refuses(&self, argv: &[&str]) -> impl Future<Output = ()> {
        self.refuses_in("main", argv)
    }

    /// The same in another container.
    #[track_caller]
    pub(crate) fn refuses_in(&self, id: &str, argv: &[&str]) -> impl Future<Output = ()> {
        let argv: Vec<&str> = ["escape"].iter().chain(argv).copied().collect();
        async move {
            let output = self.exec(id, &argv).await;
            judge(&argv, &output);
        }
    }
}

fn judge(argv: &[&str], output: &ExecOutput) {
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{argv:?}: {said}");
    match output.exit_code {
        1 => {}
        0 => panic!("{argv:?} got out: {said}"),
        code => panic!("{argv:?} was not tried, exit code {code}: {said}"),
    }
}

pub(crate) fn no_escalation() -> Security {
    Security {
        may_escalate: false,
        ..Security::default()
    }
}

pub(crate) fn sub_path(volume: &str, path: &str, sub_path: &str) -> VolumeMount {
    VolumeMount {
        sub_path: Some(sub_path.to_owned()),
        ..mount(volume, path, false)
    }
}

fn busybox() -> PathBuf {
    ["/bin/busybox", "/usr/bin/busybox"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())
        .expect("package busybox-static is installed")
}

/// Tests of attempts that need nothing else than an ordinary container, or one of another kind.
macro_rules! refused {
    ($($name:ident: $($word:literal)+;)+) => {
        $crate::ground::refused! { in ordinary: $($name: $($word)+;)+ }
    };
    (in $kind:ident: $($name:ident: $($word:literal)+;)+) => {
        $(
            #[test]
            fn $name() {
                $crate::suite::run(async {
                    let prison = $crate::ground::Prison::$kind().await;
                    prison.refuses(&[$($word),+]).await;
                });
            }
        )+
    };
}
pub(crate) use refused;
