//! What attempts meet and say, and what the world does of its own accord.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use probelet_engine::effect::Effect;
use probelet_engine::input::{AttemptId, Input, OperationId};
use probelet_model::id::{ContainerId, ContainerName};
use probelet_model::manifest::{self, Object, Options, Source};
use probelet_model::pod::Pod;
use probelet_model::probe::{OutcomeStatus, ProbeKind};
use probelet_model::time::{Mono, Now, Wall};

use super::attempt::{Target, attempt, cut_off};
use super::{Fault, World};
use crate::script::{
    ContainerScript, Exec, Grpc, Http, OnTerm, OwnExit, Paths, Run, Tcp, Timeline,
};

const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 244, 0, 2));
const SECOND: Duration = Duration::from_secs(1);

/// A pod with this liveness probe.
fn pod(probe: &str) -> Pod {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n  runtimeClassName: host\n  containers:\n  \
         - name: web\n    image: none\n    command: [/web]\n    env: [{{name: A, value: one}}]\n    \
         ports: [{{name: http, containerPort: 8080}}]\n    livenessProbe: {probe}\n"
    );
    let loaded = manifest::load(&[Source::Stdin(text)], &Options::default()).unwrap();
    match loaded.objects.into_iter().next().map(|one| one.object) {
        Some(Object::Pod(pod)) => *pod,
        other => panic!("{other:?}"),
    }
}

