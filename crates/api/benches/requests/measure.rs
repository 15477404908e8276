//! Times and memory.

use std::fmt;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How long many of the same took.
pub(crate) struct Times {
    /// The shortest first.
    sorted: Vec<Duration>,
    /// The CPU time of one, server and client together: unlike the rest, other work on the host does not add to it.
    cpu: Duration,
}

impl Times {
    /// What so many of a hundred stay within.
    fn percentile(&self, percent: usize) -> Duration {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted[last * percent / 100]
    }

    pub(crate) fn print(&self, what: &str, floor: Option<&Self>, budget: Option<&str>) {
        let ratio = floor.map_or_else(String::new, |floor| {
            let ratio = self.cpu.as_secs_f64() / floor.cpu.as_secs_f64();
            format!(", {ratio:.1} x the floor")
        });
        let budget = budget.map_or_else(String::new, |budget| format!(" (budget {budget})"));
        println!("{what:<44} {self}{ratio}{budget}");
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [middle, most] = [50, 99].map(|percent| self.percentile(percent));
        let cpu = self.cpu;
        write!(f, "p50 {middle:>8.1?}  p99 {most:>8.1?}  CPU {cpu:>8.1?}")
    }
}

/// Does something so many times, after as many that do not count because they find everything cold.
pub(crate) async fn many(warm: usize, counted: usize, mut act: impl AsyncFnMut(usize)) -> Times {
    for number in 0..warm {
        act(number).await;
    }
    let mut sorted = Vec::with_capacity(counted);
    let before = cpu_time();
    for number in warm..warm + counted {
        let began = clock();
        act(number).await;
        sorted.push(clock().duration_since(began));
    }
    let cpu = (cpu_time() - before) / u32::try_from(counted).unwrap_or(u32::MAX);
    sorted.sort_unstable();
    Times { sorted, cpu }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn clock() -> Instant {
    Instant::now()
}

/// The CPU time of this process so far, of the server and its clients together.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let nanos = time.tv_sec * 1_000_000_000 + time.tv_nsec;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

pub(crate) fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * 4096
}
