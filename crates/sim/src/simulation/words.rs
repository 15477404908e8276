//! Words for what the engine tells in types.

use probelet_model::go;

use probelet_engine::Skip;

/// Why a probe made no attempt, for people.
pub(super) fn skip(skip: &Skip) -> String {
    match skip {
        Skip::PodEnded(phase) => format!("the pod is {}", phase.as_str()),
        Skip::NoContainer => "the container has not been started yet".to_owned(),
        Skip::OnHold(verdict) => {
            format!("its verdict, {verdict}, stands until the container restarts")
        }
        Skip::NotRunning => "the container does not run".to_owned(),
        Skip::Ended => "the container has ended and will not be started again".to_owned(),
        Skip::Deleting => "the pod is being deleted".to_owned(),
        Skip::InitialDelay { delay, .. } => {
            format!("the initial delay of {} is not over", go::duration(*delay))
        }
        Skip::StartupDone => "the container has started".to_owned(),
        Skip::WaitsForStartup => "the startup probe has not succeeded yet".to_owned(),
        Skip::AttemptUnderWay => "the attempt before it is still under way".to_owned(),
    }
}
