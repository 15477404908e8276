//! Rows A of upstream's behaviour: one probe machine and what its looks are told.
//!
//! A setup is a kind and its numbers: `liveness F3 S1 D10`. A script is words: `a:` the run `a` begins,
//! `a~` it is down and will be started again, `a!` it is down for good, `none` there is no run, `started`,
//! `unstarted`, `deleting`, `failed` what they say of container and pod, `@9.99` so many seconds after
//! the run began; and a letter for each look, which is what its attempt would see: `s` success, `f`
//! failure, `w` warning, `e` error.

use std::time::Duration;

use probelet_model::probe::{Handler, OutcomeStatus, PortRef};
use probelet_model::status::Phase;
use probelet_model::time::Wall;

use super::*;
use crate::gate::ViewRun;

/// Seconds on the monotonic clock when a run begins.
const BEGIN: f64 = 1000.0;

struct Bench {
    machine: ProbeMachine,
    view: View,
    now: Mono,
    attempts: u64,
    /// The verdict after each look, in brackets if the look became no attempt.
    cached: Vec<String>,
    /// Each value that was published.
    published: Vec<&'static str>,
}

fn mono(seconds: f64) -> Mono {
    Mono(0) + Duration::from_secs_f64(seconds)
}

impl Bench {
    fn new(setup: &str) -> Self {
        let mut words = setup.split(' ');
        let kind = match words.next() {
            Some("startup") => ProbeKind::Startup,
            Some("readiness") => ProbeKind::Readiness,
            Some("liveness") => ProbeKind::Liveness,
            other => panic!("no probe is called {other:?}"),
        };
        let mut probe = Probe {
            handler: Handler::TcpSocket {
                host: None,
                port: PortRef::Number(80),
            },
            initial_delay: Duration::ZERO,
            period: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            success_threshold: 1,
            failure_threshold: 3,
            termination_grace_period: None,
        };
        for word in words {
            let (letter, number) = word.split_at(1);
            let number: u32 = number.parse().unwrap();
            match letter {
                "F" => probe.failure_threshold = number,
                "S" => probe.success_threshold = number,
                "D" => probe.initial_delay = Duration::from_secs(number.into()),
                other => panic!("no number is called {other}"),
            }
        }
        Self {
            machine: ProbeMachine::new(kind, &probe, mono(BEGIN)),
            view: View {
                phase: Phase::Running,
                deleting: false,
                run: None,
            },
            now: mono(BEGIN),
            attempts: 0,
            cached: Vec::new(),
            published: Vec::new(),
        }
    }

    fn play(setup: &str, script: &str) -> Self {
        let mut bench = Self::new(setup);
        for word in script.split(' ') {
            bench.word(word);
        }
        bench
    }

    fn word(&mut self, word: &str) {
        let started = self.machine.kind != ProbeKind::Startup;
        match word {
            "none" => self.view.run = None,
            "started" => self.run().started = true,
            "unstarted" => self.run().started = false,
            "deleting" => self.view.deleting = true,
            "failed" => self.view.phase = Phase::Failed,
            "s" => self.look(OutcomeStatus::Success),
            "w" => self.look(OutcomeStatus::Warning),
            "f" => self.look(OutcomeStatus::Failure),
            "e" => self.look_and(&Err(ProberError {
                message: "cannot".to_owned(),
            })),
            _ if word.starts_with('@') => {
                self.now = mono(BEGIN + word[1..].parse::<f64>().unwrap());
            }
            _ => {
                let (id, what) = word.split_at(1);
                let state = match what {
                    ":" => ViewState::Running { since: mono(BEGIN) },
                    "~" => ViewState::NotRunning { restarts: true },
                    "!" => ViewState::NotRunning { restarts: false },
                    other => panic!("nothing is called {other}"),
                };
                let id = ContainerId::from(id);
                self.view.run = Some(ViewRun { id, state, started });
            }
        }
    }

    fn run(&mut self) -> &mut ViewRun {
        self.view.run.as_mut().unwrap()
    }

    fn look(&mut self, status: OutcomeStatus) {
        self.look_and(&Ok(Outcome {
            status,
            output: String::new(),
            code: None,
        }));
    }

