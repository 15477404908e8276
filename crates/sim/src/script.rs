//! What the containers of a virtual world do, run by run, and what probes meet in them.
//!
//! A script says nothing about what the engine makes of it. What it leaves out goes well: a container
//! without a script starts at once, runs for ever, answers every probe with success, and ends at TERM.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use probelet_model::id::ContainerName;

/// The scripts of one pod's containers; one that is not there does what [`Run::default`] says.
pub type PodScript = BTreeMap<ContainerName, Arc<ContainerScript>>;

/// What one container does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerScript {
    /// One for each run, the last for all that follow; if there is none, every run is the default one.
    pub runs: Vec<Run>,
    /// One for each pull of its image, the last for all that follow; if there is none, the image is there.
    pub pulls: Vec<Pull>,
}

/// One pull of a container's image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pull {
    /// From the request to its end.
    pub after: Duration,
    /// It fails, and why.
    pub fails: Option<String>,
}

impl ContainerScript {
    /// The run that comes after so many others.
    #[must_use]
    pub fn run(&self, restart_count: u32) -> Option<&Run> {
        let at = usize::try_from(restart_count).unwrap_or(usize::MAX);
        or_last(&self.runs, at)
    }

    /// The pull that comes after so many others.
    #[must_use]
    pub fn pull(&self, before: usize) -> Option<&Pull> {
        or_last(&self.pulls, before)
    }
}

fn or_last<T>(all: &[T], at: usize) -> Option<&T> {
    all.get(at).or_else(|| all.last())
}

/// One run of a container. All ages count from its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// From the request to start until it runs, or until the start has failed.
    pub start_after: Duration,
    /// Its command cannot be executed, and why.
    pub start_fails: Option<String>,
    /// It ends of its own accord.
    pub exit: Option<OwnExit>,
    /// What it does about TERM.
    pub on_term: OnTerm,
    /// How its `postStart` hook goes, if its spec has one.
    pub post_start: HookScript,
    /// How its `preStop` hook goes, if its spec has one.
    pub pre_stop: HookScript,
    /// What an httpGet meets, by path.
    pub http: Option<Paths>,
    /// What a tcpSocket meets.
    pub tcp: Option<Timeline<Tcp>>,
    /// What a grpc probe meets.
    pub grpc: Option<Timeline<Grpc>>,
    /// What an exec probe meets.
    pub exec: Option<Timeline<Exec>>,
}

/// An end without anybody's asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnExit {
    /// At what age.
    pub at: Duration,
    /// The exit code.
    pub code: i32,
    /// The kernel killed a process of it for memory.
    pub out_of_memory: bool,
}

/// What a container does about TERM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTerm {
    /// It has no handler: the signal ends it at once, 143.
    #[default]
    Dies,
    /// Its handler ends it.
    Exits {
        /// So long after the signal.
        after: Duration,
        /// With this code.
        code: i32,
    },
    /// Only KILL ends it, 137.
    Ignores,
}

/// How a hook goes. One that only sleeps takes as long as its spec says, whatever stands here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookScript {
    /// It ends.
    Ends {
        /// So long after it began.
        after: Duration,
        /// With this exit code; any but 0 is a failure.
        code: i32,
    },
    /// It takes all the time it is given.
    Hangs,
}

impl Default for HookScript {
    fn default() -> Self {
        Self::Ends {
            after: Duration::ZERO,
            code: 0,
        }
    }
}

/// Answers of which each holds from its age on until the next one's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline<T>(Vec<(Duration, T)>);

impl<T> Timeline<T> {
    /// Answers, each with the age it holds from; put in order if they are not.
    #[must_use]
    pub fn new(mut steps: Vec<(Duration, T)>) -> Self {
        steps.sort_by_key(|(from, _)| *from);
        Self(steps)
    }

    /// One answer for ever.
    #[must_use]
    pub fn always(answer: T) -> Self {
        Self(vec![(Duration::ZERO, answer)])
    }

    /// The answer at an age; `None` before the first.
    #[must_use]
    pub fn at(&self, age: Duration) -> Option<&T> {
        let begun = self.0.partition_point(|(from, _)| *from <= age);
        Some(&self.0.get(begun.checked_sub(1)?)?.1)
    }
}

