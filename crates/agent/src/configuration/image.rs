//! What a container takes from its image, where its spec says nothing else.

use probelet_engine::input::ContainerFailure;
use probelet_model::pod::{Container, Pod};
use probelet_runtime::ImageConfig;

/// What is said where neither image nor spec have a command.
///
/// Upstream: containerd pkg/oci/spec_opts.go, WithProcessArgs; internal/cri/server/container_create.go.
/// Shown by: a_command_stands_for_entrypoint_and_arguments_of_the_image.
const NO_COMMAND: &str = "no command specified";

/// Command and arguments. A `command` stands for the image's entrypoint and its arguments, `args` alone for
/// its arguments; what comes of the image is taken as it is.
///
/// # Errors
/// If neither has any.
///
/// Upstream: containerd internal/cri/server/container_create.go, runtimeSpec.
/// Shown by: a_command_stands_for_entrypoint_and_arguments_of_the_image.
pub(super) fn argv(
    command: Vec<String>,
    args: Vec<String>,
    image: &ImageConfig,
) -> Result<Vec<String>, ContainerFailure> {
    let argv = match (command.is_empty(), args.is_empty()) {
        (false, _) => [command, args].concat(),
        (true, false) => [&image.entrypoint[..], &args].concat(),
        (true, true) => [&image.entrypoint[..], &image.cmd].concat(),
    };
    if argv.is_empty() {
        return Err(ContainerFailure::Create(NO_COMMAND.to_owned()));
    }
    Ok(argv)
}

/// The variables of an image, and over them those of the pod, each once.
///
/// Upstream: containerd internal/cri/server/container_create.go, runtimeSpec (the image's come first).
/// Shown by: the_pods_variables_come_over_the_images.
pub(super) fn env(image: &ImageConfig, pod: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::new();
    for (name, value) in image.env.iter().cloned().chain(pod) {
        match env.iter_mut().find(|(known, _)| *known == name) {
            Some((_, before)) => *before = value,
            None => env.push((name, value)),
        }
    }
    env
}

/// Whether a container that must not run as root may run: what its spec says, else its image. Of those that see
/// the host's files it is known before they are admitted.
///
/// # Errors
/// Why not, in upstream's words.
///
/// Upstream: kubelet pkg/kubelet/kuberuntime/security_context.go, verifyRunAsNonRoot;
/// kuberuntime_image.go and kuberuntime_container.go, getImageUser.
/// Shown by: who_must_not_be_root_is_not.
pub(super) fn verify_non_root(
    pod: &Pod,
    container: &Container,
    image_user: &str,
) -> Result<(), ContainerFailure> {
    if !container.security.non_root {
        return Ok(());
    }
    let user = image_user.split(':').next().unwrap_or_default();
    let what = match (container.user.uid, user, user.parse::<i64>()) {
        (Some(0), ..) => "container's runAsUser breaks non-root policy".to_owned(),
        (Some(_), ..) => return Ok(()),
        (None, "", _) | (None, _, Ok(0)) => {
            "container has runAsNonRoot and image will run as root".to_owned()
        }
        (None, _, Ok(_)) => return Ok(()),
        (None, name, Err(_)) => format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root"
        ),
    };
    let of_pod = format!("{}({})", pod.full_name(), pod.uid);
    let name = &container.name;
    Err(ContainerFailure::Config(format!(
        "{what} (pod: \"{of_pod}\", container: {name})"
    )))
}

/// The number of a signal as an image names it: `SIGQUIT`, `QUIT`, `SIGRTMIN+3` or `3`; numbers are those of
/// Linux on x86 and ARM.
///
/// Upstream: moby/sys signal/signal.go, ParseSignal, which containerd asks.
/// Shown by: signals_are_known_by_name_and_number.
pub(super) fn signal(text: &str) -> Option<i32> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;
    if let Ok(number) = text.parse::<i32>() {
        return (1..=*REAL_TIME.end()).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = if let Some(after) = name.strip_prefix("RTMIN") {
        Some((*REAL_TIME.start(), after))
    } else {
        name.strip_prefix("RTMAX")
            .map(|after| (*REAL_TIME.end(), after))
    };
    if let Some((base, after)) = real_time {
        let offset = if after.is_empty() {
            0
        } else {
            after.parse::<i32>().ok()?
        };
        let number = base.checked_add(offset)?;
        return REAL_TIME.contains(&number).then_some(number);
    }
    let name = match name {
        "IOT" => "ABRT",
        "POLL" => "IO",
        "CLD" => "CHLD",
        other => other,
    };
    let index = NAMES.iter().position(|known| *known == name)?;
    i32::try_from(index + 1).ok()
}

#[cfg(test)]
mod tests {
    use probelet_runtime::{Image, ImageId, ImageRoot};
    use probelet_store::Store;