    fn look_and(&mut self, result: &Result<Outcome, ProberError>) {
        let mut made = None;
        let id = AttemptId(self.attempts + 1);
        if !self.machine.ended
            && let Look::Attempt { attempt, .. } = self.machine.look(&self.view, self.now, || id)
        {
            self.attempts += 1;
            made = Some(attempt);
        }
        if let Some(attempt) = made {
            self.machine.answer(attempt, result);
        }
        let published = self.machine.take_published();
        self.published
            .extend(published.map(|verdict| letter(Some(verdict))));
        let verdict = self.verdict();
        self.cached.push(if made.is_some() {
            verdict.to_owned()
        } else {
            format!("({verdict})")
        });
    }

    fn verdict(&self) -> &'static str {
        letter(self.machine.verdict)
    }
}

const fn letter(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        None => "-",
        Some(Verdict::Unknown) => "U",
        Some(Verdict::Success) => "S",
        Some(Verdict::Failure) => "F",
    }
}

/// The verdicts after each look of the script.
#[track_caller]
fn check(setup: &str, script: &str, expected: &str) {
    let bench = Bench::play(setup, script);
    let mut cached = bench.cached.join(" ");
    if bench.machine.ended {
        cached += " end";
    }
    assert_eq!(cached, expected, "{setup}, {script}");
}

/// What was published over the script.
#[track_caller]
fn check_published(setup: &str, script: &str, expected: &str) {
    let bench = Bench::play(setup, script);
    assert_eq!(bench.published.join(" "), expected, "{setup}, {script}");
}

#[test]
fn a1_readiness_publishes_failure_and_success_in_one_evaluation() {
    check("readiness S1 F3", "a: s", "S");
    check_published("readiness S1 F3", "a: s", "F S");
}

#[test]
fn a2_liveness_publishes_success_once() {
    check_published("liveness S1 F3", "a: s s", "S");
}

#[test]
fn a3_startup_goes_on_hold_with_its_success() {
    check("startup S1 F3", "a: s f", "S (S)");
    check_published("startup S1 F3", "a: s", "U S");
    assert_eq!(Bench::play("startup S1 F3", "a: s").machine.run.length, 0);
}

#[test]
fn a4_readiness_fails_at_the_third_failure() {
    check("readiness F3", "a: s f f f", "S S S F");
    check_published("readiness F3", "a: s f f f", "F S F");
}

#[test]
fn a5_a_success_in_between_starts_the_count_anew() {
    check("readiness F3", "a: s f f s f f", "S S S S S S");
}

#[test]
fn a6_readiness_needs_its_successes_in_a_row() {
    check("readiness S3 F1", "a: s s s f s s s", "F F S F F F S");
}

#[test]
fn a7_liveness_goes_on_hold_with_its_failure() {
    check("liveness F3", "a: s f f f s s", "S S S F (F) (F)");
    assert_eq!(Bench::play("liveness F3", "a: s f f f s s").attempts, 4);
}

#[test]
fn a9_startup_goes_on_hold_with_its_failure() {
    check("startup F3", "a: f f f s", "U U F (F)");
}

#[test]
fn a10_startup_is_held_for_the_run_it_has_judged() {
    check(
        "startup",
        "a: s started f f unstarted f b: s",
        "S (S) (S) (S) S",
    );
}

#[test]
fn a11_liveness_waits_for_startup() {
    check("liveness F1", "a: unstarted f started f", "(S) F");
}

#[test]
fn a12_startup_rests_in_a_started_container() {
    check("startup", "a: started f", "(U)");
}

#[test]
fn a14_no_attempt_within_the_initial_delay() {
    check("readiness D10", "a: @9.99 s", "(F)");
    check("liveness D10", "a: @9.99 s", "(S)");
    check("startup D10", "a: @9.99 s", "(U)");
}

#[test]
fn a15_an_attempt_when_the_initial_delay_is_over() {
    check("readiness D10", "a: @10.0 s", "S");
}

#[test]
fn a16_nothing_without_a_status() {
    for kind in ["readiness", "liveness", "startup"] {
        check(kind, "none s", "(-)");
    }
}

#[test]
fn a17_nothing_without_a_run_of_this_container() {
    check("readiness", "none s s a: s", "(-) (-) S");
}

#[test]
fn a18_a_container_that_waits_has_failed() {
    for kind in ["readiness", "liveness", "startup"] {
        check(kind, "a~ s", "(F)");
    }
    check("readiness", "a: s a~ s b: f", "S (F) F");
}