/// What an HTTP server answers, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths(Vec<(String, Timeline<Http>)>);

impl Paths {
    /// Paths with their answers, in order.
    #[must_use]
    pub const fn new(paths: Vec<(String, Timeline<Http>)>) -> Self {
        Self(paths)
    }

    /// The answers of the first path that is the one asked for, its query left out where the script has
    /// none; else those of `/`.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Timeline<Http>> {
        let bare = path.split(['?', '#']).next().unwrap_or(path);
        let of = |wanted: &str| self.0.iter().find(|(path, _)| path == wanted);
        let found = self.0.iter().find(|(own, _)| own == path || own == bare);
        found.or_else(|| of("/")).map(|(_, answers)| answers)
    }
}

/// What an httpGet meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Http {
    /// Nobody listens.
    Refuses,
    /// The connection is made, and no word comes.
    Hangs,
    /// The head of a response comes, and of its body nothing.
    Stalls,
    /// A response.
    Says {
        /// Its status code.
        status: u16,
        /// Its body.
        body: String,
        /// From the connection to its end.
        latency: Duration,
    },
}

impl Http {
    /// `200` at once, with an empty body.
    pub const OK: Self = Self::Says {
        status: 200,
        body: String::new(),
        latency: Duration::ZERO,
    };
}

/// What a tcpSocket meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tcp {
    /// Nobody listens.
    Refuses,
    /// Packets are lost.
    Hangs,
    /// A connection.
    Accepts {
        /// How long making it takes.
        latency: Duration,
    },
}

/// What a grpc probe meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grpc {
    /// Nobody listens.
    Refuses,
    /// The connection is made, and no answer comes.
    Hangs,
    /// An answer.
    Says {
        /// SERVING, or NOT_SERVING.
        serving: bool,
        /// From the connection to its end.
        latency: Duration,
    },
}

/// What an exec probe meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exec {
    /// The command does not end.
    Hangs,
    /// It cannot be run at all, and why.
    CannotRun(String),
    /// It ends.
    Ends {
        /// With this code.
        code: i32,
        /// Having written this.
        output: String,
        /// So long after its start.
        latency: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_run_repeats() {
        let runs = [1, 2].map(|code| Run {
            exit: Some(OwnExit {
                at: Duration::ZERO,
                code,
                out_of_memory: false,
            }),
            ..Run::default()
        });
        let script = ContainerScript {
            runs: runs.to_vec(),
            pulls: Vec::new(),
        };
        let code = |count| script.run(count).unwrap().exit.unwrap().code;
        assert_eq!([0, 1, 2, 99].map(code), [1, 2, 2, 2]);
        assert_eq!(ContainerScript::default().run(0), None);
    }

    #[test]
    fn an_answer_holds_until_the_next() {
        let secs = Duration::from_secs;
        let timeline = Timeline::new(vec![(secs(5), 'b'), (secs(2), 'a'), (secs(9), 'c')]);
        let at = |age| timeline.at(secs(age)).copied();
        assert_eq!(at(1), None);
        assert_eq!(
            [2, 4, 5, 8, 9, 99].map(at),
            [
                Some('a'),
                Some('a'),
                Some('b'),
                Some('b'),
                Some('c'),
                Some('c')
            ]
        );
    }

    #[test]
    fn a_path_is_found_as_it_is_written_then_without_its_query_then_the_root() {
        let path = |path: &str, status| {
            let answer = Http::Says {
                status,
                body: String::new(),
                latency: Duration::ZERO,
            };
            (path.to_owned(), Timeline::always(answer))
        };
        let paths = Paths::new(vec![path("/a?full", 201), path("/a", 202), path("/", 203)]);
        let status = |asked| match paths.find(asked).unwrap().at(Duration::ZERO).unwrap() {
            Http::Says { status, .. } => *status,
            other => panic!("{other:?}"),
        };
        let asked = ["/a?full", "/a", "/a?x=1", "/", "/b", ""];
        assert_eq!(asked.map(status), [201, 202, 202, 203, 203, 203]);
        assert_eq!(Paths::new(vec![path("/a", 200)]).find("/b"), None);
    }
}
