//! What the runs of containers do, by chance.

use std::time::Duration;

use super::super::chance::Chance;
use crate::script::{Exec, Grpc, HookScript, Http, OnTerm, OwnExit, Paths, Run, Tcp, Timeline};

pub(super) fn on_term(chance: &mut Chance) -> OnTerm {
    match chance.below(4) {
        0 | 1 => OnTerm::Dies,
        2 => OnTerm::Exits {
            after: chance.half_seconds(16),
            code: chance.pick(&[0, 143]),
        },
        _ => OnTerm::Ignores,
    }
}

/// A run that something may be wrong with.
pub(super) fn bad_run(chance: &mut Chance) -> Run {
    let hook = |chance: &mut Chance| match chance.below(5) {
        0 => HookScript::Hangs,
        1 => HookScript::Ends {
            after: chance.half_seconds(8),
            code: 1,
        },
        _ => HookScript::Ends {
            after: chance.half_seconds(8),
            code: 0,
        },
    };
    Run {
        start_after: chance.half_seconds(10),
        start_fails: chance.maybe(8, |_| "no such file".to_owned()),
        exit: chance.maybe(40, |chance| OwnExit {
            at: chance.half_seconds(80),
            code: chance.pick(&[0, 1, 3]),
            out_of_memory: false,
        }),
        on_term: on_term(chance),
        // One that hangs for ever after the start is ended by nobody.
        post_start: HookScript::Ends {
            after: chance.half_seconds(8),
            code: chance.pick(&[0, 0, 0, 1]),
        },
        pre_stop: hook(chance),
        http: chance.maybe(70, |chance| {
            Paths::new(vec![(
                "/".to_owned(),
                timeline(chance, an_http_answer, Http::OK),
            )])
        }),
        tcp: chance.maybe(70, |chance| {
            timeline(
                chance,
                a_tcp_answer,
                Tcp::Accepts {
                    latency: Duration::ZERO,
                },
            )
        }),
        grpc: chance.maybe(70, |chance| {
            timeline(
                chance,
                a_grpc_answer,
                Grpc::Says {
                    serving: true,
                    latency: Duration::ZERO,
                },
            )
        }),
        exec: chance.maybe(70, |chance| {
            timeline(
                chance,
                an_exec_answer,
                Exec::Ends {
                    code: 0,
                    output: String::new(),
                    latency: Duration::ZERO,
                },
            )
        }),
    }
}

/// Answers by chance, and at last the one that is well.
fn timeline<T>(chance: &mut Chance, answer: fn(&mut Chance) -> T, well: T) -> Timeline<T> {
    let steps = 1 + chance.index(4);
    let step = |_| (chance.half_seconds(60), answer(chance));
    let last = (Duration::from_secs(40), well);
    Timeline::new((0..steps).map(step).chain([last]).collect())
}

fn an_http_answer(chance: &mut Chance) -> Http {
    let latency = chance.half_seconds(5);
    match chance.below(8) {
        0 => Http::Refuses,
        1 => Http::Hangs,
        2 => Http::Stalls,
        3 | 4 => Http::Says {
            status: 503,
            body: String::new(),
            latency,
        },
        5 => Http::Says {
            status: 302,
            body: String::new(),
            latency,
        },
        _ => Http::Says {
            status: 200,
            body: String::new(),
            latency,
        },
    }
}

fn a_tcp_answer(chance: &mut Chance) -> Tcp {
    match chance.below(4) {
        0 => Tcp::Refuses,
        1 => Tcp::Hangs,
        _ => Tcp::Accepts {
            latency: chance.half_seconds(4),
        },
    }
}

fn a_grpc_answer(chance: &mut Chance) -> Grpc {
    match chance.below(5) {
        0 => Grpc::Refuses,
        1 => Grpc::Hangs,
        serving => Grpc::Says {
            serving: serving > 2,
            latency: chance.half_seconds(4),
        },
    }
}

fn an_exec_answer(chance: &mut Chance) -> Exec {
    match chance.below(6) {
        0 => Exec::Hangs,
        1 => Exec::CannotRun("no such file".to_owned()),
        code => Exec::Ends {
            code: i32::from(code < 4),
            output: String::new(),
            latency: chance.half_seconds(4),
        },
    }
}
