//! Whole nodes under faults, each made by one seed, with everybody looking.
//!
//! A seed makes a cast (pods with what their containers do, Services) and a log of what is done to them:
//! applies, deletions, stops, slow and lost and repeated answers, errors of the runtime, lost sandboxes,
//! agents that die between any two effects and with commits that never reached the disk, clocks that are
//! set. The node is simulated with all of it while the `checks` look at every input and every effect. Then
//! it is left alone, and has to come to rest: what should run runs and is Ready, and once all pods are
//! deleted nothing is left.
//!
//! If anything is wrong, the log is made as short as it still breaks ([`Broken`]).
//!
//! Start reading at [`run`], then `deed`, `checks`, `play`.

mod cast;
mod chance;
mod checks;
mod deed;
mod eyes;
mod play;
mod rest;
mod shrink;
mod sink;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use self::cast::Cast;
use self::chance::Chance;
pub use self::checks::Breach;
pub use self::deed::{Call, Deed, What};

/// How much a seed makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The most pods there are.
    pub pods: usize,
    /// The most deeds beside the first applies.
    pub deeds: usize,
    /// How long, in virtual time, things are done.
    pub length: Duration,
    /// How long the node may take to come to rest after that. More than the longest back-off.
    pub patience: Duration,
    /// How often a log that breaks may be played to make it short.
    pub shrinking: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            pods: 3,
            deeds: 24,
            length: Duration::from_secs(90),
            patience: Duration::from_secs(1_500),
            shrinking: 2_000,
        }
    }
}

/// What a seed amounted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Inputs that the engines heard.
    pub inputs: u64,
    /// Attempts that were asked for.
    pub attempts: u64,
    /// Commits that were made.
    pub commits: u64,
    /// Agents that died.
    pub crashes: u64,
    /// Calls that went wrong.
    pub faults: u64,
}

impl std::ops::AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.inputs += other.inputs;
        self.attempts += other.attempts;
        self.commits += other.commits;
        self.crashes += other.crashes;
        self.faults += other.faults;
    }
}

/// A seed that shows something wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Broken {
    /// The seed.
    pub seed: u64,
    /// What is wrong at the end of `log`.
    pub breach: Breach,
    /// As much of what the seed does as is needed for it.
    pub log: Vec<Deed>,
    /// How much that was.
    pub of: usize,
    /// The pods that `log` is about.
    pub pods: Vec<String>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            breach,
            log,
            of,
            pods,
        } = self;
        writeln!(
            f,
            "seed {seed} breaks {:?}: {}",
            breach.checker, breach.what
        )?;
        writeln!(f, "{} of its {of} deeds are enough:", log.len())?;
        for deed in log {
            writeln!(f, "  {deed}")?;
        }
        for pod in pods {
            writeln!(f, "{pod}")?;
        }
        write!(
            f,
            "again: SEED={seed} cargo test -p probelet-sim --test seeds"
        )
    }
}

/// Makes a node of a seed and plays it through.
///
/// # Errors
/// [`Broken`], made short.
pub fn run(seed: u64, plan: &Plan) -> Result<Stats, Box<Broken>> {
    let cast = Cast::draw(&mut Chance::new(seed, 1), plan.pods);
    let log = deed::draw(&mut Chance::new(seed, 2), &cast, plan);
    let breach = match play(seed, &cast, &log, plan) {
        Ok(stats) => return Ok(stats),
        Err(breach) => breach,
    };
    // A shorter log that breaks something else is another story.
    let breaks = |log: &[Deed]| {
        play(seed, &cast, log, plan).is_err_and(|other| other.checker == breach.checker)
    };
    let least = shrink::shrink(&log, plan.shrinking, breaks);
    let breach = play(seed, &cast, &least, plan).err().unwrap_or(breach);
    let about = |(index, part): (usize, &cast::Part)| {
        let applied = least.iter().any(|deed| deed.what == What::Apply(index));
        applied.then(|| part.to_string())
    };
    Err(Box::new(Broken {
        seed,
        breach,
        of: log.len(),
        pods: cast.pods.iter().enumerate().filter_map(about).collect(),
        log: least,
    }))
}

/// A panic is wrong as well: the engine restates its invariants after every input.
fn play(seed: u64, cast: &Cast, log: &[Deed], plan: &Plan) -> Result<Stats, Breach> {
    let played = catch_unwind(AssertUnwindSafe(|| play::play(seed, cast, log, plan)));
    played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Breach {
            checker: "no code panics",
            what: text.unwrap_or_default(),
        })
    })
}