#[test]
fn a20_a_container_that_is_down_for_good_ends_the_machine() {
    for kind in ["readiness", "liveness", "startup"] {
        check(kind, "a! s s", "(-) (-) end");
        let published = Bench::play(kind, "a! s s").published;
        assert_eq!(
            published.last(),
            Some(&"F"),
            "before its result goes with it"
        );
    }
}

#[test]
fn a22_a_failed_pod_ends_the_machine() {
    check("readiness", "a: failed s", "(-) end");
    check("liveness", "a: s failed f", "S (S) end");
}

#[test]
fn a23_in_a_pod_that_is_deleted_only_readiness_goes_on() {
    check("liveness", "a: deleting f", "(S) end");
    check("startup", "a: deleting f", "(S) end");
    check("readiness F1", "a: deleting f s", "F S");
}

#[test]
fn a24_the_run_of_successes_carries_over_to_the_next_container() {
    check("readiness S3", "a: s s s s b: s", "F F S S S");
    check_published("readiness S3", "a: s s s s b: s", "F S F S");
}

#[test]
fn a25_the_run_of_failures_carries_over_to_the_next_container() {
    check("liveness F3", "a: f f b: f", "S S F");
}

#[test]
fn a26_a_success_of_the_next_container_ends_the_run_of_failures() {
    check("liveness F3", "a: f f b: s f f f", "S S S S S F");
}

#[test]
fn a27_a_warning_counts_as_a_success() {
    check("liveness F1", "a: w w", "S S");
}

#[test]
fn a28_an_error_counts_as_nothing() {
    check("liveness F1", "a: e e e f", "S S S F");
    check("readiness F1", "a: e s e", "F S S");
    check("startup F1", "a: e e s", "U U S");
}

#[test]
fn an_answer_to_an_attempt_that_was_abandoned_is_stale() {
    let mut bench = Bench::play("liveness F1", "a:");
    let look = bench.machine.look(&bench.view, bench.now, || AttemptId(7));
    assert!(matches!(
        look,
        Look::Attempt {
            attempt: AttemptId(7),
            ..
        }
    ));
    bench.machine.abandon();
    let outcome = Outcome {
        status: OutcomeStatus::Failure,
        output: String::new(),
        code: None,
    };
    assert_eq!(
        bench.machine.answer(AttemptId(7), &Ok(outcome)),
        Answer::Stale
    );
    assert_eq!(bench.verdict(), "S");
}

#[test]
fn a_memory_is_a_machine_again() {
    let bench = Bench::play("readiness S3 F3", "a: s s");
    let Bench { machine, now, .. } = &bench;
    let now = Now {
        mono: *now,
        wall: Wall(1_000_000_000_000),
    };
    let memory = machine.memory(now);
    let probe = Probe {
        handler: Handler::TcpSocket {
            host: None,
            port: PortRef::Number(80),
        },
        initial_delay: Duration::ZERO,
        period: Duration::from_secs(10),
        timeout: Duration::from_secs(1),
        success_threshold: 3,
        failure_threshold: 3,
        termination_grace_period: None,
    };
    let mut again = Bench::new("readiness S3 F3");
    again.machine = ProbeMachine::restored(ProbeKind::Readiness, &probe, &memory, now);
    again.view = bench.view.clone();
    assert_eq!(again.machine.memory(now), memory);
    again.word("s");
    assert_eq!(
        again.cached,
        ["S"],
        "the third success in a row, over the restart"
    );
}

#[test]
fn a_probe_on_hold_is_on_hold_with_the_next_agent() {
    let mut bench = Bench::play("liveness F1", "a: s f");
    let now = Now {
        mono: bench.now,
        wall: Wall(1_000_000_000_000),
    };
    let memory = bench.machine.memory(now);
    assert!(memory.on_hold);
    let probe = Probe {
        handler: Handler::TcpSocket {
            host: None,
            port: PortRef::Number(80),
        },
        initial_delay: Duration::ZERO,
        period: Duration::from_secs(10),
        timeout: Duration::from_secs(1),
        success_threshold: 1,
        failure_threshold: 1,
        termination_grace_period: None,
    };
    bench.machine = ProbeMachine::restored(ProbeKind::Liveness, &probe, &memory, now);
    bench.cached.clear();
    bench.word("s");
    assert_eq!(
        bench.cached,
        ["(F)"],
        "it has said its last word about this run"
    );
}