    use super::*;
    use crate::configuration::tests::{node, pod};
    use crate::configuration::{Invocation, invocation};

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_command_stands_for_entrypoint_and_arguments_of_the_image() {
        let image = ImageConfig {
            entrypoint: words("/entry -e"),
            cmd: words("serve all"),
            ..ImageConfig::default()
        };
        // The table of Kubernetes' documentation.
        for (command, args, expected) in [
            ("", "", "/entry -e serve all"),
            ("/run", "", "/run"),
            ("", "one", "/entry -e one"),
            ("/run", "one two", "/run one two"),
        ] {
            let made = argv(words(command), words(args), &image);
            assert_eq!(made, Ok(words(expected)), "{command} {args}");
        }
        let none = argv(Vec::new(), Vec::new(), &ImageConfig::default());
        let message = "no command specified".to_owned();
        assert_eq!(none, Err(ContainerFailure::Create(message)));
    }

    #[test]
    fn the_pods_variables_come_over_the_images() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let image = ImageConfig {
            env: vec![pair("PATH", "/bin"), pair("A", "1"), pair("A", "2")],
            ..ImageConfig::default()
        };
        assert_eq!(
            env(&image, vec![pair("B", "3"), pair("PATH", "/usr/bin")]),
            [pair("PATH", "/usr/bin"), pair("A", "2"), pair("B", "3")]
        );
    }

    #[test]
    fn who_must_not_be_root_is_not() {
        let mut pod = pod();
        pod.uid = probelet_model::id::PodUid::from("1-2-3");
        let check = |non_root, uid, user: &str| {
            let mut container = pod.containers[0].clone();
            container.security.non_root = non_root;
            container.user.uid = uid;
            verify_non_root(&pod, &container, user)
        };
        let refused = |what: &str| {
            Err(ContainerFailure::Config(format!(
                "{what} (pod: \"web_shop(1-2-3)\", container: main)"
            )))
        };
        let root = refused("container has runAsNonRoot and image will run as root");
        assert_eq!(check(false, Some(0), ""), Ok(()));
        assert_eq!(check(true, Some(7), "root"), Ok(()));
        assert_eq!(
            check(true, Some(0), "7"),
            refused("container's runAsUser breaks non-root policy")
        );
        assert_eq!(check(true, None, ""), root);
        assert_eq!(check(true, None, "0:7"), root);
        assert_eq!(check(true, None, "7:0"), Ok(()));
        assert_eq!(
            check(true, None, "nginx:nginx"),
            refused(
                "container has runAsNonRoot and image has non-numeric user (nginx), cannot verify user is non-root"
            )
        );
    }

    #[test]
    fn signals_are_known_by_name_and_number() {
        let known = [
            "SIGQUIT",
            "quit",
            "3",
            "SIGRTMIN+3",
            "RTMAX-1",
            "SIGTERM",
            "SYS",
        ];
        assert_eq!(known.map(signal), [3, 3, 3, 37, 63, 15, 31].map(Some),);
        for none in [
            "", "SIG", "0", "65", "-1", "RTMIN+40", "RTMIN-1", "RTMINx", "NOPE",
        ] {
            assert_eq!(signal(none), None, "{none}");
        }
    }

    #[test]
    fn an_image_says_what_the_spec_does_not() {
        let store = Store::in_memory();
        let mut pod = pod();
        let container = &mut pod.containers[0];
        container.command.clear();
        container.env.clear();
        let image = Image {
            id: ImageId("sha256:1".to_owned()),
            tags: Vec::new(),
            digests: Vec::new(),
            size: 1,
            config: ImageConfig {
                entrypoint: vec!["/app".to_owned(), "$(A)".to_owned()],
                cmd: vec!["serve".to_owned()],
                env: vec![("A".to_owned(), "1".to_owned())],
                user: "7:8".to_owned(),
                working_dir: Some("/srv".into()),
                stop_signal: Some("SIGQUIT".to_owned()),
                volumes: Vec::new(),
            },
            root: ImageRoot {
                layers: vec!["/layers/1".into()],
                volumes: Vec::new(),
            },
        };
        let made = |pod: &Pod| {
            let container = pod.container("main").unwrap();
            invocation(&store, &node(), pod, container, &[], &[], Some(&image))
        };
        let of_image = Invocation {
            root: Some(image.root.clone()),
            env: vec![("A".to_owned(), "1".to_owned())],
            argv: vec!["/app".to_owned(), "$(A)".to_owned(), "serve".to_owned()],
            working_dir: Some("/srv".to_owned()),
            mounts: Vec::new(),
            image_user: "7:8".to_owned(),
            stop_signal: Some(3),
        };
        assert_eq!(made(&pod), Ok(of_image));
        pod.containers[0].args = vec!["check".to_owned()];
        pod.containers[0].working_dir = Some("/tmp".to_owned());
        let made = made(&pod).unwrap();
        assert_eq!(made.argv, ["/app", "$(A)", "check"]);
        assert_eq!(made.working_dir.as_deref(), Some("/tmp"));
    }
}
