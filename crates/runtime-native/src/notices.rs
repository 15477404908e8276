//! What pods cannot be given on this host, told to people.

use crate::cgroup::{Cgroups, Controller};
use crate::user_namespace::single_id_notice;

/// A sentence for each cause: what has no effect, and what helps.
pub(crate) fn of(cgroups: &Cgroups) -> Vec<String> {
    let mut wanted = vec![
        (Controller::Cpu, "CPU is neither limited nor weighed"),
        (Controller::Memory, "memory is not limited"),
    ];
    if cgroups.bounds_pids() {
        wanted.push((Controller::Pids, "the processes of a pod are not limited"));
    }
    let mut by_cause: Vec<(String, Vec<&str>)> = Vec::new();
    for (controller, effect) in wanted {
        let Some(why) = cgroups.lacks(controller) else {
            continue;
        };
        match by_cause.iter_mut().find(|(known, _)| *known == why) {
            Some((_, effects)) => effects.push(effect),
            None => by_cause.push((why, vec![effect])),
        }
    }
    let told = by_cause
        .into_iter()
        .map(|(why, effects)| format!("{}: {why}", effects.join(", ")));
    told.chain(single_id_notice()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_one_cause_is_one_sentence() {
        let told = of(&Cgroups::none("no cgroups here".to_owned(), None));
        assert_eq!(
            told[0],
            "CPU is neither limited nor weighed, memory is not limited: no cgroups here"
        );
        assert_eq!(told.get(1).cloned(), single_id_notice());
    }
}