#[test]
fn attempts_say_what_the_real_probers_say() {
    use OutcomeStatus::{Failure, Success, Warning};
    let http = |answer: Http| Run {
        http: Some(Paths::new(vec![(
            "/ok".to_owned(),
            Timeline::always(answer),
        )])),
        ..Run::default()
    };
    let tcp = |answer| Run {
        tcp: Some(Timeline::always(answer)),
        ..Run::default()
    };
    let grpc = |answer| Run {
        grpc: Some(Timeline::always(answer)),
        ..Run::default()
    };
    let exec = |answer| Run {
        exec: Some(Timeline::always(answer)),
        ..Run::default()
    };
    let says = |status, body: &str, millis| Http::Says {
        status,
        body: body.to_owned(),
        latency: Duration::from_millis(millis),
    };
    let ends = |code, output: &str, millis| Exec::Ends {
        code,
        output: output.to_owned(),
        latency: Duration::from_millis(millis),
    };
    let get = "{httpGet: {path: /ok, port: http}}";
    let dial = "{tcpSocket: {port: 8080}}";
    let call = "{grpc: {port: 9000}}";
    let run = "{exec: {command: [cat, $(A)]}}";
    let url = "Get \"http://10.244.0.2:8080/ok\"";
    let rows = [
        (get, Run::default(), 0, Success, String::new()),
        (get, http(says(200, "fine", 30)), 30, Success, "fine".to_owned()),
        (
            get,
            http(says(302, "there", 0)),
            0,
            Warning,
            "Probe terminated redirects, Response body: there".to_owned(),
        ),
        (get, http(says(503, "no", 0)), 0, Failure, "HTTP probe failed with statuscode: 503".to_owned()),
        (
            "{httpGet: {path: /other, port: http}}",
            http(says(200, "", 0)),
            0,
            Failure,
            "HTTP probe failed with statuscode: 404".to_owned(),
        ),
        (
            get,
            http(Http::Refuses),
            0,
            Failure,
            format!("{url}: dial tcp 10.244.0.2:8080: connect: connection refused"),
        ),
        (
            get,
            http(Http::Hangs),
            1_000,
            Failure,
            format!("{url}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
        ),
        (
            get,
            http(says(200, "", 1_000)),
            1_000,
            Failure,
            format!("{url}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
        ),
        (
            "{httpGet: {path: ok, port: 1, host: example.com, scheme: HTTPS}}",
            http(Http::Hangs),
            0,
            Failure,
            "HTTP probe failed with statuscode: 404".to_owned(),
        ),
        (dial, Run::default(), 0, Success, String::new()),
        (dial, tcp(Tcp::Accepts { latency: SECOND / 2 }), 500, Success, String::new()),
        (dial, tcp(Tcp::Refuses), 0, Failure, "dial tcp 10.244.0.2:8080: connect: connection refused".to_owned()),
        (dial, tcp(Tcp::Hangs), 1_000, Failure, "dial tcp 10.244.0.2:8080: i/o timeout".to_owned()),
        (call, Run::default(), 0, Success, "service healthy".to_owned()),
        (
            call,
            grpc(Grpc::Says { serving: false, latency: Duration::ZERO }),
            0,
            Failure,
            "service unhealthy (responded with \"NOT_SERVING\")".to_owned(),
        ),
        (
            call,
            grpc(Grpc::Refuses),
            1_000,
            Failure,
            "timeout: failed to connect service \"10.244.0.2:9000\" within 1s: context deadline exceeded".to_owned(),
        ),
        (
            call,
            grpc(Grpc::Hangs),
            1_000,
            Failure,
            "timeout: health rpc did not complete within 1s".to_owned(),
        ),
        (run, Run::default(), 0, Success, String::new()),
        (run, exec(ends(0, "up", 20)), 20, Success, "up".to_owned()),
        (run, exec(ends(2, "no file", 0)), 0, Failure, "no file".to_owned()),
        (
            run,
            exec(Exec::Hangs),
            1_000,
            Failure,
            "command timed out: \"cat one\" timed out after 1s".to_owned(),
        ),
    ];
    let id = ContainerId::from("c0");
    for (probe, script, millis, status, output) in rows {
        let pod = pod(probe);
        let spec = &pod.containers[0];
        let target = Target {
            spec,
            id: &id,
            ip: IP,
            run: Some((&script, Duration::ZERO)),
        };
        let answer = attempt(&target, spec.liveness.as_ref().unwrap());
        let outcome = answer.result.unwrap();
        assert_eq!(
            (outcome.status, outcome.output, answer.after),
            (status, output, Duration::from_millis(millis)),
            "{probe} {script:?}"
        );
    }
}

#[test]
fn errors_are_tried_three_times() {
    let id = ContainerId::from("c0");
    let stalls = Run {
        http: Some(Paths::new(vec![(
            "/".to_owned(),
            Timeline::always(Http::Stalls),
        )])),
        exec: Some(Timeline::always(Exec::CannotRun("no such file".to_owned()))),
        ..Run::default()
    };
    for (probe, run, secs, message) in [
        (
            "{httpGet: {port: 80}, timeoutSeconds: 2}",
            Some(&stalls),
            6,
            "context deadline exceeded (Client.Timeout or context cancellation while reading body)",
        ),
        (
            "{tcpSocket: {port: x}}",
            Some(&stalls),
            0,
            "port \"x\" not found",
        ),
        ("{exec: {command: [a]}}", Some(&stalls), 0, "no such file"),
        (
            "{exec: {command: [a]}}",
            None,
            0,
            "container c0 is not running",
        ),
    ] {
        let pod = pod(probe);
        let spec = &pod.containers[0];
        let target = Target {
            spec,
            id: &id,
            ip: IP,
            run: run.map(|run| (run, Duration::ZERO)),
        };
        let answer = attempt(&target, spec.liveness.as_ref().unwrap());
        assert_eq!(answer.result.unwrap_err().message, message);
        assert_eq!(answer.after, SECOND * secs, "{probe}");
    }
}

#[test]
fn before_its_first_answer_and_after_its_end_nobody_listens() {
    let id = ContainerId::from("c0");
    let script = Run {
        tcp: Some(Timeline::new(vec![(
            SECOND,
            Tcp::Accepts {
                latency: Duration::ZERO,
            },
        )])),
        exec: Some(Timeline::new(vec![(
            SECOND,
            Exec::Ends {
                code: 0,
                output: String::new(),
                latency: Duration::ZERO,
            },
        )])),
        ..Run::default()
    };
    for (probe, is_network) in [
        ("{tcpSocket: {port: 1}}", true),
        ("{exec: {command: [a]}}", false),
    ] {
        let pod = pod(probe);
        let spec = &pod.containers[0];
        let status = |run: Option<Duration>| {
            let target = Target {
                spec,
                id: &id,
                ip: IP,
                run: run.map(|age| (&script, age)),
            };
            let answer = attempt(&target, spec.liveness.as_ref().unwrap());
            answer.result.map(|outcome| outcome.status).ok()
        };
        assert_eq!(status(Some(SECOND / 2)), Some(OutcomeStatus::Failure));
        assert_eq!(status(Some(SECOND)), Some(OutcomeStatus::Success));
        assert_eq!(status(None), is_network.then_some(OutcomeStatus::Failure));
        let cut = cut_off(spec, IP, &spec.liveness.as_ref().unwrap().handler).unwrap();
        assert_eq!(cut.status, OutcomeStatus::Failure);
    }
}

/// A world with one pod whose sandbox stands and whose web runs.
struct Bench {
    world: World,
    pod: Arc<Pod>,
    id: ContainerId,
}

impl Bench {
    fn new(probe: &str, run: Run) -> Self {
        let pod = Arc::new(pod(probe));
        let mut world = World::new(Now {
            mono: Mono(5_000_000_000_000),
            wall: Wall(1_767_225_600_000_000_000),
        });
        let script = ContainerScript {
            runs: vec![run],
            ..ContainerScript::default()
        };
        let scripts = [(ContainerName::from("web"), Arc::new(script))].into();
        world.add(pod.uid.clone(), IP, scripts);
        let mut bench = Self {
            world,
            pod: pod.clone(),
            id: ContainerId::from("c0"),
        };
        let operation = OperationId(1);
        bench.perform(Effect::StartPod { operation, pod });
        assert!(matches!(bench.all()[..], [(_, Input::PodStarted { .. })]));
        bench.start(0);
        bench
    }

    fn perform(&mut self, effect: Effect) {
        assert!(self.world.perform(effect, Fault::None).is_none());
    }

    fn start(&mut self, restart_count: u32) {
        self.perform(Effect::StartContainer {
            operation: OperationId(2),
            pod: self.pod.clone(),
            container: "web".into(),
            id: self.id.clone(),
            restart_count,
            image: None,
        });
        self.now();
    }

    fn attempt(&mut self, fault: Fault) {
        let effect = Effect::StartAttempt {
            attempt: AttemptId(7),
            pod: self.pod.clone(),
            container: "web".into(),
            id: self.id.clone(),
            kind: ProbeKind::Liveness,
        };
        assert!(self.world.perform(effect, fault).is_none());
    }

    fn stop(&mut self, grace: u64) {
        self.perform(Effect::StopContainer {
            pod: self.pod.uid.clone(),
            container: self.id.clone(),
            grace: Duration::from_secs(grace),
        });
    }

    /// What is due now.
    fn now(&mut self) -> Vec<Input> {
        let mut inputs = Vec::new();
        while self.world.due().is_some() {
            inputs.extend(self.world.happen());
        }
        inputs
    }

    /// All that is going to happen, each with its second.
    fn all(&mut self) -> Vec<(f64, Input)> {
        let mut inputs = Vec::new();
        while let Some(at) = self.world.next() {
            self.world.advance(at);
            let at = self.world.elapsed().as_secs_f64();
            inputs.extend(self.world.happen().map(|input| (at, input)));
        }
        inputs
    }

    /// The same, of exits only.
    fn exits(&mut self) -> Vec<(f64, i32)> {
        let exit = |(at, input)| match input {
            Input::ContainerExited { exit, .. } => Some((at, exit.code)),
            _ => None,
        };
        self.all().into_iter().filter_map(exit).collect()
    }
}

#[test]
fn term_ends_a_run_as_its_script_says_and_kill_the_rest() {
    let run = |on_term| Run {
        on_term,
        ..Run::default()
    };
    let slow = OnTerm::Exits {
        after: SECOND * 8,
        code: 3,
    };
    for (on_term, grace, expected) in [
        (OnTerm::Dies, 5, (0.0, 143)),
        (OnTerm::Ignores, 5, (5.0, 137)),
        (slow, 5, (5.0, 137)),
        (slow, 9, (8.0, 3)),
        (OnTerm::Dies, 0, (0.0, 137)),
    ] {
        let mut bench = Bench::new("{tcpSocket: {port: 1}}", run(on_term));
        bench.stop(grace);
        assert_eq!(bench.exits(), [expected], "{on_term:?} {grace}");
    }
    let mut bench = Bench::new("{tcpSocket: {port: 1}}", run(OnTerm::Ignores));
    bench.stop(30);
    bench.stop(4);
    bench.stop(60);
    assert_eq!(
        bench.exits(),
        [(4.0, 137)],
        "asked again, KILL can only come sooner"
    );
}

#[test]
fn what_is_under_way_fails_when_the_run_ends() {
    let run = Run {
        exit: Some(OwnExit {
            at: SECOND / 2,
            code: 1,
            out_of_memory: false,
        }),
        http: Some(Paths::new(vec![(
            "/".to_owned(),
            Timeline::always(Http::Hangs),
        )])),
        ..Run::default()
    };
    let mut bench = Bench::new("{httpGet: {port: 80}}", run);
    bench.attempt(Fault::None);
    let all = bench.all();
    let [
        (exit_at, Input::ContainerExited { .. }),
        (
            at,
            Input::AttemptFinished {
                result: Ok(outcome),
                ..
            },
        ),
    ] = &all[..]
    else {
        panic!("{all:?}");
    };
    assert_eq!((*exit_at, *at), (0.5, 0.5));
    assert_eq!(outcome.output, "Get \"http://10.244.0.2:80/\": EOF");
}

#[test]
fn calls_die_with_the_agent_and_the_world_goes_on() {
    let run = Run {
        exit: Some(OwnExit {
            at: SECOND * 3,
            code: 1,
            out_of_memory: false,
        }),
        tcp: Some(Timeline::always(Tcp::Hangs)),
        ..Run::default()
    };
    let mut bench = Bench::new("{tcpSocket: {port: 1}}", run);
    bench.attempt(Fault::None);
    bench.world.agent_dies();
    let all = bench.all();
    assert!(
        matches!(all[..], [(at, Input::ContainerExited { .. })] if at == 3.0),
        "{all:?}"
    );
    let standing = bench.world.standing(&bench.pod.uid).unwrap();
    assert_eq!(standing.containers[0].exit.as_ref().unwrap().code, 1);
    assert!(bench.world.lose_sandbox(&bench.pod.uid).is_some());
    assert!(bench.world.standing(&bench.pod.uid).is_none());
    assert!(bench.world.lose_sandbox(&bench.pod.uid).is_none());
}

#[test]
fn faults_delay_lose_double_and_break_answers() {
    for (fault, expected) in [
        (Fault::None, vec![(0.0, true)]),
        (Fault::Slow(SECOND * 2), vec![(2.0, true)]),
        (Fault::Lost, vec![]),
        (Fault::Twice, vec![(0.0, true), (0.0, true)]),
        (Fault::Fails("broken".to_owned()), vec![(0.0, false)]),
    ] {
        let mut bench = Bench::new("{tcpSocket: {port: 1}}", Run::default());
        bench.attempt(fault.clone());
        let answers = bench.all().into_iter().map(|(at, input)| match input {
            Input::AttemptFinished { result, .. } => (at, result.is_ok()),
            other => panic!("{other:?}"),
        });
        assert_eq!(answers.collect::<Vec<_>>(), expected, "{fault:?}");
    }
}

#[test]
fn a_container_is_started_in_the_sandbox_it_was_asked_for_or_not_at_all() {
    let run = Run {
        start_after: SECOND,
        ..Run::default()
    };
    let mut bench = Bench::new("{tcpSocket: {port: 1}}", run);
    assert!(bench.world.lose_sandbox(&bench.pod.uid).is_some());
    let all = bench.all();
    assert!(
        matches!(
            all[..],
            [(_, Input::ContainerStarted { result: Err(_), .. })]
        ),
        "{all:?}"
    );
}
